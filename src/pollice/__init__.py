"""Train, prompt and honestly compare pretrained language models as judges of opinions."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pollice.comparison import Comparison as Comparison
    from pollice.comparison import Pair as Pair
    from pollice.comparison import compare as compare
    from pollice.data import Dataset as Dataset
    from pollice.data import ReadOptions as ReadOptions
    from pollice.data import read_dataset as read_dataset
    from pollice.data import read_texts as read_texts
    from pollice.errors import PolliceError as PolliceError
    from pollice.errors import UserError as UserError
    from pollice.experiment import DataSource as DataSource
    from pollice.experiment import Experiment as Experiment
    from pollice.experiment import run_experiment as run_experiment
    from pollice.method import Method as Method
    from pollice.method import create_method as create_method
    from pollice.method import method_names as method_names
    from pollice.metrics import Evaluation as Evaluation
    from pollice.metrics import evaluate as evaluate
    from pollice.prediction import Predictions as Predictions
    from pollice.prediction import Predictor as Predictor
    from pollice.prediction import Scores as Scores
    from pollice.prediction import predict as predict
    from pollice.report import Report as Report
    from pollice.report import write_report as write_report
    from pollice.splits import Split as Split
    from pollice.splits import SplitOptions as SplitOptions
    from pollice.splits import split as split
    from pollice.storage import load_predictor as load_predictor
    from pollice.storage import save_predictor as save_predictor

_HOMES = {
    "Comparison": "comparison",
    "DataSource": "experiment",
    "Dataset": "data",
    "Evaluation": "metrics",
    "Experiment": "experiment",
    "Method": "method",
    "Pair": "comparison",
    "PolliceError": "errors",
    "Predictions": "prediction",
    "Predictor": "prediction",
    "ReadOptions": "data",
    "Report": "report",
    "Scores": "prediction",
    "Split": "splits",
    "SplitOptions": "splits",
    "UserError": "errors",
    "compare": "comparison",
    "create_method": "method",
    "evaluate": "metrics",
    "load_predictor": "storage",
    "method_names": "method",
    "predict": "prediction",
    "read_dataset": "data",
    "read_texts": "data",
    "run_experiment": "experiment",
    "save_predictor": "storage",
    "split": "splits",
    "write_report": "report",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `pollice --help` answers at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pollice' has no attribute {name!r}")
    return getattr(import_module(f"pollice.{_HOMES[name]}"), name)
