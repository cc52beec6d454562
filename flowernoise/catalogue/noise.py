"""Noise models: how training labels come to be wrong.

A noise model takes a :class:`NoiseRequest` and returns :class:`NoisyLabels`. It draws from the request's generator
alone, so the same request gives the same labels, and it leaves the request's labels as they are.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np

from flowernoise.registry import Registry

Labels = np.ndarray[Any, np.dtype[np.int64]]
Matrix = np.ndarray[Any, np.dtype[np.float64]]
Count = Literal["exact", "bernoulli"]

noise_models = Registry("noise model")


@dataclasses.dataclass(frozen=True)
class NoiseRequest:
    """What is to be corrupted.

    Args:
        labels: true labels [n], 0 … num_classes − 1.
        num_classes: c.
        rate: nominal rate η (or the ρ of ``uniform``), 0 … 1.
        generator: the only source of randomness.
    """

    labels: Labels
    num_classes: int
    rate: float
    generator: np.random.Generator


@dataclasses.dataclass(frozen=True)
class NoisyLabels:
    """Observed labels [n], and the nominal T[i, j] = P(observed j | true i), None where there is none."""

    labels: Labels
    transition_matrix: Matrix | None


@noise_models.register()
def symmetric(request: NoiseRequest, *, count: Count = "exact") -> NoisyLabels:
    """A wrong label is any of the other classes, all equally likely.

    T = (1 − η) I + η/(c − 1) (J − I), J all ones.

    Args:
        request: what is to be corrupted.
        count: ``exact`` makes round(η n) labels wrong, ``bernoulli`` tosses a coin for each.

    Source: Angluin and Laird, Learning from noisy examples, Machine Learning 2, 1988 (two classes); van Rooyen, Menon
    and Williamson, NeurIPS 2015, and Ghosh, Kumar and Sastry, AAAI 2017 (the symmetric model for c classes).

    Example: ``flowernoise corrupt --noise symmetric --rates 0.2,0.4``

    >>> request = NoiseRequest(np.zeros(10, int), 5, 0.4, np.random.default_rng(0))
    >>> int((symmetric(request).labels != 0).sum())
    4
    """
    c = request.num_classes
    chosen = _choose(request, count)
    steps = request.generator.integers(1, c, size=len(request.labels)) if c > 1 else np.zeros(len(chosen), int)
    labels = np.where(chosen, (request.labels + steps) % c, request.labels)
    off_diagonal = request.rate / (c - 1) if c > 1 else 0.0
    T = np.full((c, c), off_diagonal)
    np.fill_diagonal(T, 1 - request.rate if c > 1 else 1.0)
    return NoisyLabels(labels, T)


@noise_models.register()
def uniform(request: NoiseRequest, *, count: Count = "exact") -> NoisyLabels:
    """A share ρ of the labels is drawn anew from all classes, the true one included.

    T = (1 − ρ) I + (ρ/c) J; ρ (1 − 1/c) of the labels become wrong. The first experiment's noise.

    Args:
        request: what is to be corrupted; its rate is ρ.
        count: ``exact`` draws round(ρ n) labels anew, ``bernoulli`` tosses a coin for each.

    Source: Zhang, Bengio, Hardt, Recht and Vinyals, Understanding deep learning requires rethinking generalization,
    ICLR 2017 (partially corrupted labels).

    Example: ``flowernoise corrupt --noise uniform --rates 0.1,0.5``

    >>> request = NoiseRequest(np.zeros(1000, int), 2, 1.0, np.random.default_rng(0))
    >>> bool(0.4 < (uniform(request).labels != 0).mean() < 0.6)
    True
    """
    c = request.num_classes
    chosen = _choose(request, count)
    labels = np.where(chosen, request.generator.integers(0, c, size=len(request.labels)), request.labels)
    T = np.full((c, c), request.rate / c)
    T[np.diag_indices(c)] += 1 - request.rate
    return NoisyLabels(labels, T)


def _choose(request: NoiseRequest, count: Count) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which examples are relabelled; rounded once, over all of them."""
    n = len(request.labels)
    if count == "bernoulli":
        return request.generator.random(n) < request.rate
    chosen = np.zeros(n, dtype=bool)
    chosen[request.generator.permutation(n)[: round_half_up(request.rate * n)]] = True
    return chosen


def round_half_up(value: float) -> int:
    """Nearest whole number, halves up, unmoved by a last digit of floating point.

    >>> round_half_up(0.3 * 5), round_half_up(0.7 * 45), round_half_up(0.1 * 3)
    (2, 32, 0)
    """
    return int(np.floor(value + 0.5 + 1e-9))


def realised_transition_matrix(true: Labels, observed: Labels, num_classes: int) -> Matrix:
    """Shares of observed labels (columns) among the examples of each true class (rows); NaN rows for absent classes.

    >>> realised_transition_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    counts = np.bincount(true * num_classes + observed, minlength=num_classes**2).reshape(num_classes, num_classes)
    totals = counts.sum(axis=1, keepdims=True)
    shares: Matrix = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    return shares
