"""Labels as a CSV file for exchange: ``corrupt --export`` writes it, and ``--import`` reads it.

One row per photo and draw: ``id`` (SHA-256 of the encoded photo), ``path`` in the source, ``split``, ``clean_label``
(the source's) and ``observed_label`` (classes by name), ``flipped`` (true or false), and the draw: ``noise``, ``rate``,
``seed``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.errors import BadRequestError
from flowernoise.registry import did_you_mean, format_value
from flowernoise.safe import atomic, tables
from flowernoise.safe.paths import PathsByName
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import DrawKey

DRAW_COLUMNS = ("noise", "rate", "seed")
COLUMNS = ("id", "path", "split", "clean_label", "observed_label", "flipped", *DRAW_COLUMNS)
LABEL_COLUMNS = ("observed_label", "label")
PHOTO_COLUMNS = ("id", "path", "file", "filename", "file_name")
NOISY_SPLITS = ("train", "val")

Labels = np.ndarray[Any, np.dtype[np.int64]]


def written(
    index_of: Callable[[int], Sequence[IndexedPhoto]], classes: Sequence[str], drawn: Mapping[DrawKey, DrawnLabels]
) -> Iterator[tuple[str, ...]]:
    """The rows of draws, each with all photos in index order; test labels and clean labels are the source's.

    Args:
        index_of: the photos of a seed's split.
        classes: names of the classes.
        drawn: the draws.
    """
    for key, labels in drawn.items():
        observed = iter(np.concatenate([labels.train_labels, labels.val_labels]))
        for photo in index_of(key.seed):
            given = int(next(observed)) if photo.split in NOISY_SPLITS else photo.label
            wrong = "true" if given != photo.label else "false"
            names = (classes[photo.label], classes[given])
            yield (photo.id, photo.path, photo.split, *names, wrong, key.noise, format_value(key.rate), str(key.seed))


def write(path: Path, rows: Iterator[tuple[str, ...]]) -> bool:
    """Writes a file whole, unless it already holds exactly that; returns whether it was written.

    Raises:
        FlowernoiseError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    data = text.getvalue().encode()
    return atomic.write_output(path, data)


def read(
    data: bytes,
    name: str,
    index: Sequence[IndexedPhoto],
    classes: Sequence[str],
    dropped: Collection[str] = (),
    *,
    partial: bool = False,
) -> dict[str, Labels]:
    """Observed labels of train and val, in the order of the index.

    Args:
        data: a table with ``id`` or ``path``, and ``observed_label`` or ``label``. A photo is named by its
            id, its path in the source, an absolute path that ends in it, or its file name if that is unique.
        name: the file's name, for messages.
        index: the photos; rows for those that are not in train or val are allowed and ignored.
        classes: names of the classes.
        dropped: paths that ``prepare`` knows but dropped; rows for them are allowed and ignored.
        partial: photos without a row keep their label.

    Raises:
        BadRequestError: a line is wrong, or a photo has no row.
    """
    given = _given(data, name, index, classes, dropped)
    noisy = [photo for photo in index if photo.split in NOISY_SPLITS]
    missing = [photo for photo in noisy if photo.id not in given]
    if missing and not partial:
        raise BadRequestError(
            f"{name} has no label for {len(missing)} of the {len(noisy)} photos of train and val, "
            f"such as {missing[0].path}; every one needs a row, unless --partial lets the others keep their label"
        )
    return {
        split: np.array([given.get(photo.id, photo.label) for photo in noisy if photo.split == split], dtype=np.int64)
        for split in NOISY_SPLITS
    }


def _given(
    data: bytes, name: str, index: Sequence[IndexedPhoto], classes: Sequence[str], dropped: Collection[str]
) -> dict[str, int]:
    """The file's labels, by photo id."""
    names = PhotoNames(index, dropped)
    numbers = {label: number for number, label in enumerate(classes)}
    given: dict[str, int] = {}
    draws: dict[str, tuple[str | None, ...]] = {}
    for where, row, id, label in _rows(data, name):
        try:
            photo = names.photo(id)
        except LookupError as error:
            raise BadRequestError(f"{name}, {where}: {error}") from error
        if photo is None or photo.split not in NOISY_SPLITS:
            continue
        draw = tuple(row.get(column) for column in DRAW_COLUMNS)
        if photo.id in given:
            several = "; the file holds several draws, keep the rows of just one" if draw != draws[photo.id] else ""
            raise BadRequestError(f"{name}, {where}: photo {id} already has a label{several}")
        if label not in numbers:
            raise BadRequestError(
                f"{name}, {where}: {label!r} is not a class{did_you_mean(label, classes)}; "
                f"there are: {', '.join(classes)}"
            )
        given[photo.id], draws[photo.id] = numbers[label], draw
    return given


class PhotoNames:
    """The names by which files may refer to photos."""

    def __init__(self, index: Sequence[IndexedPhoto], dropped: Collection[str]) -> None:
        self._photos: dict[str, IndexedPhoto | None] = dict.fromkeys(dropped)
        self._photos |= {photo.path: photo for photo in index}
        self._by_id = {photo.id: photo for photo in index}
        self._paths = PathsByName(self._photos)

    def photo(self, name: str) -> IndexedPhoto | None:
        """The photo with an id, a path or a file name; None for one that ``prepare`` dropped.

        Raises:
            LookupError: no photo has this name, or several have.
        """
        if name in self._by_id:
            return self._by_id[name]
        path = self._paths.find(name)
        if path is None:
            raise LookupError(f"no photo of this data set has the id or path {name!r}")
        return self._photos[path]


def _rows(data: bytes, name: str) -> Iterator[tuple[str, dict[str, str], str, str]]:
    """Yields the place, cells, photo and label of each row."""
    table = tables.read(data, name)
    column = next((column for column in LABEL_COLUMNS if column in table.columns), None)
    key = next((column for column in PHOTO_COLUMNS if column in table.columns), None)
    if key is None or column is None:
        raise BadRequestError(
            f"{name} needs a header with path (or id) and label (or observed_label); its first line is "
            f"{','.join(table.columns)[:80]!r}"
        )
    for where, row in table.rows:
        yield where, row, row[key], row[column]
