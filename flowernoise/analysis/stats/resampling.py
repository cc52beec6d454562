"""Means over test photos and seeds, with both resampled."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from flowernoise.analysis.stats.common import (
    AT_ONCE,
    LEVEL,
    RESAMPLES,
    SHARE,
    Cells,
    Floats,
    Integers,
    PhotosTested,
    Z,
    crossed_variance,
    weights_of_groups,
)
from flowernoise.analysis.stats.student import student_quantile


def resampled_means(
    photos: Floats,
    groups: Integers,
    cells: Cells,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    *,
    bounds: tuple[float, float] = SHARE,
    tested: PhotosTested | None = None,
) -> Floats:
    """Means over test photos and seeds, as observed and with both resampled.

    The statistic is the mean of the groups' means, averaged over seeds. All cells share the resampled photos, and cells
    with the same number of seeds share the resampled seeds, so differences between cells are paired. With a generator
    in the same state, a cell's means do not depend on the other cells. Resampling a handful of seeds understates how
    much they differ. So the resampled means are spread out around the observed one until their width is that of a
    t-interval with the degrees of freedom that seeds and photos leave.

    Args:
        photos: what each run adds to the metric on each test photo [runs, n]; 0 or 1 for shares.
        groups: group of each photo [n]; −1 for photos left out.
        cells: for each mean, the runs (rows of ``photos``) of its seeds, at least one, in the same order everywhere.
        generator: source of the resampling.
        resamples: B.
        bounds: where means can lie; means spread beyond a bound are set to it.
        tested: the test photos of each run, if they differ; ``groups`` must then be the same for all.

    Returns:
        [cells, 1 + B], float32: the observed mean, then the resampled ones.

    Source: Owen and Eckles, Bootstrapping data arrays of arbitrary order, Annals of Applied Statistics 6, 2012; degrees
    of freedom: Hillis, A comparison of denominator degrees of freedom methods for multiple observer ROC analysis,
    Statistics in Medicine 26, 2007 (seeds are the observers, photos the patients).
    """
    means = np.empty((len(cells), 1 + resamples), dtype=np.float32)
    for positions, observed, drawn in _chunks(photos, groups, cells, generator, resamples, bounds, tested):
        means[positions, 0], means[positions, 1:] = observed, drawn
    return means


def percentiles(
    photos: Floats,
    groups: Integers,
    cells: Cells,
    generator: np.random.Generator,
    resamples: int,
    bounds: tuple[float, float],
    tested: PhotosTested | None,
) -> tuple[Floats, Floats, Floats]:
    """Lower and upper bounds of the resampled means, and the observed means; each [cells]."""
    found = np.zeros((3, len(cells)))
    for positions, observed, means in _chunks(photos, groups, cells, generator, resamples, bounds, tested):
        found[0, positions], found[1, positions] = middle(means)
        found[2, positions] = observed
    return found[0], found[1], found[2]


def middle(drawn: Floats) -> tuple[Floats, Floats]:
    """The order statistics that enclose 95 % of the draws [..., B]."""
    ordered = np.sort(drawn, axis=-1)
    tail = int(drawn.shape[-1] * (1 - LEVEL) / 2)
    return ordered[..., tail], ordered[..., -1 - tail]


def _chunks(
    photos: Floats,
    groups: Integers,
    cells: Cells,
    generator: np.random.Generator,
    resamples: int,
    bounds: tuple[float, float],
    tested: PhotosTested | None,
) -> Iterator[tuple[list[int], Floats, Floats]]:
    """Yields chunks of cells: their positions, observed means [cells] and resampled means [cells, B]."""
    kept = groups >= 0
    observed_weights = weights_of_groups(groups[kept]) / kept.sum()
    resampled_means_of = _photo_resampling(groups, generator, resamples, tested)
    seed_of_seeds = int(generator.integers(2**63))
    by_size: dict[int, list[int]] = defaultdict(list)
    for position, cell in enumerate(cells):
        by_size[len(cell)].append(position)
    for size, positions in by_size.items():
        drawn = np.random.default_rng([seed_of_seeds, size]).multinomial(size, [1 / size] * size, size=resamples)
        seed_weights = (drawn.T / size).astype(np.float32)
        step = max(1, AT_ONCE // (size * resamples))
        for start in range(0, len(positions), step):
            chosen = positions[start : start + step]
            rows = np.array([cells[position] for position in chosen]).ravel()
            parts = (photos[rows] if kept.all() else photos[np.ix_(rows, kept)]).astype(np.float32, copy=False)
            observed = (parts @ observed_weights).reshape(len(chosen), size)
            resampled = resampled_means_of(parts, rows).reshape(len(chosen), size, resamples)
            yield (
                chosen,
                observed.mean(axis=1),
                _over_resampled_seeds(observed, resampled, seed_weights, bounds, least=0.0 if tested else 1.0),
            )


def _photo_resampling(
    groups: Integers, generator: np.random.Generator, resamples: int, tested: PhotosTested | None
) -> Callable[[Floats, Integers], Floats]:
    """What gives the means of runs [runs, B] with their photos [runs, n] resampled; a photo is drawn for all runs."""
    kept = groups >= 0
    if tested is None:
        weights = _weights(groups[kept], _times_drawn(int(kept.sum()), generator, resamples))
        return lambda parts, _: np.asarray(parts @ weights)
    own = tested.among(kept)
    drawn = _times_drawn(own.count, generator, resamples)

    @functools.cache
    def weights_of(split: int) -> Floats:
        times = drawn[:, own.photos[split]]
        times[~times.any(axis=1)] = 1  # a resample that misses a few photos altogether takes each once
        return _weights(groups[kept], times)

    def means(parts: Floats, runs: Integers) -> Floats:
        found = np.empty((len(parts), resamples), dtype=np.float32)
        splits = own.of_runs[runs]
        for split in np.unique(splits):
            found[splits == split] = parts[splits == split] @ weights_of(int(split))
        return found

    return means


def _times_drawn(n: int, generator: np.random.Generator, resamples: int) -> Floats:
    """How often each of n photos is in each resample [B, n]."""
    times = np.empty((resamples, n), dtype=np.float32)
    for row in times:
        row[:] = np.bincount(generator.integers(n, size=n), minlength=n)
    return times


def _weights(groups: Integers, weights: Floats) -> Floats:
    """The weight of each photo in each resample [n, B]; a resample's mean leaves out groups that it misses.

    Args:
        groups: of the photos [n].
        weights: how often each is drawn [B, n]; changed in place.
    """
    resamples = len(weights)
    present = np.zeros((resamples, 1), dtype=np.float32)
    for group in np.unique(groups):
        members = groups == group
        size = weights[:, members].sum(axis=1, keepdims=True)
        weights[:, members] /= np.maximum(size, 1)
        present += size > 0
    return np.ascontiguousarray((weights / present).T)


def _over_resampled_seeds(
    observed: Floats, resampled: Floats, seed_weights: Floats, bounds: tuple[float, float], least: float
) -> Floats:
    """Means [cells, B] of ``resampled`` [cells, seeds, B] over the seeds drawn in ``seed_weights`` [seeds, B].

    They are stretched by ``least`` or more. It is below 1 where seeds have test photos of their own: resampling both
    counts the luck of photos twice then, as it is a part of the differences between seeds.
    """
    seeds, resamples = seed_weights.shape
    if seeds == 1:
        return resampled[:, 0]
    centre = observed.mean(axis=1, keepdims=True)
    away = np.subtract(resampled, centre[:, :, None], dtype=np.float32, out=resampled)  # the precision of float32
    means = np.einsum("csb,sb->cb", away, seed_weights)
    of_each = np.einsum("csb,csb->cs", away, away) / resamples - away.mean(axis=2) ** 2
    of_photos = away.mean(axis=1).var(axis=1)
    of_seeds = observed.var(axis=1, ddof=1) / seeds
    stretch = _stretch(means.std(axis=1), of_seeds, of_photos, of_each.mean(axis=1), seeds)
    means *= np.maximum(stretch, least)[:, None]
    return np.asarray(np.clip(means + centre.astype(np.float32), *bounds))


def _stretch(spread: Floats, of_seeds: Floats, of_photos: Floats, of_each: Floats, seeds: int) -> Floats:
    """Factor that gives resampled means the spread of a t-interval over seeds and photos; each [cells]."""
    variance, freedom = crossed_variance(of_seeds, of_photos, of_each, seeds)
    known = (of_seeds > 0) & (spread > 0)
    half = student_quantile(np.where(known, freedom, math.inf)) * np.sqrt(variance)
    factor = np.divide(half, Z * spread, out=np.ones(len(spread)), where=known)
    return np.asarray(factor, dtype=np.float32)
