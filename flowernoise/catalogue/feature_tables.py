"""Features of photos in files that others made or read: NPY, NPZ, HDF5 and Parquet, told apart by their suffix.

A file holds ``features`` [n, d], and ``id`` or ``path`` [n], which say whose they are; an NPY file holds the features
alone. Nothing is read before its type and its length are known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import mmap
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.catalogue import array_files
from flowernoise.catalogue.feature_files import FEATURES, MAX_BYTES, MAX_DIMENSION, FeatureArray
from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.safe import hdf5

KEYS = ("id", "ids", "path", "paths")  # the first that is there says whose the rows are
_ROWS = 4096  # of a Parquet file, in memory at a time
_SAVE = "save an array of float32 or float64"


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureTable:
    """Rows of features.

    Args:
        keys: the id or path of each row's photo [n]; None where the file does not say.
        features: float32 [n, d], finite.
    """

    keys: tuple[str, ...] | None
    features: FeatureArray


def suffix_of(path: Path) -> str:
    """The suffix of a file of features.

    Raises:
        ValueError: it is not one; worded to follow the path.
    """
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        *others, last = _READERS
        raise ValueError(f"must end in {', '.join(others)} or {last}")
    return suffix


def read(path: Path) -> FeatureTable:
    """Reads a file of features whose suffix :func:`suffix_of` accepts.

    Raises:
        BadRequestError: it is not such a file; something is missing, too large, not a number or not finite.
        FlowernoiseError: it cannot be read, or Parquet cannot be read here.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe could block for ever
            raise BadRequestError(f"{path} is not a regular file")
        keys, array = _READERS[suffix_of(path)](path)
    except OSError as error:
        raise FlowernoiseError(f"cannot read {path}: {error.strerror or error}") from error
    with np.errstate(over="ignore"):
        features: FeatureArray = np.ascontiguousarray(array, dtype=np.float32)
    wrong = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(wrong):
        which = f"row {wrong[0]:,}" if keys is None else f"{keys[wrong[0]][:200]!r}"
        more = "" if len(wrong) == 1 else f", and of {len(wrong) - 1:,} more,"
        raise BadRequestError(f"{path}: {FEATURES} of {which}{more} are not finite in single precision")
    return FeatureTable(keys, features)


def _checked(path: Path, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """Refuses features that are not a table of floats, or too large, before they are read."""
    if dtype.hasobject:
        raise BadRequestError(f"{path}: {FEATURES} is an array of objects, which could run code; {_SAVE}")
    if len(shape) != 2 or not all(shape):
        text = " × ".join(f"{length:,}" for length in shape) or "a single number"
        raise BadRequestError(f"{path}: {FEATURES} must be a table of photos × numbers, not {text}")
    if dtype.kind != "f":
        raise BadRequestError(f"{path}: {FEATURES} must be real numbers (floats), not {dtype}; {_SAVE}")
    if math.prod(shape) * dtype.itemsize > MAX_BYTES or shape[1] > MAX_DIMENSION:
        raise BadRequestError(
            f"{path}: {FEATURES} of {shape[0]:,} × {shape[1]:,} are too large; at most {MAX_BYTES:,} bytes and "
            f"{MAX_DIMENSION:,} numbers per photo are read"
        )


def _key(path: Path, there: Sequence[str]) -> str:
    """The name of what says whose the rows are.

    Raises:
        BadRequestError: nothing does, or there are no features.
    """
    listed = ", ".join(sorted(there)) or "nothing"
    if FEATURES not in there:
        raise BadRequestError(f"{path} has no {FEATURES}; it has {listed}")
    key = next((key for key in KEYS if key in there), None)
    if key is None:
        raise BadRequestError(f"{path} has neither id nor path, so nothing says whose the rows are; it has {listed}")
    return key


# Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

_Read = tuple[tuple[str, ...] | None, np.ndarray[Any, Any]]


def _npy(path: Path) -> _Read:
    try:
        # A map of the file: it takes no memory, and cannot be longer than the file, whatever the header says.
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, SyntaxError, MemoryError, OverflowError) as error:
        if "object" in str(error):
            raise BadRequestError(f"{path} is an array of objects, which could run code; {_SAVE}") from error
        raise BadRequestError(f"{path} is not an NPY file of a plain array: {_first_line(error)}") from error
    _checked(path, array.shape, array.dtype)
    return None, array


def _npz(path: Path) -> _Read:
    there = array_files.headers(path)
    key = _key(path, list(there))
    _checked(path, there[FEATURES].shape, there[FEATURES].dtype)
    keys = array_files.texts(path, key, there[FEATURES].shape[:1])
    return keys, array_files.read(path, FEATURES, MAX_BYTES)


def _hdf5(path: Path) -> _Read:
    import h5py

    with path.open("rb") as stream:
        if not stream.read(1):  # an empty file cannot be mapped
            raise BadRequestError(f"{path} is not an HDF5 file: it is empty")
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            longest = hdf5.longest_text(content)
        with h5py.File(path, "r") as file:
            key = _key(path, list(file))
            item = _own(file, FEATURES)
            if isinstance(item, h5py.Dataset) and item.shape is not None:
                _checked(path, item.shape, item.dtype)
            array = hdf5.plain_array(item, MAX_BYTES)
            return tuple(hdf5.plain_text_array(_own(file, key), array_files.MAX_TEXT, longest, array.shape[:1])), array
    # On a damaged file, h5py raises nearly anything.
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
        if isinstance(error, BadRequestError):
            raise
        way_out = "; save whole arrays, uncompressed" if isinstance(error, ValueError) else ""
        raise BadRequestError(f"{path} is not an HDF5 file of plain arrays: {_first_line(error)}{way_out}") from error


def _own(file: Any, name: str) -> Any:
    """An item that the file itself holds.

    Raises:
        ValueError: it is a link, which may lead to another file.
    """
    import h5py

    if file.get(name, getclass=True, getlink=True) is not h5py.HardLink:
        raise ValueError(f"{name} is a link")
    return file[name]


def _parquet(path: Path) -> _Read:
    arrow, parquet = _pyarrow(path)
    with _reading_parquet(path, arrow), path.open("rb") as stream:
        file = parquet.ParquetFile(stream)
        key = _key(path, file.schema_arrow.names)
        kind = file.schema_arrow.field(FEATURES).type
        lists = arrow.types.is_list(kind) or arrow.types.is_large_list(kind) or arrow.types.is_fixed_size_list(kind)
        if not lists or not arrow.types.is_floating(kind.value_type):
            raise BadRequestError(f"{path}: {FEATURES} must be a column of lists of floats, not {kind}")
        claimed = _claimed(file.metadata) * kind.value_type.bit_width // 8
        if claimed > MAX_BYTES:
            raise BadRequestError(f"{path}: {FEATURES} claims {claimed:,} bytes; at most {MAX_BYTES:,} are read")
        keys: list[str] = []
        parts: list[np.ndarray[Any, Any]] = []
        for batch in file.iter_batches(_ROWS, columns=[key, FEATURES]):
            keys += _texts(batch.column(key), f"{path}: {key}")
            parts.append(_matrix(batch.column(FEATURES), path))
        if len({part.shape[1] for part in parts}) != 1:
            raise _uneven(path) if parts else BadRequestError(f"{path} has no rows")
        array = np.concatenate(parts)
        _checked(path, array.shape, array.dtype)
        return tuple(keys), array


@contextlib.contextmanager
def _reading_parquet(path: Path, arrow: Any) -> Iterator[None]:
    try:
        yield
    except (arrow.ArrowException, OSError, MemoryError) as error:
        raise BadRequestError(f"{path} is not a Parquet file: {_first_line(error)}") from error


def _claimed(metadata: Any) -> int:
    """The number of numbers in the features of a Parquet file, as its header gives it."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    return sum(column.num_values for column in columns if column.path_in_schema.split(".")[0] == FEATURES)


def _texts(column: Any, what: str) -> list[str]:
    texts: list[str] = column.to_pylist()
    if not all(isinstance(text, str) for text in texts):
        raise BadRequestError(f"{what} must be a text in every row")
    return texts


def _matrix(column: Any, path: Path) -> np.ndarray[Any, Any]:
    """A column of lists of one length as an array [row, dimension]."""
    values = column.flatten().to_numpy(zero_copy_only=False)
    lengths = {-1 if length is None else length for length in column.value_lengths().to_pylist()}
    if len(lengths) != 1 or min(lengths) < 1:
        raise _uneven(path)
    return np.asarray(values).reshape(len(column), -1)


def _uneven(path: Path) -> BadRequestError:
    return BadRequestError(f"{path}: {FEATURES} must be lists of the same length in every row")


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise FlowernoiseError(f"{path}: Parquet needs pyarrow: pip install 'flowernoise[parquet]'") from error
    return pyarrow, parquet


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


_READERS: Mapping[str, Callable[[Path], _Read]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".parquet": _parquet,
}


# Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def encoded(path: Path, ids: Sequence[str], paths: Sequence[str], features: FeatureArray) -> bytes:
    """The content of a file that :func:`read` reads back; the same rows give the same bytes.

    Args:
        path: where it will be; only the suffix matters. An NPY file holds the features alone.
        ids: ids of the photos [n].
        paths: their paths in the source [n].
        features: float32 [n, d].

    Raises:
        FlowernoiseError: Parquet cannot be written here.
    """
    buffer, suffix = io.BytesIO(), suffix_of(path)
    if suffix == ".npy":
        np.save(buffer, features, allow_pickle=False)
    elif suffix == ".npz":
        np.savez(buffer, id=np.array(ids), path=np.array(paths), features=features)
    elif suffix == ".parquet":
        arrow, parquet = _pyarrow(path)
        lists = arrow.FixedSizeListArray.from_arrays(arrow.array(features.ravel()), features.shape[1])
        parquet.write_table(arrow.table({"id": list(ids), "path": list(paths), FEATURES: lists}), buffer)
    else:
        import h5py

        with h5py.File(buffer, "w") as file:  # in memory: on a full disk, HDF5 ends the process
            for name, texts in (("id", ids), ("path", paths)):
                stored = [text.encode() for text in texts]
                file.create_dataset(name, data=stored, dtype=h5py.string_dtype("utf-8", max(map(len, stored))))
            file.create_dataset(FEATURES, data=features)
    return buffer.getvalue()
