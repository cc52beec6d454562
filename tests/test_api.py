"""The public functions, as notebooks and other people's training code use them."""

import copy
import importlib.util
import json
import os
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
from scipy.special import softmax

import flowernoise
from flowernoise.errors import BadRequestError

T = np.array([[0.8, 0.2, 0.0], [0.1, 0.7, 0.2], [0.0, 0.3, 0.7]])


def test_importing_the_package_and_corrupting_labels_loads_nothing_heavy():
    program = (
        "import sys, flowernoise; assert 'numpy' not in sys.modules; assert 'loss' in dir(flowernoise);"
        "flowernoise.corrupt_labels([0, 1, 2], 'symmetric', rate=0.3);"
        "assert not {'tensorflow', 'keras', 'jax', 'torch', 'scipy', 'h5py'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_is_public_is_listed_and_there():
    public = [name for name in dir(flowernoise) if not name.startswith("_")]
    assert public == [
        "Artifacts",
        "corrupt_labels",
        "estimate_noise",
        "estimate_transition_matrix",
        "find_label_issues",
        "loss",
    ]
    assert all(getattr(flowernoise, name).__doc__ for name in public)


def test_there_is_nothing_else():
    with pytest.raises(AttributeError, match="has no attribute 'losses'"):
        flowernoise.losses  # noqa: B018


# --- corrupt_labels --------------------------------------------------------------------------------------------------


def test_a_draw_has_all_there_is_to_know():
    labels = np.arange(100) % 4
    draw = flowernoise.corrupt_labels(labels, "symmetric", rate=0.3, seed=0, num_classes=5)
    assert draw.labels.shape == (100,)
    assert draw.flipped.sum() == 30
    np.testing.assert_array_equal(draw.flipped, draw.labels != labels)
    np.testing.assert_allclose(draw.transition_matrix, 0.7 * np.eye(5) + 0.3 / 4 * (1 - np.eye(5)))
    realised = [[np.mean(draw.labels[labels == i] == j) for j in range(5)] for i in range(4)]
    np.testing.assert_allclose(draw.realised_transition_matrix[:4], realised)
    assert np.isnan(draw.realised_transition_matrix[4]).all()
    assert (draw.rate, draw.realised_rate) == (0.3, 0.3)


def test_the_same_arguments_give_the_same_labels_and_leave_theirs_alone():
    labels = np.arange(50, dtype=np.int32) % 3
    before = labels.copy()
    first, second, other = (flowernoise.corrupt_labels(labels, "symmetric", rate=0.4, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert (first.labels != other.labels).any()
    assert first.labels.dtype == np.int32


def test_a_type_that_is_too_small_for_the_classes_is_widened():
    labels = np.zeros(10, dtype=np.uint8)
    assert flowernoise.corrupt_labels(labels, "symmetric", rate=1, num_classes=300).labels.dtype == np.int64
    assert flowernoise.corrupt_labels(labels, "symmetric", rate=1, num_classes=256).labels.dtype == np.uint8


def test_models_that_need_more_take_it():
    labels = np.arange(60) % 3
    chance = np.random.default_rng(0)
    flowernoise.corrupt_labels(labels, "instance", rate=0.5, features=chance.normal(size=(60, 4)))
    answers = chance.dirichlet([1, 1, 1], 60)
    assert flowernoise.corrupt_labels(labels, "boundary", rate=0.5, probabilities=answers).realised_rate == 0.5
    confused = flowernoise.corrupt_labels(labels, "asymmetric:top=1", rate=1.0, probabilities=answers)
    means = np.array([answers[labels == label].mean(axis=0) for label in range(3)]) * (1 - np.eye(3))
    i, j = np.unravel_index(means.argmax(), (3, 3))
    assert confused.transition_matrix[i, j] == 1
    named = flowernoise.corrupt_labels(labels, "asymmetric:pairs=b/c", rate=1.0, class_names=["a", "b", "c"])
    np.testing.assert_array_equal(named.labels, np.where(labels == 1, 2, labels))
    assert flowernoise.corrupt_labels(labels, "asymmetric:pairs=0/1", rate=0.5).realised_rate == 10 / 60


def test_a_matrix_has_a_rate_of_its_own(tmp_path):
    np.savetxt(tmp_path / "T.csv", T, delimiter=",")
    draw = flowernoise.corrupt_labels(np.arange(300) % 3, f"matrix:{tmp_path / 'T.csv'}")
    assert draw.rate == pytest.approx((0.2 + 0.3 + 0.3) / 3)
    assert draw.realised_rate == 80 / 300


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (([0, 1], "symetric", {"rate": 0.1}), r"unknown noise model 'symetric' \(did you mean symmetric\?\)"),
        (([0, 1], "symmetric", {}), "noise model symmetric needs rate"),
        (([0, 1], "symmetric", {"rate": 1.5}), "rate 1.5 is not between 0 and 1"),
        (([0, 1], "symmetric", {"rate": float("nan")}), "rate nan is not between"),
        (([0, 1], "matrix:T.csv", {"rate": 0.5}), "noise model matrix does not take a rate"),
        (([], "symmetric", {"rate": 0.5}), "labels must be a non-empty, one-dimensional array of whole numbers"),
        (([0.5, 1.0], "symmetric", {"rate": 0.5}), "these are float64"),
        (([[0, 1], [1, 0]], "symmetric", {"rate": 0.5}), r"of shape \(2, 2\)"),
        (([0, 5], "symmetric", {"rate": 0.5, "num_classes": 5}), "labels go from 0 to 5; 5 classes are numbered"),
        (([-1, 5], "symmetric", {"rate": 0.5}), "labels go from -1 to 5"),
        (([0, 1], "instance", {"rate": 0.5}), "noise model instance needs features"),
        (([0, 1], "instance", {"rate": 0.5, "features": np.ones((3, 2))}), r"features must be of shape \[2, any\]"),
        (([0, 1], "boundary", {"rate": 0.5, "probabilities": np.ones((2, 3))}), r"must be of shape \[2, 2\]"),
        (([0, 1], "instance", {"rate": 0.5, "features": np.full((2, 2), np.nan)}), "features are not all finite"),
        (
            ([0, 1], "asymmetric:pairs=a/b", {"rate": 0.5, "class_names": ["a"]}),
            "class_names must be 2 different names",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, problem):
    labels, noise, settings = arguments
    with pytest.raises(BadRequestError, match=problem) as raised:
        flowernoise.corrupt_labels(labels, noise, **settings)
    assert isinstance(raised.value, ValueError)
    assert "\n" not in str(raised.value)


def test_a_transition_matrix_may_be_an_array():
    T = [[0.9, 0.1, 0], [0, 1, 0], [0.5, 0, 0.5]]
    labels = np.arange(300) % 3
    draw = flowernoise.corrupt_labels(labels, np.array(T))
    np.testing.assert_array_equal(draw.transition_matrix, T)
    np.testing.assert_allclose(draw.realised_transition_matrix, T)
    assert draw.rate == pytest.approx(0.2)
    np.testing.assert_array_equal(draw.labels, flowernoise.corrupt_labels(labels, T).labels)
    assert (draw.labels != flowernoise.corrupt_labels(labels, T, seed=1).labels).any()


@pytest.mark.parametrize("as_array", [list, np.array, lambda labels: np.array(labels, dtype=object)])
def test_labels_may_be_names(as_array):
    numbers = np.arange(60) % 3
    names = as_array([["tulip", "rose", "daisy"][number] for number in numbers])
    draw = flowernoise.corrupt_labels(names, "pairflip", rate=0.5, class_names=["tulip", "rose", "daisy"])
    by_number = flowernoise.corrupt_labels(numbers, "pairflip", rate=0.5)
    assert draw.labels.tolist() == [["tulip", "rose", "daisy"][number] for number in by_number.labels]
    assert flowernoise.corrupt_labels(names, "asymmetric:pairs=rose/tulip", rate=1.0).realised_rate == 1 / 3


@pytest.mark.parametrize(
    ("labels", "noise", "settings", "problem"),
    [
        (
            ["rose", "tulp"],
            "symmetric",
            {"class_names": ["rose", "tulip"]},
            r"'tulp' is not in class_names \(did you mean tu",
        ),
        (
            ["rose", None],
            "symmetric",
            {},
            "labels must be a non-empty, one-dimensional array of whole numbers or class names",
        ),
        ([0, 1], [[0.5, 0.5]], {}, "noise is 1 × 2, but 2 classes need 2 × 2"),
        ([0, 1], np.eye(2), {"rate": 0.5}, "does not take a rate"),
    ],
)
def test_names_and_matrices_that_do_not_fit_are_named(labels, noise, settings, problem):
    with pytest.raises(BadRequestError, match=problem):
        flowernoise.corrupt_labels(labels, noise, **settings)


# --- loss ------------------------------------------------------------------------------------------------------------


def batch(n=12, c=3):
    chance = np.random.default_rng(0)
    y = np.eye(c)[chance.integers(0, c, n)]
    return y, chance.normal(size=(n, c)) * 3


def test_a_loss_has_one_value_an_example():
    y, z = batch()
    p_y = (softmax(z, axis=1) * y).sum(axis=1)
    values = keras.ops.convert_to_numpy(flowernoise.loss("gce:q=0.5")(y, z))
    np.testing.assert_allclose(values, (1 - np.sqrt(p_y)) / 0.5, rtol=1e-6)


def test_forward_and_backward_take_a_matrix(tmp_path):
    y, z = batch()
    p = softmax(z, axis=1)
    forward = keras.ops.convert_to_numpy(flowernoise.loss("forward", transition_matrix=T)(y, z))
    np.testing.assert_allclose(forward, -np.log((p @ T * y).sum(axis=1)), rtol=1e-6)
    backward = keras.ops.convert_to_numpy(flowernoise.loss("backward", transition_matrix=T.tolist())(y, z))
    np.testing.assert_allclose(backward, (y @ np.linalg.inv(T) * -np.log(p)).sum(axis=1), rtol=1e-6)
    np.savetxt(tmp_path / "T.csv", T, delimiter=",")
    from_file = flowernoise.loss(f"forward:T={tmp_path / 'T.csv'}")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(from_file(y, z)), forward, rtol=1e-6)


@pytest.mark.parametrize("spec", ["gce:q=0.5", "mae", "forward", "backward"])
def test_a_loss_serves_as_the_loss_of_compile(spec):
    chance = np.random.default_rng(0)
    labels = np.arange(60) % 3
    x = (np.eye(3)[labels] * 3 + chance.normal(size=(60, 3))).astype(np.float32)
    loss = flowernoise.loss(spec, transition_matrix=T if spec in ("forward", "backward") else None)
    assert loss.__name__ == spec.partition(":")[0]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss=loss)
    y = np.eye(3, dtype=np.float32)[labels]
    expected = keras.ops.convert_to_numpy(loss(y, model.predict(x, verbose=0))).mean()
    assert model.evaluate(x, y, batch_size=60, verbose=0) == pytest.approx(expected, rel=1e-4)
    model.fit(x, y, epochs=5, verbose=0)
    assert model.evaluate(x, y, verbose=0) < expected


@pytest.mark.parametrize(
    ("spec", "matrix", "problem"),
    [
        ("elr", None, "loss elr needs example ids.*`flowernoise train --loss elr`"),
        ("elr:beta=0.9", None, "`flowernoise train --loss elr:beta=0.9`"),
        ("peer", None, "loss peer needs other examples' labels"),
        ("forward", None, "loss forward needs transition_matrix=…"),
        ("forward:T=estimated", None, "loss forward needs transition_matrix=…"),
        ("forward:T=nowhere.csv", None, r"loss forward: cannot read nowhere\.csv"),
        ("forward", T.T, "loss forward: transition_matrix: row 1 sums to 0.9, not 1; its columns do"),
        ("forward", T[:2], "loss forward: transition_matrix is 2 × 3, but 3 classes need 3 × 3"),
        ("backward", np.full((2, 2), 0.5), "loss backward: transition_matrix has no inverse"),
        ("ce", T, "loss ce does not take a transition_matrix"),
        ("gcee", None, r"unknown loss 'gcee' \(did you mean gce\?\)"),
        ("gce:q=2", None, "loss gce: q=2 must be above 0 and at most 1"),
    ],
)
def test_losses_that_cannot_be_had_say_why_in_one_line(spec, matrix, problem):
    with pytest.raises(BadRequestError, match=problem) as raised:
        flowernoise.loss(spec, transition_matrix=matrix)
    assert "\n" not in str(raised.value)


def test_no_matrix_that_is_given_is_passed_over_for_an_estimate():
    y, z = batch()
    given = flowernoise.loss("forward", transition_matrix=T)
    named = flowernoise.loss("forward:T=estimated", transition_matrix=T)
    np.testing.assert_array_equal(given(y, z), named(y, z))


@pytest.mark.parametrize("labels", [np.arange(6) % 3, (np.arange(6) % 3)[:, None]], ids=["[n]", "[n, 1]"])
@pytest.mark.parametrize("spec", ["ce", "gce:q=0.5", "forward"])
def test_class_numbers_are_taken_with_sparse_and_refused_without(spec, labels):
    matrix = T if spec == "forward" else None
    z = np.random.default_rng(0).normal(size=(6, 3))
    expected = flowernoise.loss(spec, transition_matrix=matrix)(np.eye(3)[np.arange(6) % 3], z)
    for given in (labels, labels.astype(np.float32), labels.astype(np.uint8)):  # Keras makes floats of labels
        values = flowernoise.loss(spec, transition_matrix=matrix, sparse=True)(given, z)
        assert values.shape == (6,)
        np.testing.assert_allclose(values, expected, rtol=1e-6)
        with pytest.raises(BadRequestError, match=r"takes one-hot labels \[n, c\], not labels \[6.*sparse=True\)$"):
            flowernoise.loss(spec, transition_matrix=matrix)(given, z)


@pytest.mark.parametrize(
    ("sparse", "labels", "logits", "problem"),
    [
        (False, (4, 3), (4, 5), r"one-hot labels \[n, c\], not labels \[4, 3\] and logits \[4, 5\]"),
        (False, (4, 1, 5), (4, 5), r"one-hot labels \[n, c\], not labels \[4, 1, 5\]"),
        (False, (1, 5), (4, 5), r"as many labels as logits, not labels \[1, 5\] and logits \[4, 5\]"),
        (False, (4, 1), (4, 1), r"takes logits \[n, c\] for at least 2 classes"),
        (False, (4, 5), (4, 2, 5), r"takes logits \[n, c\]"),
        (True, (4, 5), (4, 5), r"class numbers \[n\] or \[n, 1\], not labels \[4, 5\].*leave sparse out"),
        (True, (3,), (4, 5), r"as many labels as logits"),
    ],
)
def test_other_shapes_are_refused_in_one_line(sparse, labels, logits, problem):
    with pytest.raises(BadRequestError, match=problem) as raised:
        flowernoise.loss("ce", sparse=sparse)(np.zeros(labels), np.zeros(logits))
    assert "\n" not in str(raised.value)


def test_class_numbers_are_refused_while_a_model_is_fitted():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    x, labels = np.eye(3, dtype=np.float32), np.arange(3)
    model.compile("adam", loss=flowernoise.loss("ce"))
    with pytest.raises(BadRequestError, match="takes one-hot labels"):
        model.fit(x, labels, verbose=0)
    model.compile("adam", loss=flowernoise.loss("ce", sparse=True))
    before = model.evaluate(x, labels, verbose=0)
    assert before == pytest.approx(-np.log(softmax(model.predict(x, verbose=0), axis=1).diagonal()).mean(), rel=1e-4)
    model.fit(x, labels, epochs=3, verbose=0)
    assert model.evaluate(x, labels, verbose=0) < before


@pytest.mark.parametrize("label", [-1, 3, 0.5])
def test_what_is_no_class_gives_nan_rather_than_another_class(label):
    values = keras.ops.convert_to_numpy(flowernoise.loss("mae", sparse=True)(np.array([0.0, label]), np.zeros((2, 3))))
    np.testing.assert_allclose(values, [2 - 2 / 3, np.nan])


SAVED = """
import sys
import numpy as np
import flowernoise, keras
x, labels = np.eye(3, dtype="float32")[np.arange(30) % 3], np.arange(30) % 3
for spec, matrix, path in eval(sys.argv[1]):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, kernel_initializer="zeros")])
    model.compile(keras.optimizers.Adam(0.1), loss=flowernoise.loss(spec, transition_matrix=matrix, sparse=True))
    before = model.evaluate(x, labels, verbose=0)
    model.fit(x, labels, epochs=3, verbose=0)
    after = model.evaluate(x, labels, verbose=0)
    assert after < before, (spec, after, before)
    model.save(path)
    print(after)
"""
LOADED = """
import sys
import numpy as np
import flowernoise, keras
flowernoise.loss("ce")
for _, _, path in eval(sys.argv[1]):
    model = keras.saving.load_model(path)
    print(model.evaluate(np.eye(3, dtype="float32")[np.arange(30) % 3], np.arange(30) % 3, verbose=0))
    model.fit(np.eye(3, dtype="float32"), np.arange(3), verbose=0)
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_saved_models_are_loaded_and_trained_by_another_program(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = os.environ | {"KERAS_BACKEND": backend}
    models = [
        ("gce:q=0.5", None, str(tmp_path / "gce.keras")),
        ("backward", T.tolist(), str(tmp_path / "backward.keras")),
    ]
    losses = []
    for program in (SAVED, LOADED):
        command = [sys.executable, "-c", program, repr(models)]
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stderr
        losses.append([float(line) for line in finished.stdout.split()[-len(models) :]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_saved_loss_holds_its_matrix_and_names_no_file(tmp_path):
    np.savetxt(tmp_path / "T.csv", T, delimiter=",")
    config = flowernoise.loss(f"forward:T={tmp_path / 'T.csv'}", sparse=True).get_config()
    assert config == {"spec": "forward", "transition_matrix": T.tolist(), "sparse": True}
    loss = flowernoise.loss("forward", transition_matrix=T)
    again = type(loss).from_config(json.loads(json.dumps(loss.get_config())))
    y, z = batch()
    np.testing.assert_array_equal(loss(y, z), again(y, z))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_a_loss_can_be_copied(copied):
    loss = flowernoise.loss("backward", transition_matrix=T, sparse=True)
    _, z = batch()
    labels = np.arange(len(z)) % 3
    np.testing.assert_array_equal(copied(loss)(labels, z), loss(labels, z))


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"spec": "forward:T={file}", "transition_matrix": None, "sparse": False}, "has no transition matrix"),
        ({"spec": "cee", "transition_matrix": None, "sparse": False}, "unknown loss 'cee'"),
        ({"spec": "forward", "transition_matrix": [[2]], "sparse": False}, "not between 0 and 1"),
        ({"spec": "ce", "transition_matrix": None}, "no 'sparse'"),
    ],
)
def test_a_loss_that_a_stranger_saved_is_refused_and_reads_no_file(config, problem, tmp_path):
    file = tmp_path / "T.csv"
    np.savetxt(file, T, delimiter=",")
    config = {**config, "spec": config["spec"].format(file=file)}
    with pytest.raises(BadRequestError, match=problem):
        type(flowernoise.loss("ce")).from_config(config)


# --- estimate_transition_matrix --------------------------------------------------------------------------------------


def test_an_estimate_is_of_the_labels_and_loads_nothing_heavy():
    program = (
        "import sys, flowernoise, json;"
        "answers = [[0.8, 0.2]] * 100 + [[0.3, 0.7]] * 100;"
        "T = flowernoise.estimate_transition_matrix([0] * 80 + [1] * 20 + [0] * 30 + [1] * 70, answers);"
        "assert not {'tensorflow', 'keras', 'jax', 'torch', 'h5py'} & set(sys.modules);"
        "print(json.dumps(T.tolist()))"
    )
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    np.testing.assert_allclose(json.loads(shown), [[0.8, 0.2], [0.3, 0.7]], atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "probabilities", "problem"),
    [
        ([0, 1], [[0.5, 0.5]], r"probabilities must be of shape \[2, any\]"),
        ([0, 2], [[0.5, 0.5]] * 2, "labels go from 0 to 2; 2 classes are numbered"),
        ([0.5, 1], [[0.5, 0.5]] * 2, "labels must be a non-empty, one-dimensional array of whole numbers"),
        ([0, 1], [[0.5, np.nan]] * 2, "probabilities are not all finite"),
        ([0, 1], [[5.0, -3.0]] * 2, "if they are logits, apply softmax first"),
        ([], np.zeros((0, 2)), "non-empty"),
    ],
)
def test_what_cannot_be_estimated_from_is_named(labels, probabilities, problem):
    with pytest.raises(BadRequestError, match=problem):
        flowernoise.estimate_transition_matrix(labels, probabilities)
