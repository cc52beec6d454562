"""The further columns of a table of labels, kept with the photos so that the table is not needed again."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np

from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.registry import did_you_mean
from flowernoise.store import files
from flowernoise.store.files import FileRef
from flowernoise.store.labels import NOISY_SPLITS, Labels
from flowernoise.store.layout import Layout
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import Dataset

DIGITS = 12  # of a column's digest in the spec of a noise model


def write(
    layout: Layout, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[dict[str, str], FileRef | None]:
    """Keeps columns; returns the digest of each, and the file.

    Args:
        layout: the artifacts directory.
        columns: names of the columns.
        rows: the cells of each photo, in the order of the index.
    """
    if not columns:
        return {}, None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    data = text.getvalue().encode()
    digests = {column: files.digest_of([row[k] for row in rows]) for k, column in enumerate(columns)}
    return digests, files.write_blob(layout.photos, "columns", ".csv", lambda stream: stream.write(data))


def digest(dataset: Dataset, column: str, sha256: str = "") -> str:
    """The first digits of a column's digest.

    Raises:
        BadRequestError: there is no such column, or its digest does not start with ``sha256``.
    """
    there = dataset.table.columns if dataset.table else {}
    if column not in there:
        other = f"there are: {', '.join(there)}" if there else "prepare had no table of labels with further columns"
        raise BadRequestError(
            f"noise model observed: no column {column!r} was prepared{did_you_mean(column, there)}; {other}"
        )
    if not there[column].startswith(sha256):
        raise BadRequestError(
            f"noise model observed: column {column} is not the one with the SHA-256 {sha256}; it has changed"
        )
    return there[column][:DIGITS]


def labels_of(
    cells: Mapping[str, str], dataset: Dataset, index: Sequence[IndexedPhoto], column: str, *, partial: bool
) -> dict[str, Labels]:
    """Labels of train and val that a column gives, in index order.

    Args:
        cells: what :func:`cells_of` read.
        dataset: the data set.
        index: the photos of a split.
        column: the column.
        partial: photos without a label in it keep their own.

    Raises:
        BadRequestError: a label is not a class, or missing.
    """
    numbers = {name: number for number, name in enumerate(dataset.classes)}
    noisy = [(photo, cells[photo.id]) for photo in index if photo.split in NOISY_SPLITS]
    missing = [photo.path for photo, cell in noisy if not cell]
    if missing and not partial:
        raise BadRequestError(
            f"column {column} has no label for {len(missing):,} of the {len(noisy):,} photos of train and val, such as "
            f"{missing[0]}; with observed:column={column},partial=true these keep theirs"
        )
    for photo, cell in noisy:
        if cell and cell not in numbers:
            raise BadRequestError(
                f"column {column}, photo {photo.path}: {cell[:80]!r} is not a class"
                f"{did_you_mean(cell, dataset.classes)}; there are: {', '.join(dataset.classes)}"
            )
    return {
        split: np.array(
            [numbers.get(cell, photo.label) for photo, cell in noisy if photo.split == split], dtype=np.int64
        )
        for split in NOISY_SPLITS
    }


def cells_of(layout: Layout, dataset: Dataset, photos: Sequence[IndexedPhoto], column: str) -> dict[str, str]:
    """The cells of a column that exists, by photo id; empty where the table has none.

    Args:
        layout: the artifacts directory.
        dataset: its data set.
        photos: all photos, in the order of the file.
        column: the column.

    Raises:
        DamagedFileError: the file is damaged.
    """
    cells = _cells(layout, dataset, len(photos), column)
    return {photo.id: cell for photo, cell in zip(photos, cells, strict=True)}


def _cells(layout: Layout, dataset: Dataset, count: int, column: str) -> list[str]:
    if dataset.table is None or dataset.table.cells is None:
        raise RuntimeError("a column was read where none was prepared; see digest")
    ref = dataset.table.cells
    data = files.read_blob(layout.photos, ref)
    try:
        cells = [row[column] for row in csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True)]
    except (csv.Error, KeyError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{layout.photos / ref.name} is not a table of columns: {error}") from error
    if len(cells) != count:
        raise DamagedFileError(f"{layout.photos / ref.name} has {len(cells):,} rows for {count:,} photos")
    return cells
