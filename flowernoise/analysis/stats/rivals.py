"""Finds losses that are worse than another under the same noise."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from flowernoise.analysis.stats.common import AT_ONCE, Floats, Integers, PhotosTested, weights_of_groups
from flowernoise.analysis.stats.student import student_two_sided

_NULL_DRAWS = 2000  # simulated tables without differences, to compare with the observed one
_IN_CACHE = 1 << 16  # array elements processed at once; fastest in measurements
_TIE = 1e-4  # single-precision statistics that differ by less count as equal


def worse_than_another(
    photos: Floats,
    groups: Integers,
    rows: Sequence[Sequence[Mapping[int, int]]],
    generator: np.random.Generator,
    *,
    better: Literal["higher", "lower"] = "higher",
    rows_in_all: int | None = None,
    tested: PhotosTested | None = None,
) -> list[Floats]:
    """Tests each loss against all others under the same noise: is it worse than at least one of them?

    If the p-value is below 5 %, some other loss is better. The probability of claiming this wrongly for any loss in the
    table is at most 5 %, whichever losses are equal.

    Formula: a loss's statistic is the largest, over the others, of (their mean − its mean) / standard error, over the
    photos and the seeds that both have. The seeds' part of the error is at least its mean over the row, so a few seeds
    that agree by luck prove nothing. The statistic's distribution when all losses of a row are equal is simulated for
    all of them together: photos' differences get random signs, and each loss's luck in training is normal with its own
    variance (including the uncertainty of that variance). p compares a loss with the maximum over the losses still in
    the race (step-down), times the number of rows (Bonferroni). It is never below the p-value of a t-test, over seeds
    and photos, between the loss and the one that beats it most clearly.

    Args:
        photos, groups: as for :func:`resampled_means`.
        rows: for each noise, the losses to compare, each a mapping from seed to run (row of ``photos``). With a single
            seed everywhere, the test is about the trained networks as they are.
        generator: source of the random signs and luck.
        better: the metric's direction.
        rows_in_all: number of rows in the whole table, if there are more than these.
        tested: as for :func:`resampled_means`.

    Returns:
        for each row, one p-value per loss; 1 for a loss that does not share a seed with another.

    Source: Hsu, Multiple comparisons: theory and methods, 1996 (comparisons with the best); Romano and Wolf, Exact and
    approximate stepdown methods for multiple hypothesis testing, JASA 100, 2005; degrees of freedom as for
    :func:`crossed_test`.

    >>> right = np.repeat([[0.0, 1], [1, 0], [1, 1]], [2, 18], axis=1)  # 18, 2 and 20 of 20 photos
    >>> row = [{0: 0}, {0: 1}, {0: 2}]
    >>> [p] = worse_than_another(right, np.zeros(20, dtype=int), [row], np.random.default_rng(0))
    >>> (p <= 0.05).tolist()
    [False, True, False]
    """
    kept = groups >= 0
    weights = (weights_of_groups(groups[kept]) / kept.sum()) * (1 if better == "higher" else -1)
    count = rows_in_all or len(rows)
    draws = max(_NULL_DRAWS, 45 * count) - 1  # so that 0.025 can be reached
    own = None if tested is None else tested.among(kept)
    found: list[Floats] = []
    for cells in rows:
        every = [seed for cell in cells for seed in cell]
        shared = sorted({seed for seed in every if every.count(seed) > 1})
        if not shared:
            found.append(np.ones(len(cells)))
            continue
        rivals = _Rivals.among(photos, kept, weights, cells, shared, own)
        corrected = count * rivals.joint_test(generator, draws)
        found.append(np.clip(np.maximum(corrected, rivals.pairwise_test()), 0, 1))
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class _Rivals:
    """The losses of a row.

    Args:
        parts: what each photo adds to a run's mean, minus the average over losses with the same seed; 0 for missing
            runs [losses, seeds, n].
        present: 1 where a run exists [losses, seeds].
        of_photos: variance of the difference of two losses due to sampling photos alone [losses, losses].
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
        tested: PhotosTested | None,
    ) -> _Rivals:
        """From each loss's runs by seed; each of ``seeds`` must occur in at least two losses.

        Where seeds have different test photos, ``parts`` hold every photo, and 0 where a seed does not have it.
        """
        present = np.array([[seed in cell for seed in seeds] for cell in cells], dtype=np.float32)
        parts = np.zeros((len(cells), len(seeds), tested.count if tested else len(weights)), dtype=np.float32)
        for place, cell in enumerate(cells):
            for column, seed in enumerate(seeds):
                if seed in cell:
                    own = slice(None) if tested is None else tested.photos[tested.of_runs[cell[seed]]]
                    parts[place, column, own] = photos[cell[seed], kept] * weights
        parts -= parts.sum(axis=0) / present.sum(axis=0)[:, None]
        parts *= present[:, :, None]
        return cls(parts, present, np.stack([_of_photos(parts, present, place) for place in range(len(cells))]))

    @functools.cached_property
    def common(self) -> Floats:
        """Number of seeds that two losses share [losses, losses]; 0 on the diagonal."""
        shared = self.present @ self.present.T
        np.fill_diagonal(shared, 0)
        return np.asarray(shared)

    def joint_test(self, generator: np.random.Generator, draws: int) -> Floats:
        """P-values of all losses, corrected jointly."""
        losses, seeds, n = self.parts.shape
        observed = self._furthest_behind(self._means()[None])[0]
        order = np.argsort(-observed, kind="stable")
        exceeding = np.zeros(losses)
        most, step = max(1, AT_ONCE // max(n, losses * seeds)), max(1, _IN_CACHE // losses**2)
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
        """P-values of each loss against the one that beats it most clearly, from a t-test of these two alone."""
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
        """Simulated luck in training [draws, losses, seeds], with the variance seen between each loss's seeds."""
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
        """Variance of a loss's runs about its mean, and the part of it that is luck on single photos; each [losses]."""
        losses, counts = len(self.present), np.maximum(self.present.sum(axis=1), 1)
        away = (self.parts - self.parts.sum(axis=1, keepdims=True) / counts[:, None, None]) * self.present[:, :, None]
        freedom = np.maximum(counts - 1, 1) * (losses - 1) / losses  # the average that was subtracted held a part of it
        of_runs, of_photos = (away.sum(axis=2) ** 2).sum(axis=1) / freedom, (away**2).sum(axis=(1, 2)) / freedom
        several = counts > 1
        return tuple(np.where(several, of, of[several].mean()) for of in (of_runs, of_photos))

    def _furthest_behind(self, means: Floats) -> Floats:
        """The statistic of each loss [draws, losses], from the runs' means [draws, losses, seeds]."""
        return np.asarray(self._statistics(*self._differences(means)).max(axis=2))

    def _differences(self, means: Floats) -> tuple[Floats, Floats]:
        """How far each loss is behind each other one, and the seeds' part of its variance; [draws, losses, losses]."""
        present = self.present.astype(means.dtype)
        shared = np.maximum(self.common, 1).astype(means.dtype)
        own, squares = means @ present.T, means**2 @ present.T  # over the seeds that a loss shares with each other loss
        behind = (own.transpose(0, 2, 1) - own) / shared
        of_runs = squares + squares.transpose(0, 2, 1) - 2 * (means @ means.transpose(0, 2, 1))
        of_runs = np.maximum(of_runs / shared - behind**2, 0)
        return behind, np.asarray(of_runs / np.maximum(shared - 1, 1))

    def _statistics(self, behind: Floats, of_seeds: Floats) -> Floats:
        """Differences in standard errors, where the seeds' part is at least its mean over the row."""
        shared = self.common.astype(behind.dtype)
        several = shared * (shared > 1) / max(1, int((shared > 1).sum()))
        typical = np.einsum("dij,ij->d", of_seeds, several)[:, None, None]  # for one seed
        variance = np.maximum(of_seeds, typical / np.maximum(shared, 1)) + self.of_photos.astype(behind.dtype)
        return np.asarray(behind / np.sqrt(np.where(variance > 0, variance, math.inf)))


def _of_photos(parts: Floats, present: Floats, place: int) -> Floats:
    """Variance of the difference between one loss and each other, due to sampling photos alone [losses].

    If two losses are equally good, a photo's difference is as likely as its negative; so it uses squares about zero.
    """
    both = present[place] * present
    counts = np.maximum(both.sum(axis=1), 1)
    each = (parts[place] - parts) * both[:, :, None]
    of_mean = (each.sum(axis=1) ** 2).sum(axis=1) / counts**2
    of_each = (each**2).sum(axis=(1, 2)) / counts
    return np.asarray(np.maximum(of_mean - (of_each - of_mean) / np.maximum(counts - 1, 1), 0))
