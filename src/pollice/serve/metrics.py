"""What Prometheus reads: requests, failures by kind, queues, batches, tokens and latency.

Knows nothing about HTTP. No label holds anything that a client sent.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one service, apart from those of any other in the process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._requests = Counter(
            "pollice_requests", "Calls answered.", ["route", "status"], registry=registry
        )
        self._latency = Histogram(
            "pollice_latency_seconds",
            "From a call to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._failures = Counter(
            "pollice_failures", "Calls and texts not answered.", ["kind"], registry=registry
        )
        self._waiting = Gauge(
            "pollice_queue_texts", "Texts that wait.", ["model"], registry=registry
        )
        self._batches = Histogram(
            "pollice_batch_texts",
            "Texts judged at once.",
            ["model"],
            buckets=_TEXTS,
            registry=registry,
        )
        self._tokens = Counter("pollice_tokens", "Tokens read.", ["model"], registry=registry)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a call."""
        self._requests.labels(route, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def failed(self, kind: str) -> None:
        """Count what was not answered."""
        self._failures.labels(kind).inc()

    def waiting(self, model: str, texts: int) -> None:
        """Say how many texts wait for a model."""
        self._waiting.labels(model).set(texts)

    def judged(self, model: str, texts: int, tokens: int) -> None:
        """Count a batch."""
        self._batches.labels(model).observe(texts)
        self._tokens.labels(model).inc(tokens)

    def text(self) -> bytes:
        """Return all of it in the text format of Prometheus."""
        return generate_latest(self._registry)
