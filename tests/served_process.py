"""`pollice serve` as a process of its own, with predictors small enough for tests."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from pollice.runs.predictors import save_predictor
from scripted_method import GATE, Scripted

TESTS = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Served:
    """A process that serves, and where."""

    process: "subprocess.Popen[str]"
    url: str

    def ended(self, seconds: float) -> tuple[str, str]:
        """Wait for its end; return what it wrote to both streams."""
        return self.process.communicate(timeout=seconds)

    def resident_mib(self) -> int:
        """Return the memory that it holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(status.split("VmRSS:")[1].split()[0]) // 1024

    def counter(self, name: str, labels: str = 'model="scripted"') -> int:
        """Return what the process counts under a name; 0 if it has not begun to."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        begins = f"{name}{{{labels}}} "
        return next((int(float(x.split()[1])) for x in lines if x.startswith(begins)), 0)


@contextmanager
def serving(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Run `pollice serve` on a free port; the process is killed when the context ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "pollice", "serve", *arguments, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("Serving "), line or process.stderr.read()
            yield Served(process=process, url=line.split(" on ")[1].split()[0])
        finally:
            process.kill()


def scripted(home: Path) -> tuple[str, Mapping[str, str]]:
    """Save a scripted predictor; return its folder, and the environment that installs its method.

    What waits in it waits for the file ``gate`` in ``home``.
    """
    save_predictor(Scripted(), home / "scripted", method="scripted", options={})
    facts = home / "site" / "scripted_method-1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: scripted-method\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(
        "[pollice.methods]\nscripted = scripted_method:ScriptedMethod\n"
    )
    folders: Sequence[str] = (
        str(home / "site"),
        str(TESTS),
        *filter(None, [os.environ.get("PYTHONPATH")]),
    )
    paths = os.pathsep.join(folders)
    return str(home / "scripted"), {"PYTHONPATH": paths, GATE: str(home / "gate")}
