"""Render a chat template in a process of its own, with bounds of time, memory and output.

A template is a program of somebody else's. It runs in jinja2's sandbox, which keeps it from files
and modules, but not from looping for hours or from texts of many GB: so it gets a process of its
own, which the system ends. Knows nothing about tokenizers and checkpoints.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

SECONDS = 1.0
"""Of computing; a template that is meant well takes some milliseconds."""
MEMORY = 512 * 2**20
"""Of the process's addresses, in bytes, Python itself included."""
CHARACTERS = 1_000_000
"""The longest prompt that a template may write."""

# Also on a machine that is busy, and on systems that count no time of computing.
_PATIENCE_SECONDS = 20.0

Turns = tuple[tuple[str, str], ...]


class TemplateRefusal(Exception):  # noqa: N818  # what a template said, or why it was ended
    """A template that refused its turns or was ended; the message is the reason, as a clause."""


@lru_cache(maxsize=64)
def render_template(template: str, turns: Turns, special_tokens: str) -> str:
    """Return (role, content) turns as the template writes them, up to the model's answer.

    Args:
        template: In jinja2, as transformers runs it.
        turns: What was said so far.
        special_tokens: The tokenizer's, by their roles, as JSON.

    Raises:
        TemplateRefusal: the template is broken, refuses the turns, or goes beyond the bounds.
    """
    request = {"template": template, "turns": turns, "special_tokens": json.loads(special_tokens)}
    # -P: a file called json.py in the working directory is not run.
    command = [sys.executable, "-P", "-m", "pollice.models.pretrained.chat_sandbox"]
    try:
        ended = subprocess.run(
            command,
            input=json.dumps(request).encode(),
            capture_output=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise TemplateRefusal(f"it runs for longer than {SECONDS:g} second") from None
    return _read_answer(ended)


def _read_answer(ended: "subprocess.CompletedProcess[bytes]") -> str:
    """Return the rendered text, or raise the reason why there is none."""
    if ended.returncode == -getattr(signal, "SIGPROF", 0):
        raise TemplateRefusal(f"it runs for longer than {SECONDS:g} second")
    try:
        answer = json.loads(ended.stdout)
    except ValueError:
        raise TemplateRefusal("its process broke off") from None
    if "text" not in answer:
        raise TemplateRefusal(answer["refusal"])
    return str(answer["text"])


class _GenerationBlock(Extension):
    """``{% generation %}``: marks what the model says; its content is written as it is."""

    tags = {"generation"}  # noqa: RUF012  # jinja2's own way to name them

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_content")
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _content(self, caller: Macro) -> str:
        return caller()


class _PlainNamespace(Namespace):
    """A namespace without names that begin with an underscore, as in transformers."""

    def __init__(*args: Any, **entries: Any) -> None:
        self, *more = args  # so that a template may have an entry called self
        content = dict(*more, **entries)
        for name in content:
            _check_entry(name)
        Namespace.__init__(self, content)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_entry(name)
        super().__setitem__(name, value)


def _check_entry(name: str) -> None:
    if str(name).startswith("_"):
        raise SecurityError(f"A namespace may not hold {name!r}")


class _MakeDict:
    """``dict`` in a template: makes one, and gives no way to the class itself."""

    def __call__(self, *args: Any, **entries: Any) -> dict[Any, Any]:
        return dict(*args, **entries)


def _raise_exception(message: object) -> None:
    raise TemplateError(str(message))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def render_here(
    template: str, turns: Iterable[tuple[str, str]], special_tokens: Mapping[str, Any]
) -> str:
    """Return what `render_template` returns, in this process and without its bounds."""
    # As in transformers.utils.chat_template_utils, for whose environment templates are written.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"],
    )
    environment.filters["tojson"] = _to_json
    environment.globals.update(
        raise_exception=_raise_exception,
        strftime_now=lambda form: datetime.now().strftime(form),  # the user's day
        dict=_MakeDict(),
        namespace=_PlainNamespace,
    )
    return environment.from_string(template).render(
        messages=[{"role": role, "content": content} for role, content in turns],
        tools=None,
        documents=None,
        add_generation_prompt=True,
        **special_tokens,
    )


def _set_bounds() -> None:
    """Let the system end this process when it takes too long, and refuse it more memory."""
    try:
        import resource  # there is none on Windows: there the waiting process ends this one
    except ImportError:
        return
    _, hardest = resource.getrlimit(resource.RLIMIT_AS)
    bound = MEMORY if hardest == resource.RLIM_INFINITY else min(MEMORY, hardest)
    with suppress(ValueError, OSError):  # macOS takes no such bound: there time alone is bounded
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # unanswered, its signal ends the process


def _answer(request: Mapping[str, Any]) -> dict[str, str]:
    try:
        text = render_here(**request)
    except MemoryError:
        return {"refusal": f"it takes more than {MEMORY // 2**20} MiB"}
    except RecursionError:
        return {"refusal": "it calls itself without end, or is nested too deeply"}
    # The template is somebody else's: whatever it raises is what it says.
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        return {"refusal": said[:300]}
    if len(text) > CHARACTERS:
        return {"refusal": f"it writes more than {CHARACTERS:,} characters"}
    return {"text": text}


def main() -> None:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    _set_bounds()
    sys.stdout.write(json.dumps(_answer(request)))


if __name__ == "__main__":
    main()
