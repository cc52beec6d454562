"""Files that no record names; opening, digests and setting aside, for all files."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from flowernoise.errors import DamagedFileError, FlowernoiseError
from flowernoise.safe import atomic, signals

MAX_PLAIN = 128 * 2**20  # bytes
QUARANTINED = ".damaged"  # suffix of what is kept to be looked at and read no more


def digest(data: bytes) -> str:
    """SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_of(plain: Any) -> str:
    """SHA-256 of plain data, dictionaries in the order of their keys: equal data, equal digest."""
    return digest(msgspec.json.encode(plain, order="deterministic"))


def digest_stream(stream: IO[bytes]) -> str:
    """SHA-256 of what is left to read of a regular file."""
    return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]  # a regular file, opened to read


def remove(path: Path) -> None:
    """Removes a file if it is there and the system lets us."""
    with contextlib.suppress(OSError):
        path.unlink()


def write_plain(path: Path, data: bytes) -> bool:
    """Writes a file that no record names, such as a picture, unless it holds just that; tells whether it was written.

    Raises:
        FlowernoiseError: it cannot be written; what was there is unchanged.
    """
    with contextlib.suppress(FlowernoiseError), opened(path) as stream:
        if os.fstat(stream.fileno()).st_size == len(data) and stream.read() == data:
            return False
    with atomic.temporary(path.parent, path.name) as (temporary, stream):
        stream.write(data)
        atomic.commit(stream, temporary, path)
    return True


def read_plain(path: Path, most: int = MAX_PLAIN) -> bytes:
    """A file that no record names.

    Raises:
        DamagedFileError: missing, no regular file, or larger than ``most`` bytes.
        FlowernoiseError: it cannot be read.
    """
    with opened(path) as stream:
        if os.fstat(stream.fileno()).st_size > most:
            raise DamagedFileError(f"{path} is larger than {most:,} bytes")
        return stream.read(most)


def quarantine(path: Path) -> None:
    """Renames a damaged file so that nothing reads it any more and a person can still look at it.

    Raises:
        StoppedError: a signal has come, which may be all that is wrong.
    """
    signals.raise_if_signalled()
    with contextlib.suppress(OSError):
        path.replace(path.with_name(path.name + QUARANTINED))
        atomic.sync_directory(path.parent)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A regular file to read from; not one behind a link, nor a pipe or a device, which could make us wait for ever.

    Raises:
        DamagedFileError: it is missing, or no regular file.
        FlowernoiseError: the system refuses.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise DamagedFileError(f"{path} is missing") from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # ENXIO: a socket
            raise DamagedFileError(f"{path} is a link or a socket, not a file of its own") from error
        raise FlowernoiseError(f"cannot read {path}: {atomic.reason(error)}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DamagedFileError(f"{path} is not a regular file")
    with os.fdopen(descriptor, "rb") as stream:
        try:
            yield stream
        except OSError as error:
            raise FlowernoiseError(f"cannot read {path}: {atomic.reason(error)}") from error
