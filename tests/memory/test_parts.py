"""What a method that is made of others takes: the larger of two, or both together."""

from pathlib import Path

from pollice.memory.footprint import Footprint, Lengths, larger, together
from pollice.memory.parts import lengths_with
from pollice.methods import create_method

LONG = Lengths(rows=1000, characters=1_000_000, longest=1000)
PLACE = {"device": "cpu", "dtype": "bfloat16", "checkpoint": "minilm"}


def footprint(*, cuda: bool = False, **parts: int) -> Footprint:
    return Footprint(parts=parts, cuda=cuda)


def test_what_is_held_at_once_is_added_but_for_libraries_and_texts() -> None:
    one = footprint(libraries=9, data=2, weights=5)
    other = footprint(libraries=4, data=2, weights=1, prefix=3)
    assert together(one, other).parts == {"libraries": 9, "data": 2, "weights": 6, "prefix": 3}
    assert larger(one, other) is one


def test_the_part_on_a_gpu_decides() -> None:
    small, large = footprint(cuda=True, weights=1), footprint(weights=100)
    for combine in (larger, together):
        assert combine(small, large) is small
        assert combine(large, small) is small


def test_a_file_of_texts_counts_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("x" * 3_000_000)
    assert lengths_with(LONG, str(tmp_path / "more.csv")).characters == 3_000_000
    assert lengths_with(LONG, str(tmp_path / "none.csv")) == lengths_with(LONG, None) == LONG


def test_the_teacher_reads_fewer_tokens_at_once_where_memory_is_short() -> None:
    for name in ("distill", "cascade"):
        options = {"teacher": "features", "teacher_options": {**PLACE, "batch_tokens": 4096}}
        method = create_method(name, options)
        half = method.halve_batch(LONG)  # type: ignore[attr-defined]  # a planned method
        assert half == {"teacher_batch_tokens": 2048}
        smaller = create_method(name, {**options, **half})
        assert smaller.halve_batch(LONG) == {"teacher_batch_tokens": 1024}  # type: ignore[attr-defined]
