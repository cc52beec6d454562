"""Nearest photos, by loops, and that copies do not vote for each other."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.analysis.label_issues import neighbours


@given(st.integers(2, 25), st.integers(1, 30), st.integers(1, 25), st.integers(0, 10**6))
def test_neighbours_are_the_most_similar_photos_of_other_groups(n, k, names, seed):
    rng = np.random.default_rng(seed)
    features, groups = rng.normal(size=(n, 4)).astype(np.float32), rng.integers(0, names, n)
    numbers, similarities = neighbours.nearest(features, groups, k)
    assert numbers.shape == similarities.shape == (n, k)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    for i in range(n):
        others = np.flatnonzero(groups != groups[i])
        expected = np.sort(unit[others] @ unit[i])[::-1][:k]
        there = numbers[i] >= 0
        assert there.sum() == len(expected)
        assert there[: len(expected)].all()
        np.testing.assert_allclose(similarities[i, : len(expected)], expected, atol=1e-5)
        assert (similarities[i, len(expected) :] == 0).all()
        assert not set(groups[numbers[i, there]]) & {groups[i]}
        assert len(set(numbers[i, there])) == len(expected)


def test_features_of_length_zero_are_like_none():
    _, similarities = neighbours.nearest(np.zeros((3, 2), dtype=np.float32), np.arange(3), 2)
    assert (similarities == 0).all()


def test_equal_rows_are_a_group():
    features = np.random.default_rng(0).normal(size=(5, 3))
    groups = neighbours.groups_of_equal_rows(features[[0, 1, 2, 0, 3, 1]])
    assert groups.tolist() == [0, 1, 2, 0, 3, 1]
