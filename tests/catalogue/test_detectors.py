"""Detectors against NumPy, and what every registered one promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from flowernoise.catalogue.detectors import NEEDS, Evidence, detectors, members_of, needs_of, neighbours_of
from flowernoise.errors import BadRequestError


@st.composite
def evidences(draw) -> Evidence:
    n, c = draw(st.integers(2, 30)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    k = 50
    return Evidence(
        labels=rng.integers(0, c, n),
        probabilities=rng.dirichlet(np.ones(c), n),
        neighbours=np.where(rng.random((n, k)) < 0.1, -1, rng.integers(0, n, (n, k))),
        similarities=rng.uniform(-0.5, 1, (n, k)).astype(np.float32),
        second_round=rng.dirichlet(np.ones(c) / 5, n),
        third_round=rng.dirichlet(np.ones(c) / 5, n),
    )


def by_loops(name: str, evidence: Evidence, i: int) -> float:
    label = evidence.labels[i]
    if name == "neighbours":
        votes = {label: 0.5}
        for j, similarity in zip(evidence.neighbours[i], evidence.similarities[i].astype(float), strict=True):
            if j >= 0:
                votes[evidence.labels[j]] = votes.get(evidence.labels[j], 0) + max(similarity, 0)
        return -np.log(votes[label] / sum(votes.values()))
    rounds = {"second_round": evidence.second_round, "third_round": evidence.third_round}
    p = rounds.get(name.partition(":")[0], evidence.probabilities)[i]
    if name.endswith("margin"):
        return max(p[k] for k in range(len(p)) if k != label) - p[label]
    return -np.log(max(p[label], 1e-12))


NAMES = (
    "self_confidence",
    "margin",
    "neighbours",
    "second_round",
    "second_round:score=margin",
    "third_round",
    "third_round:score=margin",
)


@pytest.mark.parametrize("name", NAMES)
@given(evidences())
def test_scores_are_those_of_loops(name, evidence):
    expected = [by_loops(name, evidence, i) for i in range(len(evidence.labels))]
    np.testing.assert_allclose(detectors.parse(name)(evidence), expected, atol=1e-9)


@given(evidences())
def test_mean_rank_is_the_mean_of_ranks(evidence):
    ranks = [rankdata(detectors.parse(name)(evidence)) for name in ("margin", "neighbours")]
    found = detectors.parse("mean_rank:of=margin+neighbours")(evidence)
    np.testing.assert_allclose(found, np.mean(ranks, axis=0) / len(evidence.labels))


@pytest.mark.parametrize("entry", [pytest.param(each, id=each.name) for each in detectors])
@given(evidence=evidences())
def test_every_detector_gives_one_finite_score_per_label_and_leaves_its_evidence_alone(entry, evidence):
    before = {name: getattr(evidence, name).copy() for name in ("labels", "probabilities", "neighbours")}
    scores = detectors.parse(entry.name)(evidence)
    assert scores.shape == evidence.labels.shape
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    for name, values in before.items():
        np.testing.assert_array_equal(getattr(evidence, name), values)


@pytest.mark.parametrize("entry", [pytest.param(each, id=each.name) for each in detectors])
def test_every_detector_declares_what_it_needs_and_names_it_when_it_lacks(entry):
    needs = needs_of(detectors.parse(entry.name))
    assert needs
    assert set(needs) <= set(NEEDS)
    with pytest.raises(BadRequestError, match=f"needs ({'|'.join(needs)}): "):
        detectors.parse(entry.name)(Evidence(np.array([0, 1])))
    assert all(word in entry.function.__doc__ for word in ("Formula: ", "Source: ", ">>> "))


@pytest.mark.parametrize("name", NAMES)
def test_a_label_that_everything_speaks_against_is_more_suspicious(name):
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])
    near = np.array([[1] * 50, [0] * 50, [0, 1] * 25])
    evidence = Evidence(np.array([0, 0, 1]), p, near, np.ones((3, 50)), p, p)
    scores = detectors.parse(name)(evidence)
    assert scores[2] > scores[0]


@given(evidences())
def test_the_order_of_labels_is_that_of_cleanlab_by_its_formulas(evidence):
    rows, labels, p = np.arange(len(evidence.labels)), evidence.labels, evidence.probabilities
    others = p.copy()
    others[rows, labels] = -1
    np.testing.assert_allclose(np.exp(-detectors.parse("self_confidence")(evidence)), p[rows, labels], atol=1e-6)
    normalized_margin = (p[rows, labels] - others.max(axis=1) + 1) / 2
    np.testing.assert_allclose((1 - detectors.parse("margin")(evidence)) / 2, normalized_margin, atol=1e-6)


@given(evidences())
def test_cleanlab_itself_agrees(evidence):
    rank = pytest.importorskip("cleanlab.rank", reason="cleanlab is not installed; the formulas are tested above")
    for ours, theirs in (("self_confidence", "self_confidence"), ("margin", "normalized_margin")):
        expected = rank.get_label_quality_scores(evidence.labels, evidence.probabilities, method=theirs)
        scores = detectors.parse(ours)(evidence)
        found = np.exp(-scores) if ours == "self_confidence" else (1 - scores) / 2
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mean_rank:of=margn", r"unknown detector 'margn' \(did you mean margin\?\)"),
        ("mean_rank:of=margin+mean_rank", "may not hold another mean_rank"),
    ],
)
def test_bad_members_are_named(text, problem):
    with pytest.raises(BadRequestError, match=problem):
        members_of(detectors.parse(text))


def test_more_neighbours_than_are_known_are_refused():
    evidence = Evidence(np.array([0, 1]), neighbours=np.array([[1], [0]]), similarities=np.ones((2, 1)))
    with pytest.raises(BadRequestError, match="k=2, but only 1 neighbours of each photo are known"):
        detectors.parse("neighbours:k=2")(evidence)


def test_a_mean_rank_looks_at_as_many_neighbours_as_its_members():
    assert neighbours_of(detectors.parse("mean_rank:of=margin+neighbours:k=20+neighbours:k=30")) == 30
