"""The temporary files that this process is writing, so that one that must end at once leaves none behind."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

_PATIENCE = 0.2  # seconds

_paths: set[Path] = set()
_lock = threading.Lock()


def add(path: Path) -> None:
    """Remembers a temporary file; to be called before it is made."""
    with _lock:
        _paths.add(path)


def discard(path: Path) -> None:
    """Forgets a file that was renamed or removed."""
    _paths.discard(path)


def remove_all() -> None:
    """Removes what is there, and lets no other file be begun: whoever tries waits for the end of the process."""
    _lock.acquire(timeout=_PATIENCE)  # never given back
    for path in tuple(_paths):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
