"""Ratings become labels: ``negative<3<=positive``.

Knows nothing about texts, and nothing about what a label means.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from pollice.data.label_spelling import is_number
from pollice.errors import OptionError

LEFT_OUT = "drop"
"""The name of a bin whose rows are left out."""
NO_BINS = "none"
"""Instead of bins: every number is a label of its own."""
_SIGN = re.compile("(<=|<)")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class RatingBins:
    """Names, and the ratings between them."""

    names: tuple[str, ...]
    cuts: tuple[Decimal, ...]
    """In rising order, one fewer than names."""
    signs: tuple[tuple[str, str], ...]
    """Before and after each cut: the side of ``<=`` has the cut itself, no side of ``<`` and ``<``.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the bins that are kept, from the lowest."""
        return tuple(name for name in self.names if name != LEFT_OUT)

    def label_of(self, rating: Decimal) -> str | None:
        """Return the name of a rating's bin; None for one that is left out."""
        name: str | None = self.names[-1]
        for place, (cut, (before, after)) in enumerate(zip(self.cuts, self.signs, strict=True)):
            if rating < cut or (rating == cut and before == "<="):
                name = self.names[place]
                break
            if rating == cut:
                name = self.names[place + 1] if after == "<=" else None
                break
        return None if name == LEFT_OUT else name


def read_bins(text: str) -> RatingBins:
    """Read bins such as ``negative<3<=neutral<=3.5<positive``; the bin ``drop`` is left out.

    Raises:
        OptionError: no such bins, ratings that do not rise, or a name twice.
    """
    pieces = [piece.strip() for piece in _SIGN.split(text.replace("\u2264", "<="))]
    names, cuts = pieces[::4], pieces[2::4]
    signs = tuple(zip(pieces[1::4], pieces[3::4], strict=False))
    kept = [name for name in names if name != LEFT_OUT]
    if len(pieces) % 4 != 1 or len(pieces) < 5 or not all(names) or not all(map(is_number, cuts)):
        problem = "each name and each rating must have < or <= between them"
    elif any(pair == ("<=", "<=") for pair in signs):
        problem = "a rating between <= and <= would be in two bins"
    elif sorted(set(numbers := [Decimal(cut) for cut in cuts])) != numbers:
        problem = "the ratings must rise from left to right"
    elif len(set(kept)) != len(kept) or len(kept) < 2:
        problem = f"two different names or more must be left without {LEFT_OUT!r}"
    else:
        return RatingBins(names=tuple(names), cuts=tuple(numbers), signs=signs)
    raise OptionError(
        f'Expected --rating-bins such as "negative<3<=positive", but found {text!r}: {problem}.'
    )


def rating_of(label: str) -> Decimal | None:
    """Return a label as a rating, also with a decimal comma or %; None for what is no number."""
    label = label.removesuffix("%").rstrip()
    if _DECIMAL_COMMA.fullmatch(label):
        label = label.replace(",", ".")
    return Decimal(label) if is_number(label) else None
