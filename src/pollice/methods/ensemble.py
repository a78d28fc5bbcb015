"""Several methods judge together: their log-odds are averaged, or weighted where labels say so."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from safetensors.numpy import save_file

from pollice.data.dataset import Dataset
from pollice.errors import OptionError
from pollice.memory.footprint import Footprint, Lengths, PlannedMethod, together
from pollice.memory.parts import estimate_source
from pollice.method import OPTIONS
from pollice.methods import REGISTRY
from pollice.models.blending import Blend, Choice, average, choose_blend, fit_blend
from pollice.models.linear_head import label_codes
from pollice.models.parts import Part, Source, average_scores, find_source, load_part
from pollice.predictions.predictor import Predictor, Scores
from pollice.predictions.saved_files import (
    check_length,
    damaged,
    read_label_names,
    read_saved_arrays,
    read_saved_json,
)
from pollice.system.processes import are_several

_SETTINGS, _ARRAYS, _MEMBERS = "ensemble.json", "weights.safetensors", "members"


class EnsemblePredictor(Predictor):
    """Members, and how their log-odds are weighted."""

    def __init__(
        self,
        members: Mapping[str, Part],
        blend: Blend,
        label_names: tuple[str, ...],
        facts: Mapping[str, Any],
    ) -> None:
        self.label_names = label_names
        self._members = dict(members)
        self._blend = blend
        self._facts = dict(facts)

    @property
    def parameters(self) -> int:
        """The weights of all members."""
        return sum(member.predictor.parameters for member in self._members.values())

    @property
    def facts(self) -> Mapping[str, Any]:
        """The members, their weights, and why they were taken."""
        return self._facts

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts with every member."""
        scores = [member.score(texts, self.label_names) for member in self._members.values()]
        tables = np.stack([each.probabilities for each in scores])
        return average_scores(scores, self._blend.probabilities(tables))

    def save(self, folder: Path) -> None:
        """Write the members in folders numbered by their place, and the weights."""
        for number, member in enumerate(self._members.values()):
            member.save(folder / _MEMBERS / str(number))
        save_file(self._blend.arrays(), folder / _ARRAYS)
        content = {
            "label_names": self.label_names,
            "members": list(self._members),
            "facts": self._facts,
        }
        (folder / _SETTINGS).write_text(json.dumps(content, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        path = folder / _SETTINGS
        content = read_saved_json(path, "members", "facts")
        names, members = read_label_names(path, content), content["members"]
        if not isinstance(members, list) or not members or len(set(members)) < len(members):
            raise damaged(path, "a list of different members", "it has none")
        arrays = read_saved_arrays(folder / _ARRAYS, "weights", "bias")
        check_length(folder / _ARRAYS, "weights of members", len(arrays["weights"]), len(members))
        check_length(folder / _ARRAYS, "biases of labels", len(arrays["bias"]), len(names))
        parts = {
            name: load_part(folder / _MEMBERS / str(number), REGISTRY, names)
            for number, name in enumerate(members)
        }
        return cls(parts, Blend.from_arrays(arrays), names, content["facts"])


def _usual_members() -> dict[str, Mapping[str, Any]]:
    return {"baseline": {}, "features": {}}


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Ensemble(PlannedMethod):
    """The average of several methods' log-odds, weighted where validation rows show it better."""

    predictor_type = EnsemblePredictor

    members: Mapping[str, Mapping[str, Any]] = Field(default_factory=_usual_members, min_length=2)
    """The options of each member by its name; ``method`` names the method, or the folder of a
    saved predictor or of a run's finished method, if it differs."""
    combine: Literal["auto", "average", "stack"] = "auto"
    """auto: stack, if cross-validation on 64 validation rows or more shows that it is better."""
    seed: int = Field(default=0, ge=0)
    """The seed of every member without its own."""

    def sources(self) -> dict[str, Source]:
        """Return where each member comes from."""
        found = {}
        for name, given in self.members.items():
            options = dict(given)
            kind = str(options.pop("method", name))
            if kind in REGISTRY.names():
                options = {"seed": self.seed, **options}
            found[name] = find_source(REGISTRY, kind, options, f"the member {name}")
        return found

    def check(self, train: Dataset) -> None:
        """Refuse what a member refuses."""
        if are_several():
            raise OptionError(
                "Expected one process for an ensemble, but several were launched. Start the "
                "command without torchrun or accelerate."
            )
        for source in self.sources().values():
            source.check(train)

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> EnsemblePredictor:
        """Fit every member on the same rows, and choose the weights on validation rows."""
        names = train.label_names
        members = {
            name: source.fit(train, validation, workdir / str(number))
            for number, (name, source) in enumerate(self.sources().items())
        }
        choice = self._choose(members, validation)
        weights = dict(zip(members, np.round(choice.blend.weights, 4).tolist(), strict=True))
        shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
        said = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        how = "Weighted" if choice.step == "stack" else "Averaged"
        note = f"{how} log-odds; every member answers every row, and counts: {said}."
        facts = {
            "members": {name: member.method for name, member in members.items()},
            "combine": choice.step,
            "combine_reason": choice.reason,
            "weights": weights,
            "notes": [note],
        }
        return EnsemblePredictor(members, choice.blend, names, facts)

    def _choose(self, members: Mapping[str, Part], validation: Dataset) -> Choice:
        labels = len(validation.label_names)
        if self.combine == "average":
            blend = average(len(members), labels)
            return Choice(blend=blend, step="average", reason="as asked")
        tables = np.stack(
            [
                part.score(validation.texts, validation.label_names).probabilities
                for part in members.values()
            ]
        )
        codes: NDArray[np.int64] = label_codes(validation.labels, validation.label_names)
        if self.combine == "stack":
            return Choice(blend=fit_blend(tables, codes), step="stack", reason="as asked")
        return choose_blend(tables, codes)

    def labels_used(self, train: Dataset, validation: Dataset) -> int:
        """Return the most that a member uses, and the validation rows where they weigh members."""
        used = max(each.labels_used(train, validation) for each in self.sources().values())
        if self.combine == "average":
            return used
        return min(max(used, len(train) + len(validation)), used + len(validation))

    def uses_more_than_labels(self) -> bool:
        """Return whether the answers of any member use more than the given labels."""
        return any(source.knows_more_than_labels for source in self.sources().values())

    def estimate_memory(self, lengths: Lengths) -> Footprint:
        """Return what all members take: each is kept while the next is fitted."""
        first, *others = (estimate_source(each, lengths) for each in self.sources().values())
        for other in others:
            first = together(first, other)
        return first
