"""Detectors: how suspicious each label is, one function each.

Every detector takes the :class:`Evidence` about n photos and returns n scores; higher is more suspicious. What it needs
of the evidence is declared where it is registered, ``needs=(…)``; :data:`NEEDS` tells what there is to need. In the
formulas ỹ is the given label, c the number of classes, and p the probabilities of a model that was not trained on the
photo. A score says in which order to look at photos, not how probable it is that a label is wrong.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np

from flowernoise.errors import BadRequestError
from flowernoise.registry import Between, Registry, Spec

Labels = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Scores = np.ndarray[Any, np.dtype[np.float64]]

Score = Literal["self_confidence", "margin"]

detectors = Registry("detector")
NEIGHBOURS = 50  # that vote unless another number is asked for; with 10, ranks are clearly worse on real features
_SMALLEST = 1e-12  # probability, so that its logarithm is finite
_OWN_VOTE = 0.5  # of the given label itself, so that a label that no neighbour has is rare and not impossible

NEEDS: Mapping[str, str] = types.MappingProxyType(
    {
        "probabilities": "[n, c]: of the labels, by a model that was not trained on the photo",
        "neighbours": "[n, k]: the nearest photos, nearest first, with their similarities",
        "second_round": "[n, c]: probabilities by a model trained on the photos whose label agrees with probabilities",
        "third_round": "[n, c]: the same, trained on the photos whose label agrees with second_round",
    }
)


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """What is known about n labels; what the detectors at hand do not need may be left out.

    Args:
        labels: given labels [n].
        probabilities: of the labels, out of fold [n, c].
        neighbours: numbers of the nearest photos, nearest first [n, k]; −1 where there are not as many.
        similarities: their cosine similarities [n, k].
        second_round: probabilities, out of fold, by models that saw only photos whose label agrees with the first
            round's prediction [n, c].
        third_round: the same after the second round's prediction [n, c].
    """

    labels: Labels
    probabilities: Floats | None = None
    neighbours: Labels | None = None
    similarities: Floats | None = None
    second_round: Floats | None = None
    third_round: Floats | None = None


def needs_of(spec: Spec) -> tuple[str, ...]:
    """Names of what a detector needs beside the labels.

    >>> needs_of(detectors.parse("margin")), needs_of(detectors.parse("mean_rank:of=margin+neighbours"))
    (('probabilities',), ('neighbours', 'probabilities'))
    """
    if "of" in spec.values:
        return tuple(sorted({need for member in members_of(spec) for need in needs_of(member)}))
    return tuple(spec.entry.properties["needs"])


def members_of(spec: Spec) -> tuple[Spec, ...]:
    """The detectors whose ranks a ``mean_rank`` averages.

    Raises:
        BadRequestError: one is unknown, or itself a ``mean_rank``.

    >>> [str(member) for member in members_of(detectors.parse("mean_rank:of=margin+second_round:score=margin"))]
    ['margin', 'second_round:score=margin']
    """
    return _members(spec.values["of"])


def neighbours_of(spec: Spec) -> int:
    """How many neighbours of each photo a detector looks at, 0 if it looks at none.

    >>> neighbours_of(detectors.parse("neighbours:k=20")), neighbours_of(detectors.parse("margin"))
    (20, 0)
    """
    if "of" in spec.values:
        return max(neighbours_of(member) for member in members_of(spec))
    return int(spec.values.get("k", 0))


@detectors.register(needs=("probabilities",))
def self_confidence(evidence: Evidence) -> Scores:
    """How improbable the model finds the given label.

    Formula: −log p_ỹ.

    Source: Northcutt, Jiang, Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021.

    >>> self_confidence(Evidence(np.array([0, 0]), np.array([[0.9, 0.1], [0.1, 0.9]]))).round(2).tolist()
    [0.11, 2.3]
    """
    return _minus_log(evidence.labels, _given("probabilities", evidence.probabilities))


@detectors.register(needs=("probabilities",))
def margin(evidence: Evidence) -> Scores:
    """How far the best other class leads over the given label.

    Formula: max_{k ≠ ỹ} p_k − p_ỹ, from −1 to 1.

    Source: Northcutt, Jiang, Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021 (its
    normalised margin, with the sign turned).

    >>> margin(Evidence(np.array([0, 0]), np.array([[0.75, 0.25], [0.25, 0.75]]))).tolist()
    [-0.5, 0.5]
    """
    return _lead_of_others(evidence.labels, _given("probabilities", evidence.probabilities))


@detectors.register(needs=("neighbours",))
def neighbours(evidence: Evidence, *, k: Annotated[int, Between(1, 1000)] = NEIGHBOURS) -> Scores:
    """How few of the most similar photos have the same label; it trains nothing.

    Formula: −log v_ỹ, where v are the labels of the k nearest photos, each counted by its cosine similarity (0 if that
    is negative), and the given label by ½, divided by their sum.

    Defaults: k = 50.

    Source: Zhu, Dong, Liu, Detecting Corrupted Labels Without Training a Model to Predict, ICML 2022.

    >>> near = dict(neighbours=np.array([[1, 2], [0, 2], [0, 1]]), similarities=np.ones((3, 2)))
    >>> neighbours(Evidence(np.array([0, 0, 1]), **near), k=2).round(2).tolist()
    [0.51, 0.51, 1.61]
    """
    nearest = _given("neighbours", evidence.neighbours)
    similarities = _given("neighbours", evidence.similarities)
    if nearest.shape[1] < k:
        raise BadRequestError(
            f"detector neighbours: k={k}, but only {nearest.shape[1]} neighbours of each photo are known"
        )
    nearest, weights = nearest[:, :k], np.maximum(similarities[:, :k].astype(np.float64), 0)
    weights = np.where(nearest >= 0, weights, 0)
    same = (evidence.labels[nearest] == evidence.labels[:, None]) & (nearest >= 0)
    votes = (weights * same).sum(axis=1) + _OWN_VOTE
    return np.asarray(-np.log(votes / (weights.sum(axis=1) + _OWN_VOTE)))


@detectors.register(needs=("second_round",))
def second_round(evidence: Evidence, *, score: Score = "self_confidence") -> Scores:
    """Asks a model again that was trained only on photos whose label agrees with the first model's prediction.

    Formula: −log q_ỹ, or max_{k ≠ ỹ} q_k − q_ỹ, where q are the probabilities of models trained on the photos with
    argmax p = ỹ, out of fold as well.

    Defaults: score = self_confidence. The margin is the better one where a class is mistaken for one other.

    Source: Chen, Liao, Chen, Zhang, Understanding and Utilizing Deep Neural Networks Trained with Noisy Labels, ICML
    2019 (selects photos by agreement in cross-validation, and trains again).

    >>> asked_again = Evidence(np.array([0, 0]), second_round=np.array([[0.99, 0.01], [0.01, 0.99]]))
    >>> second_round(asked_again, score="margin").round(2).tolist()
    [-0.98, 0.98]
    """
    return _SCORES[score](evidence.labels, _given("second_round", evidence.second_round))


@detectors.register(needs=("third_round",))
def third_round(evidence: Evidence, *, score: Score = "self_confidence") -> Scores:
    """Does once more what ``second_round`` does: worth it where a class is mistaken for one other nearly half the time.

    Formula: as of ``second_round``, q being the probabilities of models trained on the photos whose label is the second
    round's most probable class.

    Defaults: score = self_confidence.

    Source: Chen, Liao, Chen, Zhang, ICML 2019, algorithm 2, which iterates.

    >>> asked_again = Evidence(np.array([0, 0]), third_round=np.array([[0.99, 0.01], [0.01, 0.99]]))
    >>> third_round(asked_again).round(2).tolist()
    [0.01, 4.61]
    """
    return _SCORES[score](evidence.labels, _given("third_round", evidence.third_round))


@detectors.register()
def mean_rank(evidence: Evidence, *, of: str = "margin+neighbours+second_round") -> Scores:
    """The mean of the ranks that other detectors give: seldom the best, never far from it.

    Formula: mean over the detectors of (rank of the photo's score, ties sharing theirs) / n.

    Defaults: of = margin+neighbours+second_round.

    Source: mean of ranks, or Borda count; Dwork, Kumar, Naor, Sivakumar, Rank Aggregation Methods for the Web, WWW
    2001.

    >>> evidence = Evidence(np.array([0, 0, 0]), np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]]))
    >>> mean_rank(evidence, of="self_confidence+margin").round(2).tolist()
    [0.33, 1.0, 0.67]
    """
    from scipy.stats import rankdata

    ranks = [rankdata(member(evidence)) for member in _members(of)]
    return np.asarray(np.mean(ranks, axis=0) / len(evidence.labels))


def _members(of: str) -> tuple[Spec, ...]:
    members = tuple(detectors.parse(part) for part in of.split("+"))
    if any("of" in member.values for member in members):
        raise BadRequestError(f"detector mean_rank: of={of} may not hold another mean_rank")
    return members


def _given(need: str, values: Any) -> Any:
    if values is None:
        raise BadRequestError(f"the detector needs {need}: {NEEDS[need]}")
    return values


def _minus_log(labels: Labels, probabilities: Floats) -> Scores:
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.maximum(given, _SMALLEST)))


def _lead_of_others(labels: Labels, probabilities: Floats) -> Scores:
    rows = np.arange(len(labels))
    others = probabilities.astype(np.float64)
    given = others[rows, labels].copy()
    others[rows, labels] = -np.inf
    return np.asarray(others.max(axis=1) - given)


_SCORES = types.MappingProxyType({"self_confidence": _minus_log, "margin": _lead_of_others})
