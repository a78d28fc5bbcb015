"""Requests a second and latency: `pollice serve` against a plain FastAPI with the pipeline.

Both serve the same classifier of two labels, in turn, each in a process of its own. A client is a
thread that sends one text after the other. Run it on a machine with nothing else to do:

    python benchmarks/serving.py --checkpoint FOLDER --seconds 10 --rounds 3
"""

import argparse
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from pollice.data.dataset import Dataset
from pollice.methods import create_method
from pollice.runs.predictors import save_predictor

CLIENTS = (1, 8, 64)
SENTENCE = "the film was a long story about people who never say what they mean but it moved me"
PLAIN = """
import sys
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

checkpoint, port, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
app = FastAPI()
classify = pipeline("text-classification", model=checkpoint, top_k=None, truncation=True)

class Call(BaseModel):
    inputs: str

@app.get("/health")
def health():
    return {}

@app.post("/predict")
def predict(call: Call):
    return classify(call.inputs)

uvicorn.run(app, port=int(port), log_level="error")
"""


def main() -> None:
    """Measure both in turn, and print a table."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as home:
        folder = _prepare(arguments.checkpoint, Path(home))
        rates: dict[tuple[str, int], list[float]] = {}
        for number in range(arguments.rounds):
            for name in ("pollice", "plain")[:: 1 if number % 2 else -1]:
                for clients, rate, slow in _measure(name, folder, arguments):
                    rates.setdefault((name, clients), []).append(rate)
                    print(f"{name}, {clients} clients: {rate:.1f}/s, {slow:.0f} ms", flush=True)
    print("\n| clients | pollice | plain | pollice is |\n|---|---|---|---|\n", end="")
    for clients in CLIENTS:
        ours, theirs = rates["pollice", clients], rates["plain", clients]
        factor = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        medians = statistics.median(ours), statistics.median(theirs)
        print(f"| {clients} | {medians[0]:.1f}/s | {medians[1]:.1f}/s | {factor:.2f} |")
    print(f"load before the end: {os.getloadavg()[0]:.1f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="minilm", help="An encoder.")
    parser.add_argument("--seconds", type=float, default=10, help="For each number of clients.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def _prepare(checkpoint: str, home: Path) -> Path:
    """Fine-tune on a few rows: what it has learned does not matter for its speed."""
    texts = tuple(f"{text} {row}" for row, text in enumerate(_texts(64)))
    labels = tuple(("bad", "good")[row % 2] for row in range(64))
    rows = Dataset(ids=texts, texts=texts, labels=labels, label_names=("bad", "good"))
    method = create_method("finetune", {"checkpoint": checkpoint, "epochs": 1, "max_tokens": 128})
    (home / "work").mkdir()
    predictor = method.fit(rows, rows.take(range(16)), workdir=home / "work")
    save_predictor(predictor, home / "predictor", method="finetune", options={})
    return home / "predictor"


def _texts(count: int) -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.choices(SENTENCE.split(), k=draw.randint(10, 90))) for _ in range(count)]


def _measure(
    name: str, folder: Path, arguments: argparse.Namespace
) -> Iterator[tuple[int, float, float]]:
    """Yield for each number of clients: texts a second, and the median latency in ms."""
    with _running(name, folder, arguments.threads) as url:
        for clients in CLIENTS:
            _load(url, clients, 1.0)
            seconds = _load(url, clients, arguments.seconds)
            yield clients, len(seconds) / arguments.seconds, 1000 * statistics.median(seconds)


@contextmanager
def _running(name: str, folder: Path, threads: int) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = ["-m", "pollice", "serve", str(folder), "--port", port, "--threads", str(threads)]
    if name == "plain":
        command = ["-c", PLAIN, str(_checkpoint_of(folder)), port, str(threads)]
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait(url, process)
            yield url
        finally:
            process.terminate()


def _checkpoint_of(folder: Path) -> Path:
    return next(path.parent for path in folder.rglob("config.json"))


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=1).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise SystemExit("A server ended before it answered; its error stands above.")


def _load(url: str, clients: int, seconds: float) -> list[float]:
    """Return the seconds of every answer that came in time."""
    end = time.monotonic() + seconds
    found: list[float] = []

    def call(texts: Sequence[str]) -> None:
        with httpx.Client(timeout=60) as client:
            for text in texts:
                begun = time.monotonic()
                if begun > end:
                    return
                client.post(f"{url}/predict", json={"inputs": text}).raise_for_status()
                if time.monotonic() < end:
                    found.append(time.monotonic() - begun)

    threads = [threading.Thread(target=call, args=(_texts(100) * 1000,)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


if __name__ == "__main__":
    main()
