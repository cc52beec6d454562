"""Intervals, tests and tolerated rates against scipy, enumeration, and loops; what they promise is simulated apart."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.analysis.stats import (
    FLOOR,
    CensoredRate,
    crossed_bootstrap,
    crossed_test,
    crossover,
    holm,
    intervals,
    lost_classes,
    mcnemar,
    must_be_predicted,
    over_seeds,
    paired_tests,
    resampled_means,
    sign_flip,
    student_quantile,
    student_two_sided,
    tolerance,
    wilson,
    worse_than_another,
)

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
    assert over_seeds(values) == pytest.approx(expected, rel=1e-8, abs=1e-8)


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


def test_a_single_seed_of_a_metric_that_is_no_share_gets_the_bootstrap():
    losses = np.random.default_rng(0).exponential(size=(1, 400))
    [(low, high)] = intervals(losses, np.zeros(400, int), [[0]], np.random.default_rng(0), (0, math.inf))
    half = 1.96 * losses.std() / 20
    assert (low, high) == pytest.approx((losses.mean() - half, losses.mean() + half), abs=0.02)


def test_what_is_no_share_and_never_varies_has_no_interval():
    assert intervals(np.full((2, 60), 0.7), ONE_GROUP, [[0, 1], [0]], np.random.default_rng(0)) == [None, None]


def test_resampled_means_hold_the_observed_ones_and_give_the_intervals():
    answers, groups = crossed_answers(np.random.default_rng(7), 6, 60), np.arange(60) % 3 - 1
    cells = [[0, 1, 2], [3], [4, 5]]
    means = resampled_means(answers, groups, cells, np.random.default_rng(0), 200)
    by_hand = [answers[cell][:, groups == group].mean() for cell in cells for group in (0, 1)]
    np.testing.assert_allclose(means[:, 0], np.reshape(by_hand, (3, 2)).mean(axis=1), rtol=1e-6)
    ordered = np.sort(means[:, 1:], axis=1)
    bounds = crossed_bootstrap(answers, groups, cells, np.random.default_rng(0), 200)
    np.testing.assert_array_equal(ordered[:, [5, -6]], np.array(bounds, dtype=np.float32))


def test_a_cells_resamples_are_the_same_whatever_the_others_are():
    answers = crossed_answers(np.random.default_rng(8), 9, 60)
    cells = [[0, 1], [2, 3, 4], [5], [6, 7, 8]]
    together = resampled_means(answers, ONE_GROUP, cells, np.random.default_rng(0), 100)
    for cell, means in zip(cells, together, strict=True):
        [alone] = resampled_means(answers, ONE_GROUP, [cell], np.random.default_rng(0), 100)
        np.testing.assert_allclose(means, alone, atol=1e-6)


def test_cells_that_answer_the_same_have_the_same_resamples_so_differences_are_paired():
    answers = crossed_answers(np.random.default_rng(9), 3, 60)
    first, second = resampled_means(
        np.tile(answers, (2, 1)), ONE_GROUP, [[0, 1, 2], [3, 4, 5]], np.random.default_rng(0)
    )
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_resampled_means_stay_within_bounds():
    answers = (np.arange(60) < np.array([[59], [40], [60]])).astype(np.float32)
    means = resampled_means(answers, ONE_GROUP, [[0, 1, 2]], np.random.default_rng(0), bounds=(0.5, 0.9))
    assert means[:, 1:].min() >= 0.5
    assert means[:, 1:].max() == np.float32(0.9)


def test_memory_does_not_grow_with_the_runs():
    def peak(runs: int) -> int:
        photos = np.zeros((runs, 50), dtype=np.float32)
        photos[:, ::3] = 1
        cells = np.arange(runs).reshape(-1, 5).tolist()
        tracemalloc.start()
        crossed_bootstrap(photos, np.zeros(50, int), cells, np.random.default_rng(0))
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(20_000) < peak(5_000) + 15_000 * 100  # what is held of all runs at once would be 4,000 bytes a run


# Student's distribution


@given(st.floats(1, 1e7))
def test_students_quantile_is_scipys(freedom):
    assert student_quantile(freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom), rel=1e-8)


@given(st.floats(1, 1e7), st.floats(-50, 50))
def test_students_p_value_is_scipys(freedom, t):
    expected = max(FLOOR, 2 * scipy.stats.t.sf(abs(t), freedom))
    assert student_two_sided(t, freedom) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_student_of_infinite_freedom_is_normal():
    assert student_quantile(math.inf) == pytest.approx(scipy.stats.norm.ppf(0.975), rel=1e-8)
    assert student_two_sided(1.5, math.inf) == pytest.approx(2 * scipy.stats.norm.sf(1.5), rel=1e-8)


# Paired tests


def by_enumeration(differences) -> float:
    """Share of all sign patterns whose sum is as far from zero as the observed one."""
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=len(differences))]
    return float(np.mean(np.array(sums) >= abs(np.sum(differences)) - 1e-9))


whole_rows = st.lists(st.lists(st.integers(-5, 5), min_size=8, max_size=8), min_size=1, max_size=3)


@given(whole_rows)
def test_sign_flip_of_whole_numbers_is_exact(rows):
    found = sign_flip(np.array(rows), np.random.default_rng(0))
    np.testing.assert_allclose(found, [by_enumeration(row) for row in rows], atol=1e-12)


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_scipys_binomial_test_and_the_sign_flip_of_one_seed(first, second):
    expected = scipy.stats.binomtest(first, first + second).pvalue if first + second else 1
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)
    differences = np.repeat([1, -1, 0], [first, second, 3])[None]
    assert sign_flip(differences, np.random.default_rng(0))[0] == pytest.approx(max(expected, FLOOR), rel=1e-4)


def test_sign_flip_of_other_numbers_is_drawn_and_close_to_exact():
    rows = np.random.default_rng(0).normal(0.3, 1, (5, 12))
    found = sign_flip(rows, np.random.default_rng(0))
    np.testing.assert_allclose(found, [by_enumeration(row) for row in rows], atol=0.02)
    assert sign_flip(np.full((1, 30), 0.1), np.random.default_rng(0)) == 1 / 10_000


def test_enough_signs_are_drawn_for_holm_to_leave_something_over_many_rows():
    found = sign_flip(np.full((300, 30), 0.1), np.random.default_rng(0))
    assert holm(found).max() == pytest.approx(0.01)


def test_equal_sums_count_as_far_from_zero_whatever_the_rounding():
    """Of two classes every pattern has partners of the same sum; those that rounding takes lower must count."""
    row = np.array([[0.1] * 3 + [0.7] * 2])
    assert sign_flip(row, np.random.default_rng(0))[0] == pytest.approx(by_enumeration(row[0]), abs=0.01)


def test_without_differences_nothing_differs():
    assert sign_flip(np.zeros((2, 9)), np.random.default_rng(0)).tolist() == [1, 1]
    mixed = sign_flip(np.array([[0, 0], [1, 1], [1, -1]]), np.random.default_rng(0))
    assert mixed.tolist() == pytest.approx([1, 0.5, 1])
    assert mcnemar(0, 0) == 1


def test_many_rows_are_tested_as_each_alone():
    rows = np.random.default_rng(1).integers(-5, 6, (3000, 534))
    together = sign_flip(rows, np.random.default_rng(0))
    alone = [sign_flip(row[None], np.random.default_rng(0))[0] for row in rows[::500]]
    np.testing.assert_allclose(together[::500], alone, atol=1e-12)


def test_the_crossed_test_of_seeds_that_differ_by_as_much_on_every_photo_is_a_t_test_over_seeds():
    differences = np.repeat([[0.1], [0.2], [0.4]], 50, axis=1)
    expected = scipy.stats.ttest_1samp([0.1, 0.2, 0.4], 0).pvalue
    assert crossed_test(differences, np.zeros(50, int), np.array([0])) == pytest.approx(expected)


def test_the_crossed_test_of_seeds_that_agree_is_one_over_photos():
    row = np.random.default_rng(0).normal(0.2, 1, 400)
    p = crossed_test(np.tile(row, (3, 1)), np.zeros(400, int), np.array([0]))
    assert p == pytest.approx(2 * scipy.stats.norm.sf(row.mean() / (row.std() / math.sqrt(399))))


def test_the_crossed_test_says_nothing_of_one_seed_and_takes_each_pair_by_itself():
    differences = np.random.default_rng(0).normal(0.2, 1, (6, 60))
    groups = np.arange(60) % 2
    together = crossed_test(differences, groups, np.array([0, 3, 4]))
    assert together[1] == 0
    assert together[0] == pytest.approx(crossed_test(differences[:3], groups, np.array([0]))[0])
    assert together[2] == pytest.approx(crossed_test(differences[4:], groups, np.array([0]))[0])


def test_paired_tests_of_right_and_wrong():
    rng = np.random.default_rng(0)
    answers = crossed_answers(rng, 8, 60)
    answers[:3] = np.maximum(answers[:3], answers[3:6])  # never worse
    several, one, same = paired_tests(
        answers, ONE_GROUP, [((0, 1, 2), (3, 4, 5)), ((6,), (7,)), ((6, 7), (6, 7))], np.random.default_rng(0)
    )
    assert several.difference == pytest.approx(float(answers[:3].mean() - answers[3:6].mean()))
    assert 0 < several.low < several.difference < several.high
    assert (several.test, several.seeds) == ("sign_flip", 3)
    differences = answers[:3] - answers[3:6]
    both = (
        sign_flip(differences.sum(axis=0)[None], rng)[0],
        crossed_test(differences, ONE_GROUP, np.array([0]))[0],
    )
    assert several.p == pytest.approx(max(both))
    only = [int((answers[6] > answers[7]).sum()), int((answers[6] < answers[7]).sum())]
    assert (one.test, one.seeds, one.p) == ("mcnemar", 1, mcnemar(*only))
    assert one.low < one.difference < one.high
    assert (same.difference, same.low, same.high, same.p) == (0, None, None, 1)


def test_paired_tests_over_groups_weigh_photos_as_the_metric_does():
    """Nine photos of one class and one of the other: gaining the nine or the one is the same half."""
    groups = np.repeat([0, 1], [9, 1])
    runs = np.zeros((3, 10), dtype=np.float32)
    runs[0, :9], runs[1, 9] = 1, 1
    nine, one = paired_tests(runs, groups, [((0,), (2,)), ((1,), (2,))], np.random.default_rng(0))
    assert nine.difference == pytest.approx(0.5)
    assert one.difference == pytest.approx(0.5)
    assert nine.p == pytest.approx(2 / 2**9, abs=0.002)
    assert one.p == 1
    assert nine.test == "sign_flip"


def test_paired_tests_pass_over_photos_left_out():
    rng = np.random.default_rng(0)
    answers, groups = crossed_answers(rng, 2, 60), np.where(np.arange(60) < 40, 0, -1)
    [found] = paired_tests(answers, groups, [((0,), (1,))], np.random.default_rng(0))
    [expected] = paired_tests(answers[:, :40], groups[:40], [((0,), (1,))], np.random.default_rng(0))
    assert found == expected


def test_no_pairs_no_tests():
    assert paired_tests(np.zeros((2, 60), np.float32), ONE_GROUP, [], np.random.default_rng(0)) == []


# Which are worse than another


def worse(answers, rows, *, groups=None, **options) -> list[list[float]]:
    groups = np.zeros(answers.shape[1], dtype=int) if groups is None else groups
    return [p.tolist() for p in worse_than_another(answers, groups, rows, np.random.default_rng(0), **options)]


def some_losses(*levels: float, seeds: int = 3, photos: int = 200) -> tuple[np.ndarray, list[dict[int, int]]]:
    """Runs of losses of these levels, the seeds of one after those of the other, and the row that they make."""
    rng = np.random.default_rng(1)
    answers = np.concatenate([crossed_answers(rng, seeds, photos, spread=(0, 0.1), level=level) for level in levels])
    return answers, [{seed: seeds * k + seed for seed in range(seeds)} for k in range(len(levels))]


def test_of_two_losses_with_one_seed_the_worse_has_mcnemars_p():
    first, second = np.repeat([[0, 1, 1], [1, 0, 1]], [4, 15, 41], axis=1).astype(np.float32)
    [p] = worse(np.stack([first, second]), [[{0: 0}, {0: 1}]])
    assert p[1] == pytest.approx(mcnemar(15, 4), abs=0.01)
    assert p[0] == 1


def test_p_values_are_corrected_for_the_losses_of_a_row_and_for_the_rows_of_the_table():
    answers, row = some_losses(1.2, 1.2, 1.0, 1.2, 1.2, seeds=1)
    two, five = worse(answers, [[row[0], row[2]]])[0][1], worse(answers, [row])[0][2]
    assert 0 < two < five < 0.2
    [one, other] = worse(answers, [row, row])
    assert one[2] == pytest.approx(2 * five, rel=0.5)
    assert other[2] == pytest.approx(2 * five, rel=0.5)
    assert worse(answers, [row], rows_in_all=3)[0][2] == pytest.approx(3 * five, rel=1e-9)


def test_what_is_far_behind_no_longer_counts_once_it_is_found_out():
    """Step-down: the second worst is held against those still in the race, so its p falls with each that is out."""
    answers, row = some_losses(2, 0.5, 0.5, 0.5, 0.5, 1.2, 1.2)
    [p] = worse(answers, [row])
    assert max(p[1:5]) < 0.05
    assert p[0] == 1


@pytest.mark.parametrize("seeds", [1, 4])
def test_the_better_direction_is_followed(seeds):
    answers, row = some_losses(0, 1, 1, seeds=seeds)
    [higher], [lower] = worse(answers, [row]), worse(1 - answers, [row], better="lower")
    assert higher == pytest.approx(lower)
    assert higher[0] < 0.01
    [mistaken] = worse(answers, [row], better="lower")
    assert mistaken[0] == 1
    assert max(mistaken[1:]) < 0.01


def test_only_seeds_and_photos_that_losses_share_count():
    answers, row = some_losses(0, 1, 1)
    [expected] = worse(answers, [row])
    alone = {**row[1], 7: 0, 8: 0}  # seeds that only one loss has
    assert worse(answers, [[row[0], alone, row[2]]]) == [expected]
    left_out = np.concatenate([answers, 1 - answers], axis=1)
    assert worse(left_out, [row], groups=np.repeat([0, -1], 200)) == [expected]
    assert worse(answers, [[{0: 0}, {1: 4}]]) == [[1, 1]]
    assert worse(answers, [[row[0], row[1], {5: 8}]])[0][2] == 1


def test_one_loss_alone_and_losses_that_answer_the_same_are_not_worse():
    answers, row = some_losses(1, 0.5)
    assert worse(answers, [[row[0]]]) == [[1]]
    assert worse(answers, [[row[0], row[0], row[0]]]) == [[1, 1, 1]]


def test_a_single_seed_beside_losses_of_several_has_their_luck_of_training():
    """By itself a run of one seed counts as the network that it is; beside others it is known how much seeds differ."""
    rng = np.random.default_rng(3)
    lucky = [crossed_answers(rng, 5, 400, spread=(0.5, 0.8)) for _ in range(4)]
    answers, row = np.concatenate(lucky), [{seed: 5 * k + seed for seed in range(5)} for k in range(4)]
    pairs = [
        (
            worse(answers, [[{seed: row[0][seed]}, {seed: row[1][seed]}]])[0],
            worse(answers, [[{seed: row[0][seed]}, *row[1:]]])[0],
        )
        for seed in range(5)
    ]
    assert sum(min(alone) < 0.05 for alone, _ in pairs) >= 2
    assert min(p for _, beside in pairs for p in beside) > 0.05


def test_metrics_over_groups_weigh_photos_as_the_metric_does():
    """Ten photos of one class, ninety of the other: of two equally accurate losses one misses the small class."""
    small, large = np.ones((2, 100), dtype=np.float32)
    small[:10], large[10:20] = 0, 0
    answers, groups, row = np.stack([small, large]), np.repeat([0, 1], [10, 90]), [[{0: 0}, {0: 1}]]
    assert min(worse(answers, row)[0]) > 0.5
    [p] = worse(answers, row, groups=groups)
    assert p[0] < 0.05 < p[1]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([83, 17], [True, True]),
        ([7, 2], [True, False]),
        ([5, 4], [False, False]),
        ([300, 190, 5], [True, True, False]),
        ([100, 0], [True, False]),
        ([0, 0], [False, False]),
    ],
)
def test_a_class_must_be_predicted_where_chance_does_not_explain_its_absence(counts, expected):
    assert must_be_predicted(counts).tolist() == expected


@pytest.mark.parametrize(
    ("counts", "missing", "lost"),
    [
        ((3, 3, 3), {2}, False),  # 3 · (2/3)⁹ = .08
        ((3, 3, 3), {1, 2}, True),  # 3 · (1/3)⁹ = .0002
        ((100, 5, 5), {1}, False),
        ((100, 5, 5), {1, 2}, True),
        ((300, 100, 2, 2), {1, 2, 3}, True),
        ((300, 100, 2, 2), set(), False),
        ((100, 0), {1}, False),
        ((1,) * 100, set(range(30)), False),
        ((1,) * 100, set(range(90)), True),
    ],
)
def test_several_classes_together_may_be_lost_where_one_may_be_missed_by_chance(counts, missing, lost):
    flags = np.array([[k in missing for k in range(len(counts))]])
    assert lost_classes(flags, counts).tolist() == [lost]


@pytest.mark.parametrize("counts", [(8, 92), (9, 91, 100, 200, 100), (12, *[12] * 99)])
def test_chance_alone_marks_at_most_one_run_in_a_thousand(counts):
    """Runs that give each class as often as there are photos of it, whatever the photo."""
    drawn = np.random.default_rng(10).multinomial(sum(counts), np.array(counts) / sum(counts), size=20_000)
    assert must_be_predicted(counts).all()
    assert lost_classes(drawn == 0, counts).mean() <= 0.0015
    fewer = np.array(counts) - np.eye(len(counts), dtype=int)[0] * 2
    assert not must_be_predicted(fewer)[0]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_the_step_down_procedure(p_values):
    """The smallest p against level / m, the next against level / (m − 1) …, until one fails."""
    corrected = holm(p_values)
    for level in (0.01, 0.05, 0.3):
        rejected: set[int] = set()
        for rank, k in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if p_values[k] * (len(p_values) - rank) > level:
                break
            rejected.add(k)
        assert {k for k, p in enumerate(corrected) if p <= level} == rejected


# Tolerated rates


def drawn(*values: float) -> np.ndarray:
    """A mean, and the same in every resample."""
    return np.repeat(np.array(values)[:, None], 11, axis=1)


def points(estimate) -> tuple:
    assert estimate.low == estimate.point == estimate.high
    rate = estimate.point.rate
    return estimate.point.censoring, None if rate is None else round(rate, 9)


@pytest.mark.parametrize(
    ("own", "accuracies", "expected"),
    [
        (0.90, (0.90, 0.89, 0.86), ("exact", 0.466666667)),  # a third of the way from 0.89 to 0.86
        (0.90, (0.90, 0.88, 0.80), ("exact", 0.4)),  # just within δ at 0.4
        (0.90, (0.90, 0.90, 0.88), ("at_least", 0.6)),
        (0.90, (0.85, 0.90, 0.90), ("below", 0.2)),  # first crossing, whatever comes after
        (0.90, (0.90, 0.86, 0.95), ("exact", 0.3)),
        (0.87, (0.95, 0.95, 0.95), ("none", None)),
        (0.88, (0.90, 0.90, 0.90), ("at_least", 0.6)),
        (None, (0.90, 0.90, 0.90), ("at_least", 0.6)),
        (None, (0.85, 0.90, 0.90), ("below", 0.2)),
    ],
)
def test_tolerance_by_hand(own, accuracies, expected):
    own_control = None if own is None else drawn(own)[0]
    assert points(tolerance(drawn(*accuracies), [0.2, 0.4, 0.6], drawn(0.9)[0], own_control)) == expected


@pytest.mark.parametrize(
    ("lead", "expected"),
    [
        ((0.01, 0.02, 0.01), ("below", 0.2)),
        ((-0.01, 0.01, 0.02), ("exact", 0.3)),
        ((0.01, -0.03, 0.01), ("exact", 0.55)),  # ahead for good only then
        ((0.0, 0.01, 0.01), ("exact", 0.2)),
        ((0.01, 0.01, -0.01), ("none", None)),
        ((0.01, 0.01, 0.0), ("none", None)),
    ],
)
def test_crossover_by_hand(lead, expected):
    baseline = drawn(0.8, 0.7, 0.6)
    assert points(crossover(baseline + drawn(*lead), baseline, [0.2, 0.4, 0.6])) == expected


@given(st.permutations(range(4)), st.integers(0, 10**6))
def test_the_order_of_rates_is_of_no_matter(order, random):
    rng, rates = np.random.default_rng(random), np.array([0.1, 0.2, 0.4, 0.7])
    means, baseline, control = rng.random((4, 51)), rng.random((4, 51)), rng.random(51)
    mixed = list(order)
    assert tolerance(means[mixed], rates[mixed], control) == tolerance(means, rates, control)
    assert crossover(means[mixed], baseline[mixed], rates[mixed]) == crossover(means, baseline, rates)


@given(st.integers(0, 10**6), st.floats(0, 0.3))
def test_more_loss_allowed_tolerates_no_less(random, delta):
    rng, rates = np.random.default_rng(random), [0.1, 0.2, 0.4]
    means, control = 0.5 + 0.5 * rng.random((3, 51)), np.full(51, 0.9)
    in_order = {"none": -2.0, "below": -1.0, "at_least": math.inf}
    narrow, wide = tolerance(means, rates, control, means[0], delta), tolerance(means, rates, control, means[0], 0.3)
    for name in ("point", "low", "high"):
        less, more = getattr(narrow, name), getattr(wide, name)
        assert in_order.get(less.censoring, less.rate) <= in_order.get(more.censoring, more.rate)


def test_bounds_of_a_tolerance_are_censored_as_its_point():
    """Of 100 resamples 30 lie below the first rate, 60 cross at 0.5, 10 never do."""
    means = np.repeat([[0.8, 0.8], [0.9, 0.86], [0.9, 0.9], [0.9, 0.86]], [30, 60, 10, 1], axis=0).T
    estimate = tolerance(means[:, ::-1], [0.2, 0.6], np.full(101, 0.9))
    assert (estimate.low, estimate.high) == (CensoredRate("below", 0.2), CensoredRate("at_least", 0.6))
    assert estimate.point.censoring == "exact"
    assert estimate.point.rate == pytest.approx(0.4)
    own = np.where(np.arange(101) % 10 == 5, 0.8, 0.9)
    assert tolerance(means[:, ::-1], [0.2, 0.6], np.full(101, 0.9), own).low == CensoredRate("none", None)


def test_bounds_of_a_crossover_may_be_that_there_is_none():
    lead = np.repeat([[-0.1, 0.1], [-0.1, -0.1]], [91, 10], axis=0).T
    estimate = crossover(0.5 + lead, np.full((2, 101), 0.5), [0.2, 0.6])
    assert estimate.high == CensoredRate("none", None)
    assert estimate.point.rate == estimate.low.rate == pytest.approx(0.4)


def test_an_interval_holds_its_point_whatever_the_resamples_say():
    means = np.array([[0.9] + [0.8] * 100, [0.9] + [0.8] * 100])
    estimate = tolerance(means, [0.2, 0.6], np.full(101, 0.9))
    assert estimate.point == estimate.high == CensoredRate("at_least", 0.6)
    assert estimate.low == CensoredRate("below", 0.2)


def test_resamples_are_compared_with_the_baseline_of_the_same_resample():
    luck = np.random.default_rng(0).normal(0, 0.05, 101)
    estimate = tolerance(drawn(0.9, 0.86)[:, :1] + luck, [0.2, 0.6], 0.9 + luck)
    assert estimate.low.rate == pytest.approx(estimate.high.rate) == pytest.approx(0.4)
