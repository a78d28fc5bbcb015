"""A model's graph in a file, run by ONNX Runtime or by OpenVINO on the CPU.

Knows nothing about texts and labels: token ids in, numbers out.
"""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pollice.models.exported.forms import Form, check_packages

INPUTS = ("input_ids", "attention_mask")
OUTPUT = "scores"

Run = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""Token ids and their mask, each ``(rows, length)``, to ``(rows, columns)``."""


def open_engine(folder: Path, form: Form) -> Run:
    """Return what runs the model of a form that lies in a folder; threads may share it.

    Raises:
        OptionError: the package that runs it is not installed.
    """
    check_packages(form, (form.runtime,))
    open_model = _open_onnx if form.runtime == "onnxruntime" else _open_openvino
    return open_model(folder / form.model_file)


def _threads() -> int:
    """Return the processors that this process may use, as OMP_NUM_THREADS and the system say."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told):
        return int(told)
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return given or 1


def _open_onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        (found,) = session.run([OUTPUT], dict(zip(INPUTS, (ids, mask), strict=True)))
        return np.asarray(found, np.float32)

    return run


@cache
def openvino_core() -> Any:
    """Return the one core of this process, which lives as long as the process.

    Where the processor has AMX, a core gives the thread that makes it a stack for signals, and puts
    the former one back at its own end. Of two that end in the order of their making, the second
    puts back what the first has freed, and the next signal ends the process (OpenVINO 2026.4).
    """
    import openvino

    return openvino.Core()


def _open_openvino(path: Path) -> Run:
    core = openvino_core()
    # Without the first two, OpenVINO rounds to bfloat16 where the processor multiplies it, and
    # rounds what is multiplied with weights of 8 bits.
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        "INFERENCE_NUM_THREADS": _threads(),
        "NUM_STREAMS": 1,
    }
    compiled = core.compile_model(core.read_model(path), "CPU", options)

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        # A request of its own for each call: a compiled model's common one is no good for threads.
        request = compiled.create_infer_request()
        request.infer([ids, mask])
        return np.array(request.get_output_tensor(0).data, np.float32)

    return run
