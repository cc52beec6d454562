"""Intervals, paired tests and tolerated rates of what several seeds measure on one test split."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Integers = np.ndarray[Any, np.dtype[np.integer[Any]]]
Booleans = np.ndarray[Any, np.dtype[np.bool_]]
Cells = Sequence[Sequence[int]]
Key = tuple[Hashable, Hashable]
LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)  # half a 95 % interval, in standard errors
RESAMPLES = 1000
SHARE = (0.0, 1.0)  # where a mean of shares can lie
DELTA = 0.02  # how much accuracy a tolerated rate may cost
UNLIKELY = 0.001  # a run loses a class where chance explains that in fewer runs
FLOOR = 1e-10  # no p-value below: there rounding would show
_SAME = 1e-6  # means in single precision that differ by less are the same
_AT_ONCE = 1 << 21  # resampled means held at once, 8 MiB; measured best
_NULL_DRAWS = 2000  # tables without differences that the observed one is held against
_IN_CACHE = 1 << 16  # numbers of an array that are worked on at once; measured best
_FAR = 5  # standard deviations below its like at which a run falls
_NORMAL = 1.4826  # a normal's standard deviation over its median absolute deviation
_TIE = 1e-4  # statistics in single precision that differ by less are the same


# Intervals


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


def over_seeds(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % t-interval of a mean over seeds that are independent; None for fewer than two.

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
) -> list[tuple[float, float] | None]:
    """95 % intervals of means over test photos: Wilson's for shares of one seed and group, else the crossed bootstrap.

    Args and Returns: as :func:`crossed_bootstrap`.
    """
    kept = groups >= 0
    several = bool(np.ptp(groups[kept])) or not _right_or_wrong(photos)
    bootstrapped = [cell for cell in cells if several or len(cell) > 1]
    found = iter(crossed_bootstrap(photos, groups, bootstrapped, generator, bounds=bounds))
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
) -> list[tuple[float, float] | None]:
    """95 % percentile intervals of the means that :func:`resampled_means` draws.

    Where every resample gives the same value, the interval of a share (all photos right, say) is Wilson's, so it never
    shrinks to a point; of anything else there is none.

    Args:
        photos, groups, cells, generator, resamples, bounds: as of :func:`resampled_means`.

    Returns:
        lower and upper bound for each cell, or None.
    """
    lows, highs, observed = _percentiles(photos, groups, cells, generator, resamples, bounds)
    kept, shares = int((groups >= 0).sum()), _right_or_wrong(photos)
    return [
        (float(low), float(high)) if high - low >= _SAME else wilson(mean * kept, kept) if shares else None
        for low, high, mean in zip(lows, highs, observed, strict=True)
    ]


def resampled_means(
    photos: Floats,
    groups: Integers,
    cells: Cells,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    *,
    bounds: tuple[float, float] = SHARE,
) -> Floats:
    """Means over test photos and seeds, as observed and with both drawn anew.

    The statistic is the mean over groups of the group's mean, and then over seeds. All cells share the resampled
    photos, and cells of the same number of seeds the resampled seeds, so differences between cells are paired; a
    generator in the same state gives a cell the same means whatever the other cells are. Resampling a handful of seeds
    understates how much they differ, so the resampled means are moved away from the observed one until their spread is
    that of a t-interval with the degrees of freedom that seeds and photos leave.

    Args:
        photos: each run's part on each test photo [runs, n]; for shares 0 or 1.
        groups: of each photo [n]; −1 for photos left out.
        cells: for each mean the runs (rows of ``photos``) that are its seeds, in the same order everywhere; never none.
        generator: source of the resampling.
        resamples: B.
        bounds: where means can lie; those moved beyond are put there.

    Returns:
        [cells, 1 + B], float32: the observed mean, then the resampled ones.

    Source: Owen and Eckles, Bootstrapping data arrays of arbitrary order, Annals of Applied Statistics 6, 2012; degrees
    of freedom: Hillis, A comparison of denominator degrees of freedom methods for multiple observer ROC analysis,
    Statistics in Medicine 26, 2007 (seeds are the observers, photos the patients).
    """
    means = np.empty((len(cells), 1 + resamples), dtype=np.float32)
    for positions, observed, drawn in _chunks(photos, groups, cells, generator, resamples, bounds):
        means[positions, 0], means[positions, 1:] = observed, drawn
    return means


def _chunks(
    photos: Floats,
    groups: Integers,
    cells: Cells,
    generator: np.random.Generator,
    resamples: int,
    bounds: tuple[float, float],
) -> Iterator[tuple[list[int], Floats, Floats]]:
    """Positions of some cells, their means as observed [cells] and as resampled [cells, B]; not too many at once."""
    kept = groups >= 0
    observed_weights = _weights_of_groups(groups[kept]) / kept.sum()
    photo_weights = _resampled_weights(groups[kept], generator, resamples)
    seed_of_seeds = int(generator.integers(2**63))
    by_size: dict[int, list[int]] = defaultdict(list)
    for position, cell in enumerate(cells):
        by_size[len(cell)].append(position)
    for size, positions in by_size.items():
        drawn = np.random.default_rng([seed_of_seeds, size]).multinomial(size, [1 / size] * size, size=resamples)
        seed_weights = (drawn.T / size).astype(np.float32)
        step = max(1, _AT_ONCE // (size * resamples))
        for start in range(0, len(positions), step):
            chosen = positions[start : start + step]
            rows = np.array([cells[position] for position in chosen]).ravel()
            parts = (photos[rows] if kept.all() else photos[np.ix_(rows, kept)]).astype(np.float32, copy=False)
            observed = (parts @ observed_weights).reshape(len(chosen), size)
            resampled = (parts @ photo_weights).reshape(len(chosen), size, resamples)
            yield chosen, observed.mean(axis=1), _over_resampled_seeds(observed, resampled, seed_weights, bounds)


def _percentiles(
    photos: Floats,
    groups: Integers,
    cells: Cells,
    generator: np.random.Generator,
    resamples: int,
    bounds: tuple[float, float],
) -> tuple[Floats, Floats, Floats]:
    """Lower and upper bound of the resampled means, and the observed ones; each [cells]."""
    found = np.zeros((3, len(cells)))
    for positions, observed, means in _chunks(photos, groups, cells, generator, resamples, bounds):
        found[0, positions], found[1, positions] = _middle(means)
        found[2, positions] = observed
    return found[0], found[1], found[2]


def _middle(drawn: Floats) -> tuple[Floats, Floats]:
    """The order statistics that hold 95 % of what was drawn [..., B]."""
    ordered = np.sort(drawn, axis=-1)
    tail = int(drawn.shape[-1] * (1 - LEVEL) / 2)
    return ordered[..., tail], ordered[..., -1 - tail]


def _resampled_weights(groups: Integers, generator: np.random.Generator, resamples: int) -> Floats:
    """What each photo counts in each resample [n, B]; groups that a resample misses are left out of its mean."""
    n = len(groups)
    weights = np.empty((resamples, n), dtype=np.float32)
    for row in weights:
        row[:] = np.bincount(generator.integers(n, size=n), minlength=n)
    present = np.zeros((resamples, 1), dtype=np.float32)
    for group in np.unique(groups):
        members = groups == group
        size = weights[:, members].sum(axis=1, keepdims=True)
        weights[:, members] /= np.maximum(size, 1)
        present += size > 0
    return np.ascontiguousarray((weights / present).T)


def _over_resampled_seeds(
    observed: Floats, resampled: Floats, seed_weights: Floats, bounds: tuple[float, float]
) -> Floats:
    """Means [cells, B] of ``resampled`` [cells, seeds, B] over the seeds that ``seed_weights`` [seeds, B] draw."""
    seeds, resamples = seed_weights.shape
    if seeds == 1:
        return resampled[:, 0]
    centre = observed.mean(axis=1, keepdims=True)
    away = np.subtract(resampled, centre[:, :, None], dtype=np.float32, out=resampled)  # single precision's best
    means = np.einsum("csb,sb->cb", away, seed_weights)
    of_each = np.einsum("csb,csb->cs", away, away) / resamples - away.mean(axis=2) ** 2
    of_photos = away.mean(axis=1).var(axis=1)
    of_seeds = observed.var(axis=1, ddof=1) / seeds
    means *= _stretch(means.std(axis=1), of_seeds, of_photos, of_each.mean(axis=1), seeds)[:, None]
    return np.asarray(np.clip(means + centre.astype(np.float32), *bounds))


def _stretch(spread: Floats, of_seeds: Floats, of_photos: Floats, of_each: Floats, seeds: int) -> Floats:
    """Factor ≥ 1 that gives resampled means the spread of a t-interval over seeds and photos; each [cells]."""
    variance, freedom = _crossed_variance(of_seeds, of_photos, of_each, seeds)
    known = (of_seeds > 0) & (spread > 0)
    half = student_quantile(np.where(known, freedom, math.inf)) * np.sqrt(variance)
    factor = np.divide(half, Z * spread, out=np.ones(len(spread)), where=known)
    return np.asarray(np.maximum(factor, 1), dtype=np.float32)


def _crossed_variance(of_seeds: Floats, of_photos: Floats, of_each: Floats, seeds: Any) -> tuple[Floats, Floats]:
    """Variance of a mean over seeds and photos, and its degrees of freedom.

    Hillis squares the ratio of variances that the degrees of freedom grow with. Simulated, this let up to 8 % false
    positives through with three seeds, where the ratio itself lets 6 % (tests/test_statistics_simulated.py).

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


def _right_or_wrong(photos: Floats) -> bool:
    return bool(((photos == 0) | (photos == 1)).all())


# Student's distribution: importing scipy.special takes longer than all that `compare` computes


def student_quantile(freedom: Any) -> Floats:
    """Student's t for a 95 % interval, of one or more degrees of freedom each, to nine digits.

    Formula: with t = √ν sinh x, P(|T| ≤ t) = ∫ cosh^(−ν) over 0 … x, divided by that over 0 … ∞. This is concave in x,
    so Newton's method climbs to the root from the first terms of the expansion about the normal quantile.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7, 1964; the expansion is 26.7.5.

    >>> student_quantile([1, 4, np.inf]).round(3).tolist()
    [12.706, 2.776, 1.96]
    """
    degrees = _degrees(freedom)
    start = Z + (Z**3 + Z) / (4 * degrees) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * degrees**2)
    x, whole = np.arcsinh(start / np.sqrt(degrees)), _arc(np.inf, degrees)
    for _ in range(4):
        x = x + (LEVEL * whole - _arc(x, degrees)) * np.cosh(x) ** degrees
    return np.asarray(np.sqrt(degrees) * np.sinh(x))


def student_two_sided(t: Any, freedom: Any) -> Floats:
    """Two-sided p-values of Student's t, no less than 1e-10.

    Formula, Source: as of :func:`student_quantile`.

    >>> student_two_sided([0, 12.706], [5, 1]).round(3).tolist()
    [1.0, 0.05]
    """
    degrees = _degrees(freedom)
    within = _arc(np.arcsinh(np.abs(t) / np.sqrt(degrees)), degrees) / _arc(np.inf, degrees)
    return np.asarray(np.clip(1 - within, FLOOR, 1))


def _degrees(freedom: Any) -> Floats:
    """As an array; from 1e9 on Student's distribution is taken for the normal one, as it is to nine digits."""
    return np.asarray(np.minimum(np.asarray(freedom, dtype=float), 1e9))


def _arc(x: Any, degrees: Floats) -> Floats:
    """∫ cosh^(−ν) over 0 … x by Gauss and Legendre, up to where the rest is less than rounding."""
    nodes, weights = _quadrature()
    half = np.minimum(x, 39 / degrees + 9 / np.sqrt(degrees))[..., None] / 2
    sinh = np.sinh(half * (1 + nodes))
    return np.asarray((np.exp(-degrees[..., None] / 2 * np.log1p(sinh**2)) @ weights) * half[..., 0])


@functools.cache
def _quadrature() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(56)
    return nodes, weights


# Paired tests


@dataclasses.dataclass(frozen=True)
class Paired:
    """How one loss differs from another on the same test photos.

    Args:
        difference: first minus second, in the metric's unit, over the seeds that both have.
        low, high: 95 % interval of the difference; None where there is nothing to compute it from.
        p: two-sided p-value, not corrected for other comparisons.
        test: ``mcnemar`` for right or wrong with one seed, else ``sign_flip``.
        seeds: how many both have.
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    test: Literal["mcnemar", "sign_flip"]
    seeds: int


def paired_tests(
    photos: Floats,
    groups: Integers,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    generator: np.random.Generator,
    bounds: tuple[float, float] = SHARE,
) -> list[Paired]:
    """Tests whether losses differ on the same test photos, with the same seeds.

    The unit is the test photo: its difference is averaged over seeds, and the sign-flip permutation test (for one seed
    McNemar's exact test) asks whether these trained networks differ on photos like these. It cannot ask whether other
    seeds would say the same, so with several seeds a difference must also stand against their luck: p is the larger of
    that and :func:`crossed_test`'s.

    Args:
        photos, groups: as of :func:`resampled_means`.
        pairs: runs of the first and of the second loss, a run of each for every seed that both have, in the same order.
        generator: source of the resampling.
        bounds: where means can lie.

    Returns:
        one each pair.

    >>> right = np.array([[1, 1, 1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0, 1, 0]], dtype=np.float32)
    >>> [found] = paired_tests(right, np.zeros(8, dtype=int), [((0,), (1,))], np.random.default_rng(0))
    >>> found.difference, found.p, found.test
    (0.75, 0.03125, 'mcnemar')
    """
    if not pairs:
        return []
    kept = groups >= 0
    groups = groups[kept]
    sizes = np.array([len(first) for first, _ in pairs])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    first, second = ([run for pair in pairs for run in pair[side]] for side in (0, 1))
    each = photos[first][:, kept].astype(np.float32, copy=False)
    each -= photos[second][:, kept]
    width = bounds[1] - bounds[0]
    cells = [range(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    lows, highs, differences = _percentiles(each, groups, cells, generator, RESAMPLES, (-width, width))
    summed = np.add.reduceat(each, starts, axis=0) * _weights_of_groups(groups)
    p_values = np.maximum(sign_flip(summed, generator), crossed_test(each, groups, starts))
    exact = (sizes == 1) & (_right_or_wrong(photos) and not np.ptp(groups))
    p_values[exact] = [mcnemar(int((row > 0).sum()), int((row < 0).sum())) for row in each[starts[exact]]]
    varies = highs - lows >= _SAME
    return [
        Paired(
            difference=float(differences[k]),
            low=float(lows[k]) if varies[k] else None,
            high=float(highs[k]) if varies[k] else None,
            p=float(p_values[k]),
            test="mcnemar" if exact[k] else "sign_flip",
            seeds=int(sizes[k]),
        )
        for k in range(len(pairs))
    ]


@functools.lru_cache(maxsize=1 << 16)
def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's exact test, two-sided: p-value of photos that only one of two networks classifies rightly.

    Formula: twice the chance of at most the smaller count, of a binomial with probability ½.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions or percentages,
    Psychometrika 12, 1947.

    >>> mcnemar(1, 9)
    0.021484375
    """
    trials = only_first + only_second
    term = total = 1
    for k in range(min(only_first, only_second)):
        term = term * (trials - k) // (k + 1)
        total += term
    return min(1.0, float(2 * total / 2**trials))


def sign_flip(differences: Floats, generator: np.random.Generator) -> Floats:
    """Two-sided p-values of the sign-flip permutation test on paired differences.

    The statistic is the sum of a row's differences; under the null hypothesis each is as likely as its negative. For
    whole numbers (counts of seeds) the distribution is exact: photos of the same absolute difference give a binomial,
    and these are convolved. For others it is drawn: p = (1 + k)/(1 + B), with B so large that 0.01 stays within reach
    of Holm's correction over all rows.

    Args:
        differences: first minus second [rows, n]; the unit is free.
        generator: source of the drawn signs.

    Returns:
        one a row, no less than 1e-10.

    Source: Fisher, The design of experiments, section 21, 1935; the added one: Phipson and Smyth, Permutation p-values
    should never be zero, Statistical Applications in Genetics and Molecular Biology 9, 2010.

    >>> sign_flip(np.array([[1, 1, 1, 1, 1, -1, 0]]), np.random.default_rng(0)).round(5).tolist()
    [0.21875]
    """
    differences = differences[:, differences.any(axis=0)]
    if not differences.size:
        return np.ones(len(differences))
    if (differences == np.rint(differences)).all():
        step = max(1, (1 << 20) // (2 * int(np.abs(differences).sum(axis=1).max()) + 1))
        return np.concatenate([_flipped(differences[k : k + step]) for k in range(0, len(differences), step)])
    return _flipped_by_chance(differences.astype(np.float32), generator)


def _flipped(differences: Floats) -> Floats:
    """Exact p-values of whole differences: the characteristic function of the sum is ∏ cos(dω), its inverse the law."""
    absolute = np.abs(np.rint(differences)).astype(np.int64)
    sizes = np.unique(absolute[absolute > 0])
    counts = np.stack([(absolute == size).sum(axis=1) for size in sizes], axis=1).astype(float)
    points = 1 << (2 * int(absolute.sum(axis=1).max())).bit_length()  # more than the sum has values
    cosines = np.cos(np.outer(sizes, np.arange(points // 2 + 1) * (2 * np.pi / points)))
    modulus = np.exp(counts @ np.log(np.maximum(np.abs(cosines), 1e-300)))
    signs = 1 - 2 * ((counts @ (cosines < 0)) % 2)
    law = np.fft.irfft(modulus * signs, axis=1)[:, : points // 2]  # of 0, 1, 2, …; it is symmetric
    observed = np.abs(np.rint(differences).sum(axis=1))
    tails = (law * (np.arange(points // 2) >= observed[:, None])).sum(axis=1)
    return np.where(observed == 0, 1.0, np.clip(2 * tails, FLOOR, 1))


def _flipped_by_chance(differences: Floats, generator: np.random.Generator) -> Floats:
    rows, n = differences.shape
    resamples = max(10_000, 100 * rows) - 1
    rounding = _SAME * np.abs(differences).sum(axis=1)
    observed = np.abs(differences.sum(axis=1)) - rounding
    exceeding = np.zeros(rows)
    step = max(1, _AT_ONCE // max(rows, n))
    for start in range(0, resamples, step):
        signs = 1 - 2 * generator.integers(2, size=(n, min(step, resamples - start)), dtype=np.int8)
        exceeding += (np.abs(differences @ signs.astype(np.float32)) >= observed[:, None]).sum(axis=1)
    return np.asarray((1 + exceeding) / (1 + resamples))


def crossed_test(differences: Floats, groups: Integers, starts: Integers) -> Floats:
    """Two-sided p-values of mean differences over photos and seeds, both sampled: Student's t.

    Args:
        differences: first minus second for each seed of each pair [rows, n].
        groups: of each photo [n]; the mean is that over groups of the group's mean.
        starts: a pair's first row [pairs]; its rows follow one another.

    Returns:
        one a pair; 0 for a single seed, which says nothing of others.

    Source: Obuchowski and Rockette, Hypothesis testing of diagnostic accuracy for multiple readers and multiple tests,
    Communications in Statistics 24, 1995; degrees of freedom: Hillis 2007 (seeds are the readers, photos the patients).
    """
    sizes = np.diff(np.append(starts, len(differences)))
    seeds = np.maximum(sizes, 2)  # of a single one nothing is asked below
    of_rows = differences @ (_weights_of_groups(groups) / len(groups))
    means = np.add.reduceat(of_rows, starts) / sizes
    of_seeds = np.add.reduceat((of_rows - np.repeat(means, sizes)) ** 2, starts) / (seeds - 1) / seeds
    of_each = np.add.reduceat(_variance_over_photos(differences, groups), starts) / sizes
    of_photos = _variance_over_photos(np.add.reduceat(differences, starts, axis=0) / sizes[:, None], groups)
    variance, freedom = _crossed_variance(of_seeds, of_photos, of_each, seeds)
    t = np.divide(means, np.sqrt(variance), out=np.zeros(len(means)), where=variance > 0)
    return np.asarray(np.where(sizes > 1, student_two_sided(t, freedom), 0.0))


def _weights_of_groups(groups: Integers) -> Floats:
    """What each photo counts in the mean of its groups' means [n], 1 on average."""
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(len(groups) / (len(sizes) * sizes[group]))


def _variance_over_photos(values: Floats, groups: Integers) -> Floats:
    """Variance that the sampling of photos gives the mean over groups of the group's mean [rows]."""
    present, sizes = np.unique(groups, return_counts=True)
    parts = [
        values[:, groups == group].var(axis=1, dtype=np.float64) / max(size - 1, 1)
        for group, size in zip(present, sizes, strict=True)
    ]
    return np.asarray(np.sum(parts, axis=0) / len(present) ** 2)


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """P-values corrected so that the chance of any false positive among them stays below the level.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected


# Which are worse than another


def worse_than_another(
    photos: Floats,
    groups: Integers,
    rows: Sequence[Sequence[Mapping[int, int]]],
    generator: np.random.Generator,
    *,
    better: Literal["higher", "lower"] = "higher",
    rows_in_all: int | None = None,
) -> list[Floats]:
    """Tests each loss against all others under the same noise: is it worse than at least one of them?

    Where the p-value is below 5 %, some other loss is better. The chance that this is said of any loss of the table of
    which it is not true is at most 5 %, whichever losses are equal.

    Formula: a loss's statistic is the largest, over the others, of (their mean − its mean) / standard error, over the
    photos and the seeds that both have. The error's part from seeds is no smaller than the mean of that part over the
    row, so a few seeds that agree by luck prove nothing. Its distribution where all losses of a row are equal is drawn
    for all of them at once: the signs of the photos' differences at random, and each loss's luck of training normal
    with its own variance (the variance's own uncertainty included). p compares a loss with the maximum over those that
    are still in the race (step-down), times the number of rows (Bonferroni), and is never below that of a t-test over
    seeds and photos between the loss and the one that beats it most clearly.

    Args:
        photos, groups: as of :func:`resampled_means`.
        rows: for each noise the losses to compare, each a mapping from seed to run (row of ``photos``). One seed
            everywhere asks of the trained networks as they are.
        generator: source of the random signs and luck.
        better: the metric's direction.
        rows_in_all: how many rows the whole table has, if these are not all.

    Returns:
        for each row one p-value a loss; 1 for a loss that shares no seed with another.

    Source: Hsu, Multiple comparisons: theory and methods, 1996 (comparisons with the best); Romano and Wolf, Exact and
    approximate stepdown methods for multiple hypothesis testing, JASA 100, 2005; degrees of freedom as
    :func:`crossed_test`.

    >>> right = np.repeat([[0.0, 1], [1, 0], [1, 1]], [2, 18], axis=1)  # 18, 2 and 20 of 20 photos
    >>> row = [{0: 0}, {0: 1}, {0: 2}]
    >>> [p] = worse_than_another(right, np.zeros(20, dtype=int), [row], np.random.default_rng(0))
    >>> (p <= 0.05).tolist()
    [False, True, False]
    """
    kept = groups >= 0
    weights = (_weights_of_groups(groups[kept]) / kept.sum()) * (1 if better == "higher" else -1)
    count = rows_in_all or len(rows)
    draws = max(_NULL_DRAWS, 45 * count) - 1  # so that 0.025 is within reach
    found: list[Floats] = []
    for cells in rows:
        every = [seed for cell in cells for seed in cell]
        shared = sorted({seed for seed in every if every.count(seed) > 1})
        if not shared:
            found.append(np.ones(len(cells)))
            continue
        rivals = _Rivals.among(photos, kept, weights, cells, shared)
        corrected = count * rivals.joint_test(generator, draws)
        found.append(np.clip(np.maximum(corrected, rivals.pairwise_test()), 0, 1))
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class _Rivals:
    """The losses of a row.

    Args:
        parts: what each photo adds to a run's mean, less the average over losses of the same seed; 0 for runs that are
            not there [losses, seeds, n].
        present: 1 where there is a run [losses, seeds].
        of_photos: the variance that sampling photos alone gives the difference of two losses [losses, losses].
    """

    parts: Floats
    present: Floats
    of_photos: Floats

    @classmethod
    def among(
        cls,
        photos: Floats,
        kept: np.ndarray[Any, Any],
        weights: Floats,
        cells: Sequence[Mapping[int, int]],
        seeds: Sequence[int],
    ) -> _Rivals:
        """Of the runs that each loss has by seed; at least two losses have each of ``seeds``."""
        present = np.array([[seed in cell for seed in seeds] for cell in cells], dtype=np.float32)
        parts = np.zeros((len(cells), len(seeds), len(weights)), dtype=np.float32)
        for place, cell in enumerate(cells):
            for column, seed in enumerate(seeds):
                if seed in cell:
                    parts[place, column] = photos[cell[seed], kept] * weights
        parts -= parts.sum(axis=0) / present.sum(axis=0)[:, None]
        parts *= present[:, :, None]
        return cls(parts, present, np.stack([_of_photos(parts, present, place) for place in range(len(cells))]))

    @functools.cached_property
    def common(self) -> Floats:
        """How many seeds two losses share [losses, losses]; none with itself."""
        shared = self.present @ self.present.T
        np.fill_diagonal(shared, 0)
        return np.asarray(shared)

    def joint_test(self, generator: np.random.Generator, draws: int) -> Floats:
        """P-values of all losses, corrected for one another."""
        losses, seeds, n = self.parts.shape
        observed = self._furthest_behind(self._means()[None])[0]
        order = np.argsort(-observed, kind="stable")
        exceeding = np.zeros(losses)
        most, step = max(1, _AT_ONCE // max(n, losses * seeds)), max(1, _IN_CACHE // losses**2)
        for some in [min(most, draws - start) for start in range(0, draws, most)]:
            signs = (1 - 2 * generator.integers(2, size=(n, some), dtype=np.int8)).astype(np.float32)
            means = (self.parts.reshape(-1, n) @ signs).T.reshape(some, losses, seeds) + self._luck(generator, some)
            for few in np.split(means, range(step, some, step)):
                drawn = self._furthest_behind(few)
                still_in = np.maximum.accumulate(drawn[:, order[::-1]], axis=1)[:, ::-1]
                exceeding[order] += (still_in >= observed[order] - _TIE).sum(axis=0)
        p = (1 + exceeding) / (1 + draws)
        p[order] = np.maximum.accumulate(p[order])
        return p

    def pairwise_test(self) -> Floats:
        """P-values of each loss against the one that beats it most clearly, by the t-test of these two alone."""
        behind, of_seeds = self._differences(self._means()[None])
        rival = self._statistics(behind, of_seeds)[0].argmax(axis=1)
        behind, of_seeds = (of[0][np.arange(len(rival)), rival] for of in (behind, of_seeds))
        shared = self.common[np.arange(len(rival)), rival]
        variance = of_seeds + self.of_photos[np.arange(len(rival)), rival]
        ratio = np.divide(variance, of_seeds, out=np.full(len(rival), math.inf), where=of_seeds > 0)
        t = np.divide(behind, np.sqrt(variance), out=np.zeros(len(rival)), where=variance > 0)
        p = student_two_sided(t, np.maximum(shared - 1, 1) * ratio)
        return np.where(shared > 1, p, np.where(shared == 1, 0.0, 1.0))

    def _means(self) -> Floats:
        return np.asarray(self.parts.sum(axis=2, dtype=np.float64))

    def _luck(self, generator: np.random.Generator, draws: int) -> Floats | float:
        """Luck of training [draws, losses, seeds], as the seeds of each loss show it."""
        if self.present.shape[1] == 1 or self.common.max() < 2:
            return 0.0
        of_runs, of_photos = self._variances
        losses = len(self.present)
        freedom = (losses - 1) * max(float(self.present.sum()) / losses - 1, 1)
        uncertain = freedom / generator.chisquare(freedom, size=(draws, 1))
        spread = np.sqrt(np.maximum(of_runs * uncertain - of_photos, 0)).astype(np.float32)
        normal = generator.standard_normal((draws, *self.present.shape), dtype=np.float32)
        return np.asarray(normal * spread[:, :, None] * self.present)

    @functools.cached_property
    def _variances(self) -> tuple[Floats, Floats]:
        """How a loss's runs vary about its mean, and how much of that is luck on single photos; each [losses]."""
        losses, counts = len(self.present), np.maximum(self.present.sum(axis=1), 1)
        away = (self.parts - self.parts.sum(axis=1, keepdims=True) / counts[:, None, None]) * self.present[:, :, None]
        freedom = np.maximum(counts - 1, 1) * (losses - 1) / losses  # the average over losses took a part of it
        of_runs, of_photos = (away.sum(axis=2) ** 2).sum(axis=1) / freedom, (away**2).sum(axis=(1, 2)) / freedom
        several = counts > 1
        return tuple(np.where(several, of, of[several].mean()) for of in (of_runs, of_photos))

    def _furthest_behind(self, means: Floats) -> Floats:
        """The statistic of each loss [draws, losses], of the runs' means [draws, losses, seeds]."""
        return np.asarray(self._statistics(*self._differences(means)).max(axis=2))

    def _differences(self, means: Floats) -> tuple[Floats, Floats]:
        """How far each loss is behind each other, and what seeds add to its variance; [draws, losses, losses]."""
        present = self.present.astype(means.dtype)
        shared = np.maximum(self.common, 1).astype(means.dtype)
        own, squares = means @ present.T, means**2 @ present.T  # over the seeds that a loss shares with each other
        behind = (own.transpose(0, 2, 1) - own) / shared
        of_runs = squares + squares.transpose(0, 2, 1) - 2 * (means @ means.transpose(0, 2, 1))
        of_runs = np.maximum(of_runs / shared - behind**2, 0)
        return behind, np.asarray(of_runs / np.maximum(shared - 1, 1))

    def _statistics(self, behind: Floats, of_seeds: Floats) -> Floats:
        """Differences in standard errors, the part of the seeds no smaller than its mean over the row."""
        shared = self.common.astype(behind.dtype)
        several = shared * (shared > 1) / max(1, int((shared > 1).sum()))
        typical = np.einsum("dij,ij->d", of_seeds, several)[:, None, None]  # of one seed
        variance = np.maximum(of_seeds, typical / np.maximum(shared, 1)) + self.of_photos.astype(behind.dtype)
        return np.asarray(behind / np.sqrt(np.where(variance > 0, variance, math.inf)))


def _of_photos(parts: Floats, present: Floats, place: int) -> Floats:
    """The variance that sampling photos alone gives the difference of one loss from each [losses].

    Of two losses as good as each other, a photo's difference is as likely as its negative: so squares, not variances.
    """
    both = present[place] * present
    counts = np.maximum(both.sum(axis=1), 1)
    each = (parts[place] - parts) * both[:, :, None]
    of_mean = (each.sum(axis=1) ** 2).sum(axis=1) / counts**2
    of_each = (each**2).sum(axis=(1, 2)) / counts
    return np.asarray(np.maximum(of_mean - (of_each - of_mean) / np.maximum(counts - 1, 1), 0))


# Lost classes


def lost_classes(missing: Booleans, counts: Sequence[int] | Integers) -> Booleans:
    """Which runs [R] never predict classes on a test split that chance does not explain.

    Formula: a run that gives each class as often as there are test photos of it never predicts k classes that have a
    share s of the n photos with chance (1 − s)ⁿ. True where that, times the ways to choose k of c classes, is below
    0.001 for the classes missing, or for the most frequent ones among them: so chance marks about one such run in a
    thousand at most. One class is marked from about 8 photos where there are two classes, 9 of five, 12 of a hundred.

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
    """Classes [c] that a run has lost if it never predicts them on a test split, whatever the others.

    Args:
        counts: test photos of each class [c].

    Formula, Source: as of :func:`lost_classes`.

    >>> must_be_predicted([83, 17]).tolist(), must_be_predicted([5, 4]).tolist()
    ([True, True], [False, False])
    """
    return lost_classes(np.eye(len(counts), dtype=bool), counts)


# Unsteady losses


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


# Tolerated rates


@dataclasses.dataclass(frozen=True)
class CensoredRate:
    """A noise rate, or what is known of it.

    Args:
        censoring: ``exact``; ``below`` and ``at_least`` bound it by ``rate``; ``none``: there is no such rate.
        rate: None for ``none``.
    """

    censoring: Literal["exact", "below", "at_least", "none"]
    rate: float | None


@dataclasses.dataclass(frozen=True)
class RateEstimate:
    """A noise rate with its 95 % interval."""

    point: CensoredRate
    low: CensoredRate
    high: CensoredRate


def tolerance(
    means: Floats,
    rates: Sequence[float] | Floats,
    baseline_control: Floats,
    own_control: Floats | None = None,
    delta: float = DELTA,
) -> RateEstimate:
    """The largest rate up to which a loss stays within ``delta`` of the baseline without noise.

    Formula: the first downward crossing of the baseline's control − δ, linear between neighbouring rates. ``below`` the
    first rate where it lies beneath there; ``at_least`` the last one where it never does; ``none`` where the loss's own
    control does. Computed on the observed means and on every resample; the interval holds 95 % of these, ordered
    ``none`` < ``below`` < rates < ``at_least``, and the point.

    Args:
        means: of :func:`resampled_means` at each rate [rates, 1 + B]; negated where lower is better.
        rates: realised, above 0, in any order.
        baseline_control: the baseline's mean without noise, in the same resamples [1 + B].
        own_control: the loss's, if it has one.
        delta: in the unit of the means.

    >>> means, control = np.array([[0.92], [0.88], [0.70]]), np.array([0.92])
    >>> tolerance(np.repeat(means, 11, axis=1), [0.2, 0.4, 0.6], np.repeat(control, 11)).point.censoring
    'exact'
    """
    sorted_rates, sorted_means = _by_rate(rates, means)
    margin = sorted_means - (np.asarray(baseline_control, dtype=float) - delta)
    found = _first_crossing(sorted_rates, margin, margin < -_SAME, at_once=_BELOW, never=math.inf)
    if own_control is not None:
        found[own_control < baseline_control - delta - _SAME] = -math.inf
    return _estimate(found, sorted_rates, {-math.inf: "none", math.inf: "at_least"})


def crossover(means: Floats, baseline: Floats, rates: Sequence[float] | Floats) -> RateEstimate:
    """The rate from which a loss beats the baseline and keeps beating it up to the last rate.

    Formula: going down from the last rate, the first crossing to where the loss is not ahead, linear between
    neighbouring rates. ``below`` the first rate where it is ahead at all of them, whatever the controls say; ``none``
    where it is not ahead at the last. The interval holds 95 % of the resamples, ordered ``below`` < rates < ``none``,
    and the point.

    Args:
        means, baseline: of :func:`resampled_means` at each rate [rates, 1 + B]; negated where lower is better.
        rates: realised, above 0, in any order.

    >>> means, baseline = np.array([[0.90], [0.88]]), np.array([[0.92], [0.84]])
    >>> crossover(np.repeat(means, 11, axis=1), np.repeat(baseline, 11, axis=1), [0.2, 0.5]).point.censoring
    'exact'
    """
    sorted_rates, lead = _by_rate(rates, np.asarray(means, dtype=float) - baseline)
    backwards = lead[::-1]
    found = _first_crossing(sorted_rates[::-1], backwards, backwards <= _SAME, at_once=math.inf, never=_BELOW)
    return _estimate(found, sorted_rates, {math.inf: "none"})


_BELOW = -1.0  # stands for a rate below the first; ±∞ for what lies beyond all rates


def _by_rate(rates: Sequence[float] | Floats, means: Floats) -> tuple[Floats, Floats]:
    """Rates in rising order, and the means in theirs."""
    order = np.argsort(rates, kind="stable")
    return np.asarray(rates, dtype=float)[order], np.asarray(means, dtype=float)[order]


def _first_crossing(rates: Floats, margin: Floats, beneath: Any, *, at_once: float, never: float) -> Floats:
    """Rate at which each column of ``margin`` [rates, 1 + B] first gets ``beneath`` zero, or what stands for none."""
    first = np.where(beneath.any(axis=0), beneath.argmax(axis=0), len(rates))
    inside = np.flatnonzero((first > 0) & (first < len(rates)))
    after = first[inside]
    before = after - 1
    share = margin[before, inside] / (margin[before, inside] - margin[after, inside])
    found = np.where(first == 0, at_once, never)
    found[inside] = rates[before] + np.clip(share, 0, 1) * (rates[after] - rates[before])
    return found


def _estimate(found: Floats, rates: Floats, names: dict[float, Literal["none", "at_least"]]) -> RateEstimate:
    """The point (first of ``found``) and the interval that the others give, drawn out to hold the point."""
    point = float(found[0])
    low, high = (float(bound) for bound in _middle(found[1:]))

    def known(code: float) -> CensoredRate:
        if code == _BELOW:
            return CensoredRate("below", float(rates[0]))
        if code in names:
            return CensoredRate(names[code], float(rates[-1]) if names[code] == "at_least" else None)
        return CensoredRate("exact", code)

    return RateEstimate(known(point), known(min(point, low)), known(max(point, high)))
