"""What is trained and evaluated, as records say it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from flowernoise.store.files import FileRef
from flowernoise.store.records.data import DrawKey
from flowernoise.store.setups import Mode, Setup

Selection = Literal["selected", "last", "oracle"]


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
