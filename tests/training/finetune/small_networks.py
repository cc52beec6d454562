"""Small networks and photos to fine-tune in tests."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from PIL import Image

from flowernoise.catalogue.losses import losses
from flowernoise.training.finetune import FinetuneTask, Photos
from flowernoise.training.tasks import LossGroup

SIZE, CLASSES, COUNT, BATCH, ALL = 16, 3, 10, 4, 14


def photo(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


ENCODED = [photo(number) for number in range(ALL)]
PIXELS = np.stack([np.asarray(Image.open(io.BytesIO(each))) for each in ENCODED]).astype("float32")


def read(positions: Sequence[int]) -> Iterator[bytes]:
    return (ENCODED[position] for position in positions)


def convolution(size: int) -> keras.Model:
    """A backbone of a convolution and pooling."""
    return _network(size, normalised=False)


def normalised(size: int) -> keras.Model:
    """The same with batch normalisation."""
    return _network(size, normalised=True)


def _network(size: int, *, normalised: bool) -> keras.Model:
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    weights = keras.initializers.GlorotUniform(seed=1)
    x = keras.layers.Conv2D(4, 3, use_bias=False, kernel_initializer=weights, name="conv")(x)
    if normalised:
        x = keras.layers.BatchNormalization(name="norm")(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="features")(x))


def group(text: str) -> LossGroup:
    spec = losses.parse(text)
    facts = spec.entry.properties
    return LossGroup(spec.entry.function, 1, tuple(spec.values.items()), facts.get("needs", ()), facts.get("update"))


def task(loss: str | LossGroup = "ce", *, seed: int = 0, epochs: int = 2, **changes: Any) -> FinetuneTask:
    stream = np.random.default_rng(seed)
    given: dict[str, Any] = {
        "photos": Photos(read, ALL, SIZE),
        "labels": stream.integers(0, CLASSES, COUNT),
        "loss": group(loss) if isinstance(loss, str) else loss,
        "order": np.stack([stream.permutation(COUNT) for _ in range(epochs)]),
        "batch_size": BATCH,
        "kernel": stream.normal(size=(4, CLASSES)),
        "learning_rate": 1e-2,
        "transition_matrix": np.full((CLASSES, CLASSES), 0.1) + 0.7 * np.eye(CLASSES),
        "peer_order": np.stack([[stream.permutation(COUNT), stream.permutation(COUNT)] for _ in range(epochs)]),
    }
    return FinetuneTask(**given | changes)
