"""Transition matrices: what they must be, and what they mean. Files are tested with the noise model ``matrix``."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import dirichlet

from flowernoise.catalogue import transition_matrix
from flowernoise.errors import BadRequestError

NAMES = tuple("abcdefgh")


@given(c=st.integers(1, 8), seed=st.integers(0, 10_000))
def test_stochastic_matrices_are_taken_and_others_are_not(c, seed):
    T = dirichlet.rvs(np.ones(c), c, random_state=seed)
    np.testing.assert_allclose(transition_matrix.checked(T.tolist(), c, "T"), T)
    np.testing.assert_allclose(transition_matrix.checked(T * (1 + 5e-7), None, "T").sum(axis=1), 1, rtol=1e-15)
    with pytest.raises(BadRequestError, match=r"^T: row 1 sums to 0\.99, not 1"):
        transition_matrix.checked(T * 0.99, c, "T")
    with pytest.raises(BadRequestError, match=rf"^T is {c} × {c}, but {c + 1} classes need {c + 1} × {c + 1}$"):
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


# --- estimated -------------------------------------------------------------------------------------------------------


def noisy_classes(sizes, seed, *, pairs=False, rate=0.2, clipped=True):
    """Labels from T, and posteriors that are T's rows with a standard deviation of 0.01."""
    stream, c = np.random.default_rng(seed), len(sizes)
    wrong = np.roll(np.eye(c), 1, axis=1) if pairs else (1 - np.eye(c)) / (c - 1)
    T = (1 - rate) * np.eye(c) + rate * wrong
    true = np.repeat(np.arange(c), sizes)
    labels = np.concatenate([stream.choice(c, size, p=row) for size, row in zip(sizes, T, strict=True)])
    posteriors = T[true] + stream.normal(0, 0.01, (len(true), c))
    return T, labels, np.maximum(posteriors, 0) if clipped else posteriors


SIZES = {
    "2": [10_000] * 2,
    "2, one rare": [19_500, 500],
    "5": [4000] * 5,
    "5, one rare": [4875] * 4 + [500],
    "10": [1000] * 10,
    "30": [1000] * 30,
    "100": [1000] * 100,
}


@pytest.mark.parametrize("clipped", [True, False])
@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_the_estimate_holds_from_few_classes_to_many_and_for_rare_ones(sizes, pairs, clipped):
    for seed in range(2 if len(sizes) == 100 else 5):
        T, labels, posteriors = noisy_classes(sizes, seed, pairs=pairs, clipped=clipped)
        estimate, known = transition_matrix.estimated(labels, posteriors)
        diagonal = np.diag(estimate)
        assert known.all()
        assert abs(diagonal.mean() - 0.8) < 0.02
        assert np.abs(diagonal - 0.8).max() < 0.05
        assert np.abs(estimate - T).max() < 0.06
        np.testing.assert_allclose(estimate.sum(axis=1), 1)


def test_the_estimate_holds_for_a_thousand_classes_of_twenty_photos():
    _, labels, posteriors = noisy_classes([20] * 1000, seed=0)
    estimate, known = transition_matrix.estimated(labels, posteriors)
    assert known.all()
    assert abs(np.diag(estimate).mean() - 0.8) < 0.02
    np.testing.assert_allclose(transition_matrix.checked(estimate, 1000, "T"), estimate, rtol=1e-12)


@pytest.mark.parametrize("power", [0.5, 1, 4])
def test_posteriors_that_are_too_flat_or_too_peaked_are_set_right_by_the_labels(power):
    T, labels, posteriors = noisy_classes([2000] * 5, seed=0)
    estimate, _ = transition_matrix.estimated(labels, posteriors**power)
    assert np.abs(estimate - T).max() < 0.03


def test_photos_that_may_show_several_classes_are_left_out():
    T, labels, posteriors = noisy_classes([1000] * 3, seed=0)
    stream = np.random.default_rng(1)
    doubtful = stream.dirichlet([0.9, 0.9, 0.9], 1000) @ T
    doubtful = doubtful[doubtful.max(axis=1) < 0.6]
    mixed = np.concatenate([posteriors, doubtful]), np.concatenate([labels, stream.integers(0, 3, len(doubtful))])
    np.testing.assert_array_equal(
        transition_matrix.estimated(*mixed[::-1])[0], transition_matrix.estimated(labels, posteriors)[0]
    )


def test_a_class_of_which_nothing_can_be_said_gets_the_row_of_the_identity():
    _, labels, posteriors = noisy_classes([500, 500, 4, 5], seed=0)
    estimate, known = transition_matrix.estimated(labels, posteriors)
    assert known.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(estimate[2], np.eye(4)[2])
    of_nothing, none = transition_matrix.estimated(np.array([1, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    assert not none.any()
    np.testing.assert_array_equal(of_nothing, np.eye(2))


def test_labels_without_noise_give_the_identity():
    true = np.repeat(np.arange(4), 50)
    estimate, _ = transition_matrix.estimated(true, 0.9 * np.eye(4)[true] + 0.025)
    np.testing.assert_allclose(estimate, np.eye(4), atol=1e-6)


NAMED = {
    "heads": "rose,tulip\n0.9,0.1\n0,1\n",
    "heads and rows": ",rose,tulip\nrose,0.9,0.1\ntulip,0,1\n",
    "a word in the corner": "true,rose,tulip\nrose,0.9,0.1\ntulip,0,1\n",
    "heads one short": "rose,tulip\nrose,0.9,0.1\ntulip,0,1\n",
    "rows": "rose,0.9,0.1\ntulip,0,1\n",
    "nothing": "0.9,0.1\n0,1\n",
}


@pytest.mark.parametrize("text", NAMED.values(), ids=NAMED)
def test_class_names_may_head_columns_and_rows_and_are_checked(tmp_path, text):
    path = tmp_path / "T.csv"
    path.write_text(text)

    def read(class_names):
        return transition_matrix.read(str(path), 2, owner="noise", class_names=class_names)

    np.testing.assert_array_equal(read(("rose", "tulip")), [[0.9, 0.1], [0, 1]])
    np.testing.assert_array_equal(read(None), [[0.9, 0.1], [0, 1]])
    if "rose" in text:
        with pytest.raises(
            BadRequestError,
            match=r"names the classes 'rose, tulip', but the data set has 'tulip, rose', in this order",
        ):
            read(("tulip", "rose"))


def test_classes_may_be_called_by_numbers(tmp_path):
    path = tmp_path / "T.csv"
    for text in ("0,1\n1,0\n0,1\n", ",0,1\n0,1,0\n1,0,1\n"):
        path.write_text(text)
        T = transition_matrix.read(str(path), 2, owner="noise", class_names=("0", "1"))
        np.testing.assert_array_equal(T, np.eye(2))
    path.write_text("0,1\n1,0\n")
    T = transition_matrix.read(str(path), 2, owner="noise", class_names=("0", "1"))
    np.testing.assert_array_equal(T, [[0, 1], [1, 0]])


def test_a_matrix_may_be_numpys(tmp_path):
    np.save(tmp_path / "T.npy", np.array([[0.9, 0.1], [0, 1]]))
    T = transition_matrix.read(str(tmp_path / "T.npy"), 2, owner="noise")
    np.testing.assert_array_equal(T, [[0.9, 0.1], [0, 1]])
    for bad in (np.array([["a", "b"]]), np.array([[1j]]), np.array([[True]]), np.array([[None]], dtype=object)):
        np.save(tmp_path / "T.npy", bad)
        with pytest.raises(BadRequestError, match=r"T\.npy does not hold numbers in rows of equal length"):
            transition_matrix.read(str(tmp_path / "T.npy"), 2, owner="noise")
    (tmp_path / "T.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(BadRequestError, match=r"T\.npy"):
        transition_matrix.read(str(tmp_path / "T.npy"), 2, owner="noise")
