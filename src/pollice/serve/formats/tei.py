"""The format of text-embeddings-inference: /predict and /info.

As its published API description has it: a list of two strings is a pair, and a batch is a list of
lists. Knows nothing about keys, limits of bodies, or other formats.
"""

import math
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from pollice.serve.models import Service
from pollice.serve.refusals import Refused
from pollice.serve.responses import answer_headers, json_response, ranked, service_of
from pollice.serve.worker import Answer

router = APIRouter(tags=["text-embeddings-inference"])

_LEAST = 1e-30  # a probability of 0 has no logarithm

Sequence_ = Annotated[list[str], Field(min_length=1, max_length=2)]
"""A text, or a pair of texts."""


class PredictRequest(BaseModel):
    """What /predict takes."""

    inputs: str | Sequence_ | list[Sequence_]
    raw_scores: bool = False
    """Logarithms of the probabilities in their place."""
    truncate: bool | None = None
    """false: a text that is too long is refused; else it is cut."""
    truncation_direction: str | None = None
    """Taken and ignored: a predictor knows which end of a text it reads."""


@router.post("/predict")
async def predict(call: PredictRequest, request: Request) -> Response:
    """Judge texts with the first model."""
    service = service_of(request)
    model = service.find(None)
    texts, is_batch = _texts(call.inputs)
    answers = await service.judge_any(model, model.judge, texts)
    if call.truncate is False:
        _refuse_cut(answers)
    judged = [
        # A text that cannot be judged fails alone: its error stands where its labels would.
        error_body(answer)
        if isinstance(answer, Refused)
        else _predictions(answer, raw=call.raw_scores)
        for answer in answers
    ]
    return json_response(
        judged if is_batch else judged[0], headers=answer_headers(service, answers)
    )


@router.get("/info")
async def info(request: Request) -> Response:
    """Describe the first model."""
    service = service_of(request)
    return json_response(_info(service))


def error_body(refused: Refused) -> dict[str, Any]:
    """Return an error in this format."""
    kinds = {"overloaded": "Overloaded", "timeout": "Overloaded", "empty": "Empty"}
    kinds |= {"judging": "Backend", "failure": "Backend"}
    unhealthy = "Unhealthy" if refused.status == 503 else "Validation"
    return {"error": refused.message, "error_type": kinds.get(refused.kind, unhealthy)}


def _texts(inputs: str | list[str] | list[list[str]]) -> tuple[list[str], bool]:
    """Return the texts, and whether they came as a batch; a pair is read as one text."""
    if isinstance(inputs, str):
        return [inputs], False
    if inputs and isinstance(inputs[0], str):
        return ["\n".join(part for part in inputs if isinstance(part, str))], False
    return ["\n".join(pair) for pair in inputs], True


def _predictions(answer: Answer, *, raw: bool) -> list[dict[str, Any]]:
    return [
        {"label": name, "score": math.log(max(share, _LEAST)) if raw else share}
        for name, share in ranked(answer)
    ]


def _refuse_cut(answers: list[Answer | Refused]) -> None:
    for number, answer in enumerate(answers):
        if isinstance(answer, Answer) and answer.truncated:
            raise Refused(
                413,
                f"Expected texts that are read whole, since truncate is false, but text {number} "
                "is too long: cut it, or let it be cut.",
                "too_large",
            )


def _info(service: Service) -> dict[str, Any]:
    model = service.find(None)
    names = dict(enumerate(model.label_names))
    return {
        "model_id": model.name,
        "model_sha": None,
        "model_dtype": "float32",
        "model_type": {
            "classifier": {
                "id2label": {str(code): name for code, name in names.items()},
                "label2id": {name: code for code, name in names.items()},
            }
        },
        "max_concurrent_requests": service.limits.queue,
        "max_input_length": service.limits.characters,
        "max_batch_tokens": service.limits.batch_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": service.limits.texts,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": version("pollice"),
        "sha": None,
        "docker_label": None,
    }
