"""Tolerated rates and crossovers of a group's losses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flowernoise.analysis import stats
from flowernoise.analysis.comparison.baselines import Baselines
from flowernoise.analysis.comparison.evaluated import CellKey
from flowernoise.analysis.comparison.sample import Sample
from flowernoise.analysis.stats import RateEstimate
from flowernoise.randomness import generator
from flowernoise.store.records import CONTROL
from flowernoise.store.setups import Setup


@dataclasses.dataclass(frozen=True)
class Line:
    """A loss under a noise model, across rates."""

    directory: int
    noise: str
    loss: str
    setup: Setup


@dataclasses.dataclass(frozen=True)
class OfRates:
    """The tolerated rate and crossover of a line; see :class:`flowernoise.store.records.Tolerated`."""

    tolerance: RateEstimate | None
    crossover: RateEstimate | None
    collapsed: bool


class Rates:
    """Tolerated rates and crossovers, from the same resamples as the intervals."""

    def __init__(self, sample: Sample, baselines: Baselines, sign: int, bounds: tuple[float, float]) -> None:
        self._sample, self._cells, self._baselines = sample, sample.cells, baselines
        self._sign, self._bounds = sign, bounds

    def of(self, shown: Sequence[CellKey], delta: float | None, baseline: str) -> dict[Line, OfRates]:
        """The rates of each line among some cells; a line needs several rates, as one does not show a trend.

        ``delta`` is None if the metric has no tolerated rates.
        """
        lines: dict[Line, list[CellKey]] = {}
        for cell in shown:
            if cell.noise != CONTROL and cell in self._cells:
                lines.setdefault(Line(cell.directory, cell.noise, cell.loss, cell.setup), []).append(cell)
        lines = {line: cells for line, cells in lines.items() if len(self._rated(cells)) > 1}
        wanted: set[CellKey] = {
            each
            for cells in lines.values()
            for cell in cells
            for each in (
                cell,
                _control(cell),
                self._baselines.same_kind(cell),
                self._baselines.same_kind(_control(cell)),
            )
            if each is not None and each in self._cells
        }
        means = self._means(sorted(wanted))
        found = {}
        for line, cells in lines.items():
            tolerance = None if delta is None else self._tolerance(cells, means, delta)
            crossover = None if line.loss == baseline else self._crossover(cells, means)
            if tolerance or crossover:
                found[line] = OfRates(tolerance, crossover, bool(tolerance and self._collapsed(cells, tolerance)))
        return found

    def _means(self, cells: Sequence[CellKey]) -> dict[CellKey, Any]:
        measured, tested = self._sample.measured, self._sample.tested
        if measured.photos is None or measured.groups is None:
            return {}
        rows = [self._cells[cell].rows for cell in cells]
        means = stats.resampled_means(
            measured.photos, measured.groups, rows, generator(0, "intervals"), bounds=self._bounds, tested=tested
        )
        return dict(zip(cells, self._sign * means, strict=True))

    def _tolerance(self, cells: Sequence[CellKey], means: Mapping[CellKey, Any], delta: float) -> RateEstimate | None:
        """None if the baseline's control is missing or has collapsed, as it is not a useful reference then."""
        cells = self._rated(cells)
        of_baseline = self._baselines.same_kind(_control(cells[0])) if cells else None
        if of_baseline is None or of_baseline not in means or self._cells[of_baseline].collapsed:
            return None
        own = means.get(_control(cells[0]))
        each = np.stack([means[cell] for cell in cells])
        rates = [self._cells[cell].realised_rate for cell in cells]
        return stats.tolerance(each, rates, means[of_baseline], own, delta)

    def _crossover(self, cells: Sequence[CellKey], means: Mapping[CellKey, Any]) -> RateEstimate | None:
        pairs = [(cell, self._baselines.same_kind(cell)) for cell in self._rated(cells)]
        both = [(cell, other) for cell, other in pairs if other is not None and other in means]
        if not both:
            return None
        own, others = (np.stack([means[pair[side]] for pair in both]) for side in (0, 1))
        return stats.crossover(own, others, [self._cells[cell].realised_rate for cell, _ in both])

    def _rated(self, cells: Sequence[CellKey]) -> list[CellKey]:
        """The cells in which some labels are wrong."""
        return [cell for cell in cells if self._cells[cell].realised_rate > 0]

    def _collapsed(self, cells: Sequence[CellKey], tolerance: RateEstimate) -> bool:
        """Whether runs have collapsed at tolerated rates."""
        most = {"exact": tolerance.point.rate, "at_least": np.inf}.get(tolerance.point.censoring) or 0.0
        members = [self._cells[cell] for cell in cells]
        return any(each.collapsed and each.realised_rate <= most for each in members)


def _control(cell: CellKey) -> CellKey:
    return cell._replace(noise=CONTROL, rate=0.0)
