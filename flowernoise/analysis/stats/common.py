"""Shared by intervals and tests: types, levels, limits, and variances over photos and seeds."""

from __future__ import annotations

import dataclasses
import functools
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


@dataclasses.dataclass(frozen=True, eq=False)
class PhotosTested:
    """On which test photos runs were measured, where they differ.

    Args:
        of_runs: the test split of each run [runs].
        photos: numbers of the photos of each test split [splits, n]; a photo has the same number in all splits.
    """

    of_runs: Integers
    photos: Integers

    @functools.cached_property
    def count(self) -> int:
        """One more than the highest number of a photo."""
        return int(self.photos.max()) + 1

    def among(self, kept: Booleans) -> PhotosTested:
        """The same without the photos that are left out [n]; the others are numbered anew, without gaps."""
        _, numbers = np.unique(self.photos[:, kept], return_inverse=True)
        return PhotosTested(self.of_runs, numbers.reshape(len(self.photos), -1))

    def spread_out(self, values: Floats, runs: Sequence[int] | Integers) -> Floats:
        """Values of runs for each of their photos [runs, n], by the number of the photo; 0 for others [runs, count]."""
        found = np.zeros((len(values), self.count), dtype=values.dtype)
        np.put_along_axis(found, self.photos[self.of_runs[runs]], values, axis=1)
        return found


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


def deviations(values: Floats, groups: Integers) -> Floats:
    """What each photo adds to the error of a mean of groups' means [rows, n]; squares sum to its variance."""
    parts = np.empty_like(values, dtype=np.float64)
    present = np.unique(groups)
    for group in present:
        members = groups == group
        away = values[:, members] - values[:, members].mean(axis=1, keepdims=True, dtype=np.float64)
        size = away.shape[1]
        parts[:, members] = away / (len(present) * math.sqrt(size * max(size - 1, 1)))
    return parts


def crossed_variance(of_seeds: Floats, of_photos: Floats, of_each: Floats, seeds: Any) -> tuple[Floats, Floats]:
    """Variance of a mean over seeds and photos, and its degrees of freedom.

    It also holds where seeds have different test photos, which may overlap: what they share is what their means have
    in common. Without overlap, only the variance over seeds is left.

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
