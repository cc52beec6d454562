"""A run as one Keras model, from photos to probabilities."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flowernoise.safe import keras_file
from flowernoise.training import engine, inference
from flowernoise.training.features import BATCH

Array = np.ndarray[Any, np.dtype[Any]]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
HEAD = "head"


def build(build_backbone: Callable[[int], Any], image_size: int, num_classes: int) -> Any:
    """Backbone and softmax head in one Keras model of Keras' own layers, so that plain Keras loads what is saved of it.

    Its weights are in the order of ``finetune.build_classifier``; those of the head are zero.

    Args:
        build_backbone: makes the backbone, which holds its preprocessing.
        image_size: side in pixels.
        num_classes: c.

    Returns:
        from float32 images [n, size, size, 3], RGB 0 … 255, to probabilities [n, c].
    """
    import keras

    backbone = build_backbone(image_size)
    head = keras.layers.Dense(num_classes, activation="softmax", kernel_initializer="zeros", dtype="float32", name=HEAD)
    return keras.Model(backbone.input, head(backbone.output), name="classifier")


def has_layers(model: Any, layers: Sequence[tuple[str, str]]) -> bool:
    """Whether a model's layers and operations have these classes and names, in this order.

    But for the numbers at the end of names, as Keras counts what has no name of its own in a process.
    """
    own = [(layer["class_name"], layer["name"]) for layer in model.get_config()["layers"]]
    return _unnumbered(own) == _unnumbered(layers)


def _unnumbered(layers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(kind, re.sub(r"_\d+$", "", name)) for kind, name in layers]


def fill(model: Any, arrays: Mapping[str, Sequence[Array]]) -> None:
    """Sets a model's weights from the arrays of its layers, by name.

    Raises:
        ValueError: a layer without arrays, arrays without a layer, or other shapes; says which.
    """
    layers = {layer.name: layer for _, layer in keras_file.leaves(model) if layer.weights}
    if others := layers.keys() ^ arrays.keys():
        raise ValueError(f"layer {sorted(others)[0]} is in one and not in the other")
    for name, layer in layers.items():
        found, wanted = [array.shape for array in arrays[name]], [tuple(weight.shape) for weight in layer.weights]
        if found != wanted:
            raise ValueError(f"layer {name} has the shapes {found}, not {wanted}")
    for name, layer in layers.items():
        layer.set_weights(arrays[name])


def predictions(model: Any, pixels: Pixels) -> Array:
    """Probabilities [n, c] float32 of at most 32 decoded photos [n, size, size, 3]."""
    if not model.compiled:
        model.compile(jit_compile=engine.jit_compile())
    return np.asarray(model.predict_on_batch(inference.filled(pixels, BATCH)), dtype=np.float32)[: len(pixels)]
