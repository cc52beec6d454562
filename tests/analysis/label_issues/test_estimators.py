"""Estimators of the noise: identities, the truth where their assumptions hold, loops in place of NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad

from flowernoise.analysis.label_issues import estimators
from flowernoise.analysis.label_issues.bracket import bracket
from tests.analysis.label_issues.made_up import clusters, noisy, pairflip, symmetric


@st.composite
def answers(draw) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities that may have little to do with each other; classes may be missing."""
    n, c = draw(st.integers(1, 40)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    labels = rng.integers(0, draw(st.integers(1, c)), n)
    p = rng.dirichlet(np.ones(c), n) + draw(st.sampled_from([0.0, 1.0])) * np.eye(c)[labels]
    return labels, p / p.sum(axis=1, keepdims=True)


def joint_by_loops(labels, p):
    n, c = p.shape
    t = [np.mean([p[i, k] for i in range(n) if labels[i] == k]) if k in labels else np.inf for k in range(c)]
    C = np.zeros((c, c))
    for i in range(n):
        sure = [k for k in range(c) if p[i, k] >= t[k] - 1e-12]
        if sure:
            C[labels[i], max(sure, key=lambda k: p[i, k])] += 1
    return C


@given(answers())
def test_the_confident_joint_is_that_of_loops(given_):
    np.testing.assert_array_equal(estimators.confident_joint(*given_), joint_by_loops(*given_))


@given(answers())
def test_rows_of_the_calibrated_joint_sum_to_the_counts(given_):
    joint = estimators.calibrated_joint(*given_)
    np.testing.assert_allclose(joint.sum(axis=1), np.bincount(given_[0], minlength=len(joint)))


@given(answers())
def test_the_calibrated_rate_is_never_below_the_off_diagonal_one(given_):
    calibrated, off = estimators.confident_calibrated(*given_), estimators.confident_off_diagonal(*given_)
    assert calibrated.rate >= off.rate - 1e-12


@given(answers())
def test_every_estimate_is_a_stochastic_matrix_with_its_rate(given_):
    for estimate in bracket(*given_).estimates.values():
        np.testing.assert_allclose(estimate.transition_matrix.sum(axis=1), 1)
        assert estimate.transition_matrix.min() >= 0
        assert estimate.shares.sum() == pytest.approx(1)
        assert estimate.rate == pytest.approx(estimate.shares @ (1 - np.diag(estimate.transition_matrix)))


@given(answers())
def test_the_bracket_holds_all_its_estimates(given_):
    found = bracket(*given_)
    rates = [each.rate for each in found.estimates.values()]
    assert (found.rate_low, found.rate_high) == (min(rates), max(rates))
    assert found.rate_low <= found.rate <= found.rate_high
    assert (found.transition_low <= found.transition_matrix + 1e-12).all()
    assert (found.transition_matrix <= found.transition_high + 1e-12).all()
    np.testing.assert_allclose(found.transition_matrix.sum(axis=1), 1)


@given(st.integers(2, 12), st.floats(0, 0.99))
def test_symmetric_noise_follows_from_how_often_perfect_neighbours_agree(c, share):
    rate = share * (c - 1) / c
    agreement = (symmetric(c, rate)[0] ** 2).sum()
    assert estimators.symmetric_rate(agreement, c) == pytest.approx(rate, abs=1e-6)
    assert np.isnan(estimators.symmetric_rate(1 / c - 0.01, c))


@given(st.integers(2, 5), st.integers(0, 10**6))
def test_without_noise_pairs_of_perfect_neighbours_are_on_the_diagonal(c, seed):
    labels = np.random.default_rng(seed).integers(0, c, 50)
    c1, c2, c3 = estimators.consensus(labels, labels, labels, c)
    np.testing.assert_allclose(c2, np.diag(c1))
    np.testing.assert_allclose(np.einsum("iii->i", c3), c1)


@given(st.integers(2, 5), st.integers(0, 10**6))
def test_triples_do_not_depend_on_their_order_and_add_up_to_pairs_and_labels(c, seed):
    first, second, third = np.random.default_rng(seed).integers(0, c, (3, 50))
    c1, c2, c3 = estimators.consensus(first, second, third, c)
    for order in ((1, 0, 2), (0, 2, 1), (2, 1, 0)):
        np.testing.assert_allclose(c3, c3.transpose(order))
    np.testing.assert_allclose(c2, c2.T)
    assert c1.sum() == pytest.approx(1)
    assert c2.sum() == pytest.approx(1)
    assert c3.sum() == pytest.approx(1)


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10**6))
def test_the_gradient_of_higher_order_is_that_of_differences(c, seed):
    rng = np.random.default_rng(seed)
    moments = estimators.consensus(*rng.integers(0, c, (3, 50)), c)
    point = rng.normal(size=c + c * c)
    error = check_grad(
        lambda x: estimators._distance(x, *moments)[0], lambda x: estimators._distance(x, *moments)[1], point
    )
    assert error < 1e-2 * np.linalg.norm(estimators._distance(point, *moments)[1])


@pytest.mark.parametrize("T", [symmetric(4, 0.3), pairflip(4, 0.4), np.eye(4)], ids=["symmetric", "pairflip", "none"])
def test_higher_order_finds_t_where_neighbours_are_of_one_class(T):
    _, classes = clusters(20000, 4, 0)
    labels = noisy(classes, T, 0)
    rng = np.random.default_rng(1)
    of_class = [np.flatnonzero(classes == k) for k in range(4)]
    near = np.stack([rng.choice(of_class[k], 2, replace=False) for k in classes])
    found = estimators.higher_order(labels, near, 4)
    np.testing.assert_allclose(found.transition_matrix, T, atol=0.03)
    assert found.rate == pytest.approx((labels != classes).mean(), abs=0.01)


def test_higher_order_is_left_out_where_it_cannot_be_had():
    labels = np.array([0, 1, 0])
    assert estimators.higher_order(labels, np.array([[1], [0], [0]]), 2) is None
    assert estimators.higher_order(labels, np.array([[1, -1], [0, -1], [0, -1]]), 2) is None
    assert estimators.higher_order(labels, np.array([[1, 2], [0, 2], [0, 1]]), estimators.MAX_CLASSES + 1) is None


def test_a_perfect_model_of_the_labels_makes_all_estimates_right():
    T = symmetric(3, 0.3)
    classes = np.repeat([0, 1, 2], 1000)
    labels = np.concatenate([np.repeat([k, (k + 1) % 3, (k + 2) % 3], [700, 150, 150]) for k in range(3)])
    found = bracket(labels, T[classes])
    assert found.rate_low == pytest.approx(0.3)
    assert found.rate_high == pytest.approx(0.3)
    np.testing.assert_allclose(found.transition_matrix, T)
