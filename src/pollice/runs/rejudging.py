"""Judge texts by a saved predictor in a fresh process: what was saved must be all that it needs.

Knows nothing about who asks, and what is made of the answer.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pollice.errors import RunError

RECHECKED_TEXTS = 64
_TEXTS, _ANSWER = "texts.json", "answer.json"
_HEAVY = ("torch", "transformers")


def judge_afresh(folder: Path, texts: Sequence[str], *, without_torch: bool) -> NDArray[np.float64]:
    """Load a predictor in a new process and return its probabilities, ``(texts, labels)``.

    Args:
        folder: The predictor.
        texts: What it judges.
        without_torch: Whether PyTorch and transformers cannot be imported there.

    Raises:
        RunError: it cannot be loaded, or cannot judge.
    """
    with TemporaryDirectory() as place:
        (Path(place) / _TEXTS).write_text(json.dumps(list(texts)), encoding="utf-8")
        command = [sys.executable, "-m", "pollice.runs.rejudging", str(folder), place]
        ended = subprocess.run(
            [*command, *(_HEAVY if without_torch else ())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if ended.returncode:
            said = ended.stderr.strip().splitlines() or ["it said nothing"]
            raise RunError(
                "Expected the saved predictor to judge in a new process, but it cannot "
                f"({said[-1][:300].rstrip('.')}). Save it again, or in another form."
            )
        return np.array(json.loads((Path(place) / _ANSWER).read_text("utf-8")), np.float64)


def check_afresh(
    folder: Path,
    texts: Sequence[str],
    expected: NDArray[np.float64],
    *,
    tolerance: float,
    without_torch: bool = False,
) -> None:
    """Refuse a saved predictor that, loaded in a new process, does not give what it gave here.

    Args:
        folder: The predictor.
        texts: Validation texts.
        expected: Its probabilities of them, ``(texts, labels)``.
        tolerance: How far a probability may be off.
        without_torch: Whether it must do without PyTorch and transformers.

    Raises:
        RunError: it cannot be loaded, or gives other labels or probabilities.
    """
    found = judge_afresh(folder, texts, without_torch=without_torch)
    difference = float(np.abs(found - expected).max()) if len(texts) else 0.0
    other = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum()) if len(texts) else 0
    if other or not difference <= tolerance:
        raise RunError(
            f"Expected the saved predictor to give the same answers in a new process, but {other} "
            f"of {len(texts)} labels differ, and a probability by {difference:.2g} (at most "
            f"{tolerance:g}). Save it again, or in another form."
        )


class _Blocked(MetaPathFinder):
    """Keeps packages from being imported, as if they were not installed.

    Not by None in `sys.modules`: SciPy looks there to see whether PyTorch is in use.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, *_: object) -> None:
        """Refuse a package that is blocked; leave all others to the next finder."""
        if name.partition(".")[0] in self._packages:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _answer(folder: str, place: str, *blocked: str) -> None:
    """Judge the texts of a folder, in the process that was started for it."""
    sys.meta_path.insert(0, _Blocked(blocked))
    from pollice.runs.predictors import load_predictor

    texts = json.loads((Path(place) / _TEXTS).read_text("utf-8"))
    probabilities = load_predictor(Path(folder)).predict_proba(texts)
    (Path(place) / _ANSWER).write_text(json.dumps(probabilities.tolist()), encoding="utf-8")


if __name__ == "__main__":
    _answer(*sys.argv[1:])
