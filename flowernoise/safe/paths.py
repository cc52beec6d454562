"""What files are called whatever the locale, and whether one can be written where a user wants it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from flowernoise.safe.streams import printable


def as_utf8(name: str) -> str:
    """A name of the file system read as UTF-8, whatever encoding Python takes names to be in; else locales would tell.

    >>> as_utf8("roses")
    'roses'
    """
    try:
        return os.fsencode(name).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # text that the locale cannot write, so not from the file system
        return name


def name_of(path: str | Path) -> str:
    """A path as it is shown and kept: the same under every locale, on one line, with escapes where it needs them."""
    return printable(as_utf8(str(path)))


def why_no_file(path: Path) -> str | None:
    """Why a file cannot be written there; None if, by all that can be seen, it can."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return _why_no_place(path.parent)
    except OSError as error:
        return error.strerror
    if stat.S_ISDIR(mode):
        return "it is a directory"
    if not stat.S_ISREG(mode):
        return "it is no regular file"
    return _why_no_place(path.parent)


def why_no_directory(path: Path) -> str | None:
    """Why files cannot be written into a directory of that name, which need not be there yet; None if they can."""
    try:
        is_directory = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return _why_no_place(path)
    except OSError as error:
        return error.strerror
    return _why_no_place(path) if is_directory else "it is no directory"


def _why_no_place(directory: Path) -> str | None:
    """The same of a directory that may have to be made in one above it."""
    if directory.is_symlink() and not directory.exists():
        return f"{directory} is a link that leads nowhere"
    if not directory.exists():
        return _why_no_place(directory.parent)
    if not directory.is_dir():
        return f"{directory} is no directory"
    return None if os.access(directory, os.W_OK | os.X_OK) else f"{directory} may not be written to"
