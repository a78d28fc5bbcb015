"""From names to files: named checkpoints and data sets, wheels, and the Hub."""
