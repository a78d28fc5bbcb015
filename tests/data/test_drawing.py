"""Options of a split, the order of drawing and quotas."""

from hypothesis import given
from hypothesis import strategies as st

from pollice.data.drawing import Drawing, SplitOptions, draw_hash, share_out


def test_the_order_of_drawing_is_the_same_everywhere() -> None:
    """Use, seed and text each give another place."""
    assert draw_hash("split", 0, b"good").hex() == "90f0c9720a95c4f6e3da4bb2b355e211"
    places = {
        draw_hash("split", 0, b"good"),
        draw_hash("sample", 0, b"good"),
        draw_hash("split", 1, b"good"),
        draw_hash("split", 0, b"bad"),
    }
    assert len(places) == 4


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.data())
def test_quotas_are_in_proportion(sizes: list[int], data: st.DataObject) -> None:
    rows = data.draw(st.integers(len(sizes), sum(sizes)))
    quotas = share_out(sizes, rows)
    assert sum(quotas) == rows
    assert all(1 <= quota <= size for quota, size in zip(quotas, sizes, strict=True))


def test_rows_are_taken_in_order_up_to_each_labels_target() -> None:
    drawing = Drawing(labels=["a", "b", "a", "a", "c"], options=SplitOptions())
    assert drawing.take([3, 1, 0, 2, 4], {"a": 2, "b": 1}) == [3, 1, 0]
