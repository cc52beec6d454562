"""The network that is fine-tuned, and which of its layers learn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from flowernoise.errors import BadRequestError

Array = np.ndarray[Any, np.dtype[Any]]
HEAD = "head"


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Builds and trains with a Keras dtype policy."""
    import keras

    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def build_classifier(build: Callable[[int], Any], image_size: int, num_classes: int) -> Any:
    """Backbone and linear head in one Keras model, from images to logits [n, c]; the head's weights are zero.

    Args:
        build: makes the backbone.
        image_size: side in pixels.
        num_classes: c.
    """
    import keras

    backbone = build(image_size)
    head = keras.layers.Dense(num_classes, kernel_initializer="zeros", dtype="float32", name=HEAD)
    return keras.Model(backbone.input, head(backbone.output), name="classifier")


def let_learn(model: Any, tune: str) -> bool:
    """Lets the head and some layers of the backbone learn, and freezes the others.

    Args:
        model: as :func:`build_classifier` makes it.
        tune: ``all`` layers; ``last:N``, the last N layers with weights; or ``norm``, the scales and shifts of all
            normalisation layers.

    Returns:
        Whether batch normalisation uses the statistics of the batch: only if all layers learn. Otherwise it keeps the
        pretrained ones.

    Raises:
        BadRequestError: the backbone has fewer than N such layers, or none that normalises.
    """
    import keras

    backbone = [layer for layer in _leaves(model) if layer.weights and layer.name != HEAD]
    if tune == "all":
        learning = backbone
    elif tune == "norm":
        kinds = (keras.layers.BatchNormalization, keras.layers.LayerNormalization, keras.layers.GroupNormalization)
        learning = [layer for layer in backbone if isinstance(layer, kinds)]
        if not learning:
            raise BadRequestError("--tune norm: the backbone has no normalisation layers; use all or last:N")
    else:
        count = int(tune.removeprefix("last:"))
        if count > len(backbone):
            raise BadRequestError(f"--tune {tune}: the backbone has only {len(backbone)} layers with weights")
        learning = backbone[len(backbone) - count :]
    chosen = {id(layer) for layer in learning}
    for layer in backbone:
        layer.trainable = id(layer) in chosen
    return tune == "all"


def _leaves(model: Any) -> Iterator[Any]:
    """Layers in the order of the network, those of nested models in place of these."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _leaves(layer)
        else:
            yield layer


def named(weights: Sequence[Array]) -> dict[str, Array]:
    """Weights as named arrays, in the order of ``Model.get_weights``.

    >>> list(named([np.zeros(1), np.ones(1)]))
    ['0000', '0001']
    """
    return {f"{position:04}": array for position, array in enumerate(weights)}
