"""Train, prompt and honestly compare pretrained language models as judges of opinions."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pollice.data.dataset import Dataset as Dataset
    from pollice.data.reading import ReadOptions as ReadOptions
    from pollice.data.reading import read_dataset as read_dataset
    from pollice.data.reading import read_texts as read_texts
    from pollice.data.splits import Split as Split
    from pollice.data.splits import SplitOptions as SplitOptions
    from pollice.data.splits import split as split
    from pollice.errors import PolliceError as PolliceError
    from pollice.errors import UserError as UserError
    from pollice.judging.comparison import compare as compare
    from pollice.judging.metrics import Evaluation as Evaluation
    from pollice.judging.metrics import evaluate as evaluate
    from pollice.judging.results import Comparison as Comparison
    from pollice.judging.results import Pair as Pair
    from pollice.judging.results import Report as Report
    from pollice.method import Method as Method
    from pollice.methods import create_method as create_method
    from pollice.methods import method_names as method_names
    from pollice.predictions.predict import predict as predict
    from pollice.predictions.predictor import Predictor as Predictor
    from pollice.predictions.predictor import Scores as Scores
    from pollice.predictions.table import Predictions as Predictions
    from pollice.report import write_report as write_report
    from pollice.runs.experiment import DataSource as DataSource
    from pollice.runs.experiment import Experiment as Experiment
    from pollice.runs.new_texts import predict_file as predict_file
    from pollice.runs.predictors import load_predictor as load_predictor
    from pollice.runs.predictors import save_predictor as save_predictor
    from pollice.runs.run import run_experiment as run_experiment

_HOMES = {
    "Comparison": "judging.results",
    "DataSource": "runs.experiment",
    "Dataset": "data.dataset",
    "Evaluation": "judging.metrics",
    "Experiment": "runs.experiment",
    "Method": "method",
    "Pair": "judging.results",
    "PolliceError": "errors",
    "Predictions": "predictions.table",
    "Predictor": "predictions.predictor",
    "ReadOptions": "data.reading",
    "Report": "judging.results",
    "Scores": "predictions.predictor",
    "Split": "data.splits",
    "SplitOptions": "data.splits",
    "UserError": "errors",
    "compare": "judging.comparison",
    "create_method": "methods",
    "evaluate": "judging.metrics",
    "load_predictor": "runs.predictors",
    "method_names": "methods",
    "predict": "predictions.predict",
    "predict_file": "runs.new_texts",
    "read_dataset": "data.reading",
    "read_texts": "data.reading",
    "run_experiment": "runs.run",
    "save_predictor": "runs.predictors",
    "split": "data.splits",
    "write_report": "report",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `pollice --help` answers at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pollice' has no attribute {name!r}")
    return getattr(import_module(f"pollice.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Name the public names as well, which are imported only when they are used."""
    return sorted({*globals(), *__all__})
