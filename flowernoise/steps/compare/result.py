"""What a comparison holds: plain data, for tables, files and reports, and for the cache."""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

from flowernoise.statistics import RateEstimate
from flowernoise.steps.presets import Published
from flowernoise.store.records import Mode, Selection

Verdict = Literal["better", "worse"]


class Condition(NamedTuple):
    """A row of the printed table: noise and nominal rate."""

    noise: str
    rate: float


class Column(NamedTuple):
    """A column of the printed table; ``variant`` names the directory where several hold the rest alike, else empty."""

    loss: str
    backbone: str
    mode: Mode
    variant: str


@dataclasses.dataclass(frozen=True)
class Beneath:
    """Balanced accuracy, shown beneath the accuracy of a binary task; fields as of :class:`Row`."""

    mean: float
    ci_low: float | None
    ci_high: float | None
    drop: float | None


@dataclasses.dataclass(frozen=True)
class Difference:
    """How a cell differs from the baseline's on the same test photos, over the seeds that both have.

    ``mean`` is the cell's minus the baseline's, in the metric's unit. ``p_holm`` is corrected over all the differences
    of the comparison; below 5 % there is a verdict, but a loss that collapsed or failed is never called better.
    """

    mean: float
    low: float | None
    high: float | None
    p: float
    p_holm: float
    test: str
    seeds: int
    verdict: Verdict | None


@dataclasses.dataclass(frozen=True)
class Row:
    """A cell of the table: one loss under one noise, over its seeds. Shares are 0 … 1; ``drop`` is in the same unit.

    ``ci_low`` and ``ci_high`` are None where there is nothing to compute them from, ``drop`` where the loss has no
    control; ``collapsed`` and ``failed`` count runs, and failed ones have no value. ``best`` is the best mean under the
    noise, ``tied`` any other that is not significantly worse (Holm over all of the comparison) nor worse than the
    baseline; collapsed and failed losses are neither. ``dataset`` and ``directory`` are positions in those of the comparison.
    """

    noise: str
    rate: float
    realised_rate: float
    loss: str
    backbone: str
    mode: Mode
    seeds: int
    values: tuple[float, ...]
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    drop: float | None
    collapsed: int
    failed: int
    best: bool
    tied: bool = False
    difference: Difference | None = None
    balanced: Beneath | None = None
    variant: str = ""
    dataset: int = 0
    directory: int = 0

    @property
    def condition(self) -> Condition:
        """The row of the printed table."""
        return Condition(self.noise, self.rate)

    @property
    def column(self) -> Column:
        """The column of the printed table."""
        return Column(self.loss, self.backbone, self.mode, self.variant)


@dataclasses.dataclass(frozen=True)
class Tolerated:
    """What one loss stands of one noise model, as shares of wrong training labels.

    ``tolerance`` is the largest rate at which accuracy stays within δ of the baseline's control, None for metrics that
    are no accuracy; ``crossover`` the rate from which the loss beats the baseline, None for the baseline itself.
    ``collapsed`` tells that runs at tolerated rates have collapsed.
    """

    noise: str
    loss: str
    backbone: str
    mode: Mode
    tolerance: RateEstimate | None
    crossover: RateEstimate | None
    collapsed: bool
    variant: str = ""
    dataset: int = 0
    directory: int = 0

    @property
    def column(self) -> Column:
        """The column of the printed table."""
        return Column(self.loss, self.backbone, self.mode, self.variant)


@dataclasses.dataclass(frozen=True)
class Beside:
    """A published range and ours."""

    published: Published
    low: float
    high: float
    runs: int
    collapsed: int


@dataclasses.dataclass(frozen=True)
class TestPhotos:
    """The test photos that some of the directories share, and under which name.

    ``majority`` is the accuracy of always answering their most frequent class.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    test_counts: tuple[int, ...]
    majority: float
    select: Selection


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The table of one or several artifacts directories.

    ``conditions`` and ``columns`` are in the order of the printed table, ``rows`` in that of lists. ``unit`` is
    ``share`` or ``plain``, ``better`` is ``higher`` or ``lower``; ``delta`` is a share.
    """

    directories: tuple[str, ...]
    datasets: tuple[TestPhotos, ...]
    metric: str
    unit: str
    better: str
    baseline: str
    delta: float
    conditions: tuple[Condition, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    tolerated: tuple[Tolerated, ...]
    beside: tuple[Beside, ...]
    why: str
    notes: tuple[str, ...]

    @property
    def majority(self) -> float | None:
        """The majority score; None where data sets have different ones."""
        scores = {photos.majority for photos in self.datasets}
        return scores.pop() if len(scores) == 1 else None

    @property
    def select(self) -> Selection | None:
        """The selection; None where data sets have different ones."""
        selections = {photos.select for photos in self.datasets}
        return selections.pop() if len(selections) == 1 else None
