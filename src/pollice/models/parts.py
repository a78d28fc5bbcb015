"""Predictors within a predictor: where they come from, and how they are saved and loaded.

Knows nothing about what they are for. The files of a part lie in a folder within the predictor's
own, so its manifest has their hashes, and a saved part needs no manifest.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from pollice.data.dataset import Dataset
from pollice.errors import OptionError, RunError, did_you_mean
from pollice.method import Method
from pollice.models.registry import Registry
from pollice.predictions.predictor import Predictor, Scores
from pollice.predictions.saved_files import damaged, read_label_names, read_saved_json
from pollice.system.folders import MANIFEST, read_manifest

_PART = "part.json"
_COST = "cost.json"  # beside a predictor in the folder of a run's method


@dataclass(frozen=True, kw_only=True)
class Part:
    """A predictor within another one."""

    method: str
    """The name of the method that fitted it."""
    predictor: Predictor

    def score(self, texts: Sequence[str], label_names: Sequence[str]) -> Scores:
        """Score texts, with the columns in the order of ``label_names`` and without variants."""
        scores = self.predictor.score(texts)
        columns = [self.predictor.label_names.index(name) for name in label_names]
        return replace(scores, probabilities=scores.probabilities[:, columns], variants={})

    def save(self, folder: Path) -> None:
        """Write the predictor and its method's name into a new folder."""
        folder.mkdir(parents=True)
        self.predictor.save(folder)
        content = {
            "method": self.method,
            "label_names": self.predictor.label_names,
            "parameters": self.predictor.parameters,
        }
        (folder / _PART).write_text(json.dumps(content, indent=2), encoding="utf-8")


def load_part(folder: Path, registry: Registry, label_names: Sequence[str]) -> Part:
    """Load what `Part.save` wrote.

    Raises:
        RunError: its method is not installed, or it is of other labels.
    """
    method, _ = _read_part(folder, registry, label_names)
    return Part(method=method, predictor=registry.find(method).predictor_type.load(folder))


def load_part_later(folder: Path, registry: Registry, label_names: Sequence[str]) -> Part:
    """Return a saved part that is loaded when it is first asked; its table is checked now."""
    method, parameters = _read_part(folder, registry, label_names)
    path = folder / _PART
    names = read_label_names(path, read_saved_json(path))
    find = registry.find

    def open_predictor() -> Predictor:
        return find(method).predictor_type.load(folder)

    return Part(method=method, predictor=LazyPredictor(open_predictor, names, parameters))


def _read_part(folder: Path, registry: Registry, label_names: Sequence[str]) -> tuple[str, int]:
    path = folder / _PART
    content = read_saved_json(path, "method", "parameters")
    if content["method"] not in registry.names():
        raise damaged(path, "a method that is installed", f"it names {content['method']!r:.80}")
    if sorted(read_label_names(path, content)) != sorted(label_names):
        raise damaged(path, f"a part of the labels {', '.join(label_names)}", "its own are others")
    return content["method"], int(content["parameters"])


class LazyPredictor(Predictor):
    """A predictor that is opened when it is first asked: by one thread, while others wait."""

    def __init__(
        self, open_predictor: Callable[[], Predictor], label_names: tuple[str, ...], parameters: int
    ) -> None:
        self.label_names = label_names
        self._open = open_predictor
        self._parameters = parameters
        self._opening = Lock()

    @property
    def parameters(self) -> int:
        """The weights that it has; it is not opened for that."""
        return self._parameters

    @property
    def is_open(self) -> bool:
        """Whether it has been asked."""
        return "_opened" in vars(self)

    @cached_property
    def _opened(self) -> Predictor:
        return self._open()

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts in one pass."""
        return self._get().score(texts)

    def save(self, folder: Path) -> None:
        """Write all that `load` of its own class needs."""
        self._get().save(folder)

    @classmethod
    def load(cls, folder: Path) -> "LazyPredictor":
        """Refuse: what it saves is loaded by the class of the predictor that it stands for."""
        raise RunError(f"Expected a predictor in {folder}, but found only a place for one.")

    def _get(self) -> Predictor:
        # cached_property alone may open it once in each thread.
        with self._opening:
            return self._opened


@dataclass(frozen=True, kw_only=True)
class MethodSource:
    """A part that is fitted."""

    method: Method

    def check(self, train: Dataset) -> None:
        """Refuse what fitting would refuse."""
        self.method.check(train)

    def fit(self, train: Dataset, validation: Dataset, workdir: Path) -> Part:
        """Fit it, in a folder of its own."""
        workdir.mkdir(parents=True, exist_ok=True)
        predictor = self.method.fit(train, validation, workdir=workdir)
        return Part(method=self.method.name, predictor=predictor)

    def labels_used(self, train: Dataset, validation: Dataset) -> int:
        """Return how many labelled rows its fitting uses."""
        return self.method.labels_used(train, validation)

    @property
    def knows_more_than_labels(self) -> bool:
        """Whether its answers use more than the labels that it is fitted on."""
        return self.method.uses_more_than_labels()


@dataclass(frozen=True, kw_only=True)
class SavedSource:
    """A part that is fitted already, and stands in a folder."""

    folder: Path
    registry: Registry

    def check(self, train: Dataset) -> None:
        """Refuse a folder that is incomplete, or a predictor of other labels."""
        names = read_manifest(self.folder, check_hashes=False).get("label_names")
        if not isinstance(names, list) or sorted(names) != sorted(train.label_names):
            raise RunError(
                f"Expected a predictor of the labels {', '.join(train.label_names)}, but that in "
                f"{self.folder} has {names!r:.200}. Name one that was fitted on the same labels."
            )

    def fit(self, train: Dataset, validation: Dataset, workdir: Path) -> Part:
        """Load it; nothing is fitted."""
        self.check(train)
        method = str(read_manifest(self.folder, check_hashes=False).get("method"))
        return Part(method=method, predictor=self.registry.load(self.folder))

    def labels_used(self, train: Dataset, validation: Dataset) -> int:
        """Return what its own run says; 0 where it stands outside a run's folder."""
        cost = self.folder.parent / _COST
        if not cost.is_file():
            return 0
        return int(read_saved_json(cost).get("labels_used") or 0)

    @property
    def knows_more_than_labels(self) -> bool:
        """True: it was fitted on labels of before."""
        return True


Source = MethodSource | SavedSource


def find_source(registry: Registry, name: str, options: Mapping[str, Any], option: str) -> Source:
    """Return where a part comes from.

    Args:
        registry: What finds methods.
        name: A method's name, or the folder of a saved predictor or of a run's finished method.
        options: The method's options.
        option: The name of the option that names it, for what is said.

    Raises:
        OptionError: there is neither such a method nor such a folder, or a folder has options.
    """
    if name in registry.names():
        return MethodSource(method=registry.create(name, options))
    place = Path(name)
    folder = place / "predictor" if (place / "predictor" / MANIFEST).is_file() else place
    if not (folder / MANIFEST).is_file():
        raise OptionError(
            f"Expected the name of a method or the folder of a saved predictor for {option}, but "
            f"found {name!r}.{did_you_mean(name, registry.names())} The methods are: "
            f"{', '.join(registry.names())}. A folder is one such as runs/NAME/METHOD."
        )
    if options:
        raise OptionError(
            f"Expected no options for {option}, since {name} is fitted already, but found "
            f"{', '.join(options)}. Leave them out."
        )
    return SavedSource(folder=folder, registry=registry)


def average_scores(parts: Sequence[Scores], probabilities: np.ndarray[Any, Any]) -> Scores:
    """Return probabilities with the most tokens that any part read, and what any part cut."""
    return Scores(
        probabilities=probabilities,
        tokens=np.max([part.tokens for part in parts], axis=0),
        truncated=np.any([part.truncated for part in parts], axis=0),
    )
