"""How labels are mixed up, estimated without any clean label: one function for each published way.

Each estimate is of T[i, j] = P(given label j | true class i) and of the class shares p_i, from which its rate is
Σ_i p_i (1 − T_ii). None is right in general: the rate cannot be identified without assumptions (Liu, Cheng, Zhang,
Identifiability of Label Noise Transition Matrix, ICML 2023), and what they assume never quite holds on real features.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

Labels = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Matrix = np.ndarray[Any, np.dtype[np.float64]]

MAX_CLASSES = 100  # for HOC, whose arithmetic grows with the fourth power of the classes
_PERCENTILE = 0.97  # of Patrini et al. for CIFAR: the very surest photo is often an odd one
_STEPS = 2000  # of L-BFGS for HOC
_SCALE = 1e4  # of HOC's squared norms, which are too small for L-BFGS's stopping rules
_SMALLEST = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """One estimator's answer.

    Args:
        rate: share of wrong labels.
        transition_matrix: T[i, j] = P(given label j | true class i) [c, c]; a class that no photo seems to show has the
            row of the identity.
        shares: of the true classes [c].
    """

    rate: float
    transition_matrix: Matrix
    shares: Matrix


def confident_joint(labels: Labels, probabilities: Floats) -> Matrix:
    """Counts of photos C[given label, class that the model is sure of]; others are not counted.

    Formula: t_k = mean of p_k over the photos with label k; a photo counts for the most probable k among those with p_k
    ≥ t_k, if there is one.

    Source: Northcutt, Jiang, Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021, eq. 1.

    >>> p = np.array([[0.9, 0.1], [0.7, 0.3], [0.1, 0.9], [0.95, 0.05]])
    >>> confident_joint(np.array([0, 0, 1, 1]), p).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    c = probabilities.shape[1]
    sure = np.where(probabilities >= thresholds(labels, probabilities), probabilities, -1)
    counted = sure.max(axis=1) >= 0
    cells = labels[counted] * c + sure[counted].argmax(axis=1)
    return np.bincount(cells, minlength=c * c).reshape(c, c).astype(np.float64)


def thresholds(labels: Labels, probabilities: Floats) -> Matrix:
    """The mean probability of each class among the photos with that label [c]; infinite for a class without one.

    A trillionth of slack lets photos count whose probabilities are all equal, whatever the mean is rounded to.
    """
    c = probabilities.shape[1]
    counts = np.bincount(labels, minlength=c)
    given = probabilities[np.arange(len(labels)), labels]
    sums = np.bincount(labels, weights=given, minlength=c)
    return np.divide(sums, counts, out=np.full(c, np.inf), where=counts > 0) - _SMALLEST


def calibrated_joint(labels: Labels, probabilities: Floats) -> Matrix:
    """The confident joint whose rows are scaled to the number of photos with each label.

    A label of which no photo counts keeps its photos on the diagonal.

    Source: Northcutt, Jiang, Chuang, JAIR 2021, eq. 3.
    """
    C = confident_joint(labels, probabilities)
    counts = np.bincount(labels, minlength=len(C)).astype(np.float64)
    sums = C.sum(axis=1)
    C[sums == 0] = np.eye(len(C))[sums == 0]
    return np.asarray(C * (counts / C.sum(axis=1))[:, None])


def confident_calibrated(labels: Labels, probabilities: Floats) -> Estimate:
    """The confident joint with rows scaled to the counts: photos that do not count are as those that do."""
    joint = calibrated_joint(labels, probabilities)
    return _of_joint(joint, float(1 - np.trace(joint) / joint.sum()))


def confident_off_diagonal(labels: Labels, probabilities: Floats) -> Estimate:
    """The share of photos off the diagonal of the confident joint: those that do not count are taken as right.

    Never above :func:`confident_calibrated`.
    """
    C = confident_joint(labels, probabilities)
    joint = C + np.diag(np.bincount(labels, minlength=len(C)) - C.sum(axis=1))
    return _of_joint(joint, float((C.sum() - np.trace(C)) / len(labels)))


def anchor(labels: Labels, probabilities: Floats) -> Estimate:
    """T's row i is what the model says of a photo that it is surest to be an i.

    Formula: T_i = p(x_i), x_i being at the 97th percentile of p_i among as many photos as have label i; the shares
    solve min ‖pT − shares of the labels‖ with p ≥ 0. It assumes that there is a photo of every class beyond doubt.

    Source: Liu, Tao, Classification with Noisy Labels by Importance Reweighting, TPAMI 2016; Patrini et al., Making
    Deep Neural Networks Robust to Label Noise, CVPR 2017, section 4.3 (the percentile).
    """
    from scipy.optimize import nnls

    n, c = probabilities.shape
    counts = np.bincount(labels, minlength=c)
    T = np.eye(c)
    for i in np.flatnonzero(counts):
        place = int((1 - _PERCENTILE) * counts[i])
        T[i] = probabilities[np.argsort(-probabilities[:, i], kind="stable")[place]]
    T /= T.sum(axis=1, keepdims=True)
    shares, _ = nnls(T.T, counts / n)
    shares /= shares.sum()
    return Estimate(float(shares @ (1 - np.diag(T))), T, shares)


def higher_order(labels: Labels, neighbours: Labels, num_classes: int) -> Estimate | None:
    """HOC: explains how often labels meet among photos and their two nearest neighbours; it trains nothing.

    Formula: p and T minimise ‖pT − ĉ₁‖² + ‖Σ_i p_i T_i ⊗ T_i − ĉ₂‖² + ‖Σ_i p_i T_i ⊗ T_i ⊗ T_i − ĉ₃‖², ĉ₁, ĉ₂, ĉ₃ being
    the shares of labels, of pairs and of triples of them, averaged over their order. These do not say which row is
    which class: rows are put in the order with the largest Σ p_i T_ii. It assumes that near photos are of one class and
    that their labels err independently; where neighbours differ in class, it takes that for noise.

    Args:
        labels: [n].
        neighbours: of each photo, nearest first [n, 2 or more]; −1 where there are not as many.
        num_classes: c.

    Returns:
        None for more than 100 classes, or where no photo has two neighbours.

    Source: Zhu, Song, Liu, Clusterability as an Alternative to Anchor Points When Learning with Noisy Labels, ICML 2021
    (with norms that are not squared, and the start of T as here).
    """
    from scipy.optimize import linear_sum_assignment, minimize

    if num_classes > MAX_CLASSES or neighbours.shape[1] < 2:
        return None
    rows = np.flatnonzero((neighbours[:, :2] >= 0).all(axis=1))
    if not len(rows):
        return None
    c1, c2, c3 = consensus(labels[rows], labels[neighbours[rows, 0]], labels[neighbours[rows, 1]], num_classes)
    start = np.concatenate([np.log(np.maximum(c1, _SMALLEST)), (5 * np.eye(num_classes) - 1).ravel()])
    found = minimize(
        _distance, start, args=(c1, c2, c3), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS, "maxfun": _STEPS}
    )
    shares, T = _unpacked(found.x, num_classes)
    classes, of_row = linear_sum_assignment(-(shares[:, None] * T).T)
    order = of_row[np.argsort(classes)]
    shares, T = shares[order], T[order]
    return Estimate(float(shares @ (1 - np.diag(T))), T, shares)


def consensus(first: Labels, second: Labels, third: Labels, num_classes: int) -> tuple[Matrix, Matrix, Matrix]:
    """The shares of labels [c], of pairs [c, c] and of triples [c, c, c], averaged over the order of the photos."""
    c, n = num_classes, len(first)
    c1 = np.bincount(first, minlength=c) / n
    c2 = np.bincount(first * c + second, minlength=c * c).reshape(c, c) / n
    c3 = np.bincount((first * c + second) * c + third, minlength=c**3).reshape(c, c, c) / n
    symmetric: Matrix = np.mean([c3.transpose(order) for order in itertools.permutations(range(3))], axis=0)
    return c1, (c2 + c2.T) / 2, symmetric


def _unpacked(flat: Matrix, c: int) -> tuple[Matrix, Matrix]:
    """Shares and T as softmax of free numbers."""
    logits = np.vstack([flat[:c], flat[c:].reshape(c, c)])
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows = exponentials / exponentials.sum(axis=1, keepdims=True)
    return rows[0], rows[1:]


def _distance(flat: Matrix, c1: Matrix, c2: Matrix, c3: Matrix) -> tuple[float, Matrix]:
    """HOC's squared distance and its gradient; ĉ₂ and ĉ₃ are symmetric, which the gradient relies on."""
    c = len(c1)
    p, T = _unpacked(flat, c)
    pairs = (T[:, :, None] * T[:, None, :]).reshape(c, c * c)
    weighted = (p[:, None] * T).T
    off1, off2 = p @ T - c1, weighted @ T - c2
    off3 = (weighted @ pairs).reshape(c, c, c) - c3
    of_pairs = T @ off2
    of_triples = (off3.reshape(c, c * c) @ pairs.T).T
    value = (off1**2).sum() + (off2**2).sum() + (off3**2).sum()
    by_shares = 2 * (T @ off1 + (T * of_pairs).sum(axis=1) + (T * of_triples).sum(axis=1))
    by_T = 2 * p[:, None] * (off1 + 2 * of_pairs + 3 * of_triples)
    by_shares = p * (by_shares - by_shares @ p)
    by_T = T * (by_T - (by_T * T).sum(axis=1, keepdims=True))
    return _SCALE * float(value), _SCALE * np.concatenate([by_shares, by_T.ravel()])


def _of_joint(joint: Matrix, rate: float) -> Estimate:
    """An estimate from counts [given label, true class]."""
    totals = joint.sum(axis=0)
    T = np.where(totals[:, None] > 0, joint.T / np.maximum(totals, _SMALLEST)[:, None], np.eye(len(joint)))
    return Estimate(rate, T, totals / totals.sum())


def symmetric_rate(agreement: float, num_classes: int) -> float:
    """The rate of symmetric noise at which a photo and its nearest, of the same class, have equal labels so often.

    Formula: η = ((c − 1) / c) (1 − √(1 − c (1 − a) / (c − 1))), a being the agreement; NaN where a is below 1 / c.

    >>> round(symmetric_rate(0.8**2 + 0.2**2 / 4, 5), 6)
    0.2
    """
    c = num_classes
    inside = 1 - c * (1 - agreement) / (c - 1)
    return float((c - 1) / c * (1 - np.sqrt(inside))) if inside >= 0 else float("nan")
