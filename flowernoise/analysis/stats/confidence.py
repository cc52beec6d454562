"""Intervals of means over seeds and over test photos."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from flowernoise.analysis.stats.common import (
    RESAMPLES,
    SAME,
    SHARE,
    Cells,
    Floats,
    Integers,
    PhotosTested,
    Z,
    are_right_or_wrong,
)
from flowernoise.analysis.stats.resampling import percentiles
from flowernoise.analysis.stats.student import student_quantile


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion.

    Args:
        successes: their number; may be a fraction, such as the mean over seeds of counts on the same photos.
        trials: number of photos.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.

    >>> [round(bound, 3) for bound in wilson(90, 100)]
    [0.826, 0.945]
    """
    z, share = Z, successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def over_seeds(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % t-interval of a mean over independent seeds; None for fewer than two.

    >>> [round(bound, 2) for bound in over_seeds([0.1, 0.2, 0.3])]
    [-0.05, 0.45]
    """
    finite = [value for value in values if np.isfinite(value)]
    if len(finite) < 2:
        return None
    half = float(student_quantile(len(finite) - 1)) * float(np.std(finite, ddof=1)) / math.sqrt(len(finite))
    mean = float(np.mean(finite))
    return mean - half, mean + half


def intervals(
    photos: Floats,
    groups: Integers,
    cells: Cells,
    generator: np.random.Generator,
    bounds: tuple[float, float] = SHARE,
    tested: PhotosTested | None = None,
) -> list[tuple[float, float] | None]:
    """95 % intervals of means over test photos: Wilson's for shares with one seed and group, else crossed bootstrap.

    Args and Returns: as for :func:`crossed_bootstrap`.
    """
    kept = groups >= 0
    several = bool(np.ptp(groups[kept])) or not are_right_or_wrong(photos)
    bootstrapped = [cell for cell in cells if several or len(cell) > 1]
    found = iter(crossed_bootstrap(photos, groups, bootstrapped, generator, bounds=bounds, tested=tested))
    trials = int(kept.sum())
    return [
        next(found) if several or len(cell) > 1 else wilson(float(photos[cell[0], kept].sum()), trials)
        for cell in cells
    ]


def crossed_bootstrap(
    photos: Floats,
    groups: Integers,
    cells: Cells,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    *,
    bounds: tuple[float, float] = SHARE,
    tested: PhotosTested | None = None,
) -> list[tuple[float, float] | None]:
    """95 % percentile intervals of the means that :func:`resampled_means` draws.

    If every resample gives the same value, a share (for example, all photos right) gets Wilson's interval, so that the
    interval never shrinks to a point. Other metrics get None.

    Args:
        photos, groups, cells, generator, resamples, bounds, tested: as for :func:`resampled_means`.

    Returns:
        lower and upper bound for each cell, or None.
    """
    lows, highs, observed = percentiles(photos, groups, cells, generator, resamples, bounds, tested)
    kept, shares = int((groups >= 0).sum()), are_right_or_wrong(photos)
    return [
        (float(low), float(high)) if high - low >= SAME else wilson(mean * kept, kept) if shares else None
        for low, high, mean in zip(lows, highs, observed, strict=True)
    ]
