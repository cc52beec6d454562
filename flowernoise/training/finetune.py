"""Fine-tuning: all of the network, trained with Keras, one run after another."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from flowernoise.training import features
from flowernoise.training.heads import LossGroup

Array = np.ndarray[Any, np.dtype[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class FinetuneTask:
    """One network to train.

    Args:
        build: makes the backbone, a Keras model from images to features.
        image_size: side in pixels.
        num_classes: c.
        encoded: the training photos.
        labels: their observed labels [n].
        loss: the loss, as heads take it.
        order: order of the photos in each epoch [epochs, n].
        initial_kernel: of the head [d, c].
        transition_matrix: T [c, c], for losses that need it.
        peer_order: as in ``HeadsTask``, for losses that need it.
    """

    build: Callable[[int], Any]
    image_size: int
    num_classes: int
    encoded: Sequence[bytes]
    labels: Array
    loss: LossGroup
    order: Array
    initial_kernel: Array
    batch_size: int = 32
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    l2: float = 0.0
    transition_matrix: Array | None = None
    peer_order: Array | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained network's weights, in the order of ``Model.get_weights``, and its training loss [epochs]."""

    weights: list[Array]
    training_loss: Array


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Builds and trains under a Keras dtype policy; ``mixed_float16`` computes in float16 where that is safe."""
    import keras

    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def build_classifier(
    build: Callable[[int], Any], image_size: int, num_classes: int, initial_kernel: Array | None = None, l2: float = 0.0
) -> Any:
    """Backbone and linear head in one Keras model, from images to logits [n, c].

    Args:
        build: makes the backbone.
        image_size: side in pixels.
        num_classes: c.
        initial_kernel: of the head [d, c]; zeros where None.
        l2: ``keras.regularizers.L2`` on the head's kernel.
    """
    import keras

    backbone = build(image_size)
    head = keras.layers.Dense(
        num_classes,
        kernel_initializer="zeros",
        kernel_regularizer=keras.regularizers.L2(l2) if l2 else None,
        dtype="float32",
        name="head",
    )
    model = keras.Model(backbone.input, head(backbone.output), name="classifier")
    if initial_kernel is not None:
        head.kernel.assign(initial_kernel.astype(np.float32))
    return model


def finetune(
    task: FinetuneTask, on_batch: Callable[[int, float], None], on_epoch: Callable[[int, float], None]
) -> Trained:
    """Trains all weights of a backbone with a new head.

    Args:
        task: the network, its data and settings.
        on_batch: called after each batch with its number of photos and the seconds it took.
        on_epoch: called after each epoch with its number (from 1) and mean training loss.

    Returns:
        the weights after the last epoch.
    """
    import keras

    model = build_classifier(task.build, task.image_size, task.num_classes, task.initial_kernel, task.l2)
    trainer = _trainer(model, task)
    optimizers = {
        "adam": keras.optimizers.Adam(task.learning_rate),
        "sgd": keras.optimizers.SGD(task.learning_rate, momentum=0.9),
    }
    trainer.compile(optimizer=optimizers[task.optimizer])
    losses = []
    for epoch in range(len(task.order)):
        trainer.reset_metrics()
        before = time.perf_counter()
        for pixels, facts in _batches(task, epoch):
            mean_loss = float(np.asarray(trainer.train_on_batch(pixels, facts)))
            now = time.perf_counter()
            on_batch(len(facts["rows"]), now - before)
            before = now
        losses.append(mean_loss)
        on_epoch(epoch + 1, mean_loss)
    return Trained(model.get_weights(), np.array(losses, dtype=np.float32))


def _batches(task: FinetuneTask, epoch: int) -> Iterator[tuple[Array, dict[str, Array]]]:
    """Pixels (those of the peers behind, where a loss needs them) and what the loss takes of each batch."""
    one_hot = np.eye(task.num_classes, dtype=np.float32)[task.labels]
    peers = task.peer_order if "peers" in task.loss.needs else None
    starts = range(0, len(task.encoded), task.batch_size)
    rows = [task.order[epoch, start : start + task.batch_size] for start in starts]
    peer_rows = [
        own[:0] if peers is None else peers[epoch, 0, s : s + task.batch_size]
        for s, own in zip(starts, rows, strict=True)
    ]
    photos = (task.encoded[row] for own, peer in zip(rows, peer_rows, strict=True) for row in (*own, *peer))
    sizes = [len(own) + len(peer) for own, peer in zip(rows, peer_rows, strict=True)]
    pixels = features.decoded_batches(photos, task.image_size, sizes)
    for start, own, decoded in zip(starts, rows, pixels, strict=True):
        facts = {"labels": one_hot[own], "rows": own.astype(np.int32)}
        if peers is not None:
            facts["peer_labels"] = one_hot[peers[epoch, 1, start : start + task.batch_size]]
        yield decoded.astype(np.float32), facts


def _trainer(model: Any, task: FinetuneTask) -> Any:
    """The classifier with the task's loss, as a Keras model that can be compiled and trained."""
    import keras
    from keras import ops

    loss, parameters = task.loss, dict(task.loss.parameters)

    class Trainer(keras.Model):  # type: ignore[misc]  # Keras is untyped
        def __init__(self) -> None:
            super().__init__()
            self.classifier = model
            if "targets" in loss.needs:
                shape = (len(task.encoded), task.num_classes)
                self.targets = self.add_weight(shape=shape, initializer="zeros", trainable=False, dtype="float32")

        def call(self, images: Any, training: bool = False) -> Any:
            return self.classifier(images, training=training)

        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True) -> Any:  # noqa: ARG002 (Keras' signature)
            own = ops.shape(y["rows"])[0]
            logits = y_pred[:own]
            if loss.update is not None:
                old = ops.take(self.targets, y["rows"], axis=0)
                new = loss.update(old, ops.stop_gradient(logits), **parameters)
                self.targets.assign(ops.scatter_update(self.targets, y["rows"][:, None], new))
            extras = [self._extra(need, y, y_pred[own:]) for need in loss.needs]
            values = loss.function(y["labels"], logits, *extras, **parameters)
            return ops.mean(values) + sum(self.losses)

        def _extra(self, need: str, y: Any, peer_logits: Any) -> Any:
            if need == "transition_matrix":
                return ops.convert_to_tensor(task.transition_matrix, dtype="float32")
            if need == "targets":
                return ops.take(self.targets, y["rows"], axis=0)
            return y["peer_labels"], peer_logits

    return Trainer()


def predict(model: Any, encoded: Iterable[bytes], image_size: int, advance: Callable[[int], None]) -> Array:
    """Probabilities [n, c] float32 of a classifier that gives logits."""
    logits = features.extract(model, encoded, image_size, advance)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


def _momentum_sgd(learning_rate: float) -> Any:
    import keras

    return keras.optimizers.SGD(learning_rate, momentum=0.9)


def named(weights: Sequence[Array]) -> dict[str, Array]:
    """Weights as named arrays, in the order of ``Model.get_weights``.

    >>> list(named([np.zeros(1), np.ones(1)]))
    ['0000', '0001']
    """
    return {f"{position:04}": array for position, array in enumerate(weights)}
