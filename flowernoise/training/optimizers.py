"""Keras' optimisers, written out for many heads at once with their own learning rates, on TensorFlow and JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from flowernoise.errors import FlowernoiseError

Tensor = Any  # a tensor of the current Keras backend


class Optimizer(NamedTuple):
    """One step of a Keras optimiser: ``move(weights, gradient, slots, *, step, learning_rate)``."""

    move: Callable[..., tuple[Tensor, tuple[Tensor, ...]]]
    num_slots: int


def _adam(
    weights: Tensor, gradient: Tensor, slots: tuple[Tensor, ...], *, step: Tensor, learning_rate: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Keras' Adam: beta 0.9 and 0.999; epsilon 1e-7 is added to the uncorrected root."""
    from keras import ops

    mean, square = slots
    rate = learning_rate * ops.sqrt(1 - ops.power(0.999, step)) / (1 - ops.power(0.9, step))
    mean = mean + (gradient - mean) * (1 - 0.9)
    square = square + (ops.square(gradient) - square) * (1 - 0.999)
    return weights - mean * rate / (ops.sqrt(square) + 1e-7), (mean, square)


def _sgd(
    weights: Tensor,
    gradient: Tensor,
    slots: tuple[Tensor, ...],
    *,
    step: Tensor,  # noqa: ARG001 - only Adam counts its steps
    learning_rate: Tensor,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Keras' SGD with momentum 0.9."""
    momentum = slots[0] * 0.9 - gradient * learning_rate
    return weights + momentum, (momentum,)


OPTIMIZERS = {"adam": Optimizer(_adam, 2), "sgd": Optimizer(_sgd, 1)}


def compiled(function: Callable[..., Any], *, xla: bool = True) -> Any:
    """``function``, compiled: as an XLA program, or on TensorFlow as a graph if ``xla`` is False."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=xla, autograph=False)
    raise FlowernoiseError(f"training runs on tensorflow or jax, not {keras.backend.backend()}: set KERAS_BACKEND")


def gradient_of(objective: Callable[[Any], tuple[Tensor, Any]], inputs: Any) -> tuple[Any, Any]:
    """``objective`` returns (a scalar, anything); this returns (that, the scalar's gradient).

    Args:
        objective: a function of ``inputs``.
        inputs: a tensor, or a list of tensors.
    """
    import keras

    if keras.backend.backend() == "jax":
        import jax

        gradient, value = jax.grad(objective, has_aux=True)(inputs)
        return value, gradient
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        scalar, value = objective(inputs)
    return value, tape.gradient(scalar, inputs)
