"""The runs of a group as statistics see them: one row per independent piece of luck, seed or split."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from flowernoise.analysis.comparison.evaluated import CellKey, Members
from flowernoise.analysis.stats import PhotosTested
from flowernoise.catalogue.metrics import Measured


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """A measured group.

    Where more seeds than splits were run, seeds with the same split share its luck. So they are averaged, and a split
    takes the place of a seed.

    Args:
        measured: of rows; as many as runs, or averages over the runs of a cell with the same split.
        cells: their rows, and what tells these apart (``seeds``): the seed, or the split.
        tested: which test photos rows were measured on; None if all have the same.
    """

    measured: Measured
    cells: dict[CellKey, Members]
    tested: PhotosTested | None


def sample_of(measured: Measured, cells: Mapping[CellKey, Members], tested: PhotosTested | None) -> Sample:
    """The sample of some cells, from what was measured of all runs, and on which test photos."""
    if tested is None or all(len(set(tested.of_runs[each.rows])) == len(each.rows) for each in cells.values()):
        return Sample(measured, dict(cells), tested)
    together: list[list[int]] = []
    averaged: dict[CellKey, Members] = {}
    for cell, members in cells.items():
        of_split: dict[int, list[int]] = {}
        for row, split in zip(members.rows, tested.of_runs[members.rows].tolist(), strict=True):
            of_split.setdefault(split, []).append(row)
        rows = list(range(len(together), len(together) + len(of_split)))
        averaged[cell] = dataclasses.replace(members, rows=rows, seeds=list(of_split))
        together += of_split.values()
    photos = measured.photos
    return Sample(
        Measured(
            values=np.array([measured.values[rows].mean() for rows in together]),
            photos=None if photos is None else np.stack([photos[rows].mean(axis=0) for rows in together]),
            groups=measured.groups,
        ),
        averaged,
        PhotosTested(np.array([tested.of_runs[rows[0]] for rows in together], dtype=int), tested.photos),
    )
