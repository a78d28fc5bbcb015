"""Names to files: the checkpoints and data sets that have a name, wheels, and the Hub."""
