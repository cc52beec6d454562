"""Writing files whole or not at all: a temporary file beside the final one, synced, then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from flowernoise import litter, stopping
from flowernoise.errors import FlowernoiseError


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
    path = directory / f".{name}.{litter.mark()}-{secrets.token_hex(6)}.tmp"
    try:
        with litter.kept_clean(path), path.open("xb") as stream:
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
    stopping.heed()
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


def write_output(path: Path, data: bytes) -> None:
    """Writes a file that a user named: whole, unless it is a pipe or a device, and through links.

    Raises:
        FlowernoiseError: it cannot be written; what was there is unchanged.
    """
    try:
        final = path.resolve()
        if final.exists() and not final.is_file():
            if final.is_dir():
                raise FlowernoiseError(f"cannot write {path}: it is a directory; name a file in it")
            final.write_bytes(data)
            return
    except OSError as error:
        raise FlowernoiseError(f"cannot write {path}: {reason(error)}") from error
    with temporary(final.parent, final.name) as (unfinished, stream):
        stream.write(data)
        commit(stream, unfinished, final)
