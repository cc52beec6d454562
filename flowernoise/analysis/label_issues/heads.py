"""Softmax regression on features, and what it says of photos that it was not trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

Labels = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Singles = np.ndarray[Any, np.dtype[np.float32]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Matrix = np.ndarray[Any, np.dtype[np.float64]]

DIMENSIONS = 256  # principal components that are kept: more cost time and gain nothing on real features
FOLDS = 5
STRENGTHS = tuple(float(f"{base}e{power}") for power in range(0, -7, -1) for base in (3, 1))  # of L2, strongest first
_ITERATIONS = 60  # of L-BFGS; the strength of L2 is chosen with it, so that it need not converge
_MIN_AGREEING = 3  # photos of a class; with fewer all of its photos train the second round
_SMALLEST = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class OutOfFold:
    """What heads say of photos that they were not trained on.

    Args:
        probabilities: of each label [n, c].
        weights: of the heads, a bias below each [folds, d + 1, c].
        l2: the strength with which they were trained.
    """

    probabilities: Matrix
    weights: Matrix
    l2: float


def principal_components(features: Floats, dimensions: int = DIMENSIONS) -> Singles:
    """The first principal components of features [n, d], together of mean square 1, [n, min(d, dimensions)].

    >>> reduced = principal_components(np.array([[0.0, 1.0, 5.0], [2.0, 3.0, 5.0]]), 2)
    >>> abs(reduced).round(3)
    array([[1.414, 0.   ],
           [1.414, 0.   ]], dtype=float32)
    """
    centred = (features - features.mean(axis=0)).astype(np.float32)
    if centred.shape[1] > min(dimensions, *centred.shape):
        if len(centred) < centred.shape[1]:
            _, vectors = np.linalg.eigh(centred @ centred.T)
            directions = centred.T @ vectors[:, ::-1][:, : min(dimensions, len(centred))]
            directions /= np.maximum(np.linalg.norm(directions, axis=0), _SMALLEST)
        else:
            _, vectors = np.linalg.eigh(centred.T @ centred)
            directions = vectors[:, ::-1][:, :dimensions]
        centred = centred @ directions
    scale = float(np.sqrt(np.mean(centred.astype(np.float64) ** 2)))
    return np.asarray(centred / (scale or 1.0), dtype=np.float32)


def fit(features: Singles, labels: Labels, num_classes: int, *, l2: float, start: Matrix | None = None) -> Matrix:
    """The weights [d + 1, c], the last row a bias, that minimise mean cross-entropy + ½ l2 ‖W‖², by L-BFGS.

    Args:
        features: [n, d].
        labels: [n].
        num_classes: c.
        l2: strength; the bias is not punished.
        start: weights to start from; zeros if None.
    """
    from scipy.optimize import minimize

    n, d = features.shape
    rows = np.arange(n)

    def loss(flat: Matrix) -> tuple[float, Matrix]:
        weights = flat.astype(np.float32).reshape(d + 1, num_classes)
        logits = features @ weights[:d] + weights[d]
        logits -= logits.max(axis=1, keepdims=True)
        exponentials = np.exp(logits)
        sums = exponentials.sum(axis=1)
        cross_entropy = float((np.log(sums) - logits[rows, labels]).mean(dtype=np.float64))
        errors = exponentials / sums[:, None]
        errors[rows, labels] -= 1
        errors /= n
        gradient = np.vstack([features.T @ errors + np.float32(l2) * weights[:d], errors.sum(axis=0)])
        punished = 0.5 * l2 * float((weights[:d].astype(np.float64) ** 2).sum())
        return cross_entropy + punished, gradient.astype(np.float64).ravel()

    first = np.zeros((d + 1) * num_classes) if start is None else start.ravel()
    found = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS})
    return np.asarray(found.x).reshape(d + 1, num_classes)


def predict(features: Singles, weights: Matrix) -> Matrix:
    """Probabilities [n, c]."""
    logits = (features @ weights[:-1].astype(np.float32)).astype(np.float64) + weights[-1]
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def folds(labels: Labels, groups: Labels, generator: np.random.Generator, count: int = FOLDS) -> Labels:
    """The fold of each photo [n]: stratified by label, and a group is never divided.

    Args:
        labels: [n].
        groups: numbers of the groups [n], such as of near duplicates.
        generator: draws the order.
        count: number of folds; fewer where there are fewer groups.

    >>> in_fold = folds(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]), np.random.default_rng(0), 2)
    >>> bool(in_fold[2] == in_fold[3]), sorted(set(in_fold.tolist()))
    (True, [0, 1])
    """
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    of_group = np.empty(len(first), dtype=np.int64)
    order = np.lexsort((generator.random(len(first)), labels[first]))
    of_group[order] = np.arange(len(first)) % min(count, len(first))
    return of_group[group]


def out_of_fold(
    features: Singles,
    labels: Labels,
    num_classes: int,
    fold: Labels,
    *,
    train_on: Flags | None = None,
    l2: float | None = None,
    start: Sequence[Matrix] | Matrix | None = None,
) -> OutOfFold:
    """Probabilities of heads for the folds that they were not trained on.

    Args:
        features: [n, d].
        labels: [n].
        num_classes: c.
        fold: of each photo [n].
        train_on: photos that may be trained on [n]; all if None.
        l2: strength of the regularisation. If None, it is made weaker step by step, as long as that lowers the mean
            −log p of the given labels, out of fold, by more than its standard error (Breiman et al., Classification and
            Regression Trees, 1984, section 3.4.3). These labels are noisy, and so is everybody's validation.
        start: weights to start from, for each fold.
    """
    allowed = np.ones(len(labels), dtype=bool) if train_on is None else train_on
    best, best_losses = None, np.empty(0)
    for strength in STRENGTHS if l2 is None else (l2,):
        probabilities, weights = np.empty((len(labels), num_classes)), []
        for number in range(int(fold.max()) + 1):
            held_out = fold == number
            rows = allowed & ~held_out
            first = None if start is None else start[number]
            weights.append(fit(features[rows], labels[rows], num_classes, l2=strength, start=first))
            probabilities[held_out] = predict(features[held_out], weights[-1])
        start = weights
        losses = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], _SMALLEST))[allowed]
        if best is not None and not _clearly_lower(losses, best_losses):
            break
        best, best_losses = OutOfFold(probabilities, np.stack(weights), strength), losses
    assert best is not None
    return best


def _clearly_lower(losses: Matrix, others: Matrix) -> bool:
    gains = others - losses
    return bool(gains.mean() > gains.std() / np.sqrt(len(gains)))


def agreeing(labels: Labels, probabilities: Floats) -> Flags:
    """The photos that a second round is trained on [n]: those whose label is the most probable class.

    Of a class with fewer than 3 such photos all take part, as otherwise it would be unlearned.

    >>> agreeing(np.array([0, 0, 0, 0]), np.array([[0.9, 0.1]] * 3 + [[0.1, 0.9]])).tolist()
    [True, True, True, False]
    """
    agree = np.asarray(probabilities.argmax(axis=1) == labels)
    counts = np.bincount(labels[agree], minlength=probabilities.shape[1])
    return np.asarray(agree | (counts[labels] < _MIN_AGREEING))
