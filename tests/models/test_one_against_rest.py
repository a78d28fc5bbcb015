"""The regressions equal scikit-learn's on weighted features, and keep every label."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from pollice.models.one_against_rest import Block, OneAgainstRest, Weighting, fit_one_against_rest

NAMES = tuple(f"label{number}" for number in range(10))


def rows(count: int, labels: int, seed: int = 0) -> tuple[csr_matrix, list[str]]:
    """Return rows of ones: of 60 features, each label has 6 that it shows more often."""
    draw = np.random.default_rng(seed)
    codes = np.arange(count) % labels
    chance = np.full((count, 60), 0.1)
    for row, code in enumerate(codes):
        chance[row, 6 * code : 6 * code + 6] = 0.5
    return csr_matrix((draw.random((count, 60)) < chance) * 1.0), [NAMES[code] for code in codes]


def block(matrix: csr_matrix, weighting: Weighting = "ratios") -> Block:
    return Block(matrix=matrix, weighting=weighting)


def unit(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(lengths > 0, lengths, 1.0)


def test_two_labels_equal_scikit_learn_on_weighted_features() -> None:
    (matrix, names), (unseen, _) = rows(200, 2), rows(50, 2, seed=1)
    positive = np.array(names) == NAMES[1]
    dense = matrix.toarray()
    shares = [dense[chosen].sum(axis=0) + 1 for chosen in (positive, ~positive)]
    ratios = np.log(shares[0] / shares[0].sum()) - np.log(shares[1] / shares[1].sum())
    peer = LogisticRegression(C=4.0, max_iter=2000).fit(unit(dense * ratios), positive)
    head, _ = fit_one_against_rest([block(matrix)], names, NAMES[:2], strengths=[4.0])
    expected = peer.predict_proba(unit(unseen.toarray() * ratios))
    np.testing.assert_allclose(head.predict_proba([unseen]), expected, atol=1e-4)


@pytest.mark.parametrize("labels", [3, 10])
@pytest.mark.parametrize("weighting", ["ratios", "rarity"])
def test_many_labels_are_told_apart(labels: int, weighting: Weighting) -> None:
    (matrix, names), (unseen, truth) = rows(600, labels), rows(200, labels, seed=1)
    head, _ = fit_one_against_rest([block(matrix, weighting)], names, NAMES[:labels])
    table = head.predict_proba([unseen])
    np.testing.assert_allclose(table.sum(axis=1), 1.0, atol=1e-12)
    right = np.array([NAMES[column] for column in table.argmax(axis=1)]) == np.array(truth)
    assert right.mean() > 0.6
    confident = table.max(axis=1)
    assert abs(confident.mean() - right.mean()) < 0.15  # as sure as it is right


def test_a_label_without_training_rows_gets_next_to_nothing() -> None:
    matrix, names = rows(100, 2)
    head, _ = fit_one_against_rest([block(matrix)], names, (NAMES[0], "absent", NAMES[1]))
    table = head.predict_proba([matrix])
    assert table.shape == (100, 3)
    assert (table[:, 1] < 1e-7).all()
    alone, _ = fit_one_against_rest([block(matrix)], ["absent"] * 100, (NAMES[0], "absent"))
    assert (alone.predict_proba([matrix])[:, 1] > 1 - 1e-7).all()


def test_a_row_without_features_gets_one_answer() -> None:
    matrix, names = rows(100, 3)
    head, _ = fit_one_against_rest([block(matrix), block(matrix, "rarity")], names, NAMES[:3])
    empty = csr_matrix((2, 60))
    table = head.predict_proba([empty, empty])
    assert np.isfinite(table).all()
    np.testing.assert_array_equal(table[0], table[1])


def test_validation_rows_choose_the_strength() -> None:
    (matrix, names), held = rows(60, 2), rows(400, 2, seed=2)
    strengths = (0.001, 1.0, 1000.0)
    chosen, _ = fit_one_against_rest(
        [block(matrix)], names, NAMES[:2], validation=([held[0]], held[1]), strengths=strengths
    )
    truth = [NAMES.index(name) for name in held[1]]

    def loss(head: OneAgainstRest) -> float:
        return -float(head.log_probabilities([held[0]])[np.arange(400), truth].mean())

    alone = [
        fit_one_against_rest([block(matrix)], names, NAMES[:2], strengths=[strength])[0]
        for strength in strengths
    ]
    assert loss(chosen) == pytest.approx(min(loss(head) for head in alone), abs=1e-3)


def test_arrays_hold_everything() -> None:
    matrix, names = rows(100, 3)
    head, _ = fit_one_against_rest([block(matrix), block(matrix, "rarity")], names, NAMES[:3])
    again = OneAgainstRest.from_arrays(head.arrays(), 3)
    np.testing.assert_array_equal(
        again.predict_proba([matrix, matrix]), head.predict_proba([matrix, matrix])
    )
    assert again.parameters == head.parameters == 2 * 60 * 3 + 3
