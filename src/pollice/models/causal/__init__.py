"""Causal language models: prompts in, scores of label words out."""
