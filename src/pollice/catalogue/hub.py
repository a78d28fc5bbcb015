"""The Hugging Face Hub: fetch files from it, and upload a classifier to it.

Only this module uses the Hub. Knows nothing about what the files hold.
"""

import errno
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from pollice.errors import SourceError
from pollice.system.folders import MEGABYTE, explain_full_disk
from pollice.system.hashing import hash_files
from pollice.system.progress import Advance, stage

Kind = Literal["checkpoint", "dataset"]
HUB_PREFIX = "hub:"
_HUB_REFERENCE = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)")

_SHA256 = re.compile("[0-9a-f]{64}")

# Only these are asked of the Hub: no pickled weights, and none of the formats that repeat them.
HUB_FILES: Mapping[Kind, tuple[str, ...]] = {
    "checkpoint": ("*.json", "*.jinja", "*.model", "*.safetensors", "*.txt"),
    "dataset": ("*.csv", "*.csv.*", "*.jsonl", "*.jsonl.*", "*.parquet", "*.tsv", "*.tsv.*"),
}

_HUB_REPEATS = ("consolidated*", "onnx/*", "openvino/*", "original/*")


def fetch_hub(reference: str, kind: Kind) -> Path:
    """Return the folder of ``hub:owner/name@revision``, fetched if needed.

    It is in the Hub's own cache; HF_ENDPOINT and HF_HUB_OFFLINE are obeyed. Raises
    SourceError without a revision, and if the files are unavailable.
    """
    if _HUB_REFERENCE.fullmatch(reference) is None:
        raise SourceError(
            f"A {kind} on the Hub is named hub:owner/name@revision and '{reference}' was given: "
            "add the revision, best the 40 hexadecimal digits of a commit."
        )
    return fetch_snapshot(reference.removeprefix(HUB_PREFIX), kind, HUB_FILES[kind], None)


def fetch_snapshot(pinned: str, kind: Kind, patterns: Sequence[str], size: int | None) -> Path:
    """Fetch the matching files of ``owner/name@revision``, ``size`` bytes in all."""
    # Imported here: the client takes a while to import, and most commands fetch nothing.
    from huggingface_hub import constants, snapshot_download

    repository, revision = pinned.split("@")
    total = None if size is None else -(-size // MEGABYTE)
    with (
        stage(f"Fetching {repository}", total, "MB") as advance,
        explain_full_disk(Path(constants.HF_HUB_CACHE), variable="HF_HOME"),
    ):
        try:
            found = snapshot_download(
                repository,
                repo_type="model" if kind == "checkpoint" else "dataset",
                revision=revision,
                allow_patterns=list(patterns),
                ignore_patterns=list(_HUB_REPEATS),
                tqdm_class=_counting_bar(advance),
            )
        # The client lets the errors of its HTTP library through, and which library that is
        # differs from version to version.
        except Exception as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            raise SourceError(_hub_failure(kind, pinned, error)) from error
    needed = "*.safetensors" if kind == "checkpoint" else "*.*"
    if not any(Path(found).rglob(needed)):
        raise SourceError(
            f"The {kind} {pinned} holds no {needed}, which is what is read: "
            "name another revision, or a local folder."
        )
    check_blobs(Path(found))
    return Path(found)


def check_blobs(snapshot: Path) -> None:
    """Compare the large files of a snapshot in the Hub's cache with their hashes.

    Raises:
        SourceError: a file was changed or damaged since it was fetched.
    """
    # A large file, as weights are, is named by its sha256. Of a small one the name says nothing
    # sure: it is what git calls it on the Hub, and something else on a mirror of the Hub. Where
    # the cache has no links (Windows), names say nothing either.
    links = [
        path.resolve()
        for path in sorted(snapshot.rglob("*"))
        if path.is_symlink() and path.is_file()
    ]
    for path, digest in hash_files(path for path in links if _SHA256.fullmatch(path.name)).items():
        if digest != path.name:
            raise SourceError(
                f"Expected the file that the Hub gave for {snapshot}, but {path} in its cache was "
                "changed or damaged since. Delete that file, and it is fetched again."
            )


def read_card(path: Path) -> Mapping[str, Any]:
    """Return what the head of a data set's README.md says; nothing where it has no sound head."""
    try:
        with path.open("rb") as file:
            if file.read(3) != b"---" or path.stat().st_size > MEGABYTE:
                return {}
    except OSError:
        return {}
    from huggingface_hub import metadata_load  # imported here for the reason above

    try:
        return metadata_load(path) or {}
    # A card is written by hand; what is wrong with it is no reason to refuse the data.
    except Exception:
        return {}


def _hub_failure(kind: Kind, pinned: str, error: Exception) -> str:
    from huggingface_hub import errors

    repository, revision = pinned.split("@")
    match error:
        case errors.GatedRepoError():
            return (
                f"The {kind} {repository} is given only to those who accepted its terms: accept "
                "them on its page of the Hub and set HF_TOKEN, or name a local folder instead."
            )
        case errors.RepositoryNotFoundError():
            return (
                f"The Hub has no {kind} {repository}, or shows it only with a token: check the "
                "name, or set HF_TOKEN."
            )
        case errors.RevisionNotFoundError():
            return f"The {kind} {repository} has no revision '{revision}' on the Hub: check it."
        case errors.LocalEntryNotFoundError():
            return (
                f"The Hub cannot be reached and {pinned} is not in its cache: check the network, "
                "HF_ENDPOINT and HF_HUB_OFFLINE, or name a local folder instead."
            )
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return f"The Hub did not give {pinned} ({reason}): try again, or name a local folder instead."


def _counting_bar(advance: Advance) -> type:
    """Return the class of a hidden progress bar that reports the megabytes written."""
    from huggingface_hub.utils.tqdm import tqdm

    lock = Lock()
    written = 0

    class CountingBar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            # The client also opens a bar for bytes received and one for files.
            self.counts = options.get("name") == "huggingface_hub.snapshot_download"
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            nonlocal written
            if self.counts:
                with lock:
                    before, written = written, written + int(n or 0)
                    advance(written // MEGABYTE - before // MEGABYTE)

    return CountingBar


def reserve_repository(repository: str) -> None:
    """Create a private repository if it is missing, so that errors come before training."""
    from huggingface_hub import HfApi  # imported here for the reason above

    with _refusals_explained(repository):
        HfApi().create_repo(repository, private=True, exist_ok=True)


def upload_folder(folder: Path, repository: str) -> None:
    """Upload a checkpoint's files."""
    from huggingface_hub import HfApi

    message = "Trained with pollice"
    with _refusals_explained(repository):
        HfApi().upload_folder(repo_id=repository, folder_path=folder, commit_message=message)


@contextmanager
def _refusals_explained(repository: str) -> Iterator[None]:
    try:
        yield
    # As in `fetch_snapshot`, an error may be of any HTTP library.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SourceError(
            f"The Hub did not take push_to_hub {repository}: {reason}. Name it owner/name, give "
            "a token that may write there in HF_TOKEN, or leave push_to_hub out; what has been "
            "trained is kept."
        ) from error
