"""Writers of documents, one per format. A module here that decorates a function with :func:`writer` is a format.

The function bears the format's name, and so does its module, with an underscore behind it where the standard library
has one of that name. So formats are known by name before any of them is imported.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path

from flowernoise.show.document import Document

Write = Callable[[Document], str]


@dataclasses.dataclass(frozen=True)
class Writer:
    """A format: its name, the suffixes of its files, and what writes it."""

    name: str
    suffixes: tuple[str, ...]
    write: Write


_writers: dict[str, Writer] = {}
_modules = {module.name.rstrip("_"): module.name for module in pkgutil.iter_modules(__path__)}
FORMATS = tuple(_modules)


def writer(*suffixes: str) -> Callable[[Write], Write]:
    """Decorator: the function writes the format of its name."""

    def decorate(write: Write) -> Write:
        name = write.__name__.rstrip("_")
        _writers[name] = Writer(name, suffixes, write)
        return write

    return decorate


def named(name: str) -> Writer:
    """The writer of a format, one of :data:`FORMATS`."""
    importlib.import_module(f"{__name__}.{_modules[name]}")
    return _writers[name]


def suffixes() -> list[str]:
    """What files of all formats end in."""
    return [suffix for name in FORMATS for suffix in named(name).suffixes]


def of_file(path: Path) -> str | None:
    """The format that a file's suffix names, if it names one."""
    suffix = path.suffix.lower()
    return next((name for name in FORMATS if suffix in named(name).suffixes), None)
