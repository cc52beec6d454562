"""Records of what is prepared, drawn and extracted."""

from __future__ import annotations

import importlib.metadata
from typing import Literal

import msgspec

from flowernoise import __version__
from flowernoise.store.files import FileRef

SPLITS = ("train", "val", "test")
CONTROL = "none"
Trust = Literal["all", "test", "none"]


def versions_of(*packages: str) -> dict[str, str]:
    """Versions of flowernoise and of packages, by name.

    >>> list(versions_of("numpy"))
    ['flowernoise', 'numpy']
    """
    return {"flowernoise": __version__, **{name: importlib.metadata.version(name) for name in packages}}


class DatasetRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What ``prepare`` was asked to do; equal requests are the same work.

    Defaults are not written, so that records from before there were such fields are read as they were written.
    ``trust`` says which labels of the source were checked. It changes words, not photos or labels.
    """

    source: str
    data_dir: str | None
    positive: str | None
    sizes: tuple[int, int, int] | None
    image_size: int
    seed: int
    splits: int = 1
    resplit: bool = False
    labels: str | None = None
    label_column: str | None = None
    trust: Trust = "all"


class GivenFeatures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a data set of features without photos holds.

    Args:
        dimension: numbers in a row.
        digest: SHA-256 of all rows in the order of the index.
        equal: how many rows are equal to another; they are kept, and are in one split.
    """

    dimension: int
    digest: str
    equal: int


class Unreadable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that is not a readable photo, and why."""

    path: str
    reason: str


class LabelTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a table of labels holds beside the labels.

    Args:
        without_label: how many photos of the source it does not name; they were left out.
        without_photo: what its rows name whose photo is not in the source.
        classes_without_photo: labels that only such rows have; they are no classes.
        columns: the further columns, and the SHA-256 of what each says of the photos.
        cells: CSV of the further columns with one row per photo, in the order of the index; null if there are none.
    """

    without_label: int
    without_photo: tuple[str, ...]
    classes_without_photo: tuple[str, ...]
    columns: dict[str, str]
    cells: FileRef | None


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Classes, splits and photos.

    Args:
        id: digest of classes, image size, and every photo's id, label and split; everything downstream depends on it.
        counts: photos of each class (columns) in train, val and test (rows); the same in every split.
        archive: TAR of the encoded photos, named by their ids; HDF5 of the rows where there are features instead.
        index: CSV with one row per photo: id, split, label, class, path, offset and size in the archive, and its place
            in each further split.
        identical: groups of paths whose photos have equal pixels and one class; the smallest id is kept.
        contradictory: groups of paths whose photos have equal pixels but several classes; all are dropped.
        versions: of the packages that read the photos.
        given_splits: the splits that the source came with, if these were kept; val and test not among them are drawn
            from train.
        across_splits: those groups of ``identical`` whose photos were given in several splits; the first path is that
            of the photo kept, from test if it is there, else from val.
        without_split: photos that were left out, as the source has them in another split than train, val and test.
        table: what the table of labels holds, where the labels come from one.
        given: features that came without photos; null for photos.
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
    given_splits: tuple[str, ...] = ()
    across_splits: tuple[tuple[str, ...], ...] = ()
    without_split: int = 0
    table: LabelTable | None = None
    given: GivenFeatures | None = None

    @property
    def files(self) -> tuple[FileRef, ...]:
        """The files that hold it."""
        cells = self.table and self.table.cells
        return (self.archive, self.index, *((cells,) if cells else ()))

    @property
    def splits(self) -> int:
        """In how many ways the photos are split; seed s uses split s mod N."""
        return self.request.splits

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Photos in train, val and test, of each split."""
        train, val, test = (sum(row) for row in self.counts)
        return train, val, test

    @property
    def majority(self) -> float:
        """Accuracy of always answering the most frequent class of the test split; every split has the same."""
        return max(self.counts[2]) / sum(self.counts[2])


class PresetRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The preset that ``run`` used, and the data set that it prepared."""

    name: str
    dataset: str


class DrawKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """Identity of a draw."""

    noise: str
    rate: float
    seed: int

    def __str__(self) -> str:
        labels = "labels without noise" if self.noise == CONTROL else f"{self.noise} at {self.rate:g}"
        return f"{labels}, seed {self.seed}"


class Draw(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One draw of noisy labels for train and val.

    Args:
        labels: digest of the observed labels, train then val.
        realised_rate: share of training labels that are wrong.
        realised_rate_val: the same for val; null if val is empty.
        realised_rate_by_class: the same for the training labels of each true class; null for a class without photos.
    """

    key: DrawKey
    labels: str
    realised_rate: float
    realised_rate_val: float | None
    realised_rate_by_class: tuple[float | None, ...]


class DrawBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Draws that were made together; row i of each array belongs to ``draws[i]``.

    Arrays: train_labels, train_flipped, val_labels, val_flipped; transition_matrix and realised_transition_matrix
    [draw, true, observed]. The former is NaN if the noise model does not define one. ``versions`` are those of the
    packages that drew the labels.
    """

    dataset: str
    draws: tuple[Draw, ...]
    arrays: FileRef
    versions: dict[str, str] = {}


class OwnFeatures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Features that a user imported, in shards.

    Args:
        name: runs call them ``features:NAME``.
        file: SHA-256 of the file that they were imported from.
        digest: digest of ids and features; the same rows from another file have the same.
        ids: the photos, sorted.
        dimension: numbers per photo.
        shards: HDF5 files with the rows, in the order of ``ids``.
    """

    name: str
    file: str
    digest: str
    ids: tuple[str, ...]
    dimension: int
    shards: tuple[FileRef, ...]


class FeaturesKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything on which the features of a photo depend, but for the photo."""

    image_size: int
    decoding: str
    backbone: str
    weights: str
    engine: str
    device: str
    precision: str


class FeatureShard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cached features of some photos; row i of the array belongs to ``ids[i]``."""

    key: FeaturesKey
    ids: tuple[str, ...]
    dimension: int
    array: FileRef
