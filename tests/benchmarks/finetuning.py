"""``make bench``: fine-tuning against plain Keras ``fit`` with a ``tf.data`` pipeline, on the same network and photos.

Both answer for all photos after each epoch. Six runs of two losses include everything: building, compiling, training.
"""

from __future__ import annotations

import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TRAIN, OTHER, SIZE, EPOCHS, BATCH, SEEDS = 300, 100, 96, 3, 32, 3
LOSSES = ("ce", "mae")
Add = Callable[..., None]


def finetuning(add: Add, folder: Path) -> None:
    """Adds the figures: seconds of an epoch, of six runs, and what is lost between steps."""
    encoded, labels = _photos(folder)
    ours = _Ours(encoded, labels)
    peers = {"": functools.partial(_keras_run, jit=False), ", XLA": functools.partial(_keras_run, jit=True)}
    pixels = ours.pixels()
    theirs = {name: run("ce", 0, pixels, labels) for name, run in peers.items()}
    fastest = min(theirs, key=lambda name: sum(theirs[name]))
    _, *later = ours.run("ce", 0)
    add("fine-tuning MobileNetV2, 96 px, 300 photos: an epoch", statistics.median(later), "s", repeats=len(later))
    for name, taken in theirs.items():
        add(f"  Keras fit{name}", statistics.median(taken[1:]), "s", repeats=len(taken) - 1)
    add("  times Keras fit", statistics.median(theirs[fastest][1:]) / statistics.median(later), "x", ">= 1")
    pairs = list(itertools.product(LOSSES, range(SEEDS)))
    fresh = _Ours(encoded, labels)
    all_ours = _seconds(lambda: [fresh.run(loss, seed) for loss, seed in pairs])
    all_theirs = _seconds(lambda: [peers[fastest](loss, seed, pixels, labels) for loss, seed in pairs])
    add("six runs of two losses, compilation included", all_ours, "s")
    add("  Keras fit", all_theirs, "s")
    add("  times Keras fit", all_theirs / all_ours, "x", ">= 1.3")
    add("  losses compiled", fresh.finetuner.compilations, "", "2")
    add("  share of an epoch outside compiled steps and predictions", fresh.outside(), "", "<= 0.1")
    add("  a step of a trivial network", _trivial_step() * 1000, "ms", "<= 0.5")


class _Ours:
    """Runs of this program."""

    def __init__(self, encoded: Sequence[bytes], labels: np.ndarray) -> None:
        from flowernoise.catalogue.backbones import backbones
        from flowernoise.training import finetune

        self._labels, self._finetune = labels, finetune
        self._photos = finetune.Photos(lambda where: (encoded[each] for each in where), len(encoded), SIZE)
        self.backbone = backbones.parse("keras:MobileNetV2,weights=none")()
        self.finetuner = finetune.Finetuner(finetune.FinetuneSetup(self.backbone.build, SIZE, 5))
        self._in_steps = self._in_predictions = self._in_all = 0.0
        answer = self.finetuner._answer
        self.finetuner._answer = self._timed(answer)  # type: ignore[method-assign]

    def pixels(self) -> np.ndarray:
        return np.asarray(self._photos._kept)

    def _timed(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        def timed(photos: Any) -> Any:
            before = time.perf_counter()
            found = answer(photos)
            self._in_predictions += time.perf_counter() - before
            return found

        return timed

    def run(self, loss: str, seed: int) -> list[float]:
        """Seconds of each epoch."""
        from flowernoise.catalogue.losses import losses
        from flowernoise.training.tasks import LossGroup

        stream = np.random.default_rng(seed)
        task = self._finetune.FinetuneTask(
            photos=self._photos,
            labels=self._labels[:TRAIN],
            loss=LossGroup(losses.parse(loss).entry.function, 1),
            order=np.stack([stream.permutation(TRAIN) for _ in range(EPOCHS)]),
            batch_size=BATCH,
            kernel=stream.normal(size=(self.backbone.num_features, 5)) / 30,
        )

        def on_part(_count: int, seconds: float) -> None:
            self._in_steps += seconds

        before = time.perf_counter()
        taken = list(_intervals(self.finetuner.train(task, on_part)))
        self._in_all += time.perf_counter() - before
        return taken

    def outside(self) -> float:
        """The share of all time that went into neither steps nor predictions."""
        return 1 - (self._in_steps + self._in_predictions) / self._in_all


def _keras_run(loss: str, seed: int, pixels: np.ndarray, labels: np.ndarray, *, jit: bool) -> list[float]:
    """Seconds of each epoch of ``fit``, and of predicting all photos after it; the first includes compilation."""
    import keras
    import tensorflow as tf

    from flowernoise.catalogue.backbones import backbones

    backbone = backbones.parse("keras:MobileNetV2,weights=none")().build(SIZE)
    model = keras.Model(backbone.input, keras.layers.Dense(5)(backbone.output))
    functions = {
        "ce": keras.losses.CategoricalCrossentropy(from_logits=True),
        "mae": lambda y_true, y: keras.losses.mean_absolute_error(y_true, keras.ops.softmax(y)),
    }
    model.compile(keras.optimizers.Adam(1e-3), functions[loss], jit_compile=jit)
    one_hot = np.eye(5, dtype="float32")[labels]
    data = tf.data.Dataset.from_tensor_slices((pixels[:TRAIN], one_hot[:TRAIN]))
    data = data.shuffle(TRAIN, seed=seed).batch(BATCH).map(lambda x, y: (tf.cast(x, tf.float32), y)).prefetch(2)
    everyone = tf.data.Dataset.from_tensor_slices(pixels).batch(BATCH).map(lambda x: tf.cast(x, tf.float32)).prefetch(2)

    def epoch() -> None:
        model.fit(data, epochs=1, verbose=0)
        model.predict(everyone, verbose=0)

    return [_seconds(epoch) for _ in range(EPOCHS)]


def _trivial_step() -> float:
    """Seconds of a step that computes next to nothing."""
    import io

    import keras
    from PIL import Image

    from flowernoise.catalogue.losses import ce
    from flowernoise.training import finetune
    from flowernoise.training.tasks import LossGroup

    def build(size: int) -> Any:
        inputs = keras.Input((size, size, 3))
        return keras.Model(inputs, keras.layers.Flatten()(inputs))

    stream, count = np.random.default_rng(0), 3200
    buffer = io.BytesIO()
    Image.fromarray(stream.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(buffer, "PNG")
    task = finetune.FinetuneTask(
        photos=finetune.Photos(lambda where: (buffer.getvalue() for _ in where), count, 8),
        labels=stream.integers(0, 3, count),
        loss=LossGroup(ce, 1),
        order=np.stack([stream.permutation(count) for _ in range(6)]),
        batch_size=BATCH,
        kernel=np.zeros((192, 3)),
    )
    trainer = finetune.Finetuner(finetune.FinetuneSetup(build, 8, 3))
    return statistics.median(list(_intervals(trainer.train(task, lambda *_: None)))[2:]) / (count // BATCH)


def _photos(folder: Path) -> tuple[list[bytes], np.ndarray]:
    """Real photos and labels that mean nothing: only time counts."""
    files = sorted(each for each in folder.rglob("*.jpg"))[: TRAIN + OTHER]
    return [file.read_bytes() for file in files], np.random.default_rng(0).integers(0, 5, len(files))


def _intervals(events: Iterator[object]) -> Iterator[float]:
    before = time.perf_counter()
    for _ in events:
        now = time.perf_counter()
        yield now - before
        before = now


def _seconds(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before
