"""A service over HTTP: predictors and typed questions, in formats that clients speak already."""
