"""The page for people: its three files, and the routes that its script calls.

Knows nothing about how texts are judged, nor about keys and limits: those stand before every route.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Protocol

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from pollice.data.columns import ID_COLUMNS, TEXT_COLUMNS
from pollice.predictions.explain import Explanation
from pollice.predictions.shading import shade

TEXTS_A_CALL = 64
"""At most so many texts are judged by one call of the page."""

# No inline script, no foreign address, no frame around the page, and no form that leaves it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
# The report is one file with its style inside, and without scripts.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_SAFE = {
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


class PageService(Protocol):
    """What the page needs of a service."""

    def names(self) -> list[str]:
        """Return the predictors that give texts labels of their own."""

    async def judge(self, name: str, texts: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """Judge texts.

        Each answer has ``label``, ``probabilities`` by label, ``truncated`` and ``abstained``; one
        that failed has only ``error``.
        """

    async def explain(self, name: str, text: str) -> Explanation:
        """Find which words moved the answer to a text."""


class JudgeRequest(BaseModel):
    """Texts for one predictor."""

    model: str
    texts: list[str] = Field(min_length=1, max_length=TEXTS_A_CALL)


class ExplainRequest(BaseModel):
    """One text for one predictor."""

    model: str
    text: str = Field(min_length=1)


def page_router(service: PageService, report: Path | None = None) -> APIRouter:
    """Return the routes of the page.

    Args:
        service: What judges and explains.
        report: The page of a comparison, or a run's folder that holds it; None: there is none.
    """
    router = APIRouter(include_in_schema=False)
    page = None if report is None else report if report.is_file() else report / "report.html"

    @router.get("/")
    async def index() -> Response:
        """Return the page."""
        return _asset("index.html")

    @router.get("/page/models")
    async def models() -> Response:
        """Return what the script has to know."""
        return _json(
            {
                "models": service.names(),
                "report": page is not None and page.is_file(),
                "text_columns": TEXT_COLUMNS,
                "id_columns": ID_COLUMNS,
                "texts_a_call": TEXTS_A_CALL,
            }
        )

    @router.get("/page/{name}")
    async def asset(name: Literal["style.css", "script.js"]) -> Response:
        """Return its style or its script."""
        return _asset(name)

    @router.post("/page/judge")
    async def judge(asked: JudgeRequest) -> Response:
        """Judge texts with one predictor."""
        if asked.model not in service.names():
            return _unknown(asked.model, service)
        return _json({"answers": list(await service.judge(asked.model, asked.texts))})

    @router.post("/page/explain")
    async def explain(asked: ExplainRequest) -> Response:
        """Return a text in stretches, each with what it adds to the answer."""
        if asked.model not in service.names():
            return _unknown(asked.model, service)
        return _json(_as_json(await service.explain(asked.model, asked.text)))

    @router.get("/report")
    async def show_report() -> Response:
        """Return the comparison's report."""
        if page is None or not page.is_file():
            return _json({"error": "Expected a report, but this service was given none."}, 404)
        content = page.read_bytes()
        return _secured(Response(content, media_type="text/html; charset=utf-8"), _REPORT_POLICY)

    return router


def _as_json(found: Explanation) -> dict[str, Any]:
    stretches = shade(found.text, found.words or found.sentences)
    return {
        "label": found.label,
        "probability": found.probability,
        "truncated": found.truncated,
        "exact": found.exact,
        "stretches": [
            {"text": each.text, "shade": each.shade, "weight": each.weight} for each in stretches
        ],
    }


def _unknown(name: str, service: PageService) -> Response:
    return _json(
        {
            "error": f"Expected one of {', '.join(service.names())}, but found {name[:80]!r}. "
            "Load the page again."
        },
        404,
    )


def _asset(name: str) -> Response:
    content = files("pollice.serve").joinpath("page", name).read_text(encoding="utf-8")
    kind = _TYPES[Path(name).suffix]
    return _secured(Response(content, media_type=f"{kind}; charset=utf-8"), _POLICY)


def _json(content: Mapping[str, Any], status: int = 200) -> Response:
    """Return JSON in ASCII: a text may hold half a surrogate pair, which UTF-8 cannot write."""
    body = json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
    return _secured(Response(body, status, media_type="application/json"), "default-src 'none'")


def _secured(response: Response, policy: str) -> Response:
    response.headers.update({**_SAFE, "Content-Security-Policy": policy})
    return response
