"""Temporary files know their process, and go with it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flowernoise.safe import atomic

NUMBER = "0123456789ab"
MACHINE = atomic.owner_mark().partition("-")[0]


def temporary(process: object = os.getpid(), machine: str = MACHINE) -> str:
    return f".a.json.{machine}-{process}-{NUMBER}.tmp"


def test_the_mark_names_this_process_in_every_process_of_this_machine() -> None:
    script = "import os; from flowernoise.safe import atomic; print(os.getpid(), atomic.owner_mark())"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    pid, mark = shown.stdout.split()
    assert mark == f"{MACHINE}-{pid}"
    assert atomic.owner_mark() == f"{MACHINE}-{os.getpid()}"


def test_a_forked_process_has_a_mark_of_its_own() -> None:
    """The machine may be remembered, the process may not."""
    script = (
        "import os\n"
        "from flowernoise.safe import atomic\n"
        "atomic.owner_mark()\n"
        "if (child := os.fork()) == 0:\n"
        "    os._exit(0 if atomic.owner_mark().endswith(f'-{os.getpid()}') else 1)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (temporary(), True),
        (temporary(process=0), True),
        (f"..{MACHINE}-1-{NUMBER}.tmp", False),  # of no file
        (temporary()[1:], False),
        (temporary(process="x"), False),
        (temporary(process=-1), False),
        (temporary(machine="0123456"), False),
        (temporary(machine="0123456G"), False),
        (temporary() + "x", False),
        (temporary().replace(NUMBER, "0123"), False),
        (f".a.json.{NUMBER}.tmp", False),
        ("a.json", False),
        (".gitignore", False),
        ("", False),
    ],
    ids=map(str, range(14)),  # the names hold numbers of processes
)
def test_only_names_that_the_program_gives_are_temporary(name: str, expected: bool) -> None:
    assert bool(atomic.TEMPORARY.fullmatch(name)) == expected


def test_what_is_kept_clean_is_gone_after_the_block_unless_it_was_renamed(tmp_path: Path) -> None:
    path = tmp_path / temporary()
    with atomic.removed_at_end(path):
        path.touch()
    assert list(tmp_path.iterdir()) == []
    with atomic.removed_at_end(path):
        path.touch()
        path.replace(tmp_path / "a.json")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    path.touch()
    with pytest.raises(KeyboardInterrupt), atomic.removed_at_end(path):
        raise KeyboardInterrupt
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_process_that_ends_at_once_removes_what_is_open_and_no_more(tmp_path: Path) -> None:
    open_, other, missing, done = (tmp_path / f".{name}.tmp" for name in ("open", "other", "missing", "done"))
    with atomic.removed_at_end(done):
        pass
    with atomic.removed_at_end(open_), atomic.removed_at_end(missing):
        for path in (open_, other, done):
            path.touch()
        atomic.remove_temporaries()
        assert set(tmp_path.iterdir()) == {other, done}


@pytest.mark.parametrize(
    ("process", "abandoned"),
    [(os.getpid(), False), (os.getppid(), False), (2**22 + 1, True), (10**200, False)],
    ids=["own", "parent", "gone", "none"],
)
def test_of_this_machine_the_process_is_asked_for(tmp_path: Path, process: int, abandoned: bool) -> None:
    """The largest number of a process is 2²²; what is no number of a process could be anything."""
    path = tmp_path / temporary(process)
    assert atomic.is_abandoned(path) == abandoned  # whether there or not
    path.touch()
    os.utime(path, (0, 0))
    assert atomic.is_abandoned(path) == abandoned


def test_a_process_that_was_killed_has_abandoned_its_files(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    path = tmp_path / temporary(process.pid)
    assert not atomic.is_abandoned(path)
    with process:
        process.kill()
    assert atomic.is_abandoned(path)


def test_a_process_of_another_user_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_process: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert not atomic.is_abandoned(tmp_path / temporary(4711))


def test_of_another_machine_age_decides(tmp_path: Path) -> None:
    path = tmp_path / temporary(machine="00000000" if MACHINE != "0" * 8 else "1" * 8)
    assert not atomic.is_abandoned(path)  # not there
    path.touch()
    assert not atomic.is_abandoned(path)
    os.utime(path, (time.time() - atomic.ABANDONED - 60,) * 2)
    assert atomic.is_abandoned(path)
    os.utime(path, (time.time() + 10**6,) * 2)  # a clock that is ahead
    assert not atomic.is_abandoned(path)


def test_files_of_others_are_never_abandoned(tmp_path: Path) -> None:
    for name in ("a.json", ".gitignore", "x.tmp"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
        assert not atomic.is_abandoned(tmp_path / name)
