"""Exports of Label Studio and Argilla -> one row a text, with what its annotators agreed on."""

import json
from pathlib import Path
from typing import Any

import pytest

from pollice.data.reading import ReadOptions, read_dataset
from pollice.errors import DataError

Record = dict[str, Any]
TEXTS = ("warm soup", "cold soup", "fine soup", "old soup")
VOTES = (["pos"], ["neg"], ["pos", "neg", "pos"], ["neg", "pos"])
"""What the annotators of each text say: the third has a majority, the last has none."""


def write(folder: Path, records: list[Record]) -> str:
    (folder / "a.json").write_text(json.dumps(records), encoding="utf-8")
    return str(folder / "a.json")


def task(text: str, votes: list[str], question: str = "sentiment") -> Record:
    return {
        "data": {"text": text},
        "predictions": [{"result": [choice("model", question)]}],
        "annotations": [
            {"result": [choice(vote, question)], "was_cancelled": False} for vote in votes
        ],
    }


def choice(vote: str, question: str) -> Record:
    return {
        "from_name": question,
        "to_name": "text",
        "type": "choices",
        "value": {"choices": [vote]},
    }


def argilla_2(text: str, votes: list[str]) -> Record:
    answers = [{"value": vote, "user_id": f"u{n}"} for n, vote in enumerate(votes)]
    return {
        "fields": {"text": text},
        "suggestions": {"sentiment": {"value": "model"}},
        "responses": {"sentiment": answers},
    }


def argilla_1(text: str, votes: list[str]) -> Record:
    answers = [{"values": {"sentiment": {"value": vote}}, "status": "submitted"} for vote in votes]
    draft = {"values": {"sentiment": {"value": "neither"}}, "status": "draft"}
    return {"fields": {"text": text}, "responses": [*answers, draft]}


def argilla_flat(text: str, votes: list[str]) -> Record:
    return {"text": text, "sentiment.suggestion": "model", "sentiment.responses": votes}


@pytest.mark.parametrize("make", [task, argilla_2, argilla_1, argilla_flat])
def test_the_answer_of_most_annotators_counts_and_disagreement_is_said(
    tmp_path: Path, make: Any
) -> None:
    records = [make(text, votes) for text, votes in zip(TEXTS, VOTES, strict=True)]
    dataset = read_dataset(write(tmp_path, records))
    assert dict(zip(dataset.texts, dataset.labels, strict=True)) == {
        "warm soup": "pos",
        "cold soup": "neg",
        "fine soup": "pos",
    }
    assert dataset.dropped == {"no label": 1}
    assert (
        "The annotators disagree about 'sentiment' on 2 of 4 rows: 1 have the answer that most of "
        "them gave, and 1 have none." in dataset.notes
    )


def test_json_min_has_a_record_for_each_annotator(tmp_path: Path) -> None:
    records = [
        {"id": number, "text": text, "sentiment": vote, "annotator": annotator, "lead_time": 1.5}
        for number, (text, votes) in enumerate(zip(TEXTS, VOTES, strict=True))
        for annotator, vote in enumerate(votes)
    ]
    dataset = read_dataset(write(tmp_path, records))
    assert dataset.ids == ("0", "1", "2")
    assert dataset.labels == ("pos", "neg", "pos")
    assert dataset.notes[0] == (
        "The annotators disagree about 'sentiment' on 2 of 4 rows: 1 have the answer that most of "
        "them gave, and 1 have none."
    )


def test_the_only_question_is_the_label_whatever_its_name(tmp_path: Path) -> None:
    records = [task("a", ["pos"], "my_choice"), task("b", ["neg"], "my_choice")]
    source = write(tmp_path, records)
    dataset = read_dataset(source)
    assert dataset.labels == ("pos", "neg")
    assert "The labels are the answers to 'my_choice'." in dataset.notes
    assert read_dataset(source, ReadOptions(label_column="my_choice")) == dataset


def test_texts_without_a_persons_answer_have_no_label_and_are_counted(tmp_path: Path) -> None:
    cancelled = task("c", ["pos"])
    cancelled["annotations"][0]["was_cancelled"] = True
    records = [task("a", ["pos"]), task("b", ["neg"]), cancelled, task("d", [])]
    dataset = read_dataset(write(tmp_path, records))
    assert dataset.dropped == {"no label": 2}
    assert (
        "Of 4 exported records, 2 have no answer of a person; predictions and suggestions of "
        "models are not taken as labels." in dataset.notes
    )


def test_several_choices_of_one_annotator_stay_visible(tmp_path: Path) -> None:
    several = task("a", ["food"])
    several["annotations"][0]["result"][0]["value"]["choices"] = ["food", "staff"]
    source = write(tmp_path, [several, task("b", ["food"])])
    with pytest.raises(DataError, match=r"several labels, such as '\[\"food\", \"staff\"\]' "):
        read_dataset(source)
    dataset = read_dataset(source, ReadOptions(several_labels="keep"))
    assert dataset.labels == ('["food", "staff"]', "food")


@pytest.mark.parametrize(
    "broken",
    [
        {"annotations": [None, 3, {"result": "x"}], "data": {"text": "a"}},
        {"annotations": [{"result": [{"value": None}, {"value": {"choices": None}}]}], "data": {}},
        {"fields": {"text": "a"}, "responses": "x"},
        {"fields": {"text": "a"}, "responses": {"q": [{"value": {"deep": []}}], "r": None}},
    ],
)
def test_records_of_another_shape_are_no_untyped_error(tmp_path: Path, broken: Record) -> None:
    with pytest.raises(DataError):
        read_dataset(write(tmp_path, [broken]))


def test_one_text_without_an_answer_is_counted_in_the_singular(tmp_path: Path) -> None:
    records = [task("a", ["pos"]), task("b", ["neg"]), task("c", [])]
    assert read_dataset(write(tmp_path, records)).notes[0] == (
        "Of 3 exported records, 1 has no answer of a person; predictions and suggestions of models "
        "are not taken as labels."
    )


def test_what_tools_keep_of_each_annotator_is_no_column(tmp_path: Path) -> None:
    records = [argilla_2("a", ["pos"]), argilla_2("b", ["neg"])]
    assert read_dataset(write(tmp_path, records)).notes == (
        "a.json: texts from the column 'text', labels from the column 'sentiment'; not used: "
        "'fields', 'fields.text'.",
    )


def test_the_label_of_a_record_that_was_rejected_is_not_its_label(tmp_path: Path) -> None:
    """Prodigy asks whether a proposed label is right."""
    records = [
        {"text": "a", "label": "pos", "answer": "accept"},
        {"text": "b", "label": "pos", "answer": "reject"},
        {"text": "c", "label": "neg", "answer": "accept"},
        {"text": "d", "label": "neg", "answer": "ignore"},
    ]
    dataset = read_dataset(write(tmp_path, records))
    assert (dataset.texts, dataset.labels) == (("a", "c"), ("pos", "neg"))
    assert dataset.dropped == {"no label": 2}
    assert dataset.notes == (
        "Of 4 exported records, 2 were not accepted by a person: the label there does not count.",
        "a.json: texts from the column 'text', labels from the column 'label'.",
    )


def test_the_accepted_choice_is_the_label(tmp_path: Path) -> None:
    records = [
        {"text": "a", "accept": ["pos"], "answer": "accept"},
        {"text": "b", "accept": ["neg"], "answer": "accept"},
        {"text": "c", "accept": [], "answer": "accept"},
    ]
    dataset = read_dataset(write(tmp_path, records))
    assert (dataset.labels, dataset.dropped) == (("pos", "neg"), {"no label": 1})


def test_suggestions_alone_are_no_labels_and_the_refusal_says_so(tmp_path: Path) -> None:
    records = [{**argilla_2("a", []), "responses": {}}, {**argilla_2("b", []), "responses": {}}]
    source = write(tmp_path, records)
    with pytest.raises(DataError) as raised:
        read_dataset(source)
    assert str(raised.value) == (
        "Expected a label column named label, sentiment, category, class, polarity or alike in "
        f"{source}, but its columns are text, fields, fields.text. Name it with --label-column "
        "(in Python: label_column). Of 2 exported records, 2 have no answer of a person; "
        "predictions and suggestions of models are not taken as labels."
    )
