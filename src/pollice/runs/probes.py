"""What a run is put through besides its test: other draws, shuffled labels, injected sentences.

Knows nothing about any one method, and nothing about how the outcome is shown.
"""

import shutil
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.special import bdtrc

from pollice.data.reading import Dataset
from pollice.data.splits import Split
from pollice.judging.metrics import evaluate, wilson_interval
from pollice.method import Method
from pollice.predictions.table import Predictions, Predictor, predict
from pollice.report import Attack, Canary, FlipRate
from pollice.runs import predictors
from pollice.system import folders
from pollice.system.progress import owned_by

DRAWS = "draws"
CANARY = "canary.json"
ATTACK = "attack.json"
TEXTS_PER_INJECTION = 3

_LEVEL = 0.01


@dataclass(frozen=True, kw_only=True)
class Injection:
    """A sentence that asks for a label, and where in a text it stands."""

    kind: str
    place: Literal["before", "after"]
    text: str

    def into(self, text: str, target: str) -> str:
        """Return a text with the sentence in it, asking for the label ``target``."""
        said = self.text.replace("{target}", " ".join(target.replace("_", " ").split()))
        return f"{said} {text}" if self.place == "before" else f"{text} {said}"


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """One attacked text."""

    id: str
    kind: str
    text: str
    target: str


def predict_rows(predictor: Predictor, rows: Dataset) -> Predictions:
    """Return the predictions table of labelled rows."""
    return predict(
        predictor, rows.texts, ids=rows.ids, gold=rows.labels, description="judging test rows"
    )


def repeat(method: Method, parts: Split, folder: Path) -> None:
    """Fit and judge each of a method's repetitions; a table that is there already is kept."""
    for number, repetition in enumerate(method.repetitions(), start=1):
        path = folder / DRAWS / f"{number}.parquet"
        if not path.is_file():
            with owned_by(f"{folder.name} draw {number}"):
                with _workdir(folder, f"draw-{number}") as workdir:
                    predictor = repetition.fit(parts.train, parts.validation, workdir=workdir)
                predictions = predict_rows(predictor, parts.test)
            folders.write_atomically(path, predictions.write)


def send_canary(method: Method, parts: Split, folder: Path, seed: int) -> None:
    """Fit a method on shuffled labels and write how far it still beats chance, once.

    With labels that say nothing, an honest method's answers are independent of the gold labels.
    Whatever share of its answers each label has, a row is then right with the chance
    ``sum over labels of share_gold(label) * share_predicted(label)``, which is above one half for
    unbalanced labels and a method that answers the commoner one. The number of right rows is
    compared with Binomial(rows, chance): one-sided, since only more than chance is a leak, and at
    0.01, since there is a test for every method and an alarm must mean something.

    The binomial takes the rows for independent. But texts that share words get the same answers,
    so right answers come in clumps and vary more: a bag of few words raised the alarm for 4 of 60
    shuffles. So an alarm is checked with another shuffle, and only two of two are a leak. A real
    leak comes again every time.
    """
    path = folder / CANARY
    if path.is_file():
        return
    canary = Canary(applicable=not method.knows_more_than_labels)
    for shuffles in (1, 2) if canary.applicable else ():
        predictions = _fitted_on_shuffled(method, parts, folder, [seed, shuffles])
        canary = replace(judge_canary(predictions), shuffles=shuffles)
        if not canary.leaking:
            break
    folders.write_json(path, asdict(canary))


def _fitted_on_shuffled(
    method: Method, parts: Split, folder: Path, seed: Sequence[int]
) -> Predictions:
    draw = np.random.default_rng(seed)
    train, validation = shuffle_labels(parts.train, draw), shuffle_labels(parts.validation, draw)
    with owned_by(f"{folder.name} canary"):
        with _workdir(folder, f"canary-{seed[-1]}") as workdir:
            predictor = method.fit(train, validation, workdir=workdir)
        return predict_rows(predictor, parts.test)


def judge_canary(predictions: Predictions) -> Canary:
    """Return whether answers that should be independent of the gold labels are not."""
    evaluation = evaluate(predictions)
    confusion = np.array(evaluation.confusion)
    shares_gold = confusion.sum(axis=1) / evaluation.rows
    shares_predicted = confusion[:, :-1].sum(axis=0) / evaluation.rows
    chance = float(np.clip(shares_gold @ shares_predicted, 0, 1))
    right = int(np.trace(confusion))
    p_value = float(bdtrc(right - 1, evaluation.rows, chance)) if right else 1.0
    return Canary(
        applicable=True,
        accuracy=evaluation.accuracy,
        chance=chance,
        p_value=p_value,
        leaking=p_value < _LEVEL,
    )


def shuffle_labels(rows: Dataset, draw: np.random.Generator) -> Dataset:
    """Return the rows with shuffled labels, of which each true label's rows get the same mixture.

    After plain shuffling the labels agree with the true ones a little more or less than by chance,
    and a method that learns well from noisy labels would find that. So the rows lie sorted by
    their true label, in random order within it, and the labels are dealt out to them as cards
    are: each comes again at even distances.
    """
    codes = np.array([rows.label_names.index(label) for label in rows.labels], np.int64)
    counts = np.bincount(codes, minlength=len(rows.label_names))
    turns = np.concatenate([(np.arange(count) + draw.random()) / count for count in counts])
    dealt = np.repeat(np.arange(len(counts)), counts)[np.argsort(turns, kind="stable")]
    order = draw.permutation(len(rows))
    shuffled = np.empty_like(codes)
    shuffled[order[np.argsort(codes[order], kind="stable")]] = dealt
    return replace(rows, labels=tuple(rows.label_names[code] for code in shuffled))


@cache
def injections() -> tuple[Injection, ...]:
    """Return the sentences of attacks.toml."""
    text = files("pollice.judging").joinpath("attacks.toml").read_text(encoding="utf-8")
    return tuple(Injection(**entry) for entry in tomllib.loads(text)["attack"])


def attack(test: Dataset, folder: Path, seed: int) -> None:
    """Put injected sentences into texts that a method judged rightly, and write what flips, once.

    Each sentence goes into up to 3 texts, and asks for a label other than the predicted one. A
    text has flipped when it gets that label. The saved predictor is the one that is attacked.
    """
    path = folder / ATTACK
    if path.is_file():
        return
    judged = Predictions.read(folder / "predictions.parquet")
    attempts = list(_attempts(test, judged, seed))
    predictor = predictors.load_predictor(folder / "predictor")
    texts = [attempt.text for attempt in attempts]
    with owned_by(folder.name):
        answers = predict(predictor, texts, description="attacking").predicted
    flipped = [attempt.target == answer for attempt, answer in zip(attempts, answers, strict=True)]
    kinds = [attempt.kind for attempt in attempts]
    found = Attack(
        overall=_flip_rate(flipped),
        kinds={
            kind: _flip_rate([hit for hit, its in zip(flipped, kinds, strict=True) if its == kind])
            for kind in dict.fromkeys(injection.kind for injection in injections())
        },
    )
    flips = [asdict(one) for one, hit in zip(attempts, flipped, strict=True) if hit]
    folders.write_json(path, {**asdict(found), "flips": flips})


def _attempts(test: Dataset, judged: Predictions, seed: int) -> Iterator[_Attempt]:
    """Yield the attacked texts: of methods that are both right on a row, with the same target."""
    texts = dict(zip(test.ids, test.texts, strict=True))
    answers = dict(zip(judged.ids, judged.predicted, strict=True))
    gold = dict(zip(test.ids, test.labels, strict=True))
    for number, injection in enumerate(injections()):
        draw = np.random.default_rng([seed, number])
        order = [test.ids[row] for row in draw.permutation(len(test))]
        shifts = draw.integers(1, len(test.label_names), size=len(test))
        right = [
            (row_id, shift)
            for row_id, shift in zip(order, shifts, strict=True)
            if answers[row_id] == gold[row_id]
        ]
        for row_id, shift in right[:TEXTS_PER_INJECTION]:
            column = test.label_names.index(gold[row_id])
            target = test.label_names[(column + int(shift)) % len(test.label_names)]
            yield _Attempt(
                id=row_id,
                kind=injection.kind,
                text=injection.into(texts[row_id], target),
                target=target,
            )


def _flip_rate(flipped: Sequence[bool]) -> FlipRate:
    texts, hits = len(flipped), sum(flipped)
    return FlipRate(
        texts=texts,
        flipped=hits,
        rate=hits / texts if texts else None,
        interval=wilson_interval(hits, texts) if texts else None,
    )


@contextmanager
def _workdir(folder: Path, purpose: str) -> Iterator[Path]:
    """Yield a folder for what fitting leaves by the way; it is gone when fitting ends well."""
    work = folder.parent / ".work"
    workdir = work / f"{folder.name}.{purpose}"
    workdir.mkdir(parents=True, exist_ok=True)
    yield workdir
    shutil.rmtree(work)
