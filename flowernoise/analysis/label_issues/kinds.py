"""What may be the matter with a suspicious label, and how probable it is that it is wrong at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowernoise.analysis.label_issues.estimators import Matrix, thresholds

Labels = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Kinds = np.ndarray[Any, np.dtype[np.str_]]

WRONG, AMBIGUOUS, OUTLYING = "wrong", "ambiguous", "outlying"
PLAUSIBLE = 0.5  # of the mean probability that photos with that label have of it
_SMALLEST = 1e-12


def kinds(labels: Labels, probabilities: Floats) -> Kinds:
    """What each label would be if it were suspicious [n].

    A class k is plausible for a photo with p_k ≥ ½ t_k, t_k being the mean of p_k over the photos with label k.

    - ``outlying``: no class is plausible; perhaps it shows none of them.
    - ``wrong``: one class is, and it is not the given one.
    - ``ambiguous``: several are, or the given one alone.

    Args:
        labels: given labels [n].
        probabilities: out of fold [n, c]; best those of a second round.

    >>> p = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [0.3, 0.3, 0.4], [0, 0, 1]])
    >>> kinds(np.array([0, 0, 1, 2, 2]), np.vstack([p])).tolist()
    ['ambiguous', 'wrong', 'ambiguous', 'ambiguous', 'ambiguous']
    """
    plausible = probabilities >= PLAUSIBLE * thresholds(labels, probabilities)
    given = plausible[np.arange(len(labels)), labels]
    count = plausible.sum(axis=1)
    return np.where(count == 0, OUTLYING, np.where((count == 1) & ~given, WRONG, AMBIGUOUS))


def chance_of_wrong(scores: Floats, labels: Labels, probabilities: Floats, rate: float) -> Matrix:
    """A rough probability that each label is wrong [n], the same for equal scores.

    It rises with the score, and its mean is the estimated rate.

    Formula: (1 − p_ỹ)^a with the a that makes the mean the rate, handed out in the order of the scores.

    Args:
        scores: of a detector [n].
        labels: given labels [n].
        probabilities: out of fold [n, c]; best those of a second round.
        rate: estimated share of wrong labels.

    >>> p = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    >>> chance_of_wrong(np.array([0.1, 0.3, 0.2]), np.array([0, 0, 0]), p, 0.3).round(2).tolist()
    [0.01, 0.64, 0.25]
    """
    others = np.clip(1 - probabilities[np.arange(len(labels)), labels], _SMALLEST, 1 - _SMALLEST)
    logs = np.log(others)
    low, high = 1e-6, 1e6
    for _ in range(100):
        power = float(np.sqrt(low * high))
        low, high = (power, high) if np.exp(power * logs).mean() > rate else (low, power)
    chances = np.empty(len(labels))
    chances[np.argsort(scores, kind="stable")] = np.sort(np.exp(low * logs))
    _, tie = np.unique(scores, return_inverse=True)
    return np.asarray((np.bincount(tie, weights=chances) / np.bincount(tie))[tie])
