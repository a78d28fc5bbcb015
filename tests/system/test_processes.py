"""Which of several processes this is, by the variables that torchrun and accelerate set."""

import pytest

from pollice.system import processes


def test_alone_a_process_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (processes.number(), processes.is_first(), processes.are_several()) == (0, True, False)


def test_of_several_one_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    for rank in range(4):
        monkeypatch.setenv("RANK", str(rank))
        assert processes.number() == rank
        assert processes.is_first() == (rank == 0)
        assert (processes.count(), processes.are_several()) == (4, True)
