"""Blobs of plain arrays, in HDF5."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flowernoise.errors import DamagedFileError
from flowernoise.safe import hdf5
from flowernoise.store.files.blobs import FileRef, read_blob, write_blob


class Declared(NamedTuple):
    """What a record says about an array: its types, as NumPy's kind letters, and its shape; None is any length."""

    kinds: str
    shape: tuple[int | None, ...]


def write_arrays(directory: Path, stem: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> FileRef:
    """Writes arrays as one HDF5 blob, built in memory so that a full disk causes an error and not a crash."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return write_blob(directory, stem, ".h5", lambda stream: stream.write(buffer.getbuffer()))


def read_arrays(directory: Path, ref: FileRef, declared: Mapping[str, Declared]) -> dict[str, np.ndarray[Any, Any]]:
    """Reads the arrays of an HDF5 blob, after checking the whole file's SHA-256.

    Raises:
        DamagedFileError: it is not the recorded file, or does not hold exactly the declared plain arrays.
    """
    return arrays_of(read_blob(directory, ref), declared, str(directory / ref.name))


def arrays_of(data: bytes, declared: Mapping[str, Declared], where: str) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an HDF5 file in memory; links, external storage, and other names, types or shapes are refused.

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
