"""Temporary files of this process, gone with it however it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

_open: set[Path] = set()


@contextlib.contextmanager
def kept_clean(path: Path) -> Iterator[None]:
    """Removes a temporary file when the block ends; what was renamed is no longer there."""
    _open.add(path)
    try:
        yield
    finally:
        _open.discard(path)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def remove_all() -> None:
    """Removes the temporary files that are open, for a process that ends at once."""
    for path in list(_open):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
