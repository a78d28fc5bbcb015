"""Checkpoints: where they lie, what they are, and how they are loaded."""
