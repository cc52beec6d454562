"""Tests of pairs of losses on the same test photos, and correction for multiple tests."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np

from flowernoise.analysis.stats.common import (
    AT_ONCE,
    FLOOR,
    RESAMPLES,
    SAME,
    SHARE,
    Floats,
    Integers,
    PhotosTested,
    are_right_or_wrong,
    crossed_variance,
    deviations,
    variance_over_photos,
    weights_of_groups,
)
from flowernoise.analysis.stats.resampling import percentiles
from flowernoise.analysis.stats.student import student_two_sided


@dataclasses.dataclass(frozen=True)
class Paired:
    """How one loss differs from another on the same test photos.

    Args:
        difference: first minus second, in the metric's unit, over the seeds that both have.
        low, high: 95 % interval of the difference; None if there is nothing to compute it from.
        p: two-sided p-value, not corrected for other comparisons.
        test: ``mcnemar`` for right or wrong with one seed, else ``sign_flip``.
        seeds: number of seeds that both have.
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
    tested: PhotosTested | None = None,
) -> list[Paired]:
    """Tests whether losses differ on the same test photos, with the same seeds.

    The unit is the test photo. Its difference is averaged over seeds, and the sign-flip permutation test (McNemar's
    exact test for one seed) asks whether these trained networks differ on photos like these. It cannot tell whether
    other seeds would agree. So with several seeds, p is the larger of its p-value and that of :func:`crossed_test`.

    Args:
        photos, groups: as for :func:`resampled_means`.
        pairs: runs of the first and of the second loss, one of each per seed that both have, in the same order.
        generator: source of the resampling.
        bounds: where means can lie.
        tested: as for :func:`resampled_means`; both runs of a seed have the same test photos.

    Returns:
        one result per pair.

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
    own = None if tested is None else PhotosTested(tested.of_runs[first], tested.among(kept).photos)
    lows, highs, differences = percentiles(each, groups, cells, generator, RESAMPLES, (-width, width), own)
    if own is None:
        summed = np.add.reduceat(each, starts, axis=0) * weights_of_groups(groups)
    else:
        weighted = each * weights_of_groups(groups).astype(np.float32)
        summed = np.add.reduceat(own.spread_out(weighted, range(len(first))), starts, axis=0)
    p_values = np.maximum(sign_flip(summed, generator), crossed_test(each, groups, starts, own))
    exact = (sizes == 1) & (are_right_or_wrong(photos) and not np.ptp(groups))
    p_values[exact] = [mcnemar(int((row > 0).sum()), int((row < 0).sum())) for row in each[starts[exact]]]
    varies = highs - lows >= SAME
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
    """McNemar's exact test, two-sided: p-value for photos that only one of two networks classifies correctly.

    Formula: twice the probability that a binomial with p = ½ is at most the smaller count.

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

    The statistic is the sum of a row's differences. Under the null hypothesis, each difference is as likely as its
    negative. For whole numbers (counts of seeds), the distribution is exact: photos of the same absolute difference
    give a binomial, and these are convolved. Otherwise signs are drawn: p = (1 + k)/(1 + B), with B large enough that
    0.01 can be reached after Holm's correction over all rows.

    Args:
        differences: first minus second [rows, n], in any unit.
        generator: source of the drawn signs.

    Returns:
        one per row, at least 1e-10.

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
    points = 1 << (2 * int(absolute.sum(axis=1).max())).bit_length()  # more than the number of values of the sum
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
    rounding = SAME * np.abs(differences).sum(axis=1)
    observed = np.abs(differences.sum(axis=1)) - rounding
    exceeding = np.zeros(rows)
    step = max(1, AT_ONCE // max(rows, n))
    for start in range(0, resamples, step):
        signs = 1 - 2 * generator.integers(2, size=(n, min(step, resamples - start)), dtype=np.int8)
        exceeding += (np.abs(differences @ signs.astype(np.float32)) >= observed[:, None]).sum(axis=1)
    return np.asarray((1 + exceeding) / (1 + resamples))


def crossed_test(differences: Floats, groups: Integers, starts: Integers, tested: PhotosTested | None = None) -> Floats:
    """Two-sided p-values of mean differences, with photos and seeds both sampled: Student's t.

    Args:
        differences: first minus second for each seed of each pair [rows, n].
        groups: group of each photo [n]; the mean is taken over the groups' means.
        starts: first row of each pair [pairs]; the rows of a pair are consecutive.
        tested: the test photos of each row, if they differ.

    Returns:
        one per pair; 0 for a single seed, which says nothing about others.

    Source: Obuchowski and Rockette, Hypothesis testing of diagnostic accuracy for multiple readers and multiple tests,
    Communications in Statistics 24, 1995; degrees of freedom: Hillis 2007 (seeds are the readers, photos the patients).
    """
    sizes = np.diff(np.append(starts, len(differences)))
    seeds = np.maximum(sizes, 2)  # single seeds are handled below
    of_rows = differences @ (weights_of_groups(groups) / len(groups))
    means = np.add.reduceat(of_rows, starts) / sizes
    of_seeds = np.add.reduceat((of_rows - np.repeat(means, sizes)) ** 2, starts) / (seeds - 1) / seeds
    of_each = np.add.reduceat(variance_over_photos(differences, groups), starts) / sizes
    if tested is None:
        of_photos = variance_over_photos(np.add.reduceat(differences, starts, axis=0) / sizes[:, None], groups)
    else:
        by_photo = tested.spread_out(deviations(differences, groups), range(len(differences)))
        of_photos = (np.add.reduceat(by_photo, starts, axis=0) ** 2).sum(axis=1) / sizes**2
    variance, freedom = crossed_variance(of_seeds, of_photos, of_each, seeds)
    t = np.divide(means, np.sqrt(variance), out=np.zeros(len(means)), where=variance > 0)
    return np.asarray(np.where(sizes > 1, student_two_sided(t, freedom), 0.0))


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """P-values corrected so that the probability of any false positive among them stays below the level.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected
