"""Predictors that were exported: read and scored without PyTorch and transformers."""
