"""A student answers where it is sure, and its teacher the rest, for a loss that was set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_distill import SPY, accuracy, rows

from conftest import InstallMethod
from pollice.methods import REGISTRY, create_method
from pollice.methods.cascade import CascadePredictor
from pollice.models.parts import LazyPredictor, Part, load_part_later
from pollice.models.routing import (
    NEVER,
    choose_routing,
    losses_by_labels,
    losses_by_slow_answers,
)
from pollice.predictions.predictor import Scores
from pollice.runs.predictors import load_predictor, save_predictor
from tiny import opinions


def asked_of(notes: Path) -> list[str]:
    return notes.read_text(encoding="utf-8").splitlines() if notes.is_file() else []


def fit(tmp_path: Path, **options: Any) -> CascadePredictor:
    notes = {"notes": str(tmp_path / "notes.txt")}
    method = create_method("cascade", {"teacher": "spy", "teacher_options": notes, **options})
    train, validation, _ = rows()
    predictor = method.fit(train, validation, workdir=tmp_path / "work")
    assert isinstance(predictor, CascadePredictor)
    return predictor


def test_the_teacher_is_asked_only_where_the_student_is_unsure(
    tmp_path: Path, install_method: InstallMethod
) -> None:
    install_method("spy", SPY)
    fitted = fit(tmp_path)
    student = fitted._student  # the parts themselves
    texts = rows()[2].texts
    alone = student.predictor.predict_proba(texts)
    threshold = float(np.median(alone.max(axis=1)))
    notes = tmp_path / "notes.txt"
    notes.unlink()
    cascade = CascadePredictor(
        student,
        fitted._teacher,
        threshold,
        fitted.label_names,
        {},
    )
    found = cascade.predict_proba(texts)
    unsure = alone.max(axis=1) < threshold
    assert asked_of(notes) == [text for text, row in zip(texts, unsure, strict=True) if row]
    np.testing.assert_array_equal(found[~unsure], alone[~unsure])
    assert set(found[unsure, 0].tolist()) <= {0.8, 0.3}


def test_a_loaded_cascade_opens_its_teacher_when_it_asks_it(
    tmp_path: Path, install_method: InstallMethod
) -> None:
    install_method("spy", SPY)
    fitted = fit(tmp_path)
    fitted.save(new_folder(tmp_path / "saved"))
    teacher = load_part_later(tmp_path / "saved" / "teacher", REGISTRY, fitted.label_names)
    assert isinstance(teacher.predictor, LazyPredictor)
    assert not teacher.predictor.is_open
    assert teacher.predictor.parameters == 0
    teacher.score(["a text"], fitted.label_names)
    assert teacher.predictor.is_open


def new_folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_saved_cascade_gives_the_same_scores(tmp_path: Path) -> None:
    train, validation, test = rows()
    options = {"teacher": "baseline", "student_options": {"ngrams": 1}, "most_lost": 0.0}
    cascade = create_method("cascade", options).fit(train, validation, workdir=tmp_path)
    save_predictor(cascade, tmp_path / "saved", method="cascade", options=options)
    loaded = load_predictor(tmp_path / "saved")
    found, expected = loaded.score(test.texts), cascade.score(test.texts)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    assert loaded.facts == cascade.facts


def test_the_share_of_each_part_is_said(tmp_path: Path) -> None:
    train, validation, test = rows()
    predictor = create_method("cascade", {"teacher": "baseline"}).fit(
        train, validation, workdir=tmp_path
    )
    facts = predictor.facts
    shares = facts["answered_by"]
    assert sum(shares.values()) == pytest.approx(1)
    assert facts["chosen_on"] == "texts that the teacher judged"
    assert facts["lost"] <= 0.005
    assert facts["notes"] == [
        f"The student (baseline) answered {shares['student']:.0%} of 12 texts that the teacher "
        f"judged, and its teacher (baseline) the other {shares['teacher']:.0%}; "
        f"{facts['lost'] * 100:.2f} points of accuracy are lost by the teacher's own answers there."
    ]
    assert accuracy(predictor, test) >= 0.85


def test_labels_choose_from_200_validation_rows_on(tmp_path: Path) -> None:
    data = opinions(400)
    train, validation = data.take(range(180)), data.take(range(180, 400))
    by_labels = create_method("cascade", {"teacher": "baseline"})
    facts = by_labels.fit(train, validation, workdir=tmp_path / "a").facts
    assert (facts["chosen_on"], facts["chosen_on_rows"]) == ("validation rows", 220)
    assert by_labels.labels_used(train, validation) == 400
    own = create_method("cascade", {"teacher": "baseline", "choose_on": "teacher"})
    facts = own.fit(train, validation, workdir=tmp_path / "b").facts
    assert facts["chosen_on"] == "texts that the teacher judged"


def test_a_teacher_without_labels_costs_none(install_method: InstallMethod) -> None:
    install_method("spy", SPY)
    data = opinions(400)
    train, validation = data.take(range(180)), data.take(range(180, 400))
    spy = {"teacher": "spy", "teacher_options": {"notes": "notes.txt"}}
    costs = [
        create_method(name, {**spy, **more}).labels_used(train, validation)
        for name, more in (("distill", {}), ("cascade", {}), ("cascade", {"choose_on": "teacher"}))
    ]
    assert costs == [0, 220, 0]


@pytest.mark.parametrize(
    ("losses", "most", "share", "lost"),
    [
        ([0, 0, 0, 0], 0.0, 1.0, 0.0),
        ([1, 0, 0, 0], 0.0, 0.0, 0.0),
        ([0, 0, 1, 0], 0.0, 0.5, 0.0),
        ([0, 0, 1, 0], 0.25, 1.0, 0.25),
        ([0, 1, -1, 0], 0.0, 0.25, 0.0),  # what is made up for later is chance
        ([-1, 0, 0, 1], 0.0, 1.0, 0.0),
    ],
)
def test_the_threshold_is_the_lowest_that_loses_no_more(
    losses: Sequence[float], most: float, share: float, lost: float
) -> None:
    sure = np.array([0.9, 0.8, 0.7, 0.6])
    found = choose_routing(sure, np.array(losses, float), most)
    assert (found.share, found.loss) == (share, lost)
    assert np.mean(sure >= found.threshold) == share
    assert (found.threshold == NEVER) == (share == 0)


def test_rows_that_are_equally_sure_are_taken_together() -> None:
    found = choose_routing(np.array([0.9, 0.8, 0.8]), np.array([0.0, 0.0, 1.0]), 0.0)
    assert found.share == pytest.approx(1 / 3)
    assert 0.8 < found.threshold < 0.9
    assert choose_routing(np.zeros(0), np.zeros(0), 0.5).threshold == NEVER


def test_losses_are_counted_by_labels_or_by_the_slow_ones_probabilities() -> None:
    fast = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    slow = np.array([[0.3, 0.7], [0.8, 0.2], [0.9, 0.1]])
    codes = np.array([0, 0, 0])
    assert losses_by_labels(fast, slow, codes).tolist() == [-1, 0, 1]
    np.testing.assert_allclose(losses_by_slow_answers(fast, slow), [0.4, 0, 0.8])


def test_columns_stand_in_the_order_that_is_asked_for(
    tmp_path: Path, install_method: InstallMethod
) -> None:
    """A part that was saved with another order of the same labels is turned."""
    install_method("spy", SPY)
    teacher = fit(tmp_path)._teacher
    given: Scores = teacher.score(["abc"], ("negative", "positive"))
    turned = Part(method="spy", predictor=teacher.predictor).score(
        ["abc"], ("positive", "negative")
    )
    np.testing.assert_array_equal(given.probabilities, turned.probabilities[:, ::-1])
