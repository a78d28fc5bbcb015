"""Small work has one thread; large work, and what comes after, has as many as before."""

import numpy as np  # its BLAS is among the libraries that are asked
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from pollice.system.threads import few_threads


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
