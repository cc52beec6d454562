"""Typed schemas of the records in an artifacts directory."""

from __future__ import annotations

from typing import Literal

import msgspec

from flowernoise.store.files import FileRef

Mode = Literal["features", "finetune"]
Selection = Literal["selected", "last", "oracle"]
SPLITS = ("train", "val", "test")
CONTROL = "none"


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
        identical: groups of paths that hold the same photo under one class; kept once.
        contradictory: groups of paths that hold the same photo under several classes; dropped.
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
    [draw, true, observed], the former NaN where the noise model has none.
    """

    dataset: str
    draws: tuple[Draw, ...]
    arrays: FileRef


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


class TrainingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How runs are trained; other settings supersede a run."""

    epochs: int
    batch_size: int
    optimizer: str
    learning_rates: tuple[float, ...]
    l2: tuple[float, ...]


class RunKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """Identity of a run."""

    noise: str
    rate: float
    seed: int
    loss: str
    backbone: str
    mode: Mode

    @property
    def draw(self) -> DrawKey:
        """The draw that the run is trained on."""
        return DrawKey(self.noise, self.rate, self.seed)


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which epoch (from 1) and hyper-parameters a selection took for a run."""

    learning_rate: float
    l2: float
    epoch: int


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One trained model: its draw's labels, what each selection took, and why it failed if it did."""

    key: RunKey
    labels: str
    choices: tuple[Choice, ...]
    failure: str | None


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What made a result: versions of the packages, backend and device."""

    versions: dict[str, str]
    backend: str
    device: str


class RunBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Runs that were trained together: of one seed, backbone, mode and settings.

    ``inputs`` is the digest of what photos and backbone are. Of the blocks that hold a run, the one of the highest
    ``generation`` counts. Arrays of heads: test_probabilities [run, selection, photo, class], val_probabilities
    likewise, train_predicted [run, selection, photo], and history_* [run, epoch]; of a fine-tuned network: its weights,
    in the order of ``Model.get_weights``.
    """

    dataset: str
    backbone: str
    mode: Mode
    inputs: str
    settings: TrainingSettings
    selections: tuple[Selection, ...]
    runs: tuple[Run, ...]
    arrays: FileRef
    generation: int
    provenance: Provenance


class Predictions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a fine-tuned run answers, computed from its weights; arrays as those of heads."""

    block: str
    arrays: FileRef


class EvaluatedRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run in an evaluation; row i of each array belongs to ``runs[i]``."""

    key: RunKey
    realised_rate: float
    failure: str | None


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Metrics of every run.

    Arrays, with one column for each selection, NaN (or 0) where a run has no such selection: predicted
    [run, selection, photo]; memorised, recovered, collapsed and available [run, selection]; and test_labels [photo].
    """

    dataset: str
    source: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    inputs: str
    selections: tuple[Selection, ...]
    runs: tuple[EvaluatedRun, ...]
    arrays: FileRef


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The preset that ``run`` was asked for, and the data set that it prepared."""

    name: str
    dataset: str
