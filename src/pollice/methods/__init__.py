"""Ways to learn: one file is one method, and its file name is its name."""
