"""Temporary files: those of this process, gone with it however it ends, and those that others have left behind."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import time
from collections.abc import Iterator
from pathlib import Path

ABANDONED = 24 * 3600  # seconds after which a temporary file of another machine counts as left behind
TEMPORARY = re.compile(r"\..+\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{12}\.tmp")
_open: set[Path] = set()


def mark() -> str:
    """What a temporary file's name says of its owner: machine and process.

    >>> bool(TEMPORARY.fullmatch(f".dataset.json.{mark()}-0123456789ab.tmp"))
    True
    """
    return f"{_machine()}-{os.getpid()}"


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


def is_abandoned(path: Path) -> bool:
    """Whether a file is a temporary one whose process is gone.

    A process of this machine can be asked for; of another machine, or of before this machine's last start, a file that
    was not touched for a day counts as left behind.
    """
    name = TEMPORARY.fullmatch(path.name)
    if name is None:
        return False
    if name["machine"] == _machine():
        return not _is_alive(int(name["process"]))
    try:
        return time.time() - path.lstat().st_mtime > ABANDONED
    except OSError:
        return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


@functools.cache
def _machine() -> str:
    """This machine since its last start, and of its process numbers those that this process can see."""
    facts = [platform.node()]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            path = Path(source)
            facts.append(str(path.readlink()) if path.is_symlink() else path.read_text())
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]
