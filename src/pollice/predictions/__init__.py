"""The predictions table: all that judging needs from learning."""
