"""The machine and its disk: folders, processes, progress, measuring, interruption."""
