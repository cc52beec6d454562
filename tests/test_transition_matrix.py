"""Transition matrices: what they must be, and what they mean. Files are tested with the noise model ``matrix``."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import dirichlet

from flowernoise import transition_matrix
from flowernoise.errors import BadRequestError

NAMES = tuple("abcdefgh")


@given(c=st.integers(1, 8), seed=st.integers(0, 10_000))
def test_stochastic_matrices_are_taken_and_others_are_not(c, seed):
    T = dirichlet.rvs(np.ones(c), c, random_state=seed)
    np.testing.assert_allclose(transition_matrix.checked(T.tolist(), c, "T"), T)
    np.testing.assert_allclose(transition_matrix.checked(T * (1 + 5e-7), None, "T").sum(axis=1), 1, rtol=1e-15)
    with pytest.raises(BadRequestError, match=r"^T: row 1 sums to 0\.99, not 1"):
        transition_matrix.checked(T * 0.99, c, "T")
    with pytest.raises(BadRequestError, match=rf"^T is {c} × {c}, where {c + 1} classes need {c + 1} × {c + 1}$"):
        transition_matrix.checked(T, c + 1, "T")


@pytest.mark.parametrize("T", [3, "T.csv", [[1, 0], [1]], None, [], np.ones((1, 1, 1)), [[np.inf]]])
def test_what_is_no_matrix_is_named(T):
    with pytest.raises(BadRequestError, match=r"^T"):
        transition_matrix.checked(T, None, "T")


@given(c=st.integers(2, 8), rate=st.floats(0, 1))
def test_symmetric_noise_breaks_even_at_its_threshold(c, rate):
    T = (1 - rate) * np.eye(c) + rate / (c - 1) * (1 - np.eye(c))
    threshold, meaning = (c - 1) / c, transition_matrix.break_even(T, NAMES)
    if rate < threshold - 1e-4:
        assert meaning is None
    elif rate > threshold + 1e-4:
        assert meaning == "a is labelled b more often than a"


def test_a_tie_in_one_class_and_matrices_that_say_nothing():
    assert transition_matrix.break_even(np.array([[0.5, 0.5], [0.0, 1.0]]), NAMES) == "a is labelled b as often as a"
    assert "say nothing" in transition_matrix.break_even(np.full((4, 4), 0.25), NAMES)
    assert transition_matrix.break_even(np.eye(1), NAMES) is None
