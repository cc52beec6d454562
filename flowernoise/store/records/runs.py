"""Records of what is trained and evaluated."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from flowernoise.store.files import FileRef
from flowernoise.store.records.data import DrawKey
from flowernoise.store.setups import Mode, Setup

Selection = Literal["selected", "last", "oracle"]


class Identity(NamedTuple):
    """A run's identity without its seed: runs with equal identities share a cell of the table."""

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
        """The draw whose labels the run is trained on."""
        return DrawKey(self.noise, self.rate, self.seed)

    @property
    def identity(self) -> Identity:
        """The identity that the runs of all seeds share."""
        return Identity(self.noise, self.rate, self.method, self.setup)


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The epoch (from 1) and hyper-parameters that a selection chose for a run."""

    learning_rate: float
    l2: float
    epoch: int


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One trained model: its draw and labels, what each selection chose, and why training failed, if it did."""

    draw: DrawKey
    method: str
    labels: str
    choices: tuple[Choice, ...]
    failure: str | None


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What produced a result: versions of the packages, backend and device, and what extracted the features, if any."""

    versions: dict[str, str]
    backend: str
    device: str
    extractor: str = ""


class RunBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Runs of one seed and setup that were trained together.

    If several blocks hold a run, the one with the highest ``generation`` counts. ``recency`` orders setups by when they
    were last trained: a counter, so that equal commands give equal bytes. Arrays: test_probabilities
    [run, selection, photo, class], val_probabilities likewise, train_predicted [run, selection, photo], and
    history_* [run, epoch]. ``weights`` are those of a fine-tuned network, if they were kept: of the first selection, in
    the order of ``Model.get_weights``.
    """

    dataset: str
    setup: Setup
    selections: tuple[Selection, ...]
    runs: tuple[Run, ...]
    arrays: FileRef
    generation: int
    recency: int
    provenance: Provenance
    weights: FileRef | None = None

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
    """The fields of :class:`RunBlock` that identify it; the rest is not read."""

    dataset: str
    arrays: FileRef
    generation: int


class EvaluatedRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run in an evaluation; row i of each array belongs to ``runs[i]``.

    ``setup`` and ``provenance`` are positions in the evaluation's tuples; ``recency`` is that of the run's block.
    """

    draw: DrawKey
    method: str
    setup: int
    provenance: int
    recency: int
    realised_rate: float
    failure: str | None


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Metrics of every run.

    Arrays, with one column per selection, which is NaN (or 0) if a run lacks that selection: predicted
    [run, selection, photo]; memorised, recovered, collapsed and available [run, selection]; and test_labels [photo].
    With several splits, a run predicts the test photos of its seed's split, test_labels are [split, photo], and
    test_photos [split, photo] are positions in the index of photos.
    ``inputs`` is the digest of the evaluated blocks; ``versions`` are those of the packages that evaluated them.
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
    splits: int = 1

    @property
    def keys(self) -> list[RunKey]:
        """Identities of the runs."""
        return [RunKey(r.draw.noise, r.draw.rate, r.draw.seed, r.method, self.setups[r.setup]) for r in self.runs]
