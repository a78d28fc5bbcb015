"""The Open Inference Protocol, version 2: /v2/..., with the extension for binary tensors.

A call sends texts as the tensor ``text`` of type BYTES; it gets ``probabilities``, ``label``,
``truncated`` and ``abstained``. Knows nothing about keys, limits of bodies, or other formats.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, ValidationError

from pollice.serve.models import ServedModel
from pollice.serve.refusals import Refused, invalid
from pollice.serve.responses import json_response, service_of
from pollice.serve.worker import Answer

router = APIRouter(tags=["Open Inference Protocol"])

LENGTH = "Inference-Header-Content-Length"
"""The header that says how many bytes of JSON stand before the binary tensors."""


class InputTensor(BaseModel):
    """A tensor that is sent: its values as JSON, or behind the JSON."""

    name: str
    shape: list[Annotated[int, Field(ge=0, le=2**31)]]
    datatype: str
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class OutputTensor(BaseModel):
    """A tensor that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class InferenceRequest(BaseModel):
    """What /v2/models/NAME/infer takes."""

    id: str | None = None
    parameters: dict[str, Any] = {}
    inputs: Annotated[list[InputTensor], Field(min_length=1)]
    outputs: list[OutputTensor] = []


_BODY = {"content": {"application/json": {"schema": InferenceRequest.model_json_schema()}}}


@router.get("/v2")
async def server() -> Response:
    """Describe the server."""
    extensions = ["binary_tensor_data"]
    return json_response(
        {"name": "pollice", "version": version("pollice"), "extensions": extensions}
    )


@router.get("/v2/health/live")
async def live() -> Response:
    """Say that the process answers."""
    return json_response({"live": True})


@router.get("/v2/health/ready")
async def ready(request: Request) -> Response:
    """Say whether texts can be judged."""
    service = service_of(request)
    is_ready = not service.draining and await service.is_alive()
    return json_response({"ready": is_ready}, 200 if is_ready else 503)


@router.get("/v2/models/{name}")
@router.get("/v2/models/{name}/versions/{number}", include_in_schema=False)
async def model(name: str, request: Request) -> Response:
    """Describe a model's tensors."""
    found = _find(request, name)
    labels = len(found.label_names)
    return json_response(
        {
            "name": found.name,
            "versions": ["1"],
            "platform": "pollice",
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [
                {"name": "probabilities", "datatype": "FP64", "shape": [-1, labels]},
                {"name": "label", "datatype": "BYTES", "shape": [-1]},
                {"name": "truncated", "datatype": "BOOL", "shape": [-1]},
                {"name": "abstained", "datatype": "BOOL", "shape": [-1]},
            ],
            "parameters": {"labels": list(found.label_names)},
        }
    )


@router.get("/v2/models/{name}/ready")
@router.get("/v2/models/{name}/versions/{number}/ready", include_in_schema=False)
async def model_ready(name: str, request: Request) -> Response:
    """Say whether a model can judge."""
    is_ready = _find(request, name).worker.alive and not service_of(request).draining
    return json_response({"name": name[:80], "ready": is_ready}, 200 if is_ready else 503)


@router.post("/v2/models/{name}/infer", openapi_extra={"requestBody": _BODY})
@router.post("/v2/models/{name}/versions/{number}/infer", include_in_schema=False)
async def infer(name: str, request: Request) -> Response:
    """Judge the texts of a tensor."""
    service = service_of(request)
    found = _find(request, name)
    call, behind = _read(await request.body(), request.headers.get(LENGTH))
    texts = _texts(call, behind)
    answers = await service.judge_all(found, found.judge, texts)
    abstained = [service.abstains(answer) for answer in answers]
    tensors = _chosen(_tensors(found, answers, abstained), call)
    head = {"model_name": found.name, "model_version": "1"}
    if call.id is not None:
        head["id"] = call.id
    return _response(head, tensors, call)


def error_body(refused: Refused) -> dict[str, Any]:
    """Return an error in this format."""
    return {"error": refused.message}


def _find(request: Request, name: str) -> ServedModel:
    return service_of(request).find(name)


def _read(body: bytes, length: str | None) -> tuple[InferenceRequest, bytes]:
    """Return the call, and the bytes of the binary tensors behind it."""
    end = len(body)
    if length is not None:
        if not length.isascii() or not length.isdigit() or int(length[:12]) > len(body):
            raise invalid(
                f"Expected in {LENGTH} the bytes of JSON in the body, but it names another number: "
                "set it to the length of the JSON."
            )
        end = int(length[:12])
    try:
        # From Python values, as elsewhere: pydantic's own reader of JSON takes other numbers.
        return InferenceRequest.model_validate(json.loads(body[:end])), body[end:]
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise invalid(f"Expected a request for inference, but {place}: {problem['msg']}.") from None
    except (ValueError, RecursionError):
        raise Refused(400, "Expected JSON, but the body is none: send JSON.", "invalid") from None


def _texts(call: InferenceRequest, behind: bytes) -> list[str]:
    tensor = call.inputs[0]
    if len(call.inputs) > 1 or tensor.datatype != "BYTES":
        raise invalid(
            "Expected one input tensor of type BYTES with the texts, but found another: send one "
            "tensor 'text'."
        )
    size = tensor.parameters.get("binary_data_size")
    if size is None:
        values = _flat(tensor.data or [])
        texts = [value for value in values if isinstance(value, str)]
        fits = len(texts) == len(values)
    else:
        fits = size == len(behind)
        texts = _unpacked(behind) if fits else []
    if not fits or len(texts) != int(np.prod(tensor.shape, dtype=object)):
        raise invalid(
            "Expected as many texts as the shape of the input tensor says, but found others: make "
            "shape, size and data agree."
        )
    return texts


def _flat(data: Sequence[Any]) -> list[Any]:
    """Return the values of a tensor, which may be nested by its shape."""
    values: list[Any] = []
    for value in data:
        if isinstance(value, list):
            values.extend(_flat(value))
        else:
            values.append(value)
    return values


def _unpacked(data: bytes) -> list[str]:
    """Return the texts of a BYTES tensor: each after its length, 4 bytes with the least first."""
    texts = []
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise _damaged()
        (length,) = struct.unpack_from("<I", data, at)
        at += 4
        if at + length > len(data):
            raise _damaged()
        try:
            texts.append(data[at : at + length].decode("utf-8"))
        except UnicodeDecodeError:
            raise invalid("Expected texts in UTF-8, but one is not: encode it so.") from None
        at += length
    return texts


def _damaged() -> Refused:
    return invalid(
        "Expected texts that each follow their length in 4 bytes, but the data end before: send "
        "the tensor again."
    )


_Tensor = tuple[str, list[int], list[Any]]
"""Its type, its shape and its values."""


def _tensors(
    model: ServedModel, answers: Sequence[Answer], abstained: list[bool]
) -> dict[str, _Tensor]:
    rows = len(answers)
    shares = [share for answer in answers for share in answer.probabilities]
    return {
        "probabilities": ("FP64", [rows, len(model.label_names)], shares),
        "label": ("BYTES", [rows], [answer.label for answer in answers]),
        "truncated": ("BOOL", [rows], [answer.truncated for answer in answers]),
        "abstained": ("BOOL", [rows], abstained),
    }


def _chosen(tensors: Mapping[str, _Tensor], call: InferenceRequest) -> dict[str, _Tensor]:
    names = [output.name for output in call.outputs] or list(tensors)
    unknown = next((name for name in names if name not in tensors), None)
    if unknown is not None:
        raise invalid(
            f"Expected outputs among {', '.join(tensors)}, but another is asked for: name these."
        )
    return {name: tensors[name] for name in names}


def _response(
    head: Mapping[str, Any], tensors: Mapping[str, _Tensor], call: InferenceRequest
) -> Response:
    usual = call.parameters.get("binary_data_output") is True
    asked = {
        output.name: output.parameters.get("binary_data", usual) is True for output in call.outputs
    }
    outputs = []
    behind = []
    for name, (kind, shape, values) in tensors.items():
        output: dict[str, Any] = {"name": name, "datatype": kind, "shape": shape}
        if asked.get(name, usual):
            packed = _packed(kind, values)
            output["parameters"] = {"binary_data_size": len(packed)}
            behind.append(packed)
        else:
            output["data"] = values
        outputs.append(output)
    response = json_response({**head, "outputs": outputs})
    if not behind:
        return response
    start = bytes(response.body)
    return Response(
        start + b"".join(behind),
        headers={LENGTH: str(len(start))},
        media_type="application/octet-stream",
    )


def _packed(kind: str, values: Sequence[Any]) -> bytes:
    if kind == "FP64":
        return np.asarray(values, "<f8").tobytes()
    if kind == "BOOL":
        return np.asarray(values, np.bool_).tobytes()
    encoded = [value.encode("utf-8") for value in values]
    return b"".join(struct.pack("<I", len(value)) + value for value in encoded)
