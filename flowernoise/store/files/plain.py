"""Files without a record; also opening, digests and quarantine for all files."""

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
QUARANTINED = ".damaged"  # suffix of files that a person may look at but the program no longer reads


def digest(data: bytes) -> str:
    """SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_of(plain: Any) -> str:
    """SHA-256 of plain data, with dictionaries sorted by key: equal data have equal digests."""
    return digest(msgspec.json.encode(plain, order="deterministic"))


def digest_stream(stream: IO[bytes]) -> str:
    """SHA-256 of the rest of an open regular file."""
    return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]  # a regular open file


def remove(path: Path) -> None:
    """Removes a file if it exists and the system allows it."""
    with contextlib.suppress(OSError):
        path.unlink()


def write_plain(path: Path, data: bytes) -> bool:
    """Writes a file without a record, such as a picture, unless it already holds these bytes; returns whether it wrote.

    Raises:
        FlowernoiseError: it cannot be written; an existing file is unchanged.
    """
    with contextlib.suppress(FlowernoiseError), opened(path) as stream:
        if os.fstat(stream.fileno()).st_size == len(data) and stream.read() == data:
            return False
    with atomic.temporary(path.parent, path.name) as (temporary, stream):
        stream.write(data)
        atomic.commit(stream, temporary, path)
    return True


def read_plain(path: Path, most: int = MAX_PLAIN) -> bytes:
    """The bytes of a file without a record.

    Raises:
        DamagedFileError: it is missing, not a regular file, or larger than ``most`` bytes.
        FlowernoiseError: it cannot be read.
    """
    with opened(path) as stream:
        if os.fstat(stream.fileno()).st_size > most:
            raise DamagedFileError(f"{path} is larger than {most:,} bytes")
        return stream.read(most)


def quarantine(path: Path) -> None:
    """Renames a damaged file, so that the program no longer reads it but a person still can.

    Raises:
        StoppedError: a signal arrived, which may be the only thing wrong.
    """
    signals.raise_if_signalled()
    with contextlib.suppress(OSError):
        path.replace(path.with_name(path.name + QUARANTINED))
        atomic.sync_directory(path.parent)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens a regular file for reading; never a link, and never a pipe or a device, which could make us wait for ever.

    Raises:
        DamagedFileError: it is missing or not a regular file.
        FlowernoiseError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise DamagedFileError(f"{path} is missing") from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # ENXIO: a socket
            raise DamagedFileError(f"{path} is a link or a socket, not a regular file") from error
        raise FlowernoiseError(f"cannot read {path}: {atomic.reason(error)}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DamagedFileError(f"{path} is not a regular file")
    with os.fdopen(descriptor, "rb") as stream:
        try:
            yield stream
        except OSError as error:
            raise FlowernoiseError(f"cannot read {path}: {atomic.reason(error)}") from error
