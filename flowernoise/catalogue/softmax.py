"""The softmax of logits and its logarithm, computed so that neither values nor gradients overflow or lose precision.

Written with ``keras.ops``; Keras is imported when a function is first called. p = softmax(logits), p_y is the
probability of the observed label.
"""

from __future__ import annotations

from typing import Any

Tensor = Any  # a tensor of the current Keras backend; inputs may be NumPy arrays


class _LazyOps:
    """``keras.ops``, imported when first used: Keras takes seconds to import, but listing the losses should not."""

    def __getattr__(self, name: str) -> Any:
        import keras

        return getattr(keras.ops, name)


ops = _LazyOps()

LOG_OF_ZERO = -1e9  # replaces log 0, as −inf would make gradients NaN


def log_p(logits: Tensor) -> Tensor:
    """Log-probabilities [n, c]."""
    return ops.log_softmax(at_least_float32(logits), axis=-1)


def at_least_float32(values: Tensor) -> Tensor:
    """Half-precision values as float32; float64 stays float64."""
    values = ops.convert_to_tensor(values)
    return values if "float64" in str(values.dtype) else ops.cast(values, "float32")


def pick(y_true: Tensor, values: Tensor) -> Tensor:
    """Σ_k y_k · values_k: the observed label's value."""
    return ops.sum(ops.cast(y_true, values.dtype) * values, axis=-1)


def log_p_y(y_true: Tensor, logits: Tensor) -> Tensor:
    """Log-probability of the observed label, [n]."""
    return pick(y_true, log_p(logits))


def rest(y_true: Tensor, logits: Tensor) -> Tensor:
    """1 − p_y, accurate when p_y is near 1."""
    return -ops.expm1(log_p_y(y_true, logits))


def focal_of_each(logits: Tensor, gamma: float) -> Tensor:
    """Focal loss of every label, [n, c]; (1 − p)^γ comes from its logarithm, as its gradient is infinite at p = 1."""
    each = log_p(logits)
    top = ops.one_hot(ops.argmax(each, axis=-1), each.shape[-1], dtype="bool")
    log_rest_of_top = ops.logsumexp(ops.where(top, LOG_OF_ZERO, each), axis=-1, keepdims=True)
    log_rest = ops.where(top, log_rest_of_top, ops.log1p(-ops.where(top, 0.0, ops.exp(each))))
    return -ops.exp(gamma * log_rest) * each


def clamped_p(logits: Tensor) -> Tensor:
    """Probabilities [n, c], clipped to [1e-4, 1 − 1e-4]."""
    return ops.clip(ops.exp(log_p(logits)), 1e-4, 1 - 1e-4)


def tempered_log_p(logits: Tensor, t: float) -> Tensor:
    """Log of the tempered softmax, t > 1.

    The normaliser λ comes from the paper's fixed-point iteration, refined by Newton's method. Its gradient is known,
    dλ/dlogits = p^t / Σ p^t, so the iterations are not differentiated.
    """
    logits = at_least_float32(logits)
    logits = logits - ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True))

    def log_exp_t(x: Tensor) -> Tensor:
        return ops.log1p((1 - t) * x) / (1 - t)

    fixed = ops.stop_gradient(logits)
    scaled = fixed
    for _ in range(5):
        log_total = ops.logsumexp(log_exp_t(scaled), axis=-1, keepdims=True)
        scaled = fixed * ops.exp((1 - t) * log_total)
    log_total = ops.logsumexp(log_exp_t(scaled), axis=-1, keepdims=True)
    normaliser = ops.expm1((t - 1) * log_total) / (t - 1)
    for _ in range(6):
        each = log_exp_t(fixed - normaliser)
        slope = ops.sum(ops.exp(t * each), axis=-1, keepdims=True)
        normaliser = normaliser + (ops.sum(ops.exp(each), axis=-1, keepdims=True) - 1) / slope

    escort = ops.softmax(t * log_exp_t(fixed - normaliser), axis=-1)
    normaliser = normaliser + ops.sum(escort * (logits - fixed), axis=-1, keepdims=True)
    return log_exp_t(logits - normaliser)
