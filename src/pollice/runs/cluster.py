"""`pollice predict --engine ray`: the rows of one command, judged by the workers of a Ray cluster.

Knows nothing about formats, and nothing about how a worker does its work. This process reads the
rows and names the finished parts; workers score the texts and write the parts. The output has the
bytes of a local run, for the same texts are scored side by side: with 16-bit weights, the rounding
of an answer depends on its neighbours. So this process alone says which texts of a batch are new,
and `ray.data`, which would form other batches, is not used.
"""

import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from typing import Any

from pollice.errors import MachineError, OptionError, PredictionsError, counted
from pollice.predictions.answers import Answer, AnswerCache, Tally, answer_rest
from pollice.predictions.stream import (
    ROWS_A_PART,
    ROWS_AT_ONCE,
    SECONDS_A_PART,
    PartsFolder,
    ReadRows,
    Rows,
    explain_kept_parts,
)
from pollice.runs.cluster_worker import RowsOfPart, Shared, Worker, write_part
from pollice.runs.worker_pool import Call, WorkerPool, logger
from pollice.system.interruption import stopping
from pollice.system.measuring import release_memory
from pollice.system.progress import Advance, stage
from pollice.system.threads import usual_threads

_MOST_BATCHES_A_CALL = 8
_CALLS_A_WORKER = 8
"""So many calls each worker gets at least, where there are rows for that: all end together."""
_AHEAD = 4
"""The calls for each worker that may wait for an earlier one: rows are written in their order."""
_ADDRESS = "RAY_ADDRESS"
_SECONDS_TO_CONNECT = 10.0


def check_cluster(output: str) -> None:
    """Refuse what cannot be done on a cluster, before anything is read.

    Raises:
        OptionError: Ray is not installed.
        PredictionsError: the output is no file.
    """
    if find_spec("ray") is None:
        raise OptionError(
            "--engine ray needs ray, which is not installed. Install it with: pip install "
            "'pollice[ray]'."
        )
    if output == "-":
        raise PredictionsError(
            "Expected a file as output of --engine ray, whose workers write its parts, but found "
            "-. Name a file on a disk that all machines of the cluster share."
        )


def write_output_on_cluster(
    shared: Shared,
    folder: PartsFolder,
    read: ReadRows,
    *,
    total: int,
    workers: int | None,
    rows_a_part: int = ROWS_A_PART,
) -> Tally:
    """Answer the rows that no finished part holds on a cluster, and join all parts to the output.

    Args:
        shared: What is asked, and how it is written.
        folder: The parts.
        read: The input.
        total: How many rows there are.
        workers: How many workers there are; None: as many as the cluster has room for.
        rows_a_part: The rows after which a part ends.

    Raises:
        MachineError: there is no such cluster, its workers end again and again, or the system
            refuses the output; the finished parts are kept.
        RunError: a worker does not see the shared folders.
    """
    with connected() as ray, explain_kept_parts(folder):
        room = find_room(ray.cluster_resources(), workers, usual_threads())
        logger.info(room.sentence)
        actor = ray.remote(Worker).options(**room.options)
        with stopping() as stop, stage("judging", total=total) as advance:
            pool = WorkerPool(
                ray=ray, start=lambda: actor.remote(shared), size=room.workers, stop=stop
            )
            parts = _PartsInWork(shared=shared, folder=folder, pool=pool, rows_a_part=rows_a_part)
            work = _Work(
                shared=shared,
                folder=folder,
                pool=pool,
                advance=advance,
                batches_a_call=_batches_a_call(total - folder.rows, room.workers),
                parts=parts,
            )
            with _open(pool, folder):
                work.judge(read)
        folder.join(shared.form)
    return work.tally


@contextmanager
def _open(pool: WorkerPool, folder: PartsFolder) -> Iterator[None]:
    """Start the workers and end them, whatever happens; say what Ray itself cannot do."""
    try:
        pool.open()
        yield
    except pool.ray.exceptions.RayError as error:
        said = str(error).strip().splitlines()[0].rstrip(".:")
        raise MachineError(
            f"Expected a Ray cluster that goes on, but Ray says “{said}”; {folder.kept_sentence}"
        ) from error
    finally:
        pool.close()


def _batches_a_call(rows: int, workers: int) -> int:
    return max(1, min(_MOST_BATCHES_A_CALL, rows // (ROWS_AT_ONCE * workers * _CALLS_A_WORKER)))


@contextmanager
def connected() -> Iterator[Any]:
    """Connect to the cluster that RAY_ADDRESS names, else make one of this machine; yield Ray.

    A connection that is there already is used, and stays.

    Raises:
        MachineError: there is no cluster at that address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers of each use
    ray: Any = import_module("ray")
    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get(_ADDRESS)
    more: dict[str, Any] = {} if address else {"include_dashboard": False}
    with _handler_kept():
        try:
            check_address(address or "")
            ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **more)
        except (OSError, RuntimeError, ValueError) as error:
            said = str(error).strip().splitlines()[0].rstrip(".:")
            raise MachineError(
                f"Expected a Ray cluster at {_ADDRESS}={address or 'local'}, but none can be used "
                f"({said}). Check that it runs, or unset {_ADDRESS} to use this machine alone."
            ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Call at HOST:PORT, if an address is such: Ray itself would call for minutes.

    Raises:
        OSError: nobody answers.
    """
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "://" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_CONNECT).close()


@contextmanager
def _handler_kept() -> Iterator[None]:
    """Put the handler of SIGTERM back: Ray sets one that ends the process without a sentence."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True, kw_only=True)
class Room:
    """How many workers there are, and what each of them gets."""

    workers: int
    cpus: int
    gpus: float
    threads: int

    @property
    def sentence(self) -> str:
        """What is said of it."""
        gpus = ", on a GPU" if self.gpus == 1 else ", which share GPUs" if self.gpus else ""
        return (
            f"Ray: {counted(self.workers, 'worker')} with {counted(self.threads, 'thread')} "
            f"each{gpus}; each checks first that it sees the predictor and the parts."
        )

    @property
    def options(self) -> dict[str, Any]:
        """The options of a worker for Ray."""
        # Threads that wait for each other at full speed are some 50 times slower where there are
        # more of them than processors; passive ones give way.
        threads = {"OMP_NUM_THREADS": str(self.threads), "OMP_WAIT_POLICY": "PASSIVE"}
        return {
            "num_cpus": self.cpus,
            "num_gpus": self.gpus,
            "max_restarts": 0,
            "runtime_env": {"env_vars": threads},
        }


def find_room(resources: dict[str, float], workers: int | None, threads: int) -> Room:
    """Return how many workers a cluster has room for, and what each of them gets.

    Args:
        resources: What the cluster has, as Ray counts it: ``CPU`` and ``GPU``.
        workers: How many there shall be; None: one for each GPU, else for so many threads.
        threads: Those of a local run. Each worker has as many, for the rounding of 16-bit weights
            depends on them too.
    """
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    count = workers or gpus or max(1, cpus // threads)
    return Room(
        workers=count,
        cpus=max(1, min(threads, cpus // count)),
        # A worker is on one GPU, so that GPUs are divided evenly.
        gpus=1 / -(-count // gpus) if gpus else 0,
        threads=threads,
    )


@dataclass(kw_only=True, eq=False)
class _Promise:
    """The place of an answer that a worker will give."""

    answer: Answer | None = None


def _kept(answer: Answer | None) -> _Promise | None:
    return None if answer is None else _Promise(answer=answer)


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Rows, the places of their answers, and those of the texts that are new among them."""

    rows: Rows
    places: Sequence[_Promise | None]
    new: dict[str, _Promise]

    @property
    def answers(self) -> list[Answer | None]:
        """The answers, once all workers gave theirs."""
        return [None if place is None else place.answer for place in self.places]


def _plan(rows: Rows, cache: AnswerCache[_Promise]) -> _Batch:
    """Find the texts that a local run would score now, by the same rule."""
    new: dict[str, _Promise] = {}

    def promise(texts: list[str]) -> list[_Promise]:
        new.update((text, _Promise()) for text in texts)
        return list(new.values())

    places = answer_rest(promise, rows.texts, rows.problems, cache)
    return _Batch(rows=rows, places=places, new=new)


@dataclass(kw_only=True)
class _PartsInWork:
    """Rows with their answers, in their order, until workers have written them as parts."""

    shared: Shared
    folder: PartsFolder
    pool: WorkerPool
    rows_a_part: int
    clock: Callable[[], float] = time.monotonic
    _next: list[tuple[Rows, list[Answer | None]]] = field(default_factory=list)
    _begun: float = 0.0
    _written: deque[tuple[RowsOfPart, Call]] = field(default_factory=deque)

    def add(self, rows: Rows, answers: list[Answer | None]) -> None:
        """Add rows; have them written where they are many, or old enough."""
        if not self._next:
            self._begun = self.clock()
        self._next.append((rows, answers))
        large = sum(len(rows) for rows, _ in self._next) >= self.rows_a_part
        if large or self.clock() - self._begun >= SECONDS_A_PART:
            self.write()

    def write(self) -> None:
        """Have the rows written that were added since the last part."""
        if self._next:
            part = self._take_next()
            call = Call(method="write", arguments=(part,))
            self._written.append((part, self.pool.submit(call, first=True)))

    def keep(self, *, at_most: int) -> None:
        """Name the parts that are written, and wait while more than ``at_most`` are not.

        They are named here and in their order: a part that was written twice, or after its
        command ended, has no name and is no part.
        """
        while self._written:
            part, call = self._written[0]
            if call.done:
                self.folder.keep(self.folder.path / call.result, part.start, part.end)
                self._written.popleft()
            elif len(self._written) > at_most:
                self.pool.wait()
            else:
                return

    def stop(self) -> None:
        """Write here and now what has its answers."""
        parts = [part for part, _ in self._written]
        if self._next:
            parts.append(self._take_next())
        for part in parts:
            self.folder.keep(write_part(part, self.shared), part.start, part.end)

    def _take_next(self) -> RowsOfPart:
        start = self._written[-1][0].end if self._written else self.folder.rows
        part = RowsOfPart(start=start, batches=tuple(self._next))
        self._next.clear()
        return part


@dataclass(kw_only=True)
class _Work:
    """Gives out batches to workers, and takes their answers in the order of the rows."""

    shared: Shared
    folder: PartsFolder
    pool: WorkerPool
    advance: Advance
    batches_a_call: int
    parts: _PartsInWork
    tally: Tally = field(default_factory=Tally)
    _asked: deque[tuple[list[_Batch], Call]] = field(default_factory=deque)

    def judge(self, read: ReadRows) -> None:
        """Answer all rows and have them written; a signal keeps what has its answers."""
        try:
            self._give_out(read)
            while self._asked:
                self._take()
            self.parts.write()
            self.parts.keep(at_most=0)
        except KeyboardInterrupt:
            self.parts.stop()
            raise

    @property
    def _most_asked(self) -> int:
        return self.pool.size * _AHEAD

    def _give_out(self, read: ReadRows) -> None:
        cache = AnswerCache[_Promise]()
        done = self.folder.answers(self.shared.form)
        group: list[_Batch] = []
        for rows in read(ROWS_AT_ONCE):
            answers = list(islice(done, len(rows)))
            if answers:
                cache.learn(rows.texts, list(map(_kept, answers)))
                self._count(rows, answers)
                continue
            group.append(_plan(rows, cache))
            if len(group) == self.batches_a_call:
                self._ask(group)
                group = []
        if group:
            self._ask(group)

    def _ask(self, group: list[_Batch]) -> None:
        call = Call(method="answer", arguments=([list(batch.new) for batch in group],))
        if any(batch.new for batch in group):
            self.pool.submit(call)
        else:
            call.done, call.result = True, [[] for _ in group]
        self._asked.append((group, call))
        while self._asked and (self._asked[0][1].done or len(self._asked) > self._most_asked):
            self._take()

    def _take(self) -> None:
        """Take the answers to the first rows that have none yet."""
        group, call = self._asked[0]
        while not call.done:
            self.pool.wait()
        self._asked.popleft()
        for batch, answers in zip(group, call.result, strict=True):
            for place, answer in zip(batch.new.values(), answers, strict=True):
                place.answer = answer
            found = batch.answers
            self._count(batch.rows, found)
            self.parts.add(batch.rows, found)
        self.parts.keep(at_most=self.pool.size)
        release_memory()

    def _count(self, rows: Rows, answers: list[Answer | None]) -> None:
        self.tally.add(answers, rows.problems, rows.gold)
        self.advance(len(rows))
