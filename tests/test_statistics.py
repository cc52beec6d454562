"""Intervals against scipy, by hand, and by simulation."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.statistics import crossed_bootstrap, intervals, over_seeds, wilson

ONE_GROUP = np.zeros(60, dtype=int)


def crossed_answers(rng: np.random.Generator, seeds: int, photos: int, *, spread=(1.0, 0.3), level=1.2) -> np.ndarray:
    """Right or wrong [seeds, photos], with some photos harder than others and some seeds luckier."""
    of_photos, of_seeds = rng.normal(0, spread[0], photos), rng.normal(0, spread[1], (seeds, 1))
    return (level + of_photos + of_seeds + rng.normal(size=(seeds, photos)) > 0).astype(np.float32)


def one_interval(answers, groups=None, *, seed=0, resamples=2000) -> tuple[float, float]:
    groups = np.zeros(answers.shape[1], dtype=int) if groups is None else groups
    [bounds] = crossed_bootstrap(answers, groups, [range(len(answers))], np.random.default_rng(seed), resamples)
    return bounds


@given(st.integers(1, 400), st.data())
def test_wilson_is_scipys(trials, data):
    successes = data.draw(st.integers(0, trials))
    expected = scipy.stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8).filter(lambda values: np.std(values) > 1e-3))
def test_over_seeds_is_scipys_t_interval(values):
    expected = scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), scipy.stats.sem(values))
    assert over_seeds(values) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_over_seeds_passes_over_missing_values_and_needs_two():
    assert over_seeds([0.1, math.nan, 0.3]) == over_seeds([0.1, 0.3])
    assert over_seeds([0.1, math.nan]) is None
    assert over_seeds([]) is None


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("seeds", [1, 3])
def test_an_interval_is_never_a_point(share, seeds):
    low, high = one_interval(np.full((seeds, 60), share, dtype=np.float32))
    assert (low, high) == pytest.approx(wilson(60 * share, 60))
    assert high - low > 0.01


def test_seeds_that_agree_on_every_photo_leave_the_sampling_of_photos():
    right = np.repeat((np.arange(400) < 320)[None].astype(np.float32), 3, axis=0)
    assert one_interval(right) == pytest.approx(wilson(320, 400), abs=0.01)


def test_photos_that_differ_widen_what_a_bootstrap_over_seeds_alone_gives():
    answers = crossed_answers(np.random.default_rng(1), 5, 100, spread=(2.0, 0.1))
    rng = np.random.default_rng(0)
    over_seeds_alone = np.quantile(answers.mean(axis=1)[rng.integers(0, 5, (2000, 5))].mean(axis=1), [0.025, 0.975])
    low, high = one_interval(answers)
    assert high - low > 1.5 * np.ptp(over_seeds_alone)


def test_few_seeds_that_differ_give_about_the_t_interval():
    shares = (0.5, 0.6, 0.7)
    answers = np.stack([np.arange(2000) < share * 2000 for share in shares]).astype(np.float32)
    low, high = one_interval(answers)
    expected = over_seeds(shares)
    assert (low, high) == pytest.approx(expected, abs=0.04)
    assert high - low > 0.9 * (expected[1] - expected[0])


@pytest.mark.parametrize(
    ("seeds", "photos", "spread"), [(3, 300, (1.0, 0.3)), (5, 100, (1.0, 0.3)), (5, 100, (2.0, 0.05))]
)
def test_coverage_is_what_it_says(seeds, photos, spread):
    """A plain bootstrap covers 85 % with three seeds and 500 photos: three resampled understate how seeds differ."""
    level, repeats = 1.2, 300
    truth = scipy.stats.norm.cdf(level / math.sqrt(1 + spread[0] ** 2 + spread[1] ** 2))
    rng = np.random.default_rng(7)
    covered = 0
    for repeat in range(repeats):
        answers = crossed_answers(rng, seeds, photos, spread=spread, level=level)
        low, high = one_interval(answers, seed=repeat, resamples=200)
        covered += low <= truth <= high
    print(f"coverage {covered / repeats:.3f}")  # noqa: T201 (shown by pytest -s)
    assert covered / repeats >= 0.90


def test_balanced_groups_are_averaged_as_by_hand():
    groups = np.repeat([0, 1, -1], [300, 100, 50])
    right = np.concatenate([np.arange(300) < 270, np.arange(100) < 50, np.ones(50, bool)]).astype(np.float32)
    low, high = one_interval(right[None], groups)
    by_hand = (0.9 + 0.5) / 2
    error = math.sqrt(0.9 * 0.1 / 300 + 0.5 * 0.5 / 100) / 2
    assert (low, high) == pytest.approx((by_hand - 1.96 * error, by_hand + 1.96 * error), abs=0.01)


def test_a_group_that_a_resample_misses_is_left_out_of_its_mean():
    groups = np.where(np.arange(60) == 0, 1, 0)
    assert one_interval(np.ones((1, 60), dtype=np.float32), groups) == pytest.approx(wilson(60, 60), abs=1e-6)


def test_the_order_of_cells_and_of_their_seeds_count_changes_no_interval():
    answers = crossed_answers(np.random.default_rng(2), 6, 60)
    cells = [[0, 1], [2, 3], [4], [5]]
    forward = crossed_bootstrap(answers, ONE_GROUP, cells, np.random.default_rng(0))
    backward = crossed_bootstrap(answers, ONE_GROUP, cells[::-1], np.random.default_rng(0))
    assert forward == backward[::-1]


def test_a_generator_in_the_same_state_gives_the_same_intervals():
    answers = crossed_answers(np.random.default_rng(3), 4, 60)
    assert one_interval(answers, seed=1) == one_interval(answers, seed=1)
    assert one_interval(answers, seed=1) != one_interval(answers, seed=2)


def test_one_seed_gets_wilson_and_several_the_bootstrap():
    answers = crossed_answers(np.random.default_rng(4), 3, 60)
    cells = [[0], [1, 2]]
    single, several = intervals(answers, ONE_GROUP, cells, np.random.default_rng(0))
    assert single == wilson(float(answers[0].sum()), 60)
    assert several == crossed_bootstrap(answers, ONE_GROUP, cells, np.random.default_rng(0))[1]


def test_one_seed_of_a_metric_over_groups_gets_the_bootstrap():
    answers, groups = crossed_answers(np.random.default_rng(5), 1, 60), np.arange(60) % 2
    [bounds] = intervals(answers, groups, [[0]], np.random.default_rng(0))
    assert [bounds] == crossed_bootstrap(answers, groups, [[0]], np.random.default_rng(0))


def test_photos_left_out_do_not_count():
    answers = crossed_answers(np.random.default_rng(6), 1, 60)
    groups = np.where(np.arange(60) < 40, 0, -1)
    [bounds] = intervals(answers, groups, [[0]], np.random.default_rng(0))
    assert bounds == wilson(float(answers[0, :40].sum()), 40)
