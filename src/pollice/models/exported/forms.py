"""The forms of an exported predictor: their files, and the packages that they need.

Knows nothing about how they are made, and nothing about how they are run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from pollice.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form of a model: of one runtime, in full precision or in 8 bits."""

    name: str
    extra: str
    """The extra of pollice that installs what it needs."""
    model_file: str
    runtime: str
    """The package that runs it."""
    makers: tuple[str, ...]
    """The packages that make it, beside those of `models`."""
    quantized: bool = False


MERGED = "merged"
"""The form of a tuned language model whose adapter was added to its weights."""

_ONNX = ("onnx", "onnxruntime", "onnxscript")

FORMS: Mapping[str, Form] = {
    form.name: form
    for form in (
        Form(
            name="onnx",
            extra="onnx",
            model_file="model.onnx",
            runtime="onnxruntime",
            makers=_ONNX,
        ),
        Form(
            name="onnx-int8",
            extra="onnx",
            model_file="model.onnx",
            runtime="onnxruntime",
            makers=_ONNX,
            quantized=True,
        ),
        Form(
            name="openvino",
            extra="openvino",
            model_file="model.xml",
            runtime="openvino",
            makers=("openvino",),
        ),
        Form(
            name="openvino-int8",
            extra="openvino",
            model_file="model.xml",
            runtime="openvino",
            makers=("openvino", "nncf"),
            quantized=True,
        ),
    )
}

AUTO = "auto"
"""Asks for the fastest form that is accepted."""
SAME = "same"
"""Asks for a copy of a predictor as it is."""
FORMATS = (AUTO, *FORMS, MERGED, SAME)
"""All that an export can be asked for."""


def missing_packages(packages: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of some packages that are not installed."""
    return tuple(package for package in packages if not _is_installed(package))


def check_packages(form: Form, packages: tuple[str, ...]) -> None:
    """Refuse a form whose packages are not installed.

    Raises:
        OptionError: one of them is missing; the command that installs it is said.
    """
    for package in missing_packages(packages)[:1]:
        raise OptionError(
            f"The form {form.name} needs {package}, which is not installed. Install it with: "
            f"pip install 'pollice[{form.extra}]'."
        )


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # None stands in sys.modules: it is kept from being imported
        return False
