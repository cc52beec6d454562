"""Shared by intervals and tests: types, levels, limits, and variances over photos and seeds."""

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
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)  # half the width of a 95 % interval, in standard errors
RESAMPLES = 1000
SHARE = (0.0, 1.0)  # where a mean of shares can lie
FLOOR = 1e-10  # no smaller p-value is reported, as rounding would show
SAME = 1e-6  # single-precision means that differ by less count as equal
AT_ONCE = 1 << 21  # resampled means in memory at once, 8 MiB; fastest in measurements


def are_right_or_wrong(photos: Floats) -> bool:
    """Whether every photo contributes 0 or 1 to the metric, as for shares of photos."""
    return bool(((photos == 0) | (photos == 1)).all())


def weights_of_groups(groups: Integers) -> Floats:
    """The weight of each photo in the mean of the groups' means [n]; 1 on average."""
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(len(groups) / (len(sizes) * sizes[group]))


def variance_over_photos(values: Floats, groups: Integers) -> Floats:
    """Variance, due to sampling photos, of the mean over groups of each group's mean [rows]."""
    present, sizes = np.unique(groups, return_counts=True)
    parts = [
        values[:, groups == group].var(axis=1, dtype=np.float64) / max(size - 1, 1)
        for group, size in zip(present, sizes, strict=True)
    ]
    return np.asarray(np.sum(parts, axis=0) / len(present) ** 2)


def crossed_variance(of_seeds: Floats, of_photos: Floats, of_each: Floats, seeds: Any) -> tuple[Floats, Floats]:
    """Variance of a mean over seeds and photos, and its degrees of freedom.

    Hillis squares the ratio of variances in the degrees of freedom. In simulations with three seeds, this let up to 8 %
    false positives through; the plain ratio lets 6 % through (tests/analysis/test_statistics_simulated.py).

    Args:
        of_seeds: variance of a mean over seeds, from the differences between seeds.
        of_photos: variance, due to sampling photos, of the mean over seeds.
        of_each: variance, due to sampling photos, of a single seed.
        seeds: number of seeds: one number, or one per row.
    """
    of_both = (of_each - of_photos) / (seeds - 1)  # luck on one photo with one seed, which both of the above include
    variance = of_seeds + np.maximum(of_photos - of_both, 0)
    ratio = np.divide(variance, of_seeds, out=np.full(len(variance), math.inf), where=of_seeds > 0)
    return variance, (seeds - 1) * ratio
