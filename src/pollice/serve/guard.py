"""What stands before every route: keys, the size and nesting of bodies, draining, and counting.

Knows nothing about routes, nor about what they do. It is the last place for errors: what no route
expected becomes an answer too, and only its type is logged, since its sentence may quote a text.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence

from fastapi import Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pollice.serve.keys import Keys
from pollice.serve.limits import Limits, nested_deeper
from pollice.serve.models import Service
from pollice.serve.refusals import Refused

logger = logging.getLogger(__name__)

_HEALTH = "/health"
"""The route that needs no key."""
_LOOKING = ("GET", "HEAD")
_STATES = ("/health", "/ready", "/metrics", "/v2/health/live", "/v2/health/ready")
"""What is answered while the service stops too."""
_THROWN_AWAY = 16
"""A body is read up to so many times the limit before it is refused: a client that is still sending
would not see the answer."""

Respond = Callable[[str, Refused], Response]


class Guard:
    """Lets a call through to the application, or answers it.

    Args:
        app: The application.
        service: Whose calls are counted, and whose draining is obeyed.
        keys: Who may call.
        limits: The size and the nesting of bodies.
        respond: Makes the response of a refusal, for a path.
        open_paths: What may be looked at without a key: files of a page, which hold no secret.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        service: Service,
        keys: Keys,
        limits: Limits,
        respond: Respond,
        open_paths: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._service = service
        self._keys = keys
        self._limits = limits
        self._respond = respond
        self._open_paths = open_paths
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _Seen(send)
        begun = time.monotonic()
        is_state = scope["path"] in _STATES
        self._service.in_flight += not is_state
        try:
            await self._answer(scope, receive, seen)
        finally:
            self._service.in_flight -= not is_state
            route = getattr(scope.get("route"), "path", "none")
            self._service.metrics.answered(route, seen.status, time.monotonic() - begun)

    async def _answer(self, scope: Scope, receive: Receive, seen: "_Seen") -> None:
        try:
            self._check_key(scope)
            self._check_draining(scope)
            body = await self._read(scope, receive)
            await self._answer_while_asked(scope, body, receive, seen)
            return
        except Refused as error:
            refused = error
        except Exception as error:
            logger.error("A call failed (%s).", type(error).__name__)
            refused = Refused(
                500, "Expected an answer, but the service failed: tell its owner.", "failure"
            )
        self._service.metrics.failed(refused.kind)
        if not seen.status:
            await self._respond(scope["path"], refused)(scope, receive, seen)

    async def _answer_while_asked(
        self, scope: Scope, body: bytes, receive: Receive, seen: "_Seen"
    ) -> None:
        """Let the application answer, but give up where the client closes its connection.

        Else what nobody waits for any more would be judged before what somebody waits for.
        """
        gone = asyncio.Event()
        answering = asyncio.ensure_future(self._app(scope, _replayed(body, gone), seen))
        leaving = asyncio.create_task(_wait_for_end(receive, gone))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() and not seen.status:
                answering.cancel()
                self._service.metrics.failed("left")
            with contextlib.suppress(asyncio.CancelledError):
                await answering
        finally:
            answering.cancel()
            leaving.cancel()

    def _check_key(self, scope: Scope) -> None:
        headers = dict(scope["headers"])  # names come in small letters
        given = headers.get(b"authorization"), headers.get(b"x-api-key")
        is_open = scope["path"] == _HEALTH or (
            scope["path"] in self._open_paths and scope["method"] in _LOOKING
        )
        if not is_open and not self._keys.allow(*given):
            raise Refused(
                401,
                "Expected a key, but the call has none that is known: send it as `Authorization: "
                "Bearer KEY` or `X-API-Key: KEY`.",
                "unauthorized",
            )

    def _check_draining(self, scope: Scope) -> None:
        if self._service.refuses_calls and scope["path"] not in _STATES:
            raise Refused(
                503,
                "Expected a service that goes on, but it is stopping: call another one.",
                "stopping",
                retry_after=1,
            )

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """Return the body, if it is neither too large nor nested too deeply."""
        headers = Headers(scope=scope)
        if headers.get("content-encoding", "identity") != "identity":
            raise Refused(
                415, "Expected a plain body, but it is compressed: send it as it is.", "invalid"
            )
        try:
            async with asyncio.timeout(self._limits.deadline_seconds):
                body = await self._received(receive)
        except TimeoutError:
            raise Refused(
                408, "Expected a body in time, but it did not come: send it again.", "timeout"
            ) from None
        if nested_deeper(_json_of(body, headers), self._limits.depth):
            raise Refused(
                422,
                f"Expected JSON nested at most {self._limits.depth} deep, but it is nested deeper: "
                "send it flatter.",
                "invalid",
            )
        return body

    async def _received(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size = held = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(408, "Expected a body, but the connection was closed.", "timeout")
                part = message.get("body", b"")
                size += len(part)
                if size <= self._limits.body_bytes:
                    parts.append(part)
                    held += len(part)
                    self._hold(len(part))
                more = message.get("more_body", False)
                if not more or size > _THROWN_AWAY * self._limits.body_bytes:
                    break
        finally:
            self._held_bytes -= held
        if size > self._limits.body_bytes:
            raise Refused(
                413,
                f"Expected a body of at most {self._limits.body_bytes:,} bytes, but it has more: "
                "send fewer or shorter texts.",
                "too_large",
            )
        return b"".join(parts)

    def _hold(self, size: int) -> None:
        """Count a part of a body that is kept until the rest of it has come."""
        self._held_bytes += size
        if self._held_bytes > self._limits.bodies_bytes:
            raise Refused(
                429,
                "Expected room for a body, but many are being received: try again in a second.",
                "overloaded",
                retry_after=1,
            )


class _Seen:
    """Sends messages on, and remembers the status of the answer; 0: none was begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def _json_of(body: bytes, headers: Headers) -> bytes:
    """Return the part of a body that is JSON: binary tensors may stand behind it."""
    length = headers.get("inference-header-content-length", "")
    return body[: int(length[:12])] if length.isascii() and length.isdigit() else body


def _replayed(body: bytes, gone: asyncio.Event) -> Receive:
    """Return what hands a body out that was read before, and says when the client is gone."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        if waiting:
            return waiting.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    return replay


async def _wait_for_end(receive: Receive, gone: asyncio.Event) -> None:
    """Wait until the connection is closed, or the answer was sent."""
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()
