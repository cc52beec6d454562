"""Finds runs that lose a class or fall far below comparable runs, beyond what chance explains."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from flowernoise.analysis.stats.common import FLOOR, Booleans, Integers

Key = tuple[Hashable, Hashable]
UNLIKELY = 0.001  # a run has lost a class if chance would explain it in fewer runs than this
_FAR = 5  # a run falls if it is more standard deviations below comparable runs
_NORMAL = 1.4826  # ratio of a normal's standard deviation to its median absolute deviation


def lost_classes(missing: Booleans, counts: Sequence[int] | Integers) -> Booleans:
    """Which runs [R] fail to predict classes on a test split more than chance explains.

    Formula: let a run predict each class as often as it occurs among the n test photos. Then it never predicts k
    classes, which have a share s of the photos, with probability (1 − s)ⁿ. A run is marked if this, times the number of
    ways to choose k of c classes, is below 0.001 for the missing classes, or for the most frequent of them. So chance
    marks at most about one such run in a thousand. A single class can be marked if it has about 8 photos with two
    classes, 9 with five, or 12 with a hundred.

    Args:
        missing: classes that each run never predicts though its training labels hold them [R, c].
        counts: test photos of each class [c].

    Source: textbook (binomial distribution, Bonferroni).

    >>> lost_classes(np.array([[False, True]]), [83, 17]), lost_classes(np.array([[False, True]]), [5, 4])
    (array([ True]), array([False]))
    """
    photos, classes = int(np.sum(counts)), missing.shape[1]
    sizes = np.sort(missing * np.asarray(counts), axis=1)[:, ::-1]
    shares = np.cumsum(sizes, axis=1) / max(1, photos)
    ways = [math.lgamma(classes + 1) - math.lgamma(k + 1) - math.lgamma(classes - k + 1) for k in range(1, classes + 1)]
    chance = photos * np.log(np.maximum(1 - shares, FLOOR)) + ways
    return np.asarray(((sizes > 0) & (chance < math.log(UNLIKELY))).any(axis=1))


def must_be_predicted(counts: Sequence[int] | Integers) -> Booleans:
    """Classes [c] that a run has lost if it never predicts them on a test split, regardless of other classes.

    Args:
        counts: test photos of each class [c].

    Formula, Source: as for :func:`lost_classes`.

    >>> must_be_predicted([83, 17]).tolist(), must_be_predicted([5, 4]).tolist()
    ([True, True], [False, False])
    """
    return lost_classes(np.eye(len(counts), dtype=bool), counts)


def fallen_runs(cells: Mapping[Key, Sequence[float]]) -> dict[Key, int]:
    """How many runs of each cell fall far below the others, while none rises nearly as far.

    If some runs of a loss fall (for example, because they lose a class), a given cell may have none of them, and a test
    of that cell cannot tell. If a fifth of runs are 17 points down, a third of cells with five seeds have none.

    Formula: deviations from the cell's median, in standard deviations of the row or of the loss, whichever is larger
    (1.4826 × the median of the nonzero absolute deviations). A run falls if it is more than 5 below the median, and the
    highest run is less than half as far above it. Cells with fewer than three runs are not judged.

    Args:
        cells: values of the runs, by (row, loss); higher is better.

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
