"""A worker of a cluster: it opens a predictor once, answers batches of texts and writes parts.

Knows nothing about Ray, and nothing about which rows come next.
"""

import platform
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from pollice.errors import RunError
from pollice.judging.metrics import abstain
from pollice.predictions.answers import Answer, OutputColumns, score_texts
from pollice.predictions.part_formats import PartFormat
from pollice.predictions.predictor import Predictor
from pollice.predictions.stream import PartsFolder, Rows, sync
from pollice.predictions.table import Predictions
from pollice.runs.predictors import load_predictor
from pollice.system.folders import MANIFEST
from pollice.system.hashing import file_sha256


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the workers of one command have in common with the process that gave it."""

    predictor: Path
    parts: Path
    """The folder of the output's parts."""
    seen: Mapping[Path, str]
    """Of the manifest of each of the two folders, the sha256."""
    columns: OutputColumns
    form: PartFormat
    abstain_below: float | None
    version: str
    """That of pollice."""

    @classmethod
    def of(
        cls,
        predictor: Path,
        folder: PartsFolder,
        columns: OutputColumns,
        form: PartFormat,
        abstain_below: float | None,
    ) -> "Shared":
        """Return what is so on this machine."""
        places = (predictor.resolve(), folder.path.resolve())
        return cls(
            predictor=places[0],
            parts=places[1],
            seen={place / MANIFEST: file_sha256(place / MANIFEST) for place in places},
            columns=columns,
            form=form,
            abstain_below=abstain_below,
            version=version("pollice"),
        )


@dataclass(frozen=True, kw_only=True)
class RowsOfPart:
    """Rows that follow each other, and their answers: what a part is written from."""

    start: int
    batches: Sequence[tuple[Rows, Sequence[Answer | None]]]

    @property
    def end(self) -> int:
        """The number of the row after the last one."""
        return self.start + sum(len(rows) for rows, _ in self.batches)


class Worker:
    """Answers texts with a predictor, and writes parts.

    Args:
        shared: What is asked, and where the files are.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def open(self) -> None:
        """Open the predictor.

        What is raised here arrives as it is; Ray would make a text of what a constructor raises.

        Raises:
            RunError: this machine has another pollice, or does not see the shared folders.
        """
        _check_machine(self._shared)
        _ = self._predictor

    @cached_property
    def _predictor(self) -> Predictor:
        return load_predictor(self._shared.predictor)

    def answer(self, batches: Sequence[Sequence[str]]) -> list[list[Answer]]:
        """Return the answers to the texts of each batch, those of one scored side by side."""
        return [
            score_texts(self._predictor, texts, self._choose) if texts else [] for texts in batches
        ]

    def _choose(self, judged: Predictions) -> Sequence[str | None]:
        return abstain(judged, self._shared.abstain_below).predicted

    def write(self, part: RowsOfPart) -> str:
        """Write a part; return its temporary name."""
        return write_part(part, self._shared).name


def write_part(part: RowsOfPart, shared: Shared) -> Path:
    """Write a part to the disk under a temporary name that no other attempt has."""
    temporary = shared.parts / f".{part.start:012}-{part.end:012}.{uuid.uuid4().hex}.partial"
    with temporary.open("wb") as file:
        writer = shared.form.open(file)
        for rows, answers in part.batches:
            writer.add(
                shared.columns.join(rows.columns, rows.ids, rows.gold, answers, rows.problems)
            )
        writer.close()
    sync(temporary)
    return temporary


def _check_machine(shared: Shared) -> None:
    """Refuse a machine where the work would be another one."""
    here = platform.node()
    if version("pollice") != shared.version:
        raise RunError(
            f"Expected pollice {shared.version} on every machine of the cluster, but {here} has "
            f"{version('pollice')}. Install the same version there."
        )
    for manifest, sha256 in shared.seen.items():
        if not manifest.is_file() or file_sha256(manifest) != sha256:
            raise RunError(
                "Expected the predictor and the output in folders that every machine of the "
                f"cluster sees, but {here} does not see {manifest.parent} as it is here. Put both "
                "on a disk that all of them share."
            )
