"""What noise models take and return, and how they choose which labels become wrong and what they become."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np

from flowernoise.catalogue.transition_matrix import Labels, Matrix
from flowernoise.errors import BadRequestError
from flowernoise.registry import did_you_mean

Floats = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Count = Literal["exact", "bernoulli"]


@dataclasses.dataclass(frozen=True)
class NoiseRequest:
    """The labels to corrupt, and what a noise model may use to do it.

    Args:
        labels: true labels [n], 0 … num_classes − 1.
        num_classes: c.
        rate: nominal rate η (or the ρ of ``uniform``), 0 … 1.
        generator: draws whatever differs between examples.
        shared: draws what train and val have in common, such as workers; ``generator`` if None.
        class_names: names of the classes; their numbers if None.
        features: a backbone's features, [n, d].
        probabilities: predictions [n, c] of a model trained without noise, for examples it was not trained on.
        confusion: mean of these predictions over the examples of each true class, [true, predicted].
        observed: labels that people gave, [n].
    """

    labels: Labels
    num_classes: int
    rate: float
    generator: np.random.Generator
    shared: np.random.Generator | None = None
    class_names: tuple[str, ...] | None = None
    features: np.ndarray[Any, Any] | None = None
    probabilities: np.ndarray[Any, Any] | None = None
    confusion: Matrix | None = None
    observed: Labels | None = None


@dataclasses.dataclass(frozen=True)
class NoisyLabels:
    """Observed labels [n], and the nominal T[i, j] = P(observed j | true i), or None if there is no such matrix."""

    labels: Labels
    transition_matrix: Matrix | None


def needed(value: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
    """An input that the noise model needs; :func:`flowernoise.catalogue.noise.check_inputs` ensures it is there."""
    if value is None:
        raise RuntimeError("a noise model was called without what it needs; see check_inputs")
    return value


# Which labels become wrong


def choose(request: NoiseRequest, count: Count) -> Mask:
    """Which examples are relabelled, all equally likely; their number is rounded once, over all classes."""
    n = len(request.labels)
    if count == "bernoulli":
        return request.generator.random(n) < request.rate
    chosen = np.zeros(n, dtype=bool)
    chosen[request.generator.permutation(n)[: round_half_up(request.rate * n)]] = True
    return chosen


def choose_by_weight(weights: Floats, request: NoiseRequest) -> Mask:
    """Exactly round(η n) examples, drawn one after another in proportion to their weights.

    Drawing exponential waiting times, with the weights as rates, and sorting them does this. Examples of weight 0 come
    last.
    """
    n = len(weights)
    count = round_half_up(request.rate * n)
    waiting = np.log(request.generator.exponential(size=n)) - np.log(np.maximum(weights, 1e-300))
    chosen = np.zeros(n, dtype=bool)
    if count:
        chosen[np.argpartition(waiting, count - 1)[:count]] = True
    return chosen


def choose_in_classes(request: NoiseRequest, flips: Labels) -> Mask:
    """``flips[i]`` examples of each class i, all equally likely."""
    order = request.generator.permutation(len(request.labels))
    order = order[np.argsort(request.labels[order], kind="stable")]
    classes = request.labels[order]
    rank = np.arange(len(order)) - np.searchsorted(classes, classes)
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order] = rank < flips[classes]
    return chosen


def shared_out(quotas: Floats, generator: np.random.Generator) -> Labels:
    """Whole numbers that sum to round(Σ quotas), each quota rounded up or down (systematic sampling)."""
    total = float(quotas.sum())
    whole = np.floor(total + 1e-9)
    fraction = max(total - whole, 0.0)
    start = generator.uniform(*((1 - fraction, 1) if round_half_up(total) > whole else (0, 1 - fraction)))
    order = generator.permutation(len(quotas))
    shares = np.empty(len(quotas), dtype=np.int64)
    shares[order] = np.diff(np.floor(np.round(np.cumsum(quotas[order]), 9) + start), prepend=0)
    return shares


def with_mean(weights: Floats, mean: float) -> Floats:
    """Probabilities min(1, s·weight), with s chosen to give this mean; all equal if every weight is 0.

    >>> with_mean(np.array([1.0, 3.0, 100.0]), 0.5).tolist()
    [0.125, 0.375, 1.0]
    """
    n = len(weights)
    # weights of 0 matter only once all others are certain
    weights = np.maximum(weights, 1e-12 * np.max(weights, initial=0.0)) if weights.any() else np.ones(n)
    certain = np.zeros(n, dtype=bool)
    while not certain.all():
        scale = max(mean * n - certain.sum(), 0) / weights[~certain].sum()
        over = ~certain & (scale * weights > 1)
        if not over.any():
            return np.where(certain, 1.0, scale * weights)
        certain |= over
    return np.ones(n)


def round_half_up(value: float) -> int:
    """Nearest whole number, halves up; floating-point error in the last digit does not change it.

    >>> round_half_up(0.3 * 5), round_half_up(0.7 * 45), round_half_up(0.1 * 3)
    (2, 32, 0)
    """
    return int(np.floor(value + 0.5 + 1e-9))


# What they become


def one_target_matrix(targets: Labels, rate: float) -> Matrix:
    """T in which class i becomes ``targets[i]`` at the given rate."""
    T = (1 - rate) * np.eye(len(targets))
    T[np.arange(len(targets)), targets] += rate
    return T


def named_pairs(text: str, request: NoiseRequest) -> list[tuple[int, int]]:
    """The pairs (true, observed) that ``asymmetric:pairs=`` names, as class numbers.

    Raises:
        BadRequestError: a pair cannot be read, or a class is unknown, mistaken for itself or for two others.
    """
    names = request.class_names or tuple(str(label) for label in range(request.num_classes))
    pairs: list[tuple[int, int]] = []
    for part in text.split("+"):
        ends = [name.strip() for name in part.split("/")]
        if len(ends) != 2:
            raise BadRequestError(f"noise model asymmetric: {part!r} in pairs is not of the form true/observed")
        for name in ends:
            if name not in names:
                raise BadRequestError(
                    f"noise model asymmetric: {name!r} in pairs is not a class{did_you_mean(name, names)}; "
                    f"there are: {', '.join(names)}"
                )
        source, target = (names.index(name) for name in ends)
        if source == target or source in dict(pairs):
            problem = "mistaken for itself" if source == target else "mistaken for two classes; give it only one"
            raise BadRequestError(f"noise model asymmetric: {ends[0]} in pairs is {problem}")
        pairs.append((source, target))
    return pairs


def most_confused(confusion: Matrix, top: int) -> list[tuple[int, int]]:
    """The most probable pairs (true, predicted), with each true class at most once.

    >>> most_confused(np.array([[0.7, 0.2, 0.1], [0.0, 0.9, 0.1], [0.3, 0.1, 0.6]]), 2)
    [(2, 0), (0, 1)]
    """
    wrong = np.nan_to_num(confusion) * (1 - np.eye(len(confusion)))
    partners, shares = wrong.argmax(axis=1), wrong.max(axis=1)
    order = [int(i) for i in np.argsort(-shares, kind="stable") if partners[i] != i]
    return [(i, int(partners[i])) for i in order[:top]]


def draw_from_rows(true: Labels, T: Matrix, generator: np.random.Generator) -> Labels:
    """Draws a label from row T[true] for each example."""
    ends = np.cumsum(T, axis=1)
    ends /= ends[:, -1:]
    steps = (ends + np.arange(len(T))[:, None]).ravel()  # row i climbs from i to i + 1
    position: Labels = np.searchsorted(steps, true + generator.random(len(true)) * (1 - 1e-12), side="right")
    return position - true * len(T)


def unit_length(features: np.ndarray[Any, Any]) -> Floats:
    """Each row divided by its length; rows of zeros stay."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(np.divide(features, length, out=np.zeros(features.shape), where=length > 0))


def truncated_normal(mean: float, spread: float, n: int, generator: np.random.Generator) -> Floats:
    """Draws from N(mean, spread²) truncated to [0, 1]; if the mean is 0 or 1, that number itself."""
    if mean in (0, 1):
        return np.full(n, float(mean))
    from scipy.special import ndtr, ndtri

    low, high = ndtr((0 - mean) / spread), ndtr((1 - mean) / spread)
    return np.asarray(np.clip(mean + spread * ndtri(generator.uniform(low, high, n)), 0, 1))


def draw_workers(request: NoiseRequest, workers: int, spread: float) -> Matrix:
    """The workers' transition matrices [workers, c, c]."""
    c, generator = request.num_classes, request.shared or request.generator
    rates = with_mean(np.exp(spread * generator.normal(size=workers)), request.rate)
    matrices = np.zeros((workers, c, c))
    matrices[:, np.arange(c), np.arange(c)] = 1 - rates[:, None] if c > 1 else 1
    if c > 1:
        shares = generator.dirichlet(np.ones(c - 1), size=(workers, c))
        matrices[:, ~np.eye(c, dtype=bool)] = (rates[:, None, None] * shares).reshape(workers, -1)
    return matrices


def count_votes(answers: Labels, true: Labels, label: str) -> np.ndarray[Any, Any]:
    """Score of each answer [workers, n]; the label is taken from a random answer among the best."""
    if label == "majority":
        return np.asarray(np.sum([answers == answer for answer in answers], axis=0))
    return np.asarray(answers != true) if label == "dissenting" else np.zeros(answers.shape)


def vote_matrix(matrices: Matrix, label: str) -> Matrix:
    """T of the label that is taken, averaged over all ways the workers can answer."""
    workers, c, _ = matrices.shape
    answers = np.arange(c**workers) // c ** np.arange(workers)[:, None] % c
    T = np.empty((c, c))
    for true in range(c):
        chance = np.prod([matrices[worker, true][answers[worker]] for worker in range(workers)], axis=0)
        scores = count_votes(answers, np.array(true), label)
        best = scores == scores.max(axis=0)
        T[true] = np.bincount(answers.ravel(), weights=(chance * best / best.sum(axis=0)).ravel(), minlength=c)
    return T
