"""What is computed from the answers of runs that share their test photos: intervals, tests, tolerated rates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from flowernoise.analysis import statistics
from flowernoise.analysis.statistics import Paired, RateEstimate
from flowernoise.catalogue.losses import is_oracle
from flowernoise.catalogue.metrics import Measured
from flowernoise.randomness import generator
from flowernoise.registry import Spec
from flowernoise.steps.compare.evaluated import Cell, Group, Members
from flowernoise.store.records import CONTROL
from flowernoise.store.setups import Setup

SIGNIFICANT = 1 - statistics.LEVEL
WITHOUT_STAR = SIGNIFICANT / 2  # the other half is −'s, which takes ☆ away as well
_EQUAL = 1e-9  # means that differ by less are the same


@dataclasses.dataclass(frozen=True)
class Value:
    """A cell's mean over its seeds and its interval; ``mean`` is None where there is none."""

    values: tuple[float, ...]
    mean: float | None
    low: float | None
    high: float | None


NO_VALUE = Value((), None, None, None)


@dataclasses.dataclass(frozen=True)
class Line:
    """A loss under a noise model, over its rates."""

    directory: int
    noise: str
    loss: str
    setup: Setup


@dataclasses.dataclass(frozen=True)
class OfRates:
    """What is known of a line's rates; see :class:`flowernoise.store.records.Tolerated`."""

    tolerance: RateEstimate | None
    crossover: RateEstimate | None
    collapsed: bool


@dataclasses.dataclass(frozen=True)
class Judged:
    """What was found about the cells of a group.

    ``best`` and ``tied`` as in :class:`flowernoise.store.records.Row`; ``against`` are the tests against the baseline,
    not corrected yet.
    """

    values: dict[Cell, Value]
    best: set[Cell]
    tied: set[Cell]
    against: dict[Cell, Paired]
    rates: dict[Line, OfRates]


class Baselines:
    """Which cell a cell is compared with: what is the same but for the loss.

    A loss is compared with the baseline of its own setup, in its own directory or the first other one that has it. The
    baseline itself is compared with that of the first directory and setup shown, so that two ways of training are
    compared too.

    Args:
        cells: all that can be compared with.
        shown: those that are compared.
        baseline: the loss to compare with.
    """

    def __init__(self, cells: Iterable[Cell], shown: Iterable[Cell], baseline: str) -> None:
        self._cells, self._baseline = set(cells), baseline
        self._holders: dict[Setup, list[int]] = {}
        for directory, setup in sorted({(c.directory, c.setup) for c in self._cells if c.loss == baseline}):
            self._holders.setdefault(setup, []).append(directory)
        self._first = min(((c.directory, c.setup) for c in shown if c.loss == baseline), default=None)

    def same_kind(self, cell: Cell) -> Cell | None:
        """The baseline with the setup of a cell, itself if it is one."""
        directories = self._holders.get(cell.setup, [])
        if not directories:
            return None
        directory = cell.directory if cell.directory in directories else directories[0]
        return self._there(cell._replace(directory=directory, loss=self._baseline))

    def against(self, cell: Cell) -> Cell | None:
        """The cell to test a cell against."""
        if cell.loss != self._baseline:
            return self.same_kind(cell)
        if self._first is None:
            return None
        directory, setup = self._first
        first = cell._replace(directory=directory, setup=setup)
        return self._there(first) if first != cell else None

    def _there(self, cell: Cell) -> Cell | None:
        return cell if cell in self._cells else None


def contests(group: Group, cells: Iterable[Cell]) -> list[list[Cell]]:
    """Which cells compete for ★ and ☆ under each noise and setup, where there are several.

    What collapsed or failed does not, nor what is given the true transition matrix.
    """
    conditions: dict[tuple[str, float, Setup], list[Cell]] = {}
    for cell in cells:
        if group.cells[cell].rows:
            conditions.setdefault((cell.noise, cell.rate, cell.setup), []).append(cell)
    fair = [
        [cell for cell in rivals if _is_fair(cell, group.cells[cell])]
        for rivals in conditions.values()
        if len(rivals) > 1
    ]
    return [rivals for rivals in fair if rivals]


def judge(group: Group, metric: Spec, shown: Sequence[Cell], baseline: str, delta: float, rows_in_all: int) -> Judged:
    """Computes all that is shown of some cells of a group.

    Args:
        shown: the cells to compare; controls and baselines that are not among them are used all the same.
        baseline: the loss to compare with.
        delta: what a tolerated rate may cost, a share.
        rows_in_all: the contests of all groups, over which ☆ is corrected.
    """
    properties = metric.entry.properties
    measured: Measured = metric(group.answers)
    bounds = properties["range"]
    setups = {cell.setup for cell in shown}
    alive = {cell: members for cell, members in group.cells.items() if members.rows and cell.setup in setups}
    values = measure(measured, alive, bounds)
    known = {cell: members for cell, members in alive.items() if values[cell].mean is not None}
    sign = 1 if properties["better"] == "higher" else -1
    rivals = contests(group, [cell for cell in shown if cell in known])
    best = _best(rivals, values, sign)
    tied = _not_worse(measured, known, rivals, properties["better"], rows_in_all) - best
    baselines = Baselines(known, shown, baseline)
    pairs = {cell: other for cell in shown if cell in known and (other := baselines.against(cell))}
    against = _tests(measured, known, pairs, bounds)
    tolerable = (properties["better"], properties["unit"]) == ("higher", "share")
    rates = _Rates(measured, known, baselines, sign, bounds).of(shown, delta if tolerable else None, baseline)
    return Judged(values, best, tied, against, rates)


def measure(measured: Measured, cells: Mapping[Cell, Members], bounds: tuple[float, float]) -> dict[Cell, Value]:
    """Each cell's value; a mean that is no number is none."""
    of_runs = {cell: tuple(measured.values[members.rows].tolist()) for cell, members in cells.items()}
    means = {cell: math.fsum(values) / len(values) for cell, values in of_runs.items()}
    known = [cell for cell, mean in means.items() if np.isfinite(mean)]
    if measured.photos is None or measured.groups is None:
        spans = [_clipped(statistics.over_seeds(of_runs[cell]), bounds) for cell in known]
    else:
        rows = [cells[cell].rows for cell in known]
        spans = statistics.intervals(measured.photos, measured.groups, rows, generator(0, "intervals"), bounds)
    found = {
        cell: Value(of_runs[cell], means[cell], *(span or (None, None)))
        for cell, span in zip(known, spans, strict=True)
    }
    return {cell: found.get(cell, NO_VALUE) for cell in cells}


def _clipped(span: tuple[float, float] | None, bounds: tuple[float, float]) -> tuple[float, float] | None:
    return span and (max(bounds[0], span[0]), min(bounds[1], span[1]))


def _best(contests: Iterable[Sequence[Cell]], values: Mapping[Cell, Value], sign: int) -> set[Cell]:
    """The best of each contest, by its mean."""
    best: set[Cell] = set()
    for rivals in contests:
        heights = [sign * (values[cell].mean or 0.0) for cell in rivals]
        best |= {cell for cell, height in zip(rivals, heights, strict=True) if height > max(heights) - _EQUAL}
    return best


def _not_worse(
    measured: Measured,
    cells: Mapping[Cell, Members],
    contests: Sequence[Sequence[Cell]],
    better: Literal["higher", "lower"],
    rows_in_all: int,
) -> set[Cell]:
    """The cells not significantly worse than any other of their contest; none for metrics that are one number a run."""
    if measured.photos is None or measured.groups is None:
        return set()
    runs = [[dict(zip(cells[cell].seeds, cells[cell].rows, strict=True)) for cell in rivals] for rivals in contests]
    found = statistics.worse_than_another(
        measured.photos, measured.groups, runs, generator(0, "best"), better=better, rows_in_all=rows_in_all
    )
    return {
        cell
        for rivals, p_values in zip(contests, found, strict=True)
        for cell, p in zip(rivals, p_values, strict=True)
        if p >= WITHOUT_STAR
    }


def _is_fair(cell: Cell, members: Members) -> bool:
    return not (members.collapsed or members.failed or is_oracle(cell.loss))


def _tests(
    measured: Measured,
    cells: Mapping[Cell, Members],
    pairs: Mapping[Cell, Cell],
    bounds: tuple[float, float],
) -> dict[Cell, Paired]:
    """Each cell tested against another over the seeds that both have; nothing for metrics that are one number a run."""
    if measured.photos is None or measured.groups is None:
        return {}
    rows = {cell: _common(cells[cell], cells[other]) for cell, other in pairs.items()}
    rows = {cell: pair for cell, pair in rows.items() if pair[0]}
    found = statistics.paired_tests(
        measured.photos, measured.groups, list(rows.values()), generator(0, "baseline"), bounds
    )
    return dict(zip(rows, found, strict=True))


def _common(one: Members, other: Members) -> tuple[list[int], list[int]]:
    """The rows of two cells for the seeds that both have, in the same order."""
    if one.seeds == other.seeds:
        return one.rows, other.rows
    of_other = dict(zip(other.seeds, other.rows, strict=True))
    common = [(row, of_other[seed]) for seed, row in zip(one.seeds, one.rows, strict=True) if seed in of_other]
    return [row for row, _ in common], [row for _, row in common]


class _Rates:
    """Tolerated rates and crossovers, of the same resamples as the intervals."""

    def __init__(
        self,
        measured: Measured,
        cells: Mapping[Cell, Members],
        baselines: Baselines,
        sign: int,
        bounds: tuple[float, float],
    ) -> None:
        self._measured, self._cells, self._baselines = measured, cells, baselines
        self._sign, self._bounds = sign, bounds

    def of(self, shown: Sequence[Cell], delta: float | None, baseline: str) -> dict[Line, OfRates]:
        """What is known of each line among some cells, of those seen at several rates: one rate shows no course.

        ``delta`` is None where nothing is tolerated or not.
        """
        lines: dict[Line, list[Cell]] = {}
        for cell in shown:
            if cell.noise != CONTROL and cell in self._cells:
                lines.setdefault(Line(cell.directory, cell.noise, cell.loss, cell.setup), []).append(cell)
        lines = {line: cells for line, cells in lines.items() if len(self._rated(cells)) > 1}
        wanted: set[Cell] = {
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

    def _means(self, cells: Sequence[Cell]) -> dict[Cell, Any]:
        if self._measured.photos is None or self._measured.groups is None:
            return {}
        rows = [self._cells[cell].rows for cell in cells]
        means = statistics.resampled_means(
            self._measured.photos, self._measured.groups, rows, generator(0, "intervals"), bounds=self._bounds
        )
        return dict(zip(cells, self._sign * means, strict=True))

    def _tolerance(self, cells: Sequence[Cell], means: Mapping[Cell, Any], delta: float) -> RateEstimate | None:
        """None without the baseline's control, or where that has collapsed: nothing is near a classifier then."""
        cells = self._rated(cells)
        of_baseline = self._baselines.same_kind(_control(cells[0])) if cells else None
        if of_baseline is None or of_baseline not in means or self._cells[of_baseline].collapsed:
            return None
        own = means.get(_control(cells[0]))
        each = np.stack([means[cell] for cell in cells])
        rates = [self._cells[cell].realised_rate for cell in cells]
        return statistics.tolerance(each, rates, means[of_baseline], own, delta)

    def _crossover(self, cells: Sequence[Cell], means: Mapping[Cell, Any]) -> RateEstimate | None:
        pairs = [(cell, self._baselines.same_kind(cell)) for cell in self._rated(cells)]
        both = [(cell, other) for cell, other in pairs if other is not None and other in means]
        if not both:
            return None
        own, others = (np.stack([means[pair[side]] for pair in both]) for side in (0, 1))
        return statistics.crossover(own, others, [self._cells[cell].realised_rate for cell, _ in both])

    def _rated(self, cells: Sequence[Cell]) -> list[Cell]:
        """Those under which some label is wrong."""
        return [cell for cell in cells if self._cells[cell].realised_rate > 0]

    def _collapsed(self, cells: Sequence[Cell], tolerance: RateEstimate) -> bool:
        """Whether runs have collapsed at rates that are called tolerated."""
        most = {"exact": tolerance.point.rate, "at_least": np.inf}.get(tolerance.point.censoring) or 0.0
        members = [self._cells[cell] for cell in cells]
        return any(each.collapsed and each.realised_rate <= most for each in members)


def _control(cell: Cell) -> Cell:
    return cell._replace(noise=CONTROL, rate=0.0)
