"""Fine-tuning equals plain Keras, and a run does not depend on the runs before it."""

import dataclasses
import io
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from flowernoise.catalogue.losses import losses
from flowernoise.safe import images
from flowernoise.training import finetune
from flowernoise.training.finetune import Finetuner, FinetuneSetup, FinetuneTask
from flowernoise.training.tasks import LossGroup

SIZE, CLASSES, COUNT, BATCH = 16, 3, 10, 4


def photo(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def build(size: int) -> keras.Model:
    """A small backbone with everything that matters: a convolution, batch normalisation, pooling."""
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(
        4, 3, use_bias=False, kernel_initializer=keras.initializers.GlorotUniform(seed=1), name="conv"
    )(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="features")(x))


def group(text: str) -> LossGroup:
    spec = losses.parse(text)
    facts = spec.entry.properties
    return LossGroup(spec.entry.function, 1, tuple(spec.values.items()), facts.get("needs", ()), facts.get("update"))


def network(loss: str, **changes: Any) -> FinetuneSetup:
    return FinetuneSetup(
        build, SIZE, CLASSES, group(loss), COUNT, **{"batch_size": BATCH, "learning_rate": 1e-2, **changes}
    )


def task(seed: int = 0, epochs: int = 2) -> FinetuneTask:
    stream = np.random.default_rng(seed)
    return FinetuneTask(
        encoded=[photo(number) for number in range(COUNT)],
        labels=stream.integers(0, CLASSES, COUNT),
        order=np.stack([stream.permutation(COUNT) for _ in range(epochs)]),
        initial_kernel=stream.normal(size=(4, CLASSES)),
        transition_matrix=np.full((CLASSES, CLASSES), 0.1) + 0.7 * np.eye(CLASSES),
        peer_order=np.stack([[stream.permutation(COUNT), stream.permutation(COUNT)] for _ in range(epochs)]),
    )


def run(finetuner: Finetuner, work: FinetuneTask) -> finetune.Trained:
    return finetuner.train(work, lambda count, seconds: None, lambda epoch, loss: None)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_fine_tuning_equals_plain_keras(optimizer: str) -> None:
    work = task()
    trained = run(Finetuner(network("ce", optimizer=optimizer, l2=0.01)), work)

    backbone = build(SIZE)
    head = keras.layers.Dense(CLASSES, kernel_regularizer=keras.regularizers.L2(0.01))
    model = keras.Model(backbone.input, head(backbone.output))
    head.kernel.assign(work.initial_kernel)
    plain = {"adam": keras.optimizers.Adam(1e-2), "sgd": keras.optimizers.SGD(1e-2, momentum=0.9)}[optimizer]
    model.compile(plain, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    pixels = np.stack([images.decode(encoded, SIZE) for encoded in work.encoded]).astype("float32")
    history = []
    for order in work.order:
        total = 0.0
        for rows in (order[start : start + BATCH] for start in range(0, COUNT, BATCH)):
            model.reset_metrics()
            total += len(rows) * float(model.train_on_batch(pixels[rows], work.labels[rows]))
        history.append(total / COUNT)
    for ours, theirs in zip(trained.weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    np.testing.assert_allclose(trained.training_loss, history, rtol=1e-4)


def test_a_run_does_not_depend_on_the_runs_before_it() -> None:
    finetuner = Finetuner(network("elr"))
    run(finetuner, task(seed=1))
    after_another = run(finetuner, task(seed=2))
    fresh = run(Finetuner(network("elr")), task(seed=2))
    for ours, theirs in zip(after_another.weights, fresh.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("loss", [entry.name for entry in losses])
def test_every_loss_trains_all_of_the_network(loss: str) -> None:
    finetuner = Finetuner(network(loss))
    before = finetuner._model.get_layer("conv").get_weights()[0]
    trained = run(finetuner, task(epochs=1))
    assert all(np.isfinite(weights).all() for weights in trained.weights)
    assert np.abs(trained.weights[0] - before).max() > 1e-4


def test_a_loss_is_told_how_far_training_has_come() -> None:
    def from_progress(y_true: Any, logits: Any, progress: Any) -> Any:
        return keras.ops.sum(logits * 0 * y_true, axis=-1) + progress

    spied = dataclasses.replace(network("ce"), loss=LossGroup(from_progress, 1, needs=("progress",)))
    np.testing.assert_allclose(run(Finetuner(spied), task(epochs=5)).training_loss, [0, 0.25, 0.5, 0.75, 1], atol=1e-6)
    np.testing.assert_allclose(run(Finetuner(spied), task(epochs=1)).training_loss, [0], atol=1e-6)


def test_progress_counts_every_photo_and_epoch() -> None:
    counted: list[int] = []
    epochs: list[int] = []
    Finetuner(network("ce")).train(
        task(epochs=3), lambda count, seconds: counted.append(count), lambda epoch, loss: epochs.append(epoch)
    )
    assert (sum(counted), epochs) == (3 * COUNT, [1, 2, 3])


def test_predictions_are_the_classifiers_probabilities() -> None:
    model = finetune.build_classifier(build, SIZE, CLASSES)
    model.get_layer("head").kernel.assign(np.random.default_rng(0).normal(size=(4, CLASSES)))
    encoded = [photo(number) for number in range(5)]
    predicted = finetune.predict(model, encoded, SIZE, lambda count: None)
    pixels = np.stack([images.decode(data, SIZE) for data in encoded]).astype("float32")
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(model(pixels)))
    np.testing.assert_allclose(predicted, expected, atol=1e-5)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-6)


def test_precision_is_restored_even_after_an_error() -> None:
    def fail() -> None:
        with finetune.precision("mixed_float16"):
            assert keras.mixed_precision.global_policy().name == "mixed_float16"
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert keras.mixed_precision.global_policy().name == "float32"


def test_mixed_precision_trains_and_keeps_weights_in_float32() -> None:
    with finetune.precision("mixed_float16"):
        trained = run(Finetuner(network("ce")), task(epochs=1))
    assert {weights.dtype for weights in trained.weights} == {np.dtype("float32")}
    assert all(np.isfinite(weights).all() for weights in trained.weights)
