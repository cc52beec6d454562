"""A block of heads: the unit of work in mode ``features``, a pure function from features and labels to results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from flowernoise.training import heads
from flowernoise.training.features import FeatureArray
from flowernoise.training.selection import Selector, Truth
from flowernoise.training.tasks import HeadsTask, LossGroup

Array = np.ndarray[Any, np.dtype[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class SplitFeatures:
    """Features [photos, d] of the three splits; all blocks of a sweep share them."""

    train: FeatureArray
    val: FeatureArray
    test: FeatureArray


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """R runs of one seed, trained together, each at every point of the grid.

    Attributes:
        truth: labels of the R runs, and of the test photos.
        num_classes: c.
        losses: groups of neighbouring runs with the same loss, in the order of the runs; ``heads`` counts runs.
        grid: learning rate and L2 of each point.
        order: as in ``HeadsTask``.
        batch_size: as in ``HeadsTask``.
        optimizer: Adam or SGD.
        transition_matrices: one per run [R, c, c].
        peer_order: as in ``HeadsTask``.
    """

    truth: Truth
    num_classes: int
    losses: Sequence[LossGroup]
    grid: Sequence[tuple[float, float]]
    order: Array
    batch_size: int
    optimizer: Literal["adam", "sgd"]
    transition_matrices: Array
    peer_order: Array


@dataclasses.dataclass(frozen=True, eq=False)
class StartingHead:
    """A linear head: kernel [d, c] and bias [c]."""

    kernel: Array
    bias: Array


def best_head(photos: SplitFeatures, block: Block) -> StartingHead:
    """The head that is selected for a block of one run, to start fine-tuning from."""
    task, epochs = _task(photos, block), []
    selector = Selector(block.truth, len(block.grid), len(block.order))
    for outputs in heads.train_heads(task, history=bool(len(photos.val)), weights=True):
        selector.update(outputs.epoch, outputs.probabilities, outputs.predicted, outputs.training_loss)
        epochs.append(outputs)
    point, epoch = int(selector.grid[0, 0]), int(selector.epoch[0, 0])
    chosen = next((outputs for outputs in epochs if outputs.epoch == epoch), None)
    if chosen is None:  # all diverged: start from zero, as heads do
        return StartingHead(np.zeros((photos.train.shape[1], block.num_classes)), np.zeros(block.num_classes))
    assert chosen.kernels is not None
    assert chosen.biases is not None
    return StartingHead(chosen.kernels[point], chosen.biases[point])


def train_block(photos: SplitFeatures, block: Block) -> Selector:
    """Trains a block and returns what was selected for each run, from all epochs if there is a validation split."""
    selector = Selector(block.truth, len(block.grid), len(block.order))
    for outputs in heads.train_heads(_task(photos, block), history=bool(len(photos.val))):
        selector.update(outputs.epoch, outputs.probabilities, outputs.predicted, outputs.training_loss)
    return selector


def _task(photos: SplitFeatures, block: Block) -> HeadsTask:
    """A block in the form that the trainer of heads takes: every run at every point of the grid."""
    grid, runs = block.grid, len(block.truth.train_labels)
    return HeadsTask(
        train_features=photos.train,
        other_features=np.concatenate([photos.val, photos.test]),
        labels=block.truth.train_labels,
        labelling=np.repeat(np.arange(runs), len(grid)),
        num_classes=block.num_classes,
        losses=[dataclasses.replace(group, heads=group.heads * len(grid)) for group in block.losses],
        learning_rates=np.tile([rate for rate, _ in grid], runs),
        l2=np.tile([l2 for _, l2 in grid], runs),
        order=block.order,
        batch_size=block.batch_size,
        optimizer=block.optimizer,
        transition_matrices=np.repeat(block.transition_matrices, len(grid), axis=0),
        peer_order=block.peer_order,
    )


def predictions_for_training_photos(photos: SplitFeatures, block: Block) -> Array:
    """Probabilities [R, n, c] of the training photos, from each run's first selection.

    The photos replace the test photos, so the selection does not see their true labels.
    """
    nothing = np.zeros(len(photos.train), dtype=np.int64)
    on_training_photos = dataclasses.replace(block, truth=dataclasses.replace(block.truth, test_labels=nothing))
    selector = train_block(dataclasses.replace(photos, test=photos.train), on_training_photos)
    return selector.arrays()["test_probabilities"][:, 0]
