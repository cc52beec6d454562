"""What a command says beside its result: what each stage did, and what comes next."""

import io
import time

import pytest
from rich.console import Console

from flowernoise.show.progress import Quiet
from flowernoise.show.session import Session


def at_terminal(*, quiet: bool = False, terminal: bool = True) -> Session:
    session = Session(quiet=quiet, json=False)
    session.stderr = Console(file=io.StringIO(), force_terminal=terminal, no_color=True, color_system=None, width=200)
    session._shown = Quiet(session.stderr) if quiet else type(session._shown)(session.stderr)
    session.progress = session._shown
    return session


def said(session: Session) -> str:
    return session.stderr.file.getvalue()


def test_a_person_is_told_which_command_comes_next() -> None:
    with at_terminal() as session:
        session.suggest(lambda: "flowernoise train")
    assert said(session) == "next: flowernoise train\n"


def test_nothing_is_said_where_nothing_is_left_to_do() -> None:
    with at_terminal() as session:
        session.suggest(lambda: None)
    assert said(session) == ""


@pytest.mark.parametrize("how", [{"quiet": True}, {"terminal": False}])
def test_a_script_is_not_told_what_comes_next_nor_is_it_looked_for(how: dict) -> None:
    with at_terminal(**how) as session:
        session.suggest(lambda: pytest.fail("looked for"))
    assert said(session) == ""


def test_quiet_says_one_line_of_a_long_wait_and_nothing_of_a_short_one() -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=200)
    quiet = Quiet(console, long_wait=0.05)
    with quiet.task("loading [red]Keras[/red]", None, ""), quiet.task("reading photos", 5, "photos") as advance:
        advance(1)
        quiet.note("not heard")
        time.sleep(0.3)
    quiet.close()
    assert console.file.getvalue() == "still working after 0.05 s: reading photos\n"
    short = Console(file=io.StringIO(), force_terminal=False, width=200)
    quiet = Quiet(short, long_wait=0.2)
    quiet.close()
    time.sleep(0.4)
    assert short.file.getvalue() == ""
