"""Losses: what training minimises, one function each.

Every loss takes one-hot labels ``y_true`` [n, c] and ``logits`` [n, c] and returns n values, one per example, not
averaged. Half-precision logits are computed in float32; float64 stays float64. In the formulas p = softmax(logits),
p_y is the probability of the observed label y, e its one-hot vector, c the number of classes.

A loss that takes more lists it as ``needs=(…)`` when it is registered, and gets it as further positional arguments in
that order; :data:`NEEDS` describes what a loss can need. A loss that needs ``targets`` also has a function ``update=``,
which is called before the loss. It makes the new targets from the old ones, the logits and the loss's parameters.

All losses are written with ``keras.ops`` and run on every Keras backend. Keras is imported when a loss is first called.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Mapping
from typing import Annotated

from flowernoise.catalogue import softmax
from flowernoise.catalogue.softmax import Tensor, ops
from flowernoise.registry import Between, FilePath, Registry, Spec

losses = Registry("loss", "losses")


@dataclasses.dataclass(frozen=True)
class Need:
    """An input that a loss can take besides labels and logits.

    Args:
        what: its shape and meaning.
        out_of_reach: why a plain function of labels and logits cannot get it, worded to follow the loss's name;
            empty if it can.
    """

    what: str
    out_of_reach: str = ""


NEEDS: Mapping[str, Need] = types.MappingProxyType(
    {
        "transition_matrix": Need("[c, c] or [n, c, c]: T[i, j] = P(observed label j | true label i)"),
        "inverse_transition_matrix": Need("[c, c] or [n, c, c]: T⁻¹, so that no training step inverts a matrix"),
        "targets": Need(
            "[n, c]: what the loss remembers about these examples, initially zero",
            "needs example ids, because it remembers every example's past predictions",
        ),
        "peers": Need(
            "a pair (y_true [n, c], logits [n, c]) from other examples, each drawn independently at random",
            "needs other examples' labels and predictions, drawn again in every epoch",
        ),
        "progress": Need(
            "a number or [n]: progress of training, 0 in the first epoch and 1 in the last",
            "needs to know how far training has progressed",
        ),
    }
)


def needs_of(spec: Spec) -> tuple[str, ...]:
    """Names of the inputs that a loss needs besides labels and logits, in the order it takes them.

    >>> needs_of(losses.parse("ce")), needs_of(losses.parse("forward"))
    ((), ('transition_matrix',))
    """
    return tuple(spec.entry.properties.get("needs", ()))


@functools.cache
def is_oracle(spec: str) -> bool:
    """Whether a loss gets the true transition matrix, which nobody knows when labels are noisy.

    >>> is_oracle("forward:T=true"), is_oracle("ce")
    (True, False)
    """
    return losses.parse(spec).values.get("T") == "true"


MatrixSource = Annotated[str, FilePath(instead=("estimated", "true"))]
Weight = Annotated[float, Between(0)]
Share = Annotated[float, Between(0, 1)]
LogOfZero = Annotated[float, Between(-100, 0, open="high")]
Positive = Annotated[float, Between(0, 100, open="low")]


@losses.register()
def ce(y_true: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy, the usual loss: fits every label it is given, including wrong ones.

    Formula: −log p_y.

    Source: textbook; Bishop, Pattern Recognition and Machine Learning, 2006, section 4.3.4.

    >>> round(float(ce([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    2.127
    """
    return -softmax.log_p_y(y_true, logits)


@losses.register()
def mae(y_true: Tensor, logits: Tensor) -> Tensor:
    """L1 distance between probabilities and label: robust to symmetric noise, slow to learn.

    Formula: ‖p − e‖₁ = 2 − 2 p_y. (Other code bases use 1 − p_y, or divide by c.)

    Source: Ghosh, Kumar, Sastry, Robust Loss Functions under Label Noise for Deep Neural Networks, AAAI 2017.

    >>> round(float(mae([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    1.762
    """
    return 2 * softmax.rest(y_true, logits)


@losses.register()
def gce(
    y_true: Tensor,
    logits: Tensor,
    *,
    q: Annotated[float, Between(0, 1, open="low")] = 0.7,
    k: Annotated[float, Between(0, 1, open="high")] = 0.0,
) -> Tensor:
    """Generalised cross-entropy: between cross-entropy (q → 0) and half of L1 (q = 1).

    Formula: (1 − p_y^q) / q; with k > 0 the truncated variant, constant where p_y ≤ k, so such examples have no
    effect.

    Defaults: q = 0.7, not truncated (k = 0; the paper truncates at 0.5).

    Source: Zhang, Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels,
    NeurIPS 2018.

    >>> round(float(gce([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    1.106
    """
    log_p_y = softmax.log_p_y(y_true, logits)
    if k > 0:
        log_p_y = ops.relu(log_p_y - math.log(k)) + math.log(k)
    return -ops.expm1(q * log_p_y) / q


@losses.register()
def rce(y_true: Tensor, logits: Tensor, *, A: LogOfZero = -4.0) -> Tensor:
    """Reverse cross-entropy: prediction and label swap places, which makes it a multiple of L1.

    Formula: −A (1 − p_y), where A stands for log 0.

    Defaults: A = −4 as in the paper; the published code clips labels at 1e-4, which means A = −9.21.

    Source: Wang, Ma, Chen, Luo, Yi, Bailey, Symmetric Cross Entropy for Robust Learning with Noisy Labels, ICCV 2019.

    >>> round(float(rce([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    3.523
    """
    return -A * softmax.rest(y_true, logits)


@losses.register()
def sce(y_true: Tensor, logits: Tensor, *, alpha: Weight = 0.1, beta: Weight = 1.0, A: LogOfZero = -4.0) -> Tensor:
    """Symmetric cross-entropy: a little cross-entropy to learn, reverse cross-entropy to resist noise.

    Formula: α·ce + β·rce.

    Defaults: α = 0.1, β = 1, the paper's for 10 classes (6, 0.1 for 100); A as in ``rce``.

    Source: Wang et al., Symmetric Cross Entropy for Robust Learning with Noisy Labels, ICCV 2019.

    >>> round(float(sce([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    3.736
    """
    return alpha * ce(y_true, logits) + beta * rce(y_true, logits, A=A)


@losses.register()
def nce(y_true: Tensor, logits: Tensor) -> Tensor:
    """Normalised cross-entropy: cross-entropy as a share of its sum over all labels; robust, but underfits.

    Formula: log p_y / Σ_k log p_k.

    Source: Ma, Huang, Wang, Romano, Erfani, Bailey, Normalized Loss Functions for Deep Learning with Noisy Labels,
    ICML 2020.

    >>> round(float(nce([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    0.944
    """
    log_p = softmax.log_p(logits)
    return softmax.pick(y_true, log_p) / ops.sum(log_p, axis=-1)


@losses.register()
def nce_mae(y_true: Tensor, logits: Tensor, *, alpha: Weight = 1.0, beta: Weight = 1.0) -> Tensor:
    """Normalised cross-entropy plus L1: an active and a passive robust loss.

    Formula: α·nce + β·mae. The paper's MAE is 1 − p_y, half of ``mae`` here, so its β is twice this one.

    Defaults: α = β = 1. (The paper for 100 classes, on its scale: 10 and 1.)

    Source: Ma et al., Normalized Loss Functions for Deep Learning with Noisy Labels, ICML 2020.

    >>> round(float(nce_mae([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    2.705
    """
    return alpha * nce(y_true, logits) + beta * mae(y_true, logits)


@losses.register()
def nce_rce(y_true: Tensor, logits: Tensor, *, alpha: Weight = 1.0, beta: Weight = 1.0, A: LogOfZero = -9.21) -> Tensor:
    """Normalised plus reverse cross-entropy: an active and a passive robust loss.

    Formula: α·nce + β·rce.

    Defaults: α = β = 1 (the paper for 100 classes: 10 and 0.1); A = −9.21, the log 1e-4 of its code.

    Source: Ma et al., Normalized Loss Functions for Deep Learning with Noisy Labels, ICML 2020.

    >>> round(float(nce_rce([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    9.056
    """
    return alpha * nce(y_true, logits) + beta * rce(y_true, logits, A=A)


@losses.register()
def focal(y_true: Tensor, logits: Tensor, *, gamma: Weight = 2.0) -> Tensor:
    """Focal loss: cross-entropy that focuses on hard examples, including mislabelled ones.

    Formula: (1 − p_y)^γ · (−log p_y); γ = 0 is cross-entropy.

    Defaults: γ = 2 as in the paper (Ma et al., ICML 2020, use 0.5).

    Source: Lin, Goyal, Girshick, He, Dollár, Focal Loss for Dense Object Detection, ICCV 2017.

    >>> round(float(focal([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    1.65
    """
    return softmax.pick(y_true, softmax.focal_of_each(logits, gamma))


@losses.register()
def normalised_focal(y_true: Tensor, logits: Tensor, *, gamma: Weight = 0.5) -> Tensor:
    """Normalised focal loss: focal loss as a share of its sum over all labels.

    Formula: focal(y) / Σ_k focal(k).

    Defaults: γ = 0.5.

    Source: Ma et al., Normalized Loss Functions for Deep Learning with Noisy Labels, ICML 2020.

    >>> round(float(normalised_focal([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    0.979
    """
    each = softmax.focal_of_each(logits, gamma)
    return softmax.pick(y_true, each) / ops.sum(each, axis=-1)


@losses.register()
def taylor(y_true: Tensor, logits: Tensor, *, t: Annotated[int, Between(1, 100)] = 2) -> Tensor:
    """Taylor cross-entropy: cross-entropy's series cut off after t terms, half of L1 at t = 1.

    Formula: Σ_{k=1…t} (1 − p_y)^k / k.

    Defaults: t = 2; the paper chooses t among 2 … 6.

    Source: Feng, Shu, Lin, Lv, Li, An, Can Cross Entropy Loss Be Robust to Label Noise?, IJCAI 2020.

    >>> round(float(taylor([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    1.269
    """
    rest = softmax.rest(y_true, logits)
    value = ops.zeros_like(rest)
    for order in range(t, 0, -1):
        value = rest * (value + 1 / order)
    return value


@losses.register()
def bootstrap_soft(y_true: Tensor, logits: Tensor, *, beta: Share = 0.95) -> Tensor:
    """Soft bootstrapping: mixes the label with the model's own probabilities, which rewards confidence.

    Formula: −Σ_k (β e_k + (1 − β) p_k) log p_k = β·ce + (1 − β)·H(p). The gradient also flows through the target;
    otherwise the loss would have the gradient of β·ce.

    Defaults: β = 0.95.

    Source: Reed, Lee, Anguelov, Szegedy, Erhan, Rabinovich, Training Deep Neural Networks on Noisy Labels with
    Bootstrapping, ICLR workshop 2015.

    >>> round(float(bootstrap_soft([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    2.039
    """
    log_p = softmax.log_p(logits)
    entropy = -ops.sum(ops.exp(log_p) * log_p, axis=-1)
    return -beta * softmax.pick(y_true, log_p) + (1 - beta) * entropy


@losses.register()
def bootstrap_hard(y_true: Tensor, logits: Tensor, *, beta: Share = 0.8) -> Tensor:
    """Hard bootstrapping: mixes the label with the class that the model predicts.

    Formula: cross-entropy against β e + (1 − β) · one-hot(argmax p), without a gradient through the target.

    Defaults: β = 0.8.

    Source: Reed et al., Training Deep Neural Networks on Noisy Labels with Bootstrapping, ICLR workshop 2015.

    >>> round(float(bootstrap_hard([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    1.727
    """
    log_p = softmax.log_p(logits)
    answer = ops.one_hot(ops.argmax(log_p, axis=-1), log_p.shape[-1], dtype=log_p.dtype)
    return -beta * softmax.pick(y_true, log_p) - (1 - beta) * softmax.pick(answer, log_p)


@losses.register()
def label_smoothing(y_true: Tensor, logits: Tensor, *, epsilon: Share = 0.1) -> Tensor:
    """Cross-entropy against a softened label: part of its weight is spread over all classes.

    Formula: cross-entropy against (1 − ε) e + ε/c.

    Defaults: ε = 0.1.

    Source: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, Rethinking the Inception Architecture for Computer Vision,
    CVPR 2016.

    >>> round(float(label_smoothing([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    2.027
    """
    log_p = softmax.log_p(logits)
    return -(1 - epsilon) * softmax.pick(y_true, log_p) - epsilon / log_p.shape[-1] * ops.sum(log_p, axis=-1)


@losses.register()
def bi_tempered(
    y_true: Tensor, logits: Tensor, *, t1: Share = 0.8, t2: Annotated[float, Between(1, 4)] = 1.2
) -> Tensor:
    """Bi-tempered logistic loss: bounded (t1 < 1) on a softmax with heavy tails (t2 > 1).

    Formula: −log_t1 p_y − (1 − Σ_k p_k^(2 − t1)) / (2 − t1), with log_t x = (x^(1 − t) − 1) / (1 − t),
    p_k = exp_t2(logit_k − λ), and λ such that the p_k sum to 1; t1 = t2 = 1 is cross-entropy.

    Defaults: t1 = 0.8, t2 = 1.2.

    Source: Amid, Warmuth, Anil, Koren, Robust Bi-Tempered Logistic Loss Based on Bregman Divergences, NeurIPS 2019.

    >>> round(float(bi_tempered([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    1.453
    """
    log_p = softmax.log_p(logits) if t2 == 1 else softmax.tempered_log_p(logits, t2)
    log_p_y = softmax.pick(y_true, log_p)
    tempered_log = log_p_y if t1 == 1 else ops.expm1((1 - t1) * log_p_y) / (1 - t1)
    return -tempered_log - (1 - ops.sum(ops.exp((2 - t1) * log_p), axis=-1)) / (2 - t1)


@losses.register()
def js(y_true: Tensor, logits: Tensor, *, pi: Annotated[float, Between(0, 1, open="low high")] = 0.5) -> Tensor:
    """Jensen-Shannon divergence between label and prediction: between cross-entropy (π → 0) and L1 (π → 1).

    Formula: [π KL(e‖m) + (1 − π) KL(p‖m)] / [−(1 − π) log(1 − π)], with m = π e + (1 − π) p.

    Defaults: π = 0.5. (The paper, on CIFAR: 0.7 and 0.9 for 40 and 80 % symmetric noise, 0.3 for asymmetric.)

    Source: Englesson, Azizpour, Generalized Jensen-Shannon Divergence Loss for Learning with Noisy Labels,
    NeurIPS 2021.

    >>> round(float(js([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    1.452
    """
    log_p_y = softmax.log_p_y(y_true, logits)
    p_y, rest = ops.exp(log_p_y), -ops.expm1(log_p_y)
    log_1_minus_pi = math.log1p(-pi)
    # log(m_y / p_y) = log(1 − π + π / p_y), accurate for small π and finite for small p_y
    log_ratio = log_1_minus_pi + ops.softplus(math.log(pi) - log_1_minus_pi - log_p_y)
    label_term = -pi * (log_p_y + log_ratio)
    prediction_term = (1 - pi) * (-rest * log_1_minus_pi - p_y * log_ratio)
    return (label_term + prediction_term) / (-(1 - pi) * log_1_minus_pi)


@losses.register()
def agce(
    y_true: Tensor,
    logits: Tensor,
    *,
    a: Positive = 0.6,
    q: Positive = 0.6,
) -> Tensor:
    """Asymmetric generalised cross-entropy: robust as long as clean labels outnumber each wrong one.

    Formula: ((a + 1)^q − (a + p_y)^q) / q.

    Defaults: a = q = 0.6, the authors' for CIFAR-10.

    Source: Zhou, Liu, Jiang, Gao, Ji, Asymmetric Loss Functions for Learning with Noisy Labels, ICML 2021, and its
    code.

    >>> round(float(agce([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    0.842
    """
    log_p_y = softmax.log_p_y(y_true, logits)
    return ((a + 1) ** q - (a + ops.exp(log_p_y)) ** q) / q


@losses.register()
def nce_agce(
    y_true: Tensor,
    logits: Tensor,
    *,
    alpha: Weight = 1.0,
    beta: Weight = 4.0,
    a: Positive = 6.0,
    q: Positive = 1.5,
) -> Tensor:
    """Normalised plus asymmetric generalised cross-entropy: an active and an asymmetric robust loss.

    Formula: α·nce + β·agce.

    Defaults: α = 1, β = 4, a = 6, q = 1.5, the authors' for CIFAR-10 (for CIFAR-100: 10, 0.1, 1.8, 3).

    Source: Zhou et al., Asymmetric Loss Functions for Learning with Noisy Labels, ICML 2021, and its code.

    >>> round(float(nce_agce([[0.0, 1.0]], [[2.0, 0.0]])[0]), 3)
    9.965
    """
    return alpha * nce(y_true, logits) + beta * agce(y_true, logits, a=a, q=q)


@losses.register(needs=("transition_matrix",))
def forward(
    y_true: Tensor, logits: Tensor, transition_matrix: Tensor, *, T: MatrixSource = "estimated", sha256: str = ""
) -> Tensor:
    """Forward correction: makes the predictions as noisy as the labels before comparing them.

    Formula: −log (p T)_y; T = I is cross-entropy.

    Defaults: T is estimated in a first stage with cross-entropy. ``T=true`` takes the draw's own, which nobody knows in
    practice. T can also be a CSV, JSON or ``.npy`` file with the matrix; class names in it are checked, and its
    ``sha256`` is added. The caller gets the matrix and passes it to the loss.

    Source: Patrini, Rozza, Menon, Nock, Qu, Making Deep Neural Networks Robust to Label Noise: A Loss Correction
    Approach, CVPR 2017.

    >>> round(float(forward([[0.0, 1.0]], [[2.0, 0.0]], [[0.8, 0.2], [0.1, 0.9]])[0]), 3)
    1.261
    """
    del T, sha256
    log_p = softmax.log_p(logits)
    from_each = softmax.pick(
        ops.expand_dims(ops.cast(y_true, log_p.dtype), -2), ops.cast(transition_matrix, log_p.dtype)
    )
    possible = from_each > 0
    log_from_each = ops.where(possible, ops.log(ops.where(possible, from_each, 1.0)), softmax.LOG_OF_ZERO)
    return -ops.logsumexp(log_p + log_from_each, axis=-1)


@losses.register(needs=("inverse_transition_matrix",))
def backward(
    y_true: Tensor,
    logits: Tensor,
    inverse_transition_matrix: Tensor,
    *,
    T: MatrixSource = "estimated",
    sha256: str = "",
) -> Tensor:
    """Backward correction: an unbiased estimate of the clean cross-entropy; can be negative.

    Formula: Σ_k (T⁻¹)[y, k] · (−log p_k).

    Defaults: T is estimated in a first stage with cross-entropy. ``T=true`` takes the draw's own, which nobody knows in
    practice. T can also be a CSV, JSON or ``.npy`` file with the matrix; class names in it are checked, and its
    ``sha256`` is added. The caller gets the matrix and passes its inverse to the loss.

    Source: Patrini et al., Making Deep Neural Networks Robust to Label Noise: A Loss Correction Approach, CVPR 2017.

    >>> round(float(backward([[0.0, 1.0]], [[2.0, 0.0]], [[1.25, -0.25], [0.0, 1.0]])[0]), 3)
    2.127
    """
    del T, sha256
    log_p = softmax.log_p(logits)
    inverse = ops.cast(inverse_transition_matrix, log_p.dtype)
    weights = ops.sum(ops.expand_dims(ops.cast(y_true, log_p.dtype), -1) * inverse, axis=-2)
    return -softmax.pick(weights, log_p)


def elr_targets(targets: Tensor, logits: Tensor, *, beta: float, lam: float) -> Tensor:
    """The new targets for ``elr``: β t + (1 − β) p, with p clamped to [1e-4, 1 − 1e-4] and normalised to sum to 1."""
    del lam
    p = softmax.clamped_p(logits)
    return beta * ops.cast(targets, p.dtype) + (1 - beta) * p / ops.sum(p, axis=-1, keepdims=True)


@losses.register(needs=("targets",), update=elr_targets)
def elr(y_true: Tensor, logits: Tensor, targets: Tensor, *, beta: Share = 0.7, lam: Weight = 3.0) -> Tensor:
    """Early-learning regularisation: keeps the model close to its predictions from before it began to memorise.

    Formula: −log p_y + λ log(1 − ⟨t, p⟩), where t is the running mean of the example's past predictions,
    t ← β t + (1 − β) p, and p is clamped to [1e-4, 1 − 1e-4] in the second term (``elr_targets``).

    Defaults: β = 0.7, λ = 3 (for asymmetric noise, the authors use 0.9 and 1).

    Source: Liu, Niles-Weed, Razavian, Fernandez-Granda, Early-Learning Regularization Prevents Memorization of Noisy
    Labels, NeurIPS 2020, and its code.

    >>> round(float(elr([[0.0, 1.0]], [[2.0, 0.0]], [[0.7, 0.1]])[0]), 3)
    -0.844
    """
    del beta
    p = softmax.clamped_p(logits)
    agreement = ops.sum(ops.cast(targets, p.dtype) * p, axis=-1)
    return ce(y_true, logits) + lam * ops.log(1 - agreement)


@losses.register(needs=("peers", "progress"))
def peer(
    y_true: Tensor,
    logits: Tensor,
    peers: tuple[Tensor, Tensor],
    progress: Tensor,
    *,
    alpha: Weight = 1.0,
    start: Share = 0.4,
    full: Share = 1.0,
) -> Tensor:
    """Peer loss: cross-entropy minus that of a random prediction and a random label; does not need the noise rate.

    Formula: ℓ(x_i, y_i) − a·ℓ(x_j, y_k), j and k random, with ℓ = −log(p_y + 1e-5), which is bounded. The weight a is 0
    until the share ``start`` of training is done, then rises linearly to α at the share ``full``. The loss can be
    negative.

    Defaults: α = 1, start = 0.4, full = 1, the authors' for Fashion-MNIST. ``start=0,full=0`` is the paper's formula:
    α from the first step on.

    Source: Liu, Guo, Peer Loss Functions: Learning from Noisy Labels without Knowing Noise Rates, ICML 2020, and its
    code.

    >>> round(float(peer([[0.0, 1.0]], [[2.0, 0.0]], ([[1.0, 0.0]], [[2.0, 0.0]]), 1.0)[0]), 3)
    2.0
    """
    peer_y_true, peer_logits = peers
    own = _bounded_ce(y_true, logits)
    weight = alpha * _risen(ops.cast(progress, own.dtype), start, full)
    return own - weight * _bounded_ce(peer_y_true, peer_logits)


def _bounded_ce(y_true: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy that stays below −log 1e-5."""
    return -ops.log(ops.exp(softmax.log_p_y(y_true, logits)) + 1e-5)


def _risen(progress: Tensor, start: float, full: float) -> Tensor:
    """0 up to ``start``, 1 from ``full`` on, linear in between; a step at ``full`` if ``full`` comes first."""
    if full <= start:
        return ops.cast(progress >= full, progress.dtype)
    return ops.clip((progress - start) / (full - start), 0, 1)
