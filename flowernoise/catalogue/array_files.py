"""Arrays in NPZ files that strangers may have made: only plain arrays, whose headers are checked before their data.

An NPZ file is a ZIP archive of NPY files. A few bytes of it can stand for terabytes, and an array of objects for code.
So nothing is read before its type and its length are known, and never more than the caller allows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from flowernoise.catalogue import given_splits
from flowernoise.catalogue.class_names import numbered
from flowernoise.errors import BadRequestError, FlowernoiseError

MAX_TEXT = 1 << 30  # bytes of labels, splits or names; NumPy takes 4 for a character
_MAX_MEMBERS = 1000
_MAX_HEADER = 10_000  # characters, NumPy's own limit
_SUFFIX = ".npy"
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_WHOLE, _TEXT = "iu", "US"  # kinds of NumPy types
# What zipfile and NumPy's reader of headers raise on damaged files; the latter tries old ones again as Python tokens.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError,
    SyntaxError, tokenize.TokenError, MemoryError,
)  # fmt: skip

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class ArrayHeader:
    """What an array in a file is: its shape, its type, and whether its columns are stored one after another."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool

    def __str__(self) -> str:
        return f"{' × '.join(f'{length:,}' for length in self.shape) or 'a single one'} of type {self.dtype}"

    @property
    def bytes(self) -> int:
        """The length of its data."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class RowLabels:
    """Labels of the rows of a file.

    Args:
        classes: names of the classes.
        labels: the number of each row's class [n].
        splits: each row's split; None if the file gives none.
    """

    classes: tuple[str, ...]
    labels: np.ndarray[tuple[int], np.dtype[np.int64]]
    splits: tuple[str, ...] | None


def headers(path: Path) -> dict[str, ArrayHeader]:
    """The arrays of an NPZ file by name, without their data.

    Raises:
        BadRequestError: it is not an NPZ file, or holds something else than plain arrays.
        FlowernoiseError: it cannot be read.
    """
    with _opened(path) as archive:
        found = {}
        for info in archive.infolist():
            with archive.open(info) as stream:
                found[info.filename.removesuffix(_SUFFIX)] = _header(path, info, stream)
        return found


def read(path: Path, name: str, most_bytes: int) -> Array:
    """An array of an NPZ file, in the byte order of this machine.

    Raises:
        BadRequestError: it is not there, not a plain array, damaged, or longer than ``most_bytes``.
        FlowernoiseError: the file cannot be read.
    """
    with _opened_array(path, name) as (header, stream):
        if header.bytes > most_bytes:
            raise BadRequestError(f"{path}: {name} takes {header.bytes:,} bytes, over {most_bytes:,}")
        flat = np.frombuffer(_exactly(stream, header.bytes), header.dtype)
        array = flat.reshape(header.shape, order="F" if header.by_columns else "C")
        return np.ascontiguousarray(array, header.dtype.newbyteorder("="))


def rows(path: Path, name: str, most_bytes: int) -> Iterator[Array]:
    """The rows of an array of an NPZ file, one after another; only one is in memory.

    Raises:
        BadRequestError: as for :func:`read`, or a row is longer than ``most_bytes``, or columns are stored one after
            another.
        FlowernoiseError: the file cannot be read.
    """
    with _opened_array(path, name) as (header, stream):
        if header.by_columns and len(header.shape) > 1:
            raise BadRequestError(f"{path}: {name} is stored by columns; save np.ascontiguousarray({name})")
        count, *shape = header.shape
        size = math.prod(shape) * header.dtype.itemsize
        if size > most_bytes:
            raise BadRequestError(f"{path}: a row of {name} takes {size:,} bytes, over {most_bytes:,}")
        for _ in range(count):
            row = np.frombuffer(_exactly(stream, size), header.dtype).reshape(shape)
            yield row.astype(header.dtype.newbyteorder("="), copy=False)


def labelling(path: Path, count: int) -> RowLabels:
    """Labels and splits of a file's rows: ``labels`` (numbers or names), and if there, ``class_names`` and ``split``.

    Args:
        path: an NPZ file.
        count: the number of rows.

    Raises:
        BadRequestError: labels are missing, of another number or type, not among the class names, or empty; or a split
            is not one.
        FlowernoiseError: the file cannot be read.
    """
    there = headers(path)
    names = texts(path, "class_names", there["class_names"].shape) if "class_names" in there else None
    kind = _of_rows(path, there, "labels", count).dtype.kind
    if kind in _WHOLE:
        given = read(path, "labels", MAX_TEXT)
        if names is None:
            values, labels = np.unique(given, return_inverse=True)
            classes = tuple(map(str, values.tolist()))
        else:
            outside = given[(given < 0) | (given >= len(names))]
            if len(outside):
                raise BadRequestError(
                    f"{path}: label {outside[0]} is not one of the {len(names)} class_names, 0 to {len(names) - 1}"
                )
            classes, labels = numbered(str(path), names, names)[0], given
    else:
        classes, numbers = numbered(str(path), texts(path, "labels", (count,)), names)
        labels = np.array(numbers)
    splits = None
    if "split" in there:
        _of_rows(path, there, "split", count)
        splits = tuple(given_splits.required(text, str(path)) for text in texts(path, "split", (count,)))
    return RowLabels(classes, labels.astype(np.int64), splits)


def texts(path: Path, name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """An array of texts.

    Raises:
        BadRequestError: it is of another type or shape, or not in UTF-8.
        FlowernoiseError: the file cannot be read.
    """
    array = read(path, name, MAX_TEXT)
    if array.dtype.kind not in _TEXT or array.ndim != 1 or array.shape != shape:
        raise BadRequestError(
            f"{path}: {name} must be one row of texts, not {ArrayHeader(array.shape, array.dtype, False)}"
        )
    try:
        return tuple(text if isinstance(text, str) else text.decode() for text in array.tolist())
    except UnicodeDecodeError as error:
        raise BadRequestError(f"{path}: {name} is not in UTF-8: {error}") from error


def _of_rows(path: Path, there: dict[str, ArrayHeader], name: str, count: int) -> ArrayHeader:
    """The header of an array that has a number or text for each of ``count`` rows."""
    if name not in there:
        raise BadRequestError(f"{path} has no {name}; it has {', '.join(there) or 'nothing'}")
    header = there[name]
    if header.dtype.kind not in _WHOLE + _TEXT:
        raise BadRequestError(f"{path}: {name} must be whole numbers or texts, not {header.dtype}")
    if header.shape != (count,):
        raise BadRequestError(f"{path}: {name} must be one row of {count:,}, not {header}")
    return header


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Opens an NPZ file; whatever is wrong with its bytes while it is open is a bad request."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe could block for ever
            raise BadRequestError(f"{path} is not a regular file")
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) > _MAX_MEMBERS or len(set(names)) < len(names):
                raise BadRequestError(f"{path} holds over {_MAX_MEMBERS:,} arrays, or two of one name")
            yield archive
    except OSError as error:
        raise FlowernoiseError(f"cannot read {path}: {error.strerror or error}") from error
    except _DAMAGE as error:
        raise BadRequestError(f"{path} is not an NPZ file of plain arrays: {error}") from error


@contextlib.contextmanager
def _opened_array(path: Path, name: str) -> Iterator[tuple[ArrayHeader, IO[bytes]]]:
    """The header of an array, and a stream at the start of its data."""
    with _opened(path) as archive:
        if name + _SUFFIX not in archive.namelist():
            there = ", ".join(each.removesuffix(_SUFFIX) for each in archive.namelist())
            raise BadRequestError(f"{path} has no {name}; it has {there or 'nothing'}")
        info = archive.getinfo(name + _SUFFIX)
        with archive.open(info) as stream:
            yield _header(path, info, stream), stream


def _header(path: Path, info: zipfile.ZipInfo, stream: IO[bytes]) -> ArrayHeader:
    """Reads the header of an array, and compares the length that it announces with that of the member."""
    name = info.filename.removesuffix(_SUFFIX)
    version = np.lib.format.read_magic(stream)
    if version not in _READERS:
        raise BadRequestError(f"{path}: {name} has fields or an unknown format; save plain arrays")
    shape, by_columns, dtype = _READERS[version](stream, max_header_size=_MAX_HEADER)
    if dtype.hasobject:
        raise BadRequestError(f"{path}: {name} is an array of objects, which could run code; save numbers or texts")
    header = ArrayHeader(shape, dtype, by_columns)
    if (
        dtype.fields
        or not dtype.itemsize
        or min(shape, default=0) < 0
        or header.bytes != info.file_size - stream.tell()
    ):
        raise BadRequestError(f"{path}: {name} is not a plain array of the length that its header gives")
    return header


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("it ends too early")
    return data
