"""`pollice predict --engine ray`: the bytes of a local run, whoever judges and whatever ends."""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import Invoke, forget_methods
from pollice.errors import MachineError, OptionError, PredictionsError, RunError
from pollice.predictions.answers import OutputColumns
from pollice.predictions.part_formats import part_format
from pollice.predictions.stream import PartsFolder, ReadRows
from pollice.runs.cluster import connected, find_room, write_output_on_cluster
from pollice.runs.cluster_worker import Shared, Worker
from pollice.runs.streaming import StreamOptions, open_rows, predict_files

JUDGE = '''
"""A predictor whose answers depend on their neighbours, as rounding does, and that may end."""

import os
import signal
from pathlib import Path

import numpy as np
from pydantic.dataclasses import dataclass

from pollice.method import OPTIONS, Method
from pollice.predictions.predictor import Predictor, Scores


class Judge(Predictor):
    label_names = ("long", "short")

    def __init__(self, home):
        self.home = home

    def score(self, texts):
        if "wrong" in texts:
            raise LookupError("a word that nobody knows")
        for text in texts:
            ended = Path(self.home, text)
            if text == "always fatal" or text == "fatal" and not ended.exists():
                ended.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        rounding = sum(map(len, texts)) / 1e5
        share = np.array([min(0.8, len(text) / 30) for text in texts]) + rounding
        return Scores(
            probabilities=np.stack([share, 1 - share], axis=1),
            tokens=np.array([len(text) for text in texts]),
            truncated=np.array([len(text) > 20 for text in texts]),
        )

    def save(self, folder):
        (folder / "home.txt").write_text(self.home)

    @classmethod
    def load(cls, folder):
        return cls((folder / "home.txt").read_text())


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Theirs(Method):
    """Judges by lengths."""

    predictor_type = Judge

    def fit(self, train, validation, *, workdir):
        raise NotImplementedError
'''
ROWS = 3000
ROWS_A_PART = 512


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install a method that is not ours, here and for processes that begin later."""
    home = tmp_path_factory.mktemp("judge")
    facts = home / "site" / "their_judge-1.0.dist-info"
    facts.mkdir(parents=True)
    (home / "site" / "their_judge.py").write_text(JUDGE)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: their-judge\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[pollice.methods]\njudge = their_judge:Theirs\n")
    with pytest.MonkeyPatch.context() as patched:
        paths = [str(home / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
        patched.setenv("PYTHONPATH", os.pathsep.join(paths))
        patched.syspath_prepend(str(home / "site"))
        forget_methods()
        from pollice.runs.predictors import save_predictor

        made = importlib.import_module("their_judge").Judge(str(home))
        save_predictor(made, home / "predictor", method="judge", options={})
        yield home / "predictor"
        sys.modules.pop("their_judge", None)
    forget_methods()


@pytest.fixture(scope="module")
def cluster(judge: Path) -> Iterator[Any]:
    """Yield Ray, connected to a cluster of this machine; its workers know the method."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed: nothing of --engine ray is tested on a cluster")
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("RAY_ADDRESS", raising=False)
        with connected() as ray:
            yield ray


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Return a table of many rows with repeated, empty and bad ones."""
    lines = []
    for row in range(ROWS):
        text = ["good", "", f"film {row}", f"a film of the year {row % 700}"][row % 4]
        lines.append(f"{row},{text}" + (",more" if row % 500 == 2 else ""))
    path = tmp_path / "texts.csv"
    path.write_text("key,text\n" + "\n".join(lines) + "\n")
    return path


def with_text(texts: Path, row: int, text: str) -> Path:
    lines = texts.read_text().splitlines()
    lines[row + 1] = f"{row},{text}"
    texts.write_text("\n".join(lines) + "\n")
    return texts


def predict(predictor: Path, texts: Path, output: Path, **options: Any) -> Any:
    return predict_files(predictor, [str(texts)], str(output), StreamOptions(**options), {})


def predict_in_parts(
    predictor: Path,
    texts: Path,
    output: Path,
    *,
    read_until: int = ROWS,
    seen: Any = None,
    workers: int = 2,
) -> Any:
    """Judge on the cluster with small parts; SIGTERM comes after some rows are read."""
    rows = open_rows(predictor, [str(texts)], {})
    columns = OutputColumns(
        given=rows.columns, label_names=("long", "short"), own_id=False, with_gold=False
    )
    form = part_format(output.suffix, columns, rows.schema, rows.rows, raw_cells=False)
    folder = PartsFolder(output, form.suffix)
    folder.prepare({"version": 1}, overwrite=False)
    shared = Shared.of(predictor, folder, columns, form, None)
    return write_output_on_cluster(
        replace(shared, seen=seen or shared.seen),
        folder,
        _reading_until(rows.read, read_until),
        total=rows.rows,
        workers=workers,
        rows_a_part=ROWS_A_PART,
    )


def _reading_until(read: ReadRows, rows: int) -> ReadRows:
    def reading(size: int) -> Iterator[Any]:
        done = 0
        for batch in read(size):
            if rows <= done < rows + len(batch):
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch
            done += len(batch)

    return reading


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet", "xlsx"])
def test_one_and_two_workers_give_the_bytes_of_a_local_run(
    cluster: Any, judge: Path, texts: Path, tmp_path: Path, suffix: str
) -> None:
    """The same texts are scored side by side: here an answer depends on its neighbours."""
    local = predict(judge, texts, tmp_path / f"local.{suffix}")
    for workers in (1, 2):
        output = tmp_path / f"ray-{workers}.{suffix}"
        assert predict(judge, texts, output, engine="ray", workers=workers) == local
        assert output.read_bytes() == (tmp_path / f"local.{suffix}").read_bytes()
    assert (local.rows, local.bad, local.empty) == (ROWS, 6, ROWS // 4)
    assert not list(tmp_path.glob("*.parts"))


def test_answers_of_this_predictor_depend_on_their_neighbours(judge: Path, tmp_path: Path) -> None:
    """The test above can fail: the same text, among others, is another row."""
    for name, rows in (("one", ["good"]), ("two", ["good", "a good film"])):
        (tmp_path / f"{name}.csv").write_text("text\n" + "\n".join(rows) + "\n")
        predict(judge, tmp_path / f"{name}.csv", tmp_path / f"{name}-judged.csv")
    judged = [(tmp_path / f"{name}-judged.csv").read_text() for name in ("one", "two")]
    assert judged[0].splitlines()[1] != judged[1].splitlines()[1]


def test_types_and_thresholds_are_those_of_a_local_run(
    cluster: Any, judge: Path, texts: Path, tmp_path: Path
) -> None:
    predict(judge, texts, tmp_path / "in.parquet")
    tallies = [
        predict(
            judge,
            tmp_path / "in.parquet",
            tmp_path / f"{engine}.parquet",
            engine=engine,
            workers=workers,
            abstain_below=0.7,
        )
        for engine, workers in (("local", None), ("ray", 2))
    ]
    assert tallies[0] == tallies[1]
    assert tallies[0].unsure > 100
    written = [(tmp_path / f"{engine}.parquet").read_bytes() for engine in ("local", "ray")]
    assert written[0] == written[1]


def test_a_worker_that_is_killed_changes_no_byte(
    cluster: Any, judge: Path, texts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The process is killed while it scores; another one scores the same rows."""
    with_text(texts, 1702, "fatal")
    with caplog.at_level("INFO", "pollice"):
        predict_in_parts(judge, texts, tmp_path / "ray.csv")
    assert "A worker ended before its work was done; another one does it again." in caplog.messages
    predict(judge, texts, tmp_path / "local.csv")
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()


def test_a_text_that_ends_every_worker_ends_the_command(
    cluster: Any, judge: Path, texts: Path, tmp_path: Path
) -> None:
    with_text(texts, 2902, "always fatal")
    said = (
        "Expected workers that go on, but 4 of them ended at the same rows (Ray says “The actor "
        "died unexpectedly before finishing this task”). They may need more memory: give --workers "
        "a smaller number."
    )
    with pytest.raises(MachineError, match=f"^{re.escape(said)}$"):
        predict_in_parts(judge, texts, tmp_path / "ray.csv")


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_what_was_stopped_goes_on_with_either_engine(
    cluster: Any, judge: Path, texts: Path, tmp_path: Path, engine: str
) -> None:
    """A signal keeps what has its answers; no row of a finished part is judged again."""
    output = tmp_path / "stopped.csv"
    with pytest.raises(KeyboardInterrupt) as stopped:
        predict_in_parts(judge, texts, output, read_until=2048)
    assert stopped.value.args == (signal.SIGTERM,)
    kept = PartsFolder(output, ".csv")
    assert 0 < kept.rows < ROWS
    whole = tmp_path / "whole.csv"
    local = predict(judge, texts, whole)
    if engine == "ray":
        assert predict_in_parts(judge, texts, output) == local
    else:
        _go_on_locally(judge, texts, output)
    assert output.read_bytes() == whole.read_bytes()
    # A worker that was ended while it wrote may leave a part without a name until then.
    assert not kept.path.exists()


def _go_on_locally(judge: Path, texts: Path, output: Path) -> None:
    from pollice.predictions.stream import Asked, write_output
    from pollice.runs.predictors import load_predictor

    rows = open_rows(judge, [str(texts)], {})
    columns = OutputColumns(
        given=rows.columns, label_names=("long", "short"), own_id=False, with_gold=False
    )
    form = part_format(".csv", columns, None, rows.rows, raw_cells=False)
    asked = Asked(
        predictor=load_predictor(judge),
        choose=lambda judged: judged.predicted,
        columns=columns,
        total=rows.rows,
    )
    write_output(asked, rows.read, form, PartsFolder(output, ".csv"))


def test_the_error_of_a_predictor_is_raised_as_it_was(
    cluster: Any, judge: Path, texts: Path, tmp_path: Path
) -> None:
    """Of a type that is not ours; the finished parts stay, and what Ray says is its cause."""
    with_text(texts, 2902, "wrong")
    with pytest.raises(LookupError, match=r"^a word that nobody knows$") as raised:
        predict_in_parts(judge, texts, tmp_path / "ray.csv")
    assert type(raised.value) is LookupError
    assert "their_judge.py" in str(raised.value.__cause__)


def test_a_machine_without_the_shared_folders_is_refused(
    cluster: Any, judge: Path, texts: Path, tmp_path: Path
) -> None:
    """A worker's own sentence arrives through Ray."""
    with pytest.raises(RunError) as raised:
        predict_in_parts(
            judge, texts, tmp_path / "o.csv", seen={judge / "manifest.json": "0"}, workers=1
        )
    assert re.fullmatch(
        "Expected the predictor and the output in folders that every machine of the cluster sees, "
        f"but .+ does not see {re.escape(str(judge))} as it is here. Put both on a disk that all "
        "of them share.",
        str(raised.value),
    )


def test_a_machine_with_another_pollice_is_refused(judge: Path, tmp_path: Path) -> None:
    columns = OutputColumns(given=("text",), label_names=("a",), own_id=False, with_gold=False)
    form = part_format(".csv", columns, None, 1, raw_cells=False)
    folder = PartsFolder(tmp_path / "out.csv", ".csv")
    folder.prepare({"version": 1}, overwrite=False)
    shared = Shared.of(judge, folder, columns, form, None)
    Worker(shared).open()
    with pytest.raises(RunError) as raised:
        Worker(replace(shared, version="0.0.9")).open()
    assert re.fullmatch(
        "Expected pollice 0.0.9 on every machine of the cluster, but .+ has [0-9.]+. Install the "
        "same version there.",
        str(raised.value),
    )


def test_the_command_judges_on_the_cluster(
    cluster: Any, judge: Path, texts: Path, tmp_path: Path, invoke: Invoke
) -> None:
    predict(judge, texts, tmp_path / "local.csv")
    code, out, err = invoke(
        *("predict", str(judge), str(texts), "-o", "ray.csv", "--engine", "ray", "--workers", "2")
    )
    assert (code, out.splitlines()[0]) == (0, "2,244 rows judged, 740 of them cut to fit: ray.csv")
    assert "Ray: 2 workers with " in err
    assert "3000/3000" in err
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()


def test_a_missing_extra_is_said(judge: Path, texts: Path, tmp_path: Path) -> None:
    said = (
        "--engine ray needs ray, which is not installed. Install it with: pip install "
        "'pollice[ray]'."
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "ray", None)
        with pytest.raises(OptionError, match=f"^{re.escape(said)}$"):
            predict(judge, texts, tmp_path / "out.csv", engine="ray")
    assert [path.name for path in tmp_path.iterdir()] == ["texts.csv"]


def test_an_address_where_no_cluster_answers_is_said(
    judge: Path, texts: Path, tmp_path: Path
) -> None:
    """In a process of its own: a connection that is there already would be used."""
    pytest.importorskip("ray", reason="ray is not installed: that is said first")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "pollice", "predict", str(judge), str(texts)),
                *("-o", str(tmp_path / "out.csv"), "--engine", "ray"),
            ],
            env={**os.environ, "RAY_ADDRESS": f"127.0.0.1:{port}"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        f"Error: Expected a Ray cluster at RAY_ADDRESS=127.0.0.1:{port}, but none can be used "
        "([Errno 111] Connection refused). Check that it runs, or unset RAY_ADDRESS to use this "
        "machine alone."
    )


def test_standard_output_has_no_parts_that_workers_could_write(judge: Path, texts: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed: that is said first")
    said = (
        "Expected a file as output of --engine ray, whose workers write its parts, but found -. "
        "Name a file on a disk that all machines of the cluster share."
    )
    with pytest.raises(PredictionsError, match=f"^{re.escape(said)}$"):
        predict_files(judge, [str(texts)], "-", StreamOptions(engine="ray"), {})


@pytest.mark.parametrize(
    ("resources", "workers", "threads", "found"),
    [
        ({"CPU": 16.0}, None, 4, (4, 4, 0)),
        ({"CPU": 2.0}, None, 4, (1, 2, 0)),
        ({"CPU": 16.0}, 8, 4, (8, 2, 0)),
        ({"CPU": 2.0}, 5, 1, (5, 1, 0)),
        ({"CPU": 16.0, "GPU": 2.0}, None, 4, (2, 4, 1)),
        ({"CPU": 16.0, "GPU": 2.0}, 3, 4, (3, 4, 0.5)),
        ({}, None, 4, (1, 1, 0)),
    ],
)
def test_workers_share_what_the_cluster_has(
    resources: dict[str, float], workers: int | None, threads: int, found: tuple[Any, ...]
) -> None:
    """A GPU each, else the threads of a local run each; those that are asked for share."""
    room = find_room(resources, workers, threads)
    assert (room.workers, room.cpus, room.gpus) == found
    assert room.options["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == str(threads)
