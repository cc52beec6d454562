"""Statistics of runs that have test photos of their own, which may overlap."""

import numpy as np
import pytest
import scipy.stats

from flowernoise.analysis.stats import (
    PhotosTested,
    crossed_bootstrap,
    crossed_test,
    over_seeds,
    paired_tests,
    resampled_means,
    worse_than_another,
)


def test_runs_with_the_same_test_photos_are_judged_alike_however_that_is_said():
    """Two losses of five seeds on 60 photos, said to be shared, and listed for each run."""
    rng = np.random.default_rng(0)
    photos = (rng.random((10, 60)) < np.linspace(0.3, 1, 60)).astype(np.float32)
    groups, pairs = np.repeat([0, 1, -1], 20), [(range(5), range(5, 10))]
    listed = PhotosTested(np.arange(10) % 5, np.tile(rng.permutation(60), (5, 1)))
    [shared], [own] = (
        paired_tests(photos, groups, pairs, np.random.default_rng(1), tested=tested) for tested in (None, listed)
    )
    assert own.p == pytest.approx(shared.p)
    assert own.difference == pytest.approx(shared.difference)
    row = [{seed: 5 * loss + seed for seed in range(5)} for loss in range(2)]
    [shared], [own] = (
        worse_than_another(photos, groups, [row], np.random.default_rng(1), tested=tested) for tested in (None, listed)
    )
    np.testing.assert_allclose(own, shared, atol=0.02)


def test_without_a_photo_in_common_the_interval_is_students_over_seeds():
    rng = np.random.default_rng(0)
    photos = (rng.random((8, 50)) < 0.7 + 0.1 * rng.standard_normal((8, 1))).astype(np.float32)
    tested = PhotosTested(np.arange(8) % 4, rng.permutation(200).reshape(4, 50))
    groups, cells = np.zeros(50, int), [range(4), range(4, 8)]
    spans = crossed_bootstrap(photos, groups, cells, np.random.default_rng(0), 20_000, tested=tested)
    for cell, span in zip(cells, spans, strict=True):
        expected = over_seeds(photos[cell].mean(axis=1).tolist())
        assert span is not None
        assert expected is not None
        assert np.ptp(span) == pytest.approx(np.ptp(expected), rel=0.04)
    [found] = paired_tests(photos, groups, [(cells[0], cells[1])], np.random.default_rng(0), tested=tested)
    of_seeds = scipy.stats.ttest_rel(photos[:4].mean(axis=1), photos[4:].mean(axis=1))
    assert found.p >= of_seeds.pvalue - 1e-6


def test_the_mean_of_seeds_that_share_some_photos_is_as_uncertain_as_what_they_have_in_common():
    """The variance of a mean over seeds, of which a known part is photos that two of three have in common."""
    rng, repeats = np.random.default_rng(0), 4000
    ids = np.array([np.arange(40), np.arange(20, 60), np.arange(40, 80)])
    of_photos = rng.standard_normal((repeats, 80))
    rows = (of_photos[:, ids] + rng.standard_normal((repeats, 3, 40))).reshape(-1, 40).astype(np.float32)
    tested = PhotosTested(np.tile(np.arange(3), repeats), ids)
    p = crossed_test(rows, np.zeros(40, int), np.arange(0, 3 * repeats, 3), tested)
    assert 0.03 < (p <= 0.05).mean() < 0.06


def test_a_split_of_few_photos_can_be_resampled():
    photos = np.array([[1, 0, 1], [0, 1, 1]], dtype=np.float32)
    tested = PhotosTested(np.array([0, 1]), np.array([[0, 1, 2], [3, 4, 5]]))
    means = resampled_means(photos, np.array([0, 0, -1]), [[0, 1]], np.random.default_rng(0), tested=tested)
    assert np.isfinite(means).all()
