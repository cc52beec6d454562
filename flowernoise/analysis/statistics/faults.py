"""Runs that lose a class or fall far below their like, by more than chance explains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from flowernoise.analysis.statistics.common import Integers

Key = tuple[Hashable, Hashable]
UNLIKELY = 0.001  # a run loses a class where chance explains that in fewer runs
_FAR = 5  # standard deviations below its like at which a run falls
_NORMAL = 1.4826  # a normal's standard deviation over its median absolute deviation


def must_be_predicted(counts: Sequence[int] | Integers) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Classes that a sound run predicts at least once on a test split: never to do so means that it lost the class.

    Formula: a run that gives each class as often as there are test photos of it never predicts class k with chance
    (1 − nₖ/n)ⁿ, for nₖ of n photos; about e^(−nₖ). True where that is below 0.001 divided by the number of classes, so
    that chance alone marks at most one such run in a thousand: from about 8 photos of two classes, 9 of five and 12 of
    a hundred.

    Args:
        counts: test photos of each class.

    Source: textbook (binomial distribution, Bonferroni).

    >>> must_be_predicted([83, 17]).tolist()
    [True, True]
    >>> must_be_predicted([5, 4]).tolist()
    [False, False]
    """
    shares = np.asarray(counts) / max(1, int(np.sum(counts)))
    return np.asarray((1 - shares) ** np.sum(counts) < UNLIKELY / len(shares))


def fallen_runs(cells: Mapping[Key, Sequence[float]]) -> dict[Key, int]:
    """How many runs of each cell fall far below the others, while none rises nearly as far.

    A loss of which some runs fall (as where they lose a class) may have none that does in a cell, and no test of that
    cell can know: with a fifth of runs 17 points down, a third of cells of five seeds have none.

    Formula: deviations from the cell's median, in standard deviations of the row or of the loss, whichever is larger
    (1.4826 × the median of the absolute deviations that are not zero). A run falls that is more than 5 below, where the
    highest is less than half as far above. Cells of fewer than three runs have none.

    Args:
        cells: values of the runs by (row, loss); higher is better.

    >>> values = {(0, "ce"): [0.90, 0.91, 0.92], (0, "mae"): [0.72, 0.90, 0.91], (1, "mae"): [0.89, 0.90, 0.92]}
    >>> fallen_runs(values)
    {(0, 'ce'): 0, (0, 'mae'): 1, (1, 'mae'): 0}
    """
    away = {key: np.asarray(values) - np.median(values) for key, values in cells.items() if len(values) > 2}
    by_row: dict[Hashable, list[float]] = defaultdict(list)
    by_loss: dict[Hashable, list[float]] = defaultdict(list)
    for (row, loss), distances in away.items():
        spread = np.abs(distances[distances != 0]).tolist()
        by_row[row] += spread
        by_loss[loss] += spread

    def fallen(key: Key) -> int:
        distances = away.get(key, np.zeros(1))
        scale = max(float(np.median(of or [0.0])) for of in (by_row[key[0]], by_loss[key[1]]))
        if distances.max() >= -distances.min() / 2:
            return 0
        return int((distances < -_FAR * _NORMAL * scale).sum())

    return {key: fallen(key) for key in cells}
