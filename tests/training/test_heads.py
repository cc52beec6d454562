"""Heads trained in a crowd against heads trained one at a time by plain Keras, or by plain loops in NumPy."""

import dataclasses
import importlib.util
import itertools
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from scipy.special import softmax

from flowernoise.catalogue.losses import ce, losses, mae
from flowernoise.errors import FlowernoiseError
from flowernoise.training.heads import recommended_heads, train_heads
from flowernoise.training.tasks import EpochOutputs, HeadsTask, LossGroup, invertible

CE_AND_MAE = (LossGroup(ce, heads=3), LossGroup(mae, heads=3))


def group_of(text: str, heads: int = 1) -> LossGroup:
    """As a step makes it of a spec: from what the registry says, never from the loss's name."""
    spec = losses.parse(text)
    facts = spec.entry.properties
    return LossGroup(
        spec.entry.function, heads, tuple(spec.values.items()), facts.get("needs", ()), facts.get("update")
    )


def make_task(groups=CE_AND_MAE, *, num_classes=2, n=50, epochs=3, **settings) -> HeadsTask:
    """A block of heads that differ in labels, learning rate and L2, on features like a network's: none negative."""
    rng = np.random.default_rng(0)
    heads = sum(group.heads for group in groups)
    defaults = {
        "train_features": np.abs(rng.normal(size=(n, 12))).astype("float32"),
        "other_features": np.abs(rng.normal(size=(7, 12))).astype("float32"),
        "labels": rng.integers(0, num_classes, size=(3, n)),
        "labelling": np.arange(heads) % 3,
        "num_classes": num_classes,
        "losses": groups,
        "learning_rates": 10.0 ** rng.uniform(-3, -1, size=heads),
        "l2": np.where(np.arange(heads) % 2, 0.0, 0.03),
        "order": np.stack([rng.permutation(n) for _ in range(epochs)]),
        "batch_size": 16,
        "initial_kernel": rng.normal(size=(12, num_classes)).astype("float32"),
        "transition_matrices": 0.7 * np.eye(num_classes)
        + 0.3 * rng.dirichlet(np.ones(num_classes), size=(heads, num_classes)),
        "peer_order": np.stack([[rng.permutation(n), rng.permutation(n)] for _ in range(epochs)]),
    }
    return HeadsTask(**defaults | settings)


def last(task: HeadsTask) -> EpochOutputs:
    [outputs] = train_heads(task)
    return outputs


def pick(task: HeadsTask, heads: list[int]) -> HeadsTask:
    """The task with some of its heads only."""
    group_of_head = [group for group in task.losses for _ in range(group.heads)]
    groups = [(group, len(list(own))) for group, own in itertools.groupby(group_of_head[head] for head in heads)]
    per_head = ("labelling", "learning_rates", "l2", "transition_matrices")
    return dataclasses.replace(
        task,
        losses=[dataclasses.replace(group, heads=number) for group, number in groups],
        **{name: getattr(task, name)[heads] for name in per_head},
    )


def plain_keras(task: HeadsTask) -> EpochOutputs:
    """A task of one head, trained by ``fit``."""
    [group], labels = task.losses, task.labels[task.labelling[0]]
    dense = keras.layers.Dense(task.num_classes, kernel_regularizer=keras.regularizers.L2(task.l2[0]))
    model = keras.Sequential([keras.Input((task.train_features.shape[1],)), dense])
    dense.kernel.assign(task.initial_kernel)
    rate = task.learning_rates[0]
    optimizer = keras.optimizers.Adam(rate) if task.optimizer == "adam" else keras.optimizers.SGD(rate, momentum=0.9)
    matrix = task.transition_matrices[0]
    matrices = {"transition_matrix": matrix, "inverse_transition_matrix": np.linalg.inv(matrix)}
    extras = [matrices[need].astype("float32") for need in group.needs]

    def without_l2(y_true, logits):
        return group.function(y_true, logits, *extras, **dict(group.parameters))

    model.compile(optimizer, without_l2, metrics=[without_l2], jit_compile=False)
    one_hot = np.eye(task.num_classes, dtype="float32")[labels]
    for order in task.order:
        fitted = model.fit(
            task.train_features[order], one_hot[order], batch_size=task.batch_size, shuffle=False, verbose=0
        )
    probabilities = softmax(keras.ops.convert_to_numpy(model(task.other_features)), axis=-1)
    predicted = keras.ops.convert_to_numpy(model(task.train_features)).argmax(axis=-1)
    training_loss = np.array(fitted.history["without_l2"])
    return EpochOutputs(len(task.order), probabilities[None], predicted[None], training_loss)


def assert_same(crowd: EpochOutputs, head: int, alone: EpochOutputs, tolerance: float = 1e-4) -> None:
    np.testing.assert_allclose(crowd.probabilities[head], alone.probabilities[0], atol=tolerance, rtol=0)
    np.testing.assert_array_equal(crowd.predicted[head], alone.predicted[0])
    np.testing.assert_allclose(crowd.training_loss[head], alone.training_loss[0], rtol=1e-3, atol=1e-4)


# --- a head in a crowd equals plain Keras ---------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_a_head_in_a_crowd_equals_plain_keras(num_classes, optimizer):
    task = make_task(num_classes=num_classes, optimizer=optimizer)
    crowd = last(task)
    for head in (1, 4):  # cross-entropy without L2, L1 with it
        assert_same(crowd, head, plain_keras(pick(task, [head])))


STATELESS = [entry.name for entry in losses if not {"targets", "peers"}.intersection(entry.properties.get("needs", ()))]


@pytest.fixture(scope="module")
def every_stateless_loss():
    """All in one block, from zeros, with learning rates that take them well away from there."""
    task = make_task(
        [group_of(name) for name in STATELESS],
        num_classes=3,
        epochs=2,
        learning_rates=np.full(len(STATELESS), 0.03),
        initial_kernel=np.zeros((12, 3)),
    )
    return task, last(task)


@pytest.mark.parametrize("name", STATELESS)
def test_every_stateless_loss_equals_plain_keras(name, every_stateless_loss):
    task, crowd = every_stateless_loss
    head = STATELESS.index(name)
    assert_same(crowd, head, plain_keras(pick(task, [head])))
    assert np.abs(crowd.probabilities[head] - 1 / 3).max() > 0.05


# --- losses with a memory, losses with peers, against loops in NumPy ------------------------------------------------


def numpy_sgd(task: HeadsTask, gradient_of_batch) -> np.ndarray:
    """One head by SGD in float64; ``gradient_of_batch(rows, position, logits)`` [n, c]."""
    x = task.train_features.astype("float64")
    kernel, bias = task.initial_kernel.astype("float64"), np.zeros(task.num_classes)
    kernel_momentum, bias_momentum = np.zeros_like(kernel), np.zeros_like(bias)
    rate, l2 = task.learning_rates[0], task.l2[0]
    for epoch, order in enumerate(task.order):
        for start in range(0, len(order), task.batch_size):
            position = slice(start, start + task.batch_size)
            rows = order[position]
            by_row = gradient_of_batch(rows, (epoch, position), x @ kernel + bias) / len(rows)
            kernel_momentum = 0.9 * kernel_momentum - rate * (x.T @ by_row + 2 * l2 * kernel)
            bias_momentum = 0.9 * bias_momentum - rate * by_row.sum(axis=0)
            kernel, bias = kernel + kernel_momentum, bias + bias_momentum
    return softmax(task.other_features @ kernel + bias, axis=1)


def test_elr_keeps_targets_for_each_photo_and_head():
    groups = [group_of("ce"), group_of("elr:beta=0.6", heads=2), group_of("elr:lam=1")]
    task = make_task(groups, num_classes=3, optimizer="sgd")
    crowd = last(task)
    for head, (beta, lam) in {1: (0.6, 3), 2: (0.6, 3), 3: (0.7, 1)}.items():
        alone = pick(task, [head])
        labels = np.eye(3)[task.labels[task.labelling[head]]]
        targets = np.zeros_like(labels)

        def gradient(rows, _, logits, beta=beta, lam=lam, labels=labels, targets=targets):
            p = softmax(logits[rows], axis=1)
            clamped = np.clip(p, 1e-4, 1 - 1e-4)
            targets[rows] = beta * targets[rows] + (1 - beta) * clamped / clamped.sum(axis=1, keepdims=True)
            t = np.where(p == clamped, targets[rows], 0)
            pull = p * (t - (t * p).sum(axis=1, keepdims=True))
            by_row = np.zeros_like(logits)
            by_row[rows] = p - labels[rows] - lam * pull / (1 - (targets[rows] * clamped).sum(axis=1, keepdims=True))
            return by_row

        np.testing.assert_allclose(crowd.probabilities[head], numpy_sgd(alone, gradient), atol=1e-4)


def bounded_gradient(logits, labels):
    """Of −log(p_y + 1e-5)."""
    p = softmax(logits, axis=1)
    p_y = (p * labels).sum(axis=1, keepdims=True)
    return p_y / (p_y + 1e-5) * (p - labels)


def test_peers_are_the_photos_and_labels_that_peer_order_names():
    """Their weight rises: with five epochs training has come 0, 1/4 … 1 of its way."""
    groups = [group_of("mae"), group_of("peer:start=0.25", heads=2), group_of("peer:alpha=0.4,full=0,start=0")]
    task = make_task(groups, num_classes=3, epochs=5, optimizer="sgd", learning_rates=np.full(4, 0.01))
    crowd = last(task)
    rising, constant = [0, 0, 1 / 3, 2 / 3, 1], [0.4] * 5
    for head, alpha in {1: rising, 2: rising, 3: constant}.items():
        labels = np.eye(3)[task.labels[task.labelling[head]]]

        def gradient(rows, position, logits, alpha=alpha, labels=labels):
            epoch, batch = position
            photos, label_rows = task.peer_order[epoch][:, batch]
            by_row = np.zeros_like(logits)
            by_row[rows] += bounded_gradient(logits[rows], labels[rows])
            by_row[photos] -= alpha[epoch] * bounded_gradient(logits[photos], labels[label_rows])
            return by_row

        np.testing.assert_allclose(crowd.probabilities[head], numpy_sgd(pick(task, [head]), gradient), atol=1e-4)
    assert_same(crowd, 0, last(pick(task, [0])), tolerance=1e-5)


# --- neighbours, repeats, history -----------------------------------------------------------------------------------


def test_neighbours_and_block_size_change_rounding_only():
    groups = [LossGroup(ce, heads=40), LossGroup(mae, heads=40)]
    task = make_task(groups, num_classes=5, epochs=5)
    crowd = last(task)
    for heads in ([0], [5, 41], list(range(30, 70))):
        few = last(pick(task, heads))
        np.testing.assert_allclose(few.probabilities, crowd.probabilities[heads], atol=1e-5, rtol=0)


def test_repeats_are_bit_identical():
    groups = [group_of("ce", heads=150), group_of("elr", heads=50)]
    task = make_task(groups, num_classes=3, n=200)
    first, second = last(task), last(task)
    assert first.probabilities.tobytes() == second.probabilities.tobytes()
    assert first.predicted.tobytes() == second.predicted.tobytes()
    assert first.training_loss.tobytes() == second.training_loss.tobytes()


def test_history_ends_with_what_is_given_without():
    groups = [group_of("ce"), group_of("elr"), group_of("peer:full=0,start=0")]  # alike however many epochs follow
    task = make_task(groups, num_classes=3)
    history = list(train_heads(task, history=True))
    final = last(task)
    assert [outputs.epoch for outputs in history] == [1, 2, 3]
    for name in ("probabilities", "predicted"):  # a selection that waits for later epochs holds nothing twice
        whole = getattr(history[0], name).base
        assert whole is not None
        assert all(getattr(outputs, name).base is whole for outputs in history)
    assert final.epoch == 3
    for name in ("probabilities", "predicted", "training_loss"):
        np.testing.assert_array_equal(getattr(final, name), getattr(history[-1], name))
        assert not np.array_equal(getattr(history[0], name), getattr(history[-1], name))
    shorter = last(dataclasses.replace(task, order=task.order[:2], peer_order=task.peer_order[:2]))
    np.testing.assert_array_equal(shorter.probabilities, history[1].probabilities)


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 1e30), ("adam", 3e38)])
def test_a_head_that_diverges_does_so_alone(optimizer, rate):
    calm = make_task(num_classes=3, optimizer=optimizer)
    wild = dataclasses.replace(calm, learning_rates=calm.learning_rates.copy(), l2=np.full(6, 0.03))
    calm = dataclasses.replace(calm, l2=wild.l2)
    wild.learning_rates[2] = rate
    calm_outputs, wild_outputs = last(calm), last(wild)
    others = [0, 1, 3, 4, 5]
    assert not np.isfinite(wild_outputs.probabilities[2]).any()
    np.testing.assert_array_equal(wild_outputs.probabilities[others], calm_outputs.probabilities[others])
    np.testing.assert_array_equal(wild_outputs.predicted[others], calm_outputs.predicted[others])
    np.testing.assert_array_equal(wild_outputs.training_loss[others], calm_outputs.training_loss[others])


def test_blocks_of_one_shape_share_a_compilation():
    traced = []

    def counted(y_true, logits):
        traced.append(logits.shape)
        return ce(y_true, logits)

    first = make_task([LossGroup(counted, heads=3)], epochs=2)
    last(first)
    traces = len(traced)
    rates = first.learning_rates[::-1]
    last(
        dataclasses.replace(first, losses=[LossGroup(counted, heads=3)], labels=1 - first.labels, learning_rates=rates)
    )
    assert len(traced) == traces


# --- shapes and edges -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 16, 17])
def test_any_number_of_photos(n):
    """Fewer than a batch, exactly a batch, one more."""
    task = make_task([LossGroup(ce, heads=1)], n=n)
    outputs = last(task)
    assert outputs.probabilities.shape == (1, 7, 2)
    assert outputs.predicted.shape == (1, n)
    assert_same(outputs, 0, plain_keras(task))


def test_outputs_are_what_they_say():
    """After one step from a known kernel: the loss is that before the step, the classes those after it."""
    task = make_task(num_classes=5, epochs=1, batch_size=50, learning_rates=np.full(6, 1e-12), l2=np.zeros(6))
    outputs = last(task)
    train = softmax(task.train_features @ task.initial_kernel, axis=1)
    other = softmax(task.other_features @ task.initial_kernel, axis=1)
    assert outputs.probabilities.dtype == "float32"
    assert outputs.predicted.dtype == "uint8"
    assert outputs.training_loss.dtype == "float32"
    np.testing.assert_allclose(outputs.probabilities, np.tile(other, (6, 1, 1)), atol=1e-6)
    np.testing.assert_array_equal(outputs.predicted, np.tile(train.argmax(axis=1), (6, 1)))
    p_y = train[np.arange(50), task.labels[task.labelling]]
    expected = np.concatenate([-np.log(p_y[:3]).mean(axis=1), (2 - 2 * p_y[3:]).mean(axis=1)])
    np.testing.assert_allclose(outputs.training_loss, expected, rtol=1e-5)


def test_more_classes_than_a_byte_holds():
    task = make_task([LossGroup(ce, heads=2)], num_classes=300, epochs=1, labels=np.arange(250, 300)[None].repeat(3, 0))
    assert last(task).predicted.dtype == "uint16"


def test_zeros_are_the_initial_kernel_unless_told():
    task = make_task()
    zeros = dataclasses.replace(task, initial_kernel=np.zeros((12, 2)))
    none = dataclasses.replace(task, initial_kernel=None)
    np.testing.assert_allclose(last(none).probabilities, last(zeros).probabilities, atol=1e-6)


@pytest.mark.parametrize("num_features", [1, 1280, 2048, 100_000])
@pytest.mark.parametrize("num_classes", [2, 5, 1000])
def test_recommended_heads_is_a_positive_number(num_features, num_classes):
    assert recommended_heads(num_features, num_classes) >= 1


@pytest.mark.parametrize(("num_classes", "zeros"), [(2, True), (2, False), (3, True)])
def test_weights_give_the_answers_after_every_epoch(num_classes, zeros):
    task = make_task(num_classes=num_classes, **({"initial_kernel": None} if zeros else {}))
    for outputs, without in zip(
        train_heads(task, history=True, weights=True), train_heads(task, history=True), strict=True
    ):
        assert (without.kernels, without.biases) == (None, None)
        np.testing.assert_array_equal(outputs.probabilities, without.probabilities)
        assert outputs.kernels is not None
        assert outputs.biases is not None
        assert outputs.kernels.shape == (6, 12, num_classes)
        logits = task.other_features @ outputs.kernels + outputs.biases[:, None]
        np.testing.assert_allclose(softmax(logits, axis=-1), outputs.probabilities, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"l2": np.zeros(5)}, "l2 has shape"),
        ({"losses": [LossGroup(ce, heads=5)]}, "losses are for 5 heads, not 6"),
        ({"losses": [LossGroup(ce, heads=6, needs=("luck",))]}, "needs luck"),
        ({"losses": [LossGroup(ce, heads=6, needs=("targets",))]}, "targets and their update"),
        ({"losses": [group_of("forward", 6)], "transition_matrices": None}, "transition_matrices"),
        ({"losses": [group_of("peer", 6)], "peer_order": None}, "peer_order"),
        ({"order": np.zeros((2, 50), int)}, "order"),
        ({"labels": np.full((3, 50), 2)}, "labels"),
    ],
)
def test_a_task_that_does_not_fit_together_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_task(**settings)


def test_a_matrix_without_inverse_is_refused():
    chance = np.tile(np.full((2, 2), 0.5), (6, 1, 1))
    assert not invertible(chance).any()
    assert invertible(make_task().transition_matrices).all()
    with pytest.raises(FlowernoiseError, match="inverse"):
        make_task([group_of("backward", 6)], transition_matrices=chance)


# --- backends -------------------------------------------------------------------------------------------------------

ELSEWHERE = """
import sys, numpy as np
sys.path.insert(0, sys.argv[1])
from test_heads import last, make_task, group_of
outputs = last(make_task([group_of(name) for name in ("ce", "mae", "elr", "peer", "forward")]))
np.save(sys.argv[2], outputs.probabilities)
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_jax_and_tensorflow_agree(tmp_path):
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    results = []
    for backend in ("jax", "tensorflow"):
        path = tmp_path / f"{backend}.npy"
        command = [sys.executable, "-c", ELSEWHERE, str(pathlib.Path(__file__).parent), str(path)]
        subprocess.run(command, env=os.environ | {"KERAS_BACKEND": backend}, check=True)
        results.append(np.load(path))
    np.testing.assert_allclose(*results, atol=1e-5)


def test_other_backends_are_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(FlowernoiseError, match="KERAS_BACKEND"):
        last(make_task([group_of("ce", heads=200)]))  # as many as no other test compiles a program for
