"""What one call and the whole service may use, and the check of nested JSON before it is parsed.

Knows nothing about HTTP, nor about models.
"""

import re
from dataclasses import dataclass

_MARKS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""Whole strings, whose brackets do not count, and brackets. Possessive, so that time is linear."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one call may ask for, and how much may wait."""

    body_bytes: int = 2_000_000
    """The most bytes of a request's body."""
    bodies_bytes: int = 64_000_000
    """The most bytes of all bodies that are being received."""
    texts: int = 256
    """The most texts of a call."""
    characters: int = 200_000
    """The most characters of a text; counted before it is tokenized."""
    questions: int = 64
    """The most typed questions of a call."""
    options: int = 100
    """The most options of a question."""
    instructions: int = 4_000
    """The most characters of a question's instructions, of an option, and of a description."""
    depth: int = 32
    """How deep JSON may be nested."""
    queue: int = 512
    """The most texts that wait for a model."""
    backlog_seconds: float = 1.0
    """No more texts may wait than are judged in about so long, but ``backlog_texts`` always may."""
    backlog_texts: int = 64
    """So many texts may wait however slow the model is."""
    batch_tokens: int = 2_048
    """At most so many tokens, estimated, are judged at once."""
    batch_seconds: float = 0.25
    """A batch is smaller where it would take longer than about so long, but holds 8 texts."""
    wait_seconds: float = 0.002
    """So long a text waits for others that can be judged with it."""
    deadline_seconds: float = 30.0
    """After so long a text is given up."""
    restart_seconds: float = 1.0
    """So long after its death a worker is started again."""
    grace_seconds: float = 0.5
    """So long after a signal to stop new calls are still answered: they may be on their way."""
    drain_seconds: float = 23.0
    """So long after a signal to stop what is in flight may go on; the process ends soon after."""


def nested_deeper(body: bytes, depth: int) -> bool:
    """Tell whether JSON is nested deeper than ``depth``; it need not be valid."""
    if body.count(b"[") + body.count(b"{") <= depth:
        return False
    level = 0
    for mark in _MARKS.finditer(body):
        first = body[mark.start()]
        if first in b"[{":
            level += 1
            if level > depth:
                return True
        elif first in b"]}":
            level -= 1
    return False
