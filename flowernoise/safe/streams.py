"""Standard input, output and error for the command line: always open, and with a clear error when writing fails.

Also makes text safe to show on them.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

from flowernoise.errors import FlowernoiseError


class OutputError(FlowernoiseError):
    """The result cannot be written to standard output."""


class ReaderLeftError(Exception):
    """The reader of standard output has left, as ``head`` does; not a failure, but nothing more can be written."""


class _Output(io.FileIO):
    """Standard output; its errors name it and say why it cannot be written to."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise ReaderLeftError from None
        except OSError as error:
            raise OutputError(
                f"cannot write the result to standard output: {error.strerror}; finished work is kept, send the output "
                "elsewhere"
            ) from error


class _Notes(io.FileIO):
    """Standard error; what cannot be written is dropped, as work should not fail because nobody is listening."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def own(*, hush: bool) -> None:
    """Replaces Python's standard streams with ours.

    Args:
        hush: whether stderr is for our lines only; what libraries write to descriptor 2 is dropped.
    """
    _occupy()
    sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout)
    descriptor = os.dup(2) if hush else 2
    if hush:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
    sys.stderr = _text(_Notes(descriptor, "w", closefd=False), sys.stderr, line_buffering=True)


def _occupy() -> None:
    """Opens the first three descriptors if they are closed, so that a file of ours cannot become standard output.

    Standard output is opened for reading, so that writing to it still fails.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest free descriptor, which is this one


def _text(raw: io.FileIO, before: TextIO | None, *, line_buffering: bool = False) -> TextIO:
    """A text stream; characters that its encoding lacks, and names that are not UTF-8, are written as escapes."""
    encoding = before.encoding if before is not None else "utf-8"
    line_buffering = line_buffering or raw.isatty()
    buffered = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffered, encoding, errors="backslashreplace", line_buffering=line_buffering)


def printable(text: str) -> str:
    r"""Text on one line of valid UTF-8; anything else, or not printable, is written as an escape.

    >>> print(printable("roses/a\tb.jpg"))
    roses/a\tb.jpg
    """
    valid = text.encode("utf-8", "backslashreplace").decode()
    return valid if valid.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in valid)
