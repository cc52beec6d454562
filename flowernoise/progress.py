"""How steps report what they are doing, without knowing who is listening."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Something that shows progress; ``visible`` tells whether anyone can watch it."""

    visible: bool

    def task(self, description: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        """Work of ``total`` units; the ``with`` block gets a function to call with the number of units just done.

        An empty ``unit`` means work that cannot be counted, such as loading a library.
        """

    def note(self, text: str) -> None:
        """One line that the user should read."""


class Silent:
    """Shows nothing."""

    visible = False

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:  # noqa: ARG002 (the protocol's)
        """Ignores the units."""
        yield lambda _: None

    def note(self, text: str) -> None:
        """Drops the line."""
