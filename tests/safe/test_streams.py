"""Standard streams that are full, closed, or without a reader."""

import os
import subprocess
import sys

import pytest

FULL = (
    "error: cannot write the result to standard output: No space left on device; "
    "finished work is kept, send the output elsewhere\n"
)
FLOWERNOISE = f"{sys.executable} -m flowernoise"


def shell(command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a line of bash in which ``flowernoise`` is ours; the exit code is that of the first in a pipe."""
    line = f'flowernoise() {{ {FLOWERNOISE} "$@"; }}; {command}; exit ${{PIPESTATUS[0]}}'
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, env={**os.environ, **(env or {})}
    )


@pytest.mark.parametrize("arguments", ["list --json", "--help", "--version"])
def test_a_full_disk_behind_stdout_is_an_error_of_one_line(arguments: str) -> None:
    shown = shell(f"flowernoise {arguments} > /dev/full")
    assert (shown.returncode, shown.stderr) == (1, FULL)


def test_a_closed_stdout_is_an_error_of_one_line() -> None:
    shown = shell("flowernoise list >&-")
    assert (shown.returncode, shown.stderr) == (1, FULL.replace("No space left on device", "Bad file descriptor"))


@pytest.mark.parametrize("nowhere", ["2>/dev/full", "<&- 2>&-"])
@pytest.mark.parametrize(("arguments", "code"), [("list losses", 0), ("list losess", 2)])
def test_without_a_place_for_errors_the_code_is_the_same(nowhere: str, arguments: str, code: int) -> None:
    shown = shell(f"flowernoise {arguments} {nowhere}")
    assert (shown.returncode, shown.stderr) == (code, "")
    assert ("cross-entropy" in shown.stdout) == (code == 0)


def test_with_all_streams_closed_the_code_is_the_same() -> None:
    assert shell("flowernoise list <&- >&- 2>&-").returncode == 1


@pytest.mark.parametrize(("arguments", "reader"), [("list --json", "head -n 1"), ("--help", "true")])
def test_a_reader_that_leaves_is_no_error(arguments: str, reader: str) -> None:
    shown = shell(f"flowernoise {arguments} | {reader}")
    assert (shown.returncode, shown.stderr) == (0, "")


def test_an_error_line_carries_nothing_that_a_terminal_acts_on() -> None:
    name = "a\x1b[31mred\x07 \x9b0m \udce9t\udce9 \u202egnp.exe"
    command = [sys.executable, "-m", "flowernoise", "evaluate", "-a", name]
    shown = subprocess.run(command, capture_output=True, check=False)
    line = shown.stderr.decode()
    assert (shown.returncode, line.count("\n")) == (2, 1)
    assert line.removesuffix("\n").isprintable()
    assert r"a\x1b[31mred\x07 \x9b0m \udce9t\udce9 \u202egnp.exe" in line


def test_an_error_line_has_an_end() -> None:
    shown = shell(f"flowernoise list {'x' * 100_000}")
    assert shown.returncode == 2
    assert len(shown.stderr) < 3000


def test_what_the_encoding_lacks_is_escaped() -> None:
    shown = shell("flowernoise list losses gce", env={"PYTHONIOENCODING": "ascii"})
    assert shown.returncode == 0
    assert "\\u2212" in shown.stdout
