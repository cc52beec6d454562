"""Which detector suits the user's labels: tried on further noise, injected into them, whose places are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flowernoise.analysis.label_issues.estimators import Matrix
from flowernoise.catalogue.detectors import Evidence, detectors
from flowernoise.registry import Spec

Labels = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

CANDIDATES = (
    "self_confidence",
    "margin",
    "neighbours",
    "second_round",
    "second_round:score=margin",
    "third_round",
    "third_round:score=margin",
)
INJECTED = 0.05  # share of the labels, little beside what is wrong already
TRIALS = 3
_CHANCE = 2.0  # standard errors below which a lead is taken for chance


@dataclasses.dataclass(frozen=True, eq=False)
class DetectorChoice:
    """The detector that found injected noise best.

    Attributes:
        detector: its spec: one detector, or ``mean_rank`` of those that chance may have put behind it.
        auroc: how well each candidate ranked injected labels above the rest, 0.5 … 1, by spec.
    """

    detector: Spec
    auroc: dict[str, float]


def inject(
    labels: Labels, transition_matrix: Matrix, generator: np.random.Generator, among: Flags | None = None
) -> tuple[Labels, Flags]:
    """Labels with further noise of T's shape, and which of them were changed [n].

    One label in twenty changes: label j to k in proportion to T[j, k], so that classes which are often mistaken are
    mistaken still more often. Where T is the identity, all changes are equally probable.

    Args:
        labels: [n].
        transition_matrix: T [c, c]; its diagonal does not matter.
        generator: draws.
        among: which may change [n]; all if None.

    >>> noisy, changed = inject(np.repeat([0, 1], 50), np.array([[0.8, 0.2], [0.0, 1.0]]), np.random.default_rng(0))
    >>> int(changed.sum()), noisy[changed].tolist() == [1] * 5
    (5, True)
    """
    n, c = len(labels), len(transition_matrix)
    weights = transition_matrix * (1 - np.eye(c))
    present = np.bincount(labels, minlength=c) > 0
    weights[:, ~present] = 0
    if not weights[present].any():
        weights = (1 - np.eye(c)) * present
    movable = weights.sum(axis=1)
    chances = movable[labels] * (1 if among is None else among)
    count = min(max(1, round(INJECTED * n)), int((chances > 0).sum()))
    changed = np.zeros(n, dtype=bool)
    changed[generator.choice(n, count, replace=False, p=chances / chances.sum())] = True
    noisy = labels.copy()
    for j in np.unique(labels[changed]):
        rows = np.flatnonzero(changed & (labels == j))
        noisy[rows] = generator.choice(c, len(rows), p=weights[j] / movable[j])
    return noisy, changed


def choose(
    evidence: Evidence,
    transition_matrix: Matrix,
    rate: float,
    gather: Callable[[Labels], Evidence],
    generator: np.random.Generator,
    candidates: Sequence[str] = CANDIDATES,
) -> DetectorChoice:
    """The candidate with the largest AUROC of injected labels against the others.

    Only labels that are right serve as examples of right ones, and only they are made wrong: the share of labels that
    the estimated rate leaves, those that all candidates together (mean of ranks) find least suspicious. Candidates
    whose lag behind the best is below twice the standard error of the difference are as good as it: their ranks are
    averaged.

    Source: Kim et al., Learning Discriminative Dynamics with Label Corruption for Noisy Label Detection (DynaCor), CVPR
    2024, for the injection; DeLong et al., Biometrics 44, 1988, for the error of a difference of AUROCs.

    Args:
        evidence: about the given labels.
        transition_matrix: T as estimated [c, c].
        rate: estimated share of wrong labels.
        gather: the evidence about other labels of the same photos.
        generator: draws the noise.
        candidates: specs.
    """
    specs = [detectors.parse(text) for text in candidates]
    trusted = _least_suspicious(evidence, candidates, 1 - rate)
    placed: list[list[tuple[Matrix, Matrix]]] = [[] for _ in specs]
    for _ in range(TRIALS):
        noisy, changed = inject(evidence.labels, transition_matrix, generator, trusted)
        injected = gather(noisy)
        for place, spec in enumerate(specs):
            placed[place].append(placements(spec(injected)[trusted], changed[trusted]))
    above = [np.concatenate([positives for positives, _ in each]) for each in placed]
    below = [np.concatenate([negatives for _, negatives in each]) for each in placed]
    means = np.array([each.mean() for each in above])
    best = int(means.argmax())
    tied = [
        spec
        for place, spec in enumerate(specs)
        if place == best or _within_chance(above[best] - above[place], below[best] - below[place])
    ]
    detector = tied[0] if len(tied) == 1 else detectors.parse("mean_rank:of=" + "+".join(map(str, tied)))
    return DetectorChoice(detector, {str(spec): float(mean) for spec, mean in zip(specs, means, strict=True)})


def _least_suspicious(evidence: Evidence, candidates: Sequence[str], share: float) -> Flags:
    ranks = detectors.parse("mean_rank:of=" + "+".join(candidates))(evidence)
    kept = np.zeros(len(ranks), dtype=bool)
    kept[np.argsort(ranks, kind="stable")[: max(2, round(share * len(ranks)))]] = True
    return kept


def placements(scores: Floats, positive: Flags) -> tuple[Matrix, Matrix]:
    """For each positive the share of negatives below it, for each negative that of positives above it; ties count half.

    The mean of either is the AUROC.

    >>> above, below = placements(np.array([3.0, 1.0, 2.0, 0.0]), np.array([True, True, False, False]))
    >>> above.tolist(), below.tolist()
    ([1.0, 0.5], [0.5, 1.0])
    """
    high, low = scores[positive], scores[~positive]
    return _share_below(high, np.sort(low)), 1 - _share_below(low, np.sort(high))


def _share_below(values: Floats, ordered: Floats) -> Matrix:
    both = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(both / (2 * len(ordered)))


def _within_chance(positives: Matrix, negatives: Matrix) -> bool:
    """Whether a lead, as differences of placements, is below twice its standard error."""
    if min(len(positives), len(negatives)) < 2:
        return True
    variance = positives.var(ddof=1) / len(positives) + negatives.var(ddof=1) / len(negatives)
    return bool(positives.mean() <= _CHANCE * np.sqrt(variance))
