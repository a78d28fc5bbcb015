"""The command line: `main` is what the command `pollice` starts.

Imports nothing slow before it takes signals, so that one which comes early is answered too.
"""

import sys

from pollice.system import interruption


def main() -> None:
    """Run the command line; a signal while it is still being imported ends with one sentence."""
    with interruption.raising():
        try:
            from pollice.cli.commands import main as run

            run()
        except BaseException as error:
            number = interruption.signal_of(error)
            if isinstance(error, SystemExit) or number is None:
                raise
            ended = interruption.as_interrupted(number)
            sys.stderr.write(f"{ended}\n")
            sys.exit(ended.exit_code)
