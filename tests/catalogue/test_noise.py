"""Every noise model against its definition: how many labels flip, which, and to what."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from flowernoise.catalogue.noise import NoiseRequest, noise_models, realised_transition_matrix
from flowernoise.errors import BadRequestError

SEEDS = tuple(range(20))
ALL = noise_models.names()


def draw(text, labels, num_classes, rate, seed=0):
    request = NoiseRequest(np.asarray(labels, dtype=np.int64), num_classes, rate, np.random.default_rng(seed))
    return noise_models.parse(text)(request)


def wrong(labels, noisy):
    return int((np.asarray(labels) != noisy.labels).sum())


def chi_square(true, observed, T):
    """Pearson's statistic of the observed labels under T, and its degrees of freedom; impossible labels are refused."""
    counts = np.bincount(true * len(T) + observed, minlength=T.size).reshape(T.shape)
    expected = counts.sum(axis=1, keepdims=True) * T
    possible = expected > 0
    assert not counts[~possible].any()
    return ((counts - expected)[possible] ** 2 / expected[possible]).sum(), int((possible.sum(axis=1) - 1).sum())


def assert_follows(text, rate, labels, num_classes):
    """Realised T lies within its sampling error of the nominal one, at each of the seeds and at all together."""
    total, degrees = 0.0, 0
    for seed in SEEDS:
        noisy = draw(text, labels, num_classes, rate, seed)
        statistic, freedom = chi_square(labels, noisy.labels, noisy.transition_matrix)
        assert chi2.sf(statistic, freedom) > 1e-5, seed
        total, degrees = total + statistic, degrees + freedom
    assert 1e-3 < chi2.sf(total, degrees) < 1 - 1e-3


# --- what all of them must hold --------------------------------------------------------------------------------------


@st.composite
def labellings(draw_from):
    """Labels of 1 to 8 classes, any of them missing, any of them rare."""
    num_classes = draw_from(st.integers(1, 8))
    labels = draw_from(st.lists(st.integers(0, num_classes - 1), min_size=1, max_size=60))
    return np.array(labels), num_classes


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=200, deadline=None)
@given(labelling=labellings(), rate=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_every_model_returns_labels_of_the_task_again_and_again_and_leaves_the_input_alone(name, labelling, rate, seed):
    labels, num_classes = labelling
    before = labels.copy()
    first, second = (draw(name, labels, num_classes, rate, seed) for _ in range(2))
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.labels.shape == labels.shape
    assert first.labels.dtype == np.int64
    assert first.labels.min() >= 0
    assert first.labels.max() < num_classes
    assert not np.shares_memory(first.labels, labels)
    if first.transition_matrix is not None:
        assert first.transition_matrix.shape == (num_classes, num_classes)
        np.testing.assert_allclose(first.transition_matrix.sum(axis=1), 1)
        assert (first.transition_matrix >= 0).all()


@pytest.mark.parametrize("name", ALL)
def test_every_model_leaves_all_labels_right_at_rate_0(name):
    labels = np.arange(60) % 5
    noisy = draw(name, labels, 5, 0.0)
    assert wrong(labels, noisy) == 0
    if noisy.transition_matrix is not None:
        np.testing.assert_array_equal(noisy.transition_matrix, np.eye(5))


@pytest.mark.parametrize("name", ALL)
def test_other_seeds_give_other_labels(name):
    labels = np.arange(200) % 5
    drawn = {draw(name, labels, 5, 0.5, seed).labels.tobytes() for seed in SEEDS}
    assert len(drawn) == len(SEEDS)


@pytest.mark.parametrize("name", ALL)
def test_one_class_has_no_wrong_label(name):
    noisy = draw(name, np.zeros(7), 1, 0.6)
    assert wrong(np.zeros(7), noisy) == 0


@pytest.mark.parametrize("name", ALL)
def test_a_million_labels_take_less_than_a_second(name):
    labels = np.random.default_rng(0).integers(0, 10, 1_000_000)
    request = NoiseRequest(labels, 10, 0.4, np.random.default_rng(0))
    spec = noise_models.parse(name)
    started = time.perf_counter()
    spec(request)
    assert time.perf_counter() - started < 1


# --- symmetric and uniform -------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(labelling=labellings(), rate=st.floats(0, 1), seed=st.integers(0, 1000))
def test_symmetric_makes_exactly_the_asked_number_wrong(labelling, rate, seed):
    labels, num_classes = labelling
    expected = int(np.floor(rate * len(labels) + 0.5 + 1e-9)) if num_classes > 1 else 0
    assert wrong(labels, draw("symmetric", labels, num_classes, rate, seed)) == expected


@settings(max_examples=300, deadline=None)
@given(labelling=labellings(), rate=st.floats(0, 1), seed=st.integers(0, 1000))
def test_uniform_makes_at_most_the_asked_number_wrong(labelling, rate, seed):
    labels, num_classes = labelling
    assert wrong(labels, draw("uniform", labels, num_classes, rate, seed)) <= np.floor(rate * len(labels) + 0.5 + 1e-9)


def test_rates_are_rounded_once_over_all_classes():
    labels = np.arange(4_000) % 2_000  # two examples a class: each class on its own would round to 0
    assert wrong(labels, draw("symmetric", labels, 2_000, 0.2)) == 800


@pytest.mark.parametrize(("rate", "n", "flips"), [(0.3, 5, 2), (0.5, 5, 3), (0.1, 3, 0), (0.7, 45, 32), (0.15, 10, 2)])
def test_halves_are_rounded_up_whatever_floating_point_makes_of_them(rate, n, flips):
    assert wrong(np.zeros(n), draw("symmetric", np.zeros(n), 3, rate)) == flips


@pytest.mark.parametrize("name", ["symmetric", "uniform"])
@pytest.mark.parametrize("rate", [0.1, 0.4, 0.8, 1.0])
def test_the_realised_matrix_is_within_its_sampling_error_of_the_nominal_one(name, rate):
    labels = np.repeat(np.arange(4), (4000, 2000, 1000, 500))
    assert_follows(f"{name}:count=bernoulli", rate, labels, 4)


@pytest.mark.parametrize("name", ["symmetric", "uniform"])
def test_a_coin_for_each_label_gives_binomial_counts(name):
    n, rate = 2000, 0.3
    share = {"symmetric": rate, "uniform": rate * (1 - 1 / 5)}[name]
    counts = [wrong(np.zeros(n), draw(f"{name}:count=bernoulli", np.zeros(n), 5, rate, seed)) for seed in range(200)]
    assert abs(np.mean(counts) - share * n) < 4 * np.sqrt(n * share * (1 - share) / 200)
    assert 0.7 < np.var(counts) / (n * share * (1 - share)) < 1.4


def test_exact_draws_flip_every_label_equally_often():
    labels = np.arange(30) % 3
    flipped = np.mean([draw("symmetric", labels, 3, 0.4, seed).labels != labels for seed in range(2000)], axis=0)
    assert np.abs(flipped - 0.4).max() < 4.5 * np.sqrt(0.24 / 2000)


@pytest.mark.parametrize("c", [2, 5])
def test_nominal_matrices_are_the_formulas(c):
    eye, ones = np.eye(c), np.ones((c, c))
    labels = np.arange(20) % c
    np.testing.assert_allclose(
        draw("symmetric", labels, c, 0.3).transition_matrix, 0.7 * eye + 0.3 / (c - 1) * (ones - eye)
    )
    np.testing.assert_allclose(draw("uniform", labels, c, 0.3).transition_matrix, 0.7 * eye + 0.3 / c * ones)


def test_symmetric_noise_of_two_classes_is_chance_at_one_half_and_inverts_at_one():
    labels = np.arange(1000) % 2
    assert wrong(labels, draw("symmetric", labels, 2, 0.5)) == 500
    np.testing.assert_array_equal(draw("symmetric", labels, 2, 1.0).labels, 1 - labels)


def test_symmetric_noise_past_its_break_even_point_makes_every_other_class_likelier_than_the_true_one():
    at_chance = draw("symmetric", np.arange(20) % 5, 5, 0.8).transition_matrix
    np.testing.assert_allclose(at_chance, 0.2)
    inverted = draw("symmetric", np.arange(20) % 5, 5, 0.9).transition_matrix
    assert (np.diag(inverted) < inverted[0, 1]).all()


def test_uniform_noise_never_makes_a_wrong_class_likelier_than_the_true_one():
    for rate in (0.5, 0.9, 1.0):
        T = draw("uniform", np.arange(20) % 5, 5, rate).transition_matrix
        assert (np.diag(T)[:, None] >= T - 1e-12).all()


def test_a_class_with_one_example_and_absent_classes_are_corrupted_like_any_other():
    labels = np.array([0] * 9 + [4])
    assert wrong(labels, draw("symmetric", labels, 7, 1.0)) == 10
    lonely = [draw("symmetric", labels, 7, 0.5, seed).labels[-1] for seed in range(300)]
    assert 0.4 < np.mean(np.array(lonely) != 4) < 0.6
    assert set(lonely) == set(range(7))


def test_a_thousand_classes():
    labels = np.random.default_rng(1).integers(0, 1000, 50_000)
    noisy = draw("symmetric", labels, 1000, 0.4)
    assert wrong(labels, noisy) == 20_000
    assert len(np.unique((noisy.labels - labels)[noisy.labels != labels] % 1000)) == 999


def test_higher_rates_of_a_seed_keep_the_wrong_labels_of_lower_ones():
    labels = np.arange(500) % 5
    low, high = (draw("symmetric", labels, 5, rate).labels for rate in (0.2, 0.6))
    flipped = low != labels
    np.testing.assert_array_equal(low[flipped], high[flipped])


# --- realised matrices, specs ----------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(labelling=labellings(), seed=st.integers(0, 1000))
def test_the_realised_matrix_is_counted_row_by_row(labelling, seed):
    labels, c = labelling
    observed = np.random.default_rng(seed).integers(0, c, len(labels))
    realised = realised_transition_matrix(labels, observed, c)
    for i in range(c):
        for j in range(c):
            of_class = observed[labels == i]
            expected = np.mean(of_class == j) if len(of_class) else np.nan
            np.testing.assert_allclose(realised[i, j], expected)


def test_an_unknown_model_lists_what_there_is_and_suggests_the_nearest():
    with pytest.raises(BadRequestError, match=r"unknown noise model 'symetric' \(did you mean symmetric\?\).*uniform"):
        noise_models.parse("symetric")


@pytest.mark.parametrize(
    "text", ["symmetric:cuont=exact", "symmetric:count=exactly", "uniform:count", "uniform:a=1,a=2"]
)
def test_bad_parameters_are_refused_in_one_line(text):
    with pytest.raises(BadRequestError) as raised:
        noise_models.parse(text)
    assert "\n" not in str(raised.value)
