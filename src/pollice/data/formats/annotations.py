"""Exports of Label Studio, Argilla and Prodigy -> one record a text, with its agreed answers.

Knows nothing about files, and nothing about what a label means.

Sources: labelstud.io/guide/export (JSON and JSON-MIN), docs.argilla.io, "Import and export", and
prodi.gy/docs/api-interfaces.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pollice.data.columns import LABEL_COLUMNS
from pollice.errors import counted

Record = Mapping[str, Any]
Answers = Mapping[str, Sequence[Any]]
"""Of each question, what every annotator answered."""

_LABEL_STUDIO_VALUES = ("choices", "rating", "taxonomy", "number")
_ABOUT_ANNOTATING = {"annotator", "annotation_id", "created_at", "updated_at", "lead_time"}
_NOT_SUBMITTED = {"draft", "discarded", "pending"}
_PRODIGY_ANSWERS = ("accept", "reject", "ignore")
_RESPONSES = ".responses"
_RAW = {"annotations", "completions", "predictions", "drafts", "responses", "suggestions"}
"""What tools keep of each annotator or model: what people agreed on takes its place."""


@dataclass(frozen=True, kw_only=True)
class Annotated:
    """Records with a column for each question, and which rows of the export they come from."""

    records: Sequence[Record]
    rows: Sequence[int]
    notes: tuple[str, ...] = ()


def read_annotations(records: Sequence[Record]) -> Annotated:
    """Return the records with their answers; records of no known tool stay as they are.

    Where annotators disagree, the answer of most counts; without one the row has none. How
    many rows these are stands in the notes.
    """
    if any(_is_label_studio(record) for record in records):
        return _with_answers(records, [_label_studio_answers(record) for record in records])
    if all("annotator" in record and "id" in record for record in records):
        return _merge_repeated(records)
    if any(_is_argilla(record) for record in records):
        return _with_answers(records, [_argilla_answers(record) for record in records])
    if all(record.get("answer") in _PRODIGY_ANSWERS for record in records):
        return _with_accepted(records)
    return Annotated(records=records, rows=range(len(records)))


def _with_accepted(records: Sequence[Record]) -> Annotated:
    """Return Prodigy's records: the label of one that a person did not accept is not its label."""
    merged = []
    for record in records:
        label = _plain(record["accept"]) if "accept" in record else record.get("label")
        kept = {name: value for name, value in record.items() if name != "answer"}
        merged.append({**kept, "label": label if record["answer"] == "accept" else None})
    refused = sum(record["answer"] != "accept" for record in records)
    notes = (
        f"Of {counted(len(records), 'exported record')}, {refused:,} "
        f"{'was' if refused == 1 else 'were'} not accepted by a person: the label there "
        "does not count.",
    )
    return Annotated(records=merged, rows=range(len(records)), notes=notes if refused else ())


def _is_label_studio(record: Record) -> bool:
    lists = isinstance(record.get("annotations", record.get("completions")), list)
    return lists and isinstance(record.get("data"), dict)


def _is_argilla(record: Record) -> bool:
    nested = isinstance(record.get("fields"), dict) and "responses" in record
    return nested or any(name.endswith(_RESPONSES) for name in record)


def _label_studio_answers(record: Record) -> Answers:
    answers: dict[str, list[Any]] = defaultdict(list)
    for annotation in _objects(record.get("annotations", record.get("completions"))):
        if annotation.get("was_cancelled"):
            continue
        for result in _objects(annotation.get("result")):
            value = result.get("value")
            given = value if isinstance(value, dict) else {}
            for kind in _LABEL_STUDIO_VALUES:
                if kind in given:
                    answers[str(result.get("from_name"))].append(given[kind])
    return answers


def _argilla_answers(record: Record) -> Answers:
    answers: dict[str, list[Any]] = defaultdict(list)
    responses = record.get("responses")
    if isinstance(responses, dict):  # Argilla 2: of each question, a list of answers
        for question, given in responses.items():
            answers[question].extend(_submitted(_objects(given)))
    for response in _objects(responses):  # Argilla 1: of each annotator, the answers
        values = response.get("values")
        if isinstance(values, dict) and response.get("status") not in _NOT_SUBMITTED:
            for question, answer in values.items():
                answers[question].extend(_submitted(_objects([answer])))
    for name, given in record.items():  # flattened: a column of lists for each question
        if name.endswith(_RESPONSES) and isinstance(given, list):
            answers[name.removesuffix(_RESPONSES)].extend(given)
    return answers


def _submitted(responses: Iterator[Record]) -> Iterator[Any]:
    return (
        response["value"]
        for response in responses
        if "value" in response and response.get("status") not in _NOT_SUBMITTED
    )


def _objects(values: Any) -> Iterator[Record]:
    listed = values if isinstance(values, list) else []
    return (value for value in listed if isinstance(value, dict))


def _with_answers(records: Sequence[Record], answers: Sequence[Answers]) -> Annotated:
    questions = list(dict.fromkeys(question for row in answers for question in row))
    disagreed: dict[str, list[Any]] = {question: [] for question in questions}
    merged = []
    for record, row in zip(records, answers, strict=True):
        columns = {}
        for question in questions:
            columns[question], agreed = _vote(row.get(question, ()))
            if not agreed:
                disagreed[question].append(columns[question])
        kept = {name: value for name, value in record.items() if name not in _RAW}
        merged.append({**kept, **columns})
    notes = [_disagreement(name, found, len(records)) for name, found in disagreed.items() if found]
    # The only question is the label, whatever its name.
    if len(questions) == 1 and questions[0].casefold() not in LABEL_COLUMNS:
        notes.append(f"The labels are the answers to {questions[0]!r}.")
        merged = [{"label": record[questions[0]], **record} for record in merged]
    unanswered = sum(not any(row.values()) for row in answers)
    if unanswered:
        notes.append(
            f"Of {counted(len(records), 'exported record')}, {unanswered:,} "
            f"{'has' if unanswered == 1 else 'have'} no answer of a person; "
            "predictions and suggestions of models are not taken as labels."
        )
    return Annotated(records=merged, rows=range(len(records)), notes=tuple(notes))


def _merge_repeated(records: Sequence[Record]) -> Annotated:
    """Return one record a text where each annotator's answer is a record of its own."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, record in enumerate(records):
        groups[str(record["id"])].append(row)
    names = dict.fromkeys(name for record in records for name in record)
    disagreed: dict[str, list[Any]] = {name: [] for name in names if name not in _ABOUT_ANNOTATING}
    merged = []
    for rows in groups.values():
        joined = dict(records[rows[0]])
        for name in disagreed:
            given = [records[row][name] for row in rows if name in records[row]]
            joined[name], agreed = _vote(given)
            if not agreed:
                disagreed[name].append(joined[name])
        merged.append(joined)
    notes = [_disagreement(name, found, len(groups)) for name, found in disagreed.items() if found]
    return Annotated(records=merged, rows=[rows[0] for rows in groups.values()], notes=tuple(notes))


def _vote(answers: Sequence[Any]) -> tuple[str | float | None, bool]:
    """Return the answer that most annotators gave, or None, and whether all agreed."""
    plain = [answer for answer in map(_plain, answers) if answer is not None]
    counts = Counter(plain).most_common(2)
    if not counts:
        return None, True
    if len(counts) == 1:
        return plain[0], True
    return (counts[0][0] if counts[0][1] > counts[1][1] else None), False


def _plain(answer: Any) -> str | float | None:
    """Return an answer as one value; several choices stay visible as a JSON list."""
    if isinstance(answer, dict):
        answer = next((answer[kind] for kind in _LABEL_STUDIO_VALUES if kind in answer), answer)
    if isinstance(answer, list) and len(answer) == 1:
        return _plain(answer[0])
    if isinstance(answer, list | dict):
        return json.dumps(answer, ensure_ascii=False) if answer else None
    return answer if isinstance(answer, str | float | int | None) else None


def _disagreement(name: str, found: Sequence[Any], rows: int) -> str:
    without = sum(answer is None for answer in found)
    return (
        f"The annotators disagree about {name!r} on {len(found):,} of {rows:,} rows: "
        f"{len(found) - without:,} have the answer that most of them gave, and {without:,} have "
        "none."
    )
