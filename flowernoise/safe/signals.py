"""SIGINT and SIGTERM: the process ends in time, with one line and its code, whatever it is doing.

Python runs signal handlers in the main thread and between two bytecodes only: a long call into C delays them, and code
of a library may swallow what they raise. So there are two ways to the end. The handler raises
:class:`StoppedError`, on which the main thread ends by itself; a second thread hears of the signal at once, through the
wakeup descriptor, and ends the process if the first way takes too long.
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

PATIENCE = 1.0  # seconds that the main thread has to end by itself
CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}
_SHOW_CURSOR = "\x1b[?25h\n"  # a progress display that nobody could end has hidden it

_last_word = threading.Lock()  # who has it may write the last line, nobody else; never given back
_raised: StoppedError | None = None


class StoppedError(BaseException):
    """SIGINT or SIGTERM arrived; not an Exception, so that nothing on the way takes it for one."""

    def __init__(self, code: ExitCode) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        word = "interrupted" if self.code == ExitCode.INTERRUPTED else "terminated"
        return f"{word}; what is finished is kept, the same command goes on from there"


def listen(clean_up: Callable[[], None]) -> None:
    """Handles SIGINT and SIGTERM from now on, unless our parent process ignores them, as ``nohup`` does.

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
    """Returns where the caller may write the last line, and no signal will be raised; otherwise the process ends."""
    _last_word.acquire()


def raised() -> StoppedError | None:
    """What was raised for a signal, even if a library has swallowed it or made another error of it."""
    return _raised


def raise_if_signalled() -> None:
    """Raises again what was raised for a signal, so that nothing is made of what a library did with it."""
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
    """Writes to stderr past its buffer, whose lock the main thread may hold."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = sys.stderr.fileno()
        os.write(descriptor, f"{_SHOW_CURSOR if os.isatty(descriptor) else ''}{line}".encode())
