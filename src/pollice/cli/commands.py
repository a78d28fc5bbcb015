"""The command line: the group of all commands, and what a mistake prints and exits with.

Knows nothing about what a command does. Each command imports the slow modules that it needs
itself, so that `pollice --help` answers at once.
"""

import sys
from importlib.metadata import version

import click

from pollice.cli import comparing, judging, showing
from pollice.errors import Interrupted, PolliceError
from pollice.system import processes


def main() -> None:
    """Run the command line; a mistake of the user gives one sentence and exit code 2."""
    try:
        code = app.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except PolliceError as error:
        _say(error)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _say(error: PolliceError) -> None:
    """Print an error; only the first of several processes says that all were interrupted."""
    if isinstance(error, Interrupted):
        if processes.is_first():
            click.echo(str(error), err=True)
        return
    who = "" if processes.is_first() else f" in process {processes.number()}"
    click.echo(f"Error{who}: {error}", err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("pollice"), prog_name="pollice")
def app() -> None:
    """Train, prompt and honestly compare language models as judges of opinions.

    Start with `pollice compare` alone: it compares six ways of judging on real reviews.
    Then name your own file: `pollice compare --data reviews.csv`.
    """


for _command in (
    comparing.compare,
    comparing.train,
    comparing.evaluate,
    judging.predict,
    judging.label,
    showing.data,
    showing.fetch,
    showing.methods,
    showing.inspect,
    showing.plan,
):
    app.add_command(_command)
