"""Directories that Hugging Face's ``datasets`` writes with ``save_to_disk``: Arrow files, described by JSON files.

The files may be from strangers. Only photos that are in the Arrow files, or in files of the directory, are read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flowernoise.catalogue import class_names
from flowernoise.catalogue.photo_folders import read_photo
from flowernoise.catalogue.transition_matrix import read_bytes
from flowernoise.errors import BadRequestError, FlowernoiseError

_INFO, _STATE, _DICT = "dataset_info.json", "state.json", "dataset_dict.json"
_LABELS = ("label", "labels")  # usual names of the label among several
_MOST = 64 << 20  # bytes of a description


@dataclasses.dataclass(frozen=True)
class ArrowPhoto:
    """A photo: its place in the data set, its class, the name of its split, and a function that reads its bytes."""

    path: str
    label: int
    split: str
    read: Callable[[], bytes]


@dataclasses.dataclass(frozen=True)
class ArrowDirectory:
    """The photos of a data set; each call of ``photos`` starts again."""

    classes: tuple[str, ...]
    total: int
    photos: Callable[[], Iterator[ArrowPhoto]]


@dataclasses.dataclass(frozen=True)
class _Part:
    """A split: its name, its folder, its Arrow files, and its columns of photos and labels."""

    split: str
    folder: Path
    files: tuple[Path, ...]
    image: str
    label: str
    names: tuple[str, ...] | None


def is_one(root: Path) -> bool:
    """Whether ``save_to_disk`` wrote a directory."""
    return (root / _DICT).is_file() or all((root / name).is_file() for name in (_INFO, _STATE))


def files_of(root: Path) -> list[Path]:
    """The files of the directory; it changes with them."""
    return sorted(path for pattern in ("*.arrow", "*.json", "*/*.arrow", "*/*.json") for path in root.glob(pattern))


def opened(root: Path) -> ArrowDirectory:
    """Reads the description and the labels of a data set. Imports pyarrow.

    Raises:
        BadRequestError: it is damaged, or has no photos with labels.
        FlowernoiseError: pyarrow is missing, or a file cannot be read.
    """
    parts = list(_parts(root))
    if len({part.names for part in parts}) > 1:
        raise BadRequestError(f"{root}: its splits have different classes; give them the same, in one order")
    given = [list(_column(part, part.label)) for part in parts]
    names = parts[0].names
    if names is None:
        texts = ["" if label is None else str(label) for labels in given for label in labels]
        classes, numbers = class_names.numbered(str(root), texts)
        number_of = dict(zip(texts, numbers, strict=True))
        labels = [[number_of[str(label)] for label in of_part] for of_part in given]
    else:
        classes, _ = class_names.numbered(str(root), (), names)
        labels = [[_checked(root, label, len(names)) for label in of_part] for of_part in given]

    def photos() -> Iterator[ArrowPhoto]:
        for part, of_part in zip(parts, labels, strict=True):
            numbered = enumerate(zip(_column(part, part.image), of_part, strict=True))
            for index, (image, label) in numbered:
                if label >= 0:  # unlabelled test splits have −1
                    path = f"{part.split or 'photos'}/{index:06}"
                    yield ArrowPhoto(path, label, part.split, functools.partial(_encoded, part.folder, image))

    return ArrowDirectory(classes, sum(label >= 0 for of_part in labels for label in of_part), photos)


def _checked(root: Path, label: Any, classes: int) -> int:
    if label is None:
        return -1
    if not isinstance(label, int) or label >= classes:
        raise BadRequestError(f"{root}: a photo has class {label!r}, but there are only {classes}")
    return label


def _encoded(folder: Path, image: Any) -> bytes:
    """The bytes of a photo, from its cell or from the file in the directory that the cell names."""
    cell = image if isinstance(image, dict) else {"bytes": image}
    if isinstance(data := cell.get("bytes"), bytes):
        return data
    if not isinstance(path := cell.get("path"), str):
        raise OSError(errno.EINVAL, "it has neither bytes nor a path")
    file = (folder / path).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise OSError(errno.EINVAL, "it names a file outside the data set; embed the photos when saving it")
    return read_photo(file)


def _parts(root: Path) -> Iterator[_Part]:
    if not (root / _DICT).is_file():
        yield _part(root)
        return
    splits = _json(root / _DICT).get("splits")
    if not isinstance(splits, list) or not splits or not all(_is_plain_name(name) for name in splits):
        raise BadRequestError(f"{root / _DICT} does not list the splits")
    for name in splits:
        yield _part(root / name, name)


def _part(folder: Path, split: str = "") -> _Part:
    state, features = _json(folder / _STATE), _json(folder / _INFO).get("features")
    listed = state.get("_data_files")
    files = [each.get("filename") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    if not files or not all(map(_is_plain_name, files)):
        raise BadRequestError(f"{folder / _STATE} does not list the Arrow files")
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise BadRequestError(f"{folder} is a selection of rows; save it with .flatten_indices() before save_to_disk")
    kinds = {name: each for name, each in (features or {}).items() if isinstance(each, dict)}
    image = next((name for name, each in kinds.items() if each.get("_type") == "Image"), None)
    labels = [name for name, each in kinds.items() if each.get("_type") == "ClassLabel"]
    named = [name for name in _LABELS if name in kinds]
    label = next((name for name in (*named, *labels)), None)
    if image is None or label is None:
        raise BadRequestError(f"{folder} has no photos with labels: it needs an Image and a ClassLabel (or `label`)")
    return _Part(
        split, folder, tuple(folder / str(file) for file in files), image, label, _class_names(folder, kinds[label])
    )


def _class_names(folder: Path, feature: dict[str, Any]) -> tuple[str, ...] | None:
    if feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadRequestError(f"{folder / _INFO} does not name the classes")
    return tuple(names)


def _is_plain_name(name: object) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and "/" not in name and "\\" not in name


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_bytes(str(path), str(path.parent), most=_MOST))
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadRequestError(f"{path} does not describe a data set")
    return found


def _column(part: _Part, name: str) -> Iterator[Any]:
    """The values of a column, over all files; one batch at a time is in memory."""
    for file in part.files:
        with _reading(file) as batches:
            for batch in batches:
                batch.validate(full=True)
                if name not in batch.schema.names:
                    raise BadRequestError(f"{file} has no column {name!r}")
                for value in batch.column(name):
                    yield value.as_py()


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[Sequence[Any]]:
    try:
        import pyarrow
    except ImportError as error:
        way_out = "pip install 'flowernoise[parquet]'"
        raise FlowernoiseError(
            f"{file.parent} is a data set of Hugging Face, which needs pyarrow: {way_out}"
        ) from error
    try:
        with pyarrow.memory_map(str(file)) as stream:
            yield pyarrow.ipc.open_stream(stream)
    except pyarrow.ArrowException as error:
        raise BadRequestError(f"{file} is not an Arrow file: {next(iter(str(error).splitlines()), '')}") from error
    except OSError as error:
        raise FlowernoiseError(f"cannot read {file}: {error.strerror or error}") from error
