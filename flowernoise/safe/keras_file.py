"""Keras model files (``.keras``) that strangers may have made: reads layer names and arrays, and runs nothing.

Keras builds a model from such a file by importing whatever the file names. Here, our own code builds the model. The
file's layers are only compared with that model's, and its arrays are read once the file is known to hold nothing else.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import json
import re
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.errors import BadRequestError
from flowernoise.safe.atomic import reason
from flowernoise.safe.hdf5 import refuse_foreign, stored_layers

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
MAX_BYTES = 2 << 30  # ResNet50 takes 95 MB, ConvNeXtXLarge 1.4 GB
MAX_CONFIG = 4 << 20
_END, _END_BYTES, _END_64_BYTES = b"PK\x05\x06", 22, 20
_MAX_DIRECTORY = 1 << 12  # bytes of a ZIP file's directory; ours takes 200
_STAMP = "1980-01-01@00:00:00"  # in a file whose bytes depend only on its content
_SHARED = re.compile(rb'("shared_object_id": )(\d+)')
Array = np.ndarray[Any, np.dtype[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class KerasFile:
    """Class and name of each layer, in order, and the arrays of the layers that have any, by layer name."""

    layers: tuple[tuple[str, str], ...]
    arrays: Mapping[str, list[Array]]


def read(path: Path) -> KerasFile:
    """Reads a model file.

    Raises:
        BadRequestError: it cannot be read, does not have the form that :func:`write` gives it, or holds anything but
            arrays of finite numbers.
    """
    content = _content(path)
    try:
        with zipfile.ZipFile(io.BytesIO(_listed(content))) as archive:
            config = json.loads(_member(archive, CONFIG, MAX_CONFIG))
            weights = _member(archive, WEIGHTS, len(content))
        return KerasFile(_layers(config), _arrays(weights))
    # On a damaged file zipfile, json and h5py raise nearly anything: BadZipFile, RecursionError, RuntimeError, …
    except Exception as error:
        first = (str(error) or type(error).__name__).partition("\n")[0]
        raise BadRequestError(f"{path} is not a model that `flowernoise export` wrote: {first}") from error


def write(model: Any) -> bytes:
    """A model as the bytes of a ``.keras`` file; equal models give equal bytes.

    Args:
        model: a Keras model.
    """
    import keras

    plain = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="flowernoise-") as folder:
        saved = Path(folder, "model.keras")
        keras.saving.save_model(model, saved)
        with zipfile.ZipFile(saved) as archive, zipfile.ZipFile(plain, "w") as fixed:
            for name in (METADATA, CONFIG, WEIGHTS):
                fixed.writestr(zipfile.ZipInfo(name), _FIXES.get(name, bytes)(archive.read(name)))
    return plain.getvalue()


def leaves(model: Any) -> Iterator[tuple[str, Any]]:
    """The layers of a Keras model that hold no other layers, each with its place, which weight files name it by.

    A place is the layer's class and its number among its siblings of that class, as in ``sequential_1/conv2d``.
    """
    counts: collections.Counter[str] = collections.Counter()
    for layer in model.layers:
        kind = _snake_case(type(layer).__name__)
        place = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        if hasattr(layer, "layers"):
            yield from ((f"{place}/{inner}", leaf) for inner, leaf in leaves(layer))
        else:
            yield place, layer


def _snake_case(name: str) -> str:
    """A class's name as Keras writes it: ``SeparableConv2D`` is ``separable_conv2d``."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def _undated(metadata: bytes) -> bytes:
    return json.dumps({**json.loads(metadata), "date_saved": _STAMP}).encode()


def _renumbered(config: bytes) -> bytes:
    """Numbers shared objects in order of appearance; Keras numbers them by their memory addresses."""
    numbers: dict[bytes, int] = {}
    return _SHARED.sub(lambda found: b"%s%d" % (found[1], numbers.setdefault(found[2], len(numbers))), config)


_FIXES = {METADATA: _undated, CONFIG: _renumbered}


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadRequestError(f"cannot read {path}: it is not a regular file")
        if status.st_size > MAX_BYTES:
            raise BadRequestError(f"{path} is larger than {MAX_BYTES:,} bytes, so it is not an exported model")
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES)
    except OSError as error:
        raise BadRequestError(f"cannot read {path}: {reason(error)}") from None
    except ValueError as error:
        if isinstance(error, BadRequestError):
            raise
        raise BadRequestError(f"cannot read {str(path)!r}: {error}") from None  # a null character in the path


def _listed(content: bytes) -> bytes:
    """Refuses a ZIP file with a long directory, before anything reads it."""
    end = content[-_END_BYTES:]
    is_large = content[-_END_BYTES - _END_64_BYTES :].startswith(b"PK\x06\x07")
    if not end.startswith(_END) or is_large or int.from_bytes(end[12:16], "little") > _MAX_DIRECTORY:
        raise ValueError("it is not a ZIP file, or it holds too many files")
    return content


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Reads an uncompressed member; a compressed one could expand to any size."""
    if name not in archive.namelist():
        raise ValueError(f"{name} is missing")
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > most:
        raise ValueError(f"{name} is compressed, or too large")
    return archive.read(info)


def _layers(config: Any) -> tuple[tuple[str, str], ...]:
    try:
        return tuple((str(layer["class_name"]), str(layer["name"])) for layer in config["config"]["layers"])
    except (KeyError, TypeError):
        raise ValueError(f"{CONFIG} does not list layers") from None


def _arrays(weights: bytes) -> dict[str, list[Array]]:
    import h5py

    with h5py.File(io.BytesIO(weights), "r") as file:
        refuse_foreign(file, len(weights))
        arrays = {
            name: [np.asarray(item[()]) for item in items] for name, items in stored_layers(file, weights).items()
        }
    if not all(np.isfinite(array).all() for of_layer in arrays.values() for array in of_layer):
        raise ValueError(f"{WEIGHTS} holds weights that are not finite")
    return arrays
