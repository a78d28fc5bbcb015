"""The application: routes, keys and limits before them, and errors in each format's own shape.

Knows nothing about how a text is judged, and nothing about the formats but their names.
"""

import html
import importlib
import importlib.util
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from pollice.serve.for_page import ServiceForPage
from pollice.serve.formats import decisions, hugging_face, open_inference, system_one, tei
from pollice.serve.guard import Guard
from pollice.serve.keys import Keys
from pollice.serve.limits import Limits
from pollice.serve.models import Service
from pollice.serve.refusals import Refused
from pollice.serve.responses import json_response, service_of

logger = logging.getLogger(__name__)

_PAGE = "pollice.serve.page"
"""The page for people: its routes are served where the module is there."""

ErrorBody = Callable[[Refused], dict[str, Any]]

_FORMATS: Mapping[str, ErrorBody] = {
    "/predict": tei.error_body,
    "/info": tei.error_body,
    "/v2": open_inference.error_body,
    "/v1/decisions": decisions.error_body,
    "/v1/systemone": system_one.error_body,
}


def create_app(
    service: Service, *, keys: Keys, limits: Limits | None = None, report: Path | None = None
) -> FastAPI:
    """Return the application that answers for a service; whoever starts it starts the workers.

    Args:
        service: What is served.
        keys: Who may call.
        limits: What a call may use; None: the service's.
        report: The report of a comparison, or a run's folder that holds it, for the page.
    """
    app = FastAPI(title="pollice", docs_url=None, redoc_url=None)
    app.state.service = service
    for module in (tei, hugging_face, open_inference, decisions, system_one):
        app.include_router(module.router)
    _add_own_routes(app)
    if importlib.util.find_spec(_PAGE) is not None:
        page: Any = importlib.import_module(_PAGE)
        app.include_router(page.page_router(ServiceForPage(service), report))
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _misshaped)
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_middleware(
        Guard,
        service=service,
        keys=keys,
        limits=limits or service.limits,
        respond=error_response,
    )
    return app


def error_response(path: str, refused: Refused) -> Response:
    """Return an error in the shape of the format that a path belongs to."""
    prefixes = [prefix for prefix in _FORMATS if path == prefix or path.startswith(f"{prefix}/")]
    body = _FORMATS[prefixes[0]] if prefixes else hugging_face.error_body
    headers = {} if refused.retry_after is None else {"Retry-After": str(refused.retry_after)}
    response = json_response(body(refused), refused.status, headers)
    if refused.status == 401:
        # Basic lets a browser ask a person for the key, and send it with all that the page asks.
        # A line for each: Chromium does not understand two in one.
        for challenge in ("Bearer", 'Basic realm="pollice", charset="UTF-8"'):
            response.headers.append("WWW-Authenticate", challenge)
    return response


def _add_own_routes(app: FastAPI) -> None:
    @app.get("/health")
    async def health(request: Request) -> Response:
        """Say that every worker takes texts."""
        return await _state(service_of(request))

    @app.get("/ready")
    async def ready(request: Request) -> Response:
        """Say whether new calls should come here: not while the service stops."""
        service = service_of(request)
        if service.draining:
            return json_response({"status": "stopping"}, 503)
        return await _state(service)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        """Return what Prometheus reads."""
        text = service_of(request).metrics.text()
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", response_class=HTMLResponse)
    async def docs(request: Request) -> Response:
        """Return a page with every route."""
        return HTMLResponse(_docs(app.openapi()), headers={"Content-Security-Policy": _POLICY})


_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


async def _state(service: Service) -> Response:
    is_alive = await service.is_alive()
    content = {"status": "ok" if is_alive else "down", "models": list(service.models)}
    if service.failures:
        content["not_loaded"] = list(service.failures)
    return json_response(content, 200 if is_alive else 503)


def _docs(schema: Mapping[str, Any]) -> str:
    """Return a page without scripts: the usual one loads them from elsewhere."""
    rows = "".join(
        f"<tr><td>{verb.upper()}</td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(content.get('description', ''))}</td></tr>"
        for path, verbs in schema["paths"].items()
        for verb, content in verbs.items()
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>pollice: routes</title>"
        "<style>body{font:16px sans-serif;margin:2em}td{padding:.3em 1em .3em 0}</style>"
        "<h1>Routes</h1><p>Their bodies are described in <a href=openapi.json>openapi.json</a>."
        f"<table>{rows}</table></html>"
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    service_of(request).metrics.failed(error.kind)
    return error_response(request.url.path, error)


async def _misshaped(request: Request, error: Exception) -> Response:
    """Answer a body that does not fit: where, and why, but not what was sent."""
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    if problem["type"] == "json_invalid":
        said = Refused(400, "Expected JSON, but the body is none: send JSON.", "invalid")
        return await _refused(request, said)
    place = ".".join(str(part)[:80] for part in problem["loc"] if part != "body")
    reason = f"{place or 'the body'}: {str(problem['msg'])[:300]}"
    return await _refused(
        request, Refused(422, f"Expected a call as /docs describes it, but {reason}.", "invalid")
    )


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reasons = {404: "there is no such route", 405: "this route takes another method"}
    reason = reasons.get(error.status_code, "the body cannot be read")
    said = Refused(error.status_code, f"Expected a call as /docs lists it, but {reason}.", "route")
    response = await _refused(request, said)
    response.headers.update(error.headers or {})
    return response
