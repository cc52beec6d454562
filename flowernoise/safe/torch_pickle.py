"""Reads weights in PyTorch's old, non-zip format, without PyTorch and without running any code in the file.

Such a file is a magic number, a protocol number and facts about the writing machine, then a pickle of the state with
references to storages, then the storages' keys (five pickles in all), then the bytes of each storage. Format:
``torch.serialization._legacy_save``, https://github.com/pytorch/pytorch/blob/main/torch/serialization.py
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flowernoise.errors import DamagedFileError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
}


class _Storage(NamedTuple):
    """A reference to numbers further down in the file."""

    key: str
    dtype: str
    length: int


class _Tensor(NamedTuple):
    """A strided view of a storage; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _RefusedError(Exception):
    """Why a file is refused."""


def read_state(path: Path, sha256: str) -> dict[str, np.ndarray]:
    """The arrays of a state dictionary that ``torch.save`` wrote in the legacy format.

    The file is not interpreted before its digest has been checked, and code that it names is never run: the unpickler
    knows ordered dictionaries, tensors and storages, and refuses everything else.

    Args:
        path: the file, usually ``….pth``.
        sha256: the expected digest of the file, 64 hexadecimal digits.

    Returns:
        Name → array, in the file's order, with PyTorch's shapes and the machine's byte order.

    Raises:
        DamagedFileError: the file cannot be read, is not the expected one, is not such a state, or is cut off.

    >>> read_state(Path("no-such.pth"), "0" * 64)
    Traceback (most recent call last):
    flowernoise.errors.DamagedFileError: no-such.pth: No such file or directory; reinstall the package it belongs to
    """
    try:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != sha256:
            raise _RefusedError(f"damaged or another version (SHA-256 {digest[:12]}…, not {sha256[:12]}…)")
        return _parse(io.BytesIO(content))
    except OSError as error:
        raise DamagedFileError(_message(path, error.strerror or str(error))) from None
    except _RefusedError as error:
        raise DamagedFileError(_message(path, str(error))) from None


def _message(path: Path, reason: str) -> str:
    return f"{path}: {reason}; reinstall the package it belongs to"


def _parse(file: io.BytesIO) -> dict[str, np.ndarray]:
    if (_unpickle(file), _unpickle(file)) != (MAGIC, PROTOCOL):
        raise _RefusedError("not a legacy PyTorch file")
    machine = _unpickle(file)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise _RefusedError("not written on a little-endian machine")
    state = _unpickle(file)
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise _RefusedError("not a dictionary of named tensors")
    storages = _read_storages(file, _unpickle(file), _storages_of(state))
    return {name: _view(tensor, storages[tensor.storage.key]) for name, tensor in state.items()}


def _unpickle(file: io.BytesIO) -> Any:
    try:
        return _Unpickler(file).load()
    except _RefusedError:
        raise
    # On a broken pickle, the unpickler raises nearly anything: EOFError, IndexError, KeyError, ValueError, …
    except Exception as error:
        raise _RefusedError(f"not a readable pickle ({type(error).__name__})") from None


class _Unpickler(pickle.Unpickler):
    """Builds the plain data above, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise _RefusedError(f"it asks for {module}.{name}, which is not part of a state dictionary")

    def persistent_load(self, reference: Any) -> _Storage:
        match reference:
            case ("storage", str(dtype), str(key), str(), int(length), None) if dtype in DTYPES.values():
                if length >= 0:
                    return _Storage(key, dtype, length)
        raise _RefusedError("it holds a storage of an unknown kind")

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise _RefusedError("it holds a tensor of an unknown kind")
        size, last = math.prod(shape), offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        # size: with a stride of 0 a small storage could stand for terabytes.
        if size > storage.length or (size and last >= storage.length):
            raise _RefusedError("it holds a tensor that reaches beyond its storage")
        return _Tensor(storage, offset, shape, strides)


def _storages_of(state: Mapping[str, Any]) -> dict[str, _Storage]:
    storages: dict[str, _Storage] = {}
    for name, tensor in state.items():
        if not isinstance(tensor, _Tensor):
            raise _RefusedError(f"{name!r} is not a tensor")
        if storages.setdefault(tensor.storage.key, tensor.storage) != tensor.storage:
            raise _RefusedError(f"storage {tensor.storage.key!r} has two sizes")
    return storages


def _read_storages(file: io.BytesIO, keys: Any, storages: Mapping[str, _Storage]) -> dict[str, np.ndarray]:
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise _RefusedError("its storages are not those of its tensors")
    arrays = {}
    for key in keys:
        storage = storages[key]
        length = int.from_bytes(_exactly(file, 8), "little")
        if length != storage.length:
            raise _RefusedError(f"storage {key!r} has two sizes")
        dtype = np.dtype(storage.dtype)
        arrays[key] = np.frombuffer(_exactly(file, length * dtype.itemsize), dtype)
    if file.read(1):
        raise _RefusedError("it goes on after its end")
    return arrays


def _exactly(file: io.BytesIO, count: int) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise _RefusedError("cut off")
    return content


def _view(tensor: _Tensor, numbers: np.ndarray) -> np.ndarray:
    if not math.prod(tensor.shape):
        return np.empty(tensor.shape, numbers.dtype.newbyteorder("="))
    strides = [step * numbers.itemsize for step in tensor.strides]
    view = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides)
    return np.array(view, numbers.dtype.newbyteorder("="), order="C")
