"""Predictors as folders: saved with the name of their method, and loaded with it.

Knows nothing about models, and nothing about judging.
"""

from pollice.methods import load_predictor
from pollice.predictions.saved_predictors import save_predictor

__all__ = ["load_predictor", "save_predictor"]
