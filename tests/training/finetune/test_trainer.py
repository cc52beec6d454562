"""Fine-tuning equals plain Keras, and a run does not depend on the runs before it."""

from typing import Any

import keras
import numpy as np
import pytest

from flowernoise.catalogue.losses import losses
from flowernoise.training.finetune import EpochAnswers, Finetuner, FinetuneSetup, FinetuneTask, Photos, build_classifier
from flowernoise.training.finetune.network import let_learn, precision
from flowernoise.training.heads import train_heads
from flowernoise.training.tasks import HeadsTask, LossGroup
from tests.training.finetune.small_networks import (
    ALL,
    BATCH,
    CLASSES,
    COUNT,
    ENCODED,
    PIXELS,
    SIZE,
    convolution,
    normalised,
    read,
    task,
)


def finetuner(build: Any = convolution, **changes: Any) -> Finetuner:
    return Finetuner(FinetuneSetup(build, SIZE, CLASSES, **changes))


def run(trainer: Finetuner, work: FinetuneTask) -> list[EpochAnswers]:
    return list(trainer.train(work, lambda count, seconds: None))


class InInferenceMode(keras.Model):
    """A model whose layers see neither the batch's statistics nor training at all."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: ARG002
        return super().call(inputs, training=False, mask=mask)


def plain_keras(
    work: FinetuneTask, build: Any, optimizer: Any, *, tune: str = "all", pixels: Any = None
) -> tuple[keras.Model, list[float]]:
    """The same training with ``train_on_batch``: the model, and the loss of each epoch."""
    backbone = build(SIZE)
    head = keras.layers.Dense(CLASSES, kernel_regularizer=keras.regularizers.L2(work.l2), name="head")
    model = (keras.Model if tune == "all" else InInferenceMode)(backbone.input, head(backbone.output))
    head.kernel.assign(work.kernel)
    let_learn(model, tune)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    history = []
    for epoch, order in enumerate(work.order):
        images = PIXELS if pixels is None else pixels[epoch]
        total = 0.0
        for rows in (order[start : start + BATCH] for start in range(0, COUNT, BATCH)):
            model.reset_metrics()
            penalty = work.l2 * float(np.square(head.kernel.numpy()).sum())
            total += len(rows) * (float(model.train_on_batch(images[rows], work.labels[rows])) - penalty)
        history.append(total / COUNT)
    return model, history


def assert_same(trainer: Finetuner, answers: list[EpochAnswers], model: keras.Model, history: list[float]) -> None:
    for ours, theirs in zip(trainer.weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(model(PIXELS)))
    np.testing.assert_allclose(answers[-1].probabilities, expected, atol=1e-4)
    np.testing.assert_allclose([each.training_loss for each in answers], history, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_fine_tuning_equals_plain_keras(optimizer: str) -> None:
    work, trainer = task(l2=0.01), finetuner(optimizer=optimizer)
    plain = {"adam": keras.optimizers.Adam(1e-2), "sgd": keras.optimizers.SGD(1e-2, momentum=0.9)}[optimizer]
    assert_same(trainer, run(trainer, work), *plain_keras(work, convolution, plain))


def test_schedule_and_weight_decay_equal_plain_kerass() -> None:
    factors = np.array([0.5, 1.0, 0.9, 0.6, 0.3, 0.1])
    work, trainer = task(schedule=factors, weight_decay=0.1), finetuner()

    class Factors(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            return 1e-2 * keras.ops.take(keras.ops.convert_to_tensor(factors.astype("float32")), step)

    adamw = keras.optimizers.AdamW(Factors(), weight_decay=0.1)
    adamw.exclude_from_weight_decay(var_names=["bias"])
    assert_same(trainer, run(trainer, work), *plain_keras(work, convolution, adamw))


def test_the_moving_average_of_weights_answers() -> None:
    work, trainer = task(momentum=0.9), finetuner(average=True)
    adam = keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9)
    model, history = plain_keras(work, convolution, adam)
    adam.finalize_variable_values(model.trainable_variables)
    assert_same(trainer, run(trainer, work), model, history)


def test_photos_are_flipped_and_shifted_with_mirrored_edges() -> None:
    stream = np.random.default_rng(5)
    flipped, shifted = stream.integers(0, 2, (2, COUNT, 1)), stream.integers(-2, 3, (2, COUNT, 2))
    moves = np.concatenate([flipped, shifted], axis=2)
    pixels = np.repeat(PIXELS[None], 2, axis=0)
    for epoch in range(2):
        for row, (flip, down, right) in enumerate(moves[epoch]):
            image = PIXELS[row, :, ::-1] if flip else PIXELS[row]
            padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
            pixels[epoch, row] = padded[2 + down : 2 + down + SIZE, 2 + right : 2 + right + SIZE]
    work, trainer = task(moves=moves), finetuner()
    assert_same(
        trainer, run(trainer, work), *plain_keras(work, convolution, keras.optimizers.Adam(1e-2), pixels=pixels)
    )


@pytest.mark.parametrize("tune", ["norm", "last:1"])
def test_layers_that_do_not_learn_stay_as_they_were(tune: str) -> None:
    work, trainer = task(), finetuner(normalised, tune=tune)
    assert_same(trainer, run(trainer, work), *plain_keras(work, normalised, keras.optimizers.Adam(1e-2), tune=tune))
    fresh = build_classifier(normalised, SIZE, CLASSES).get_weights()
    kernel, _, _, mean, variance, *_ = trainer.weights()
    for ours, before in zip((kernel, mean, variance), (fresh[0], fresh[3], fresh[4]), strict=True):
        np.testing.assert_array_equal(ours, before)


def test_with_all_layers_batches_are_normalised_by_their_own_statistics() -> None:
    work, trainer = task(order=np.arange(COUNT - 2)[None], labels=np.arange(COUNT - 2) % CLASSES), finetuner(normalised)
    run(trainer, work)
    *_, mean, variance, _, _ = trainer.weights()
    assert np.abs(mean).max() > 1e-3
    assert np.abs(variance - 1).max() > 1e-3


@pytest.mark.parametrize("loss", [entry.name for entry in losses])
def test_every_loss_equals_that_of_heads_where_the_backbone_is_the_identity(loss: str) -> None:
    def identity(size: int) -> keras.Model:
        inputs = keras.Input((size, size, 3))
        return keras.Model(inputs, keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))

    stream = np.random.default_rng(3)
    kernel = stream.normal(size=(SIZE * SIZE * 3, CLASSES)) / 30
    work = task(loss, kernel=kernel, learning_rate=1e-3)
    answers = run(finetuner(identity), work)
    flat = PIXELS.reshape(ALL, -1) / 255
    heads = HeadsTask(
        train_features=flat[:COUNT],
        other_features=flat,
        labels=work.labels[None],
        labelling=np.array([0]),
        num_classes=CLASSES,
        losses=[work.loss],
        learning_rates=np.array([1e-3]),
        l2=np.zeros(1),
        order=work.order,
        batch_size=BATCH,
        initial_kernel=kernel,
        transition_matrices=work.transition_matrix[None],
        peer_order=work.peer_order,
    )
    for ours, theirs in zip(answers, train_heads(heads, history=True), strict=True):
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities[0], atol=1e-4)
        np.testing.assert_allclose(ours.training_loss, theirs.training_loss[0], rtol=1e-4, atol=1e-6)


def test_a_run_does_not_depend_on_the_runs_before_it() -> None:
    trainer = finetuner()
    run(trainer, task("elr", seed=1))
    after_another = run(trainer, task("elr", seed=2))
    fresh = run(finetuner(), task("elr", seed=2))
    np.testing.assert_array_equal(after_another[-1].probabilities, fresh[-1].probabilities)


def test_a_loss_is_compiled_once_for_all_runs() -> None:
    trainer = finetuner()
    for seed in range(3):
        for loss in ("ce", "mae"):
            run(trainer, task(loss, seed=seed, learning_rate=10.0**-seed, l2=0.1 * seed, weight_decay=0.1 * seed))
    assert trainer.compilations == 2
    traced = [program.experimental_get_tracing_count() for program in trainer._programs.values()]
    assert (traced, trainer._answers.experimental_get_tracing_count()) == ([1, 1], 1)


def test_photos_that_are_not_kept_give_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = run(finetuner(), task("peer"))
    monkeypatch.setattr("flowernoise.training.finetune.photos.PART", 2 * 2 * BATCH * SIZE * SIZE * 3)
    streamed = run(finetuner(), task("peer", photos=Photos(read, ALL, SIZE, most=0)))
    np.testing.assert_allclose(kept[-1].probabilities, streamed[-1].probabilities, atol=1e-6)


def test_a_photo_is_decoded_once_if_photos_are_kept() -> None:
    read_again: list[int] = []
    photos = Photos(lambda positions: (read_again.append(each) or ENCODED[each] for each in positions), ALL, SIZE)
    trainer = finetuner()
    for seed in range(2):
        run(trainer, task(photos=photos, seed=seed))
    assert sorted(read_again) == list(range(ALL))


def test_progress_counts_every_photo() -> None:
    counted: list[int] = []
    list(finetuner().train(task(epochs=3), lambda count, seconds: counted.append(count)))
    assert sum(counted) == 3 * COUNT


def test_a_loss_is_told_how_far_training_has_come() -> None:
    def from_progress(y_true: Any, logits: Any, progress: Any) -> Any:
        return keras.ops.sum(logits * 0 * y_true, axis=-1) + progress

    spied, trainer = LossGroup(from_progress, 1, needs=("progress",)), finetuner()
    for epochs, told in ((5, [0, 0.25, 0.5, 0.75, 1]), (1, [0])):
        losses_told = [each.training_loss for each in run(trainer, task(spied, epochs=epochs))]
        np.testing.assert_allclose(losses_told, told, atol=1e-6)


def test_a_run_that_diverges_says_so_in_its_answers() -> None:
    answers = run(finetuner(optimizer="sgd"), task("backward", learning_rate=1e30))
    assert not np.isfinite(answers[-1].probabilities).all()


def test_mixed_precision_trains_and_keeps_weights_in_float32() -> None:
    with precision("mixed_bfloat16"):
        trainer = finetuner(normalised)
        answers = run(trainer, task())
    assert {weights.dtype for weights in trainer.weights()} == {np.dtype("float32")}
    full = run(finetuner(normalised), task())
    np.testing.assert_allclose(answers[-1].probabilities, full[-1].probabilities, atol=0.05)
