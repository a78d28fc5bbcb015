"""Predictions become judgements: metrics, paired comparisons, probes."""
