"""The command line: `main` is what the command `pollice` starts."""

from pollice.cli.commands import main as main
