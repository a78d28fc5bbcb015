"""Pretrained language models, and the predictors that several methods share."""
