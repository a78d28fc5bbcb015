"""What a block took: its own time, and its own peak of memory."""

import sys
from pathlib import Path

import pytest

from pollice.system.measuring import Meter, Release, free_bytes, measured, resident_bytes

MIB = 2**20


def test_seconds_are_those_of_the_block() -> None:
    clock = iter([10.0, 12.5])
    with measured(lambda: next(clock)) as meter:
        pass
    assert meter.seconds == 2.5


def test_the_clock_goes_forward() -> None:
    with measured() as meter:
        sum(range(1000))
    assert meter.seconds > 0


def test_a_block_that_fails_is_measured_too() -> None:
    clock = iter([1.0, 4.0])
    with pytest.raises(ValueError, match=r"^inside$"), measured(lambda: next(clock)) as meter:
        raise ValueError("inside")
    assert meter.seconds == 3
    assert meter.peak_memory_mib > 0


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists() or sys.platform != "linux",
    reason="only Linux lets a process forget its peak",
)
def test_the_peak_is_that_of_the_block_and_not_of_what_came_before() -> None:
    with measured() as small:
        pass
    with measured() as large:
        held = b"\1" * (300 * MIB)
    del held
    with measured() as after:
        pass
    assert large.peak_memory_mib > small.peak_memory_mib + 250
    assert after.peak_memory_mib < large.peak_memory_mib - 250


def test_what_is_resident_and_what_is_free_are_bytes_of_this_machine() -> None:
    before = resident_bytes()
    held = b"\1" * (200 * MIB)
    after = resident_bytes()
    assert 190 * MIB < after - before < 260 * MIB
    assert 0 < free_bytes() < 2**50
    del held


def test_without_a_gpu_no_peak_of_one_is_told() -> None:
    with measured() as meter:
        pass
    assert meter.peak_device_memory_mib is None
    assert meter.highest_on_device(Meter()) is None
    assert Meter(peak_device_memory_mib=3).highest_on_device(Meter(peak_device_memory_mib=5)) == 5
    assert Meter(peak_device_memory_mib=3).highest_on_device(Meter()) == 3


def test_memory_is_released_each_time_that_enough_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[bool] = []
    monkeypatch.setattr("pollice.system.measuring.release_memory", lambda: released.append(True))
    release = Release(every=10)
    seen = []
    for amount in (4, 5, 1, 9, 24, 9, 1):
        release.after(amount)
        seen.append(len(released))
    assert seen == [0, 0, 1, 1, 2, 2, 3]
