"""Metrics: what is measured of a trained run.

A metric that is an average over test photos says over which groups of photos, so that intervals can resample photos;
any other gives one value a run.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from flowernoise.errors import BadRequestError
from flowernoise.registry import Registry, did_you_mean

metrics = Registry("metric")


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """What R runs answer.

    Args:
        predicted: predicted class of each test photo [R, n].
        labels: true class of each test photo [n].
        classes: names of the classes.
        memorised: share of the wrong training labels that a run gives back [R], NaN where none is wrong.
    """

    predicted: np.ndarray[Any, np.dtype[np.integer[Any]]]
    labels: np.ndarray[Any, np.dtype[np.integer[Any]]]
    classes: tuple[str, ...]
    memorised: np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """A metric's values.

    Args:
        values: one a run [R].
        photos: for averages over photos, each photo's part [R, n]; None otherwise.
        groups: of each photo [n]; the metric is the mean over groups of the group's mean; −1 for photos left out.
    """

    values: np.ndarray[Any, np.dtype[np.floating[Any]]]
    photos: np.ndarray[Any, np.dtype[np.floating[Any]]] | None = None
    groups: np.ndarray[Any, np.dtype[np.integer[Any]]] | None = None


@metrics.register(better="higher")
def accuracy(answers: Answers) -> Measured:
    """Share of the clean test photos that are classified rightly.

    Formula: mean of 1[predicted = true].

    Source: textbook. Compare it with the majority score.

    >>> accuracy(Answers(np.array([[0, 1, 1, 1]]), np.array([0, 0, 0, 1]), ("a", "b"), np.zeros(1))).values.tolist()
    [0.5]
    """
    return _mean_of_groups(answers, np.zeros(len(answers.labels), dtype=int))


@metrics.register(better="higher")
def balanced_accuracy(answers: Answers) -> Measured:
    """Mean of the classes' recalls: answering one class always scores 1/c, however frequent that class is.

    Formula: mean over the test split's classes of the share of their photos that are classified rightly.

    Source: Brodersen, Ong, Stephan and Buhmann, The balanced accuracy and its posterior distribution, ICPR 2010.

    >>> balanced_accuracy(Answers(np.array([[0, 0, 0, 0]]), np.array([0, 0, 0, 1]), ("a", "b"), np.zeros(1))).values
    array([0.5])
    """
    return _mean_of_groups(answers, answers.labels)


@metrics.register(better="higher", unkeyed="label")
def recall(answers: Answers, *, label: str) -> Measured:
    """Share of one class's test photos that are classified rightly.

    Example: ``flowernoise compare --metric recall:roses``

    >>> recall(Answers(np.array([[0, 1, 1]]), np.array([0, 0, 1]), ("a", "b"), np.zeros(1)), label="a").values
    array([0.5])
    """
    if label not in answers.classes:
        raise BadRequestError(
            f"metric recall: {label!r} is no class{did_you_mean(label, answers.classes)}; "
            f"there are: {', '.join(answers.classes)}"
        )
    wanted = answers.labels == answers.classes.index(label)
    return _mean_of_groups(answers, np.where(wanted, 0, -1))


@metrics.register(better="lower")
def memorised(answers: Answers) -> Measured:
    """Share of the corrupted training photos on which a run predicts the wrong label that it was given.

    Formula: mean over flipped training examples of 1[predicted = observed].

    Source: Liu, Niles-Weed, Razavian and Fernandez-Granda, NeurIPS 2020 (memorisation during training).
    """
    return Measured(answers.memorised)


def recalls(predicted: Any, labels: Any, num_classes: int) -> np.ndarray[Any, np.dtype[np.floating[Any]]]:
    """Recall of every class [R, c]; NaN for a class without test photos."""
    correct = predicted == labels
    columns = [correct[:, labels == k].mean(axis=1) if (labels == k).any() else None for k in range(num_classes)]
    return np.stack([np.full(len(predicted), np.nan) if column is None else column for column in columns], axis=1)


def _mean_of_groups(answers: Answers, groups: np.ndarray[Any, np.dtype[np.integer[Any]]]) -> Measured:
    correct = (answers.predicted == answers.labels).astype(np.float32)
    present = [group for group in np.unique(groups) if group >= 0]
    if not present:
        return Measured(np.full(len(correct), np.nan))
    values = np.mean([correct[:, groups == group].mean(axis=1, dtype=np.float64) for group in present], axis=0)
    return Measured(values, correct, groups)
