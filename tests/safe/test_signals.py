"""Signals while the main thread does what signals cannot interrupt; each in a small process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flowernoise.errors import ExitCode
from flowernoise.safe.signals import StoppedError
from tests.timing import assert_in_time, may_be_late

LINES = {
    signal.SIGINT: "error: interrupted; finished work is kept, the same command goes on from there\n",
    signal.SIGTERM: "error: terminated; finished work is kept, the same command goes on from there\n",
}
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
IN_C = "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"  # takes minutes, which no signal cuts short
# The entry point, with something else in place of the commands.
PROGRAM = """
import atexit, hashlib, sys, time
from flowernoise import __main__
from flowernoise.safe import atomic, signals
def ready(): sys.stdout.write("ready\\n"); sys.stdout.flush()
def command():
    {body}
    return 0
__main__._command = command
__main__.main()
"""


def started(body: str, **settings: object) -> subprocess.Popen[str]:
    """A process that has written ``ready``."""
    program = PROGRAM.format(body=body.replace("\n", "\n    "))
    process: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process: subprocess.Popen[str], *numbers: signal.Signals) -> tuple[int, str, float]:
    """Code, stderr, and seconds to the end of a process that gets signals."""
    sent = time.monotonic()
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.05)
    _, stderr = process.communicate(timeout=30)
    return process.returncode, stderr, time.monotonic() - sent


BODIES = {
    "Python": "ready()\nwhile True: pass",
    "a call into C": "ready()\n" + IN_C,
    "a library that swallows it": "ready()\nwhile True:\n    try: time.sleep(60)\n    except: pass",
    "a long clean-up": "try:\n    ready(); time.sleep(60)\nfinally: time.sleep(60)",
    "another error": "try:\n    ready(); time.sleep(60)\nfinally: raise OSError(5, 'another error')",
}


@may_be_late
@pytest.mark.parametrize("number", LINES, ids=lambda number: number.name)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_process_ends_in_time_with_one_line(number: signal.Signals, body: str) -> None:
    code, stderr, seconds = ended(started(body), number)
    assert (code, stderr) == (CODES[number], LINES[number])
    assert_in_time(seconds, 2)


@may_be_late
def test_what_python_does_ends_at_once() -> None:
    assert_in_time(ended(started(BODIES["Python"]), signal.SIGINT)[2], 0.5)


def test_what_was_swallowed_keeps_nothing_afterwards(tmp_path: Path) -> None:
    """A library that a signal interrupts may give something half, and say nothing."""
    path = str(tmp_path / "half.json")
    swallowing = (
        "from pathlib import Path\nfrom flowernoise.store import files\n"
        f"try: ready(); time.sleep(60)\nexcept BaseException: pass\nfiles.write_plain(Path({path!r}), b'half')"
    )
    assert ended(started(swallowing), signal.SIGTERM)[:2] == (143, LINES[signal.SIGTERM])
    assert list(tmp_path.iterdir()) == []


def test_what_was_swallowed_sets_no_good_file_aside(tmp_path: Path) -> None:
    """A library that a signal interrupts may call a file damaged."""
    path = tmp_path / "good.h5"
    path.write_bytes(b"good")
    mistaken = (
        "from pathlib import Path\nfrom flowernoise.store import files\n"
        f"try: ready(); time.sleep(60)\nexcept BaseException: files.quarantine(Path({str(path)!r}))"
    )
    assert ended(started(mistaken), signal.SIGINT)[:2] == (130, LINES[signal.SIGINT])
    assert [each.name for each in tmp_path.iterdir()] == ["good.h5"]


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_more_signals_change_nothing(body: str) -> None:
    code, stderr, _ = ended(started(body), signal.SIGINT, signal.SIGTERM, signal.SIGINT)
    assert stderr.count("\n") == 1
    assert code == 130


def test_temporary_files_are_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "half.tmp")
    stuck = started(
        f"from pathlib import Path\nwith atomic.removed_at_end(Path({path!r})):\n    open({path!r}, 'w').close()\n"
        f"    ready()\n    {IN_C}"
    )
    assert Path(path).exists()
    assert ended(stuck, signal.SIGTERM)[0] == 143
    assert list(tmp_path.iterdir()) == []


def test_a_signal_after_the_last_word_changes_nothing() -> None:
    process = started("signals.block_signals()\nready()\ntime.sleep(0.3)\n__main__.os._exit(7)")
    assert ended(process, signal.SIGINT)[:2] == (7, "")


def test_a_signal_while_libraries_clean_up_at_exit_is_no_noise() -> None:
    body = "atexit.register(time.sleep, 60)\nready()\nreturn 0"
    process = started(body)
    process.communicate(timeout=30)  # the clean-up of libraries is not waited for
    assert process.returncode == 0


def test_what_the_parent_ignores_stays_ignored() -> None:
    process = started(
        "ready()\ntime.sleep(0.5)",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert ended(process, signal.SIGINT)[:2] == (0, "")


def test_a_stderr_that_nobody_reads_does_not_keep_it() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, b"x" * 65536)
        except BlockingIOError:
            break
    os.set_blocking(writer, True)
    program = PROGRAM.format(body=BODIES["Python"].replace("\n", "\n    "))
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=writer, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=5) == 130
    process.stdout.close()
    os.close(reader)
    os.close(writer)


def test_the_code_is_part_of_the_error() -> None:
    assert f"error: {StoppedError(ExitCode.TERMINATED)}\n" == LINES[signal.SIGTERM]
