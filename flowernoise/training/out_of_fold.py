"""A clean model's predictions for photos it was not trained on, for noise models that need them."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowernoise.training import heads
from flowernoise.training.tasks import HeadsTask, LossGroup

FOLDS = 5
EPOCHS = 15
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
L2 = 1e-3

Labels = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


def probabilities(
    features: Floats, labels: Labels, num_classes: int, loss: LossGroup, generator: np.random.Generator
) -> Floats:
    """Predictions [n, c] of linear heads in five stratified folds, each for the fold it was not trained on.

    With fewer photos than folds, nothing can be learnt, and all classes are equally probable.

    Args:
        features: [n, d].
        labels: clean labels [n].
        num_classes: c.
        loss: the loss, for a single head.
        generator: draws folds and batch orders.
    """
    n = len(labels)
    predictions = np.full((n, num_classes), 1 / num_classes)
    if n < FOLDS:
        return predictions
    fold = np.empty(n, dtype=np.int64)
    fold[np.lexsort((generator.random(n), labels))] = np.arange(n) % FOLDS
    trained_on = n - (n + FOLDS - 1) // FOLDS  # the same for every fold, so that one compilation serves all
    for number in range(FOLDS):
        rows = generator.permutation(np.flatnonzero(fold != number))[:trained_on]
        task = HeadsTask(
            train_features=features[rows],
            other_features=features,
            labels=labels[rows][None],
            labelling=np.array([0]),
            num_classes=num_classes,
            losses=[loss],
            learning_rates=np.array([LEARNING_RATE]),
            l2=np.array([L2]),
            order=np.stack([generator.permutation(trained_on) for _ in range(EPOCHS)]),
            batch_size=BATCH_SIZE,
        )
        [outputs] = heads.train_heads(task)
        predictions[fold == number] = outputs.probabilities[0, fold == number]
    return predictions


def confusion(predictions: Floats, labels: Labels) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Mean prediction for the photos of each class [true, predicted]; rows of absent classes are NaN.

    >>> confusion(np.array([[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]]), np.array([0, 0, 1])).tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    num_classes = predictions.shape[1]
    sums = np.zeros((num_classes, num_classes))
    np.add.at(sums, labels, predictions)
    counts = np.bincount(labels, minlength=num_classes)[:, None]
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
