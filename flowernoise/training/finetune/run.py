"""One fine-tuned run: the unit of work in mode ``finetune``, a pure function from photos and labels to results."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flowernoise.training.finetune.trainer import Finetuner, FinetuneTask, OnPart
from flowernoise.training.selection import REACH, Selector, Truth, combined

Array = np.ndarray[Any, np.dtype[Any]]
OnEpoch = Callable[[float, int, float], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Tuned:
    """A run on its grid.

    Attributes:
        selector: what was selected.
        weights: those of the first selection, in the order of ``Model.get_weights``; None if they are not kept.
    """

    selector: Selector
    weights: list[Array] | None


def tune(
    finetuner: Finetuner,
    task: FinetuneTask,
    grid: Sequence[tuple[float, float]],
    truth: Truth,
    on_part: OnPart,
    on_epoch: OnEpoch,
    *,
    judged: Array | None = None,
    keep_weights: bool = False,
) -> Tuned:
    """Trains a run at each point of the grid, and selects as for heads.

    Args:
        finetuner: the network.
        task: the run; its photos are those of train, then val, then test.
        grid: learning rate and L2 of each point.
        truth: the labels that the run is judged by, of one run.
        on_part: as for ``Finetuner.train``.
        on_epoch: called after each epoch with its learning rate at the height, its number and its mean training loss.
        judged: positions of the photos that stand for those of val and test; all after the training photos if None.
        keep_weights: whether to keep the weights of the first selection.
    """
    points = []
    if judged is None:
        judged = np.arange(len(task.labels), task.photos.count)
    for learning_rate, l2 in grid:
        at_point = dataclasses.replace(task, learning_rate=learning_rate, l2=l2)
        points.append(_at_point(finetuner, at_point, truth, judged, on_part, on_epoch, keep_weights))
    selector = combined([each.selector for each in points])
    return Tuned(selector, points[int(selector.grid[0, 0])].weights)


def _at_point(
    finetuner: Finetuner,
    task: FinetuneTask,
    truth: Truth,
    judged: Array,
    on_part: OnPart,
    on_epoch: OnEpoch,
    keep_weights: bool,
) -> Tuned:
    """A run at one point of the grid."""
    selector = Selector(truth, 1, len(task.order))
    count = len(task.labels)
    recent: collections.deque[tuple[int, list[Array]]] = collections.deque(maxlen=REACH + 1)
    kept: tuple[int, list[Array] | None] = (0, None)
    for answers in finetuner.train(task, on_part):
        probabilities = answers.probabilities
        predicted = probabilities[:count].argmax(axis=1).astype(np.min_scalar_type(probabilities.shape[1] - 1))
        loss = np.array([answers.training_loss], dtype=np.float32)
        selector.update(answers.epoch, probabilities[None, judged], predicted[None], loss)
        on_epoch(task.learning_rate, answers.epoch, answers.training_loss)
        if keep_weights:  # an epoch is selected REACH epochs later
            recent.append((answers.epoch, finetuner.weights()))
            chosen = int(selector.epoch[0, 0])
            kept = next((each for each in recent if each[0] == chosen), kept)
    return Tuned(selector, kept[1])
