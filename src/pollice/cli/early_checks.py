"""Names that cannot be right are refused before anything slow is imported, read or fetched.

Knows nothing about what the names stand for: the modules that use them say what is wrong.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pollice.runs.experiment import Experiment


def check_source(source: str) -> None:
    """Refuse a source of texts that is no file, no folder and no name.

    Raises:
        DataError: there is no such source.
    """
    from pollice.catalogue.entries import dataset_names
    from pollice.catalogue.hub import HUB_PREFIX

    exists = bool(source) and Path(source).exists()
    known = exists or source.startswith(HUB_PREFIX) or source in dataset_names()
    if not known:
        from pollice.data.reading import read_texts

        read_texts(source)  # it says what is wrong with the name


def check_checkpoint(name: str) -> None:
    """Refuse a checkpoint that cannot be found.

    Raises:
        SourceError: there is no such checkpoint.
    """
    from pollice.models.pretrained.names import check_checkpoint_name

    check_checkpoint_name(name)


def check_experiment_names(experiment: "Experiment", folder: Path | None) -> None:
    """Refuse unknown sources, methods, options and checkpoints of an experiment.

    Args:
        experiment: What is to be run.
        folder: Where it is run; None: a folder below ``runs``. A method that is finished there
            needs its checkpoint no more.

    Raises:
        UserError: a name is wrong.
    """
    from pollice.methods import check_declared_options

    for source in (experiment.data.source, experiment.data.test):
        if source is not None:
            check_source(source)
    for name, options in experiment.methods.items():
        kind = str(options.get("method", name))
        check_declared_options(kind, [option for option in options if option != "method"])
        checkpoint = options.get("checkpoint")
        if isinstance(checkpoint, str) and not _is_finished(name, folder):
            check_checkpoint(checkpoint)


def _is_finished(name: str, folder: Path | None) -> bool:
    from pollice.runs.folder import RunFolder

    runs: Iterable[Path] = Path("runs").glob("*") if folder is None else [folder]
    return any(RunFolder(run).method(name).is_complete for run in runs)
