"""The tensors of a Trainer's resume point: weights, optimizer and random numbers, as safetensors.

Knows nothing about when they are saved. transformers would pickle the last two, and nothing here
is ever unpickled.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pollice.models.training.optimizers import state_tensors, state_value

_RANDOM = "random.safetensors"
_OPTIMIZER = "optimizer.safetensors"


def random_states() -> dict[str, Tensor]:
    """Return the states of the generators of Python, NumPy, torch and every GPU, as tensors."""
    _, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    numbers = [float("nan") if gauss is None else gauss, float(position), has_gauss, cached]
    # int64, since the generators' words go up to 2**32 - 1, which int32 cannot hold.
    states = {
        "python": torch.tensor(words, dtype=torch.int64),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "numbers": torch.tensor(numbers, dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states |= {f"cuda.{n}": state for n, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def set_random_states(states: Mapping[str, Tensor]) -> None:
    """Set the generators as `random_states` found them."""
    gauss, position, has_gauss, cached = states["numbers"].tolist()
    words = tuple(states["python"].tolist())
    # Python and NumPy draw normal numbers in pairs and keep the second; NaN says that none is kept.
    random.setstate((3, words, None if gauss != gauss else gauss))
    keys = states["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), cached))
    torch.set_rng_state(states["torch"])
    gpus = [name for name in sorted(states) if name.startswith("cuda.")]
    if gpus and torch.cuda.is_available():
        for name in gpus:
            torch.cuda.set_rng_state(states[name], int(name.removeprefix("cuda.")))


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors of any device."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def optimizer_groups(optimizer: Any) -> list[dict[str, Any]]:
    """Return what the optimizer knows of each group of weights, as JSON can hold it."""
    groups = optimizer.state_dict()["param_groups"]
    return [{**group, "betas": list(group["betas"])} for group in groups]


def save_optimizer(folder: Path, optimizer: Any) -> None:
    """Write the optimizer's tensors."""
    states = optimizer.state_dict()["state"].items()
    tensors = {
        f"{number}.{name}": tensor
        for number, state in states
        for name, tensor in state_tensors(state).items()
    }
    save_tensors(folder / _OPTIMIZER, tensors)


def load_optimizer(folder: Path, optimizer: Any, groups: Sequence[Mapping[str, Any]]) -> None:
    """Give the optimizer back its tensors, and the groups of `optimizer_groups`."""
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in load_file(folder / _OPTIMIZER).items():
        number, name = key.split(".")
        state.setdefault(int(number), {})[name] = state_value(tensor)
    optimizer.load_state_dict({"state": state, "param_groups": [dict(group) for group in groups]})


def gather_random_states(accelerator: Any) -> dict[str, Tensor]:
    """Return the generators' states of every process, under its number; all call it together."""
    gathered: dict[str, Tensor] = {}
    for name, state in random_states().items():
        # A collective call: every process must come with the same names in the same order.
        states = accelerator.gather(state.to(accelerator.device)[None]).cpu()
        gathered |= {f"{rank}.{name}": each for rank, each in enumerate(states)}
    return gathered


def save_random_states(folder: Path, states: Mapping[str, Tensor]) -> None:
    """Write what `gather_random_states` gave."""
    save_tensors(folder / _RANDOM, states)


def load_random_states(folder: Path, rank: int) -> dict[str, Tensor]:
    """Return this process's states, for `set_random_states`."""
    # The dot keeps process 1 from taking the states of process 10.
    mine = f"{rank}."
    states = load_file(folder / _RANDOM).items()
    return {name.removeprefix(mine): state for name, state in states if name.startswith(mine)}
