"""Every loss against its formula in NumPy, its gradient against finite differences, and the identities of the field.

The contract tests loop over the registry: a new loss is tested as soon as it is registered and has a formula below.
"""

import importlib.util
import itertools
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import softmax

from flowernoise.catalogue.losses import elr_targets, losses
from tests.catalogue.on_keras import gradient, value

# --- formulas, as in the papers and as plainly as they can be written -----------------------------------------------

FORMULAS = {}


def formula(function):
    FORMULAS[function.__name__] = function
    return function


def at_label(y, values):
    return (y * values).sum(axis=1)


@formula
def ce(y, z):
    return -np.log(at_label(y, softmax(z, axis=1)))


@formula
def mae(y, z):
    return np.abs(softmax(z, axis=1) - y).sum(axis=1)


@formula
def gce(y, z, q, k):
    p_y = np.maximum(at_label(y, softmax(z, axis=1)), k)
    return (1 - p_y**q) / q


@formula
def rce(y, z, A):
    return -(softmax(z, axis=1) * np.where(y == 1, 0, A)).sum(axis=1)


@formula
def sce(y, z, alpha, beta, A):
    return alpha * ce(y, z) + beta * rce(y, z, A)


def share(y, each):
    return at_label(y, each) / each.sum(axis=1)


@formula
def nce(y, z):
    return share(y, -np.log(softmax(z, axis=1)))


@formula
def nce_mae(y, z, alpha, beta):
    return alpha * nce(y, z) + beta * mae(y, z)


@formula
def nce_rce(y, z, alpha, beta, A):
    return alpha * nce(y, z) + beta * rce(y, z, A)


def focal_of_each(z, gamma):
    p = softmax(z, axis=1)
    return -((1 - p) ** gamma) * np.log(p)


@formula
def focal(y, z, gamma):
    return at_label(y, focal_of_each(z, gamma))


@formula
def normalised_focal(y, z, gamma):
    return share(y, focal_of_each(z, gamma))


@formula
def taylor(y, z, t):
    rest = 1 - at_label(y, softmax(z, axis=1))
    return sum(rest**k / k for k in range(1, t + 1))


@formula
def bootstrap_soft(y, z, beta):
    p = softmax(z, axis=1)
    return -((beta * y + (1 - beta) * p) * np.log(p)).sum(axis=1)


@formula
def bootstrap_hard(y, z, beta):
    p = softmax(z, axis=1)
    answer = np.eye(p.shape[1])[p.argmax(axis=1)]
    return -((beta * y + (1 - beta) * answer) * np.log(p)).sum(axis=1)


@formula
def label_smoothing(y, z, epsilon):
    c = z.shape[1]
    return -(((1 - epsilon) * y + epsilon / c) * np.log(softmax(z, axis=1))).sum(axis=1)


def tempered_softmax(z, t):
    """By root finding, where the loss iterates."""

    def p(row, normaliser):
        return np.exp(row - normaliser) if t == 1 else (1 + (1 - t) * (row - normaliser)) ** (1 / (1 - t))

    def normaliser(row):
        return brentq(lambda x: p(row, x).sum() - 1, row.max() - 1e-9, row.max() + 1e4, xtol=1e-14, rtol=1e-15)

    return np.stack([p(row, normaliser(row)) for row in z])


@formula
def bi_tempered(y, z, t1, t2):
    p = tempered_softmax(z, t2)
    p_y = at_label(y, p)
    log_t1 = np.log(p_y) if t1 == 1 else (p_y ** (1 - t1) - 1) / (1 - t1)
    return -log_t1 - (1 - (p ** (2 - t1)).sum(axis=1)) / (2 - t1)


@formula
def js(y, z, pi):
    p = softmax(z, axis=1)
    m = pi * y + (1 - pi) * p
    kl_label = -np.log(at_label(y, m))
    kl_prediction = (p * np.log(p / m)).sum(axis=1)
    return (pi * kl_label + (1 - pi) * kl_prediction) / (-(1 - pi) * np.log(1 - pi))


@formula
def agce(y, z, a, q):
    return ((a + 1) ** q - (a + at_label(y, softmax(z, axis=1))) ** q) / q


@formula
def nce_agce(y, z, alpha, beta, a, q):
    return alpha * nce(y, z) + beta * agce(y, z, a, q)


@formula
def forward(y, z, matrices, **_):
    noisy = np.stack([p @ matrix for p, matrix in zip(softmax(z, axis=1), matrices, strict=True)])
    return -np.log(at_label(y, noisy))


@formula
def backward(y, z, inverses, **_):
    each = -np.log(softmax(z, axis=1))
    return at_label(y, np.stack([inverse @ loss for loss, inverse in zip(each, inverses, strict=True)]))


@formula
def elr(y, z, targets, lam, **_):
    p = np.clip(softmax(z, axis=1), 1e-4, 1 - 1e-4)
    return ce(y, z) + lam * np.log(1 - (targets * p).sum(axis=1))


@formula
def peer(y, z, peers, progress, alpha, start, full):
    def bounded(y, z):
        return -np.log(at_label(y, softmax(z, axis=1)) + 1e-5)

    return bounded(y, z) - alpha * np.interp(progress, [start, full], [0, 1]) * bounded(*peers)


VARIANTS = [
    *losses.names(),
    "gce:q=0.2", "gce:q=1", "gce:k=0.3", "gce:k=0.5,q=0.4", "rce:A=-9.21", "sce:A=-6,alpha=6,beta=0.1",
    "nce_mae:alpha=10,beta=0.5", "nce_rce:A=-4,alpha=10,beta=0.1", "focal:gamma=0.5", "focal:gamma=0",
    "normalised_focal:gamma=2", "taylor:t=1", "taylor:t=6", "bootstrap_soft:beta=0.2", "bootstrap_hard:beta=0.2",
    "label_smoothing:epsilon=0.6", "bi_tempered:t1=0.2,t2=1", "bi_tempered:t1=1,t2=1.5", "bi_tempered:t1=0,t2=4",
    "js:pi=0.1", "js:pi=0.9", "agce:a=0.1,q=0.3", "agce:a=1,q=3", "nce_agce:a=1.8,alpha=10,beta=0.1,q=3",
    "elr:beta=0.9,lam=1", "peer:alpha=0.3", "peer:full=0.5,start=0.1",
]  # fmt: skip


# --- helpers --------------------------------------------------------------------------------------------------------


def examples(seed, n=6, c=5, scale=3.0):
    """One-hot labels and logits, float64."""
    rng = np.random.default_rng(seed)
    return np.eye(c)[rng.integers(c, size=n)], rng.normal(scale=scale, size=(n, c))


def transition_matrices(seed, n, c):
    """Asymmetric: no two rows or columns alike."""
    return 0.6 * np.eye(c) + 0.4 * np.random.default_rng(seed).dirichlet(np.ones(c), size=(n, c))


def extras_of(spec, y, z):
    """What the loss needs beyond labels and logits."""
    n, c = z.shape
    matrices = transition_matrices(0, n, c)
    available = {
        "transition_matrix": matrices,
        "inverse_transition_matrix": np.linalg.inv(matrices),
        "targets": 0.7 * np.random.default_rng(0).dirichlet(np.ones(c), size=n),
        "peers": (y[::-1].copy(), keras.ops.flip(z, axis=0) if keras.ops.is_tensor(z) else z[::-1].copy()),
        "progress": np.linspace(0, 1, n),
    }
    return [available[need] for need in spec.entry.properties.get("needs", ())]


# --- contract -------------------------------------------------------------------------------------------------------


def test_every_loss_has_a_formula_here():
    assert set(FORMULAS) == set(losses.names())


@pytest.mark.parametrize("text", VARIANTS)
def test_value_is_the_formula(text):
    spec = losses.parse(text)
    y, z = examples(0)
    extras = extras_of(spec, y, z)
    expected = FORMULAS[spec.name](y, z, *extras, **spec.values)
    assert expected.shape == (6,)
    np.testing.assert_allclose(value(text, y, z, *extras), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("text", VARIANTS)
def test_gradient_is_the_slope(text):
    spec = losses.parse(text)
    y, z = examples(1, scale=2.0)
    extras = extras_of(spec, y, z)

    def f(z):
        return value(text, y, z, *extras)

    step = 1e-5
    slopes = np.stack([(f(z + step * unit) - f(z - step * unit)) / (2 * step) for unit in np.eye(z.shape[1])], axis=1)
    np.testing.assert_allclose(gradient(text, y, z, *extras), slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("text", VARIANTS)
def test_gradient_over_the_logits_sums_to_zero(text):
    """Losses see the softmax alone; training of two classes holds one of them and relies on this."""
    y, z = examples(3, scale=0.5)
    slopes = gradient(text, y, z, *extras_of(losses.parse(text), y, z))
    assert np.abs(slopes).max() > 1e-3 or "k=" in text  # truncated losses are flat where the model is unsure
    np.testing.assert_allclose(slopes.sum(axis=1), 0, atol=1e-12)


PARALLEL = {("mae", "rce")}  # 2 − 2 p_y and −A (1 − p_y)


def test_no_two_losses_have_parallel_gradients_but_those_whose_formulas_say_so():
    """An optimiser such as Adam, which takes no notice of scale, could not tell them apart."""
    y, z = examples(5, n=20)
    slopes = {name: gradient(name, y, z, *extras_of(losses.parse(name), y, z)).ravel() for name in losses.names()}
    unit = {name: slope / np.linalg.norm(slope) for name, slope in slopes.items()}
    pairs = itertools.combinations(unit, 2)
    assert {pair for pair in pairs if abs(unit[pair[0]] @ unit[pair[1]]) > 1 - 1e-6} == PARALLEL


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("text", VARIANTS)
def test_extreme_logits_have_finite_values_and_gradients(text, dtype):
    spec = losses.parse(text)
    extremes = np.array([[200, -200, -200, -200, -200], [-200, 200, 200, -200, 0], [0, 0, 0, 0, 0], [200] * 5])
    z = keras.ops.cast(np.tile(extremes, (5, 1)), dtype)
    y = np.repeat(np.eye(5, dtype="float32"), 4, axis=0)
    extras = extras_of(spec, y, z)
    result = losses.parse(text)(y, z, *extras)
    assert keras.backend.standardize_dtype(result.dtype) == "float32"
    assert result.shape == (20,)
    assert np.isfinite(keras.ops.convert_to_numpy(result)).all()
    assert np.isfinite(gradient(text, y, z, *extras).astype("float64")).all()


@pytest.mark.parametrize("text", VARIANTS)
def test_float64_stays_float64_and_half_precision_is_computed_in_float32(text):
    spec = losses.parse(text)
    y, z = examples(2)
    half = z.astype("float16")
    rounded = half.astype("float64")
    exact = value(text, y, rounded, *extras_of(spec, y, rounded))
    half = value(text, y, half, *extras_of(spec, y, half))
    assert exact.dtype == "float64"
    assert half.dtype == "float32"
    np.testing.assert_allclose(half, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("text", losses.names())
def test_examples_do_not_affect_one_another(text):
    spec = losses.parse(text)
    y, z = examples(3)
    extras = extras_of(spec, y, z)
    alone = [
        value(text, y[i : i + 1], z[i : i + 1], *[one_example(extra, i) for extra in extras])[0] for i in range(len(z))
    ]
    np.testing.assert_allclose(value(text, y, z, *extras), alone, rtol=1e-12)


def one_example(extra, i):
    return tuple(part[i : i + 1] for part in extra) if isinstance(extra, tuple) else extra[i : i + 1]


@pytest.mark.parametrize("entry", list(losses), ids=lambda entry: entry.name)
def test_docstring_says_what_it_is(entry):
    text = entry.function.__doc__
    assert len(entry.summary) <= 120
    assert entry.summary.endswith(".")
    for part in ("Formula:", "Source:", ">>> "):
        assert part in text
    assert ("Defaults:" in text) == bool(entry.parameters)
    assert all(parameter.range or parameter.type is str for parameter in entry.parameters.values())


def test_listing_the_losses_imports_no_keras():
    code = "import sys; import flowernoise.catalogue.losses; print('keras' in sys.modules, 'numpy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["False", "False"]


# --- backends -------------------------------------------------------------------------------------------------------

ELSEWHERE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from tests.catalogue.test_losses import VARIANTS, examples, extras_of, gradient, losses, value
y, z = examples(7)
found = {}
for text in VARIANTS:
    extras = extras_of(losses.parse(text), y, z)
    found[text + " value"] = value(text, y, z, *extras)
    found[text + " gradient"] = gradient(text, y, z, *extras)
np.savez(sys.argv[2], **found)
"""


@pytest.mark.parametrize("backend", sorted({"tensorflow", "jax", "torch"} - {keras.backend.backend()}))
def test_values_and_gradients_are_the_same_on_every_other_backend(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    path = tmp_path / "found.npz"
    command = [sys.executable, "-c", ELSEWHERE, str(pathlib.Path(__file__).parents[2]), str(path)]
    chosen = {"KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1"}
    finished = subprocess.run(command, env=os.environ | chosen, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    y, z = examples(7)
    with np.load(path) as found:
        for text in VARIANTS:
            extras = extras_of(losses.parse(text), y, z)
            np.testing.assert_allclose(found[f"{text} value"], value(text, y, z, *extras), rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(found[f"{text} gradient"], gradient(text, y, z, *extras), rtol=1e-8, atol=1e-12)


# --- identities -----------------------------------------------------------------------------------------------------

many = settings(max_examples=200, deadline=None)
seeds = st.integers(0, 2**32 - 1)
classes = st.integers(2, 7)
scales = st.sampled_from([0.1, 1.0, 5.0, 20.0])
shares = st.floats(0, 1)


def every_label(text, z):
    """Loss of each example under each label, [n, c]."""
    n, c = z.shape
    columns = value(text, np.tile(np.eye(c), (n, 1)), np.repeat(z, c, axis=0))
    return columns.reshape(n, c)


def sum_over_labels(text, c):
    """Σ_k L(p, k) of the losses for which it does not depend on p."""
    spec = losses.parse(text)
    mae, nce = 2 * (c - 1), 1
    return {
        "mae": lambda: mae,
        "rce": lambda A: -A * (c - 1),
        "nce": lambda: nce,
        "normalised_focal": lambda **_: nce,
        "nce_mae": lambda alpha, beta: alpha * nce + beta * mae,
        "nce_rce": lambda alpha, beta, A: alpha * nce - beta * A * (c - 1),
    }[spec.name](**spec.values)


SYMMETRIC = ["mae", "rce", "rce:A=-9.21", "nce", "normalised_focal", "nce_mae:beta=0.5", "nce_rce:alpha=3"]


@given(seeds, classes, scales, st.sampled_from(SYMMETRIC))
@many
def test_symmetric_losses_sum_to_a_constant_over_the_labels(seed, c, scale, text):
    _, z = examples(seed, c=c, scale=scale)
    np.testing.assert_allclose(every_label(text, z).sum(axis=1), sum_over_labels(text, c), rtol=1e-9)


@given(seeds, classes, scales, st.floats(0.01, 1))
@many
def test_gce_sums_to_within_its_bounds(seed, c, scale, q):
    _, z = examples(seed, c=c, scale=scale)
    total = every_label(f"gce:q={q!r}", z).sum(axis=1)
    assert (total >= (c - c ** (1 - q)) / q - 1e-9).all()
    assert (total <= (c - 1) / q + 1e-9).all()


@given(seeds, classes, scales, st.integers(1, 8))
@many
def test_taylor_sums_to_within_its_bounds(seed, c, scale, t):
    _, z = examples(seed, c=c, scale=scale)
    total = every_label(f"taylor:t={t}", z).sum(axis=1)
    harmonic = sum(1 / k for k in range(1, t + 1))
    assert (total >= c - 1 - 1e-9).all()
    assert (total <= (c - 1) * harmonic + 1e-9).all()


@given(seeds, classes, scales, shares, st.sampled_from(SYMMETRIC))
@many
def test_symmetric_noise_only_rescales_a_symmetric_loss(seed, c, scale, eta, text):
    """So its ranking of models survives as long as the slope is positive: below the rate at which labels are chance."""
    y, z = examples(seed, c=c, scale=scale)
    each = every_label(text, z)
    clean = at_label(y, each)
    noisy = (1 - eta) * clean + eta / (c - 1) * (each.sum(axis=1) - clean)
    slope = 1 - eta * c / (c - 1)
    np.testing.assert_allclose(noisy, slope * clean + eta * sum_over_labels(text, c) / (c - 1), rtol=1e-9, atol=1e-12)
    first, second = clean[0], clean[1]
    if abs(first - second) > 1e-6 and abs(slope) > 1e-6:
        assert ((noisy[0] < noisy[1]) == (first < second)) == (eta < (c - 1) / c)


WEIGHTS = {
    "ce": lambda p: p**0,
    "mae": lambda p: 2 * p,
    "gce": lambda p: p**0.7,
    "gce:k=0.5": lambda p: np.where(p > 0.5, p**0.7, 0),
    "rce": lambda p: 4 * p,
    "sce": lambda p: 0.1 + 4 * p,
    "taylor": lambda p: 1 - (1 - p) ** 2,
    "taylor:t=5": lambda p: 1 - (1 - p) ** 5,
    "agce": lambda p: p * (0.6 + p) ** -0.4,
    "agce:a=6,q=1.5": lambda p: p * (6 + p) ** 0.5,
}


@given(seeds, classes, scales, st.sampled_from(sorted(WEIGHTS)))
@many
def test_gradient_is_a_weight_times_prediction_minus_label(seed, c, scale, text):
    y, z = examples(seed, c=c, scale=scale)
    p = softmax(z, axis=1)
    weight = WEIGHTS[text](at_label(y, p))[:, None]
    np.testing.assert_allclose(gradient(text, y, z), weight * (p - y), rtol=1e-7, atol=1e-12)


EQUALS = [
    ("gce:q=1", 1, "mae", 0.5),
    ("taylor:t=1", 1, "mae", 0.5),
    ("agce:q=1", 1, "mae", 0.5),
    ("rce", 1, "mae", 2),
    ("bi_tempered:t1=1,t2=1", 1, "ce", 1),
    ("bi_tempered:t1=0.3,t2=1", 1, "bi_tempered:t1=0.3,t2=1.000000001", 1),
    ("bi_tempered:t1=0.999999999,t2=1.4", 1, "bi_tempered:t1=1,t2=1.4", 1),
    ("focal:gamma=0", 1, "ce", 1),
    ("normalised_focal:gamma=0", 1, "nce", 1),
    ("sce:alpha=1,beta=0", 1, "ce", 1),
    ("sce:alpha=0,beta=1", 1, "rce", 1),
    ("nce_mae:alpha=1,beta=0", 1, "nce", 1),
    ("nce_mae:alpha=0,beta=1", 1, "mae", 1),
    ("nce_rce:A=-4,alpha=0,beta=1", 1, "rce", 1),
    ("nce_agce:alpha=0,beta=1", 1, "agce:a=6,q=1.5", 1),
    ("nce_agce:alpha=1,beta=0", 1, "nce", 1),
    ("bootstrap_soft:beta=1", 1, "ce", 1),
    ("bootstrap_hard:beta=1", 1, "ce", 1),
    ("label_smoothing:epsilon=0", 1, "ce", 1),
]


@given(seeds, classes, scales, st.sampled_from(EQUALS))
@many
def test_losses_that_equal_another(seed, c, scale, case):
    one, factor, other, times = case
    y, z = examples(seed, c=c, scale=scale)
    np.testing.assert_allclose(factor * value(one, y, z), times * value(other, y, z), rtol=1e-6, atol=1e-9)


LIMITS = [("gce:q=1e-9", "ce"), ("js:pi=1e-9", "ce"), ("taylor:t=100", "ce"), ("bi_tempered:t1=0.999999999,t2=1", "ce")]


@given(seeds, classes, st.sampled_from(LIMITS))
@many
def test_losses_that_tend_to_another(seed, c, case):
    near, limit = case
    y, z = examples(seed, c=c, scale=1.0)
    likely = at_label(y, softmax(z, axis=1)) > 0.1  # Taylor's series needs more terms the smaller p_y is
    np.testing.assert_allclose(value(near, y, z)[likely], value(limit, y, z)[likely], rtol=1e-4)


@given(seeds, classes, scales, st.floats(1e-6, 1 - 1e-9))
@many
def test_js_stays_within_its_bound_of_half_of_l1(seed, c, scale, pi):
    y, z = examples(seed, c=c, scale=scale)
    excess = value(f"js:pi={pi!r}", y, z) - value("mae", y, z) / 2
    assert (excess >= -1e-5).all()
    bound = -pi * np.log(pi) / (-(1 - pi) * np.log1p(-pi))  # at p_y = 0; tends to 0 like 1 / −log(1 − π)
    assert (excess <= bound + 1e-5).all()


@given(seeds, classes, scales)
@many
def test_backward_is_unbiased_and_forward_without_noise_is_cross_entropy(seed, c, scale):
    y, z = examples(seed, c=c, scale=scale)
    matrices = transition_matrices(seed, len(y), c)
    observed = np.stack(
        [value("backward", np.tile(label, (len(y), 1)), z, np.linalg.inv(matrices)) for label in np.eye(c)], axis=1
    )
    expected = (at_rows(matrices, y) * observed).sum(axis=1)
    np.testing.assert_allclose(expected, value("ce", y, z), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(value("forward", y, z, np.eye(c)), value("ce", y, z), rtol=1e-12)
    np.testing.assert_allclose(value("backward", y, z, np.eye(c)), value("ce", y, z), rtol=1e-12)


def at_rows(matrices, y):
    """Row of each example's matrix for its label."""
    return np.stack([matrix[label.argmax()] for matrix, label in zip(matrices, y, strict=True)])


@pytest.mark.parametrize("text", ["forward", "backward"])
def test_one_matrix_serves_all_examples(text):
    y, z = examples(4)
    matrix = transition_matrices(4, 1, 5)[0]
    each = np.tile(matrix, (len(y), 1, 1))
    np.testing.assert_allclose(value(text, y, z, matrix), value(text, y, z, each), rtol=1e-12)


def test_forward_reads_the_matrix_from_true_to_observed():
    """A transposed matrix is the bug most often published."""
    never_tulip_as_rose = np.array([[0.7, 0.3], [0.0, 1.0]])  # roses are sometimes called tulips, never the reverse
    sure_of_rose, sure_of_tulip = np.array([[9.0, -9.0]]), np.array([[-9.0, 9.0]])
    tulip = np.array([[0.0, 1.0]])
    np.testing.assert_allclose(value("forward", tulip, sure_of_rose, never_tulip_as_rose), -np.log(0.3), rtol=1e-6)
    np.testing.assert_allclose(value("forward", tulip, sure_of_tulip, never_tulip_as_rose), 0, atol=1e-6)


def test_forward_stays_finite_for_an_impossible_label():
    y, z = np.array([[1.0, 0.0]]), np.array([[1.0, -1.0]])
    always_second = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert np.isfinite(value("forward", y, z, always_second)).all()
    assert np.isfinite(gradient("forward", y, z, always_second)).all()


@given(seeds, classes, scales, shares, st.floats(0, 10))
@many
def test_elr_targets_are_the_running_mean_of_predictions(seed, c, scale, beta, lam):
    y, z = examples(seed, c=c, scale=scale)
    targets = np.zeros_like(z)
    expected = np.zeros_like(z)
    for logits in (z, -z, z / 2):
        targets = keras.ops.convert_to_numpy(elr_targets(targets, logits, beta=beta, lam=lam))
        p = np.clip(softmax(logits, axis=1), 1e-4, 1 - 1e-4)
        expected = beta * expected + (1 - beta) * p / p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(targets, expected, rtol=1e-9)
    np.testing.assert_allclose(targets.sum(axis=1), 1 - beta**3, rtol=1e-9, atol=1e-12)
    assert (value("elr:lam=1", y, z, targets) <= value("ce", y, z)).all()
    np.testing.assert_allclose(value("elr:lam=0", y, z, targets), value("ce", y, z), rtol=1e-12)


@given(seeds, classes, scales, st.floats(0, 5))
@many
def test_peer_loss_of_itself_is_a_share_of_bounded_cross_entropy(seed, c, scale, alpha):
    y, z = examples(seed, c=c, scale=scale)
    bounded = -np.log(np.exp(-value("ce", y, z)) + 1e-5)
    peer_loss = value(f"peer:alpha={alpha!r},full=0,start=0", y, z, (y, z), 0.0)
    np.testing.assert_allclose(peer_loss, (1 - alpha) * bounded, rtol=1e-9, atol=1e-9)


def peer_weight(text, progress):
    """The weight of the peer term: the loss is linear in it."""
    y, z = examples(6, n=1)
    own, all_ = (value(f"peer:full=0,start=0,alpha={alpha}", y, z, (y[:, ::-1], z), 0.0)[0] for alpha in (0, 1))
    return (own - value(text, y, z, (y[:, ::-1], z), progress)[0]) / (own - all_)


@pytest.mark.parametrize(
    ("text", "progress", "weight"),
    [
        ("peer", 0.0, 0),
        ("peer", 0.4, 0),
        ("peer", 0.7, 0.5),
        ("peer", 1.0, 1),
        ("peer:alpha=3", 1.0, 3),
        ("peer:full=0.5,start=0.1", 0.2, 0.25),
        ("peer:full=0.5,start=0.1", 0.9, 1),
        ("peer:full=0,start=0", 0.0, 1),
        ("peer:full=0.5,start=0.5", 0.49, 0),
        ("peer:full=0.5,start=0.5", 0.5, 1),
        ("peer:full=0.2,start=0.6", 0.3, 1),
    ],
)
def test_the_weight_of_the_peer_term_rises_as_the_spec_says(text, progress, weight):
    assert peer_weight(text, progress) == pytest.approx(weight, abs=1e-6)


def test_peer_loss_is_bounded():
    y, z = np.array([[0.0, 1.0]]), np.array([[200.0, -200.0]])
    assert value("peer", y, z, (y, z), 0.0) == pytest.approx(-np.log(1e-5))
    assert value("peer", y, -z, (y, z), 1.0) == pytest.approx(np.log(1e-5), abs=2e-5)


@given(seeds, classes, scales, st.floats(1, 4))
@many
def test_tempered_probabilities_sum_to_one(seed, c, scale, t2):
    """With t1 = 1 the loss is −log p_y less a constant that is 0 only if they do."""
    _, z = examples(seed, c=c, scale=scale)
    p = np.exp(-every_label(f"bi_tempered:t1=1,t2={t2!r}", z))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-9)
