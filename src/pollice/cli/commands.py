"""The command line: the group of all commands.

Knows nothing about what a command does. Each command imports the slow modules that it needs
itself, so that `pollice --help` answers at once.
"""

import sys

import click

from pollice.cli import comparing, explaining, exporting, judging, serving, showing
from pollice.cli.ending import Commands, exit_code_of


def main() -> None:
    """Run the command line; a mistake of the user gives one sentence and exit code 2."""
    sys.exit(exit_code_of(app))


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="pollice", prog_name="pollice")
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
    exporting.export,
    explaining.explain,
    serving.serve,
    showing.data,
    showing.report,
    showing.fetch,
    showing.methods,
    showing.inspect,
    showing.plan,
):
    app.add_command(_command)
