"""What a resume point of our training loop holds: weights, optimizer, best epoch and position.

Knows nothing about how they change.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from pollice.models.training.layers import parameter_groups
from pollice.models.training.optimizers import adamw, state_tensors, state_value
from pollice.models.training.options import TrainingOptions

_WEIGHTS, _BEST, _OPTIMIZER = (
    f"{name}.safetensors" for name in ("weights", "best_weights", "optimizer")
)


@dataclass(kw_only=True)
class Position:
    """How far a training run has come."""

    micro_batch_tokens: int
    """The most tokens of a pass; fewer than the option says once memory has run out."""
    epoch: int = 0
    """Finished epochs."""
    batch: int = 0
    """Finished steps of the epoch that is not finished."""
    step: int = 0
    """All finished steps."""
    right: int = 0
    """Rows of this epoch that were judged right when they were trained on."""
    best_epoch: int = 0
    best: tuple[float, float] | None = None
    """What tells the best epoch; less is better."""
    temperature: float = 1.0
    """What the best epoch's logits are to be divided by."""
    tokens: int = 0
    padded_tokens: int = 0
    seconds: float = 0.0


@dataclass(kw_only=True)
class TrainingState:
    """All that changes in training."""

    position: Position
    weights: dict[str, nn.Parameter]
    """Those that learn."""
    optimizer: torch.optim.Optimizer
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    """Those of the best epoch; none: the present ones are to be kept."""

    def set_rate(self, highest: float) -> None:
        """Give every group of weights its share of the highest learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = highest * group["share"]

    def keep_weights(self) -> None:
        """Remember the present weights as the best."""
        self.best_weights = {name: weight.detach().clone() for name, weight in self.weights.items()}

    @torch.no_grad()
    def set_weights(self, values: Mapping[str, Tensor]) -> None:
        """Copy values into the weights of the same names."""
        # In place: the optimizer holds these very parameters. Values may be on another device.
        for name, value in values.items():
            self.weights[name].copy_(value)

    def save(self, folder: Path) -> None:
        """Write all but the position, which the resume point's manifest holds."""
        # Frozen weights are left out: the checkpoint has them, the run's identity their hash.
        save_file(dict(self.weights), folder / _WEIGHTS)
        save_file(self._moments(), folder / _OPTIMIZER)
        if self.best_weights:
            save_file(self.best_weights, folder / _BEST)

    def load(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Read what `save` wrote, and the position from the manifest's facts."""
        # JSON has made the tuple a list, and Python refuses to compare the two.
        best = facts["best"]
        self.position = Position(**{**facts, "best": best and (best[0], best[1])})
        self.set_weights(load_file(folder / _WEIGHTS))
        self._set_moments(load_file(folder / _OPTIMIZER))
        if (folder / _BEST).is_file():
            self.best_weights = load_file(folder / _BEST)

    def _moments(self) -> dict[str, Tensor]:
        """Return the optimizer's state by the names of the weights: index/field would not last."""
        return {
            f"{name}/{key}": value
            for name, weight in self.weights.items()
            for key, value in state_tensors(self.optimizer.state.get(weight, {})).items()
        }

    def _set_moments(self, moments: Mapping[str, Tensor]) -> None:
        # torch numbers weights group by group, and `new_state` names them in the same order.
        numbers = {name: number for number, name in enumerate(self.weights)}
        state: dict[int, dict[str, Any]] = {}
        for place, value in moments.items():
            name, _, key = place.rpartition("/")
            state.setdefault(numbers[name], {})[key] = state_value(value)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def new_state(model: PreTrainedModel, options: TrainingOptions) -> TrainingState:
    """Return the state before the first step."""
    # `weights` must stand before `optimizer`: it takes "named" out of the groups, which the
    # optimizer would otherwise keep among its own settings.
    groups = parameter_groups(model, options)
    return TrainingState(
        position=Position(micro_batch_tokens=options.micro_batch_tokens),
        weights={name: p for group in groups for name, p in group.pop("named").items()},
        optimizer=adamw(model, groups, options),
    )


def weights_sha256(model: PreTrainedModel) -> str:
    """Return a hash of all weights by their names, as training begins with them."""
    digest = hashlib.sha256()
    for name, weight in model.state_dict().items():
        digest.update(name.encode())
        # As bytes, whatever the data type: NumPy has no bfloat16.
        digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
