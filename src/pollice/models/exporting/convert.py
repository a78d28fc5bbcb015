"""A graph to the file of a form: exported by PyTorch, and quantized where the form is in 8 bits.

Knows nothing about whether the result is good enough: that is judged by `pollice.runs.gate`.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pollice.models.batching import padded
from pollice.models.exported.classifier import write_reading
from pollice.models.exported.engines import INPUTS, OUTPUT
from pollice.models.exported.forms import FORMS, Form
from pollice.models.exporting.graph import Exportable

_LARGEST_FILE = 1_800_000_000  # bytes: a file of ONNX holds at most 2 GiB
_LOGGERS = ("torch.onnx", "onnxscript", "nncf", "openvino", "root")

Tokens = Sequence[Sequence[int]]


def ways_to_write(form: Form) -> int:
    """Return how many ways there are to make a form, the fastest result first."""
    return len(_WRITERS[form.name])


def write_form(
    exportable: Exportable, form: Form, folder: Path, texts: Sequence[str], *, way: int = 0
) -> None:
    """Write an exported predictor into an existing folder; its form is not judged yet.

    Args:
        exportable: The predictor, taken apart.
        form: What it becomes.
        folder: Where its files go.
        texts: What the ranges of a quantized form are measured on.
        way: Which of `ways_to_write`.
    """
    tokens = exportable.reader.read(texts).tokens
    path = folder / form.model_file
    with _aside():
        _WRITERS[form.name][way](exportable, path, tokens)
    write_reading(
        folder, exportable.settings(form.name), exportable.reader.tokenizer.plain, exportable.head
    )


def _write_onnx(exportable: Exportable, path: Path, tokens: Tokens) -> None:
    size = sum(weight.nbytes for weight in exportable.graph.parameters())
    torch.onnx.export(
        _program(exportable),
        (),
        str(path),
        input_names=list(INPUTS),
        output_names=[OUTPUT],
        external_data=size > _LARGEST_FILE,
        verbose=False,
    )


def _write_onnx_int8(exportable: Exportable, path: Path, tokens: Tokens) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder) / path.name
        _write_onnx(exportable, whole, tokens)
        quantize_dynamic(whole, path, weight_type=QuantType.QInt8, per_channel=True)


def _write_openvino(exportable: Exportable, path: Path, tokens: Tokens) -> None:
    import openvino

    # Whole numbers, not halves: a form in float32 must give the same probabilities to 1e-4.
    openvino.save_model(_openvino_model(exportable), path, compress_to_fp16=False)


def _write_openvino_int8(exportable: Exportable, path: Path, tokens: Tokens) -> None:
    import nncf
    import openvino

    # Ranges that are measured once and kept: a row's rounding does not depend on its neighbours.
    quantized = nncf.quantize(
        _openvino_model(exportable),
        nncf.Dataset(_single_batches(tokens, exportable.reader.tokenizer.pad)),
        subset_size=len(tokens),
        model_type=nncf.ModelType.TRANSFORMER,
    )
    openvino.save_model(quantized, path, compress_to_fp16=True)


def _write_openvino_int8_weights(exportable: Exportable, path: Path, tokens: Tokens) -> None:
    """Put the weights alone into 8 bits, which rounds less."""
    import nncf
    import openvino

    compressed = nncf.compress_weights(
        _openvino_model(exportable), mode=nncf.CompressWeightsMode.INT8_ASYM
    )
    openvino.save_model(compressed, path, compress_to_fp16=False)


def _openvino_model(exportable: Exportable) -> Any:
    import openvino

    return openvino.convert_model(_program(exportable))


_WRITERS: Mapping[str, tuple[Callable[[Exportable, Path, Tokens], None], ...]] = {
    "onnx": (_write_onnx,),
    "onnx-int8": (_write_onnx_int8,),
    "openvino": (_write_openvino,),
    "openvino-int8": (_write_openvino_int8, _write_openvino_int8_weights),
}
"""For each form the ways to make it, the fastest result first."""
assert _WRITERS.keys() == FORMS.keys()


def _program(exportable: Exportable) -> torch.export.ExportedProgram:
    """Return the graph for any number of rows and any length.

    By torch.export: what the older tracing exporter gives is right for the traced sizes alone in
    some models, without a word; this one refuses a size that it cannot keep open.
    """
    ids = torch.zeros((2, 16), dtype=torch.int64)  # no size is 1, which would be taken for fixed
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    shape = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with torch.no_grad():
        return torch.export.export(exportable.graph, (ids, mask), dynamic_shapes=(shape, shape))


def _single_batches(tokens: Tokens, pad: int) -> list[tuple[NDArray[np.int64], ...]]:
    return [
        (padded([row], len(row), pad), np.ones((1, len(row)), np.int64)) for row in tokens if row
    ]


@contextmanager
def _aside() -> Iterator[None]:
    """Keep what exporters print off the terminal, and let none of them report its use.

    NNCF and OpenVINO's converter send how they are used to Intel without being asked, but not
    where CI is set, which is put back.
    """
    before = os.environ.get("CI")
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    os.environ["CI"] = "true"
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(StringIO()))
        stack.enter_context(redirect_stderr(StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
            if before is None:
                del os.environ["CI"]
            else:
                os.environ["CI"] = before
