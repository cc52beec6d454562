"""How many labels are wrong: the range of what several estimators say, and not a margin around one of them."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from flowernoise.analysis.label_issues import estimators
from flowernoise.analysis.label_issues.estimators import Estimate, Matrix

Labels = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseEstimate:
    """What label-free estimators say about the labels.

    The bracket is no confidence interval. Its ends are the answers of named estimators, which assume different things
    and err in opposite directions on most features; where all of them err in the same direction, it misses the truth.

    Attributes:
        rate_low: the lowest estimated share of wrong labels.
        rate_high: the highest.
        transition_matrix: T[i, j] = P(given label j | true class i) [c, c], the mean of all estimates; rows sum to 1.
            cleanlab's noise matrix is its transpose.
        transition_low: the lowest estimate of each entry [c, c].
        transition_high: the highest [c, c].
        estimates: every estimator's answer, by name.
        classes: what rows and columns stand for: names where labels are names, else numbers.
    """

    rate_low: float
    rate_high: float
    transition_matrix: Matrix
    transition_low: Matrix
    transition_high: Matrix
    estimates: Mapping[str, Estimate]
    classes: tuple[Any, ...]

    @property
    def rate(self) -> float:
        """The middle of the bracket, for those who need a single number."""
        return (self.rate_low + self.rate_high) / 2


def bracket(
    labels: Labels, probabilities: Floats, neighbours: Labels | None = None, classes: tuple[Any, ...] | None = None
) -> NoiseEstimate:
    """The estimates of all estimators for which there is what they need.

    Args:
        labels: given labels [n].
        probabilities: of the labels, out of fold [n, c].
        neighbours: the two nearest photos of each, or more [n, k], if features are there.
        classes: what to call the classes; numbers if None.
    """
    c = probabilities.shape[1]
    by_name = {
        "confident_off_diagonal": estimators.confident_off_diagonal(labels, probabilities),
        "confident_calibrated": estimators.confident_calibrated(labels, probabilities),
        "anchor": estimators.anchor(labels, probabilities),
    }
    if neighbours is not None and (of_neighbours := estimators.higher_order(labels, neighbours, c)):
        by_name["higher_order"] = of_neighbours
    rates = [each.rate for each in by_name.values()]
    matrices = np.stack([each.transition_matrix for each in by_name.values()])
    return NoiseEstimate(
        rate_low=min(rates),
        rate_high=max(rates),
        transition_matrix=matrices.mean(axis=0),
        transition_low=matrices.min(axis=0),
        transition_high=matrices.max(axis=0),
        estimates=types.MappingProxyType(by_name),
        classes=tuple(range(c)) if classes is None else classes,
    )
