"""What a block took: its own time, and its own peak of memory."""

import sys
import time
from pathlib import Path

import pytest

from pollice.system.measuring import Meter, Release, free_bytes, measured, resident_bytes

MIB = 2**20


def test_seconds_are_those_of_the_block() -> None:
    with measured() as meter:
        time.sleep(0.05)
    time.sleep(0.05)
    assert 0.05 <= meter.seconds < 0.1


def test_a_block_that_fails_is_measured_too() -> None:
    with pytest.raises(ValueError, match=r"^inside$"), measured() as meter:
        raise ValueError("inside")
    assert meter.seconds > 0
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
