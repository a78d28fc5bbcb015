"""Fine-tuning an encoder: the method finetune against transformers' Trainer as people write it.

The same checkpoint, rows and epochs for everybody. What is compared and how is in README.md.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rounds import (
    Contender,
    Json,
    add_usual,
    answer_child,
    balanced_rows,
    chosen,
    interleave,
    machine,
    markdown,
    peak_mib,
    speed_cells,
    summarize,
    write_json,
)
from scipy.special import softmax

from pollice.data.dataset import Dataset
from pollice.data.reading import read_dataset
from pollice.judging.comparison import compare
from pollice.judging.metrics import evaluate
from pollice.models.pretrained.sources import resolve_checkpoint
from pollice.predictions.table import Predictions

Probabilities = NDArray[np.float64]
Judge = Callable[[Sequence[str]], Probabilities]

PEER_BATCH = 16

CONTENDERS = [
    Contender(name="pollice finetune", kind="pollice", options={}),
    Contender(name="Trainer, dynamic padding", kind="trainer", options={"padding": False}),
    Contender(name="Trainer, padded to the limit", kind="trainer", options={"padding": True}),
]


# What a child process does.


def pollice_trainer(job: Json) -> Judge:
    """The default recipe."""
    from pollice.methods import create_method

    options = {name: job[name] for name in ("checkpoint", "epochs", "seed", "max_tokens")}
    method = create_method("finetune", {**options, "device": "cpu"})
    with tempfile.TemporaryDirectory() as workdir:
        predictor = method.fit(
            Dataset(**job["train"]), Dataset(**job["validation"]), workdir=Path(workdir)
        )
    return predictor.predict_proba


def peer_trainer(job: Json) -> Judge:
    """In fp32 and batches of 16; with validation rows, the best epoch of those that are saved."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    folder = resolve_checkpoint(job["checkpoint"])
    label_names = job["train"]["label_names"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    padding = "max_length" if job["padding"] else False

    def encoded(texts: Sequence[str], labels: Sequence[str] = ()) -> list[dict[str, Any]]:
        if not texts:
            return []
        columns = tokenizer(
            list(texts), truncation=True, max_length=job["max_tokens"], padding=padding
        )
        rows = [{name: columns[name][row] for name in columns} for row in range(len(texts))]
        for row, label in zip(rows, labels, strict=False):
            row["label"] = label_names.index(label)
        return rows

    train, validation = (
        encoded(job[side]["texts"], job[side]["labels"]) for side in ("train", "validation")
    )
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(label_names))
    when = "epoch" if validation else "no"
    with tempfile.TemporaryDirectory() as workdir:
        arguments = TrainingArguments(
            output_dir=workdir,
            num_train_epochs=job["epochs"],
            learning_rate=job["peer_learning_rate"],
            weight_decay=0.01,
            per_device_train_batch_size=PEER_BATCH,
            per_device_eval_batch_size=PEER_BATCH,
            eval_strategy=when,
            save_strategy=when,
            save_total_limit=1,
            load_best_model_at_end=bool(validation),
            seed=job["seed"],
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=train,
            eval_dataset=validation or None,
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        trainer.train()
    return lambda texts: softmax(
        trainer.predict(encoded(texts)).predictions.astype(np.float64), axis=1
    )


TRAINERS: dict[str, Callable[[Json], Judge]] = {"pollice": pollice_trainer, "trainer": peer_trainer}


def work(job: Json) -> Json:
    """Train, from texts and a checkpoint on disk to a trained model, then judge the test rows."""
    import torch
    import transformers

    import pollice.methods.finetune  # noqa: F401 -- what all import is not timed

    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(job["seed"])
    start = time.perf_counter()
    judge = TRAINERS[job["kind"]](job)
    seconds = time.perf_counter() - start
    rows = job["epochs"] * len(job["train"]["texts"])
    facts: Json = {"seconds": seconds, "rows": rows, "peak_mib": peak_mib()}
    facts["summary"] = f"{rows / seconds:.2f} rows/s, {facts['peak_mib']:,.0f} MiB"
    if job["test"]["texts"]:
        facts["probabilities"] = judge(job["test"]["texts"]).tolist()
    return facts


# What the parent does.


def sides(arguments: argparse.Namespace, data: Dataset, seed: int) -> dict[str, Dataset]:
    """Return the rows: those of the test are the same for all seeds, the others are drawn anew."""
    test = balanced_rows(data, arguments.test_rows, seed=0)
    asked = set(test.ids)
    rest = data.take([row for row, name in enumerate(data.ids) if name not in asked])
    train, validation = arguments.train_rows, arguments.validation_rows
    return {
        "train": balanced_rows(rest, train, seed=seed),
        "validation": balanced_rows(rest, validation, seed=seed, skip=train),
        "test": test,
    }


def jobs(arguments: argparse.Namespace, data: Dataset, seed: int) -> dict[str, Json]:
    """Return every contender's job with the rows of a seed."""
    rows = {side: vars(part) for side, part in sides(arguments, data, seed).items()}
    shared = {
        "checkpoint": arguments.checkpoint,
        "epochs": arguments.epochs,
        "max_tokens": arguments.max_tokens,
        "peer_learning_rate": arguments.peer_learning_rate,
        "seed": seed,
    }
    return {
        one.name: {**shared, **rows, **one.options, "name": one.name, "kind": one.kind}
        for one in chosen(CONTENDERS, arguments.contenders)
    }


def judged(results: Mapping[str, Json], test: Dataset, seed: int) -> list[dict[str, str]]:
    """Return a table row for each contender: how well it judges, and how against pollice."""
    tables = {
        name: Predictions(
            ids=test.ids,
            label_names=test.label_names,
            probabilities=np.array(result["probabilities"]),
            gold=test.labels,
            tokens=np.zeros(len(test), np.int64),
            truncated=np.zeros(len(test), np.bool_),
        )
        for name, result in results.items()
    }
    reference = next(iter(tables))
    verdicts = {
        pair.b: f"{pair.verdict} (p {pair.p_adjusted:.3f})"
        for pair in compare(tables).pairs
        if pair.a == reference
    }
    rows = []
    for name, one in tables.items():
        found = evaluate(one)
        low, high = found.accuracy_interval
        rows.append(
            {
                "contender": name,
                "seed": str(seed),
                "accuracy [95 %]": f"{found.accuracy:.3f} [{low:.3f}, {high:.3f}]",
                "log loss": f"{found.log_loss:.3f}",
                "pollice is": verdicts.get(name, "-"),
            }
        )
    return rows


def together(results: Mapping[str, list[Json]], test: Dataset) -> list[dict[str, str]]:
    """Return a table row for each contender: its mean over the seeds, and pollice's lead on it.

    The interval is for other test rows, each with its mean over the seeds; not for other seeds.
    """
    gold = np.array([test.label_names.index(label) for label in test.labels])
    right = {
        name: np.mean([np.argmax(one["probabilities"], axis=1) == gold for one in found], axis=0)
        for name, found in results.items()
    }
    reference = next(iter(right.values()))
    rows = []
    for name, rates in right.items():
        lead = 100 * (reference - rates)
        half = 1.96 * lead.std(ddof=1) / math.sqrt(len(lead))
        shown = f"{lead.mean():+.1f} [{lead.mean() - half:+.1f}, {lead.mean() + half:+.1f}]"
        rows.append(
            {
                "contender": name,
                "mean accuracy": f"{rates.mean():.3f}",
                "pollice leads by, points [95 %]": "-" if rates is reference else shown,
            }
        )
    return rows


def main() -> None:
    """Measure and print."""
    arguments = parse()
    if arguments.child:
        answer_child(arguments.child, work)
        return
    if arguments.speed_rows:
        arguments.train_rows, arguments.epochs = arguments.speed_rows, 1
        arguments.validation_rows = arguments.test_rows = 0
        arguments.seeds = list(range(arguments.rounds))
    data = read_dataset(arguments.data)
    results: dict[str, list[Json]] = {}
    accuracies: list[dict[str, str]] = []
    for seed in arguments.seeds:
        round_jobs = jobs(arguments, data, seed)
        found = interleave(__file__, round_jobs, 1)
        for name, (result,) in found.items():
            results.setdefault(name, []).append(result)
        if arguments.test_rows:
            once = {name: result for name, (result,) in found.items()}
            accuracies += judged(once, sides(arguments, data, seed)["test"], seed)
            print(markdown(accuracies[-len(once) :]), file=sys.stderr)
        write_json(arguments.json, {"arguments": vars(arguments), "results": results})
    print(machine(["torch", "transformers", "accelerate"]))
    print(
        f"{arguments.checkpoint}, {arguments.train_rows} training, {arguments.validation_rows} "
        f"validation and {arguments.test_rows} test rows of {arguments.data}, at most "
        f"{arguments.max_tokens} tokens, epochs: {arguments.epochs}, rounds: "
        f"{len(arguments.seeds)}\n"
    )
    print(markdown([speed_cells(row) for row in summarize(results)]))
    if accuracies:
        print(f"\n{markdown(accuracies)}")
        test = sides(arguments, data, 0)["test"]
        print(f"\n{markdown(together(results, test))}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default="rotten-tomatoes", help="a file, a folder or a name")
    parser.add_argument("--checkpoint", default="minilm", help="of an encoder")
    parser.add_argument("--train-rows", type=int, default=2000)
    parser.add_argument("--validation-rows", type=int, default=200)
    parser.add_argument("--test-rows", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one a round")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--peer-learning-rate", type=float, default=5e-5)
    parser.add_argument("--speed-rows", type=int, default=0, help="only time an epoch of so many")
    parser.add_argument("--rounds", type=int, default=3, help="of --speed-rows")
    parser.add_argument("--contenders", nargs="*", default=[], help="words of their names; all")
    add_usual(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
