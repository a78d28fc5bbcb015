"""Refused: why a call is not answered, as a status and a sentence; formats give it their shape.

Knows nothing about the formats.
"""

from collections.abc import Iterable


class Refused(Exception):  # noqa: N818  # an answer to a client, not a fault of ours
    """A call, or one of its texts, is not answered.

    Args:
        status: The status of HTTP.
        message: One sentence: expected, found, what to do. It quotes no text that was sent.
        kind: A short name, for the formats and the metrics.
        retry_after: In so many seconds it can be tried again.
    """

    def __init__(
        self, status: int, message: str, kind: str, *, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.retry_after = retry_after


def too_late() -> Refused:
    """Return the refusal of a text that waited too long."""
    return Refused(
        504,
        "Expected an answer in time, but the text waited too long: send fewer or shorter texts, "
        "or try again later.",
        "timeout",
    )


def invalid(message: str) -> Refused:
    """Return the refusal of a call whose content makes no sense."""
    return Refused(422, message, "invalid")


def check_characters(texts: Iterable[str]) -> None:
    """Refuse half a surrogate pair, which JSON can hold but no tokenizer takes.

    Raises:
        Refused: one of the texts holds it.
    """
    try:
        for text in texts:
            text.encode("utf-8")
    except UnicodeEncodeError:
        raise invalid(
            "Expected texts of whole characters, but one holds half a surrogate pair: encode it "
            "again."
        ) from None
