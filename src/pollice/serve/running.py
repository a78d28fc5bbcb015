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

from pollice.errors import OptionError
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
        app = create_app(service, keys=keys, report=report)
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,  # paths and queries may hold what a client wrote
                lifespan="off",
                timeout_graceful_shutdown=1,
                server_header=False,
            )
        )
        self._service = service
        self._drained: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT while the server runs; they are not raised again after it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain at the first signal; at the second, end at once."""
        if self._service.draining:
            self.should_exit = True
            self.force_exit = True
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
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OptionError: the port is in use, or the host is none of this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(2048)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OptionError(
            f"Expected to listen on {host}, port {port}, but the system says: {reason}. Name "
            "another one with --port or --host, or end what uses it."
        ) from None
    return listening


def run(service: Service, listening: socket.socket, keys: Keys, report: Path | None = None) -> None:
    """Serve until a signal comes and what was in flight has ended."""
    server = Server(service, keys, report)
    service.start()
    try:
        server.run(sockets=[listening])
    finally:
        service.close()
        listening.close()
