"""What intervals and tests share: types, levels, limits, and variances over photos and seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Integers = np.ndarray[Any, np.dtype[np.integer[Any]]]
Booleans = np.ndarray[Any, np.dtype[np.bool_]]
Cells = Sequence[Sequence[int]]
LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)  # half a 95 % interval, in standard errors
RESAMPLES = 1000
SHARE = (0.0, 1.0)  # where a mean of shares can lie
FLOOR = 1e-10  # no p-value below: there rounding would show
SAME = 1e-6  # means in single precision that differ by less are the same
AT_ONCE = 1 << 21  # resampled means held at once, 8 MiB; measured best


def are_right_or_wrong(photos: Floats) -> bool:
    """Whether what photos add to a metric is 0 or 1, as it is of shares of photos."""
    return bool(((photos == 0) | (photos == 1)).all())


def weights_of_groups(groups: Integers) -> Floats:
    """What each photo counts in the mean of its groups' means [n], 1 on average."""
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(len(groups) / (len(sizes) * sizes[group]))


def variance_over_photos(values: Floats, groups: Integers) -> Floats:
    """Variance that the sampling of photos gives the mean over groups of the group's mean [rows]."""
    present, sizes = np.unique(groups, return_counts=True)
    parts = [
        values[:, groups == group].var(axis=1, dtype=np.float64) / max(size - 1, 1)
        for group, size in zip(present, sizes, strict=True)
    ]
    return np.asarray(np.sum(parts, axis=0) / len(present) ** 2)


def crossed_variance(of_seeds: Floats, of_photos: Floats, of_each: Floats, seeds: Any) -> tuple[Floats, Floats]:
    """Variance of a mean over seeds and photos, and its degrees of freedom.

    Hillis squares the ratio of variances that the degrees of freedom grow with. Simulated, this let up to 8 % false
    positives through with three seeds, where the ratio itself lets 6 % (tests/analysis/test_statistics_simulated.py).

    Args:
        of_seeds: the variance of a mean over seeds that their differences show.
        of_photos: that which the sampling of photos gives the mean over seeds.
        of_each: that which the sampling of photos gives a single seed.
        seeds: how many; a number, or one each.
    """
    of_both = (of_each - of_photos) / (seeds - 1)  # luck on one photo with one seed, which is in both of the above
    variance = of_seeds + np.maximum(of_photos - of_both, 0)
    ratio = np.divide(variance, of_seeds, out=np.full(len(variance), math.inf), where=of_seeds > 0)
    return variance, (seeds - 1) * ratio
