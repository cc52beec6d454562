"""Writing files whole or not at all: a temporary file beside the final one, synced, then renamed.

A temporary file names the process that makes it: it goes with that process however it ends, or is told from those in
use afterwards.
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

ABANDONED = 24 * 3600  # seconds after which a temporary file of another machine counts as left behind
TEMPORARY = re.compile(r"\..+\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{12}\.tmp")
_open: set[Path] = set()


def ensure_directory(path: Path) -> None:
    """Makes a directory and its parents, and has them reach the disk.

    Raises:
        FlowernoiseError: it cannot be made, or something else has its name.
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
    """What the system says, without the file name it repeats."""
    return error.strerror or str(error)


@contextlib.contextmanager
def temporary(directory: Path, name: str) -> Iterator[tuple[Path, IO[bytes]]]:
    """A temporary file in ``directory``, gone when the block ends unless it was renamed."""
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
    """Has a temporary file reach the disk and gives it its name; ``renamed`` is called as soon as it has that.

    Raises:
        StoppedError: a signal has come; what its interruption may have spoilt is not kept.
    """
    stream.flush()
    os.fsync(stream.fileno())
    signals.raise_if_signalled()
    temporary.replace(final)
    renamed()
    sync_directory(final.parent)


def sync_directory(path: Path) -> None:
    """Has the names in a directory reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_output(path: Path, data: bytes) -> bool:
    """Writes a file that a user named: whole, unless it is a pipe or a device, and through links.

    A file that holds just that is left alone.

    Returns:
        Whether it was written.

    Raises:
        FlowernoiseError: it cannot be written; what was there is unchanged.
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


# Temporary files: those of this process, gone with it however it ends, and those that others have left behind


def owner_mark() -> str:
    """What a temporary file's name says of its owner: machine and process.

    >>> bool(TEMPORARY.fullmatch(f".dataset.json.{owner_mark()}-0123456789ab.tmp"))
    True
    """
    return f"{_machine()}-{os.getpid()}"


@contextlib.contextmanager
def removed_at_end(path: Path) -> Iterator[None]:
    """Removes a temporary file when the block ends; what was renamed is no longer there."""
    _open.add(path)
    try:
        yield
    finally:
        _open.discard(path)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def remove_temporaries() -> None:
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
