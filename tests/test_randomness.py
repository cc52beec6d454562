import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.randomness import generator


def numbers(seed: int, *purpose: str) -> list[float]:
    return generator(seed, *purpose).random(8).tolist()


@given(st.integers(0, 2**80), st.lists(st.text(max_size=5), max_size=3))
def test_the_same_seed_and_purpose_give_the_same_numbers(seed: int, purpose: list[str]) -> None:
    assert numbers(seed, *purpose) == numbers(seed, *purpose)


def test_the_numbers_are_those_of_every_earlier_version() -> None:
    """Draws, splits and initial weights depend on them: results must never silently change."""
    assert generator(0, "batch order").integers(0, 1000, 5).tolist() == [875, 732, 725, 20, 10]
    assert generator(7, "draw", "symmetric", "train").integers(0, 1000, 5).tolist() == [731, 766, 456, 144, 515]


def test_other_seeds_and_other_purposes_give_other_numbers() -> None:
    streams = [
        numbers(0, "draw"),
        numbers(1, "draw"),
        numbers(2**32, "draw"),
        numbers(0, "draw", ""),
        numbers(0, "Draw"),
        numbers(0),
        numbers(0, "ab", "c"),
        numbers(0, "a", "bc"),
        numbers(0, "abc"),
        numbers(0, "c", "ab"),
    ]
    assert not any(a == b for a, b in itertools.combinations(streams, 2))


def test_streams_of_neighbouring_seeds_are_uncorrelated() -> None:
    streams = np.array([generator(seed, "draw").standard_normal(4000) for seed in range(12)])
    correlations = np.corrcoef(streams)[np.triu_indices(12, 1)]
    assert np.abs(correlations).max() < 0.07  # 4.4 standard errors


def test_using_one_stream_leaves_others_and_numpys_global_state_alone() -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[index, union-attr]
    other = numbers(3, "b")
    generator(3, "a").random(1000)
    assert numbers(3, "b") == other
    assert (np.random.get_state()[1] == before).all()  # type: ignore[index]


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        generator(-1, "draw")
