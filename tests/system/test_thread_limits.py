"""Small work has one thread; large work, and what comes after, has as many as before."""

import os

import numpy as np  # its BLAS is among the libraries that are asked
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from pollice.system.threads import few_threads, usual_threads


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info()}


@pytest.mark.parametrize(("multiplications", "found"), [(1000, {1}), (10**9, {2})])
def test_small_work_has_one_thread(multiplications: int, found: set[int]) -> None:
    assert np.ones(2) @ np.ones(2) == 2
    with threadpool_limits(limits=2):
        before = threads()
        with few_threads(multiplications):
            assert threads() == found
        assert threads() == before == {2}


@pytest.mark.parametrize(("said", "found"), [("3", 3), ("4,2", 4), ("0", 1)])
def test_the_usual_threads_are_those_that_are_said(
    monkeypatch: pytest.MonkeyPatch, said: str, found: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert usual_threads() == found


def test_the_usual_threads_are_the_cores_where_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= usual_threads() <= (os.cpu_count() or 1)
