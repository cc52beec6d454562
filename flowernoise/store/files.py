"""Files that are written whole or not at all, and checked before they are opened.

Two forms. A *record* is a small JSON file in an envelope with its kind, schema version and the SHA-256 of its body. A
*blob* (arrays in HDF5, photos in TAR, an index in CSV) carries the start of its SHA-256 in its name, is never
overwritten, and counts only once a record points to it: so a crash leaves the old state or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec
import numpy as np

from flowernoise.errors import DamagedFileError, FlowernoiseError

SCHEMA = 1
_CHUNK = 1 << 20
Record = TypeVar("Record")


class FileRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Points to a blob beside the record: its name, SHA-256 and size in bytes."""

    name: str
    sha256: str
    size: int


NOT_WRITTEN = FileRef("", "", 0)


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    kind: str
    sha256: str
    body: msgspec.Raw


def digest(data: bytes) -> str:
    """SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_of(plain: Any) -> str:
    """SHA-256 of plain data, dictionaries in the order of their keys: equal data, equal digest."""
    return digest(msgspec.json.encode(plain, order="deterministic"))


def ensure_directory(path: Path) -> None:
    """Makes a directory and its parents.

    Raises:
        FlowernoiseError: it cannot be made, or something else has its name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlowernoiseError(f"cannot make the directory {path}: {reason(error)}") from error


def reason(error: OSError) -> str:
    """What the system says, without the file name it repeats."""
    return error.strerror or str(error)


@contextlib.contextmanager
def _temporary(directory: Path, name: str) -> Iterator[tuple[Path, IO[bytes]]]:
    """A temporary file in ``directory``, gone when the block ends unless it was renamed."""
    ensure_directory(directory)
    path = directory / f".{name}.{secrets.token_hex(6)}.tmp"
    try:
        with path.open("xb") as stream:
            yield path, stream
    except OSError as error:
        raise FlowernoiseError(
            f"cannot write {directory / name}: {reason(error)}; earlier files are unchanged"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _commit(stream: IO[bytes], temporary: Path, final: Path) -> None:
    stream.flush()
    os.fsync(stream.fileno())
    temporary.replace(final)
    _sync_directory(final.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_record(path: Path, kind: str, body: Any) -> None:
    """Writes ``body`` (a msgspec structure or plain data) as a record."""
    encoded = msgspec.json.format(msgspec.json.encode(body), indent=1)
    envelope = (
        f'{{"schema": {SCHEMA}, "kind": "{kind}", "sha256": "{digest(encoded)}",\n"body": '.encode() + encoded + b"}\n"
    )
    with _temporary(path.parent, path.name) as (temporary, stream):
        stream.write(envelope)
        _commit(stream, temporary, path)


def read_record(path: Path, kind: str, body: type[Record]) -> Record:
    """Reads a record that :func:`write_record` wrote.

    Raises:
        DamagedFileError: another schema or kind, a digest that does not fit, fields that are not as declared.
    """
    envelope = _checked_envelope(path, kind)
    try:
        return msgspec.json.decode(envelope.body, type=body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DamagedFileError(f"{path} is not as declared: {error}") from error


def digest_of_record(path: Path, kind: str) -> str:
    """SHA-256 of a record's body, checked, for those who need not know what it says.

    Raises:
        DamagedFileError: another schema or kind, or a digest that does not fit.
    """
    return _checked_envelope(path, kind).sha256


def _checked_envelope(path: Path, kind: str) -> _Envelope:
    data = _read(path)
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} is damaged: {error}") from error
    if envelope.schema != SCHEMA:
        raise DamagedFileError(
            f"{path} has schema {envelope.schema}, this flowernoise reads {SCHEMA}; use the version that wrote it"
        )
    if envelope.kind != kind:
        raise DamagedFileError(f"{path} is a record of kind {envelope.kind!r}, not {kind!r}")
    if digest(bytes(envelope.body)) != envelope.sha256:
        raise DamagedFileError(f"{path} is damaged: its SHA-256 is not the recorded one")
    return envelope


def write_plain(path: Path, data: bytes) -> bool:
    """Writes a file that no record names, such as a picture, unless it holds just that; tells whether it was written.

    Raises:
        FlowernoiseError: it cannot be written; what was there is unchanged.
    """
    with contextlib.suppress(OSError):
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return False
    with _temporary(path.parent, path.name) as (temporary, stream):
        stream.write(data)
        _commit(stream, temporary, path)
    return True


def blob_name(stem: str, sha256: str, suffix: str) -> str:
    """Name of a blob: ``stem-<first 16 digits of its SHA-256>.suffix``."""
    return f"{stem}-{sha256[:16]}{suffix}"


def write_blob(directory: Path, stem: str, suffix: str, write: Callable[[IO[bytes]], object]) -> FileRef:
    """Writes a blob by streaming and returns what a record needs to point to it.

    Raises:
        FlowernoiseError: the system refuses, for example because the disk is full; nothing is left behind.
    """
    with _temporary(directory, stem + suffix) as (temporary, stream):
        write(stream)
        stream.flush()
        sha256, size = _digest_file(temporary), temporary.stat().st_size
        name = blob_name(stem, sha256, suffix)
        _commit(stream, temporary, directory / name)
    return FileRef(name, sha256, size)


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
        DamagedFileError: missing, of another size, or with another SHA-256.
    """
    path = checked_path(directory, ref)
    data = _read(path)
    if len(data) != ref.size or digest(data) != ref.sha256:
        raise DamagedFileError(f"{path} is damaged: its SHA-256 is not the recorded one")
    return data


def check_blob(directory: Path, ref: FileRef) -> Path:
    """Path of a blob whose content was checked by streaming, for files too large for memory.

    Raises:
        DamagedFileError: missing, or with another SHA-256.
    """
    path = checked_path(directory, ref)
    if _digest_file(path) != ref.sha256:
        raise DamagedFileError(f"{path} is damaged: its SHA-256 is not the recorded one")
    return path


def checked_path(directory: Path, ref: FileRef) -> Path:
    """Path of a blob, if its name is a plain file name.

    Raises:
        DamagedFileError: the name leads elsewhere.
    """
    if Path(ref.name).name != ref.name or ref.name in ("", ".", "..") or "\0" in ref.name:
        raise DamagedFileError(f"{directory}: a record points to {ref.name!r}, which is not a file name")
    return directory / ref.name


def read_arrays(directory: Path, ref: FileRef, names: Collection[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Reads the arrays ``names`` of an HDF5 blob, after checking the whole file's SHA-256.

    Raises:
        DamagedFileError: the file is not the recorded one, or does not hold exactly the declared plain arrays.
    """
    return arrays_of(read_blob(directory, ref), names, str(directory / ref.name))


def arrays_of(data: bytes, names: Collection[str], where: str) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays ``names`` of an HDF5 file held in memory; links, foreign storage and other names are refused.

    Raises:
        DamagedFileError: as above; ``where`` names the file in the message.
    """
    import h5py

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            if sorted(file.keys()) != sorted(names):
                raise DamagedFileError(f"{where} holds {sorted(file.keys())}, not {sorted(names)}")
            return {name: _plain_array(file, name, where, len(data)) for name in names}
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        if isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError(f"{where} cannot be read as HDF5: {error}") from error


def _plain_array(file: Any, name: str, where: str, most: int) -> np.ndarray[Any, Any]:
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise DamagedFileError(f"{where}: {name} is a link, not an array")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual or dataset.dtype.hasobject:
        raise DamagedFileError(f"{where}: {name} is not a plain array")
    if dataset.nbytes > most:
        raise DamagedFileError(f"{where}: {name} claims {dataset.nbytes:,} bytes, more than the whole file holds")
    array: np.ndarray[Any, Any] = dataset[()]
    return array


def set_aside(path: Path) -> None:
    """Renames a damaged file so that nothing reads it any more and a person can still look at it."""
    with contextlib.suppress(OSError):
        path.replace(path.with_name(path.name + ".damaged"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DamagedFileError(f"{path} is missing") from error
    except OSError as error:
        raise FlowernoiseError(f"cannot read {path}: {reason(error)}") from error


def _digest_file(path: Path) -> str:
    hasher = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                hasher.update(chunk)
    except FileNotFoundError as error:
        raise DamagedFileError(f"{path} is missing") from error
    except OSError as error:
        raise FlowernoiseError(f"cannot read {path}: {reason(error)}") from error
    return hasher.hexdigest()
