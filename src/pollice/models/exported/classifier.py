"""ExportedClassifier: an encoder that was exported, as a predictor without PyTorch.

Knows nothing about how it was exported.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import copyfile
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors.numpy import save_file
from scipy.special import softmax

from pollice.models.batching import aligned, length_batches, padded
from pollice.models.exported.engines import open_engine
from pollice.models.exported.forms import FORMS
from pollice.models.linear_head import LinearHead
from pollice.models.pieces import Encoded, Frame
from pollice.models.plain_tokenizer import PlainTokenizer
from pollice.predictions.predictor import Predictor, Scores
from pollice.predictions.saved_files import (
    damaged,
    read_label_names,
    read_saved_arrays,
    read_saved_json,
)

_SETTINGS = "exported.json"
_TOKENIZER = "tokenizer.json"
_HEAD = "head.safetensors"


@dataclass(frozen=True, kw_only=True)
class ExportedSettings:
    """How an exported predictor reads texts, and what it was exported from."""

    form: str
    label_names: tuple[str, ...]
    frame: Frame
    pad: int
    """The id that fills a batch."""
    control: tuple[int, ...]
    """The ids that no text may contain."""
    batch_tokens: int
    parameters: int
    """The weights of the model that was exported."""
    facts: Mapping[str, Any] = field(default_factory=dict)


class ExportedClassifier(Predictor):
    """The graph of an encoder, run by ONNX Runtime or OpenVINO, and its head if it has none.

    Args:
        folder: Where its files lie.
        settings: How it reads texts.
        head: What makes probabilities of vectors; None: the graph gives the labels' logits.
    """

    def __init__(self, folder: Path, settings: ExportedSettings, head: LinearHead | None) -> None:
        self.label_names = settings.label_names
        self.settings = settings
        self._folder = folder
        self._head = head
        content = (folder / _TOKENIZER).read_text(encoding="utf-8")
        self._tokenizer = PlainTokenizer(content, frozenset(settings.control))
        self._run = open_engine(folder, FORMS[settings.form])

    @property
    def parameters(self) -> int:
        """The weights of the model that was exported."""
        return self.settings.parameters

    @property
    def facts(self) -> Mapping[str, Any]:
        """The form, and what is known of the predictor that was exported."""
        return {**self.settings.facts, "form": self.settings.form}

    def read(self, texts: Sequence[str]) -> Encoded:
        """Return texts as token ids, the very same as before the export."""
        return self.settings.frame.read(texts, self._tokenizer.encode_texts)

    def judge_batch(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """Judge pieces in one batch as they come: ``(pieces, labels)``."""
        longest = max(len(row) for row in tokens)
        longest = max(longest, min(aligned(longest), self.settings.frame.max_tokens))
        mask = padded([[1] * len(row) for row in tokens], longest, 0)
        found = self._run(padded(tokens, longest, self.settings.pad), mask).astype(np.float64)
        if self._head is not None:
            return self._head.predict_proba(found)
        probabilities: NDArray[np.float64] = softmax(found, axis=1)
        return probabilities

    def score(self, texts: Sequence[str]) -> Scores:
        """Classify texts, in batches of like length."""
        encoded = self.read(texts)
        probabilities = np.zeros((len(encoded.tokens), len(self.label_names)))
        for batch in length_batches(encoded.lengths, batch_tokens=self.settings.batch_tokens):
            for rows in _in_powers(batch):
                probabilities[rows] = self.judge_batch([encoded.tokens[row] for row in rows])
        return Scores(
            probabilities=encoded.average(probabilities),
            tokens=encoded.tokens_read(),
            truncated=encoded.truncated,
        )

    def save(self, folder: Path) -> None:
        """Write a copy of its files."""
        form = FORMS[self.settings.form]
        stem = Path(form.model_file).stem
        for path in (*self._folder.glob(f"{stem}.*"), self._folder / _TOKENIZER):
            copyfile(path, folder / path.name)
        write_reading(folder, self.settings, self._tokenizer, self._head)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what an export or `save` wrote.

        Raises:
            RunError: a file is missing or damaged.
            OptionError: the package that runs the form is not installed.
        """
        settings = _read_settings(folder)
        path = folder / _HEAD
        head = None
        if path.is_file():
            head = LinearHead.from_arrays(
                read_saved_arrays(path, "mean", "scale", "weight", "bias")
            )
            head.check_shape(path, head.mean.size, len(settings.label_names))
        return cls(folder, settings, head)


def _in_powers(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Divide a batch into parts of 1, 2, 4, 8 ... rows, the largest first.

    OpenVINO prepares itself for every new shape of a batch, which takes as long as judging it: so
    there are few shapes.
    """
    start = 0
    while start < len(rows):
        size = 1 << ((len(rows) - start).bit_length() - 1)
        yield rows[start : start + size]
        start += size


def write_reading(
    folder: Path, settings: ExportedSettings, tokenizer: PlainTokenizer, head: LinearHead | None
) -> None:
    """Write all of an exported predictor but its model: settings, tokenizer and head."""
    content = json.dumps(asdict(settings), indent=2)
    (folder / _SETTINGS).write_text(content, encoding="utf-8")
    (folder / _TOKENIZER).write_text(tokenizer.to_json(), encoding="utf-8")
    if head is not None:
        save_file(head.arrays(), folder / _HEAD)


def _read_settings(folder: Path) -> ExportedSettings:
    path = folder / _SETTINGS
    content = read_saved_json(path, "form", "frame", "control")
    read_label_names(path, content)
    try:
        settings = TypeAdapter(ExportedSettings).validate_python(content)
    except ValidationError:
        raise damaged(path, "the settings of an export", "they cannot be read as such") from None
    if settings.form not in FORMS:
        raise damaged(path, f"one of the forms {', '.join(FORMS)}", f"it is {settings.form!r}")
    return settings
