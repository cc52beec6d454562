"""Statistics of runs that share their test photos: intervals, tests, tolerated rates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from flowernoise.analysis import stats
from flowernoise.analysis.comparison.baselines import Baselines
from flowernoise.analysis.comparison.evaluated import CellKey, Group, Members
from flowernoise.analysis.comparison.rates import Line, OfRates, Rates
from flowernoise.analysis.comparison.sample import Sample, sample_of
from flowernoise.analysis.stats import Paired, PhotosTested
from flowernoise.catalogue.losses import is_oracle
from flowernoise.catalogue.metrics import Measured, facts_of
from flowernoise.randomness import generator
from flowernoise.registry import Spec
from flowernoise.store.setups import Setup

SIGNIFICANT = 1 - stats.LEVEL
WITHOUT_STAR = SIGNIFICANT / 2  # the other half is for −, which also takes ☆ away
_EQUAL = 1e-9  # means that differ by less count as equal


@dataclasses.dataclass(frozen=True)
class Value:
    """A cell's mean over its seeds and its interval; ``mean`` is None if it is not defined."""

    values: tuple[float, ...]
    mean: float | None
    low: float | None
    high: float | None


NO_VALUE = Value((), None, None, None)


@dataclasses.dataclass(frozen=True)
class Judged:
    """Statistics of a group's cells.

    ``best`` and ``tied`` are as in :class:`flowernoise.store.records.Row`; ``against`` holds the tests against the
    baseline, not yet corrected.
    """

    values: dict[CellKey, Value]
    best: set[CellKey]
    tied: set[CellKey]
    against: dict[CellKey, Paired]
    rates: dict[Line, OfRates]


def contests(group: Group, cells: Iterable[CellKey]) -> list[list[CellKey]]:
    """The cells that compete for ★ and ☆, by noise and setup; a contest needs at least two.

    Losses that collapsed, failed, or are given the true transition matrix do not compete.
    """
    conditions: dict[tuple[str, float, Setup], list[CellKey]] = {}
    for cell in cells:
        if group.cells[cell].rows:
            conditions.setdefault((cell.noise, cell.rate, cell.setup), []).append(cell)
    fair = [
        [cell for cell in rivals if _is_fair(cell, group.cells[cell])]
        for rivals in conditions.values()
        if len(rivals) > 1
    ]
    return [rivals for rivals in fair if rivals]


def judge(
    group: Group, metric: Spec, shown: Sequence[CellKey], baseline: str, delta: float, rows_in_all: int
) -> Judged:
    """Computes everything that is shown for some cells of a group.

    Args:
        shown: the cells to compare; controls and baselines are used even if they are not among them.
        baseline: the loss to compare with.
        delta: how much a tolerated rate may cost, as a share.
        rows_in_all: number of contests in all groups, over which ☆ is corrected.
    """
    facts = facts_of(metric)
    measured: Measured = metric(group.predictions)
    bounds = facts.range
    setups = {cell.setup for cell in shown}
    alive = {cell: members for cell, members in group.cells.items() if members.rows and cell.setup in setups}
    values = measure(measured, alive, bounds, group.tested)
    sample = sample_of(measured, {cell: alive[cell] for cell in alive if values[cell].mean is not None}, group.tested)
    known = sample.cells
    rivals = contests(group, [cell for cell in shown if cell in known])
    best = _best(rivals, values, facts.sign)
    tied = _not_worse(sample, rivals, facts.better, rows_in_all) - best
    baselines = Baselines(known, shown, baseline)
    pairs = {cell: other for cell in shown if cell in known and (other := baselines.against(cell))}
    against = _tests(sample, alive, pairs, bounds)
    tolerable = (facts.better, facts.unit) == ("higher", "share")
    rates = Rates(sample, baselines, facts.sign, bounds).of(shown, delta if tolerable else None, baseline)
    return Judged(values, best, tied, against, rates)


def measure(
    measured: Measured,
    cells: Mapping[CellKey, Members],
    bounds: tuple[float, float],
    tested: PhotosTested | None = None,
) -> dict[CellKey, Value]:
    """Each cell's value; NaN as a mean becomes None.

    The mean is over seeds; where several seeds have the same split, it is over splits of the means over their seeds.
    """
    of_runs = {cell: tuple(measured.values[members.rows].tolist()) for cell, members in cells.items()}
    sample = sample_of(measured, cells, tested)
    measured = sample.measured
    of_rows = {cell: tuple(measured.values[members.rows].tolist()) for cell, members in sample.cells.items()}
    means = {cell: math.fsum(values) / len(values) for cell, values in of_rows.items()}
    known = [cell for cell, mean in means.items() if np.isfinite(mean)]
    if measured.photos is None or measured.groups is None:
        spans = [_clipped(stats.over_seeds(of_rows[cell]), bounds) for cell in known]
    else:
        rows = [sample.cells[cell].rows for cell in known]
        spans = stats.intervals(
            measured.photos, measured.groups, rows, generator(0, "intervals"), bounds, sample.tested
        )
    found = {
        cell: Value(of_runs[cell], means[cell], *(span or (None, None)))
        for cell, span in zip(known, spans, strict=True)
    }
    return {cell: found.get(cell, NO_VALUE) for cell in cells}


def _clipped(span: tuple[float, float] | None, bounds: tuple[float, float]) -> tuple[float, float] | None:
    return span and (float(max(bounds[0], span[0])), float(min(bounds[1], span[1])))  # 0 and 0.0 are stored differently


def _best(contests: Iterable[Sequence[CellKey]], values: Mapping[CellKey, Value], sign: int) -> set[CellKey]:
    """The cell with the best mean of each contest."""
    best: set[CellKey] = set()
    for rivals in contests:
        heights = [sign * (values[cell].mean or 0.0) for cell in rivals]
        best |= {cell for cell, height in zip(rivals, heights, strict=True) if height > max(heights) - _EQUAL}
    return best


def _not_worse(
    sample: Sample,
    contests: Sequence[Sequence[CellKey]],
    better: Literal["higher", "lower"],
    rows_in_all: int,
) -> set[CellKey]:
    """The cells not significantly worse than any other in their contest; empty for metrics with one number per run."""
    measured, cells = sample.measured, sample.cells
    if measured.photos is None or measured.groups is None:
        return set()
    runs = [[dict(zip(cells[cell].seeds, cells[cell].rows, strict=True)) for cell in rivals] for rivals in contests]
    found = stats.worse_than_another(
        measured.photos,
        measured.groups,
        runs,
        generator(0, "best"),
        better=better,
        rows_in_all=rows_in_all,
        tested=sample.tested,
    )
    return {
        cell
        for rivals, p_values in zip(contests, found, strict=True)
        for cell, p in zip(rivals, p_values, strict=True)
        if p >= WITHOUT_STAR
    }


def _is_fair(cell: CellKey, members: Members) -> bool:
    return not (members.collapsed or members.failed or is_oracle(cell.loss))


def _tests(
    sample: Sample,
    runs: Mapping[CellKey, Members],
    pairs: Mapping[CellKey, CellKey],
    bounds: tuple[float, float],
) -> dict[CellKey, Paired]:
    """Tests each cell against another over the seeds that both have; empty for metrics with one number per run."""
    measured, cells = sample.measured, sample.cells
    if measured.photos is None or measured.groups is None:
        return {}
    rows = {cell: _common(cells[cell], cells[other]) for cell, other in pairs.items()}
    rows = {cell: pair for cell, pair in rows.items() if pair[0]}
    found = stats.paired_tests(
        measured.photos, measured.groups, list(rows.values()), generator(0, "baseline"), bounds, sample.tested
    )
    seeds = [len(_common(runs[cell], runs[pairs[cell]])[0]) for cell in rows]
    return {cell: dataclasses.replace(one, seeds=count) for cell, one, count in zip(rows, found, seeds, strict=True)}


def _common(one: Members, other: Members) -> tuple[list[int], list[int]]:
    """The rows of two cells for the seeds that both have, in matching order."""
    if one.seeds == other.seeds:
        return one.rows, other.rows
    of_other = dict(zip(other.seeds, other.rows, strict=True))
    common = [(row, of_other[seed]) for seed, row in zip(one.seeds, one.rows, strict=True) if seed in of_other]
    return [row for row, _ in common], [row for _, row in common]
