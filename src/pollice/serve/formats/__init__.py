"""The wire formats: one file each, from a request's JSON to texts, and from answers to JSON."""
