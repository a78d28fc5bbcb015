"""A service that is asked 4 times what it can judge: codes, memory, and how soon all is as before.

    python benchmarks/overload.py PREDICTOR

Calls go to 127.0.0.1 alone, each on a connection of its own, whether or not those before were
answered. Capacity is what 32 clients get that each wait for their answers.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

SENTENCE = "the film was a long story about people who never say what they mean but it moved me"
CLIENTS = 32
FACTOR = 4


async def call(port: int) -> tuple[int, float]:
    """Send a text of 50 words; return the status of the answer, and the seconds until it."""
    body = json.dumps({"inputs": " ".join(random.choices(SENTENCE.split(), k=50))})
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    answer = await reader.read()
    writer.close()
    return int(answer.split(None, 2)[1]), time.monotonic() - begun


async def capacity(port: int, seconds: float) -> float:
    """Return the answers a second that clients get who wait for each."""
    end = time.monotonic() + seconds
    answered = 0

    async def ask() -> None:
        nonlocal answered
        while time.monotonic() < end:
            await call(port)
            answered += 1

    await asyncio.gather(*(ask() for _ in range(CLIENTS)))
    return answered / seconds


async def flood(port: int, rate: float, seconds: float) -> "list[asyncio.Task[tuple[int, float]]]":
    """Begin so many calls a second; return them, answered or not."""
    begun = time.monotonic()
    calls: list[asyncio.Task[tuple[int, float]]] = []
    while (now := time.monotonic() - begun) < seconds:
        while len(calls) < rate * now:
            calls.append(asyncio.create_task(call(port)))
        await asyncio.sleep(0.005)
    return calls


async def measure(port: int, process_id: int, seconds: float) -> None:
    """Print what one service does."""

    def mib() -> int:
        status = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8")
        return int(status.split("VmRSS:")[1].split()[0]) // 1024

    await capacity(port, 1)
    rate = await capacity(port, 4)
    quiet = statistics.median([(await call(port))[1] for _ in range(10)])
    before = mib()
    calls = await flood(port, FACTOR * rate, seconds)
    during = mib()
    await asyncio.sleep(1)
    status, later = await call(port)
    print(f"capacity {rate:.0f}/s; sent {len(calls) / seconds:.0f}/s for {seconds:.0f} s")
    print(f"answers: {dict(Counter([(await each)[0] for each in calls]))}")
    print(f"memory: {before} MiB before, {during} at the end, {mib()} after")
    print(
        f"a call alone: {1000 * quiet:.0f} ms; 1 s after the end: {status}, {1000 * later:.0f} ms"
    )
    print(f"load {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Serve a predictor, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictor")
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "pollice", "serve", arguments.predictor, "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            port = int(line.split(" (routes")[0].rpartition(":")[2])
            asyncio.run(measure(port, process.pid, arguments.seconds))
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
