"""The ladder is learned for scales and other labels, kept as files, and read from older ones."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from pollice.data.scales import find_scale
from pollice.errors import PromptError
from pollice.models.calibrating import calibrate
from pollice.models.calibration import Calibration, LabelMeaning, LabelScores
from pollice.models.centring import REFERENCE_TEXTS
from pollice.models.linear_head import fit_head
from pollice.models.scaled_scores import ScaledScores, fit_scaling

TWO = ("negative", "positive")
FIVE = ("very positive", "positive", "neutral", "negative", "very negative")


def scores(odds: NDArray[np.float64], width: int = 0) -> LabelScores:
    pair = np.stack([-np.log1p(np.exp(odds)), -np.log1p(np.exp(-odds))], axis=1)
    hidden = np.repeat(odds[:, None, None], max(1, width), axis=2)[:, :, :width]
    return LabelScores(log_probabilities=pair[:, None, :], hidden=hidden.astype(np.float32))


def drawn(rows: int, seed: int = 0, middle: float = 0.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(middle, 2, rows)


def references(middle: float) -> LabelScores:
    signs = np.where(np.arange(len(REFERENCE_TEXTS)) % 2, 1, -1)
    return scores(middle + 3.0 * signs)


def learned(
    names: tuple[str, ...],
    known: int = 0,
    prior: dict[str, float] | None = None,
    texts: int = 80,
    step: str = "auto",
) -> Calibration:
    odds = drawn(known, seed=1)
    steps = np.digitize(odds, np.linspace(-2, 2, len(names) - 1))
    scale = find_scale(names)
    assert scale is not None
    return calibrate(
        step,  # type: ignore[arg-type]  # a step
        scores(drawn(texts), 4),
        scores(odds, 4),
        [scale.names[number] for number in steps],
        names,
        meaning=LabelMeaning(scale=scale, prior=prior or {}),
        references=references(0.0),
    )


def test_a_scale_of_five_gives_five_columns_in_the_order_of_the_labels() -> None:
    found = learned(FIVE).probabilities(scores(np.array([-9.0, 0.1, 9.0]), 4))
    assert list(found) == ["raw", "batch"]
    answers = [FIVE[column] for column in found["batch"].argmax(axis=1)]
    assert answers == ["very negative", "neutral", "very positive"]


@pytest.mark.parametrize("names", [TWO, TWO[::-1]])
def test_two_poles_are_judged_by_the_batch_step_as_they_were(names: tuple[str, ...]) -> None:
    odds = drawn(40)
    given = scores(odds if names == TWO else -odds)
    calibration = calibrate("auto", given, scores(odds[:0]), [], names)
    meant = calibrate(
        "auto",
        given,
        scores(odds[:0]),
        [],
        names,
        meaning=LabelMeaning(scale=find_scale(names)),
        references=references(float(odds.mean())),
    )
    assert meant.moved == pytest.approx(0)
    assert meant.probabilities(given)["batch"] == pytest.approx(
        calibration.probabilities(given)["batch"]
    )


def test_references_centre_where_there_are_too_few_texts() -> None:
    calibration = calibrate(
        "auto",
        scores(drawn(3)),
        scores(drawn(0)),
        [],
        TWO,
        meaning=LabelMeaning(scale=find_scale(TWO)),
        references=references(2.0),
    )
    assert calibration.step == "batch"
    found = calibration.probabilities(scores(np.array([1.9, 2.1])))["batch"]
    assert found.argmax(axis=1).tolist() == [0, 1]


@pytest.mark.parametrize("names", [TWO, FIVE])
def test_stated_shares_hold_for_every_step(names: tuple[str, ...]) -> None:
    found = learned(names, known=80, prior={names[0]: 0.7}).probabilities(scores(drawn(80), 4))
    assert list(found) == ["raw", "batch", "platt", "probe"]
    for table in found.values():
        assert np.mean(table.argmax(axis=1) == 0) == pytest.approx(0.7, abs=0.05)


def test_shares_need_texts() -> None:
    sentence = (
        "Expected 8 different texts or more to give the labels the shares that prior states, but "
        "found 7. Raise calibration_texts, or leave prior out."
    )
    with pytest.raises(PromptError, match=f"^{re.escape(sentence)}$"):
        learned(TWO, prior={"positive": 0.9}, texts=7)


@pytest.mark.parametrize("names", [TWO, FIVE])
@pytest.mark.parametrize("prior", [{}, {"positive": 0.6}])
def test_what_was_learned_comes_back(
    tmp_path: Path, names: tuple[str, ...], prior: dict[str, float]
) -> None:
    calibration = learned(names, known=70, prior=prior, step="platt")
    calibration.save(tmp_path)
    again = Calibration.load(tmp_path)
    assert again.facts == calibration.facts
    unseen = scores(drawn(20, seed=5), 4)
    for step, table in calibration.probabilities(unseen).items():
        np.testing.assert_array_equal(again.probabilities(unseen)[step], table)


def test_a_folder_of_an_earlier_version_gives_what_it_gave(tmp_path: Path) -> None:
    given, labels = scores(drawn(40)), [TWO[int(odds > 0)] for odds in drawn(40)]
    odds = given.log_probabilities[:, :, 1] - given.log_probabilities[:, :, 0]
    head = fit_head(odds, labels, TWO)
    arrays = {f"platt.{name}": array for name, array in head.arrays().items()}
    arrays["shift"] = given.log_probabilities.mean(axis=0)
    save_file(arrays, tmp_path / "calibration.safetensors")
    content = {"step": "platt", "labels": 40, "texts": 40, "rarer": None}
    (tmp_path / "calibration.json").write_text(json.dumps(content), encoding="utf-8")
    found = Calibration.load(tmp_path)
    assert found.step == "platt"
    assert list(found.probabilities(given)) == ["raw", "batch", "platt"]
    np.testing.assert_array_equal(found.probabilities(given)["platt"], head.predict_proba(odds))
    assert found.facts["calibration_labels"] == {"raw": 0, "batch": 0, "platt": 40}


def test_known_labels_that_are_wrong_turn_nothing_round() -> None:
    odds = drawn(32, seed=2)
    wrong = [TWO[int(value < 0)] for value in odds]
    calibration = calibrate(
        "auto", scores(drawn(80)), scores(odds), wrong, TWO, meaning=LabelMeaning()
    )
    found = calibration.probabilities(scores(np.array([-6.0, 6.0])))
    for step in ("batch", "platt"):
        assert found[step][0, 1] < found[step][1, 1]


@pytest.mark.parametrize("names", [TWO, TWO[::-1], FIVE])
def test_hidden_states_of_known_sentences_sharpen_the_poles(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    """In any order of the labels, kept in a file, and without a part in the raw step."""
    opinion = drawn(300, seed=3)
    noisy = opinion + drawn(300, seed=4) * 0.6
    turned = names == TWO[::-1]
    generator = np.random.default_rng(5)

    def seen(odds: NDArray[np.float64], truth: NDArray[np.float64]) -> LabelScores:
        states = generator.normal(0, 1, (len(odds), 1, 16))
        states[:, 0, 2] += truth
        return LabelScores(
            log_probabilities=scores(-odds if turned else odds).log_probabilities,
            hidden=states.astype(np.float32),
        )

    signs = np.where(np.arange(len(REFERENCE_TEXTS)) % 2, 3.0, -3.0)
    texts, sentences = seen(noisy, opinion), seen(signs, signs)
    calibration = calibrate(
        "auto",
        texts,
        texts.take(np.arange(0)),
        [],
        names,
        meaning=LabelMeaning(scale=find_scale(names)),
        references=sentences,
    )
    assert calibration.direction is not None
    assert calibration.facts["opinion_direction_agreement"] > 0.5
    found = calibration.probabilities(texts)
    scale = find_scale(names)
    assert scale is not None
    order = list(scale.names)
    expected = {
        step: table @ np.array([order.index(name) for name in names])
        for step, table in found.items()
    }
    right = {
        step: np.corrcoef(np.argsort(np.argsort(values)), np.argsort(np.argsort(opinion)))[0, 1]
        for step, values in expected.items()
    }
    assert right["batch"] > right["raw"] + 0.02
    calibration.save(tmp_path)
    again = Calibration.load(tmp_path).probabilities(texts)
    assert again["batch"] == pytest.approx(found["batch"])


def test_uncertain_known_rows_do_not_decide_for_the_clear_ones() -> None:
    """Known are rows near the middle, whose labels say nothing, and few clear ones."""
    unsure, clear = np.tile([-0.2, 0.2], 20), np.array([-4.0, 4.0, -3.0, 3.0])
    odds = np.concatenate([unsure, clear])
    labels = [*(["positive"] * 40), "negative", "positive", "negative", "positive"]
    calibration = calibrate(
        "platt",
        scores(drawn(200)),
        scores(odds),
        labels,
        TWO,
        meaning=LabelMeaning(scale=find_scale(TWO)),
        references=references(0.0),
    )
    fitted = calibration.fitted
    assert isinstance(fitted, ScaledScores)
    plain = fit_scaling(
        calibration.compared(scores(odds)), np.array([TWO.index(x) for x in labels])
    )
    moved, unweighted = (float(np.diff(one.bias)[0]) for one in (fitted, plain))
    assert 0 < moved < unweighted


@pytest.mark.parametrize("uncertain", [False, True])
def test_a_probe_is_not_tried_where_too_many_known_rows_are_uncertain(*, uncertain: bool) -> None:
    """The hidden states hold the label, and the score does not: a fair sample takes the probe."""
    odds = drawn(120, seed=3)
    if uncertain:
        odds[:100] /= 20
    labels = np.arange(120) % 2
    hidden = np.repeat((2.0 * labels - 1)[:, None, None], 4, axis=2).astype(np.float32)
    calibration = calibrate(
        "auto",
        scores(drawn(200), 4),
        LabelScores(log_probabilities=scores(odds).log_probabilities, hidden=hidden),
        [TWO[label] for label in labels],
        TWO,
        meaning=LabelMeaning(scale=find_scale(TWO)),
    )
    assert (calibration.step == "probe") is not uncertain
    assert uncertain is calibration.reason.endswith(
        "; probe was not tried, since many of the labelled rows are uncertain ones: what it learns "
        "from them can harm the others"
    )
