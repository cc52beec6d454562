"""Typed schemas of the records in an artifacts directory."""

from __future__ import annotations

from typing import Literal

import msgspec

from flowernoise.store.files import FileRef

Mode = Literal["features", "finetune"]
Selection = Literal["selected", "last", "oracle"]
SPLITS = ("train", "val", "test")
CONTROL = "none"


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class DatasetRequest(_Record):
    """What ``prepare`` was asked for; equal requests are the same work."""

    source: str
    data_dir: str | None
    positive: str | None
    sizes: tuple[int, int, int] | None
    image_size: int
    seed: int


class Unreadable(_Record):
    """A file that is no readable photo, and why."""

    path: str
    reason: str


class Dataset(_Record):
    """Classes, splits and photos.

    Args:
        id: digest of classes, image size, and every photo's id, label and split: what everything downstream is made from.
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


class DrawKey(_Record, order=True):
    """Identity of a draw."""

    noise: str
    rate: float
    seed: int

    def __str__(self) -> str:
        return f"{self.noise} at {self.rate:g}, seed {self.seed}"


class Draw(_Record):
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


class DrawBatch(_Record):
    """Draws that were made together; row i of each array belongs to ``draws[i]``.

    Arrays: train_labels, train_flipped, val_labels, val_flipped; transition_matrix and realised_transition_matrix
    [draw, true, observed], the former NaN where the noise model has none.
    """

    dataset: str
    draws: tuple[Draw, ...]
    arrays: FileRef


class FeaturesKey(_Record):
    """Everything that features depend on."""

    photos: str
    image_size: int
    decoding: str
    backbone: str
    weights: str
    engine: str
    device: str
    precision: str


class Features(_Record):
    """Cached features of photos, in shards of consecutive photos."""

    key: FeaturesKey
    count: int
    dimension: int
    shards: tuple[FileRef, ...]


class TrainingSettings(_Record):
    """How runs are trained; other settings supersede a run."""

    epochs: int
    batch_size: int
    optimizer: str
    learning_rates: tuple[float, ...]
    l2: tuple[float, ...]


class RunKey(_Record, order=True):
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


class Choice(_Record):
    """Which epoch (from 1) and hyper-parameters a selection took for a run."""

    learning_rate: float
    l2: float
    epoch: int


class Run(_Record):
    """One trained model: its draw's labels, what each selection took, and why it failed if it did."""

    key: RunKey
    labels: str
    choices: tuple[Choice, ...]
    failure: str | None


class Provenance(_Record):
    """What made a result: versions of the packages, backend and device."""

    versions: dict[str, str]
    backend: str
    device: str


class RunBlock(_Record):
    """Runs that were trained together: of one seed, backbone, mode and settings.

    ``inputs`` is the digest of what the photos became for the model (features' key, or weights and image size). The block
    of the highest ``generation`` that holds a run is the valid one. Arrays of heads: test_probabilities
    [run, selection, photo, class], val_probabilities likewise, train_predicted [run, selection, photo], and
    history_* [run, epoch]; of a fine-tuned network: its weights, in the order of ``Model.get_weights``.
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


class Predictions(_Record):
    """What a fine-tuned run answers, computed from its weights; arrays as those of heads."""

    block: str
    arrays: FileRef


class EvaluatedRun(_Record):
    """A run in an evaluation; row i of each array belongs to ``runs[i]``."""

    key: RunKey
    realised_rate: float
    failure: str | None


class Evaluation(_Record):
    """Metrics of every run.

    Arrays, with one column for each selection, NaN (or 0) where a run has no such selection: predicted
    [run, selection, photo], memorised [run, selection], collapsed [run, selection], available [run, selection], and
    test_labels [photo].
    """

    dataset: str
    source: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    inputs: str
    selections: tuple[Selection, ...]
    runs: tuple[EvaluatedRun, ...]
    arrays: FileRef


class Preset(_Record):
    """The preset that ``run`` was asked for, and the data set that it prepared."""

    name: str
    dataset: str
