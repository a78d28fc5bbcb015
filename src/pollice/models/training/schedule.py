"""Which rows each training step takes, in which passes, and at which learning rate.

Knows nothing about models: only lengths and counts.
"""

import math

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

RELEASE_TOKENS = 1024
"""Freed memory is given back to the system after steps of so many tokens, padding included.

Steps of other lengths leave gaps between blocks that the next one does not fit into: all weights of
a six-layer encoder in float32 held 2,300 MiB when this was done every 16 steps, and 1,930 now, in
the same time (two cores of an Intel Xeon, glibc).
"""

_FEWEST_EPOCHS, _MOST_EPOCHS = 3, 30
_FEWEST_STEPS = 120  # with few rows, three epochs end before anything is learned (2006.04884)
_WINDOW_BATCHES = 100  # rows of like length are looked for among this many batches' rows


def usual_epochs(rows: int, batch_size: int) -> int:
    """Return how often to see so many training rows: 3 times, and few rows more often."""
    needed = math.ceil(_FEWEST_STEPS / max(1, math.ceil(rows / batch_size)))
    return max(_FEWEST_EPOCHS, min(_MOST_EPOCHS, needed))


def epoch_batches(
    lengths: NDArray[np.int64], *, batch_size: int, seed: int, epoch: int
) -> list[Indices]:
    """Return the row numbers of each step of an epoch, as seed and epoch alone decide them.

    The rows are shuffled and dealt into windows; within a window, rows of like length go
    together, shortest first; then the steps are shuffled. Every row is in exactly one step.
    """
    # A new generator for each epoch: on resuming, no earlier epoch must be drawn again.
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(len(lengths))
    steps = math.ceil(len(order) / batch_size)
    windows = math.ceil(steps / _WINDOW_BATCHES)
    # Windows of nearly the same size, in whole batches: only one step of an epoch can be short.
    window_rows = math.ceil(steps / max(1, windows)) * batch_size
    batches = []
    for start in range(0, len(order), window_rows or 1):
        window = order[start : start + window_rows]
        # Stable: rows of one length stay in shuffled order, and the order is the same on every CPU.
        window = window[np.argsort(lengths[window], kind="stable")]
        batches += [window[at : at + batch_size] for at in range(0, len(window), batch_size)]
    return [batches[number] for number in generator.permutation(len(batches))]


def micro_batches(
    lengths: NDArray[np.int64], rows: Indices, *, micro_batch_tokens: int
) -> list[Indices]:
    """Cut a step's rows into passes of at most so many tokens, padding counted.

    Args:
        lengths: The tokens of every row there is.
        rows: The step's rows, shortest first.
        micro_batch_tokens: The most tokens of a pass; a row longer than that goes alone.
    """
    passes = []
    end = len(rows)
    # From the longest row down: a pass is padded to its last row, and the pass that takes the most
    # memory comes early in the step.
    while end:
        fitting = max(1, micro_batch_tokens // max(1, int(lengths[rows[end - 1]])))
        start = max(0, end - fitting)
        passes.append(rows[start:end])
        end = start
    return passes


def padded_tokens(lengths: NDArray[np.int64], rows: Indices) -> int:
    """Return the tokens of a pass, padding counted."""
    return int(lengths[rows].max()) * len(rows)


def rate_share(step: int, *, steps: int, warmup_steps: int) -> float:
    """Return the share of the highest rate at a step: up during warm-up, then down to 0."""
    if step < warmup_steps:
        # Plus 1: at a rate of 0 the first step would teach nothing.
        return (step + 1) / warmup_steps
    return max(0.0, (steps - step) / max(1, steps - warmup_steps))
