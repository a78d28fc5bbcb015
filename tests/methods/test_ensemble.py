"""Members judge together: their log-odds are averaged, or weighted where labels show it better."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_distill import accuracy, rows

from pollice.errors import OptionError, RunError
from pollice.methods import create_method
from pollice.models.blending import average, choose_blend, fit_blend
from pollice.runs.predictors import load_predictor, save_predictor

MEMBERS: dict[str, dict[str, Any]] = {
    "words": {"method": "baseline", "ngrams": 1},
    "student": {"method": "distill", "teacher": "baseline"},
}


def tables(rows: int, *slopes: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return members of two labels whose log-odds are noise around slope times the truth."""
    draw = np.random.default_rng(0)
    codes = draw.integers(0, 2, rows)
    odds = [slope * (2 * codes - 1) + draw.normal(size=rows) for slope in slopes]
    one = np.stack([1 / (1 + np.exp(-each)) for each in odds])
    return np.stack([1 - one, one], axis=2), codes


def test_the_average_is_that_of_log_odds(tmp_path: Path) -> None:
    train, validation, test = rows()
    members: dict[str, Any] = {
        "one": {"method": "baseline", "ngrams": 1},
        "two": {"method": "baseline"},
    }
    method = create_method("ensemble", {"members": members, "combine": "average"})
    found = method.fit(train, validation, workdir=tmp_path).predict_proba(test.texts)
    parts = [
        create_method("baseline", options)
        .fit(train, validation, workdir=tmp_path)
        .predict_proba(test.texts)
        for options in ({"ngrams": 1}, {})
    ]
    odds = np.mean([np.log(np.maximum(part, 1e-6)) for part in parts], axis=0)
    expected = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_saved_ensemble_gives_the_same_scores(tmp_path: Path) -> None:
    train, validation, test = rows()
    method = create_method("ensemble", {"members": MEMBERS, "combine": "stack"})
    ensemble = method.fit(train, validation, workdir=tmp_path)
    assert accuracy(ensemble, test) >= 0.85
    save_predictor(ensemble, tmp_path / "saved", method="ensemble", options={})
    loaded = load_predictor(tmp_path / "saved")
    np.testing.assert_array_equal(
        loaded.predict_proba(test.texts), ensemble.predict_proba(test.texts)
    )
    assert loaded.facts == ensemble.facts
    assert ensemble.facts["members"] == {"words": "baseline", "student": "distill"}
    assert "every member answers every row, and counts: words " in ensemble.facts["notes"][0]


def test_few_rows_change_no_weight() -> None:
    table, codes = tables(63, 0.0, 2.0)
    choice = choose_blend(table, codes)
    assert choice.step == "average"
    assert choice.reason == "weights are looked for from 64 labelled validation rows on"
    np.testing.assert_array_equal(choice.blend.weights, [0.5, 0.5])


def test_a_member_that_knows_nothing_loses_its_weight() -> None:
    table, codes = tables(400, 0.0, 1.5)
    choice = choose_blend(table, codes)
    assert choice.step == "stack"
    assert "weights are better on held-out validation rows" in choice.reason
    assert choice.blend.weights[1] > 2 * choice.blend.weights[0]
    usual = average(2, 2).probabilities(table)[np.arange(400), codes]
    assert (
        np.log(choice.blend.probabilities(table)[np.arange(400), codes]).mean()
        > np.log(usual).mean()
    )


def test_equal_members_stay_an_average() -> None:
    """Calibrated ones whose average is calibrated too: weights have nothing to gain."""
    table, codes = tables(400, 0.5, 0.5)
    same = np.stack([table[0], table[0]])
    assert choose_blend(same, codes).step == "average"


def test_no_row_leaves_the_average_as_it_is() -> None:
    blend = fit_blend(np.zeros((3, 0, 2)), np.zeros(0, np.int64))
    np.testing.assert_allclose(blend.weights, [1 / 3] * 3)
    np.testing.assert_allclose(blend.bias, 0)


def test_one_certain_member_does_not_decide_alone() -> None:
    table = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.4, 0.6]]])
    found = average(3, 2).probabilities(table)
    assert found[0, 1] > 0.5
    assert np.isfinite(found).all()


def test_labels_are_counted_once() -> None:
    train, validation, _ = rows()
    for combine, members, expected in (
        ("auto", MEMBERS, 160),
        ("average", {"a": {"method": "lexicon"}, "b": {"method": "lexicon"}}, 0),
        ("auto", {"a": {"method": "lexicon"}, "b": {"method": "lexicon"}}, 40),
    ):
        method = create_method("ensemble", {"members": members, "combine": combine})
        assert method.labels_used(train, validation) == expected
        assert method.uses_more_than_labels() == ("a" in members)


def test_one_member_is_refused() -> None:
    with pytest.raises(OptionError, match=r"^Option ensemble\.members is .*, but .* at least 2"):
        create_method("ensemble", {"members": {"baseline": {}}})


def test_an_unknown_member_is_refused() -> None:
    method = create_method("ensemble", {"members": {"baseline": {}, "nope": {}}})
    sentence = (
        "Expected the name of a method or the folder of a saved predictor for the member nope, but "
        "found 'nope'."
    )
    with pytest.raises(OptionError, match=f"^{re.escape(sentence)}"):
        method.check(rows()[0])


def test_members_and_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    train, validation, _ = rows()
    ensemble = create_method("ensemble", {"members": MEMBERS}).fit(
        train, validation, workdir=tmp_path
    )
    folder = tmp_path / "saved"
    folder.mkdir()
    ensemble.save(folder)
    path = folder / "ensemble.json"
    path.write_text(path.read_text().replace('"student"\n', '"student", "third"\n'))
    with pytest.raises(RunError, match=r"^Expected 3 weights of members in .*, but it has 2\."):
        type(ensemble).load(folder)
