"""The main flow: data set, split, every method on the same rows, predictions, report.

Knows nothing about any one method, and nothing about the terminal.
"""

import hashlib
import json
import logging
import math
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pollice import storage
from pollice.comparison import compare
from pollice.cost import measured
from pollice.data import Dataset, ReadOptions, read_dataset
from pollice.errors import OptionError, RunError
from pollice.method import Method, create_method, options_of
from pollice.metrics import evaluate
from pollice.prediction import Predictions, predict
from pollice.report import Cost, DataReport, MethodReport, Mistake, Report, write_report
from pollice.splits import Split, SplitOptions, sample, split

logger = logging.getLogger("pollice")

_STRICT = ConfigDict(extra="forbid")
_MISTAKES = 12
_RESERVED = ("experiment.toml", "data.json", "report.json", "report.html", "report.md")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DataSource:
    """Which opinions, and how many of them."""

    source: str
    """A file, a folder, a catalogue name, or hub:owner/name@revision."""
    test: str | None = None
    """A source of its own for the test rows."""
    limit: int | None = Field(default=None, ge=1)
    """Take a stratified sample of this many rows."""
    read: ReadOptions = field(default_factory=ReadOptions)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Experiment:
    """Everything that decides a comparison's numbers."""

    data: DataSource
    methods: Mapping[str, Mapping[str, Any]]
    """For each name the method's options; ``method`` names the method where it is another."""
    split: SplitOptions = field(default_factory=SplitOptions)
    seed: int = 0
    """The seed of the split, and of every method that sets none of its own."""

    def __post_init__(self) -> None:
        if not self.methods:
            raise OptionError("Expected one method or more, but none is named. Add --method NAME.")
        for name in self.methods:
            if name in _RESERVED or Path(name).name != name or name.startswith("."):
                raise OptionError(
                    f"A method's name becomes a folder, and {name!r} cannot be one. "
                    "Use letters, digits, - and _."
                )


def read_experiment(content: Mapping[str, Any], place: str) -> Experiment:
    """Check an experiment that came as TOML or from the command line.

    Raises:
        OptionError: a field is missing, unknown, or of another type; ``place`` is named.
    """
    try:
        return TypeAdapter(Experiment).validate_python(dict(content))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise OptionError(
            f"{place}: {where} is {problem['input']!r}, but {problem['msg'][0].lower()}"
            f"{problem['msg'][1:]}."
        ) from None


def read_experiment_file(path: Path) -> Experiment:
    """Read an experiment from a TOML file."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OptionError(f"Expected an experiment file, but there is no {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"Expected TOML in {path}, but it cannot be read: {error}.") from None
    return read_experiment(content, str(path))


def completed(experiment: Experiment) -> tuple[dict[str, Any], dict[str, Method]]:
    """Return the experiment with every default filled in, as plain types, and its methods.

    Raises:
        OptionError: an unknown method or option, or a value outside the option's range.
    """
    methods = {}
    for name, given in experiment.methods.items():
        options = {"seed": experiment.seed, **given}
        kind = str(options.pop("method", name))
        methods[name] = create_method(kind, options)
    content = asdict(experiment)
    content["split"]["seed"] = experiment.seed
    content["methods"] = {
        name: {"method": method.name, **options_of(method)} for name, method in methods.items()
    }
    return _without_none(content), methods


def _without_none(value: Any) -> Any:
    """Leave out what is None, since TOML has no word for it."""
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


def default_folder(experiment: Experiment) -> Path:
    """Return runs/NAME: the same experiment gets the same folder, and so resumes."""
    content, _ = completed(experiment)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    stem = Path(experiment.data.source).name.split(".")[0].replace(":", "-") or "data"
    return Path("runs") / f"{stem}-{digest}"


def run_experiment(experiment: Experiment, folder: Path) -> Report:
    """Run every method that has not finished yet, judge all, and write the report.

    Raises:
        RunError: the folder holds another experiment, or the data have changed since.
    """
    content, methods = completed(experiment)
    _check_folder(folder, content)
    parts, data = prepare(experiment)
    _claim_folder(folder, content, data, _fingerprint(parts))
    for name, method in methods.items():
        if storage.is_complete(folder / name):
            logger.info("%s is finished already: its predictions are taken as they are.", name)
        else:
            _run_method(name, method, parts, folder)
    report = judge(folder, content, data, parts.test)
    write_report(report, folder)
    return report


def prepare(experiment: Experiment) -> tuple[Split, DataReport]:
    """Read and split the data; the report's facts about them come along."""
    options = experiment.data
    dataset = read_dataset(options.source, options.read)
    test = read_dataset(options.test, options.read) if options.test else None
    if options.limit is not None:
        dataset = sample(dataset, options.limit, experiment.seed)
    parts = split(dataset, replace(experiment.split, seed=experiment.seed), test=test)
    counted = [dataset, *([test] if test else [])]
    report = DataReport(
        source=options.source,
        rows=sum(len(part) for part in counted),
        labels={
            label: sum(part.labels.count(label) for part in counted)
            for label in dataset.label_names
        },
        train_rows=len(parts.train),
        validation_rows=len(parts.validation),
        test_rows=len(parts.test),
        test_ids_sha256=parts.test_ids_sha256,
        exact_duplicates=parts.exact_duplicates,
        near_duplicates=parts.near_duplicates,
        leaked_rows_removed=parts.leaked_rows_removed,
        dropped=dataset.dropped,
    )
    return parts, report


def _fingerprint(parts: Split) -> dict[str, str]:
    """Return a hash of every part's ids, texts and labels."""
    return {
        f"{name}_sha256": hashlib.sha256(
            json.dumps([part.ids, part.texts, part.labels]).encode()
        ).hexdigest()
        for name, part in [
            ("train", parts.train),
            ("validation", parts.validation),
            ("test", parts.test),
        ]
    }


def _check_folder(folder: Path, content: Mapping[str, Any]) -> None:
    """Refuse a folder that holds something else, before any work is done."""
    path = folder / "experiment.toml"
    if path.is_file():
        held = _flat(tomllib.loads(path.read_text(encoding="utf-8")))
        wanted = _flat(content)
        for key in sorted({*held, *wanted}):
            if held.get(key) != wanted.get(key):
                raise RunError(
                    f"{folder} holds another experiment: {key} is {held.get(key)!r} there and "
                    f"{wanted.get(key)!r} here. Name another folder with --out, or delete it."
                )
    elif folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise RunError(
            f"Expected a new or empty folder for the run, but {folder} holds something else. "
            "Name another with --out."
        )


def _claim_folder(
    folder: Path, content: Mapping[str, Any], data: DataReport, fingerprint: Mapping[str, str]
) -> None:
    facts = {**asdict(data), **fingerprint}
    path = folder / "data.json"
    if path.is_file():
        held = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in facts if held.get(key) != facts[key]]
        if changed:
            raise RunError(
                f"The data have changed since {folder} was begun ({', '.join(changed)}), so its "
                "finished methods cannot be compared with new ones. Name another folder with --out."
            )
    storage.write_json(path, facts)
    storage.write_atomically(
        folder / "experiment.toml",
        lambda temporary: temporary.write_text(tomli_w.dumps(content), encoding="utf-8"),
    )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: list(value) if isinstance(value, tuple) else value}
    return {
        key: item
        for name, inner in value.items()
        for key, item in _flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }


def _run_method(name: str, method: Method, parts: Split, folder: Path) -> None:
    """Fit, predict and save one method; its folder appears when all of it is there."""
    workdir = folder / ".work" / name
    workdir.mkdir(parents=True, exist_ok=True)
    logger.info("%s: fitting on %d rows.", name, len(parts.train))
    with measured() as fitting:
        predictor = method.fit(parts.train, parts.validation, workdir=workdir)
    with measured() as predicting:
        predictions = predict(
            predictor,
            parts.test.texts,
            ids=parts.test.ids,
            gold=parts.test.labels,
            description="Judging test rows",
        )
    cost = Cost(
        fit_seconds=fitting.seconds,
        predict_seconds=predicting.seconds,
        predict_rows_per_second=len(predictions) / predicting.seconds,
        peak_memory_mib=max(fitting.peak_memory_mib, predicting.peak_memory_mib),
        parameters=predictor.parameters,
    )
    with storage.new_folder(folder / name) as temporary:
        predictions.write(temporary / "predictions.parquet")
        used = method.labels_used(parts.train, parts.validation)
        storage.write_json(temporary / "cost.json", {**asdict(cost), "labels_used": used})
        log = workdir / "training.jsonl"
        if log.is_file():
            shutil.copy2(log, temporary / "training.jsonl")
        storage.save_predictor(
            predictor, temporary / "predictor", method=method.name, options=options_of(method)
        )
        storage.write_manifest(temporary, {"name": name, "method": method.name})
    shutil.rmtree(folder / ".work")


def judge(folder: Path, content: Mapping[str, Any], data: DataReport, test: Dataset) -> Report:
    """Judge the finished methods of a run from their predictions tables; no model is loaded."""
    runs = {
        name: Predictions.read(folder / name / "predictions.parquet") for name in content["methods"]
    }
    seed = content["seed"]
    texts = dict(zip(test.ids, test.texts, strict=True))
    methods = tuple(
        _method_report(folder / name, name, content["methods"][name], run, texts)
        for name, run in runs.items()
    )
    return Report(
        data=data,
        methods=methods,
        comparison=compare(runs, seed=seed),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
    )


def judge_tables(paths: Mapping[str, Path], seed: int) -> Report:
    """Judge predictions tables of any origin; costs that are not known are NaN.

    Raises:
        PredictionsError: a table cannot be read, or the tables hold different rows.
    """
    runs = {name: Predictions.read(path) for name, path in paths.items()}
    evaluations = {name: evaluate(run) for name, run in runs.items()}
    comparison = compare(runs, seed=seed)
    first = next(iter(evaluations.values()))
    unknown = Cost(
        fit_seconds=math.nan,
        predict_seconds=math.nan,
        predict_rows_per_second=math.nan,
        peak_memory_mib=math.nan,
        parameters=0,
    )
    return Report(
        data=DataReport(
            source=", ".join(str(path) for path in paths.values()),
            rows=first.rows,
            labels={label: facts.support for label, facts in first.per_label.items()},
            train_rows=0,
            validation_rows=0,
            test_rows=first.rows,
            test_ids_sha256=comparison.test_ids_sha256,
            exact_duplicates=0,
            near_duplicates=0,
            leaked_rows_removed=0,
            dropped={},
        ),
        methods=tuple(
            MethodReport(
                name=name,
                method=name,
                options={},
                labels_used=0,
                evaluation=evaluations[name],
                variants={v: evaluate(run.variant(v)) for v in run.variants},
                cost=unknown,
                training=(),
                mistakes=(),
            )
            for name, run in runs.items()
        ),
        comparison=comparison,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
    )


def _method_report(
    folder: Path,
    name: str,
    options: Mapping[str, Any],
    run: Predictions,
    texts: Mapping[str, str],
) -> MethodReport:
    cost = json.loads((folder / "cost.json").read_text(encoding="utf-8"))
    labels_used = cost.pop("labels_used")
    log = folder / "training.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    return MethodReport(
        name=name,
        method=options["method"],
        options={key: value for key, value in options.items() if key != "method"},
        labels_used=labels_used,
        evaluation=evaluate(run),
        variants={variant: evaluate(run.variant(variant)) for variant in run.variants},
        cost=Cost(**cost),
        training=tuple(json.loads(line) for line in lines),
        mistakes=_mistakes(run, texts),
    )


def _mistakes(run: Predictions, texts: Mapping[str, str]) -> tuple[Mistake, ...]:
    """Return the wrong answers that the method was surest of."""
    wrong = [
        Mistake(
            id=row_id,
            text=texts[row_id],
            gold=gold,
            predicted=predicted,
            probability=float(np.max(probabilities)),
        )
        for row_id, gold, predicted, probabilities in zip(
            run.ids, run.gold or (), run.predicted, run.probabilities, strict=True
        )
        if predicted is not None and predicted != gold
    ]
    wrong.sort(key=lambda mistake: (-mistake.probability, mistake.id))
    return tuple(wrong[:_MISTAKES])
