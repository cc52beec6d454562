"""Reads arrays from HDF5 files that strangers may have made: only plain numbers stored in the file itself.

HDF5 can do much more than hold arrays: a link or a data set can stand for another file, an object for code, a few
bytes for terabytes. Anything but an array of numbers, stored in one piece, is refused before any of it is read.
Error messages are one line and name the item; callers add the file's name.
"""

from __future__ import annotations

import functools
import math
import mmap
import re
from typing import Any

import numpy as np

MAX_OBJECTS = 10_000  # groups and arrays; a weight file of ResNet-152 has about 2,500, of NASNetLarge 7,000
MAX_DEPTH = 50
MAX_TEXT = 64 << 20  # bytes of an attribute
MAX_LAYERS, MAX_ARRAYS = 2000, 16  # layers in a Keras file, arrays in a layer; NASNetLarge has 1,041, and 4
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")  # groups of Keras 3's layout between layers
_NUMBERS = "biuf"  # kinds of NumPy types: truth values, integers, floats


def refuse_foreign(file: Any, most_bytes: int) -> None:
    """Refuses a file that holds anything but groups of plain arrays of numbers. Does not read the arrays.

    Args:
        file: an open ``h5py.File``.
        most_bytes: limit for one array; the file's own length, as its arrays are not compressed.

    Raises:
        ValueError: a link, storage outside the file, anything but a plain array, too many objects, or groups nested too
            deep. On a damaged file, h5py itself raises nearly anything.
    """
    import h5py

    groups, seen, found = [(file["/"], 0)], {h5py.h5o.get_info(file["/"].id).addr}, 1
    while groups:
        group, depth = groups.pop()
        found += len(group)  # known without iterating over them
        if found > MAX_OBJECTS:
            raise ValueError(f"it holds over {MAX_OBJECTS:,} objects")
        if depth > MAX_DEPTH:  # HDF5 takes minutes to go through thousands
            raise ValueError(f"its groups are nested over {MAX_DEPTH} deep")
        for name in group:
            if group.get(name, getclass=True, getlink=True) is not h5py.HardLink:
                raise ValueError(f"{group.name} holds a link, {name!r}")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:  # hard links can form cycles
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                groups.append((item, depth + 1))
            else:
                refuse_unless_plain(item, most_bytes)


def refuse_unless_plain(item: Any, most_bytes: int) -> None:
    """Refuses anything but an array of numbers stored whole, in one piece and uncompressed, in the file.

    Compressed data are refused because they can expand to any size before HDF5 compares it with anything.

    Args:
        item: an object of an open ``h5py.File``.
        most_bytes: most that the array may take.

    Raises:
        ValueError: the item's name and what is wrong with it.
    """
    import h5py

    if not isinstance(item, h5py.Dataset) or item.shape is None or item.dtype.kind not in _NUMBERS:
        raise ValueError(f"{item.name} is not a plain array of numbers")
    _refuse_unless_whole(item)
    size = math.prod(item.shape) * item.dtype.itemsize  # h5py's own count can overflow
    if size > most_bytes:
        raise ValueError(f"{item.name} claims {size:,} bytes, more than the whole file holds")
    if item.id.get_storage_size() < size:
        raise ValueError(f"{item.name} claims {size:,} bytes but holds fewer")


def _refuse_unless_whole(item: Any) -> None:
    import h5py

    plan = item.id.get_create_plist()
    if item.external or item.is_virtual or plan.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT):
        raise ValueError(f"{item.name} is not a plain array: it is compressed, in pieces, or in another file")


def plain_array(item: Any, most_bytes: int) -> np.ndarray[Any, Any]:
    """Reads an array that :func:`refuse_unless_plain` accepts.

    Args:
        item: an object of an open ``h5py.File``.
        most_bytes: most that the array may take.

    Raises:
        ValueError: it is not plain.

    >>> import h5py, io
    >>> with h5py.File(io.BytesIO(), "w") as file:
    ...     plain_array(file.create_dataset("x", data=[1, 2]), 16).tolist()
    [1, 2]
    """
    refuse_unless_plain(item, most_bytes)
    return np.asarray(item[()])


def plain_text_array(item: Any, most_bytes: int, longest: int, shape: tuple[int, ...]) -> list[str]:
    """Reads a row of texts, of fixed or variable length, under the same rules as :func:`plain_array`.

    Args:
        item: an object of an open ``h5py.File``.
        most_bytes: most characters that the texts may have together.
        longest: what :func:`longest_text` gives for the file.
        shape: the shape that it must have.

    Raises:
        ValueError: it is something else, too long, or not in UTF-8.

    >>> import h5py, io
    >>> with h5py.File(io.BytesIO(), "w") as file:
    ...     plain_text_array(file.create_dataset("path", data=["a.jpg", "b.jpg"]), 9999, 4096, (2,))
    ['a.jpg', 'b.jpg']
    """
    import h5py

    kind = h5py.check_string_dtype(item.dtype) if isinstance(item, h5py.Dataset) else None
    if kind is None or item.shape != shape:
        wanted = " × ".join(f"{length:,}" for length in shape)
        raise ValueError(f"{item.name} is not one row of {wanted} texts")
    _refuse_unless_whole(item)
    most_each = max(item.dtype.itemsize, longest if kind.length is None else 0)
    if most_each > MAX_TEXT:
        raise ValueError(f"{item.name} may hold a text of {most_each:,} bytes")
    texts: list[str] = []
    step, total = MAX_TEXT // most_each, 0  # thousands of texts can share the bytes of one
    for start in range(0, math.prod(shape), step):
        part = item.asstr("utf-8")[start : start + step].tolist()
        total += sum(map(len, part))
        if total > most_bytes:
            raise ValueError(f"{item.name} holds over {most_bytes:,} characters")
        texts += part
    return texts


def longest_text(content: bytes | mmap.mmap) -> int:
    """The most bytes that one variable-length text can have in a file: it cannot be longer than the heap that holds it.

    Thousands of texts can share the bytes of one, so their number and the file's length do not bound their size.

    Args:
        content: the file; each of its heaps begins with ``GCOL``, a version, and its length.
    """
    heaps = re.finditer(rb"GCOL\x01\0\0\0(.{8})", content, re.DOTALL)
    return max((int.from_bytes(heap[1], "little") for heap in heaps), default=0)


def plain_texts(item: Any, attribute: str, *, most: int, longest: int) -> list[str]:
    """An attribute that holds a text or a list of texts, which is how Keras stores the names of layers.

    Args:
        item: an object of an open ``h5py.File``, with this attribute.
        attribute: its name.
        most: how many texts it may hold.
        longest: what :func:`longest_text` gives for the file.

    Raises:
        ValueError: the attribute is something else, holds more texts, or could take over 64 MiB.

    >>> import h5py, io
    >>> with h5py.File(io.BytesIO(), "w") as file:
    ...     file.attrs["names"] = ["conv", "bn"]
    ...     plain_texts(file, "names", most=2, longest=4096)
    ['conv', 'bn']
    """
    import h5py

    stored = h5py.h5a.open(item.id, attribute.encode())
    kind, space = h5py.check_string_dtype(stored.dtype), stored.get_space()
    count = space.get_simple_extent_npoints()
    if count == 0 and space.get_simple_extent_type() == h5py.h5s.SIMPLE:  # Keras writes an empty list as one of numbers
        return []
    size = count * max(stored.dtype.itemsize, longest if kind and kind.length is None else 0)
    if kind is None or count > most or size > MAX_TEXT:
        raise ValueError(f"{item.name} has the attribute {attribute}, which is not a short list of short texts")
    texts = np.atleast_1d(item.attrs[attribute]).tolist()
    return [text.decode() if isinstance(text, bytes) else text for text in texts]


def is_ordered(file: Any) -> bool:
    """Whether a Keras weight file has the layout that lists its layers in order, as Keras 2 wrote it.

    Args:
        file: an open ``h5py.File``.
    """
    return "layer_names" in _root(file).attrs


def stored_layers(file: Any, content: bytes, *, by_place: bool = False) -> dict[str, list[Any]]:
    """The data sets of every layer in a Keras weight file, by layer name, in the order of ``layer.weights``.

    Args:
        file: an open ``h5py.File`` that :func:`refuse_foreign` accepts.
        content: its bytes.
        by_place: name layers of Keras 3's layout by their place, as in ``sequential_1/conv2d``.

    Raises:
        ValueError: the names are not short texts.
    """
    root, longest = _root(file), longest_text(content)
    if is_ordered(file):
        names = plain_texts(root, "layer_names", most=MAX_LAYERS, longest=longest)
        stored = {name: _older_arrays(root[name], longest) for name in names}
    else:
        stored = {}
        file.visititems(functools.partial(_store_variables, stored, None if by_place else longest))
    return {name: arrays for name, arrays in stored.items() if arrays}


def _root(file: Any) -> Any:
    return file.get("model_weights", file)


def _older_arrays(layer: Any, longest: int) -> list[Any]:
    return [layer[name] for name in plain_texts(layer, "weight_names", most=MAX_ARRAYS, longest=longest)]


def _store_variables(stored: dict[str, list[Any]], longest: int | None, path: str, item: Any) -> None:
    """Collects a layer's arrays from Keras 3's layout: …/vars/0, 1, …, with the layer's name as an attribute.

    Args:
        longest: as for :func:`plain_texts`; None stands for the layer's place instead of its name.
    """
    parent, _, last = path.rpartition("/")
    if last == "vars":
        name = "/".join(part for part in parent.split("/") if part not in _CONTAINERS)
        if longest is not None:
            name = name.rpartition("/")[2]
            if "name" in item.attrs:
                (name,) = plain_texts(item, "name", most=1, longest=longest)
        stored[name] = [item[key] for key in sorted(item, key=int)]
