"""Blobs: named after their contents, never overwritten, and ignored until a record points to them."""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from flowernoise.errors import DamagedFileError, FlowernoiseError
from flowernoise.safe import atomic
from flowernoise.store.files.plain import digest, digest_stream, opened, remove

_made: contextvars.ContextVar[list[Path] | None] = contextvars.ContextVar(
    "blobs of a record in the making", default=None
)


class FileRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Points to a blob beside the record: its name, SHA-256 and size in bytes."""

    name: str
    sha256: str
    size: int


NOT_WRITTEN = FileRef("", "", 0)


def blob_name(stem: str, sha256: str, suffix: str) -> str:
    """Name of a blob: ``stem-<first 16 digits of its SHA-256>.suffix``."""
    return f"{stem}-{sha256[:16]}{suffix}"


def write_blob(directory: Path, stem: str, suffix: str, write: Callable[[IO[bytes]], object]) -> FileRef:
    """Writes a blob by streaming and returns what a record needs to point to it.

    Raises:
        FlowernoiseError: it cannot be written, for example because the disk is full; nothing is left behind.
    """
    with atomic.temporary(directory, stem + suffix) as (temporary, stream):
        write(stream)
        stream.flush()
        with temporary.open("rb") as written:
            sha256, size = digest_stream(written), temporary.stat().st_size
        final = directory / blob_name(stem, sha256, suffix)
        is_new = not final.exists()
        atomic.commit(stream, temporary, final, renamed=lambda: _note_blob(final) if is_new else None)
    return FileRef(final.name, sha256, size)


def _note_blob(path: Path) -> None:
    """Remembers a new blob, to remove it again if its record cannot be written."""
    if (made := _made.get()) is not None:
        made.append(path)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Writes blobs together with the record that names them: if that fails, new blobs are removed again."""
    made: list[Path] = []
    token = _made.set(made)
    try:
        yield
    except Exception:  # not if a signal ends us: the record may already exist
        for path in made:
            remove(path)
        raise
    finally:
        _made.reset(token)


def forget_made() -> None:
    """The record now names its blobs, so they must stay."""
    if (made := _made.get()) is not None:
        made.clear()


def read_blob(directory: Path, ref: FileRef) -> bytes:
    """The bytes of a blob, checked against the record that points to it.

    Raises:
        DamagedFileError: it is missing, not a regular file, or has another size or SHA-256.
    """
    path = checked_path(directory, ref)
    with opened(path) as stream:
        _check_size(stream, path, ref)
        if digest_stream(stream) != ref.sha256:
            raise _other_digest(path)
        stream.seek(0)
        data = stream.read()
    if digest(data) != ref.sha256:
        raise _other_digest(path)
    return data


def check_blob(directory: Path, ref: FileRef) -> Path:
    """Path of a blob, after checking its content by streaming; for files too large for memory.

    Raises:
        DamagedFileError: it is missing, not a regular file, or has another size or SHA-256.
    """
    path = checked_path(directory, ref)
    with opened(path) as stream:
        _check_size(stream, path, ref)
        if digest_stream(stream) != ref.sha256:
            raise _other_digest(path)
    return path


@contextlib.contextmanager
def open_blob(directory: Path, ref: FileRef) -> Iterator[IO[bytes]]:
    """Opens a blob for reading; only its size is checked.

    Raises:
        DamagedFileError: it is missing, not a regular file, or of another size.
    """
    path = checked_path(directory, ref)
    with opened(path) as stream:
        _check_size(stream, path, ref)
        yield stream


def find_blob(directory: Path, stem: str, suffix: str) -> FileRef | None:
    """An intact blob that a record does not point to yet: one whose name fits its content."""
    for path in sorted(directory.glob(f"{stem}-*{suffix}")):
        with contextlib.suppress(FlowernoiseError), opened(path) as stream:
            ref = FileRef(path.name, digest_stream(stream), os.fstat(stream.fileno()).st_size)
            if blob_name(stem, ref.sha256, suffix) == path.name:
                return ref
    return None


def checked_path(directory: Path, ref: FileRef) -> Path:
    """Path of a blob, if its name is a plain file name.

    Raises:
        DamagedFileError: the name leads elsewhere.
    """
    if Path(ref.name).name != ref.name or ref.name in ("", ".", "..") or not ref.name.isprintable():
        raise DamagedFileError(f"{directory}: a record points to {ref.name!r}, which is not a file name")
    return directory / ref.name


def _check_size(stream: IO[bytes], path: Path, ref: FileRef) -> None:
    size = os.fstat(stream.fileno()).st_size
    if size != ref.size:
        raise DamagedFileError(f"{path} is damaged: it holds {size:,} bytes, not the recorded {ref.size:,}")


def _other_digest(path: Path) -> DamagedFileError:
    return DamagedFileError(f"{path} is damaged: its SHA-256 is not the recorded one")
