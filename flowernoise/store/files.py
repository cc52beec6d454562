"""Files that are written whole or not at all, and checked before they are opened.

Two forms. A *record* is a small JSON file in an envelope with its kind, schema version and the SHA-256 of its body. A
*blob* (arrays in HDF5, photos in TAR, an index in CSV) carries the start of its SHA-256 in its name, is never
overwritten, and counts only once a record points to it: so a crash leaves the old state or the new one.

Whoever made a directory may mean harm, so only regular files are opened, never by way of a link, and nothing is taken
into memory before its size and its digest are known to be right. All writing in an artifacts directory is done here.
"""

from __future__ import annotations

import contextlib
import contextvars
import errno
import hashlib
import io
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from flowernoise.errors import DamagedFileError, FlowernoiseError, OtherVersionError
from flowernoise.safe import atomic, hdf5, signals

SCHEMA = 3  # raise it with every change to a record, or to a method's formula, defaults or selection rule
QUARANTINED = ".damaged"  # suffix of what is kept to be looked at and read no more
MAX_RECORD = 128 * 2**20  # bytes, some 400,000 runs in an evaluation
_HEAD = re.compile(rb'\{"schema": (\d{1,9}), "kind": "([a-z]{1,32})", "sha256": "([0-9a-f]{64})",\n"body": ')
_MAX_HEAD = 256  # bytes
_TAIL = b"}\n"
_CONTROL = re.compile(rb'(?<!\\)(?:\\\\)*\\[^"\\]')  # an escape that stands for a control character
_made: contextvars.ContextVar[list[Path] | None] = contextvars.ContextVar(
    "blobs of a record in the making", default=None
)
Record = TypeVar("Record")


class FileRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Points to a blob beside the record: its name, SHA-256 and size in bytes."""

    name: str
    sha256: str
    size: int


NOT_WRITTEN = FileRef("", "", 0)


class Declared(NamedTuple):
    """What a record says of an array: the kinds of its type, as NumPy's letters, and its shape; None is any length."""

    kinds: str
    shape: tuple[int | None, ...]


class _Envelope(NamedTuple):
    schema: int
    kind: str
    sha256: str
    body: bytes


def digest(data: bytes) -> str:
    """SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_of(plain: Any) -> str:
    """SHA-256 of plain data, dictionaries in the order of their keys: equal data, equal digest."""
    return digest(msgspec.json.encode(plain, order="deterministic"))


def remove(path: Path) -> None:
    """Removes a file if it is there and the system lets us."""
    with contextlib.suppress(OSError):
        path.unlink()


def write_record(path: Path, kind: str, body: Any) -> None:
    """Writes ``body`` (a msgspec structure or plain data) as a record.

    Raises:
        FlowernoiseError: the system refuses, or the record would be one that :func:`read_record` refuses.
    """
    encoded = _encoded(body)
    if _has_control_characters(encoded):
        raise FlowernoiseError(f"cannot write {path}: a text in it holds control characters")
    data = (
        f'{{"schema": {SCHEMA}, "kind": "{kind}", "sha256": "{digest(encoded)}",\n"body": '.encode() + encoded + _TAIL
    )
    if len(data) > MAX_RECORD:
        raise FlowernoiseError(
            f"cannot write {path}: {len(data):,} bytes are over {MAX_RECORD:,}; use several directories"
        )
    with atomic.temporary(path.parent, path.name) as (temporary, stream):
        stream.write(data)
        atomic.commit(stream, temporary, path, renamed=_keep_blobs)


def _keep_blobs() -> None:
    """What was made for a record is named by it now."""
    if (made := _made.get()) is not None:
        made.clear()


def read_record(path: Path, kind: str, body: type[Record]) -> Record:
    """Reads a record that :func:`write_record` wrote.

    Raises:
        OtherVersionError: another schema.
        DamagedFileError: another kind, a digest that does not fit, fields that are not as declared, or a body that is
            not as this program writes it: keys twice, numbers that are none, control characters.
    """
    found = _decoded(path, kind, body)
    if _encoded(found[1]) != found[0].body or _has_control_characters(found[0].body):
        raise DamagedFileError(f"{path} is not as flowernoise writes it: keys twice or out of order, or odd characters")
    return found[1]


def read_fields(path: Path, kind: str, body: type[Record]) -> Record:
    """Reads those fields of a record that ``body`` has, and does not look at the rest.

    Raises:
        OtherVersionError, DamagedFileError: as :func:`read_record` does.
    """
    return _decoded(path, kind, body)[1]


def digest_of_record(path: Path, kind: str) -> str:
    """SHA-256 of a record's body, checked, for those who need not know what it says.

    Raises:
        OtherVersionError: another schema.
        DamagedFileError: another kind, or a digest that does not fit.
    """
    return _checked_envelope(path, kind).sha256


def _encoded(body: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(body), indent=1)


def _has_control_characters(encoded: bytes) -> bool:
    """Whether a text in JSON has characters that would do something to a terminal."""
    return bool(_CONTROL.search(encoded)) or not encoded.decode().replace("\n", "").isprintable()


def _decoded(path: Path, kind: str, body: type[Record]) -> tuple[_Envelope, Record]:
    envelope = _checked_envelope(path, kind)
    try:
        return envelope, msgspec.json.decode(envelope.body, type=body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} is not as declared: {error}") from error


def _checked_envelope(path: Path, kind: str) -> _Envelope:
    with _opened(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        head = _HEAD.match(stream.read(_MAX_HEAD))
        if head is None:
            raise DamagedFileError(f"{path} is damaged: it does not begin as a record")
        schema, its_kind, sha256 = int(head[1]), head[2].decode(), head[3].decode()
        if schema != SCHEMA:
            raise OtherVersionError(
                f"{path} has schema {schema}, this flowernoise reads {SCHEMA}; use the version that wrote it, or "
                "another artifacts directory"
            )
        if its_kind != kind:
            raise DamagedFileError(f"{path} is a record of kind {its_kind!r}, not {kind!r}")
        if size > MAX_RECORD:
            raise DamagedFileError(f"{path} is damaged: {size:,} bytes are over {MAX_RECORD:,}")
        stream.seek(head.end())
        body = stream.read(MAX_RECORD)
    if not body.endswith(_TAIL) or digest(body[: -len(_TAIL)]) != sha256:
        raise DamagedFileError(f"{path} is damaged: its SHA-256 is not the recorded one")
    return _Envelope(schema, its_kind, sha256, body[: -len(_TAIL)])


def write_plain(path: Path, data: bytes) -> bool:
    """Writes a file that no record names, such as a picture, unless it holds just that; tells whether it was written.

    Raises:
        FlowernoiseError: it cannot be written; what was there is unchanged.
    """
    with contextlib.suppress(FlowernoiseError), _opened(path) as stream:
        if os.fstat(stream.fileno()).st_size == len(data) and stream.read() == data:
            return False
    with atomic.temporary(path.parent, path.name) as (temporary, stream):
        stream.write(data)
        atomic.commit(stream, temporary, path)
    return True


def read_plain(path: Path, most: int = MAX_RECORD) -> bytes:
    """A file that no record names.

    Raises:
        DamagedFileError: missing, no regular file, or larger than ``most`` bytes.
        FlowernoiseError: it cannot be read.
    """
    with _opened(path) as stream:
        if os.fstat(stream.fileno()).st_size > most:
            raise DamagedFileError(f"{path} is larger than {most:,} bytes")
        return stream.read(most)


def blob_name(stem: str, sha256: str, suffix: str) -> str:
    """Name of a blob: ``stem-<first 16 digits of its SHA-256>.suffix``."""
    return f"{stem}-{sha256[:16]}{suffix}"


def write_blob(directory: Path, stem: str, suffix: str, write: Callable[[IO[bytes]], object]) -> FileRef:
    """Writes a blob by streaming and returns what a record needs to point to it.

    Raises:
        FlowernoiseError: the system refuses, for example because the disk is full; nothing is left behind.
    """
    with atomic.temporary(directory, stem + suffix) as (temporary, stream):
        write(stream)
        stream.flush()
        with temporary.open("rb") as written:
            sha256, size = _digest_stream(written), temporary.stat().st_size
        final = directory / blob_name(stem, sha256, suffix)
        is_new = not final.exists()
        atomic.commit(stream, temporary, final, renamed=lambda: _note_blob(final) if is_new else None)
    return FileRef(final.name, sha256, size)


def _note_blob(path: Path) -> None:
    """A blob was made, which its record must name or nobody will; what fails from now on takes it along."""
    if (made := _made.get()) is not None:
        made.append(path)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Blobs and the record that names them: if the record cannot be written, new blobs are removed again."""
    made: list[Path] = []
    token = _made.set(made)
    try:
        yield
    except Exception:  # and not when a signal ends us, as the record may be there already
        for path in made:
            remove(path)
        raise
    finally:
        _made.reset(token)


def write_arrays(directory: Path, stem: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> FileRef:
    """Writes arrays as one HDF5 blob, built in memory so that a full disk is an error and not a crash."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return write_blob(directory, stem, ".h5", lambda stream: stream.write(buffer.getbuffer()))


def read_blob(directory: Path, ref: FileRef) -> bytes:
    """The bytes of a blob, checked against the record that points to it.

    Raises:
        DamagedFileError: missing, no regular file, of another size, or with another SHA-256.
    """
    path = checked_path(directory, ref)
    with _opened(path) as stream:
        _check_size(stream, path, ref)
        if _digest_stream(stream) != ref.sha256:
            raise _other_digest(path)
        stream.seek(0)
        data = stream.read()
    if digest(data) != ref.sha256:
        raise _other_digest(path)
    return data


def check_blob(directory: Path, ref: FileRef) -> Path:
    """Path of a blob whose content was checked by streaming, for files too large for memory.

    Raises:
        DamagedFileError: missing, no regular file, of another size, or with another SHA-256.
    """
    path = checked_path(directory, ref)
    with _opened(path) as stream:
        _check_size(stream, path, ref)
        if _digest_stream(stream) != ref.sha256:
            raise _other_digest(path)
    return path


@contextlib.contextmanager
def open_blob(directory: Path, ref: FileRef) -> Iterator[IO[bytes]]:
    """A blob to read from; only its size is checked.

    Raises:
        DamagedFileError: missing, no regular file, or of another size.
    """
    path = checked_path(directory, ref)
    with _opened(path) as stream:
        _check_size(stream, path, ref)
        yield stream


def find_blob(directory: Path, stem: str, suffix: str) -> FileRef | None:
    """An intact blob that no record points to yet: one whose name fits its content."""
    for path in sorted(directory.glob(f"{stem}-*{suffix}")):
        with contextlib.suppress(FlowernoiseError), _opened(path) as stream:
            ref = FileRef(path.name, _digest_stream(stream), os.fstat(stream.fileno()).st_size)
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


def read_arrays(directory: Path, ref: FileRef, declared: Mapping[str, Declared]) -> dict[str, np.ndarray[Any, Any]]:
    """Reads the arrays of an HDF5 blob, after checking the whole file's SHA-256.

    Raises:
        DamagedFileError: the file is not the recorded one, or does not hold exactly the declared plain arrays.
    """
    return arrays_of(read_blob(directory, ref), declared, str(directory / ref.name))


def arrays_of(data: bytes, declared: Mapping[str, Declared], where: str) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an HDF5 file held in memory; links, foreign storage, other names, types and shapes are refused.

    Raises:
        DamagedFileError: as above; ``where`` names the file in the message.
    """
    import h5py

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            if sorted(file.keys()) != sorted(declared):
                raise DamagedFileError(f"{where} holds {sorted(file.keys())}, not {sorted(declared)}")
            return {name: _plain_array(file, name, what, where, len(data)) for name, what in declared.items()}
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError) as error:
        if isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError(f"{where} cannot be read as HDF5: {error}") from error


def _plain_array(file: Any, name: str, declared: Declared, where: str, most: int) -> np.ndarray[Any, Any]:
    import h5py

    if file.get(name, getclass=True, getlink=True) is not h5py.HardLink:
        raise DamagedFileError(f"{where}: {name} is a link, not an array")
    dataset = file[name]
    try:
        hdf5.refuse_unless_plain(dataset, most)
    except ValueError as error:
        raise DamagedFileError(f"{where}: {error}") from error
    if dataset.dtype.kind not in declared.kinds or not _fits(dataset.shape, declared.shape):
        raise DamagedFileError(
            f"{where}: {name} is {dataset.dtype} {list(dataset.shape)}, which is not what its record says"
        )
    array: np.ndarray[Any, Any] = dataset[()]
    return array


def _fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    return len(shape) == len(declared) and all(b in (None, a) for a, b in zip(shape, declared, strict=True))


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
def _opened(path: Path) -> Iterator[IO[bytes]]:
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


def _check_size(stream: IO[bytes], path: Path, ref: FileRef) -> None:
    size = os.fstat(stream.fileno()).st_size
    if size != ref.size:
        raise DamagedFileError(f"{path} is damaged: it holds {size:,} bytes, not the recorded {ref.size:,}")


def _other_digest(path: Path) -> DamagedFileError:
    return DamagedFileError(f"{path} is damaged: its SHA-256 is not the recorded one")


def _digest_stream(stream: IO[bytes]) -> str:
    return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]  # a regular file, opened to read
