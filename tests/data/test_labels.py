"""Labels as people have them: spellings, words for none, several in a cell, ratings."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pollice.data.dataset import Dataset
from pollice.data.label_cells import joined_labels, lists_of
from pollice.data.label_spelling import are_plain, fold, plain_number, spell
from pollice.data.rating_bins import read_bins
from pollice.data.reading import ReadOptions, read_dataset, read_texts
from pollice.errors import DataError, OptionError


def write(folder: Path, labels: list[Any], name: str = "data.csv") -> str:
    """Write a file with a text of its own for each label, in the format of its name."""
    path = folder / name
    texts = [f"text number {row}" for row in range(len(labels))]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": texts, "label": labels}), path)
    elif path.suffix == ".jsonl":
        rows = zip(texts, labels, strict=True)
        path.write_text("".join(json.dumps({"text": t, "label": v}) + "\n" for t, v in rows))
    else:
        quoted = [str(label).replace('"', '""') for label in labels]
        rows = zip(texts, quoted, strict=True)
        path.write_text("text,label\n" + "".join(f'{t},"{v}"\n' for t, v in rows), "utf-8")
    return str(path)


def read(folder: Path, labels: list[Any], name: str = "data.csv", **options: Any) -> Dataset:
    return read_dataset(write(folder, labels, name), ReadOptions(**options))


def refuses(folder: Path, labels: list[Any], sentence: str, **options: Any) -> None:
    source = write(folder, labels)
    with pytest.raises(DataError, match=f"^{re.escape(sentence.format(source=source))}$"):
        read_dataset(source, ReadOptions(**options))


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("a.csv", ["1.0", "1", "01", "0", "0.0", "00"]),
        ("a.jsonl", [1.0, 1, "1", 0, "0.0", 0]),
        ("a.jsonl", ["1.0", "01", 1, "0", 0.0, 0]),
        ("a.parquet", [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]),
        ("a.parquet", ["1", "01", "1.0", "0", "0", "0.0"]),
    ],
)
def test_a_number_is_one_label_in_every_format(
    tmp_path: Path, name: str, labels: list[Any]
) -> None:
    dataset = read(tmp_path, labels, name)
    assert dataset.labels == ("1", "1", "1", "0", "0", "0")
    assert dataset.label_names == ("0", "1")


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("a.csv", ["True", "TRUE", "true", "False"]),
        ("a.jsonl", [True, "True", "true", False]),
        ("a.parquet", [True, True, True, False]),
    ],
)
def test_a_truth_value_is_one_label_in_every_format(
    tmp_path: Path, name: str, labels: list[Any]
) -> None:
    assert read(tmp_path, labels, name).labels == ("true", "true", "true", "false")


def test_spellings_that_become_one_are_said(tmp_path: Path) -> None:
    dataset = read(tmp_path, ["1", "1.0", "1.0", "0"])
    source = tmp_path / "data.csv"
    assert dataset.notes[1:] == (
        f"The labels '1' (1 row) and '1.0' (2 rows) in {source} are one label: '1'.",
    )


def test_zeros_before_a_code_stay_where_other_labels_are_words(tmp_path: Path) -> None:
    assert read(tmp_path, ["01", "1", "1.0", "x"]).labels == ("01", "1", "1", "x")


@pytest.mark.parametrize(
    ("label", "plain", "spelled"),
    [
        ("-1", True, "-1"),
        ("+1", True, "1"),
        ("-0", True, "0"),
        ("1.50", True, "1.5"),
        ("1e2", True, "100"),
        ("1e999999", True, "1e999999"),
        ("9" * 40, True, "9" * 40),
        ("inf", True, "inf"),
        ("1.10", False, "1.10"),
        ("v1.0", False, "v1.0"),
        ("De\u0301c\u0327u", False, "D\u00e9\u00e7u"),
        ("\u0661", False, "1"),
        ("\u0664\u066b\u0665", True, "4.5"),
        ("\uff11\uff10", False, "10"),
        ("\u0967 star", False, "\u0967 star"),
    ],
)
def test_a_label_has_one_spelling(label: str, plain: bool, spelled: str) -> None:
    assert spell(label, plain=plain) == spelled


def test_long_numbers_do_not_become_one() -> None:
    assert plain_number("12345678901234567890") != plain_number("12345678901234567891")


def test_words_for_none_do_not_make_words_of_numbers() -> None:
    assert are_plain(["1", "nan", "None"])
    assert are_plain(["true", "FALSE", "null"])
    assert not are_plain(["1", "good"])
    assert not are_plain(["nan"])


def test_composed_and_decomposed_labels_are_one(tmp_path: Path) -> None:
    dataset = read(tmp_path, ["d\u00e9\u00e7u", "de\u0301c\u0327u", "content"])
    assert dataset.label_names == ("content", "d\u00e9\u00e7u")
    assert len(dataset.notes) == 2


def test_words_for_none_are_no_labels_among_numbers(tmp_path: Path) -> None:
    dataset = read(tmp_path, ["1.0", "0.0", "nan", "None", "NULL"])
    assert (dataset.labels, dataset.dropped) == (("1", "0"), {"no label": 3})
    assert dataset.notes[1:] == (
        f"The labels 'nan' (1 row), 'None' (1 row) and 'NULL' (1 row) in {tmp_path / 'data.csv'} "
        "count as no label, since the others are numbers or truth values. To keep such rows, name "
        "every label: --label-names nan=NAME,...",
    )


def test_words_for_none_are_labels_among_words(tmp_path: Path) -> None:
    """NONE is a stance and NA a continent: they stay and are said; only nan is no word."""
    dataset = read(tmp_path, ["EU", "NA", "None", "nan"])
    assert (dataset.labels, dataset.dropped) == (("EU", "NA", "None"), {"no label": 1})
    source = tmp_path / "data.csv"
    assert dataset.notes[1:] == (
        f"The label 'nan' (1 row) in {source} counts as no label, since programs write it for "
        "none. To keep such rows, name every label: --label-names nan=NAME,...",
        f"The labels 'NA' (1 row) and 'None' (1 row) in {source} count as any other, since the "
        "other labels are words. To leave such rows out: --drop-label NA --drop-label None.",
    )


@pytest.mark.parametrize("sign", ["-", "--", "?", "missing", "Unlabelled"])
def test_signs_for_none_are_said_among_words_and_left_out_among_numbers(
    tmp_path: Path, sign: str
) -> None:
    assert read(tmp_path, ["1", "2", sign]).dropped == {"no label": 1}
    assert read(tmp_path, ["good", "bad", sign]).notes[1:] == (
        f"The label {sign!r} (1 row) in {tmp_path / 'data.csv'} counts as any other, since the "
        f"other labels are words. To leave such rows out: --drop-label {sign}.",
    )


def test_a_named_word_for_none_is_a_label(tmp_path: Path) -> None:
    names = {"1": "good", "0": "bad", "nan": "none of both"}
    dataset = read(tmp_path, ["1.0", "0.0", "nan"], label_names=names)
    assert dataset.labels == ("good", "bad", "none of both")
    assert dataset.label_names == ("good", "bad", "none of both")


def test_case_and_blanks_are_said_and_merged_on_demand(tmp_path: Path) -> None:
    labels = ["very good", "Very  Good", "very good", "VERY GOOD", "bad"]
    dataset = read(tmp_path, labels)
    assert len(dataset.label_names) == 4
    found = (
        "The labels 'very good' (2 rows), 'VERY GOOD' (1 row) and 'Very  Good' (1 row) in "
        f"{tmp_path / 'data.csv'}"
    )
    assert dataset.notes[1:] == (
        f"{found} differ only in case or blanks, but count as different labels. To merge them: "
        "--merge-labels case.",
    )
    merged = read(tmp_path, labels, merge_labels="case")
    assert merged.label_names == ("bad", "very good")
    assert merged.notes[1:] == (f"{found} are merged to 'very good'.",)


def test_another_source_is_spelled_as_the_first(tmp_path: Path) -> None:
    """The commonest spelling may differ between training and test rows."""
    options = ReadOptions(merge_labels="case")
    source = write(tmp_path, ["POS", "POS", "pos", "neg"])
    assert read_dataset(source, options, known=("neg", "pos")).labels == ("pos",) * 3 + ("neg",)
    assert read_dataset(source, known=("1.0", "POS", "pos", "neg")).label_names == (
        "POS",
        "neg",
        "pos",
    )


def test_fold_takes_case_blanks_and_invisible_signs_away() -> None:
    assert fold("Very\u00a0 GOOD\u200b") == fold("verygood")


@pytest.mark.parametrize("label", ["['food', 'staff']", '["food", "staff"]', "['food' 'staff']"])
def test_several_labels_in_a_list_are_refused(tmp_path: Path, label: str) -> None:
    shown = repr(label)
    refuses(
        tmp_path,
        [label, "['food']", "['staff']"],
        "Expected one label for each text, but 1 row of {source} has several labels, such as "
        f"{shown} (food and staff). Leave such rows out with --several-labels drop, count such a "
        "cell as one label with --several-labels keep, or make a file with a column of yes and no "
        "for each label and compare each on its own.",
    )


def test_lists_of_one_label_are_unpacked(tmp_path: Path) -> None:
    dataset = read(tmp_path, [["pos"], ["neg"], ["pos"], []], "a.jsonl")
    assert (dataset.labels, dataset.dropped) == (("pos", "neg", "pos"), {"no label": 1})
    assert dataset.notes[1:] == (
        f"In 3 rows of {tmp_path / 'a.jsonl'} the label is in a list, such as "
        '["pos"]: it is taken out.',
    )
    numbers = read(tmp_path, [[1], [0], [1]], "b.jsonl")
    assert numbers.labels == ("1", "0", "1")


def test_brackets_alone_make_no_list() -> None:
    assert lists_of(["[deleted]", "pos"]) == {}
    assert lists_of(["[pos]", "[neg, late]"]) == {"[pos]": ("pos",), "[neg, late]": ("neg", "late")}
    assert lists_of(['["a, b"]', "x"]) == {'["a, b"]': ("a, b",)}
    assert lists_of(["(good)", '=good:"yes"', '"']) == {}


@pytest.mark.parametrize("separator", [",", "|", ";", ", ", " | "])
def test_joined_labels_are_known_by_their_parts(separator: str) -> None:
    joined = f"food{separator}staff"
    assert joined_labels(["food", "staff", joined]) == {joined: ("food", "staff")}
    other = f"staff{separator}food"
    assert set(joined_labels([joined, other])) == {joined, other}


def test_labels_without_a_single_part_are_joined_if_parts_recur() -> None:
    assert len(joined_labels(["food,staff", "staff,room", "room,food"])) == 3


@pytest.mark.parametrize("separator", ["/", " / ", " & ", "+", " and "])
def test_signs_that_names_have_join_labels_only_if_all_parts_are_labels(separator: str) -> None:
    joined = f"food{separator}Staff"
    assert joined_labels(["food", "staff", joined]) == {joined: ("food", "Staff")}
    assert joined_labels(["food", joined]) == {}
    assert joined_labels([joined, f"staff{separator}food"]) == {}


@pytest.mark.parametrize(
    "labels",
    [
        ["bad, very / bad", '=good:"yes"'],
        ["Yes, definitely", "Yes, probably", "No, definitely", "No, probably"],
        ["food, drink and service", "food", "service"],
        ["a,b", "c"],
        ["pos", "neg"],
    ],
)
def test_a_separator_within_a_name_is_no_sign_of_several_labels(labels: list[str]) -> None:
    assert joined_labels(labels) == {}


def test_rows_of_several_labels_are_left_out_or_kept_on_demand(tmp_path: Path) -> None:
    labels = ["food", "staff", "food,staff", "staff,food"]
    dropped = read(tmp_path, labels, several_labels="drop")
    assert (dropped.labels, dropped.dropped) == (("food", "staff"), {"several labels": 2})
    assert read(tmp_path, labels, several_labels="keep").labels == tuple(labels)


def test_minus_one_is_a_label_among_numbers(tmp_path: Path) -> None:
    assert read(tmp_path, [-1, 0, 1]).label_names == ("-1", "0", "1")
    names = {"-1": "bad", "0": "mixed", "1": "good"}
    assert read(tmp_path, [-1, 0, 1], label_names=names).labels == ("bad", "mixed", "good")
    refuses(
        tmp_path,
        [-1, 0, 1],
        "Expected the labels 0, 1 in {source}, but found '-1' (1 row). Give every label a name "
        "with --label-names, or leave its rows out with --drop-label -1.",
        label_names={"0": "mixed", "1": "good"},
    )


def test_a_code_is_named_however_it_is_spelled(tmp_path: Path) -> None:
    dataset = read(tmp_path, ["1.0", "0.0", "TRUE"], label_names={"1": "a", "00": "b", "True": "c"})
    assert dataset.labels == ("a", "b", "c")


def test_labels_are_dropped_by_name(tmp_path: Path) -> None:
    dataset = read(tmp_path, ["pos", "neg", "other", "1.0"], drop_labels=("other", "1"))
    assert (dataset.labels, dataset.dropped) == (("pos", "neg"), {"label other": 1, "label 1": 1})
    refuses(
        tmp_path,
        ["pos", "neg", "other"],
        "Expected the label 'othr' of --drop-label in {source}, but its labels are pos, neg, other."
        " Did you mean 'other'?",
        drop_labels=("othr",),
    )


def test_texts_of_two_labels_are_said_and_dropped_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text,label\na,Good!,pos\nb,good,neg\nc,bad,neg\nd,fine,pos\ne,bad,neg\n")
    dataset = read_dataset(str(path))
    assert len(dataset) == 5
    assert dataset.notes[1:] == (
        "1 text has rows of different labels, such as the ids a 'pos', b 'neg'. The commonest "
        "label counts; to leave all their rows out: --drop-conflicts.",
    )
    clean = read_dataset(str(path), ReadOptions(drop_conflicts=True))
    assert (clean.ids, clean.notes[1:]) == (("c", "d", "e"), ())
    assert clean.dropped == {"text with different labels": 2}


RATED = "Expected a few labels, but {source} has "
BINS = (
    "If they are ratings, make labels of them, as with --rating-bins "
    '"negative<{middle}<=positive"; '
    "if each is a label, --rating-bins none; else name another column with --label-column."
)


def test_ratings_are_no_labels(tmp_path: Path) -> None:
    refuses(
        tmp_path,
        [f"{1 + row % 91 / 10:.1f}" for row in range(300)],
        RATED + "91 different numbers from 1 to 10. " + BINS.format(middle="5.5"),
    )
    refuses(
        tmp_path,
        [row % 101 for row in range(600)],
        RATED + "101 different numbers from 0 to 100. " + BINS.format(middle="50"),
    )


@pytest.mark.parametrize("steps", [[1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5], range(1, 13), range(20)])
def test_a_scale_of_few_steps_stays(tmp_path: Path, steps: list[float]) -> None:
    assert len(read(tmp_path, [*steps] * 3).label_names) == len(steps)


def test_numbers_are_labels_on_demand(tmp_path: Path) -> None:
    labels = [row % 77 for row in range(600)]
    assert len(read(tmp_path, labels, rating_bins="none").label_names) == 77


def test_bins_make_labels_of_ratings(tmp_path: Path) -> None:
    labels = ["1", "2,5", "3", "4.0", "nan", "5"]
    dataset = read(tmp_path, labels, rating_bins="negative<3<=neutral<4<=positive")
    assert dataset.labels == ("negative", "negative", "neutral", "positive", "positive")
    assert dataset.label_names == ("negative", "neutral", "positive")
    dropped = read(tmp_path, labels, rating_bins="positive<=2<drop<4<=negative")
    assert dropped.label_names == ("positive", "negative")
    assert dropped.dropped == {"rating left out": 2, "no label": 1}


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a<3<=b", ["a", "b", "b"]),
        ("a<=3<b", ["a", "a", "b"]),
        ("a<3<b", ["a", None, "b"]),
        ("a < 3 \u2264 b", ["a", "b", "b"]),
        ("a<=2.9<drop<3.1<=b", ["a", None, "b"]),
    ],
)
def test_a_rating_on_the_edge_is_on_the_side_of_the_equals_sign(
    text: str, labels: list[str | None]
) -> None:
    bins = read_bins(text)
    assert [bins.label_of(rating) for rating in (bins.cuts[0] * 0, 3, bins.cuts[-1] + 9)] == labels  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a", "each name and each rating must have < or <= between them"),
        ("a<b", "each name and each rating must have < or <= between them"),
        ("a<x<=b", "each name and each rating must have < or <= between them"),
        ("a<=3<=b", "a rating between <= and <= would be in two bins"),
        ("a<3<=b<2<=c", "the ratings must rise from left to right"),
        ("a<3<=a", "two different names or more must be left without 'drop'"),
        ("drop<3<=a", "two different names or more must be left without 'drop'"),
    ],
)
def test_bins_that_say_nothing(text: str, problem: str) -> None:
    sentence = (
        f'Expected --rating-bins such as "negative<3<=positive", but found {text!r}: {problem}.'
    )
    with pytest.raises(OptionError, match=f"^{re.escape(sentence)}$"):
        ReadOptions(rating_bins=text)


def test_bins_need_numbers(tmp_path: Path) -> None:
    refuses(
        tmp_path,
        ["1", "5", "good"],
        "Expected numbers for --rating-bins in {source}, but found 'good'. Leave its rows out with "
        "--drop-label good, or name another column with --label-column.",
        rating_bins="a<3<=b",
    )
    kept = read(tmp_path, ["1", "5", "good"], rating_bins="a<3<=b", drop_labels=("good",))
    assert (kept.labels, kept.dropped) == (("a", "b"), {"label good": 1})


def test_names_and_bins_exclude_each_other() -> None:
    with pytest.raises(OptionError) as caught:
        ReadOptions(rating_bins="a<3<=b", label_names={"1": "a"})
    assert str(caught.value) == (
        "Expected names for label codes or bins for ratings, but found both. Leave --label-names "
        "or --rating-bins out."
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"merge_labels": "all"}, "Expected 'case' for merge_labels, but found 'all'."),
        (
            {"several_labels": "first"},
            "Expected 'drop' or 'keep' for several_labels, but found 'first'.",
        ),
    ],
)
def test_an_unknown_choice_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(sentence)}$"):
        ReadOptions(**options)


def test_labels_of_texts_to_judge_are_never_refused(tmp_path: Path) -> None:
    """What cannot be used counts as not known, and is said."""
    source = write(tmp_path, ["pos", "0", "['pos', 'neg']", "", "neg", "POS"])
    table = read_texts(source, known=("neg", "pos"))
    assert table.gold == ("pos", None, None, None, "neg", None)
    assert table.notes[-1] == (
        f"The labels '0' (1 row) and 'POS' (1 row) in {source} are not among the labels neg, "
        "pos: such rows are judged, but not compared. Name them with --label-names CODE=NAME."
    )
    named = read_texts(source, ReadOptions(label_names={"0": "neg"}), known=("neg", "pos"))
    assert named.gold == ("pos", "neg", None, None, "neg", None)
    assert read_texts(source, ReadOptions(label_column="none")).gold is None


def test_numbers_with_a_decimal_comma_are_not_taken_for_two_labels(tmp_path: Path) -> None:
    """Where 4 and 5 are labels too, nobody but a person can tell what 4,5 is."""
    labels = ["4", "5", "4,5", "5"]
    refuses(
        tmp_path,
        labels,
        "Expected one label for each text, but {source} has labels such as '4,5': numbers with a "
        "decimal comma, or two labels. For numbers, make labels of them, as with --rating-bins "
        '"negative<3<=positive", or count each as a label with --several-labels keep; for two '
        "labels, --several-labels drop leaves such rows out.",
    )
    assert read(tmp_path, labels, rating_bins="bad<4.5<=good").labels == (
        *("bad", "good", "good", "good"),
    )
    assert read(tmp_path, labels, several_labels="keep").labels == ("4", "5", "4,5", "5")


def test_ratings_in_percent_are_binned(tmp_path: Path) -> None:
    dataset = read(tmp_path, ["10%", "90 %", "55,5%"], rating_bins="bad<50<=good")
    assert dataset.labels == ("bad", "good", "good")


def test_truth_values_written_in_two_ways_are_said(tmp_path: Path) -> None:
    labels = ["true", "false", "1", "0"]
    dataset = read(tmp_path, labels)
    assert dataset.label_names == ("0", "1", "false", "true")
    assert dataset.notes[1:] == (
        f"The labels '0', '1', 'false', 'true' in {tmp_path / 'data.csv'} are truth values as "
        "words and as numbers, but count as different labels. To make them one: --label-names "
        "0=false,1=true,false=false,true=true.",
    )
    names = {"0": "false", "1": "true", "false": "false", "true": "true"}
    assert read(tmp_path, labels, label_names=names).label_names == ("false", "true")


def test_cells_of_label_studio_in_csv_are_lists(tmp_path: Path) -> None:
    one = '{"choices": ["pos"]}'
    dataset = read(tmp_path, [one, '{"choices": ["neg"]}'])
    assert dataset.labels == ("pos", "neg")
    two = '{"choices": ["pos", "neg"]}'
    assert lists_of([one, two, '{"rating": 3}']) == {one: ("pos",), two: ("pos", "neg")}
