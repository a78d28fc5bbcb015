"""A server that runs until a signal, and then ends what is in flight.

Knows nothing about routes.
"""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import uvicorn

from pollice.serve.http import create_app
from pollice.serve.keys import Keys
from pollice.serve.models import Service

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STEP = 0.02
"""So often it is seen whether something is still in flight, in seconds."""


class Server(uvicorn.Server):
    """uvicorn's server, which drains: it answers on until what is in flight has ended.

    uvicorn itself closes its sockets at once, so nobody could be told that it is not ready.
    """

    def __init__(self, service: Service, keys: Keys, report: Path | None = None) -> None:
        self.app = create_app(service, keys=keys, report=report)
        """What answers, with its routes."""
        super().__init__(
            uvicorn.Config(
                self.app,
                log_config=None,
                access_log=False,  # paths and queries may hold what a client wrote
                lifespan="off",
                timeout_graceful_shutdown=1,
                server_header=False,
            )
        )
        self._service = service
        self._drained: asyncio.Task[None] | None = None
        self.unanswered = 0
        """The calls that were in flight when their time was over."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the first SIGTERM or SIGINT while the server runs; a second one kills the process.

        The system itself does that, so it works whatever the process is doing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def take(number: int, frame: FrameType | None) -> None:
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            self.handle_exit(number, frame)

        before = {number: signal.signal(number, take) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain."""
        self._service.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Look for a signal, as uvicorn does some ten times a second."""
        if self._service.draining and self._drained is None:
            self._drained = asyncio.create_task(self._drain())
        return await super().on_tick(counter)

    async def _drain(self) -> None:
        limits = self._service.limits
        # Calls that were on their way when the signal came are answered too.
        await asyncio.sleep(min(limits.grace_seconds, limits.drain_seconds))
        self._service.refuses_calls = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.drain_seconds - limits.grace_seconds):
                while self._service.in_flight:
                    await asyncio.sleep(_STEP)
        self.unanswered = self._service.in_flight
        self._service.close()  # whoever waits still is told
        self.should_exit = True


def run(service: Service, listening: socket.socket, keys: Keys, report: Path | None = None) -> int:
    """Serve until a signal comes and what was in flight has ended, or its time is over.

    Returns:
        The calls that were not answered in time.
    """
    server = Server(service, keys, report)
    service.start()
    try:
        server.run(sockets=[listening])
    finally:
        service.close()
        listening.close()
    return server.unanswered
