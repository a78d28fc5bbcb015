"""What transformers, tokenizers, safetensors and PEFT raise about files, said as one sentence.

Knows nothing about what is opened.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pollice.errors import CheckpointError, PolliceError
from pollice.models.pretrained.devices import quiet

_LONGEST = 300


@contextmanager
def opening(folder: str | Path, fault: str) -> Iterator[None]:
    """Say whatever is raised inside the block as a CheckpointError; ``fault`` begins its reason.

    Every error counts, not a list of them: tokenizers raises plain Exceptions, transformers lets
    through whatever a broken configuration leads to, and each version has others.
    """
    try:
        with quiet():
            yield
    except PolliceError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not _is_panic(error):
            raise
        refuse_foreign_code(folder, error)
        raise CheckpointError(
            f"The checkpoint {folder} {fault}: {_reason(error).rstrip('.')}. Fetch it again "
            "from where it was published, or name another."
        ) from error


def _reason(error: BaseException) -> str:
    # What transformers says of it sends to a report that is not shown; its words name the option.
    if "ignore_mismatched_sizes" in str(error):
        return "its weights have other shapes than its config.json gives"
    return first_line(error)


def _is_panic(error: BaseException) -> bool:
    """Tell whether code in Rust (tokenizers, safetensors) broke off; it has no public name."""
    return type(error).__name__ == "PanicException"


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind; no control characters, and cut."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in said
    )
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def refuse_foreign_code(name: str | Path, error: BaseException) -> None:
    """Raise a CheckpointError where an error says that a checkpoint's own code is needed."""
    # transformers has no error of its own for it; what it says always names the argument.
    if "trust_remote_code" in str(error):
        raise CheckpointError(
            f"The checkpoint {name} needs Python code of its own (auto_map), and pollice never "
            "runs code that comes with a checkpoint. Use one whose architecture and tokenizer "
            "transformers has itself."
        ) from error
