"""Typed schemas of the records in an artifacts directory."""

from __future__ import annotations

import importlib.metadata
from typing import Literal, NamedTuple

import msgspec

from flowernoise import __version__
from flowernoise.store.files import FileRef
from flowernoise.store.setups import Mode, Setup

Selection = Literal["selected", "last", "oracle"]
SPLITS = ("train", "val", "test")
CONTROL = "none"


def versions_of(*packages: str) -> dict[str, str]:
    """Versions of flowernoise and of packages, by name.

    >>> list(versions_of("numpy"))
    ['flowernoise', 'numpy']
    """
    return {"flowernoise": __version__, **{name: importlib.metadata.version(name) for name in packages}}


class DatasetRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``prepare`` was asked for; equal requests are the same work."""

    source: str
    data_dir: str | None
    positive: str | None
    sizes: tuple[int, int, int] | None
    image_size: int
    seed: int


class Unreadable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that is no readable photo, and why."""

    path: str
    reason: str


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Classes, splits and photos.

    Args:
        id: digest of classes, image size, and every photo's id, label and split; everything downstream depends on it.
        counts: photos of each class (columns) in train, val and test (rows).
        archive: TAR of the encoded photos, named by their ids.
        index: CSV with a row a photo: id, split, label, class, path, offset and size in the archive.
        identical: groups of paths that hold photos of equal pixels under one class; that with the smallest id is kept.
        contradictory: groups of paths that hold photos of equal pixels under several classes; dropped.
        versions: of the packages that read the photos.
    """

    id: str
    request: DatasetRequest
    source_fingerprint: str | None
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    found: int
    archive: FileRef
    index: FileRef
    identical: tuple[tuple[str, ...], ...]
    contradictory: tuple[tuple[str, ...], ...]
    unreadable: tuple[Unreadable, ...]
    versions: dict[str, str] = {}

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Photos in train, val and test."""
        train, val, test = (sum(row) for row in self.counts)
        return train, val, test

    @property
    def majority(self) -> float:
        """Accuracy of always answering the most frequent class of the test split."""
        return max(self.counts[2]) / sum(self.counts[2])


class DrawKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """Identity of a draw."""

    noise: str
    rate: float
    seed: int

    def __str__(self) -> str:
        return f"{self.noise} at {self.rate:g}, seed {self.seed}"


class Draw(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One noisy labelling of train and val.

    Args:
        labels: digest of the observed labels, train then val.
        realised_rate: share of training labels that are wrong.
        realised_rate_val: the same for val; null where val is empty.
        realised_rate_by_class: of the training labels of each true class; null for a class with no photo.
    """

    key: DrawKey
    labels: str
    realised_rate: float
    realised_rate_val: float | None
    realised_rate_by_class: tuple[float | None, ...]


class DrawBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Draws that were made together; row i of each array belongs to ``draws[i]``.

    Arrays: train_labels, train_flipped, val_labels, val_flipped; transition_matrix and realised_transition_matrix
    [draw, true, observed], the former NaN where the noise model has none. ``versions`` are of the packages that drew.
    """

    dataset: str
    draws: tuple[Draw, ...]
    arrays: FileRef
    versions: dict[str, str] = {}


class FeaturesKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that features depend on."""

    photos: str
    image_size: int
    decoding: str
    backbone: str
    weights: str
    engine: str
    device: str
    precision: str


class Features(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cached features of photos, in shards of consecutive photos."""

    key: FeaturesKey
    count: int
    dimension: int
    shards: tuple[FileRef, ...]


class Identity(NamedTuple):
    """A run's identity but for its seed: runs of equal identity share a cell of the table."""

    noise: str
    rate: float
    method: str
    setup: Setup


class RunKey(NamedTuple):
    """Identity of a run."""

    noise: str
    rate: float
    seed: int
    method: str
    setup: Setup

    @property
    def draw(self) -> DrawKey:
        """The draw that the run is trained on."""
        return DrawKey(self.noise, self.rate, self.seed)

    @property
    def identity(self) -> Identity:
        """What runs of all seeds have in common."""
        return Identity(self.noise, self.rate, self.method, self.setup)


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which epoch (from 1) and hyper-parameters a selection took for a run."""

    learning_rate: float
    l2: float
    epoch: int


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One trained model: its draw with its labels, what each selection took, and why it failed if it did."""

    draw: DrawKey
    method: str
    labels: str
    choices: tuple[Choice, ...]
    failure: str | None


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What made a result: versions of the packages, backend and device, and what extracted the features, if any."""

    versions: dict[str, str]
    backend: str
    device: str
    extractor: str = ""


class RunBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Runs that were trained together: of one seed and setup.

    Of the blocks that hold a run, the one of the highest ``generation`` counts. ``recency`` orders setups by when they
    were last trained: a counter, so that equal commands give equal bytes. Arrays of heads: test_probabilities
    [run, selection, photo, class], val_probabilities likewise, train_predicted [run, selection, photo], and
    history_* [run, epoch]; of a fine-tuned network: its weights, in the order of ``Model.get_weights``.
    """

    dataset: str
    setup: Setup
    selections: tuple[Selection, ...]
    runs: tuple[Run, ...]
    arrays: FileRef
    generation: int
    recency: int
    provenance: Provenance

    @property
    def mode(self) -> Mode:
        """Heads on features, or fine-tuning."""
        return self.setup.mode

    def key(self, run: Run) -> RunKey:
        """Identity of one of the runs."""
        return RunKey(run.draw.noise, run.draw.rate, run.draw.seed, run.method, self.setup)

    @property
    def keys(self) -> list[RunKey]:
        """Identities of the runs."""
        return [self.key(run) for run in self.runs]


class BlockHead(msgspec.Struct, frozen=True):
    """The fields of :class:`RunBlock` that tell it from others; the rest is passed over."""

    dataset: str
    arrays: FileRef
    generation: int


class Predictions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a fine-tuned run predicts, computed from its weights of SHA-256 ``block``; arrays as those of heads."""

    block: str
    arrays: FileRef
    provenance: Provenance


class EvaluatedRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run in an evaluation; row i of each array belongs to ``runs[i]``.

    ``setup`` and ``provenance`` are positions in the evaluation's lists, ``recency`` is that of the run's block.
    """

    draw: DrawKey
    method: str
    setup: int
    provenance: int
    recency: int
    realised_rate: float
    failure: str | None


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Metrics of every run.

    Arrays, with one column for each selection, NaN (or 0) where a run has no such selection: predicted
    [run, selection, photo]; memorised, recovered, collapsed and available [run, selection]; and test_labels [photo].
    ``inputs`` is the digest of the blocks that were evaluated, ``versions`` are of the packages that did it.
    """

    dataset: str
    source: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    inputs: str
    selections: tuple[Selection, ...]
    setups: tuple[Setup, ...]
    provenances: tuple[Provenance, ...]
    runs: tuple[EvaluatedRun, ...]
    arrays: FileRef
    versions: dict[str, str] = {}

    @property
    def keys(self) -> list[RunKey]:
        """Identities of the runs."""
        return [RunKey(r.draw.noise, r.draw.rate, r.draw.seed, r.method, self.setups[r.setup]) for r in self.runs]


class PresetRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The preset that ``run`` was asked for, and the data set that it prepared."""

    name: str
    dataset: str


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
