"""Where the labels are equally likely: from unlabelled texts, and from sentences of known opinion.

Knows nothing about models, and nothing about how steps of a scale are told apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

FloatArray = NDArray[np.float64]

REFERENCE_PAIRS = (
    (
        "The delivery was late and the box was damaged.",
        "The delivery was early and the box was in perfect shape.",
    ),
    (
        "I regret buying this, it broke after a week.",
        "I am glad I bought this, it works perfectly.",
    ),
    ("The staff were rude and ignored us.", "The staff were kind and helped us at once."),
    ("The food was cold and tasted awful.", "The food was hot and tasted great."),
    (
        "A dull, clumsy film with flat characters.",
        "A gripping, clever film with lovely characters.",
    ),
    (
        "The book bored me, I gave up halfway.",
        "The book thrilled me, I read it in one night.",
    ),
    (
        "What a horrible day, everything goes wrong.",
        "What a wonderful day, everything goes right.",
    ),
    ("I feel sick and lonely tonight.", "I feel happy and loved tonight."),
    (
        "The reform is a costly failure that helps nobody.",
        "The reform is a clear success that helps everybody.",
    ),
    (
        "The government was wrong to ignore the victims.",
        "The government was right to help the victims.",
    ),
    (
        "The battery is weak and the screen is far too dark.",
        "The battery is strong and the screen is nice and bright.",
    ),
    ("Our team played badly and lost again.", "Our team played well and won again."),
    (
        "The room was dirty, loud and overpriced.",
        "The room was clean, quiet and worth the price.",
    ),
    (
        "I hate the new update, it is slow and confusing.",
        "I love the new update, it is fast and clear.",
    ),
    (
        "He is a terrible boss who never listens.",
        "She is a great boss who always listens.",
    ),
    (
        "The concert was a disappointment, I would not go again.",
        "The concert was a joy, I would go again at once.",
    ),
)
"""Sentences of our own, a bad opinion and a good one of the same thing. Their opinions are known,
so what a model says of them shows where its own middle lies, whatever the shares of the texts."""

REFERENCE_TEXTS = tuple(text for pair in REFERENCE_PAIRS for text in pair)
"""Bad and good in turns."""

_TOLD_APART = 0.8  # of the pairs: a model that orders fewer rightly has no middle to go by
_ALLOWED = 0.1  # of the texts' own spread: so far may their middle lie from the references'
_USUAL_REACH = 2.82  # of the model that the default thresholds were chosen with
_USUAL_SPREAD = 1.5  # of its scores of tweets, film snippets and reviews
_GROUP_TEXTS = 100  # fewer do not show two groups
_RARE = 0.4  # a share above it is taken for a half
_BETTER = 2.0  # of Akaike's criterion: less is no evidence (Burnham and Anderson 2002, p. 70)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a model says of the reference sentences, as the good pole's log-odds."""

    middle: float
    """Midway between the mean of the bad ones and the mean of the good ones."""
    reach: float
    """From the middle to either mean."""


def find_reference(log_probabilities: FloatArray) -> Reference | None:
    """Return the middle of the reference sentences; None of a model that cannot tell them apart.

    Args:
        log_probabilities: Of `REFERENCE_TEXTS`, ``(texts, questions, 2)``, the bad pole first.
    """
    # (sentences,): the good pole less the bad one, averaged over the questions.
    odds = np.diff(log_probabilities, axis=2)[..., 0].mean(axis=1)
    bad, good = odds[::2], odds[1::2]
    if np.mean(good > bad) < _TOLD_APART:
        return None
    low, high = float(bad.mean()), float(good.mean())
    return Reference(middle=(low + high) / 2, reach=(high - low) / 2)


@dataclass(frozen=True, kw_only=True)
class Centre:
    """Where the labels are equally likely."""

    shift: FloatArray
    """``(questions, labels)``: to be subtracted from log-probabilities."""
    rarer: float | None = None
    """The share of the rarer of two groups of texts, where the shift is the middle of both."""
    moved: float = 0.0
    """By how much the references moved the texts' own middle, in log-odds of the good pole."""
    lean: float | None = None
    """That in standard deviations of the texts: positive where they lean to the bad pole. None:
    there are no references."""


def find_centre(log_probabilities: FloatArray, reference: Reference | None = None) -> Centre:
    """Return the mean of unlabelled texts, or what shows that they are not balanced.

    The mean over all texts, as in batch calibration, lies between two labels only where they are
    about equally common: of 90 % positive texts it calls every other one negative. But where a
    model tells the labels well apart, their texts are two groups in its log-odds. If a mixture of
    two Gaussians of one width explains them better than one does (by Akaike's criterion), and one
    group is clearly rarer, the mean of the groups' means takes the place of the mean of the texts.
    And where the references' middle is known, neither may lie far from it.
    docs/prompting.md says what that is worth.

    Args:
        log_probabilities: ``(texts, questions, labels)``.
        reference: For two poles, the bad one first: what the reference sentences show.
    """
    shift, rarer = _middle_of_texts(log_probabilities)
    if reference is None:
        return Centre(shift=shift, rarer=rarer)
    own = float((shift[:, 1] - shift[:, 0]).mean())
    spread = float(np.diff(log_probabilities, axis=2).mean(axis=1).std())
    allowed = _ALLOWED * spread
    moved = float(np.clip(own, reference.middle - allowed, reference.middle + allowed)) - own
    # Half to each pole: the difference of both moves by `moved`, and their sum stays.
    half = moved / 2
    return Centre(
        shift=shift + np.array([-half, half]),
        rarer=rarer,
        moved=moved,
        lean=moved / spread if spread > 0 else 0.0,
    )


def _middle_of_texts(log_probabilities: FloatArray) -> tuple[FloatArray, float | None]:
    mean = log_probabilities.mean(axis=0)
    texts, _, labels = log_probabilities.shape
    # (texts, 1) where there are two labels: the rows that scikit-learn wants.
    odds = np.diff(log_probabilities, axis=2).mean(axis=1)
    if labels != 2 or texts < _GROUP_TEXTS or np.ptp(odds) == 0:
        return mean, None
    one, two = (
        GaussianMixture(
            groups, covariance_type="tied", tol=1e-6, max_iter=5000, random_state=0
        ).fit(odds)
        for groups in (1, 2)
    )
    rarer = float(two.weights_.min())
    if rarer > _RARE or two.aic(odds) + _BETTER > one.aic(odds):
        return mean, None
    members = two.predict_proba(odds)
    groups = np.einsum("tg,tql->gql", members, log_probabilities)
    groups /= members.sum(axis=0)[:, None, None]
    return groups.mean(axis=0), rarer


def find_unit(shifted: FloatArray, reference: Reference | None) -> float:
    """Return the log-odds that count as 1 on a scale: a model's own, so that thresholds fit all.

    Args:
        shifted: Log-probabilities less the shift, ``(texts, questions, 2)``.
        reference: What the reference sentences show; None: the texts' own spread is the unit.
    """
    if reference is not None:
        return reference.reach / _USUAL_REACH
    spread = float(np.diff(shifted, axis=2).mean(axis=1).std())
    return spread / _USUAL_SPREAD if spread > 0 else 1.0
