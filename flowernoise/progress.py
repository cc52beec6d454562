"""How steps tell what they are doing, without knowing who listens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """What shows progress; ``visible`` tells whether anybody sees it move."""

    visible: bool

    def task(self, description: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        """Work of ``total`` units; the block calls what it gets with the number of units just done.

        A ``unit`` that is empty means work that cannot be counted, such as loading a library.
        """

    def note(self, text: str) -> None:
        """One line that the user should read."""


class Silent:
    """Shows nothing."""

    visible = False

    @contextlib.contextmanager
    def task(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:  # noqa: ARG002 (the protocol's)
        """Does nothing with the units."""
        yield lambda _: None

    def note(self, text: str) -> None:
        """Drops the line."""
