"""Losses and their gradients as NumPy, on the Keras backend that is set."""

import keras
import numpy as np

from flowernoise.catalogue.losses import losses


def value(text, y, z, *extras):
    """The loss as NumPy."""
    return keras.ops.convert_to_numpy(losses.parse(text)(y, keras.ops.convert_to_tensor(z), *extras))


def gradient(text, y, z, *extras):
    """Of the sum over examples, with respect to the logits."""

    def total(logits):
        return keras.ops.sum(losses.parse(text)(y, logits, *extras))

    logits = keras.ops.convert_to_tensor(z)
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(total)(logits))
    if keras.backend.backend() == "torch":
        logits.requires_grad_(True)
        total(logits).backward()
        return keras.ops.convert_to_numpy(logits.grad)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(logits)
        sum_ = total(logits)
    return tape.gradient(sum_, logits).numpy()
