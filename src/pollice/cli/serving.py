"""The command that serves models over HTTP.

Knows nothing about routes and formats.
"""

from importlib.util import find_spec
from pathlib import Path

import click

from pollice.cli.options import ABSTAIN
from pollice.cli.work import waiting
from pollice.errors import OptionError, counted

_NEEDED = ("fastapi", "uvicorn", "prometheus_client")


@click.command()
@click.argument("predictors", nargs=-1, required=True, metavar="PREDICTOR...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--threads", type=click.IntRange(1), help="For each model [default: its share].")
@click.option("--calibrate", help="A file of texts that calibrate a checkpoint's answers.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="One key a line; who calls needs one.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, exists=True),
    help="A run's folder: its report is shown beside the page.",
)
@ABSTAIN
def serve(
    predictors: tuple[str, ...],
    host: str,
    port: int,
    threads: int | None,
    calibrate: str | None,
    key_file: Path | None,
    report: Path | None,
    abstain_below: float | None,
) -> None:
    """Serve models over HTTP, in the formats that clients speak already.

    Each PREDICTOR is the folder of a trained one, which answers for its labels, or the name of a
    causal checkpoint such as gemma-3-270m, which answers any typed question. NAME=FOLDER gives a
    name. Keys are needed where other machines can call: --key-file, or POLLICE_KEYS. SIGTERM ends
    what is in flight first. The routes are listed at /docs, and in docs/serving.md.
    """
    missing = next((name for name in _NEEDED if find_spec(name) is None), None)
    if missing is not None:
        raise OptionError(
            f"pollice serve needs {missing}, which is not installed. Install it with: pip install "
            "'pollice[serve]'."
        )
    from pollice.judging.metrics import check_threshold
    from pollice.serve.keys import check_host, read_keys
    from pollice.serve.listening import listen

    check_threshold(abstain_below)
    keys = read_keys(key_file)
    check_host(host, keys)
    # Before models are loaded, which may take minutes: a port in use is told at once.
    with listen(host, port) as listening:
        with waiting("loading the models"):
            from pollice.models.pretrained.devices import limit_threads, share_threads
            from pollice.serve.models import Service, load_contents
            from pollice.serve.running import run

            threads = threads or share_threads(len(predictors))
            limit_threads(threads)
            contents, failures = load_contents(predictors, _texts(calibrate))
        service = Service(contents, abstain_below=abstain_below, failures=failures, threads=threads)
        for name, reason in failures.items():
            click.echo(f"Not served: {name}. {reason}", err=True)
        address, at = listening.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        click.echo(f"Serving {', '.join(service.models)} on http://{shown}:{at} (routes: /docs)")
        unanswered = run(service, listening, keys, report)
    late = f"{counted(unanswered, 'call')} took too long and got no answer"
    click.echo(f"Stopped; {late if unanswered else 'what was in flight was answered'}.")


def _texts(source: str | None) -> tuple[str, ...]:
    from pollice.data.reading import read_texts

    return () if source is None else tuple(read_texts(source).texts)
