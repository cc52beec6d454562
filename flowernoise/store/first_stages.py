"""What first stages pass on to runs: a matrix for each draw, stored so that the same stage is not trained twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from flowernoise.errors import DamagedFileError
from flowernoise.store import files
from flowernoise.store.layout import Layout
from flowernoise.store.records import Dataset, DrawKey, Provenance
from flowernoise.store.setups import Setup
from flowernoise.store.watch import Watch

KIND = "firststage"
_TOLERANCE = 1e-6  # for the sum of a row
Matrix = np.ndarray[Any, np.dtype[np.float64]]
Rows = tuple[tuple[float, ...], ...]


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a stage passes on for a draw: the rows of a matrix, None if it diverged; ``labels`` as in a run."""

    draw: DrawKey
    labels: str
    matrix: Rows | None


class FirstStageRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First stages of one seed and setup that were trained together; ``stage`` names what they pass on."""

    dataset: str
    setup: Setup
    stage: str
    outcomes: tuple[Outcome, ...]
    provenance: Provenance


def write(layout: Layout, record: FirstStageRecord) -> None:
    """Writes a record, under a name made from its contents."""
    of = [(outcome.draw, outcome.labels) for outcome in record.outcomes]
    name = files.digest_of([record.dataset, record.setup, record.stage, of])[:16]
    files.write_record(layout.first_stages / f"{name}.json", KIND, record)


def rows(matrix: Matrix) -> Rows | None:
    """A matrix as stored in records.

    >>> rows(np.eye(2)), rows(np.full((2, 2), np.nan))
    (((1.0, 0.0), (0.0, 1.0)), None)
    """
    return tuple(map(tuple, matrix.tolist())) if np.isfinite(matrix).all() else None


def matrix_of(outcome: Outcome, num_classes: int) -> Matrix:
    """The matrix [c, c] that a stage passes on; NaN if it diverged.

    >>> matrix_of(Outcome(DrawKey("symmetric", 0.2, 0), "", None), 2).tolist()
    [[nan, nan], [nan, nan]]
    """
    return np.full((num_classes, num_classes), np.nan) if outcome.matrix is None else np.array(outcome.matrix)


def watch(
    layout: Layout, dataset: Dataset, on_damage: Callable[[Path, DamagedFileError], None]
) -> Watch[FirstStageRecord]:
    """The records present now and those added later; those of the data set are checked."""

    def read(path: Path) -> FirstStageRecord:
        record, classes = files.read_record(path, KIND, FirstStageRecord), len(dataset.classes)
        is_own = record.dataset == dataset.id
        if is_own and not all(_is_stochastic(each.matrix, classes) for each in record.outcomes):
            raise DamagedFileError(f"{path} holds something that is not a transition matrix of {classes} classes")
        return record

    return Watch(layout.first_stages, lambda name: name.endswith(".json"), read, on_damage)


def _is_stochastic(matrix: Rows | None, num_classes: int) -> bool:
    if matrix is None:
        return True
    fits = len(matrix) == num_classes and all(len(row) == num_classes for row in matrix)
    return fits and all(min(row) >= 0 and abs(sum(row) - 1) < _TOLERANCE for row in matrix)
