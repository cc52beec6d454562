"""What is compared, as records say it and tables show it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from flowernoise.store.records.runs import Identity, Selection
from flowernoise.store.setups import Setup

Verdict = Literal["better", "worse"]


class Condition(NamedTuple):
    """A row of the printed table: noise and nominal rate."""

    noise: str
    rate: float


class Column(NamedTuple):
    """A column of the printed table; ``variant`` names the directory where several hold the rest alike, else empty."""

    loss: str
    setup: Setup
    variant: str


class Beneath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Balanced accuracy, shown beneath the accuracy of a binary task; fields as of :class:`Row`."""

    mean: float
    ci_low: float | None
    ci_high: float | None
    drop: float | None


class Difference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cell of the table: one loss under one noise, over its seeds. Shares are 0 … 1; ``drop`` is in the same unit.

    ``ci_low`` and ``ci_high`` are None where there is nothing to compute them from, ``drop`` where the loss has no
    control; ``collapsed`` and ``failed`` count runs, and failed ones have no value. ``best`` is the best mean under the
    noise and setup, ``tied`` another that is not significantly worse than any, corrected over the comparison, nor
    worse than the baseline; collapsed and failed losses are neither, nor is an ``oracle``, which is given the true
    transition matrix. ``dataset`` and ``directory`` are positions in those of the comparison.
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
    balanced: Beneath | None = None
    variant: str = ""
    dataset: int = 0
    directory: int = 0

    @property
    def identity(self) -> Identity:
        """What its runs have in common."""
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
    """A noise rate, or what is known of it; as of :class:`flowernoise.analysis.stats.CensoredRate`."""

    censoring: Literal["exact", "below", "at_least", "none"]
    rate: float | None


class RateInterval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A noise rate with its 95 % interval."""

    point: Rate
    low: Rate
    high: Rate


class Tolerated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one loss stands of one noise model, as shares of wrong training labels.

    ``tolerance`` is the largest rate at which accuracy stays within δ of the baseline's control, None for metrics that
    are no accuracy; ``crossover`` the rate from which the loss beats the baseline, None for the baseline itself.
    ``collapsed`` tells that runs at tolerated rates have collapsed.
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


class Beside(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published range and ours, lowest and highest, and how many runs ours is of."""

    label: str
    published: tuple[float, float]
    ours: tuple[float, float]
    runs: int
    collapsed: int


class TestPhotos(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The test photos that some of the directories share, and under which name.

    ``majority`` is the accuracy of always answering their most frequent class.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    test_counts: tuple[int, ...]
    majority: float
    select: Selection


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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


class KeptComparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A comparison without the names of its directories, under the digest of all that it depends on.

    ``evaluations`` are the SHA-256 of the evaluations' records that it is of and ``inputs`` of the runs that were
    evaluated, one for each directory.
    """

    key: str
    evaluations: tuple[str, ...]
    inputs: tuple[str, ...]
    comparison: Comparison
    versions: dict[str, str] = {}
