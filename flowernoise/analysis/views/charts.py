"""Comparisons as charts: one chart per setup, with one cell per loss and noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence

import msgspec
import numpy as np

from flowernoise.catalogue.metrics import facts_of
from flowernoise.catalogue.sources import without_path
from flowernoise.store.records import CONTROL, Comparison, Row, Selection
from flowernoise.store.setups import Mode, Setup, differing, named

MAX_LINES = 7  # losses that a reader can tell apart; if there are more, the baseline and the best few stand out
FEW = 5


@dataclasses.dataclass(frozen=True)
class ChartCell:
    """One loss under one noise: its seeds' values, their mean with its 95 % interval, collapsed and failed runs."""

    noise: str
    rate: float
    realised_rate: float
    loss: str
    seeds: int
    values: tuple[float, ...]
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    collapsed: int
    failed: int


@dataclasses.dataclass(frozen=True)
class Measure:
    """A metric, its cells, and the score of always answering one class, or None if that is not known.

    ``unit`` is ``share`` (shown in %) or ``plain``, ``better`` is ``higher`` or ``lower``.
    """

    name: str
    unit: str
    better: str
    chance: float | None
    cells: tuple[ChartCell, ...]


@dataclasses.dataclass(frozen=True)
class Chart:
    """The comparison of one setup, and the losses that stand out, baseline first.

    ``settings`` names the settings in which this setup differs from those of other charts. The first of the
    ``measures`` is the requested one; balanced accuracy follows accuracy if the task is binary.
    """

    source: str
    classes: tuple[str, ...]
    test_counts: tuple[int, ...]
    setup: Setup
    settings: tuple[str, ...]
    select: Selection
    baseline: str
    highlighted: tuple[str, ...]
    measures: tuple[Measure, ...]
    trust: str = "all"

    @property
    def backbone(self) -> str:
        """The backbone."""
        return self.setup.backbone

    @property
    def mode(self) -> Mode:
        """The mode."""
        return self.setup.mode

    @property
    def cells(self) -> tuple[ChartCell, ...]:
        """The cells of the requested metric."""
        return self.measures[0].cells


def charts_of(result: Comparison, losses: Collection[str], noises: Collection[str]) -> Iterator[Chart]:
    """One chart per setup of a directory's runs in which these losses have a value under these noises.

    The control is always included.
    """
    setups = sorted({row.setup for row in result.rows})
    keys = differing(setups)
    wanted = [row for row in result.rows if row.loss in losses and row.noise in {CONTROL, *noises}]
    for setup in setups:
        rows = tuple(row for row in wanted if row.setup == setup)
        if any(row.mean is not None for row in rows):
            yield chart_of(msgspec.structs.replace(result, rows=rows), tuple(named(key, setup) for key in keys))


def chart_of(result: Comparison, settings: tuple[str, ...] = ()) -> Chart:
    """A comparison of one directory's runs of one setup, as a chart.

    Args:
        settings: the settings in which this setup differs from those of other charts.
    """
    [photos] = result.datasets
    cells = tuple(map(_cell, result.rows))
    measures = [_measure(result.metric, photos.test_counts, cells)]
    beneath = [(cell, row.balanced) for cell, row in zip(cells, result.rows, strict=True) if row.balanced]
    if beneath and (name := facts_of(result.metric).beneath):
        balanced = tuple(
            dataclasses.replace(cell, values=(), mean=below.mean, ci_low=below.ci_low, ci_high=below.ci_high)
            for cell, below in beneath
        )
        measures.append(_measure(name, photos.test_counts, balanced))
    return Chart(
        source=without_path(photos.source),
        classes=photos.classes,
        test_counts=photos.test_counts,
        setup=result.rows[0].setup,
        settings=settings,
        select=photos.select,
        baseline=result.baseline,
        highlighted=highlighted(result.rows, result.baseline, result.better),
        measures=tuple(measures),
        trust=photos.trust,
    )


def _measure(metric: str, test_counts: Sequence[int], cells: tuple[ChartCell, ...]) -> Measure:
    facts = facts_of(metric)
    chance = facts.chance.of(test_counts) if facts.chance else None
    return Measure(metric, facts.unit, facts.better, chance, cells)


def highlighted(rows: Sequence[Row], baseline: str, better: str) -> tuple[str, ...]:
    """The losses that stand out among many: the baseline, those best under some noise, then the best on average.

    If there are few losses, all of them. Otherwise, losses that collapsed or failed anywhere come last.
    """
    losses = sorted({row.loss for row in rows}, key=lambda loss: (loss != baseline, loss))
    if len(losses) <= MAX_LINES:
        return tuple(losses)
    sign = 1 if better == "higher" else -1
    noisy = {loss: [row for row in rows if row.loss == loss and row.noise != CONTROL] for loss in losses}
    most = max(len(cells) for cells in noisy.values())
    means = {
        loss: sign * float(np.mean([row.mean for row in cells if row.mean is not None]))
        for loss, cells in noisy.items()
        if len(cells) == most and not any(row.collapsed or row.failed or row.mean is None for row in cells)
    }
    best = sorted(means, key=lambda loss: (not any(row.best for row in noisy[loss]), -means[loss]))
    few = [loss for loss in best if loss != baseline][:FEW]
    return tuple([loss for loss in losses if loss == baseline] + few)


def _cell(row: Row) -> ChartCell:
    return ChartCell(
        noise=row.noise,
        rate=row.rate,
        realised_rate=row.realised_rate,
        loss=row.loss,
        seeds=row.seeds,
        values=row.values,
        mean=row.mean,
        ci_low=row.ci_low,
        ci_high=row.ci_high,
        collapsed=row.collapsed,
        failed=row.failed,
    )
