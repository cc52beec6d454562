"""Injected noise, and the choice of a detector by it."""

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from flowernoise.analysis.label_issues import choice
from flowernoise.catalogue.detectors import Evidence
from tests.analysis.label_issues.made_up import pairflip, symmetric


@given(st.integers(2, 200), st.integers(2, 6), st.integers(0, 10**6))
def test_injected_labels_are_others_where_they_may_be_and_only_there(n, c, seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], rng.integers(0, c, n - 2)])
    among = np.concatenate([[True], rng.random(n - 1) < 0.7])
    before = labels.copy()
    noisy, changed = choice.inject(labels, symmetric(c, 0.3), rng, among)
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(noisy != labels, changed)
    assert 1 <= changed.sum() <= max(1, round(choice.INJECTED * n))
    assert among[changed].all()
    assert set(noisy) <= set(labels)


def test_injected_noise_has_the_shape_of_t():
    labels = np.arange(3000) % 3
    noisy, changed = choice.inject(labels, pairflip(3, 0.2), np.random.default_rng(0))
    np.testing.assert_array_equal(noisy[changed], (labels[changed] + 1) % 3)
    only = np.array([[0.9, 0.1, 0], [0, 1, 0], [0, 0, 1]])
    noisy, changed = choice.inject(labels, only, np.random.default_rng(0))
    assert set(labels[changed]) == {0}
    assert set(noisy[changed]) == {1}
    assert choice.inject(labels, np.eye(3), np.random.default_rng(0))[1].sum() == 150


@given(st.integers(2, 40), st.integers(0, 10**6), st.sampled_from([3, 1000]))
def test_the_mean_placement_is_the_auroc(n, seed, levels):
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(0, levels, n).astype(float), np.arange(n) % 3 == 0
    above, below = choice.placements(scores, positive)
    expected = roc_auc_score(positive, scores)
    np.testing.assert_allclose([above.mean(), below.mean()], expected)


def evidence_with(labels: np.ndarray, suspicious: dict[str, np.ndarray]) -> Evidence:
    """Evidence of two classes whose detectors find so probable that a label is wrong."""
    columns = {name: np.where(labels[:, None] == [0, 1], 1 - p[:, None], p[:, None]) for name, p in suspicious.items()}
    return Evidence(labels, **columns)


def chosen(first: float, second: float) -> choice.DetectorChoice:
    """The choice between two detectors, each of which knows what was injected, up to noise of its own."""
    labels = np.arange(2000) % 2
    rng = np.random.default_rng(0)

    def gather(noisy: np.ndarray) -> Evidence:
        wrong = (noisy != labels).astype(float)
        looks = {
            "probabilities": 1 / (1 + np.exp(-(2 * wrong - 1) / first + rng.normal(size=2000))),
            "second_round": 1 / (1 + np.exp(-(2 * wrong - 1) / second + rng.normal(size=2000))),
        }
        return evidence_with(noisy, looks)

    return choice.choose(
        gather(labels), symmetric(2, 0.2), 0.1, gather, np.random.default_rng(1), ("self_confidence", "second_round")
    )


def test_the_detector_that_finds_injected_noise_is_chosen():
    assert str(chosen(0.3, 3.0).detector) == "self_confidence"
    found = chosen(3.0, 0.3)
    assert str(found.detector) == "second_round"
    assert found.auroc["second_round"] > found.auroc["self_confidence"] + 0.1


def test_ranks_are_averaged_where_chance_explains_the_lead():
    assert str(chosen(1.0, 1.0).detector) == "mean_rank:of=self_confidence+second_round"


def test_labels_that_are_wrong_already_do_not_change_the_choice():
    rng = np.random.default_rng(0)
    labels = np.arange(4000) % 2
    bad = rng.random(4000) < 0.3
    changing = rng.normal(size=(2, 4000))

    def gather(noisy: np.ndarray) -> Evidence:
        wrong = bad ^ (noisy != labels)
        p = [1 / (1 + np.exp(-(2 * wrong - 1) / k + each)) for k, each in zip((0.5, 2.0), changing, strict=True)]
        return evidence_with(noisy, {"probabilities": p[0], "second_round": p[1]})

    found = choice.choose(
        gather(labels), symmetric(2, 0.3), 0.3, gather, np.random.default_rng(1), ("self_confidence", "second_round")
    )
    assert str(found.detector) == "self_confidence"
    assert dataclasses.is_dataclass(found)
