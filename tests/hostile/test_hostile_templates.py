"""Chat templates of somebody else's: each is ended within its bounds, and said in one sentence."""

import re
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from pollice.errors import CheckpointError
from pollice.models.pretrained.chat_sandbox import (
    CHARACTERS,
    TemplateRefusal,
    render_here,
    render_template,
)
from pollice.models.pretrained.tokenizer import TextTokenizer
from tiny import tiny_causal

TURNS = (("system", "Judge."), ("user", "good\n\nIs it?"))
MEMORY = "it takes more than 512 MiB"
TIME = "it runs for longer than 1 second"
DEPTH = "it calls itself without end, or is nested too deeply"
OUTPUT = "it writes more than 1,000,000 characters"
ENDLESS = {
    "two loops": (
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        TIME,
    ),
    "a loop that writes": (
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}",
        f"{TIME}|{MEMORY}",
    ),
    "a namespace that counts": (
        "{% set n = namespace(i=0) %}{% for a in range(99999) %}{% for b in range(99999) %}"
        "{% set n.i = n.i + 1 %}{% endfor %}{% endfor %}",
        TIME,
    ),
    "a sum of sums": (
        "{% for a in range(99999) %}{{ range(99999)|sum }}{% endfor %}",
        TIME,
    ),
    "sorting again and again": (
        "{% for a in range(99999) %}{% set b = range(99999)|sort %}{% endfor %}",
        TIME,
    ),
    "a text times a number": ("{{ 'x' * 10000000000 }}", MEMORY),
    "a list times a number": ("{{ [1] * 10000000000 }}", MEMORY),
    "a text times a variable": (
        "{% set n = 10000000000 %}{{ messages[0].content * n }}",
        MEMORY,
    ),
    "a power": ("{{ (10 ** (10 ** 9)) % 7 }}", f"{TIME}|{MEMORY}"),
    "doubling by ~": (
        "{% set n = namespace(t='x') %}{% for a in range(60) %}{% set n.t = n.t ~ n.t %}"
        "{% endfor %}{{ n.t|length }}",
        MEMORY,
    ),
    "doubling by +": (
        "{% set n = namespace(t='x') %}{% for a in range(60) %}{% set n.t = n.t + n.t %}"
        "{% endfor %}{{ n.t|length }}",
        MEMORY,
    ),
    "doubling a list": (
        "{% set n = namespace(t=[1]) %}{% for a in range(60) %}{% set n.t = n.t + n.t %}"
        "{% endfor %}",
        MEMORY,
    ),
    "doubling by replace": (
        "{% set n = namespace(t='xx') %}{% for a in range(60) %}"
        "{% set n.t = n.t.replace('x', 'xx') %}{% endfor %}",
        f"{TIME}|{MEMORY}",
    ),
    "doubling by join": (
        "{% set n = namespace(t='x') %}{% for a in range(60) %}"
        "{% set n.t = [n.t, n.t]|join(n.t) %}{% endfor %}",
        MEMORY,
    ),
    "the filter center": ("{{ 'x'|center(10 ** 10) }}", MEMORY),
    "the method ljust": ("{{ 'x'.ljust(10 ** 10) }}", MEMORY),
    "the method zfill": ("{{ 'x'.zfill(10 ** 10) }}", MEMORY),
    "a width after %": ("{{ '%*d' % (1000000000, 1) }}", MEMORY),
    "a width in format": ("{{ '{:>9000000000}'.format(1) }}", MEMORY),
    "the filter format": ("{{ '%1000000000s'|format('x') }}", MEMORY),
    "the filter indent": ("{{ 'x'|indent(10 ** 10, true) }}", MEMORY),
    "the filter batch": ("{{ [1]|batch(10 ** 9, 'x')|list|length }}", f"{TIME}|{MEMORY}"),
    "the filter slice": ("{{ [1]|slice(10 ** 9)|list|length }}", f"{TIME}|{MEMORY}"),
    "wide JSON": ("{{ {'a': 1}|tojson(indent=10 ** 10) }}", MEMORY),
    "filling words": ("{{ lipsum(n=10 ** 7) }}", f"{TIME}|{MEMORY}"),
    "a macro that calls itself": (
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        DEPTH,
    ),
    "brackets in brackets": ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", f"{DEPTH}|{MEMORY}"),
    "a prompt too long": ("{{ 'x' * 1000001 }}", OUTPUT),
    "a range too long": ("{% for a in range(10 ** 9) %}{% endfor %}", "Range too big.*"),
}
ESCAPES = {
    "the class of a text": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "an attribute by filter": "{{ (''|attr('__class__')).__mro__ }}",
    "an attribute by item": "{{ ''['__class__']['__mro__'][1] }}",
    "globals of a function": "{{ raise_exception.__globals__ }}",
    "a bound format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "a mapped format": "{{ '{a.__class__.__mro__}'.format_map({'a': ''}) }}",
    "a format by filter": "{{ ['{0.__class__.__mro__}']|map('format', '')|list|first + 1 }}",
    "a namespace with a dunder": "{{ namespace(__class__=1) }}",
    "a file": "{% include '/etc/hostname' %}",
}
WELL_MEANT = {
    "llama": (
        "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m['content'] | trim }}"
        "<|eot|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "loop controls and a namespace": (
        "{% set ns = namespace(first=true) %}{% for m in messages %}"
        "{% if m.role == 'system' %}{% continue %}{% endif %}{{ ns.first }}"
        "{% set ns.first = false %}{{ m | tojson }}\n{% endfor %}"
    ),
    "a generation block": (
        "{% for m in messages %}\n    {% generation %}{{ m.content }}{% endgeneration %}\n"
        "{% endfor %}{{ dict(a=1).a }}{{ tools is none }}{{ documents is none }}"
    ),
}


def refusal(template: str) -> str:
    with pytest.raises(TemplateRefusal) as caught:
        render_template(template, TURNS, "{}")
    return str(caught.value)


@pytest.mark.parametrize("case", ENDLESS)
def test_a_template_is_ended_within_its_bounds(case: str) -> None:
    template, reason = ENDLESS[case]
    assert re.fullmatch(reason, refusal(template))


@pytest.mark.parametrize("case", ESCAPES)
def test_a_template_gets_nothing_out_of_the_sandbox(case: str) -> None:
    """What leads outside is refused, or is nothing at all: it never comes into a prompt."""
    try:
        said = render_template(ESCAPES[case], TURNS, "{}")
    except TemplateRefusal as error:
        said = str(error)
    assert "<class" not in said
    assert "builtin" not in said


@pytest.mark.parametrize("case", WELL_MEANT)
def test_a_template_that_is_meant_well_writes_what_transformers_writes(case: str) -> None:
    messages = [{"role": role, "content": content} for role, content in TURNS]
    expected: Any = render_jinja_template(
        [messages],
        chat_template=WELL_MEANT[case],
        add_generation_prompt=True,
        bos_token="<s>",
    )
    found = render_template(WELL_MEANT[case], TURNS, '{"bos_token": "<s>"}')
    assert [found] == expected[0]
    assert found == render_here(WELL_MEANT[case], TURNS, {"bos_token": "<s>"})


def test_the_longest_prompt_is_still_taken() -> None:
    assert len(render_template("{{ 'x' * 1000000 }}", TURNS, "{}")) == CHARACTERS


def test_a_refusal_is_one_sentence_about_the_checkpoint(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(tiny_causal(tmp_path / "theirs", "gemma", chat=True))
    tokenizer.tokenizer.chat_template = "{{ raise_exception('\x1b[31mred\nlines') }}"
    sentence = (
        "The chat template of this checkpoint refuses the prompt: \ufffd[31mred. Use another "
        "checkpoint."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        tokenizer.render_chat(TURNS)
