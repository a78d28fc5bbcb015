"""One thread a model: texts wait in a bounded queue and are judged in small batches.

Knows nothing about HTTP, nor about what judges the texts. A predictor's answer to a text does not
depend on its neighbours, so whoever comes at the same time can share a batch.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from pollice.errors import UserError
from pollice.predictions.predictor import Scores
from pollice.serve.limits import Limits
from pollice.serve.metrics import Metrics
from pollice.serve.refusals import Refused, invalid, too_late
from pollice.serve.turns import Turns

logger = logging.getLogger(__name__)

_FEWEST = 8
"""Fewer texts at once take longer for each of them."""
_LETTERS_A_TOKEN = 4
_TOKENS_AROUND = 8
"""What a text has besides its own tokens: the start, the end, or a question."""


class Judge(Protocol):
    """What gives texts probabilities: two that are equal are asked the same, and share batches."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """The order of the probabilities."""

    def score(self, texts: Sequence[str]) -> Scores:
        """Judge texts."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a judge says about one text."""

    label_names: tuple[str, ...]
    probabilities: tuple[float, ...]
    """In the order of the labels."""
    tokens: int
    """So many were read."""
    truncated: bool
    """Whether a part was cut off before."""

    @property
    def best(self) -> int:
        """The number of the most probable label."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.label_names[self.best]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    judge: Judge
    text: str
    deadline: float
    done: Future[Answer] = field(default_factory=Future)

    @property
    def tokens(self) -> int:
        return len(self.text) // _LETTERS_A_TOKEN + _TOKENS_AROUND


class Worker:
    """A thread that judges the texts of one model.

    Args:
        name: The model's.
        limits: How much may wait, and how long.
        metrics: Where batches are counted.
        turns: Taken while a batch is judged, so that the workers of a process do not fight for the
            same cores.
    """

    def __init__(self, name: str, limits: Limits, metrics: Metrics, turns: Turns) -> None:
        self._name = name
        self._limits = limits
        self._metrics = metrics
        self._turns = turns
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._pings: list[Future[None]] = []
        self._in_hand: list[_Job] = []
        self._seconds_a_token = 0.0
        self._closed = False
        self.alive = False
        """Whether its thread runs."""

    def start(self) -> None:
        """Start the thread."""
        self.alive = True
        threading.Thread(target=self._run, name=f"judge-{self._name}", daemon=True).start()

    def close(self) -> None:
        """Let the thread end after the batch that it is judging; nothing is answered any more."""
        with self._changed:
            self._closed = True
            given_up = [*self._jobs, *self._in_hand]
            self._jobs.clear()
            self._changed.notify_all()
        for job in given_up:
            self._fail(job, _stopped())

    def submit(self, judge: Judge, texts: Sequence[str]) -> list[Future[Answer]]:
        """Let texts wait for their turn; either all of them or none.

        Raises:
            Refused: too many wait already (429), or the worker was closed (503).
        """
        deadline = time.monotonic() + self._limits.deadline_seconds
        jobs = [_Job(judge=judge, text=text, deadline=deadline) for text in texts]
        with self._changed:
            if self._closed:
                raise _stopped()
            self._jobs = deque(job for job in self._jobs if not job.done.cancelled())
            self._check_room(len(jobs))
            self._jobs.extend(jobs)
            self._metrics.waiting(self._name, len(self._jobs))
            self._changed.notify_all()
        return [job.done for job in jobs]

    def _check_room(self, texts: int) -> None:
        waiting = len(self._jobs)
        if waiting + texts > self._limits.queue:
            raise Refused(
                429,
                f"Expected room for {texts} more texts, but {waiting} wait already, and "
                f"{self._limits.queue} may: try again in a second.",
                "overloaded",
                retry_after=1,
            )
        seconds = self._waiting_tokens() * self._seconds_a_token
        if waiting >= self._limits.backlog_texts and seconds > self._limits.backlog_seconds:
            raise Refused(
                429,
                f"Expected few texts to wait, but {waiting} do, which take about {seconds:.0f} s: "
                "try again then.",
                "overloaded",
                retry_after=math.ceil(seconds),
            )

    def ping(self) -> Future[None]:
        """Return what is done as soon as the thread is between two batches."""
        ping: Future[None] = Future()
        with self._changed:
            self._pings.append(ping)
            self._changed.notify_all()
        return ping

    def _run(self) -> None:
        try:
            while self._wait():
                begun = time.monotonic()
                with self._turns:  # texts that come before the turn does are of the batch too
                    self._in_hand = self._take()
                    self._judge(self._in_hand)
                self._count_pace(self._in_hand, time.monotonic() - begun)
                self._in_hand = []
        except BaseException as error:  # whatever ends a thread, such as SystemExit
            self._die(error)

    def _die(self, error: BaseException) -> None:
        self.alive = False
        # The type alone: its sentence may hold a part of a text.
        logger.error("The worker of %s died (%s).", self._name, type(error).__name__)
        self._metrics.failed("worker")
        for job in self._in_hand:
            self._fail(job, _died())
        self._in_hand = []
        restart = threading.Timer(self._limits.restart_seconds, self._restart)
        restart.daemon = True
        restart.start()

    def _restart(self) -> None:
        if not self._closed:
            self.start()

    def _count_pace(self, jobs: Sequence[_Job], seconds: float) -> None:
        tokens = sum(job.tokens for job in jobs)
        if tokens:
            # The mean of the last and those before: a pace that changed is known after few batches.
            self._seconds_a_token = (self._seconds_a_token + seconds / tokens) / 2

    def _wait(self) -> bool:
        """Wait for texts, and a moment for more of them; return False if the worker was closed."""
        with self._changed:
            while not self._jobs and not self._closed:
                self._answer_pings()
                self._changed.wait()
            self._answer_pings()
            end = time.monotonic() + self._limits.wait_seconds
            while not self._closed and self._waiting_tokens() < self._limits.batch_tokens:
                left = end - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return not self._closed

    def _answer_pings(self) -> None:
        for ping in self._pings:
            if ping.set_running_or_notify_cancel():
                ping.set_result(None)
        self._pings.clear()

    def _waiting_tokens(self) -> int:
        return sum(job.tokens for job in self._jobs)

    def _take(self) -> list[_Job]:
        """Take the first text, and others of its judge until a batch is full.

        They come from both ends of the queue in turn: so whoever comes after a rush is answered
        soon, and nobody waits for ever.
        """
        now = time.monotonic()
        with self._changed:
            late = [job for job in self._jobs if now > job.deadline]
            waiting = [job for job in self._jobs if now <= job.deadline and not job.done.done()]
            batch = self._fill(waiting)
            taken = set(map(id, batch))
            self._jobs = deque(job for job in waiting if id(job) not in taken)
            self._metrics.waiting(self._name, len(self._jobs))
        for job in late:
            self._fail(job, too_late())
        return batch

    def _fill(self, waiting: Sequence[_Job]) -> list[_Job]:
        alike = [job for job in waiting if job.judge == waiting[0].judge]
        batch: list[_Job] = []
        tokens = 0
        for number in range(len(alike)):
            job = alike[-(number + 1) // 2] if number % 2 else alike[number // 2]
            tokens += job.tokens
            is_slow = tokens * self._seconds_a_token > self._limits.batch_seconds
            too_many = tokens > self._limits.batch_tokens
            if batch and (too_many or (is_slow and len(batch) >= _FEWEST)):
                break
            batch.append(job)
        return batch

    def _judge(self, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        judge = jobs[0].judge
        try:
            scores = judge.score([job.text for job in jobs])
        except UserError as error:  # the question, not a text: nobody of the batch can be answered
            for job in jobs:
                self._fail(job, invalid(str(error)))
        except Exception as error:
            self._split(jobs, error)
        else:
            self._metrics.judged(self._name, len(jobs), int(scores.tokens.sum()))
            for row, job in enumerate(jobs):
                _finish(job, _answer(judge, scores, row))

    def _split(self, jobs: Sequence[_Job], error: Exception) -> None:
        """Judge the halves of a batch that failed: a text that cannot be judged fails alone."""
        if len(jobs) > 1:
            self._judge(jobs[: len(jobs) // 2])
            self._judge(jobs[len(jobs) // 2 :])
            return
        logger.warning("%s could not judge a text (%s).", self._name, type(error).__name__)
        self._fail(jobs[0], _unjudged())

    def _fail(self, job: _Job, refused: Refused) -> None:
        if not job.done.done() and job.done.set_running_or_notify_cancel():
            self._metrics.failed(refused.kind)
            job.done.set_exception(refused)


def _finish(job: _Job, answer: Answer) -> None:
    if job.done.set_running_or_notify_cancel():
        job.done.set_result(answer)


def _answer(judge: Judge, scores: Scores, row: int) -> Answer:
    return Answer(
        label_names=judge.label_names,
        probabilities=tuple(float(value) for value in scores.probabilities[row]),
        tokens=int(scores.tokens[row]),
        truncated=bool(scores.truncated[row]),
    )


def _unjudged() -> Refused:
    return Refused(
        500,
        "Expected a text that the model can judge, but it failed on this one: leave it out.",
        "judging",
    )


def _died() -> Refused:
    return Refused(
        503,
        "Expected a worker that judges, but it died and is started again: try again in a second.",
        "worker",
        retry_after=1,
    )


def _stopped() -> Refused:
    return Refused(
        503,
        "Expected a service that goes on, but it is stopping: call another one.",
        "stopping",
        retry_after=1,
    )
