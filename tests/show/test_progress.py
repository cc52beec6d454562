"""Progress: bars where there is a terminal, whole lines where there is none, and no line for what is quick."""

import io
import re

import pytest
from rich.console import Console

from flowernoise.progress import Silent
from flowernoise.show import progress


def shown(terminal: bool, monkeypatch: pytest.MonkeyPatch, worth_a_line: float) -> str:
    monkeypatch.setattr(progress, "WORTH_A_LINE", worth_a_line)
    stream = io.StringIO()
    display = progress.Terminal(Console(file=stream, force_terminal=terminal, width=80))
    with display.task("counting [petals]", 3, "petals") as advance:
        advance(1)
        display.note("a note that is longer than the width of the console, " * 3)
        with display.task("counting leaves", 1, "leaves") as inner:
            inner(1)
        advance(2)
    return stream.getvalue()


def test_a_pipe_gets_whole_lines_and_no_escape_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(False, monkeypatch, worth_a_line=0)
    assert "\x1b" not in text
    note, leaves, petals = text.splitlines()
    assert len(note) > 150
    assert leaves.startswith("counting leaves: 1 leaves in ")
    assert petals.startswith("counting [petals]: 3 petals in ")


def test_quick_work_gets_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "counting" not in shown(False, monkeypatch, worth_a_line=60)


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(True, monkeypatch, worth_a_line=60)
    assert "counting [petals]" in text
    assert "━" in text


def test_an_error_passes_through_and_ends_the_display() -> None:
    display = progress.Terminal(Console(file=io.StringIO(), force_terminal=True))
    with pytest.raises(KeyError), display.task("failing", 1, "things"):
        raise KeyError
    with display.task("going on", 1, "things") as advance:
        advance(1)


def test_silence_takes_everything() -> None:
    with Silent().task("counting", None, "petals") as advance:
        advance(5)
    Silent().note("nobody hears this")


def test_a_note_carries_nothing_that_a_terminal_acts_on() -> None:
    stream = io.StringIO()
    progress.Terminal(Console(file=stream, force_terminal=False)).note("a\x1b[31m name\r\u202e\n")
    assert stream.getvalue() == "a\\x1b[31m name\\r\\u202e\\n\n"


def test_work_that_cannot_be_counted_shows_that_it_goes_on_and_how_long_it_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "WORTH_A_LINE", 0)
    for terminal in (True, False):
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=terminal, width=80, no_color=True, color_system=None)
        with progress.Terminal(console).task("loading Keras", None, ""):
            pass
        assert re.search(r"loading Keras: 0\.\d s\n", stream.getvalue())
        assert ("0:00:00" in stream.getvalue()) is terminal
        assert "/?" not in stream.getvalue()
