"""A predictor that needs no model, and a running server, for the tests of `pollice.serve`."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from fastapi import FastAPI

from pollice.predictions.predictor import Predictor, Scores
from pollice.serve.keys import Keys
from pollice.serve.listening import listen
from pollice.serve.models import Asked, Service, Trained
from pollice.serve.running import Server

LABELS = ("negative", "neutral", "positive")
MOST_TOKENS = 64


class Lettered(Predictor):
    """Judges by letters; texts with ``boom`` fail, and ``die`` ends the thread."""

    def __init__(self, label_names: tuple[str, ...] = LABELS) -> None:
        self.label_names = label_names
        self.batches: list[int] = []
        self.gate = threading.Event()
        """Nothing is judged before it is set."""
        self.gate.set()

    def score(self, texts: Sequence[str]) -> Scores:
        self.gate.wait(20)
        if any("die" in text for text in texts):
            raise SystemExit(1)
        if any("boom" in text for text in texts):
            raise ValueError("secret boom: " + " ".join(texts))
        self.batches.append(len(texts))
        rows = np.array([self._row(text) for text in texts])
        lengths = np.array([len(text.split()) for text in texts], np.int64)
        return Scores(
            probabilities=rows,
            tokens=np.minimum(lengths, MOST_TOKENS),
            truncated=lengths > MOST_TOKENS,
        )

    def _row(self, text: str) -> list[float]:
        counts = [1.0 + sum(map(text.count, name)) for name in self.label_names]
        return [count / sum(counts) for count in counts]

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Self:
        raise NotImplementedError


@dataclass
class Running:
    """A server in a thread of its own."""

    url: str
    service: Service
    server: Server
    thread: threading.Thread
    app: FastAPI
    address: tuple[str, int] = field(default=("", 0))

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)


@contextmanager
def served(service: Service, keys: Keys | None = None) -> Iterator[Running]:
    """Run a server on a free port until the context ends."""
    listening = listen("127.0.0.1", 0)
    host, port = listening.getsockname()[:2]
    server = Server(service, keys or Keys())
    service.start()
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    until(lambda: server.started)
    running = Running(
        url=f"http://{host}:{port}",
        service=service,
        server=server,
        thread=thread,
        app=server.app,
        address=(host, port),
    )
    try:
        yield running
    finally:
        running.stop()
        service.close()
        listening.close()


def until(done: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for what another thread does; fail if it does not come."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


def lettered_service(predictor: Lettered | None = None, **options: object) -> Service:
    """Return a service of one predictor named ``letters``."""
    contents: dict[str, Trained | Asked] = {"letters": Trained(predictor=predictor or Lettered())}
    return Service(contents, **options)  # type: ignore[arg-type]
