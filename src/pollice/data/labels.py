"""Labels as a source gives them -> the names of labels.

Knows nothing about texts, and nothing about what a label means.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pollice.data.columns import ReadOptions
from pollice.data.label_cells import joined_labels, lists_of
from pollice.data.label_spelling import (
    NO_VALUE,
    PERHAPS_NO_VALUE,
    are_plain,
    fold,
    plain_number,
    spell,
)
from pollice.data.rating_bins import NO_BINS, rating_of, read_bins
from pollice.errors import DataError, did_you_mean

_NO_LABEL_CODE = "-1"  # how data sets of the Hub say that a row has no label
_SHOWN = 5
NO_LABEL = "no label"
SEVERAL_LABELS = "several labels"
NO_BIN = "rating left out"


@dataclass(frozen=True, kw_only=True)
class LabelSource:
    """Where labels come from, and what is known of them."""

    name: str
    options: ReadOptions
    known: tuple[str, ...] = ()
    """The labels that these are compared with: those of training rows or of a predictor."""
    class_codes: bool = False
    """Whether the code -1 says that a row has no label, as data sets of the Hub have it."""
    strict: bool = True
    """Whether a label that cannot be used is refused; if not, its rows count as unlabelled."""


@dataclass(frozen=True, kw_only=True)
class NamedLabels:
    """The name of each label of a source, and why a label has none."""

    names: Mapping[str, str | None]
    reasons: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Step:
    """What one step makes of the labels that it changes; None leaves their rows out."""

    renamed: Mapping[str, str | None]
    reason: str = NO_LABEL
    notes: tuple[str, ...] = ()


_NOTHING = _Step(renamed={})


def name_labels(labels: Sequence[str | None] | Counter[str], source: LabelSource) -> NamedLabels:
    """Return the name of every label, by the steps that the options of reading ask for.

    ``labels`` is one per row, or how often each label stands there.

    Raises:
        DataError: a code has no name, a text has several labels, or a rating is no number.
        OptionError: the bins of ratings cannot be read.
    """
    if not isinstance(labels, Counter):
        labels = Counter(label for label in labels if label is not None)
    given = labels
    found = NamedLabels(names={label: label for label in given}, reasons={})
    # Names come first and last: a code such as 01 may be named as it is written.
    fixed = frozenset((source.options.label_names or {}).values())
    for step in (_name, _unpack, _spell, _drop_no_value, _part, _bin, _name_all, _merge, _drop):
        counts = Counter[str]()
        for label, rows in given.items():
            name = found.names[label]
            if name is not None and (name not in fixed or step in (_merge, _drop)):
                counts[name] += rows
        found = _after(found, step(counts, source))
    counts = Counter[str]()
    for label, rows in given.items():
        counts[found.names[label] or ""] += rows
    return _after(found, _compare(counts, source))


def _after(found: NamedLabels, step: _Step) -> NamedLabels:
    names, reasons = dict(found.names), dict(found.reasons)
    for label, name in found.names.items():
        if name is not None and name in step.renamed:
            names[label] = step.renamed[name]
            if names[label] is None:
                reasons[label] = step.reason.format(name)
    return NamedLabels(names=names, reasons=reasons, notes=found.notes + step.notes)


def _name(counts: Mapping[str, int], source: LabelSource) -> _Step:
    names = source.options.label_names or {}
    return _Step(renamed={label: names[label] for label in counts if label in names})


def _unpack(counts: Mapping[str, int], source: LabelSource) -> _Step:
    """Take a single label out of its list; refuse several."""
    if source.options.several_labels == "keep":
        return _NOTHING
    lists = lists_of(counts)
    several = {label: items for label, items in lists.items() if len(items) > 1}
    renamed = {label: (items[0] if items else None) for label, items in lists.items()}
    single = {label: counts[label] for label, items in lists.items() if len(items) == 1}
    shown = next(iter(single), "")
    note = (
        f"In {_rows(sum(single.values()))} of {source.name} the label is in a list, such as "
        f"{shown}: it is taken out."
    )
    step = _Step(renamed=renamed, notes=(note,) if single else ())
    return step if not several else _several(step, several, counts, source)


def _several(
    step: _Step,
    several: Mapping[str, tuple[str, ...]],
    counts: Mapping[str, int],
    source: LabelSource,
) -> _Step:
    label = next(iter(several))
    rows = sum(counts[label] for label in several)
    found = (
        f"{_rows(rows)} of {source.name} {'has' if rows == 1 else 'have'} several labels, such as "
        f"{label!r} "
        f"({' and '.join(several[label])})"
    )
    if source.strict and source.options.several_labels is None:
        raise DataError(
            f"Expected one label for each text, but {found}. Leave such rows out with "
            "--several-labels drop, count such a cell as one label with --several-labels keep, or "
            "make a file with a column of yes and no for each label and compare each on its own."
        )
    renamed = {**step.renamed, **dict.fromkeys(several, None)}
    notes = (*step.notes, f"{found}: such rows count as without a label.")
    return _Step(renamed=renamed, reason=SEVERAL_LABELS, notes=notes)


def _part(counts: Mapping[str, int], source: LabelSource) -> _Step:
    """Refuse labels that join others, such as ``food,staff``."""
    options = source.options
    if options.several_labels == "keep" or options.rating_bins not in (None, NO_BINS):
        return _NOTHING
    several = joined_labels(counts)
    if several and source.strict and options.several_labels is None:
        _check_decimals(several, counts, source)
    return _several(_NOTHING, several, counts, source) if several else _NOTHING


def _check_decimals(
    several: Mapping[str, object], counts: Mapping[str, int], source: LabelSource
) -> None:
    """Refuse labels such as 4,5 that may as well be numbers with a decimal comma."""
    if all(rating_of(label) is not None for label in counts):
        label = next(iter(several))
        raise DataError(
            f"Expected one label for each text, but {source.name} has labels such as {label!r}: "
            "numbers with a decimal comma, or two labels. For numbers, make labels of them, as "
            'with --rating-bins "negative<3<=positive", or count each as a label with '
            "--several-labels keep; for two labels, --several-labels drop leaves such rows out."
        )


def _spell(counts: Mapping[str, int], source: LabelSource) -> _Step:
    """Give each label the one spelling that counts, and say which spellings became one."""
    plain = are_plain(counts)
    renamed = {label: spell(label, plain=plain) for label in counts}
    spellings: dict[str, list[str]] = {}
    for label, name in renamed.items():
        spellings.setdefault(name, []).append(label)
    notes = tuple(
        f"{_listed(found, counts)} in {source.name} are one label: {name!r}."
        for name, found in sorted(spellings.items())
        if len(found) > 1
    )
    return _Step(renamed=renamed, notes=(*notes, *_two_ways(renamed.values(), source)))


def _two_ways(names: Iterable[str], source: LabelSource) -> Iterator[str]:
    """Say that truth values are written in two ways, as words and as numbers."""
    found = set(names)
    if found & {"true", "false"} and found & {"0", "1"} and found <= {"true", "false", "0", "1"}:
        yield (
            f"The labels {', '.join(map(repr, sorted(found)))} in {source.name} are truth values "
            "as words and as numbers, but count as different labels. To make them one: "
            "--label-names 0=false,1=true,false=false,true=true."
        )


def _drop_no_value(counts: Mapping[str, int], source: LabelSource) -> _Step:
    """Leave out words for "no value" where they cannot be labels; name those that may be."""
    plain = are_plain(counts)
    words = NO_VALUE | PERHAPS_NO_VALUE if plain else NO_VALUE
    missing = [label for label in counts if label.casefold() in words]
    kept = [label for label in counts if label.casefold() in PERHAPS_NO_VALUE - words]
    notes = []
    if missing:
        why = "the others are numbers or truth values" if plain else "programs write it for none"
        notes.append(
            f"{_listed(missing, counts)} in {source.name} {_verb(missing, 'count')} as no label, "
            f"since {why}. To keep such rows, name every label: --label-names {missing[0]}=NAME,..."
        )
    if kept:
        notes.append(
            f"{_listed(kept, counts)} in {source.name} {_verb(kept, 'count')} as any other, since "
            "the other labels are words. To leave such rows out: "
            f"{' '.join(f'--drop-label {label}' for label in kept)}."
        )
    return _Step(renamed=dict.fromkeys(missing, None), notes=tuple(notes))


def _bin(counts: Mapping[str, int], source: LabelSource) -> _Step:
    """Make labels of ratings."""
    text = source.options.rating_bins
    if text in (None, NO_BINS):
        return _NOTHING
    bins = read_bins(str(text))
    dropped = source.options.drop_labels
    ratings = {label: rating_of(label) for label in counts if label not in dropped}
    others = [label for label, rating in ratings.items() if rating is None]
    if others and source.strict:
        raise DataError(
            f"Expected numbers for --rating-bins in {source.name}, but found {others[0]!r}. "
            f"Leave its rows out with --drop-label {others[0]}, or name another column with "
            "--label-column."
        )
    renamed = {
        label: None if rating is None else bins.label_of(rating)
        for label, rating in ratings.items()
    }
    return _Step(renamed=renamed, reason=NO_BIN)


def _name_all(counts: Mapping[str, int], source: LabelSource) -> _Step:
    """Name codes that are spelled in another way than their names say; refuse unnamed ones."""
    names = source.options.label_names
    if names is None or source.options.rating_bins not in (None, NO_BINS):
        return _NOTHING
    spelled = {_key(code, source): name for code, name in reversed([*names.items()])}
    renamed: dict[str, str | None] = {}
    for label, rows in counts.items():
        if _key(label, source) in spelled:
            renamed[label] = spelled[_key(label, source)]
        elif label == _NO_LABEL_CODE and source.class_codes:
            renamed[label] = None
        elif label in source.options.drop_labels:
            continue
        elif source.strict:
            raise DataError(
                f"Expected the labels {', '.join(names)} in {source.name}, but found {label!r} "
                f"({_rows(rows)}). Give every label a name with --label-names, or leave its rows "
                f"out with --drop-label {label}."
            )
    return _Step(renamed=renamed)


def _key(label: str, source: LabelSource) -> str:
    spelled = plain_number(spell(label, plain=False))
    return fold(spelled) if source.options.merge_labels else spelled


def _merge(counts: Mapping[str, int], source: LabelSource) -> _Step:
    """Merge labels that differ only in case or blanks, or say that they count apart."""
    groups: dict[str, list[str]] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        groups.setdefault(fold(label), []).append(label)
    several = [labels for labels in groups.values() if len(labels) > 1]
    if source.options.merge_labels is None:
        notes = tuple(
            f"{_listed(labels, counts)} in {source.name} differ only in case or blanks, but count "
            "as different labels. To merge them: --merge-labels case."
            for labels in several
        )
        return _Step(renamed={}, notes=notes)
    return _Step(
        renamed={label: labels[0] for labels in several for label in labels},
        notes=tuple(
            f"{_listed(labels, counts)} in {source.name} are merged to {labels[0]!r}."
            for labels in several
        ),
    )


def _drop(counts: Mapping[str, int], source: LabelSource) -> _Step:
    """Leave out the labels that are asked to be."""
    if not source.options.drop_labels:
        return _NOTHING
    by_key = {_key(label, source): label for label in counts}
    by_key |= {label: label for label in counts}
    renamed: dict[str, str | None] = {}
    for label in source.options.drop_labels:
        found = by_key.get(label, by_key.get(_key(label, source)))
        if found is not None:
            renamed[found] = None
        elif source.strict and not source.known and label.casefold() not in NO_VALUE:
            raise DataError(
                f"Expected the label {label!r} of --drop-label in {source.name}, but its labels "
                f"are {_some(counts)}.{did_you_mean(label, counts)}"
            )
    return _Step(renamed=renamed, reason="label {}")


def _compare(counts: Mapping[str, int], source: LabelSource) -> _Step:
    """Spell labels as those that they are compared with; say which are none of them."""
    if not source.known:
        return _NOTHING
    spelled = {_key(name, source): name for name in reversed(source.known)}
    others = [label for label in counts if label and label not in source.known]
    renamed: dict[str, str | None] = {
        label: spelled[key] for label in others if (key := _key(label, source)) in spelled
    }
    unknown = [label for label in others if label not in renamed]
    if not unknown or source.strict:
        return _Step(renamed=renamed)
    alike = {fold(name) for name in source.known}
    way = "Name them with --label-names CODE=NAME"
    if alike.issuperset(map(fold, unknown)):
        way = "To merge labels that differ only in case or blanks: --merge-labels case"
    note = (
        f"{_listed(unknown, counts)} in {source.name} {'is' if len(unknown) == 1 else 'are'} not "
        f"among the labels {_some(source.known)}: such rows are judged, but not compared. {way}."
    )
    return _Step(renamed={**renamed, **dict.fromkeys(unknown, None)}, notes=(note,))


def _rows(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows:,} rows"


def _listed(labels: Sequence[str], counts: Mapping[str, int]) -> str:
    """Return ``The labels 'a' (2 rows) and 'b' (1 row)``."""
    said = [f"{label!r} ({_rows(counts[label])})" for label in labels[:_SHOWN]]
    if len(labels) > _SHOWN:
        said.append(f"{len(labels) - _SHOWN:,} others")
    *first, last = said
    return f"The label{'s' if first else ''} {', '.join(first)}{' and ' if first else ''}{last}"


def _verb(labels: Sequence[str], plural: str) -> str:
    return f"{plural}s" if len(labels) == 1 else plural


def _some(labels: Iterable[str]) -> str:
    names = list(labels)
    more = f" and {len(names) - _SHOWN:,} others" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
