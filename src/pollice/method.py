"""Method: the contract of a way to learn, found by the name of its file.

Knows nothing about any one method.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

from pollice.data.dataset import Dataset
from pollice.predictions.predictor import Predictor

OPTIONS = ConfigDict(extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=False)
"""The pydantic configuration of every method's options."""

Work = Literal["count_words", "encode", "pair", "prompt", "train_encoder", "train_causal"]
"""What a method does as far as memory is concerned; `pollice.memory.footprint` has the formulas."""


TRAINING_LOG = "training.jsonl"
"""In the ``workdir`` of `Method.fit`: a line for each training step and each epoch, if any."""

NO_EFFECT: Any = {"affects_results": False}
"""For ``Field(json_schema_extra=NO_EFFECT)``: the option changes no result, but for rounding. The
planner may change such an option, and a run goes on where it stopped with another value of it."""

ENTRY_POINTS = "pollice.methods"
"""The group of entry points by which other packages add methods."""


class Method(ABC):
    """A way to turn labelled texts into a predictor. Its dataclass fields are its options."""

    name: ClassVar[str]
    """The name of the entry point, or of the file, that the method is found by."""
    predictor_type: ClassVar[type[Predictor]]
    """What `fit` returns, and what reads a saved predictor."""
    knows_more_than_labels: ClassVar[bool] = False
    """Whether a prediction rests on more than the labels that `fit` is given: such a method
    judges well even where they are wrong, so shuffled labels (the canary) show nothing of it."""
    work: ClassVar[Work | None] = None
    """By what its memory is planned; None: it is not planned."""
    joint: ClassVar[bool] = False
    """Whether `fit` shares its work with the processes that torchrun or accelerate launched; the
    first process fits the others alone."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = _name_of(cls)

    @abstractmethod
    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> Predictor:
        """Learn from ``train``, choose by ``validation``; logs and checkpoints go to ``workdir``.

        The test rows never come here.
        """

    def check(self, train: Dataset) -> None:  # noqa: B027 -- most methods of others need none
        """Refuse what `fit` would refuse, before any method of a comparison is fitted.

        What has to be fetched or converted first is made ready here, so that no measured time
        holds it. By default there is nothing to check.
        """

    def labels_used(self, train: Dataset, validation: Dataset) -> int:
        """Return how many labelled rows `fit` looks at: the price of this method in labels."""
        return len(train) + len(validation)

    def repetitions(self) -> Sequence["Method"]:
        """Return the same method with other draws, whose spread is reported."""
        return ()


def _name_of(method: type[Method]) -> str:
    place = f"{method.__module__}:{method.__qualname__}"
    found = (entry.name for entry in entry_points(group=ENTRY_POINTS) if entry.value == place)
    return next(found, method.__module__.rpartition(".")[2])


def options_of(method: Method) -> dict[str, Any]:
    """Return every option of a method with its value, as plain JSON types."""
    values: dict[str, Any] = TypeAdapter(type(method)).dump_python(method, mode="json")
    return values


def options_without_effect(kind: type[Any]) -> frozenset[str]:
    """Return the names of the options that change no result: those marked with `NO_EFFECT`."""
    fields: Mapping[str, Any] = kind.__pydantic_fields__
    return frozenset(
        name
        for name, field in fields.items()
        if (field.json_schema_extra or {}).get("affects_results") is False
    )
