"""Rows are drawn from what there is, and drawing always ends."""

from pollice.data.dataset import Dataset
from pollice.models.drawn_rows import draw_rows

ROWS = Dataset(
    ids=tuple("abcde"),
    texts=("one", "two", "three", "four", "five"),
    labels=("bad", "good", "bad", "bad", "good"),
    label_names=("bad", "good", "unseen"),
)


def test_who_asks_for_more_rows_than_there_are_gets_all_of_them_once() -> None:
    drawn = draw_rows(ROWS, shown=9, labelled=3, unlabelled=3, seed=0)
    assert sorted(drawn.shown.texts) == sorted(ROWS.texts)
    assert (len(drawn.labelled), drawn.unlabelled) == (0, ())
    drawn = draw_rows(ROWS, shown=2, labelled=9, unlabelled=3, seed=0)
    assert sorted([*drawn.shown.texts, *drawn.labelled.texts]) == sorted(ROWS.texts)
