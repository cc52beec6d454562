"""Comparisons, as stored in records and shown in tables."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from flowernoise.store.records.data import Trust
from flowernoise.store.records.runs import Identity, Selection
from flowernoise.store.setups import Setup

Verdict = Literal["better", "worse"]


class Condition(NamedTuple):
    """A row of the printed table: noise and nominal rate."""

    noise: str
    rate: float


class Column(NamedTuple):
    """A column of the printed table; ``variant`` names the directory if several have the same column, else is empty."""

    loss: str
    setup: Setup
    variant: str


class BalancedAccuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Balanced accuracy, shown below the accuracy of a binary task; fields as in :class:`Row`."""

    mean: float
    ci_low: float | None
    ci_high: float | None
    drop: float | None


class Difference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a cell differs from the baseline's on the same test photos, over the seeds that both have.

    ``mean`` is the cell's mean minus the baseline's, in the metric's unit. ``p_holm`` is corrected over all differences
    of the comparison. If it is below 5 %, there is a verdict, but a collapsed or failed loss is never called better.
    """

    mean: float
    low: float | None
    high: float | None
    p: float
    p_holm: float
    test: str
    seeds: int
    verdict: Verdict | None


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cell of the table: one loss under one noise, over its seeds. Shares are 0 … 1; ``drop`` is in the same unit.

    ``ci_low`` and ``ci_high`` are None if there is nothing to compute them from, ``drop`` if the loss has no
    control. ``value_seeds`` are the seeds of ``values``. ``collapsed`` and ``failed`` count runs; failed runs have
    no value. ``best`` marks the best mean under the noise and setup. ``tied`` marks other losses that are neither
    significantly worse than any loss, corrected over the comparison, nor worse than the baseline. Collapsed and
    failed losses get neither mark, nor does an ``oracle``, which is given the true transition matrix. ``dataset``
    and ``directory`` are positions in the comparison's tuples.
    """

    noise: str
    rate: float
    realised_rate: float
    loss: str
    setup: Setup
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
    oracle: bool = False
    difference: Difference | None = None
    balanced: BalancedAccuracy | None = None
    variant: str = ""
    dataset: int = 0
    directory: int = 0
    value_seeds: tuple[int, ...] = ()

    @property
    def identity(self) -> Identity:
        """The identity that its runs share."""
        return Identity(self.noise, self.rate, self.loss, self.setup)

    @property
    def condition(self) -> Condition:
        """The row of the printed table."""
        return Condition(self.noise, self.rate)

    @property
    def column(self) -> Column:
        """The column of the printed table."""
        return Column(self.loss, self.setup, self.variant)


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A noise rate or a bound on it; see :class:`flowernoise.analysis.stats.CensoredRate`."""

    censoring: Literal["exact", "below", "at_least", "none"]
    rate: float | None


class RateInterval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A noise rate with its 95 % interval."""

    point: Rate
    low: Rate
    high: Rate


class Tolerated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of one noise model a loss tolerates, as shares of wrong training labels.

    ``tolerance`` is the largest rate at which accuracy stays within δ of the baseline's control; None for metrics other
    than accuracies. ``crossover`` is the rate from which the loss beats the baseline; None for the baseline itself.
    ``collapsed`` says whether runs at tolerated rates have collapsed.
    """

    noise: str
    loss: str
    setup: Setup
    tolerance: RateInterval | None
    crossover: RateInterval | None
    collapsed: bool
    variant: str = ""
    dataset: int = 0
    directory: int = 0

    @property
    def column(self) -> Column:
        """The column of the printed table."""
        return Column(self.loss, self.setup, self.variant)


class PublishedResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published range beside ours, each lowest and highest, and how many runs ours comes from."""

    label: str
    published: tuple[float, float]
    ours: tuple[float, float]
    runs: int
    collapsed: int


class TestPhotos(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Test photos that some of the directories share, and the name of their data set.

    ``majority`` is the accuracy of always answering their most frequent class. ``test_counts`` and ``majority`` are
    those of each of the ``splits``. ``trust`` says which labels were checked.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    test_counts: tuple[int, ...]
    majority: float
    select: Selection
    splits: int = 1
    trust: Trust = "all"


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table of one or several artifacts directories.

    ``conditions`` and ``columns`` are in the order of the printed table, ``rows`` in the order of lists. ``unit`` is
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
    beside: tuple[PublishedResult, ...]
    why: str
    notes: tuple[str, ...]

    @property
    def majority(self) -> float | None:
        """The majority score; None if data sets differ in it."""
        scores = {photos.majority for photos in self.datasets}
        return scores.pop() if len(scores) == 1 else None

    @property
    def select(self) -> Selection | None:
        """The selection; None if data sets differ in it."""
        selections = {photos.select for photos in self.datasets}
        return selections.pop() if len(selections) == 1 else None


class KeptComparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A comparison without the names of its directories, stored under the digest of everything that it depends on.

    ``evaluations`` and ``inputs`` have one SHA-256 per directory: that of the evaluation's record, and that of the runs
    that were evaluated.
    """

    key: str
    evaluations: tuple[str, ...]
    inputs: tuple[str, ...]
    comparison: Comparison
    versions: dict[str, str] = {}
