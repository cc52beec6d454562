"""Fakes: photos and a network that are quick to make, and replacements for all computation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from flowernoise.training.tasks import EpochOutputs, HeadsTask
    from tests.reliability.command_server import CommandServer


def write_photos(folder: Path, count: int) -> Path:
    """Writes a folder of ``count`` photos of three classes, all different."""
    for number in range(count):
        directory = folder / ("daisy", "roses", "tulips")[number % 3]
        directory.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(directory / f"{number:03}.png")
    return folder


def swept(commands: CommandServer, work: Path, *words: object) -> Path:
    """Runs a sweep over 40 photos, and returns its folder: photos/ and artifacts/."""
    write_photos(work / "photos", 40)
    ended = commands.run("run", "photos", *words, "-a", "artifacts", cwd=work)
    assert ended.returncode == 0, ended.stderr
    return work


def add_tiny_backbone(build: Callable[[int], Any] | None = None, weights_digest: str = "none:tiny") -> None:
    """Registers the backbone ``tiny``."""
    from flowernoise.catalogue.backbones import Backbone, backbones
    from flowernoise.registry import Registry

    def tiny() -> Any:
        """A network that is quick to build and compile."""
        return Backbone("tiny", weights_digest, 32, 8, build or _network)

    aside = Registry("backbone")
    aside.register()(tiny)
    backbones._entries["tiny"] = aside["tiny"]


def _network(size: int) -> Any:
    import keras

    layers, kernel = keras.layers, keras.initializers.GlorotUniform(seed=0)
    images = keras.Input((size, size, 3), name="images")
    x = layers.Rescaling(1 / 255, name="rescaling")(images)
    x = layers.Conv2D(8, 3, strides=2, kernel_initializer=kernel, name="convolution")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="normalisation")(x))
    return keras.Model(images, layers.GlobalAveragePooling2D(name="pooling")(x))


def replace_all_that_computes() -> None:
    """Replaces backbone and heads by NumPy, for a sweep without TensorFlow whose files have their usual form."""
    import os

    from flowernoise.safe import limits
    from flowernoise.steps import loading
    from flowernoise.training import features, heads

    os.environ["FLOWERNOISE_ENGINE"] = "keras"
    add_tiny_backbone(lambda size: None)
    limits.check_room_for_libraries = lambda: None  # none is loaded
    loading.load_keras = lambda _progress: None
    features.extract = _extract  # type: ignore[assignment]
    heads.train_heads = _train_heads  # type: ignore[assignment]


def _extract(_model: Any, encoded: Iterable[bytes], _image_size: int, advance: Callable[[int], None]) -> Any:
    """Eight numbers a photo that depend on its bytes."""
    rows = []
    for data in encoded:
        rows.append(np.frombuffer(data[-64:].ljust(64, b"\0"), dtype=np.uint8).reshape(8, 8).mean(axis=1) / 255)
        advance(1)
    return np.array(rows, dtype=np.float32)


def _train_heads(task: HeadsTask, *, history: bool = False) -> Iterator[EpochOutputs]:
    """Answers that depend on features, labels, settings and epoch."""
    from flowernoise.training.tasks import EpochOutputs

    epochs = len(task.order)
    for epoch in range(1, epochs + 1) if history else [epochs]:
        towards = np.eye(task.num_classes)[task.labels[task.labelling]].mean(axis=1)  # [heads, classes]
        pull = epoch * task.learning_rates[:, None] * (1 - task.l2[:, None])

        def answers(rows: Any, pull: Any = pull, towards: Any = towards) -> Any:
            logits = rows[None, :, : task.num_classes] + (pull * towards)[:, None]
            odds = np.exp(logits)
            return (odds / odds.sum(axis=2, keepdims=True)).astype(np.float32)

        yield EpochOutputs(
            epoch=epoch,
            probabilities=answers(task.other_features),
            predicted=answers(task.train_features).argmax(axis=2).astype(np.uint8),
            training_loss=(1 / (1 + pull[:, 0])).astype(np.float32),
        )
