"""The linear head equals scikit-learn's, keeps every column, and is only arrays."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pollice.models.linear_head import LinearHead, fit_head

NAMES = ("b", "a", "c")


def blobs(
    rows: int, labels: int, seed: int = 0, spread: float = 2.0
) -> tuple[NDArray[np.float64], list[str]]:
    """Return noisy features whose columns differ in scale, and labels."""
    draw = np.random.default_rng(seed)
    codes = np.arange(rows) % labels
    centres = np.random.default_rng(5).normal(size=(labels, 6)) * 2
    features = (centres[codes] + draw.normal(size=(rows, 6)) * spread) * [1, 10, 0.1, 1, 1, 100]
    return features, [NAMES[code] for code in codes]


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_probabilities_equal_those_of_scikit_learn(labels: int, strength: float) -> None:
    features, names = blobs(90, labels)
    unseen, _ = blobs(40, labels, seed=1)
    head = fit_head(features, names, NAMES[:labels], strengths=[strength])
    peer = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
    expected = peer.fit(features, names).predict_proba(unseen)
    columns = [list(peer.classes_).index(name) for name in NAMES[:labels]]
    np.testing.assert_allclose(head.predict_proba(unseen), expected[:, columns], atol=1e-4)


def test_the_strength_with_the_least_validation_loss_is_taken() -> None:
    features, names = blobs(30, 3, spread=6)
    held_out = blobs(300, 3, seed=1, spread=6)
    strengths = (1e-4, 0.1, 100.0)
    losses = {
        strength: log_loss(
            held_out[1],
            fit_head(features, names, NAMES, strengths=[strength]).predict_proba(held_out[0])[
                :, [1, 0, 2]
            ],
            labels=["a", "b", "c"],
        )
        for strength in strengths
    }
    best = min(losses, key=lambda strength: losses[strength])
    assert best == 0.1
    chosen = fit_head(features, names, NAMES, validation=held_out, strengths=strengths)
    np.testing.assert_array_equal(
        chosen.weight, fit_head(features, names, NAMES, strengths=[best]).weight
    )


def test_validation_rows_are_standardized_as_training_rows_are() -> None:
    """By mean and scale of the training rows: the head that is kept judges rows in no other way.

    All validation rows are of one label, so their own mean lies far from that of training.
    """
    features, names = blobs(30, 2, spread=6)
    others, labels = blobs(400, 2, seed=1, spread=2)
    one = [row for row, label in enumerate(labels) if label == "b"]
    held_out = others[one] * 1.5, ["b"] * len(one)
    strengths = (1e-4, 0.01, 1.0, 100.0)
    losses = {
        strength: -np.log(
            fit_head(features, names, NAMES[:2], strengths=[strength]).predict_proba(held_out[0])
        )[:, 0].sum()
        for strength in strengths
    }
    best = min(losses, key=lambda strength: losses[strength])
    chosen = fit_head(features, names, NAMES[:2], validation=held_out, strengths=strengths)
    expected = fit_head(features, names, NAMES[:2], strengths=[best])
    np.testing.assert_array_equal(chosen.weight, expected.weight)


def test_a_strength_is_chosen_by_folds_where_there_is_no_validation() -> None:
    features, names = blobs(60, 3, spread=6)
    chosen = fit_head(features, names, NAMES, strengths=(1e-4, 0.1, 1e4))
    expected = fit_head(features, names, NAMES, strengths=[0.1])
    np.testing.assert_array_equal(chosen.weight, expected.weight)


@pytest.mark.parametrize("present", [1, 2])
def test_a_label_that_training_never_saw_keeps_its_column(present: int) -> None:
    features, names = blobs(40, present)
    head = fit_head(features, names, ("unseen", *NAMES[:present]))
    probabilities = head.predict_proba(features)
    assert probabilities.shape == (40, present + 1)
    assert (probabilities[:, 0] < 1e-4).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def test_a_single_row_of_a_label_is_enough() -> None:
    features, names = blobs(9, 2)
    features, names = features[:8], ["b"] * 7 + ["a"]
    assert fit_head(features, names, ("b", "a")).predict_proba(features).shape == (8, 2)


def test_a_constant_feature_is_harmless() -> None:
    features, names = blobs(40, 2)
    features[:, 3] = 7.0
    assert np.isfinite(fit_head(features, names, ("b", "a")).predict_proba(features)).all()


def test_sparse_features_give_what_dense_ones_give() -> None:
    features, names = blobs(60, 3)
    features[features < 0] = 0.0
    head = fit_head(csr_array(features), names, NAMES, strengths=[1.0])
    np.testing.assert_allclose(
        head.predict_proba(csr_array(features)), head.predict_proba(features), atol=1e-9
    )
    peer = LogisticRegression(C=1.0, max_iter=2000).fit(features, names)
    np.testing.assert_allclose(
        head.predict_proba(features), peer.predict_proba(features)[:, [1, 0, 2]], atol=1e-3
    )


def test_no_rows_give_no_probabilities() -> None:
    features, names = blobs(30, 3)
    assert fit_head(features, names, NAMES).predict_proba(features[:0]).shape == (0, 3)


def test_a_head_is_the_same_after_its_arrays_were_written(tmp_path: Path) -> None:
    features, names = blobs(30, 3)
    head = fit_head(features, names, NAMES)
    save_file(head.arrays(), tmp_path / "head.safetensors")
    again = LinearHead.from_arrays(load_file(tmp_path / "head.safetensors"))
    np.testing.assert_array_equal(again.predict_proba(features), head.predict_proba(features))
