"""The predictions table: the waist between learning and judging."""
