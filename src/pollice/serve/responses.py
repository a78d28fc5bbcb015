"""Responses as JSON, and the headers that say what a format has no room for.

Knows nothing about any one format.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request, Response

from pollice.serve.models import Service
from pollice.serve.refusals import Refused
from pollice.serve.worker import Answer


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return content as JSON in ASCII, which every string can be written in."""
    # JSONResponse writes UTF-8, which fails on half a surrogate pair that a client sent.
    body = json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
    return Response(body, status, headers=headers, media_type="application/json")


def answer_headers(service: Service, answers: Sequence[Answer | Refused]) -> dict[str, str]:
    """Return headers that say of each text whether it was cut, and whether its answer abstains.

    Both are ``error`` for a text that was not judged.
    """
    return {
        "X-Truncated": ",".join(
            "error" if isinstance(each, Refused) else _flag(each.truncated) for each in answers
        ),
        "X-Abstained": ",".join(
            "error" if isinstance(each, Refused) else _flag(service.abstains(each))
            for each in answers
        ),
    }


def _flag(value: bool) -> str:
    return "true" if value else "false"


def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    service: Service = request.app.state.service
    return service


def ranked(answer: Answer) -> list[tuple[str, float]]:
    """Return labels with their probabilities, the most probable first."""
    pairs = zip(answer.label_names, answer.probabilities, strict=True)
    return sorted(pairs, key=lambda pair: -pair[1])
