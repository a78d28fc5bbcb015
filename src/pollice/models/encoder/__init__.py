"""Encoders: texts in; vectors, labels or entailment out."""
