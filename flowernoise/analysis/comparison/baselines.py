"""Finds the cell that a cell is compared with."""

from __future__ import annotations

from collections.abc import Iterable

from flowernoise.analysis.comparison.evaluated import CellKey
from flowernoise.store.setups import Setup


class Baselines:
    """Finds the cell that a cell is compared with, which differs only in its loss.

    A loss is compared with the baseline of its own setup, from its own directory or else the first other one that has
    it. A baseline is compared with the baseline of the first directory and setup shown, so that two ways of training
    are compared as well.

    Args:
        cells: all cells that others may be compared with.
        shown: the cells to compare.
        baseline: the loss to compare with.
    """

    def __init__(self, cells: Iterable[CellKey], shown: Iterable[CellKey], baseline: str) -> None:
        self._cells, self._baseline = set(cells), baseline
        self._holders: dict[Setup, list[int]] = {}
        for directory, setup in sorted({(c.directory, c.setup) for c in self._cells if c.loss == baseline}):
            self._holders.setdefault(setup, []).append(directory)
        self._first = min(((c.directory, c.setup) for c in shown if c.loss == baseline), default=None)

    def same_kind(self, cell: CellKey) -> CellKey | None:
        """The baseline with a cell's setup; the cell itself if it is a baseline."""
        directories = self._holders.get(cell.setup, [])
        if not directories:
            return None
        directory = cell.directory if cell.directory in directories else directories[0]
        return self._there(cell._replace(directory=directory, loss=self._baseline))

    def against(self, cell: CellKey) -> CellKey | None:
        """The cell against which a cell is tested."""
        if cell.loss != self._baseline:
            return self.same_kind(cell)
        if self._first is None:
            return None
        directory, setup = self._first
        first = cell._replace(directory=directory, setup=setup)
        return self._there(first) if first != cell else None

    def _there(self, cell: CellKey) -> CellKey | None:
        return cell if cell in self._cells else None
