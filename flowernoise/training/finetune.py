"""Fine-tuning: trains the whole network with Keras, one run after another."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from flowernoise.training import engine, features
from flowernoise.training.selection import has_diverged
from flowernoise.training.tasks import LossGroup

Array = np.ndarray[Any, np.dtype[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class FinetuneSetup:
    """What all runs with a loss have in common.

    Args:
        build: makes the backbone, a Keras model from images to features.
        image_size: side in pixels.
        num_classes: c.
        loss: the loss, as heads take it.
        count: number of training photos.
    """

    build: Callable[[int], Any]
    image_size: int
    num_classes: int
    loss: LossGroup
    count: int
    batch_size: int = 32
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    l2: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class FinetuneTask:
    """One run.

    Args:
        encoded: the training photos.
        labels: their observed labels [n].
        order: order of the photos in each epoch [epochs, n].
        initial_kernel: initial kernel of the head [d, c].
        transition_matrix: T [c, c], for losses that need it.
        peer_order: as in ``HeadsTask``, for losses that need it.
    """

    encoded: Sequence[bytes]
    labels: Array
    order: Array
    initial_kernel: Array
    transition_matrix: Array | None = None
    peer_order: Array | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained network.

    Attributes:
        weights: in the order of ``Model.get_weights``.
        training_loss: [epochs].
        diverged: weights, last loss or predictions for the last batch are not finite, or the loss is uselessly large.
    """

    weights: list[Array]
    training_loss: Array
    diverged: bool = False


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Builds and trains with a Keras dtype policy; ``mixed_float16`` uses float16 where that is safe."""
    import keras

    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def build_classifier(build: Callable[[int], Any], image_size: int, num_classes: int, l2: float = 0.0) -> Any:
    """Backbone and linear head in one Keras model, from images to logits [n, c]; the head's weights are zero.

    Args:
        build: makes the backbone.
        image_size: side in pixels.
        num_classes: c.
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
    return keras.Model(backbone.input, head(backbone.output), name="classifier")


class Finetuner:
    """Trains all weights of a network, one run after another; it is built and compiled once."""

    def __init__(self, network: FinetuneSetup) -> None:
        import keras

        self._network = network
        self._model = build_classifier(network.build, network.image_size, network.num_classes, network.l2)
        self._pretrained = self._model.get_weights()
        optimizers = {
            "adam": keras.optimizers.Adam(network.learning_rate),
            "sgd": keras.optimizers.SGD(network.learning_rate, momentum=0.9),
        }
        self._trainer = _trainer(self._model, network)
        self._trainer.compile(optimizer=optimizers[network.optimizer], jit_compile=engine.jit_compile())
        self._trainer.optimizer.build(self._trainer.trainable_variables)
        self._fresh = [
            (variable, keras.ops.convert_to_numpy(variable)) for variable in self._trainer.optimizer.variables
        ]

    def train(
        self, task: FinetuneTask, on_batch: Callable[[int, float], None], on_epoch: Callable[[int, float], None]
    ) -> Trained:
        """Trains one run from the pretrained weights.

        Args:
            task: the run.
            on_batch: called after each batch with the number of photos and the seconds it took.
            on_epoch: called after each epoch with its number (from 1) and mean training loss.

        Returns:
            The network after the last epoch.
        """
        self._start(task)
        losses = []
        for epoch in range(len(task.order)):
            total = 0.0
            before = time.perf_counter()
            for pixels, facts in _batches(self._network, task, epoch):
                self._trainer.reset_metrics()  # otherwise Keras returns its running mean
                photos = len(facts["rows"])
                total += photos * float(np.asarray(self._trainer.train_on_batch(pixels, facts)))
                now = time.perf_counter()
                on_batch(photos, now - before)
                before = now
            losses.append(total / self._network.count)
            on_epoch(epoch + 1, losses[-1])
        weights = self._model.get_weights()
        # finite weights can be so large that their outputs are not finite
        finite = all(np.isfinite(array).all() for array in (*weights, self._trainer.predict_on_batch(pixels)))
        training_loss = np.array(losses, dtype=np.float32)
        return Trained(weights, training_loss, diverged=not finite or bool(has_diverged(training_loss)[-1]))

    def predictions(self, encoded: Sequence[bytes]) -> Array:
        """Probabilities [n, c] of photos, from the run trained last."""
        model = build_classifier(self._network.build, self._network.image_size, self._network.num_classes)
        model.set_weights(self._model.get_weights())
        return predict(model, encoded, self._network.image_size, lambda _: None)

    def _start(self, task: FinetuneTask) -> None:
        self._model.set_weights(self._pretrained)
        self._model.get_layer("head").kernel.assign(task.initial_kernel.astype(np.float32))
        for variable, value in self._fresh:
            variable.assign(value)
        if "targets" in self._network.loss.needs:
            self._trainer.targets.assign(np.zeros(self._trainer.targets.shape, dtype=np.float32))
        for need, variable in self._trainer.matrices.items():
            matrix = np.asarray(task.transition_matrix)
            variable.assign(np.linalg.inv(matrix) if need.startswith("inverse") else matrix)


def _batches(network: FinetuneSetup, task: FinetuneTask, epoch: int) -> Iterator[tuple[Array, dict[str, Array]]]:
    """Pixels of each batch (followed by those of peers, if the loss needs them), and the loss's other inputs."""
    one_hot = np.eye(network.num_classes, dtype=np.float32)[task.labels]
    peers = task.peer_order if "peers" in network.loss.needs else None
    spans = [slice(start, start + network.batch_size) for start in range(0, network.count, network.batch_size)]
    rows = [task.order[epoch, span] for span in spans]
    peer_rows = [rows[0][:0] if peers is None else peers[epoch, 0, span] for span in spans]
    photos = (task.encoded[row] for own, peer in zip(rows, peer_rows, strict=True) for row in (*own, *peer))
    sizes = [len(own) + len(peer) for own, peer in zip(rows, peer_rows, strict=True)]
    pixels = features.decoded_batches(photos, network.image_size, sizes)
    for span, own, decoded in zip(spans, rows, pixels, strict=True):
        progress = np.full(len(own), epoch / max(len(task.order) - 1, 1), dtype=np.float32)
        facts = {"labels": one_hot[own], "rows": own.astype(np.int32), "progress": progress}
        if peers is not None:
            facts["peer_labels"] = one_hot[peers[epoch, 1, span]]
        yield decoded.astype(np.float32), facts


def _trainer(model: Any, network: FinetuneSetup) -> Any:
    """The classifier with its loss, as a Keras model that can be compiled and trained."""
    import keras
    from keras import ops

    loss, parameters = network.loss, dict(network.loss.parameters)

    class Trainer(keras.Model):  # type: ignore[misc]  # Keras is untyped
        def __init__(self) -> None:
            super().__init__()
            self.classifier = model
            classes = network.num_classes
            kept = {"initializer": "zeros", "trainable": False, "dtype": "float32"}
            if "targets" in loss.needs:
                self.targets = self.add_weight(shape=(network.count, classes), name="targets", **kept)
            self.matrices = {
                need: self.add_weight(shape=(classes, classes), name=need, **kept)
                for need in ("transition_matrix", "inverse_transition_matrix")
                if need in loss.needs
            }
            self.built = True

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
            if need in self.matrices:
                return ops.convert_to_tensor(self.matrices[need])
            if need == "targets":
                return ops.take(self.targets, y["rows"], axis=0)
            if need == "progress":
                return y["progress"]
            return y["peer_labels"], peer_logits

    return Trainer()


def predict(model: Any, encoded: Iterable[bytes], image_size: int, advance: Callable[[int], None]) -> Array:
    """Probabilities [n, c] float32 from a classifier that returns logits; NaN where logits are not finite."""
    logits = features.extract(model, encoded, image_size, advance)
    with np.errstate(invalid="ignore"):
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


def named(weights: Sequence[Array]) -> dict[str, Array]:
    """Weights as named arrays, in the order of ``Model.get_weights``.

    >>> list(named([np.zeros(1), np.ones(1)]))
    ['0000', '0001']
    """
    return {f"{position:04}": array for position, array in enumerate(weights)}
