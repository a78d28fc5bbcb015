"""The format of Hugging Face's inference for text classification: POST / and /models/NAME.

Knows nothing about keys, limits of bodies, or other formats.
"""

import math
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from pollice.serve.refusals import Refused
from pollice.serve.responses import answer_headers, json_response, ranked, service_of
from pollice.serve.worker import Answer

router = APIRouter(tags=["Hugging Face inference"])

_LEAST = 1e-30  # a probability of 0 has no logarithm


class Parameters(BaseModel):
    """How the answer is given."""

    top_k: Annotated[int, Field(ge=1)] | None = None
    """So many labels; None: all of them."""
    function_to_apply: Literal["softmax", "none"] | None = None
    """none: logarithms of the probabilities in their place."""


class ClassificationRequest(BaseModel):
    """What a text classifier takes."""

    inputs: str | list[str]
    parameters: Parameters | None = None


@router.post("/")
async def classify(call: ClassificationRequest, request: Request) -> Response:
    """Judge texts with the first model."""
    return await _classify(call, request, None)


@router.post("/models/{name:path}")
async def classify_with(name: str, call: ClassificationRequest, request: Request) -> Response:
    """Judge texts with a model."""
    return await _classify(call, request, name)


def error_body(refused: Refused) -> dict[str, Any]:
    """Return an error in this format."""
    return {"error": refused.message, "error_type": refused.kind}


async def _classify(call: ClassificationRequest, request: Request, name: str | None) -> Response:
    service = service_of(request)
    model = service.find(name)
    texts = [call.inputs] if isinstance(call.inputs, str) else call.inputs
    answers = await service.judge_any(model, model.judge, texts)
    parameters = call.parameters or Parameters()
    # One text gives a list in a list too: so the client takes it, and so the API gives it.
    # A text that cannot be judged fails alone: its error stands where its labels would.
    found = [
        error_body(answer) if isinstance(answer, Refused) else _scores(answer, parameters)
        for answer in answers
    ]
    return json_response(found, headers=answer_headers(service, answers))


def _scores(answer: Answer, parameters: Parameters) -> list[dict[str, Any]]:
    raw = parameters.function_to_apply == "none"
    return [
        {"label": name, "score": math.log(max(share, _LEAST)) if raw else share}
        for name, share in ranked(answer)[: parameters.top_k]
    ]
