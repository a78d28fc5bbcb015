"""What the parts of a method take in memory, where it is made of others.

Knows nothing about what the parts do.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pollice.memory.footprint import CPU_LIBRARIES, Footprint, Lengths, PlannedMethod
from pollice.models.parts import SavedSource, Source


def estimate_source(source: Source, lengths: Lengths) -> Footprint:
    """Return what fitting a part takes; of one that does not say it, what every process takes."""
    if isinstance(source, SavedSource):
        files = (path for path in source.folder.rglob("*") if path.is_file())
        weights = sum(path.stat().st_size for path in files)
        return Footprint.of_process({"weights": weights}, lengths, CPU_LIBRARIES)
    if isinstance(source.method, PlannedMethod):
        return source.method.estimate_memory(lengths)
    return Footprint.of_process({}, lengths, CPU_LIBRARIES)


def halve_teacher(source: Source, lengths: Lengths) -> Mapping[str, int]:
    """Return ``teacher_batch_tokens`` with half of a teacher's own, where it can do with less."""
    if isinstance(source, SavedSource) or not isinstance(source.method, PlannedMethod):
        return {}
    half = source.method.halve_batch(lengths)
    return {f"teacher_{name}": value for name, value in half.items() if name == "batch_tokens"}


def lengths_with(lengths: Lengths, unlabelled: str | None) -> Lengths:
    """Return lengths with those of a file that is not read yet: at most a character for a byte."""
    if unlabelled is None or not Path(unlabelled).is_file():
        return lengths
    size = Path(unlabelled).stat().st_size
    return replace(lengths, characters=max(lengths.characters, size))
