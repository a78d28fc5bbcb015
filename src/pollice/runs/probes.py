"""More tests of a run: other draws, shuffled labels, injected sentences.

Knows nothing about single methods, and nothing about how results are shown.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

import numpy as np

from pollice.data.dataset import Dataset
from pollice.data.splits import Split
from pollice.judging.attack import attempts_on, flip_rate, injections
from pollice.judging.canary import judge_canary, shuffle_labels
from pollice.judging.mistakes import most_confident_mistakes
from pollice.judging.results import Attack, Canary
from pollice.method import Method
from pollice.predictions.explain import explain
from pollice.predictions.pieces import Piece
from pollice.predictions.predict import predict
from pollice.predictions.predictor import Predictor
from pollice.predictions.table import Predictions
from pollice.runs import predictors
from pollice.runs.folder import MethodFolder, RunFolder
from pollice.system import folders
from pollice.system.progress import owned_by, stage

_EXPLAINED = 3
"""So many of the most confident mistakes are explained."""
_PASSES = 32
"""Each by judging so many texts."""


def predict_rows(predictor: Predictor, rows: Dataset) -> Predictions:
    """Return the predictions table of labelled rows."""
    return predict(
        predictor, rows.texts, ids=rows.ids, gold=rows.labels, description="judging test rows"
    )


def explain_mistakes(
    predictor: Predictor, rows: Dataset, predictions: Predictions
) -> dict[str, tuple[Piece, ...]]:
    """Return what moved the answers of the most confident mistakes, by the id of the row.

    It costs at most as many texts as there are test rows, and `_EXPLAINED` times `_PASSES`;
    nothing where the predictor knows what its words add.
    """
    knows = predictor.word_weights("", predictor.label_names[0]) is not None
    most = _EXPLAINED if knows else min(_EXPLAINED, len(rows) // _PASSES)
    texts = dict(zip(rows.ids, rows.texts, strict=True))
    mistakes = most_confident_mistakes(predictions, texts, {}, most=most)
    with stage("explaining mistakes", total=len(mistakes)) as advance:
        found = {}
        for mistake in mistakes:
            told = explain(predictor, mistake.text, label=mistake.predicted, passes=_PASSES)
            found[mistake.id] = told.words
            advance(1)
    return found


def judge_draws(method: Method, parts: Split, run: RunFolder, name: str) -> None:
    """Fit and judge each of a method's repetitions; keep tables that already exist."""
    for number, repetition in enumerate(method.repetitions(), start=1):
        path = run.method(name).draw(number)
        if not path.is_file():
            with owned_by(f"{name} draw {number}"):
                with _workdir(run, f"{name}.draw-{number}") as workdir:
                    predictor = repetition.fit(parts.train, parts.validation, workdir=workdir)
                predictions = predict_rows(predictor, parts.test)
            # The work folder is gone by now: a stop before this line costs this draw, fitted anew.
            folders.write_atomically(path, predictions.write)


def fit_canary(method: Method, parts: Split, run: RunFolder, name: str, seed: int) -> None:
    """Fit a method on shuffled labels, once, and write how far it still beats chance.

    With shuffled labels, an honest method's answers are independent of the gold labels. For any
    shares of its answers, a row is then right with the chance
    ``sum over labels of share_gold(label) * share_predicted(label)``, which is above one half for
    unbalanced labels and a method that answers the more common one. The number of right rows is
    compared with Binomial(rows, chance): one-sided, since only more than chance is a leak, and at
    0.01, since there is a test for every method and an alarm must mean something.

    The binomial assumes independent rows. But texts that share words get the same answers, so
    right answers come in groups and vary more: a bag of few words raised the alarm for 4 of 60
    shuffles. So an alarm is checked with another shuffle, and only two of two are a leak. A real
    leak shows every time.
    """
    path = run.method(name).canary
    if path.is_file():
        return
    canary = Canary(applicable=not method.uses_more_than_labels())
    for shuffles in (1, 2) if canary.applicable else ():
        # The number is a part of the seed: the check needs another shuffle, not the same again.
        predictions = _fit_on_shuffled(method, parts, run, name, (seed, shuffles))
        canary = replace(judge_canary(predictions), shuffles=shuffles)
        if not canary.leaking:
            break
    folders.write_json(path, asdict(canary))


def _fit_on_shuffled(
    method: Method, parts: Split, run: RunFolder, name: str, seed: tuple[int, int]
) -> Predictions:
    draw = np.random.default_rng(seed)
    # The test rows keep their true labels: only so does a way that leads to them show.
    train, validation = shuffle_labels(parts.train, draw), shuffle_labels(parts.validation, draw)
    with owned_by(f"{name} canary"):
        with _workdir(run, f"{name}.canary-{seed[-1]}") as workdir:
            predictor = method.fit(train, validation, workdir=workdir)
        return predict_rows(predictor, parts.test)


def attack_predictor(test: Dataset, folder: MethodFolder, seed: int) -> None:
    """Inject sentences into texts that a method judged correctly; write what flips, once.

    Each sentence goes into up to 3 texts, and asks for a label other than the predicted one. A
    text has flipped when it gets that label. The saved predictor is attacked.
    """
    if folder.attack.is_file():
        return
    judged = Predictions.read(folder.predictions)
    attempts = list(attempts_on(test, judged, seed))
    # Loaded, not kept from fitting: the attack may be asked for long after the fit.
    predictor = predictors.load_predictor(folder.predictor)
    texts = [attempt.text for attempt in attempts]
    with owned_by(folder.name):
        answers = predict(predictor, texts, description="attacking").predicted
    original = dict(zip(test.ids, test.texts, strict=True))
    words = [len(original[attempt.id].split()) for attempt in attempts]
    flipped = [attempt.target == answer for attempt, answer in zip(attempts, answers, strict=True)]
    kinds = [attempt.kind for attempt in attempts]
    found = Attack(
        overall=flip_rate(flipped),
        kinds={
            kind: flip_rate([hit for hit, its in zip(flipped, kinds, strict=True) if its == kind])
            for kind in dict.fromkeys(injection.kind for injection in injections())
        },
        words=round(median(words)) if words else None,
    )
    flips = [asdict(one) for one, hit in zip(attempts, flipped, strict=True) if hit]
    folders.write_json(folder.attack, {**asdict(found), "flips": flips})


@contextmanager
def _workdir(run: RunFolder, name: str) -> Iterator[Path]:
    """Yield a work folder for fitting; it is deleted when fitting ends without an error."""
    work = run.work(name)
    work.path.mkdir(parents=True, exist_ok=True)
    # No `finally`: after an error or a stop the folder stays, so that the fit can go on.
    yield work.path
    work.remove()
