"""Label names that name a scale of opinions: their order, and where neighbouring steps meet.

Knows nothing about texts, and nothing about models.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

LINE = 4.0
"""Opinions lie on a line from -4 (worst) over 0 (neutral) to 4 (best), as in the ratings that the
default thresholds were chosen on; docs/prompting.md says which."""

_NEUTRAL = 0.5  # so far from 0 does the middle step reach
_REACH = 3.0  # the steps beyond it share this much of the line, evenly: five steps part at 2
_NUMBERS_REACH = 1.2  # who gives numbers or stars gives the ends often: on IMDB 1 and 10 the most
_MOST_NUMBERS = 12
_LARGEST_NUMBER = 10

_PLAIN, _STRONG, _MILD = 1.75, 3.0, 1.0

_BAD = """
    negative neg bad poor rotten unhappy dissatisfied unsatisfied displeased unfavorable
    unfavourable dislike disliked dislikes con cons contra against oppose opposed opposes
    disapprove disapproves disagree disagrees detractor detractors critical criticism complaint
    pessimistic bearish sad negativ negativo negativa negatif negatief negatywny schlecht
    unzufrieden malo mala mauvais mauvaise cattivo slecht отрицательный негативный плохо 负面 消极
    ネガティブ 부정
"""
_GOOD = """
    positive pos good fresh happy satisfied pleased favorable favourable like liked likes pro pros
    for support supports favor favour approve approves agree agrees promoter promoters praise
    compliment optimistic bullish recommended recommend positiv positivo positiva positif positief
    pozytywny gut zufrieden bueno buena bon bonne buono goed положительный позитивный хорошо 正面
    积极 ポジティブ 긍정
"""
_WORST = "terrible awful horrible dreadful worst hate hated hates abysmal"
_GREAT = "great love loved loves wonderful"
_BEST = "excellent outstanding perfect superb amazing best exceptional"
_MIDDLE = """
    neutral mixed neither average okay ok fair moderate undecided indifferent ambivalent balanced
    passive passives meh middling mediocre middle medium acceptable neutre neutro neutra neutraal
    durchschnittlich нейтральный нейтрально 中性 中立 ニュートラル 중립
"""
_PHRASES = {
    "thumbs down": -_PLAIN,
    "thumb down": -_PLAIN,
    "👎": -_PLAIN,
    "-": -_PLAIN,
    "minus": -_PLAIN,
    "thumbs up": _PLAIN,
    "thumb up": _PLAIN,
    "👍": _PLAIN,
    "+": _PLAIN,
    "plus": _PLAIN,
    "below average": -_MILD,
    "above average": _MILD,
    "so so": 0.0,
    "in between": 0.0,
    "no opinion": 0.0,
    "not bad": _MILD,
}


def _values() -> dict[str, float]:
    places = [
        (_BAD, -_PLAIN),
        (_GOOD, _PLAIN),
        (_WORST, -_STRONG),
        (_GREAT, 2.5),
        (_BEST, 3.25),
        (_MIDDLE, 0.0),
    ]
    return {word: place for words, place in places for word in words.split()} | _PHRASES


_VALUES = _values()
_STRONGLY = """
    very extremely strongly highly totally completely fully most really sehr tres muy molto zeer
    очень 非常 很
"""
_MILDLY = """
    slightly somewhat rather mostly mildly weakly fairly partly quite leaning eher plutot скорее
"""
_NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
}
_UNITS = r"(?:stars?|points?|thumbs?)"
_NUMBER = re.compile(
    rf"(?:(?:rating|score|grade|level|{_UNITS})\s*)?([-+]?\d+(?:\.\d+)?)\s*"
    rf"({_UNITS}|(?:/|of|out of)\s*\d+(?:\s*{_UNITS})?)?"
)
_NUMBERED = re.compile(r"[-+]?\d+\s*(?:[-\u2013:.=)]\s*|\s+|(?=\())(.+)")
_STARS = re.compile(r"([★⭐*]+)[☆]*")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Labels in the order of a scale of opinions, from the worst to the best."""

    names: tuple[str, ...]
    """The labels, the worst first."""
    cuts: tuple[float, ...]
    """Where neighbouring steps meet on the line of opinions, ``(steps - 1,)``; see `LINE`."""
    bare_numbers: bool = False
    """Whether the names are numbers and nothing else, so that the best may be either end."""


def find_scale(label_names: Sequence[str]) -> Scale | None:
    """Return the scale that labels name in any order of theirs; None where they name none.

    Two poles under their usual names, three steps with a middle, up to twelve steps of words of
    growing strength, stars, or numbers. The strength of words decides where two steps meet only
    where one side has more steps than the other.
    """
    if len(set(label_names)) < 2 or len(set(label_names)) < len(label_names):
        return None
    return _scale_of_words(label_names) or _scale_of_numbers(label_names)


def _scale_of_words(label_names: Sequence[str]) -> Scale | None:
    found = {name: _value(_unnumbered(_plain(name))) for name in label_names}
    values = {name: value for name, value in found.items() if value is not None}
    # Two labels at one place, such as good and positive, have no order.
    if len(values) < len(found) or len(set(values.values())) < len(values):
        return None
    names = tuple(sorted(values, key=lambda name: values[name]))
    below = sum(value < 0 for value in values.values())
    above = sum(value > 0 for value in values.values())
    if not below or not above:
        return None
    if below == above:
        return Scale(names=names, cuts=_even_cuts(len(names)))
    cuts = tuple((values[low] + values[high]) / 2 for low, high in pairwise(names))
    return Scale(names=names, cuts=cuts)


def _scale_of_numbers(label_names: Sequence[str]) -> Scale | None:
    found = {name: _number(_plain(name)) for name in label_names}
    numbers = {name: number for name, number in found.items() if number is not None}
    values = sorted({value for value, _ in numbers.values()})
    if len(numbers) < len(found) or len(values) < len(found):
        return None
    low, high = values[0], values[-1]
    steps = round(high - low) + 1
    if any(value % 1 for value in values) or max(map(abs, values)) > _LARGEST_NUMBER:
        return None
    if steps > _MOST_NUMBERS:
        return None
    names = tuple(sorted(numbers, key=lambda name: numbers[name][0]))
    bare = not any(unit for _, unit in numbers.values())
    if len(values) == 2:
        return Scale(names=names, cuts=(0.0,), bare_numbers=bare)
    # Steps without a label are counted too: a cut then lies midway across those left out.
    ladder = _even_cuts(steps, _NUMBERS_REACH)
    cuts = tuple(
        (ladder[round(below - low)] + ladder[round(above - low) - 1]) / 2
        for below, above in pairwise(values)
    )
    return Scale(names=names, cuts=cuts, bare_numbers=bare)


def _even_cuts(steps: int, reach: float = _REACH) -> tuple[float, ...]:
    """Return where the steps of a scale with as many below as above its middle meet."""
    side, inner = steps // 2, _NEUTRAL if steps % 2 else 0.0
    outer = [inner + (reach + _NEUTRAL - inner) * step / side for step in range(1, side)]
    upper = [inner, *outer] if steps % 2 else outer
    middle = [] if steps % 2 else [0.0]
    return tuple([-cut for cut in reversed(upper)] + middle + upper)


def _plain(name: str) -> str:
    """Return a name in small letters, without accents, underscores and doubled blanks."""
    letters = unicodedata.normalize("NFKD", name.strip().casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    plain = unicodedata.normalize("NFKC", plain)  # what is no accent joins up again
    if re.fullmatch(r"[-+]|[-+]?\d.*", plain):
        return " ".join(plain.replace("_", " ").split())
    return " ".join(re.sub(r"[_\s-]+", " ", plain).split())


def _unnumbered(name: str) -> str:
    """Return ``1 - very bad`` and ``5 (excellent)`` without their numbers."""
    found = _NUMBERED.fullmatch(name)
    return found[1].strip("() ") if found else name


def _value(name: str) -> float | None:
    """Return the place of a plain name on the line of opinions, if it has one."""
    if name in _VALUES:
        return _VALUES[name]
    parts = re.split(r"\s*/\s*|\s+(?:or|and)\s+", name)
    if name.startswith("neither "):
        return 0.0
    if name.startswith("not at all "):
        value = _value(name.removeprefix("not at all "))
        return -_STRONG if value and value > 0 else None
    if len(parts) > 1:
        values = [_value(part) for part in parts]
        known = [value for value in values if value is not None]
        same = len({(value > 0) - (value < 0) for value in known}) == 1
        return sum(known) / len(known) if len(known) == len(parts) and same else None
    first, _, rest = name.partition(" ")
    inner = _value(rest) if rest else None
    # None is no known word, 0.0 a neutral one: neither can be made stronger, weaker or negated.
    if not inner:
        return None
    if first == "not":
        return _negated(rest, inner)
    sign = 1 if inner > 0 else -1
    if first in _STRONGLY.split():
        return sign * max(_STRONG, abs(inner) + 0.5)
    return sign * _MILD if first in _MILDLY.split() else None


def _negated(rest: str, value: float) -> float:
    """Return the place of ``not good``; ``not very good`` is not as bad."""
    if value < 0:
        return _MILD
    return -_MILD if rest.partition(" ")[0] in _STRONGLY.split() else -_PLAIN


def _number(name: str) -> tuple[float, str] | None:
    """Return the number that a plain name is, and its unit."""
    stars = _STARS.fullmatch(name)
    if stars:
        return float(len(stars[1])), "stars"
    first, _, unit = name.partition(" ")
    if first in _NUMBER_WORDS and re.fullmatch(_UNITS, unit):
        return float(_NUMBER_WORDS[first]), unit
    found = _NUMBER.fullmatch(name)
    if found is None:
        return None
    lead = name[: found.start(1)].strip()
    return float(found[1]), (found[2] or lead).strip()
