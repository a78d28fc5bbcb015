"""Stages: said by the library, shown by whoever listens."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rich.console import Console

from pollice.cli.progress_bars import shown_on
from pollice.system.progress import Advance, listening, owned_by, stage


class Notes:
    """A listener that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int | None, str]] = []
        self.done: list[int] = []
        self.left = 0

    @contextmanager
    def __call__(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:
        self.heard.append((description, total, unit))
        try:
            yield self.done.append
        finally:
            self.left += 1


def test_a_stage_is_heard_with_its_units() -> None:
    notes = Notes()
    with listening(notes), stage("judging", total=5) as advance:
        advance(2)
        advance(3)
    assert notes.heard == [("judging", 5, "rows")]
    assert notes.done == [2, 3]
    assert notes.left == 1


def test_a_stage_without_work_is_not_heard() -> None:
    notes = Notes()
    with listening(notes), stage("calibrating", total=0):
        pass
    assert notes.heard == []


def test_without_a_listener_nothing_happens() -> None:
    with stage("judging", total=None, unit="steps") as advance:
        advance(1)


def test_a_listener_hears_only_inside_its_context() -> None:
    notes = Notes()
    with pytest.raises(ValueError, match=r"^inside$"), listening(notes):
        raise ValueError("inside")
    with stage("later", total=1):
        pass
    assert notes.heard == []


def test_a_stage_that_fails_is_left() -> None:
    notes = Notes()
    with pytest.raises(ValueError, match=r"^inside$"), listening(notes), stage("fitting", total=1):
        raise ValueError("inside")
    assert notes.left == 1


def test_a_stage_names_its_owner_while_it_has_one() -> None:
    notes = Notes()
    with listening(notes):
        with owned_by("baseline"), stage("fitting", total=1):
            pass
        with stage("reading", total=1):
            pass
    assert [description for description, _, _ in notes.heard] == ["baseline: fitting", "reading"]


def test_bars_show_stages_and_their_ends() -> None:
    shown = io.StringIO()
    with shown_on(Console(file=shown, width=100)), stage("judging", total=40) as advance:
        advance(40)
    assert "judging" in shown.getvalue()
    assert "40/40" in shown.getvalue()


def test_a_log_gets_a_line_when_a_stage_ends_and_some_while_it_lasts() -> None:
    clock = iter([0.0, 10.0, 31.0, 31.0, 70.0, 70.0])
    shown = io.StringIO()
    with shown_on(Console(file=shown, width=100), lambda: next(clock)):
        with stage("judging", total=40) as advance:
            advance(10)
            assert shown.getvalue() == ""
            advance(10)
            assert "20/40" in shown.getvalue()
            advance(20)
        assert [line.split()[-4] for line in shown.getvalue().splitlines()] == ["20/40", "40/40"]
        with pytest.raises(ValueError, match=r"^inside$"), stage("fitting", total=3):
            raise ValueError("inside")
        assert "0/3" in shown.getvalue().splitlines()[-1]


def test_a_terminal_gets_bars_that_move() -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=100, force_terminal=True)
    with shown_on(console), stage("judging", total=40) as advance:
        advance(40)
    assert "judging" in shown.getvalue()
    assert "\x1b[?25l" in shown.getvalue()  # the cursor is hidden while bars move


def test_a_stage_of_unknown_length_ends_full() -> None:
    shown = io.StringIO()
    with shown_on(Console(file=shown, width=100)), stage("joining", None, "steps") as advance:
        advance(7)
    assert "7/7" in shown.getvalue()


def test_no_stage_shows_nothing_not_even_an_empty_line() -> None:
    shown = io.StringIO()
    with shown_on(Console(file=shown, width=100)):
        pass
    assert shown.getvalue() == ""
