"""Handles to draws, runs and features: what their records say, and their arrays, read on first use."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from flowernoise.errors import BadRequestError
from flowernoise.registry import did_you_mean
from flowernoise.store import draws, feature_cache, runs
from flowernoise.store.draws import DrawnLabels, StoredDraw
from flowernoise.store.layout import Layout
from flowernoise.store.photos import Splits
from flowernoise.store.records import SPLITS, Choice, Dataset, DrawBatch, DrawKey, FeatureShard, RunBlock, Selection
from flowernoise.store.runs import StoredRun
from flowernoise.store.setups import settings

Labels = np.ndarray[Any, np.dtype[np.integer[Any]]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


MAX_KEPT = 2**29  # bytes of predictions kept in memory


class Reader:
    """Reads and checks the arrays of a data set's draws and runs; a batch of draws is read once.

    The most recently used blocks of runs stay in memory, up to :data:`MAX_KEPT`. A block holds one seed, but runs are
    ordered by noise and rate, so a loop over them returns to each block many times.
    """

    def __init__(self, layout: Layout, dataset: Dataset) -> None:
        self.layout, self.dataset = layout, dataset
        self._batches: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
        self._blocks: dict[str, runs.Arrays] = {}  # by digest, most recently used last

    def labels(self, batch: DrawBatch, row: int) -> DrawnLabels:
        """The labels of a draw.

        Raises:
            DamagedFileError: they are damaged.
        """
        name = batch.arrays.name
        if name not in self._batches:
            self._batches[name] = draws.need_batch(self.layout, self.dataset, batch)
        return DrawnLabels(**{array: values[row] for array, values in self._batches[name].items()})

    def predictions(self, block: RunBlock) -> runs.Arrays:
        """The predictions of a block's runs.

        Raises:
            DamagedFileError: they are damaged.
        """
        digest = block.arrays.sha256
        arrays = self._blocks.pop(digest, None) or runs.read_predictions(self.layout, self.dataset, block)
        self._blocks[digest] = arrays  # reinserted at the end
        while len(self._blocks) > 1 and sum(map(_size, self._blocks.values())) > MAX_KEPT:
            del self._blocks[next(iter(self._blocks))]
        return arrays


def _size(arrays: runs.Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())


@dataclasses.dataclass(frozen=True, eq=False)
class DrawHandle(StoredDraw):
    """One noisy labelling of train and val, in the order of :meth:`flowernoise.Artifacts.photos_of` its seed."""

    reader: Reader = dataclasses.field(repr=False)

    @property
    def key(self) -> DrawKey:
        """Its identity: noise, rate and seed."""
        return self.draw.key

    @property
    def noise(self) -> str:
        """Spec of the noise model; ``none`` for a control."""
        return self.draw.key.noise

    @property
    def rate(self) -> float:
        """Nominal rate, 0 … 1."""
        return self.draw.key.rate

    @property
    def seed(self) -> int:
        """The seed that it was drawn with."""
        return self.draw.key.seed

    @property
    def realised_rate(self) -> float:
        """Share of the training labels that are wrong, 0 … 1."""
        return self.draw.realised_rate

    @property
    def labels(self) -> DrawnLabels:
        """All its label arrays."""
        return self.reader.labels(self.batch, self.row)

    @property
    def train_labels(self) -> Labels:
        """Observed labels of the training photos [n]."""
        return self.labels.train_labels

    @property
    def train_flipped(self) -> Flags:
        """Which training labels are wrong [n]."""
        return self.labels.train_flipped

    @property
    def val_labels(self) -> Labels:
        """Observed labels of the validation photos [n]."""
        return self.labels.val_labels

    @property
    def val_flipped(self) -> Flags:
        """Which validation labels are wrong [n]."""
        return self.labels.val_flipped

    @property
    def transition_matrix(self) -> Floats:
        """Nominal T[i, j] = P(observed j | true i) [c, c]; NaN if the noise model does not define one."""
        return self.labels.transition_matrix

    @property
    def realised_transition_matrix(self) -> Floats:
        """Shares in the training labels [c, c]; rows of classes without a photo are NaN."""
        return self.labels.realised_transition_matrix


@dataclasses.dataclass(frozen=True, eq=False)
class RunHandle(StoredRun):
    """One trained model."""

    reader: Reader = dataclasses.field(repr=False)

    @property
    def noise(self) -> str:
        """Spec of the noise model whose labels it was trained on; ``none`` for a control."""
        return self.run.draw.noise

    @property
    def rate(self) -> float:
        """Nominal rate of that noise, 0 … 1."""
        return self.run.draw.rate

    @property
    def seed(self) -> int:
        """The seed of the draw, the initialisation and the batch order."""
        return self.run.draw.seed

    @property
    def loss(self) -> str:
        """Spec of the loss."""
        return self.run.method

    @property
    def settings(self) -> dict[str, Any]:
        """Backbone, mode and training settings, under the names used in ``--where``."""
        return settings(self.block.setup)

    @property
    def failure(self) -> str | None:
        """Why training failed, if it did."""
        return self.run.failure

    @property
    def usual(self) -> Selection:
        """The selection shown by default: ``selected`` if there is one, else ``last``."""
        there = self.block.selections
        return "selected" if "selected" in there else "last"

    @property
    def choices(self) -> dict[str, Choice]:
        """The learning rate, L2 and epoch (from 1) of each selection; empty if training failed."""
        return dict(zip(self.block.selections, self.run.choices, strict=False))

    def probabilities(self, split: str = "test", *, select: str | None = None) -> Floats:
        """Predicted probabilities for the photos of val or test [n, c].

        Args:
            split: ``val`` or ``test``; for train, only the predicted classes are stored.
            select: ``selected``, ``last`` or ``oracle``; the usual one if None.

        Raises:
            BadRequestError: training failed, or the split or selection does not exist.
            DamagedFileError: the arrays are damaged.
        """
        if split == "train":
            raise BadRequestError("only predicted classes are stored for train; use predicted('train')")
        return self._array(f"{_checked(split, SPLITS)}_probabilities", select)

    def predicted(self, split: str = "test", *, select: str | None = None) -> Labels:
        """Predicted classes for the photos of a split [n]; arguments and errors as for :meth:`probabilities`."""
        if split == "train":
            return self._array("train_predicted", select)
        predicted: Labels = self.probabilities(split, select=select).argmax(axis=1)
        return predicted

    @property
    def history(self) -> dict[str, Floats]:
        """The course of training [epoch]; NaN for epochs that were not recorded.

        Has ``loss``, ``val_accuracy``, ``val_loss``, ``test_accuracy``, and ``memorised``: the share of the wrong
        training labels that it has learnt.
        """
        arrays = self._arrays()
        return {name.removeprefix("history_"): arrays[name][self.row] for name in runs.HISTORY_ARRAYS}

    def _array(self, name: str, select: str | None) -> np.ndarray[Any, Any]:
        there = self.block.selections
        place = there.index(_checked(self.usual if select is None else select, there))
        array: np.ndarray[Any, Any] = self._arrays()[name][self.row, place]
        return array

    def _arrays(self) -> runs.Arrays:
        which = f"{self.loss} on {self.run.draw}"
        if self.failure is not None:
            raise BadRequestError(f"training {which} failed: {self.failure}")
        return self.reader.predictions(self.block)


@dataclasses.dataclass(frozen=True, eq=False)
class FeaturesHandle:
    """Features of all photos, in the order of :attr:`flowernoise.Artifacts.photos`."""

    shards: tuple[FeatureShard, ...] = dataclasses.field(repr=False)
    layout: Layout = dataclasses.field(repr=False)
    splits: Splits = dataclasses.field(repr=False)

    @property
    def backbone(self) -> str:
        """Spec of the backbone that computed them."""
        return self.shards[0].key.backbone

    @property
    def array(self) -> feature_cache.FeatureArray:
        """Features [photo, dimension], read anew each time.

        Raises:
            DamagedFileError: they are damaged.
        """
        return feature_cache.read(self.layout, self.shards, [photo.id for photo in self.splits.photos])

    def of(self, split: str, seed: int = 0) -> feature_cache.FeatureArray:
        """Features of a seed's photos of train, val or test [n, dimension]."""
        return self.array[self.splits.rows(seed, _checked(split, SPLITS))]


def true_labels(splits: Splits, split: str, seed: int) -> Labels:
    """The source's labels for a seed's photos of train, val or test [n]."""
    return splits.labels(seed, _checked(split, SPLITS))


def _checked(word: str, choices: tuple[str, ...]) -> str:
    if word not in choices:
        raise BadRequestError(f"there is no {word!r}{did_you_mean(word, choices)}; there are: {', '.join(choices)}")
    return word
