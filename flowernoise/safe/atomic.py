"""Writing files whole or not at all: a temporary file beside the final one, synced, then renamed.

A temporary file's name says which process made it. The process removes it, however it ends; if it could not, the name
shows that the file is abandoned.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from flowernoise.errors import FlowernoiseError
from flowernoise.safe import signals

ABANDONED = 24 * 3600  # seconds after which another machine's temporary file counts as abandoned
TEMPORARY = re.compile(r"\..+\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{12}\.tmp")
_open: set[Path] = set()


def ensure_directory(path: Path) -> None:
    """Makes a directory and its parents, and syncs them to disk.

    Raises:
        FlowernoiseError: it cannot be made, or something else already has its name.
    """
    missing = []
    while not path.is_dir() and path != path.parent:
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        try:
            directory.mkdir(exist_ok=True)
            sync_directory(directory.parent)
        except OSError as error:
            raise FlowernoiseError(f"cannot make the directory {directory}: {reason(error)}") from error


def reason(error: OSError) -> str:
    """The system's message, without the file name that it repeats."""
    return error.strerror or str(error)


@contextlib.contextmanager
def temporary(directory: Path, name: str) -> Iterator[tuple[Path, IO[bytes]]]:
    """A temporary file in ``directory``, removed when the block ends unless it was renamed."""
    ensure_directory(directory)
    path = directory / f".{name}.{owner_mark()}-{secrets.token_hex(6)}.tmp"
    try:
        with removed_at_end(path), path.open("xb") as stream:
            yield path, stream
    except OSError as error:
        raise FlowernoiseError(
            f"cannot write {directory / name}: {reason(error)}; earlier files are unchanged"
        ) from error


def commit(stream: IO[bytes], temporary: Path, final: Path, renamed: Callable[[], None] = lambda: None) -> None:
    """Syncs a temporary file to disk, then gives it its final name and calls ``renamed``.

    Raises:
        StoppedError: a signal arrived; the file may be incomplete, so it is not kept.
    """
    stream.flush()
    os.fsync(stream.fileno())
    signals.raise_if_signalled()
    temporary.replace(final)
    renamed()
    sync_directory(final.parent)


def sync_directory(path: Path) -> None:
    """Syncs a directory's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_output(path: Path, data: bytes) -> bool:
    """Writes a file that a user named, whole or not at all. Follows links; pipes and devices are written to directly.

    A file that already holds these bytes is left alone.

    Returns:
        Whether it was written.

    Raises:
        FlowernoiseError: it cannot be written; an existing file is unchanged.
    """
    try:
        final = path.resolve()
        if final.exists() and not final.is_file():
            if final.is_dir():
                raise FlowernoiseError(f"cannot write {path}: it is a directory; name a file in it")
            final.write_bytes(data)
            return True
        if final.exists() and final.stat().st_size == len(data) and final.read_bytes() == data:
            return False
    except OSError as error:
        raise FlowernoiseError(f"cannot write {path}: {reason(error)}") from error
    with temporary(final.parent, final.name) as (unfinished, stream):
        stream.write(data)
        commit(stream, unfinished, final)
    return True


# Temporary files: our own, removed however the process ends, and those that other processes left behind


def owner_mark() -> str:
    """The part of a temporary file's name that identifies its owner: machine and process.

    >>> bool(TEMPORARY.fullmatch(f".dataset.json.{owner_mark()}-0123456789ab.tmp"))
    True
    """
    return f"{_machine()}-{os.getpid()}"


@contextlib.contextmanager
def removed_at_end(path: Path) -> Iterator[None]:
    """Removes a temporary file when the block ends, unless it was renamed."""
    _open.add(path)
    try:
        yield
    finally:
        _open.discard(path)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def remove_temporaries() -> None:
    """Removes this process's temporary files, just before it is ended at once."""
    for path in list(_open):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def is_abandoned(path: Path) -> bool:
    """Whether a file is a temporary one whose process has exited.

    On this machine, the process can be looked up. If the file comes from another machine, or from before this one's
    last start, it counts as abandoned after a day without a change.
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
    """Identifies this machine, its last start, and the process namespace that we are in."""
    facts = [platform.node()]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            path = Path(source)
            facts.append(str(path.readlink()) if path.is_symlink() else path.read_text())
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]
