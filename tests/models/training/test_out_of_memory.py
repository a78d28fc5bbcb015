"""Where memory runs out, a step is taken again in smaller passes, and nothing else is caught."""

from collections.abc import Callable, Sequence

import pytest
import torch

from pollice.errors import MemoryPlanError
from pollice.models.training.out_of_memory import is_out_of_memory, take_step
from pollice.models.training.peers import Peers

ALONE = Peers(rank=0, size=1, device=torch.device("cpu"))


class Step:
    """A step that runs out of memory some times, and what was done on the way."""

    def __init__(self, errors: Sequence[Exception]) -> None:
        self.errors = list(errors)
        self.done: list[str] = []

    def attempt(self, name: str) -> Callable[[], float]:
        def work() -> float:
            self.done.append(name)
            if self.errors:
                raise self.errors.pop(0)
            return 0.5

        return work

    def shrink(self) -> str:
        self.done.append("shrink")
        return f"in {2 ** self.done.count('shrink')} passes"

    def take(self) -> float:
        return take_step(
            self.attempt("first"), self.attempt("again"), self.shrink, step=3, peers=ALONE
        )


def test_a_step_that_fits_is_taken_once(caplog: pytest.LogCaptureFixture) -> None:
    step = Step([])
    assert step.take() == 0.5
    assert step.done == ["first"]
    assert not caplog.messages


def test_a_step_is_taken_again_until_it_fits(caplog: pytest.LogCaptureFixture) -> None:
    step = Step([torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
    assert step.take() == 0.5
    assert step.done == ["first", "shrink", "again", "shrink", "again"]
    assert caplog.messages == [
        f"Step 3 did not fit into memory: it is taken again in {passes} passes, and so are all "
        "that follow."
        for passes in (2, 4)
    ]


def test_passes_that_cannot_shrink_end_it() -> None:
    step = Step([MemoryError()])

    def refuse() -> str:
        raise MemoryPlanError("not even one row")

    with pytest.raises(MemoryPlanError, match=r"^not even one row$"):
        take_step(step.attempt("first"), step.attempt("again"), refuse, step=1, peers=ALONE)
    assert step.done == ["first"]


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("out of memory")])
def test_other_errors_are_raised(error: Exception) -> None:
    step = Step([error])
    with pytest.raises(type(error), match=f"^{error}$"):
        step.take()
    assert step.done == ["first"]


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("anything"), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), True),
        (RuntimeError("CUDA error: Out of memory"), True),
        (RuntimeError("something else"), False),
    ],
)
def test_a_lack_of_memory_is_told_from_other_errors(error: Exception, is_it: bool) -> None:
    assert is_out_of_memory(error) is is_it
