"""File names that do not depend on the locale, and checks whether a file can be written where a user wants it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from flowernoise.safe.streams import printable


def as_utf8(name: str) -> str:
    """A file name read as UTF-8, so that results do not depend on the encoding that the locale sets.

    >>> as_utf8("roses")
    'roses'
    """
    try:
        return os.fsencode(name).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # the locale cannot encode this text, so it does not come from the file system
        return name


def name_of(path: str | Path) -> str:
    """A path as shown and stored: the same under every locale, on one line, with escapes where necessary."""
    return printable(as_utf8(str(path)))


class PathsByName:
    """Finds paths by the names that other files may have for them.

    >>> PathsByName(["a/1.jpg", "b/2.jpg"]).find("/home/ada/a/1.jpg")
    'a/1.jpg'
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_file: dict[str, list[str]] = {}
        self._known = set(paths)
        for path in self._known:
            self._by_file.setdefault(path.rpartition("/")[2], []).append(path)

    def find(self, name: str) -> str | None:
        """The path with a name: itself, a longer path that ends in it, or its file name; None if there is none.

        Raises:
            LookupError: it is a file name that several paths have.
        """
        if name in self._known:
            return name
        parts = name.replace("\\", "/").split("/")
        for start in range(len(parts) - 1):  # an absolute path, or one from elsewhere, ends in the path
            if (end := "/".join(parts[start:])) in self._known:
                return end
        same = sorted(self._by_file.get(name, []))
        if len(same) > 1:
            raise LookupError(f"{len(same)} photos are called {name!r}, such as {same[0]} and {same[1]}; give the path")
        return same[0] if same else None


def why_no_file(path: Path) -> str | None:
    """Why a file cannot be written there; None if nothing speaks against it."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return _why_no_place(path.parent)
    except OSError as error:
        return error.strerror
    if stat.S_ISDIR(mode):
        return "it is a directory"
    if not stat.S_ISREG(mode):
        return "it is not a regular file"
    return _why_no_place(path.parent)


def why_no_directory(path: Path) -> str | None:
    """Why files cannot be written into a directory, which need not exist yet; None if they can."""
    try:
        is_directory = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return _why_no_place(path)
    except OSError as error:
        return error.strerror
    return _why_no_place(path) if is_directory else "it is not a directory"


def _why_no_place(directory: Path) -> str | None:
    """The same for a directory that may have to be made in a directory above it."""
    if directory.is_symlink() and not directory.exists():
        return f"{directory} is a link that leads nowhere"
    if not directory.exists():
        return _why_no_place(directory.parent)
    if not directory.is_dir():
        return f"{directory} is not a directory"
    return None if os.access(directory, os.W_OK | os.X_OK) else f"{directory} is not writable"
