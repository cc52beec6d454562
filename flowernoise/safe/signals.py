"""SIGINT and SIGTERM: whatever the process is doing, it soon ends, with one line and its exit code.

Python runs signal handlers only in the main thread and between two bytecodes. A long call into C delays them, and a
library may swallow what they raise. So there are two ways to end. The handler raises :class:`StoppedError`, which ends
the main thread in the normal way. A second thread learns of the signal at once, through the wakeup descriptor, and ends
the process if the first way takes too long.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from flowernoise.errors import ExitCode

PATIENCE = 1.0  # seconds for the main thread to end by itself
CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
_SHOW_CURSOR = "\x1b[?25h\n"  # a progress display that was cut short may have hidden it

_last_word = threading.Lock()  # only its holder may write the last line; never released
_raised: StoppedError | None = None


class StoppedError(BaseException):
    """SIGINT or SIGTERM arrived; not an Exception, so that no ``except Exception`` catches it."""

    def __init__(self, code: ExitCode) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        word = "interrupted" if self.code == ExitCode.INTERRUPTED else "terminated"
        return f"{word}; finished work is kept, the same command goes on from there"


def listen(clean_up: Callable[[], None]) -> None:
    """Handles SIGINT and SIGTERM from now on, except those that our parent process ignores, as ``nohup`` does.

    Args:
        clean_up: called in the second thread, before it ends the process.
    """
    handled = [number for number in CODES if signal.getsignal(number) != signal.SIG_IGN]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, clean_up), daemon=True).start()
    for number in handled:
        signal.signal(number, _stop)


def block_signals() -> None:
    """Keeps signals from being raised while the caller writes the last line; if one is being handled, never returns."""
    _last_word.acquire()


def raised() -> StoppedError | None:
    """The error raised for a signal, even if a library swallowed it or turned it into another error."""
    return _raised


def raise_if_signalled() -> None:
    """Raises the error for a signal again, in case a library swallowed it."""
    if _raised is not None:
        raise StoppedError(_raised.code)


def _stop(number: int, _frame: FrameType | None) -> None:
    global _raised
    if _raised is None and not _last_word.locked():
        _raised = StoppedError(CODES[signal.Signals(number)])
        raise _raised


def _watch(reader: int, clean_up: Callable[[], None]) -> None:
    while (number := os.read(reader, 1)[0]) not in CODES:
        pass
    code = CODES[signal.Signals(number)]
    time.sleep(PATIENCE)
    clean_up()
    if _last_word.acquire(blocking=False):
        _write(f"error: {StoppedError(code)}\n")
    os._exit(code)


def _write(line: str) -> None:
    """Writes to stderr directly, because the main thread may hold the lock of its buffer."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = sys.stderr.fileno()
        os.write(descriptor, f"{_SHOW_CURSOR if os.isatty(descriptor) else ''}{line}".encode())
