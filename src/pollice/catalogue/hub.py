"""A trained classifier to a repository of the Hugging Face Hub.

Knows nothing about training.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from pollice.errors import SourceError


def reserve(repository: str) -> None:
    """Create the repository, private, where it is not there: what fails, fails before training."""
    _asked(
        repository,
        lambda hub: hub.create_repo(repository, private=True, exist_ok=True),
    )


def push(folder: Path, repository: str) -> None:
    """Upload a checkpoint's files."""
    _asked(
        repository,
        lambda hub: hub.upload_folder(
            repo_id=repository, folder_path=folder, commit_message="Trained with pollice"
        ),
    )


def _asked(repository: str, request: Callable[[HfApi], Any]) -> None:
    try:
        request(HfApi())
    # The client lets the errors of its HTTP library through, and which library that is differs
    # from version to version.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SourceError(
            f"The Hub did not take push_to_hub {repository}: {reason}. Name it owner/name, give "
            "a token that may write there in HF_TOKEN, or leave push_to_hub out; what has been "
            "trained is kept."
        ) from error
