from pollice.predictions.pieces import Piece
from pollice.predictions.shading import Stretch, shade


def test_a_text_is_cut_into_shaded_stretches_without_loss() -> None:
    text = "so good, so bad!"
    pieces = [
        Piece(start=12, end=15, weight=-3.0),
        Piece(start=3, end=7, weight=1.5),
        Piece(start=0, end=2, weight=0.1),
    ]
    found = shade(text, pieces)
    assert "".join(stretch.text for stretch in found) == text
    shaded = {stretch.text: stretch.sign for stretch in found if stretch.sign}
    assert shaded == {"good": "++", "bad": "---"}


def test_nothing_is_shaded_where_nothing_speaks() -> None:
    assert shade("a b", [Piece(start=0, end=1, weight=0.0)]) == (
        Stretch(text="a"),
        Stretch(text=" b"),
    )
    assert shade("", []) == ()
