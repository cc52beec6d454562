"""Draws on disk: batches of noisy labels for one data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.errors import DamagedFileError
from flowernoise.store import files
from flowernoise.store.layout import Layout
from flowernoise.store.records import Dataset, Draw, DrawBatch, DrawKey, versions_of

KIND = "draws"
ARRAYS = (
    "train_labels",
    "train_flipped",
    "val_labels",
    "val_flipped",
    "transition_matrix",
    "realised_transition_matrix",
)
Labels = np.ndarray[Any, np.dtype[np.unsignedinteger[Any]]]


@dataclasses.dataclass(frozen=True)
class DrawnLabels:
    """Labels of one draw: observed labels of train and val, which of them are wrong, and the nominal and realised T."""

    train_labels: Labels
    train_flipped: np.ndarray[Any, np.dtype[np.bool_]]
    val_labels: Labels
    val_flipped: np.ndarray[Any, np.dtype[np.bool_]]
    transition_matrix: np.ndarray[Any, np.dtype[np.float64]]
    realised_transition_matrix: np.ndarray[Any, np.dtype[np.float64]]


@dataclasses.dataclass(frozen=True)
class StoredDraw:
    """A draw and where its labels are stored."""

    draw: Draw
    batch: DrawBatch
    row: int


def write(layout: Layout, dataset: str, drawn: Sequence[tuple[Draw, DrawnLabels]]) -> None:
    """Writes a batch of draws."""
    name = files.digest_of([dataset, [draw for draw, _ in drawn]])[:16]
    stacked = {array: np.stack([getattr(labels, array) for _, labels in drawn]) for array in ARRAYS}
    with files.together():
        batch = DrawBatch(
            dataset=dataset,
            draws=tuple(draw for draw, _ in drawn),
            arrays=files.write_arrays(layout.draws, name, stacked),
            versions=versions_of("numpy"),
        )
        files.write_record(layout.draws / f"{name}.json", KIND, batch)


def index(
    layout: Layout, dataset: str, on_damage: Callable[[Path, DamagedFileError], None] | None = None
) -> dict[DrawKey, StoredDraw]:
    """The draws of a data set, ordered by key.

    Args:
        on_damage: called with each damaged record, which is then skipped; without it, the error is raised.

    Raises:
        DamagedFileError: a record is damaged.
    """
    found: dict[DrawKey, StoredDraw] = {}
    for path in sorted(layout.draws.glob("*.json")):
        try:
            batch = files.read_record(path, KIND, DrawBatch)
        except DamagedFileError as error:
            if on_damage is None:
                raise _hint(error) from error
            on_damage(path, error)
            continue
        if batch.dataset == dataset:
            found.update((draw.key, StoredDraw(draw, batch, row)) for row, draw in enumerate(batch.draws))
    return dict(sorted(found.items()))


def read(layout: Layout, dataset: Dataset, stored: Iterable[StoredDraw]) -> dict[DrawKey, DrawnLabels]:
    """The labels of some draws of a data set; each batch is read once.

    Raises:
        DamagedFileError: arrays are damaged.
    """
    batches: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
    labels: dict[DrawKey, DrawnLabels] = {}
    for item in stored:
        ref = item.batch.arrays
        if ref.name not in batches:
            batches[ref.name] = need_batch(layout, dataset, item.batch)
        arrays = batches[ref.name]
        labels[item.draw.key] = DrawnLabels(**{name: arrays[name][item.row] for name in ARRAYS})
    return labels


def read_batch(layout: Layout, dataset: Dataset, batch: DrawBatch) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a batch.

    Raises:
        DamagedFileError: they are damaged.
    """
    (train, val, _), draws, c = dataset.sizes, len(batch.draws), len(dataset.classes)
    declared = {
        "train_labels": files.Declared("u", (draws, train)),
        "train_flipped": files.Declared("b", (draws, train)),
        "val_labels": files.Declared("u", (draws, val)),
        "val_flipped": files.Declared("b", (draws, val)),
        "transition_matrix": files.Declared("f", (draws, c, c)),
        "realised_transition_matrix": files.Declared("f", (draws, c, c)),
    }
    arrays = files.read_arrays(layout.draws, batch.arrays, declared)
    if any((arrays[name] >= c).any() for name in ("train_labels", "val_labels")):
        raise DamagedFileError(f"{layout.draws / batch.arrays.name} holds labels of classes that do not exist")
    return arrays


def need_batch(layout: Layout, dataset: Dataset, batch: DrawBatch) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a batch that is needed now; an error also says how to draw it again.

    Raises:
        DamagedFileError: they are damaged.
    """
    try:
        return read_batch(layout, dataset, batch)
    except DamagedFileError as error:
        raise _hint(error) from error


def record_of(layout: Layout, batch: DrawBatch) -> Path:
    """Path of a batch's record; its arrays have the same name, followed by their digest."""
    return layout.draws / f"{batch.arrays.name.rpartition('-')[0]}.json"


def _hint(error: DamagedFileError) -> DamagedFileError:
    return DamagedFileError(f"{error}; `flowernoise corrupt` draws it again")
