"""Standard input, output and error as the command line needs them: always there, and knowing what to do on failure.

Also text that is safe to show in them.
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
    """Whoever read standard output has left, as ``head`` does; no failure, but nothing more is to be written."""


class _Output(io.FileIO):
    """Standard output; tells why it cannot be written to, and not just that some file cannot."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise ReaderLeftError from None
        except OSError as error:
            raise OutputError(
                f"cannot write the result to standard output: {error.strerror}; what is made is kept, send it elsewhere"
            ) from error


class _Notes(io.FileIO):
    """Standard error; what cannot be written is dropped, as no work should fail for want of somebody who listens."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def own(*, hush: bool) -> None:
    """Puts our streams in the place of Python's.

    Args:
        hush: whether stderr is for our lines only; libraries that write to descriptor 2 themselves are not heard.
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
    """Takes the first three descriptors where we were started without, lest a file of ours becomes standard output.

    Standard output is opened so that writing to it fails, as it does where it is closed.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # the lowest that is free, which is this one


def _text(raw: io.FileIO, before: TextIO | None, *, line_buffering: bool = False) -> TextIO:
    """A text stream; what its encoding lacks, and names that are not UTF-8, are written as their escapes."""
    encoding = before.encoding if before is not None else "utf-8"
    line_buffering = line_buffering or raw.isatty()
    buffered = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffered, encoding, errors="backslashreplace", line_buffering=line_buffering)


def printable(text: str) -> str:
    r"""Text on one line of valid UTF-8: what is not UTF-8 or not printable is written as its escape.

    >>> print(printable("roses/a\tb.jpg"))
    roses/a\tb.jpg
    """
    valid = text.encode("utf-8", "backslashreplace").decode()
    return valid if valid.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in valid)
