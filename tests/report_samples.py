"""Reports for the tests, made by the real metrics and the real comparison."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pollice.judging.comparison import compare
from pollice.judging.metrics import evaluate
from pollice.judging.results import (
    Attack,
    Canary,
    Cost,
    DataReport,
    FlipRate,
    MethodReport,
    Mistake,
    Report,
    Spread,
)
from pollice.predictions.table import Predictions

LABELS = ("negative", "positive")


def predictions(
    accuracy: float, *, labels: Sequence[str] = LABELS, rows: int = 500, seed: int = 0, cut: int = 0
) -> Predictions:
    """Return a table whose answers are right on the given share of its rows."""
    generator = np.random.default_rng(seed)
    gold = np.arange(rows) % len(labels)
    difficulty = np.random.default_rng(7).random(rows)
    wrong = difficulty + generator.normal(0, 0.08, rows) > np.quantile(difficulty, accuracy)
    answer = np.where(wrong, (gold + 1) % len(labels), gold)
    confidence = generator.uniform(1 / len(labels) + 0.05, 0.99, rows)
    table = np.repeat((1 - confidence)[:, None] / (len(labels) - 1), len(labels), axis=1)
    table[np.arange(rows), answer] = confidence
    return Predictions(
        ids=tuple(f"row-{row}" for row in range(rows)),
        label_names=tuple(labels),
        probabilities=table,
        gold=tuple(labels[int(label)] for label in gold),
        tokens=np.full(rows, 40, np.int64),
        truncated=np.arange(rows) < cut,
        variants={},
    )


def training_log(steps: int = 120, epochs: int = 3) -> tuple[Mapping[str, Any], ...]:
    """Return the log of a run that learns, with one judged row an epoch."""
    generator = np.random.default_rng(3)
    rows: list[Mapping[str, Any]] = []
    for step in range(1, steps + 1):
        done = step / steps
        rows.append(
            {
                "step": step,
                "epoch": done * epochs,
                "loss": 0.12 + 0.6 * float(np.exp(-4 * done)) + float(generator.normal(0, 0.02)),
                "learning_rate": 5e-5 * min(done * 10, (1 - done) * 10 / 9),
                "grad_norm": 1.2 + float(generator.exponential(0.6)),
                "seconds": step * 1.1,
                "tokens_per_second": 4200.0,
            }
        )
        if step % (steps // epochs) == 0:
            epoch = step * epochs // steps
            rows.append(
                {
                    "epoch": epoch,
                    "validation_loss": (0.31, 0.27, 0.29)[epoch % 3 - 1],
                    "validation_accuracy": (0.872, 0.906, 0.904)[epoch % 3 - 1],
                    "train_accuracy": (0.881, 0.953, 0.981)[epoch % 3 - 1],
                }
            )
    return tuple(rows)


def method_report(
    name: str, table: Predictions, *, seconds: float = 12.0, speed: float = 400.0, **changes: Any
) -> MethodReport:
    """Return a method's report with an ordinary cost; ``changes`` replace its fields."""
    fields: dict[str, Any] = {
        "name": name,
        "method": name.partition("-")[0],
        "options": {"seed": 0, "checkpoint": "minilm", "epochs": 3},
        "labels_used": 4000,
        "evaluation": evaluate(table),
        "variants": {},
        "cost": Cost(
            fit_seconds=seconds,
            predict_seconds=500 / speed,
            predict_rows_per_second=speed,
            peak_memory_mib=80 + 4 * seconds,
            parameters=22_713_216,
        ),
        "training": (),
        "mistakes": (
            Mistake(
                id="row-7",
                text="Not bad at all.",
                gold="positive",
                predicted="negative",
                probability=0.982,
            ),
        ),
    }
    return MethodReport(**{**fields, **changes})


def report_of(
    methods: Sequence[MethodReport],
    tables: Mapping[str, Predictions],
    abstain_below: float | None = None,
) -> Report:
    """Return a report of methods over their tables."""
    comparison = compare(tables, abstain_below=abstain_below)
    return Report(
        data=DataReport(
            source="rotten-tomatoes",
            rows=5000,
            labels={"negative": 2500, "positive": 2500},
            train_rows=4000,
            validation_rows=500,
            test_rows=comparison.rows,
            test_ids_sha256=comparison.test_ids_sha256,
            exact_duplicates=18,
            near_duplicates=42,
            leaked_rows_removed=5,
            dropped={"empty text": 3},
        ),
        methods=tuple(methods),
        comparison=comparison,
        created="2026-11-23T05:10:00+00:00",
        seed=0,
    )


def simple_report(accuracies: Mapping[str, float], **settings: Any) -> Report:
    """Return a report with one plain method for each name."""
    tables = {
        name: predictions(accuracy, seed=seed, **settings)
        for seed, (name, accuracy) in enumerate(accuracies.items())
    }
    return report_of([method_report(name, table) for name, table in tables.items()], tables)


def five_methods() -> Report:
    """Return a comparison such as a user makes: two learners, a fine-tuned one, two prompts."""
    tables = {
        "baseline": predictions(0.78, seed=1),
        "features": predictions(0.89, seed=2, cut=14),
        "finetune": predictions(0.91, seed=3, cut=14),
        "prompt": predictions(0.80, seed=4, cut=61),
        "prompt-4": predictions(0.84, seed=5, cut=88),
    }
    variants = {
        "raw": evaluate(predictions(0.56, seed=8)),
        "batch": evaluate(predictions(0.79, seed=9)),
    }
    long = "A film that wants to be loved and works too hard for it. " * 30
    mistakes = (
        Mistake(
            id="row-41",
            text="Not bad at all: I would see it again.",
            gold="positive",
            predicted="negative",
            probability=0.991,
        ),
        Mistake(id="row-112", text=long, gold="negative", predicted="positive", probability=0.987),
        Mistake(
            id="row-318",
            text="Oh great, another masterpiece of the genre.",
            gold="negative",
            predicted="positive",
            probability=0.962,
        ),
    )
    methods = [
        method_report("baseline", tables["baseline"], seconds=0.8, speed=21000, mistakes=mistakes),
        method_report("features", tables["features"], seconds=38, speed=210, mistakes=mistakes),
        method_report(
            "finetune",
            tables["finetune"],
            seconds=1260,
            speed=190,
            training=training_log(),
            mistakes=mistakes,
        ),
        method_report(
            "prompt", tables["prompt"], seconds=0, speed=4.8, labels_used=0, variants=variants
        ),
        method_report(
            "prompt-4", tables["prompt-4"], seconds=3.1, speed=3.7, labels_used=4, variants=variants
        ),
    ]
    return report_of(methods, tables)


def probed_methods() -> Report:
    """Return a comparison for which everything was asked: one method leaks, one is a prompt."""
    tables = {name: predictions(0.85, seed=seed) for seed, name in enumerate(("leaky", "prompt"))}
    judged = {name: evaluate(table, abstain_below=0.7) for name, table in tables.items()}
    rate = FlipRate(texts=120, flipped=30, rate=0.25, interval=(0.181, 0.334))
    none = FlipRate(texts=0, flipped=0, rate=None, interval=None)
    leak = Canary(applicable=True, accuracy=0.861, chance=0.501, p_value=1e-9, leaking=True)
    methods = [
        method_report("leaky", tables["leaky"], evaluation=judged["leaky"], canary=leak),
        method_report(
            "prompt",
            tables["prompt"],
            evaluation=judged["prompt"],
            canary=Canary(applicable=False),
            attack=Attack(overall=rate, kinds={"order": rate, "turn": none}),
            spread=Spread(
                draws=5, lowest=0.861, highest=0.883, mean=0.872, standard_deviation=0.0081
            ),
            facts={"calibration": "platt", "calibration_labels": {"raw": 0, "platt": 16}},
        ),
    ]
    return report_of(methods, tables, abstain_below=0.7)


STEPS = ("very negative", "negative", "neutral", "positive", "very positive")


def scale_methods() -> Report:
    """Return a comparison over five steps: answers that are wrong are one step off, or far."""
    tables = {name: _steps(far, seed) for seed, (name, far) in enumerate(_FAR.items())}
    methods = [
        method_report(name, table, evaluation=evaluate(table, scale=STEPS))
        for name, table in tables.items()
    ]
    return report_of(methods, tables)


_FAR = {"near": 1, "far": 3}


def _steps(far: int, seed: int) -> Predictions:
    draw = np.random.default_rng(seed)
    gold = np.random.default_rng(9).integers(0, 5, 300)
    wrong = np.where(gold < 2, gold + far, gold - far).clip(0, 4)
    answers = np.where(draw.random(300) < 0.6, gold, wrong)
    probabilities = np.full((300, 5), 0.08)
    probabilities[np.arange(300), answers] = 0.68
    by_name = np.argsort(STEPS)
    return Predictions(
        ids=tuple(map(str, range(300))),
        label_names=tuple(STEPS[step] for step in by_name),
        probabilities=probabilities[:, by_name],
        gold=tuple(STEPS[step] for step in gold),
        tokens=np.zeros(300, np.int64),
        truncated=np.zeros(300, np.bool_),
    )
