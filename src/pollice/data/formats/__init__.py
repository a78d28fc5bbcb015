"""File formats -> columns of values; one file is one format."""
