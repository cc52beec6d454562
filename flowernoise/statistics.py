"""Intervals for what is measured on a test split by several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)  # half a 95 % interval, in standard errors
RESAMPLES = 1000


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion.

    Args:
        successes: may be a fraction, as the mean over seeds of counts on the same photos is.
        trials: photos.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.

    >>> [round(bound, 3) for bound in wilson(90, 100)]
    [0.826, 0.945]
    """
    z, share = Z, successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def crossed_bootstrap(
    photos: Floats,
    groups: np.ndarray[Any, np.dtype[np.integer[Any]]],
    cells: Sequence[Sequence[int]],
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> list[tuple[float, float]]:
    """95 % percentile intervals of means over test photos and seeds, both drawn anew.

    The statistic is the mean over groups of the group's mean, and then over seeds. All cells share the resampled
    photos. Resampling a handful of seeds understates how much they differ, so the resampled means are moved away from
    the observed one until their spread is that of a t-interval with the degrees of freedom that seeds and photos leave.
    Where every resample gives the same value (all photos right, say) the interval is Wilson's, so it never shrinks to
    a point.

    Args:
        photos: each run's part on each test photo [runs, n], 0 … 1.
        groups: of each photo [n]; −1 for photos left out.
        cells: for each interval the runs (rows of ``photos``) that are its seeds.
        generator: source of the resampling.
        resamples: B.

    Returns:
        lower and upper bound for each cell.

    Source: Owen and Eckles, Bootstrapping data arrays of arbitrary order, Annals of Applied Statistics 6, 2012; degrees
    of freedom: Hillis, A comparison of denominator degrees of freedom methods for multiple observer ROC analysis,
    Statistics in Medicine 26, 2007 (seeds are the observers, photos the patients).
    """
    n = photos.shape[1]
    drawn = generator.multinomial(n, np.full(n, 1 / n), size=resamples)
    weights = np.concatenate([np.ones((1, n)), drawn]).astype(np.float32)
    present = [group for group in np.unique(groups) if group >= 0]
    totals = np.zeros((len(photos), resamples + 1), dtype=np.float32)
    counted = np.zeros(resamples + 1, dtype=np.float32)
    for group in present:
        members = groups == group
        size = weights[:, members].sum(axis=1)
        sums = photos[:, members].astype(np.float32) @ weights[:, members].T
        totals += np.divide(sums, size, out=np.zeros_like(sums), where=size > 0)
        counted += size > 0
    statistic = totals / np.maximum(counted, 1)
    seeds = {size: _seed_weights(size, resamples, generator) for size in sorted({len(cell) for cell in cells})}
    kept = int((groups >= 0).sum())
    return [_interval(statistic[list(cell)], seeds[len(cell)], kept) for cell in cells]


def _seed_weights(size: int, resamples: int, generator: np.random.Generator) -> Floats:
    """Weights of a cell's seeds in each resample [seeds, B]."""
    return (generator.multinomial(size, np.full(size, 1 / size), size=resamples) / size).T.astype(np.float32)


def _interval(statistic: Floats, seed_weights: Floats, photos: int) -> tuple[float, float]:
    """The interval of a cell; ``statistic`` [seeds, 1 + B] holds the observed values, then the resampled ones."""
    observed, resampled = statistic[:, 0], statistic[:, 1:]
    mean = float(observed.mean())
    means = (resampled * seed_weights).sum(axis=0)
    if len(observed) > 1:
        means = np.clip(mean + _stretch(observed, resampled, means) * (means - mean), 0, 1)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    if high - low < 1e-6:
        return wilson(mean * photos, photos)
    return float(low), float(high)


def _stretch(observed: Floats, resampled: Floats, means: Floats) -> float:
    """Factor ≥ 1 that gives the resampled means the spread of a t-interval over seeds and photos."""
    seeds = len(observed)
    of_seeds = float(observed.var(ddof=1)) / seeds
    spread = float(means.std())
    if not of_seeds or not spread:
        return 1.0
    from scipy.special import stdtrit  # Student's quantile; scipy.stats takes twice as long to import

    of_photos = float(resampled.mean(axis=0).var())
    of_both = (float(resampled.var(axis=1).mean()) - of_photos) / (seeds - 1)  # luck on one photo with one seed
    variance = of_seeds + max(of_photos - of_both, 0.0)
    freedom = (seeds - 1) * (variance / of_seeds) ** 2
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * variance**0.5
    return max(1.0, float(half / (Z * spread)))


def over_seeds(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % t-interval of a mean over seeds that are independent; None for fewer than two.

    >>> [round(bound, 2) for bound in over_seeds([0.1, 0.2, 0.3])]
    [-0.05, 0.45]
    """
    finite = [value for value in values if np.isfinite(value)]
    if len(finite) < 2:
        return None
    from scipy.special import stdtrit  # as above

    quantile = stdtrit(len(finite) - 1, (1 + LEVEL) / 2)
    half = quantile * np.std(finite, ddof=1) / np.sqrt(len(finite))
    mean = float(np.mean(finite))
    return mean - float(half), mean + float(half)


def intervals(
    photos: Floats,
    groups: np.ndarray[Any, np.dtype[np.integer[Any]]],
    cells: Sequence[Sequence[int]],
    generator: np.random.Generator,
) -> list[tuple[float, float]]:
    """95 % intervals of means over test photos: Wilson's for one seed and one group, else the crossed bootstrap.

    Args and Returns: as :func:`crossed_bootstrap`.
    """
    kept = groups >= 0
    one_group = len(np.unique(groups[kept])) == 1
    bootstrapped = iter(crossed_bootstrap(photos, groups, cells, generator))
    bounds = []
    for cell, bootstrap in zip(cells, bootstrapped, strict=True):
        if len(cell) == 1 and one_group:
            bootstrap = wilson(float(photos[cell[0], kept].sum()), int(kept.sum()))
        bounds.append(bootstrap)
    return bounds
