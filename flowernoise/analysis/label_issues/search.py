"""The whole audit of labels on features or probabilities: evidence, estimates, the detector, what it finds."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from flowernoise.analysis.label_issues import heads
from flowernoise.analysis.label_issues.bracket import NoiseEstimate, bracket
from flowernoise.analysis.label_issues.choice import DetectorChoice, choose
from flowernoise.analysis.label_issues.estimators import Matrix
from flowernoise.analysis.label_issues.heads import OutOfFold
from flowernoise.analysis.label_issues.kinds import Kinds, chance_of_wrong, kinds
from flowernoise.analysis.label_issues.neighbours import groups_of_equal_rows, nearest
from flowernoise.catalogue.detectors import NEIGHBOURS, Evidence, detectors, needs_of, neighbours_of
from flowernoise.errors import BadRequestError
from flowernoise.randomness import generator
from flowernoise.registry import Spec

Labels = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Singles = np.ndarray[Any, np.dtype[np.float32]]

_WITHOUT_FEATURES = "mean_rank:of=self_confidence+margin"
_WITH_OTHERS_PROBABILITIES = "mean_rank:of=self_confidence+margin+neighbours+second_round"


@dataclasses.dataclass(frozen=True, eq=False)
class AuditMaterial:
    """What an audit works on.

    Args:
        labels: given labels [n].
        num_classes: c.
        probabilities: of the labels, by somebody's model that was not trained on the photo [n, c].
        features: [n, d].
        groups: numbers of groups that share a fold and do not vote for each other, such as near duplicates [n]; photos
            of equal features if None.
        classes: what to call the classes.
        seed: of folds and injected noise.
    """

    labels: Labels
    num_classes: int
    probabilities: Floats | None = None
    features: Floats | None = None
    groups: Labels | None = None
    classes: tuple[Any, ...] | None = None
    seed: int = 0

    @functools.cached_property
    def _group(self) -> Labels:
        if self.groups is not None:
            return self.groups
        return np.arange(len(self.labels)) if self.features is None else groups_of_equal_rows(self.features)

    @functools.cached_property
    def _reduced(self) -> Singles:
        assert self.features is not None
        return heads.principal_components(self.features)

    @functools.cached_property
    def _fold(self) -> Labels:
        fold = heads.folds(self.labels, self._group, generator(self.seed, "audit", "folds"))
        if not fold.any():
            raise BadRequestError("features are the same for all labels, or all in one group, so they tell nothing")
        return fold

    @functools.cached_property
    def own(self) -> OutOfFold:
        """Heads trained on the features, with the strength of L2 that suits the labels."""
        return heads.out_of_fold(self._reduced, self.labels, self.num_classes, self._fold)

    @property
    def first_round(self) -> Floats:
        """The probabilities that were given, or those of heads on the features."""
        return self.own.probabilities if self.probabilities is None else self.probabilities

    def nearest(self, k: int) -> tuple[Labels, Singles]:
        """The k nearest photos of each and their similarities, as :func:`nearest`."""
        return nearest(self._reduced, self._group, k)

    def again(self, labels: Labels, seen: Floats) -> OutOfFold:
        """Heads trained on the photos whose label agrees with what was seen of them."""
        agree = heads.agreeing(labels, seen)
        own = self.own
        return heads.out_of_fold(
            self._reduced, labels, self.num_classes, self._fold, train_on=agree, l2=own.l2, start=own.weights
        )

    def rounds(self, labels: Labels, first: Floats, known: Evidence) -> Evidence:
        """The evidence after a second and a third round."""
        second = self.again(labels, first).probabilities
        third = self.again(labels, second).probabilities
        return dataclasses.replace(known, labels=labels, probabilities=first, second_round=second, third_round=third)

    def with_other_labels(self, labels: Labels, known: Evidence) -> Evidence:
        """The evidence about the same photos if their labels were others."""
        first = heads.out_of_fold(
            self._reduced, labels, self.num_classes, self._fold, l2=self.own.l2, start=self.own.weights
        )
        return self.rounds(labels, first.probabilities, known)


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """What an audit found of n labels.

    Args:
        noise: how many are wrong.
        detector: what scored them.
        choice: how it was chosen; None where it was not.
        scores: higher is more suspicious [n].
        p_wrong: rough probability of being wrong [n].
        suggested: class that the last round finds most probable [n].
        kind: what each would be if it were suspicious [n].
        evidence: what the scores rest on.
    """

    noise: NoiseEstimate
    detector: Spec
    choice: DetectorChoice | None
    scores: Matrix
    p_wrong: Matrix
    suggested: Labels
    kind: Kinds
    evidence: Evidence


def estimate(material: AuditMaterial) -> NoiseEstimate:
    """How many labels are wrong, and how they are mixed up."""
    neighbours = None if material.features is None else material.nearest(2)[0]
    return bracket(material.labels, material.first_round, neighbours, material.classes)


def search(material: AuditMaterial, detector: Spec | None = None) -> Findings:
    """How many labels are wrong, and which.

    Args:
        material: labels, and features or probabilities or both.
        detector: which one is to score the labels; chosen by injected noise if None, where there are features alone.

    Raises:
        BadRequestError: the detector needs features, and there are none.
    """
    noise, evidence = _known(material, NEIGHBOURS if detector is None else neighbours_of(detector))
    chosen = None
    if detector is None and material.features is None:
        detector = detectors.parse(_WITHOUT_FEATURES)
    elif detector is None and material.probabilities is not None:
        # Labels with further noise cannot be put before somebody else's model, so there is nothing to choose by.
        detector = detectors.parse(_WITH_OTHERS_PROBABILITIES)
    elif detector is None:
        gather = functools.partial(material.with_other_labels, known=evidence)
        chance = generator(material.seed, "audit", "injected noise")
        chosen = choose(evidence, noise.transition_matrix, noise.rate, gather, chance)
        detector = chosen.detector
    scores = detector(evidence)
    judged = _last_round(evidence, detector)
    return Findings(
        noise=noise,
        detector=detector,
        choice=chosen,
        scores=scores,
        p_wrong=chance_of_wrong(scores, material.labels, judged, noise.rate),
        suggested=judged.argmax(axis=1),
        kind=kinds(material.labels, judged),
        evidence=evidence,
    )


def _last_round(evidence: Evidence, detector: Spec) -> Floats:
    """What says which class a photo shows: the third round if the detector looks at it, else the second."""
    if "third_round" in needs_of(detector) and evidence.third_round is not None:
        return evidence.third_round
    judged = evidence.probabilities if evidence.second_round is None else evidence.second_round
    assert judged is not None
    return judged


def _known(material: AuditMaterial, k: int) -> tuple[NoiseEstimate, Evidence]:
    """The estimates of the noise, and the evidence with at least k neighbours of each photo."""
    first = material.first_round
    evidence = Evidence(material.labels, first)
    if material.features is None:
        return bracket(material.labels, first, None, material.classes), evidence
    numbers, similarities = material.nearest(max(2, k))
    noise = bracket(material.labels, first, numbers, material.classes)
    known = dataclasses.replace(evidence, neighbours=numbers, similarities=similarities)
    return noise, material.rounds(material.labels, first, known)
