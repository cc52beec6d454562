"""Every noise model against its definition: how many labels flip, which, and to what."""

import itertools
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import softmax
from scipy.stats import chi2, chisquare, dirichlet, entropy, truncnorm

from flowernoise.catalogue import labelling, transition_matrix
from flowernoise.catalogue.labelling import NoiseRequest
from flowernoise.catalogue.noise import check_inputs, expected_rate, is_rated, needs_of, noise_models
from flowernoise.errors import BadRequestError

SEEDS = tuple(range(20))
ALL = noise_models.names()
FILES = tempfile.TemporaryDirectory()


@pytest.fixture(scope="module", autouse=True)
def _remove_files():
    yield
    FILES.cleanup()


def matrix_file(T):
    """A file that holds T, the same file for the same T."""
    text = "\n".join(",".join(map(repr, row)) for row in np.asarray(T, dtype=float).tolist())
    path = Path(FILES.name, f"{abs(hash(text))}.csv")
    path.write_text(text)
    return path


def spec_of(name, num_classes):
    """A spec of a model for so many classes, with what it cannot be without."""
    if name == "matrix":
        return f"matrix:{matrix_file(dirichlet.rvs(np.ones(num_classes), num_classes, random_state=num_classes))}"
    return {"observed": "observed:labels.csv"}.get(name, name)


RATED = [name for name in ALL if is_rated(noise_models.parse(spec_of(name, 2)))]


def request_for(labels, num_classes, rate, seed=0, **inputs):
    """A request with something in every optional input."""
    labels = np.asarray(labels, dtype=np.int64)
    chance = np.random.default_rng([seed, 7])
    given = {
        "features": chance.normal(size=(len(labels), 16)),
        "probabilities": chance.dirichlet(np.ones(num_classes), len(labels)),
        "confusion": chance.dirichlet(np.ones(num_classes), num_classes),
        "observed": chance.integers(0, num_classes, len(labels)),
        **inputs,
    }
    return NoiseRequest(
        labels, num_classes, rate, np.random.default_rng(seed), np.random.default_rng([seed, 1]), **given
    )


def draw(text, labels, num_classes, rate, seed=0, **inputs):
    spec = noise_models.parse(text)
    request = request_for(labels, num_classes, rate, seed, **inputs)
    check_inputs(spec, request)
    return spec(request)


def wrong(labels, noisy):
    return int((np.asarray(labels) != noisy.labels).sum())


def chi_square(true, observed, T):
    """Pearson's statistic of the observed labels under T, and its degrees of freedom; impossible labels are refused."""
    counts = np.bincount(true * len(T) + observed, minlength=T.size).reshape(T.shape)
    expected = counts.sum(axis=1, keepdims=True) * T
    possible = expected > 0
    assert not counts[~possible].any()
    return ((counts - expected)[possible] ** 2 / expected[possible]).sum(), int((possible.sum(axis=1) - 1).sum())


def assert_follows(text, rate, labels, num_classes):
    """Realised T lies within its sampling error of the nominal one, at each of the seeds and at all together."""
    total, degrees = 0.0, 0
    for seed in SEEDS:
        noisy = draw(text, labels, num_classes, rate, seed)
        statistic, freedom = chi_square(labels, noisy.labels, noisy.transition_matrix)
        assert chi2.sf(statistic, freedom) > 1e-5, seed
        total, degrees = total + statistic, degrees + freedom
    assert 1e-3 < chi2.sf(total, degrees) < 1 - 1e-3


# --- what all of them must hold --------------------------------------------------------------------------------------


@st.composite
def labellings(draw_from):
    """Labels of 1 to 8 classes, any of them missing, any of them rare."""
    num_classes = draw_from(st.integers(1, 8))
    labels = draw_from(st.lists(st.integers(0, num_classes - 1), min_size=1, max_size=60))
    return np.array(labels), num_classes


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=200, deadline=None)
@given(labelling=labellings(), rate=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_every_model_returns_labels_of_the_task_again_and_again_and_leaves_the_input_alone(name, labelling, rate, seed):
    labels, num_classes = labelling
    before = labels.copy()
    first, second = (draw(spec_of(name, num_classes), labels, num_classes, rate, seed) for _ in range(2))
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.labels.shape == labels.shape
    assert first.labels.dtype == np.int64
    assert first.labels.min() >= 0
    assert first.labels.max() < num_classes
    assert not np.shares_memory(first.labels, labels)
    if first.transition_matrix is not None:
        assert first.transition_matrix.shape == (num_classes, num_classes)
        np.testing.assert_allclose(first.transition_matrix.sum(axis=1), 1)
        assert (first.transition_matrix >= 0).all()


@pytest.mark.parametrize("name", RATED)
def test_every_model_leaves_all_labels_right_at_rate_0(name):
    labels = np.arange(60) % 5
    noisy = draw(name, labels, 5, 0.0)
    assert wrong(labels, noisy) == 0
    if noisy.transition_matrix is not None:
        np.testing.assert_array_equal(noisy.transition_matrix, np.eye(5))


@pytest.mark.parametrize("name", ALL)
def test_other_seeds_give_other_labels(name):
    labels = np.arange(200) % 5
    drawn = {draw(spec_of(name, 5), labels, 5, 0.5, seed).labels.tobytes() for seed in SEEDS}
    assert len(drawn) == len(SEEDS)


@pytest.mark.parametrize("name", ALL)
def test_one_class_has_no_wrong_label(name):
    noisy = draw(spec_of(name, 1), np.zeros(7), 1, 0.6)
    assert wrong(np.zeros(7), noisy) == 0


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("count", ["exact", "bernoulli"])
def test_no_labels_at_all(name, count):
    text = spec_of(name, 3)
    if "count" in noise_models[name].parameters:
        text += f"{',' if ':' in text else ':'}count={count}"
    assert draw(text, [], 3, 0.4).labels.shape == (0,)


@pytest.mark.parametrize("name", ALL)
def test_a_million_labels_take_less_than_a_second(name):
    labels = np.random.default_rng(0).integers(0, 10, 1_000_000)
    request = request_for(labels, 10, 0.4)
    spec = noise_models.parse(spec_of(name, 10))
    seconds = []
    for _ in range(3):  # the best of three: other work on the machine must not make this fail
        started = time.perf_counter()
        spec(request)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1


# --- symmetric and uniform -------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(labelling=labellings(), rate=st.floats(0, 1), seed=st.integers(0, 1000))
def test_symmetric_makes_exactly_the_asked_number_wrong(labelling, rate, seed):
    labels, num_classes = labelling
    expected = int(np.floor(rate * len(labels) + 0.5 + 1e-9)) if num_classes > 1 else 0
    assert wrong(labels, draw("symmetric", labels, num_classes, rate, seed)) == expected


@settings(max_examples=300, deadline=None)
@given(labelling=labellings(), rate=st.floats(0, 1), seed=st.integers(0, 1000))
def test_uniform_makes_at_most_the_asked_number_wrong(labelling, rate, seed):
    labels, num_classes = labelling
    assert wrong(labels, draw("uniform", labels, num_classes, rate, seed)) <= np.floor(rate * len(labels) + 0.5 + 1e-9)


def test_rates_are_rounded_once_over_all_classes():
    labels = np.arange(4_000) % 2_000  # two examples a class: each class on its own would round to 0
    assert wrong(labels, draw("symmetric", labels, 2_000, 0.2)) == 800


@pytest.mark.parametrize(("rate", "n", "flips"), [(0.3, 5, 2), (0.5, 5, 3), (0.1, 3, 0), (0.7, 45, 32), (0.15, 10, 2)])
def test_halves_are_rounded_up_whatever_floating_point_makes_of_them(rate, n, flips):
    assert wrong(np.zeros(n), draw("symmetric", np.zeros(n), 3, rate)) == flips


@pytest.mark.parametrize("name", ["symmetric", "uniform"])
@pytest.mark.parametrize("rate", [0.1, 0.4, 0.8, 1.0])
def test_the_realised_matrix_is_within_its_sampling_error_of_the_nominal_one(name, rate):
    labels = np.repeat(np.arange(4), (4000, 2000, 1000, 500))
    assert_follows(f"{name}:count=bernoulli", rate, labels, 4)


@pytest.mark.parametrize("name", ["symmetric", "uniform"])
def test_a_coin_for_each_label_gives_binomial_counts(name):
    n, rate = 2000, 0.3
    share = {"symmetric": rate, "uniform": rate * (1 - 1 / 5)}[name]
    counts = [wrong(np.zeros(n), draw(f"{name}:count=bernoulli", np.zeros(n), 5, rate, seed)) for seed in range(200)]
    assert abs(np.mean(counts) - share * n) < 4 * np.sqrt(n * share * (1 - share) / 200)
    assert 0.7 < np.var(counts) / (n * share * (1 - share)) < 1.4


def test_exact_draws_flip_every_label_equally_often():
    labels = np.arange(30) % 3
    flipped = np.mean([draw("symmetric", labels, 3, 0.4, seed).labels != labels for seed in range(2000)], axis=0)
    assert np.abs(flipped - 0.4).max() < 4.5 * np.sqrt(0.24 / 2000)


@pytest.mark.parametrize("c", [2, 5])
def test_nominal_matrices_are_the_formulas(c):
    eye, ones = np.eye(c), np.ones((c, c))
    labels = np.arange(20) % c
    np.testing.assert_allclose(
        draw("symmetric", labels, c, 0.3).transition_matrix, 0.7 * eye + 0.3 / (c - 1) * (ones - eye)
    )
    np.testing.assert_allclose(draw("uniform", labels, c, 0.3).transition_matrix, 0.7 * eye + 0.3 / c * ones)


def test_symmetric_noise_of_two_classes_is_chance_at_one_half_and_inverts_at_one():
    labels = np.arange(1000) % 2
    assert wrong(labels, draw("symmetric", labels, 2, 0.5)) == 500
    np.testing.assert_array_equal(draw("symmetric", labels, 2, 1.0).labels, 1 - labels)


def test_symmetric_noise_past_its_break_even_point_makes_every_other_class_likelier_than_the_true_one():
    at_chance = draw("symmetric", np.arange(20) % 5, 5, 0.8).transition_matrix
    np.testing.assert_allclose(at_chance, 0.2)
    inverted = draw("symmetric", np.arange(20) % 5, 5, 0.9).transition_matrix
    assert (np.diag(inverted) < inverted[0, 1]).all()


def test_uniform_noise_never_makes_a_wrong_class_likelier_than_the_true_one():
    for rate in (0.5, 0.9, 1.0):
        T = draw("uniform", np.arange(20) % 5, 5, rate).transition_matrix
        assert (np.diag(T)[:, None] >= T - 1e-12).all()


def test_a_class_with_one_example_and_absent_classes_are_corrupted_like_any_other():
    labels = np.array([0] * 9 + [4])
    assert wrong(labels, draw("symmetric", labels, 7, 1.0)) == 10
    lonely = [draw("symmetric", labels, 7, 0.5, seed).labels[-1] for seed in range(300)]
    assert 0.4 < np.mean(np.array(lonely) != 4) < 0.6
    assert set(lonely) == set(range(7))


def test_a_thousand_classes():
    labels = np.random.default_rng(1).integers(0, 1000, 50_000)
    noisy = draw("symmetric", labels, 1000, 0.4)
    assert wrong(labels, noisy) == 20_000
    assert len(np.unique((noisy.labels - labels)[noisy.labels != labels] % 1000)) == 999


def test_higher_rates_of_a_seed_keep_the_wrong_labels_of_lower_ones():
    labels = np.arange(500) % 5
    low, high = (draw("symmetric", labels, 5, rate).labels for rate in (0.2, 0.6))
    flipped = low != labels
    np.testing.assert_array_equal(low[flipped], high[flipped])


@pytest.mark.parametrize("name", RATED)
def test_what_train_and_val_share_comes_from_the_shared_stream_alone(name):
    """Two splits of a seed have one T; equal splits differ nevertheless."""
    labels = np.arange(300) % 3
    inputs = {
        field: getattr(request_for(labels, 3, 0.5), field) for field in ("features", "probabilities", "confusion")
    }
    first, second = (
        noise_models.parse(name)(
            NoiseRequest(labels, 3, 0.5, np.random.default_rng(split), np.random.default_rng(9), **inputs)
        )
        for split in (0, 1)
    )
    if first.transition_matrix is not None:
        np.testing.assert_array_equal(first.transition_matrix, second.transition_matrix)
    assert (first.labels != second.labels).any()


@pytest.mark.parametrize("name", RATED)
def test_rate_1_works(name):
    noisy = draw(name, np.arange(50) % 5, 5, 1.0)
    if name in ("symmetric", "pairflip", "instance", "boundary", "annotators"):
        assert wrong(np.arange(50) % 5, noisy) == 50


# --- pairflip and asymmetric -----------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(labelling=labellings(), rate=st.floats(0, 1), seed=st.integers(0, 1000))
def test_pairflip_makes_exactly_the_asked_number_the_next_class(labelling, rate, seed):
    labels, c = labelling
    noisy = draw("pairflip", labels, c, rate, seed)
    assert wrong(labels, noisy) == (int(np.floor(rate * len(labels) + 0.5 + 1e-9)) if c > 1 else 0)
    assert set((noisy.labels - labels) % c) <= {0, 1 % c}


def test_pairflip_above_one_half_makes_the_next_class_the_likeliest():
    T = draw("pairflip", np.arange(20) % 5, 5, 0.6).transition_matrix
    assert T.argmax(axis=1).tolist() == [1, 2, 3, 4, 0]


@pytest.mark.parametrize(
    ("text", "rate"), [("pairflip:count=bernoulli", 0.45), ("asymmetric:count=bernoulli,pairs=0/1+1/0+3/2", 0.3)]
)
def test_pairs_are_drawn_as_the_nominal_matrix_says(text, rate):
    assert_follows(text, rate, np.repeat(np.arange(4), (4000, 2000, 1000, 500)), 4)


@settings(max_examples=200, deadline=None)
@given(labelling=labellings(), rate=st.floats(0, 1), seed=st.integers(0, 1000), top=st.integers(1, 9))
def test_asymmetric_rounds_in_each_mistaken_class(labelling, rate, seed, top):
    labels, c = labelling
    noisy = draw(f"asymmetric:top={top}", labels, c, rate, seed)
    confusion = request_for(labels, c, rate, seed).confusion
    ranked = sorted(((confusion[i, j], i, j) for i in range(c) for j in range(c) if i != j), reverse=True)
    best = {}
    for _, i, j in ranked:  # an independent way to the same pairs: from the most confused one down
        if i not in best and len(best) < top:
            best[i] = j
    for label in range(c):
        observed = noisy.labels[labels == label]
        flips = int(np.floor(rate * len(observed) + 0.5 + 1e-9)) if label in best else 0
        assert (observed != label).sum() == flips
        assert set(observed) <= {label, best.get(label, label)}


def test_named_pairs_are_directed_and_need_no_clean_model():
    names = ("daisy", "roses", "tulips")
    labels = np.arange(30) % 3
    noisy = draw("asymmetric:pairs=roses/tulips", labels, 3, 0.5, class_names=names, confusion=None)
    np.testing.assert_array_equal(noisy.transition_matrix, [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]])
    assert needs_of(noise_models.parse("asymmetric:pairs=roses/tulips")) == ()
    assert needs_of(noise_models.parse("asymmetric")) == ("confusion",)


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        ("rose/tulips", r"'rose' in pairs is not a class \(did you mean roses\?\); there are: daisy, roses, tulips"),
        ("roses", "'roses' in pairs is not of the form true/observed"),
        ("roses/tulips/daisy", "not of the form"),
        ("roses/tulips+", "'' in pairs is not of the form"),
        ("roses/roses", "roses in pairs is mistaken for itself"),
        ("roses/tulips+roses/daisy", "roses in pairs is mistaken for two classes"),
    ],
)
def test_bad_pairs_are_named(pairs, problem):
    with pytest.raises(BadRequestError, match=problem):
        draw(f"asymmetric:pairs={pairs}", [0, 1, 2], 3, 0.5, class_names=("daisy", "roses", "tulips"))


# --- matrix ----------------------------------------------------------------------------------------------------------

SKEWED = np.array([[0.9, 0.1, 0, 0], [0.05, 0.7, 0.25, 0], [0, 0, 1, 0], [0.3, 0.3, 0.3, 0.1]])


def test_a_matrix_is_drawn_row_by_row_not_column_by_column():
    assert_follows(
        f"matrix:{matrix_file(SKEWED)},count=bernoulli", 0, np.repeat(np.arange(4), (4000, 2000, 1000, 500)), 4
    )


@settings(max_examples=200, deadline=None)
@given(labelling=labellings(), seed=st.integers(0, 1000))
def test_a_matrix_makes_its_share_wrong_rounded_once_and_each_class_to_one_label(labelling, seed):
    labels, c = labelling
    T = np.random.default_rng(seed).dirichlet(np.full(c, 0.3), c)
    noisy = draw(f"matrix:{matrix_file(T)}", labels, c, 0, seed)
    quotas = np.bincount(labels, minlength=c) * (1 - np.diag(T))
    flips = np.bincount(labels[noisy.labels != labels], minlength=c)
    assert flips.sum() == np.floor(quotas.sum() + 0.5 + 1e-9)
    assert (np.abs(flips - quotas) < 1 + 1e-6).all()
    assert (T[labels, noisy.labels] > 0).all()


def test_exact_draws_of_a_matrix_have_its_shares_on_average():
    labels = np.repeat(np.arange(4), (9, 7, 5, 3))
    draws = 3000
    counts = np.zeros((4, 4))
    for seed in range(draws):
        np.add.at(counts, (labels, draw(f"matrix:{matrix_file(SKEWED)}", labels, 4, 0, seed).labels), 1)
    shares = counts / counts.sum(axis=1, keepdims=True)
    # quotas sum to 5.7, which is rounded to 6: every class gets up to 6 / 5.7 of its share
    quotas = np.bincount(labels) * (1 - np.diag(SKEWED))
    expected = SKEWED * 6 / quotas.sum()
    error = 4.5 * np.sqrt(0.25 / (draws * np.bincount(labels)))[:, None] + 0.02
    assert (
        np.abs(shares - expected)[~np.eye(4, dtype=bool)] < np.broadcast_to(error, (4, 4))[~np.eye(4, dtype=bool)]
    ).all()


def test_120_classes_at_a_fifth_are_not_rounded_away():
    c = 120
    T = 0.8 * np.eye(c) + 0.2 / (c - 1) * (1 - np.eye(c))
    labels = np.arange(20_000) % c
    assert wrong(labels, draw(f"matrix:{matrix_file(T)}", labels, c, 0)) == 4_000


def test_a_thousand_classes_from_a_matrix():
    c = 1000
    T = 0.5 * np.eye(c) + 0.5 * np.roll(np.eye(c), 1, axis=1)
    labels = np.random.default_rng(0).integers(0, c, 100_000)
    noisy = draw(f"matrix:{matrix_file(T)}", labels, c, 0)
    assert wrong(labels, noisy) == 50_000
    assert set((noisy.labels - labels) % c) == {0, 1}


def test_json_files_spaces_blank_lines_and_byte_order_marks(tmp_path):
    (tmp_path / "T.json").write_text(json.dumps([[0.5, 0.5], [0.25, 0.75]]))
    (tmp_path / "T.csv").write_text("\ufeff0.5, 0.5\r\n\r\n0.25 ,0.75\r\n", encoding="utf-8")
    for name in ("T.json", "T.csv"):
        T = draw(f"matrix:{tmp_path / name}", [0, 1], 2, 0).transition_matrix
        np.testing.assert_array_equal(T, [[0.5, 0.5], [0.25, 0.75]])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0.5,0.5\n0.5,0.4\n", "row 2 sums to 0.9, not 1$"),
        ("0.9,0.2\n0.1,0.8\n", "row 1 sums to 1.1, not 1; its columns do, so it may be transposed"),
        ("1.5,-0.5\n0,1\n", "row 1, column 1 is 1.5, not between 0 and 1"),
        ("nan,1\n0,1\n", "row 1, column 1 is nan"),
        ("1\n", "is 1 × 1, but 2 classes need 2 × 2"),
        ("0.5,0.5,0\n0,1,0\n0,0,1\n", "is 3 × 3, but 2 classes need 2 × 2"),
        ("0.5,0.5\n1\n", "does not hold numbers in rows of equal length"),
        ("a,b\n0,1\n", "is 1 × 2, but 2 classes need 2 × 2"),
        ("a,1\n0,x\n", "does not hold numbers in rows of equal length"),
        ("", "but 2 classes need 2 × 2"),
    ],
)
def test_bad_matrices_are_named(tmp_path, text, problem):
    (tmp_path / "T.csv").write_text(text)
    with pytest.raises(BadRequestError, match=problem) as raised:
        draw(f"matrix:{tmp_path / 'T.csv'}", [0, 1], 2, 0)
    assert "T.csv" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["{}", "3", '[["a"]]', "[[[1]]]", "[[1, 0]", "[" * 100_000])
def test_bad_json_is_named(tmp_path, text):
    (tmp_path / "T.json").write_text(text)
    with pytest.raises(BadRequestError, match=r"T\.json"):
        draw(f"matrix:{tmp_path / 'T.json'}", [0, 1], 2, 0)


def test_a_missing_or_other_file_is_named(tmp_path):
    with pytest.raises(BadRequestError, match=r"cannot read .*nowhere\.csv: No such file"):
        draw(f"matrix:{tmp_path / 'nowhere.csv'}", [0, 1], 2, 0)
    with pytest.raises(BadRequestError, match="does not start with 0000"):
        draw(f"matrix:{matrix_file(np.eye(2))},sha256=0000", [0, 1], 2, 0)
    with pytest.raises(BadRequestError, match="matrix needs file"):
        noise_models.parse("matrix")


# --- instance --------------------------------------------------------------------------------------------------------


def instance_scores(labels, c, features, temperature, shared_seed):
    """softmax(x · W[y] / temperature) without the true class, as in the paper, example by example."""
    streams = np.random.default_rng(shared_seed).spawn(c)
    W = np.stack([stream.normal(size=(features.shape[1], c)) for stream in streams])  # [c, d, c]
    rows = []
    for x, y in zip(features, labels, strict=True):
        a = (x / np.linalg.norm(x)) @ W[y] / temperature
        a[y] = -np.inf
        rows.append(softmax(a))
    return np.array(rows)


@pytest.mark.parametrize("temperature", [0.3, 1.0])
@pytest.mark.parametrize("count", ["exact", "bernoulli"])
def test_instance_takes_the_papers_mistakes(temperature, count):
    c, draws, rate = 4, 4000, 0.4
    labels = np.array([0, 1, 2, 3, 1, 1])
    features = np.random.default_rng(5).normal(size=(6, 8)) * 7
    counts = np.zeros((6, c))
    for seed in range(draws):
        request = NoiseRequest(
            labels, c, rate, np.random.default_rng(seed), np.random.default_rng(3), features=features
        )
        observed = noise_models.parse(f"instance:count={count},temperature={temperature}")(request).labels
        np.add.at(counts, (np.arange(6), observed), 1)
    expected = instance_scores(labels, c, features, temperature, 3)
    flips = counts.copy()
    flips[np.arange(6), labels] = 0
    for found, shares in zip(flips, expected, strict=True):
        wanted = shares * found.sum()
        statistic = ((found - wanted) ** 2 / np.maximum(wanted, 1)).sum()  # rare mistakes count less than they might
        assert chi2.sf(statistic, c - 2) > 1e-4
    share = 2 / 6 if count == "exact" else truncnorm.mean(-rate / 0.1, (1 - rate) / 0.1, rate, 0.1)
    assert abs(flips.sum() / (6 * draws) - share) < 4.5 * np.sqrt(0.25 / (6 * draws))


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5, 0.93])
def test_flip_rates_are_a_standardised_truncated_normal(rate):
    q = labelling.truncated_normal(rate, 0.1, 20_000, np.random.default_rng(0))
    reference = truncnorm((0 - rate) / 0.1, (1 - rate) / 0.1, loc=rate, scale=0.1)
    assert abs(q.mean() - reference.mean()) < 4.5 * reference.std() / np.sqrt(len(q))
    np.testing.assert_allclose(np.quantile(q, [0.1, 0.5, 0.9]), reference.ppf([0.1, 0.5, 0.9]), atol=0.005)
    if rate == 0.1:
        assert abs(reference.mean() - 0.129) < 5e-4


def test_a_low_temperature_gives_every_photo_one_mistake_and_scale_does_not_matter():
    labels, features = np.zeros(50, int), np.random.default_rng(0).normal(size=(50, 8))
    cold = [
        draw("instance:temperature=0.0001", labels, 5, 1.0, 0, features=features * scale).labels for scale in (1, 99)
    ]
    np.testing.assert_array_equal(*cold)
    expected = instance_scores(labels, 5, features, 1e-4, [0, 1]).argmax(axis=1)
    np.testing.assert_array_equal(cold[0], expected)


def test_photos_without_any_feature_are_corrupted_like_any_other():
    assert wrong(np.zeros(10), draw("instance", np.zeros(10), 3, 0.5, features=np.zeros((10, 4)))) == 5


# --- boundary, and drawing in proportion -----------------------------------------------------------------------------


def successive(weights, k):
    """Probability of each set of k, drawn one after another in proportion to their weights."""
    chances = {}
    for order in itertools.permutations(range(len(weights)), k):
        chance, rest = 1.0, sum(weights)
        for item in order:
            chance, rest = chance * weights[item] / rest, rest - weights[item]
        chances[frozenset(order)] = chances.get(frozenset(order), 0.0) + chance
    return chances


@pytest.mark.parametrize("k", [1, 2, 3])
def test_exactly_k_are_drawn_in_proportion(k):
    weights, draws = np.array([0.1, 0.4, 1.0, 2.5]), 5000
    counts = {}
    for seed in range(draws):
        request = NoiseRequest(np.zeros(4, int), 2, k / 4, np.random.default_rng(seed))
        drawn = frozenset(np.flatnonzero(labelling.choose_by_weight(weights, request)).tolist())
        counts[drawn] = counts.get(drawn, 0) + 1
    chances = successive(weights, k)
    assert chisquare([counts.get(each, 0) for each in chances], [draws * p for p in chances.values()]).pvalue > 1e-4


def test_what_has_no_weight_comes_last_and_in_no_order():
    weights = np.array([0.0, 0.0, 1.0, 0.0, 2.0])
    drawn = [
        labelling.choose_by_weight(weights, NoiseRequest(np.zeros(5, int), 2, 0.6, np.random.default_rng(seed)))
        for seed in range(300)
    ]
    assert np.all(drawn, axis=0).tolist() == [False, False, True, False, True]
    assert (np.abs(np.mean(drawn, axis=0)[[0, 1, 3]] - 1 / 3) < 0.13).all()


@settings(max_examples=300, deadline=None)
@given(
    weights=st.lists(st.floats(0, 1e3).filter(lambda w: w == 0 or w > 1e-3), min_size=1, max_size=30),
    mean=st.floats(0, 1),
)
def test_probabilities_in_proportion_have_the_mean_asked_for(weights, mean):
    weights = np.array(weights)
    probabilities = labelling.with_mean(weights, mean)
    np.testing.assert_allclose(probabilities.mean(), mean, atol=1e-9)
    assert ((probabilities >= 0) & (probabilities <= 1 + 1e-12)).all()
    n = len(weights)
    if 0 < mean * n < np.count_nonzero(weights) - 1e-6:
        s = brentq(lambda s: np.minimum(1, s * weights).sum() - mean * n, 0, 1e9, xtol=1e-13)
        np.testing.assert_allclose(probabilities, np.minimum(1, s * weights), atol=1e-6)


@settings(max_examples=300, deadline=None)
@given(quotas=st.lists(st.floats(0, 20), min_size=1, max_size=12), seed=st.integers(0, 10_000))
def test_quotas_are_shared_out_to_whole_numbers(quotas, seed):
    quotas = np.array(quotas)
    shares = labelling.shared_out(quotas, np.random.default_rng(seed))
    assert shares.sum() == labelling.round_half_up(quotas.sum())
    assert (np.abs(shares - quotas) < 1 + 1e-6).all()


def test_boundary_takes_the_next_best_class_where_the_model_is_unsure():
    p = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.1, 0.1, 0.8]])
    labels = np.array([0, 0, 0, 2])
    everything = draw("boundary", labels, 3, 1.0, probabilities=p).labels
    assert everything[:2].tolist() == [1, 1]
    assert everything[3] in (0, 1)
    certain = [draw("boundary", labels, 3, 0.75, seed, probabilities=p).labels[2] for seed in SEEDS]
    assert certain == [0] * len(SEEDS)


def test_boundary_tosses_coins_in_proportion_to_entropy():
    p = np.array([[0.6, 0.3, 0.1], [0.9, 0.05, 0.05], [0.4, 0.4, 0.2], [0.99, 0.01, 0.0]])
    draws = 4000
    flips = np.mean(
        [draw("boundary:count=bernoulli", np.zeros(4), 3, 0.3, s, probabilities=p).labels != 0 for s in range(draws)], 0
    )
    doubt = entropy(p, axis=1)
    np.testing.assert_allclose(flips, 1.2 * doubt / doubt.sum(), atol=4.5 * np.sqrt(0.25 / draws))


# --- annotators and observed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["one", "majority", "dissenting"])
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_the_label_taken_of_several_workers_follows_its_matrix(label, workers):
    text = f"annotators:label={label},workers={workers}"
    assert_follows(text, 0.35, np.repeat(np.arange(3), (1500, 1000, 500)), 3)


def answers_to(T_of_workers, true, label):
    """P(label taken | true) by going through all answers, with fractions of ties."""
    c = len(T_of_workers[0])
    row = np.zeros(c)
    for answers in itertools.product(range(c), repeat=len(T_of_workers)):
        chance = np.prod([T[true, answer] for T, answer in zip(T_of_workers, answers, strict=True)])
        if label == "majority":
            most = max(answers.count(answer) for answer in answers)
            taken = sorted({answer for answer in answers if answers.count(answer) == most})
        else:
            taken = [answer for answer in answers if answer != true] or [true]
        for answer in taken:
            row[answer] += chance / len(taken)
    return row


@pytest.mark.parametrize("label", ["majority", "dissenting"])
def test_the_matrix_of_a_vote_goes_through_all_answers(label):
    request = request_for(np.arange(6) % 3, 3, 0.4)
    workers = labelling.draw_workers(request, 3, 0.5)
    expected = [answers_to(workers, true, label) for true in range(3)]
    np.testing.assert_allclose(labelling.vote_matrix(workers, label), expected)


@settings(max_examples=200, deadline=None)
@given(
    c=st.integers(1, 8),
    rate=st.floats(0, 1),
    workers=st.integers(1, 12),
    spread=st.floats(0, 3),
    seed=st.integers(0, 1000),
)
def test_workers_differ_and_are_wrong_at_the_rate_on_average(c, rate, workers, spread, seed):
    matrices = labelling.draw_workers(request_for([0], c, rate, seed), workers, spread)
    np.testing.assert_allclose(matrices.sum(axis=2), 1)
    assert (matrices >= 0).all()
    stay = matrices[:, np.arange(c), np.arange(c)]
    np.testing.assert_allclose(1 - stay.mean(), rate if c > 1 else 0, atol=1e-9)
    if spread == 0:
        np.testing.assert_allclose(stay, stay[0, 0])


def test_a_majority_is_right_more_often_and_a_dissenting_label_less_often():
    labels = np.arange(3000) % 5
    shares = {
        label: wrong(labels, draw(f"annotators:label={label}", labels, 5, 0.3)) / 3000
        for label in ("majority", "one", "dissenting")
    }
    assert shares["majority"] < shares["one"] - 0.05 < shares["dissenting"] - 0.25


def test_a_vote_of_too_many_ways_has_no_matrix():
    assert draw("annotators:label=majority,workers=9", np.arange(8) % 4, 4, 0.3).transition_matrix is None
    assert draw("annotators:workers=9", np.arange(8) % 4, 4, 0.3).transition_matrix is not None


def test_observed_labels_are_taken_as_they_are():
    given = np.array([0, 2, 1])
    noisy = draw("observed:labels.csv", [0, 1, 1], 3, 0, observed=given)
    np.testing.assert_array_equal(noisy.labels, given)
    assert noisy.transition_matrix is None
    assert expected_rate(np.array([0, 1, 1]), noisy) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("name", "need"), [("instance", "features"), ("boundary", "probabilities"), ("asymmetric", "confusion")]
)
def test_a_missing_input_is_named(name, need):
    with pytest.raises(BadRequestError, match=f"noise model {name} needs {need}"):
        draw(name, [0, 1], 2, 0.5, **{need: None})


# --- realised matrices, specs ----------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(labelling=labellings(), seed=st.integers(0, 1000))
def test_the_realised_matrix_is_counted_row_by_row(labelling, seed):
    labels, c = labelling
    observed = np.random.default_rng(seed).integers(0, c, len(labels))
    realised = transition_matrix.realised(labels, observed, c)
    for i in range(c):
        for j in range(c):
            of_class = observed[labels == i]
            expected = np.mean(of_class == j) if len(of_class) else np.nan
            np.testing.assert_allclose(realised[i, j], expected)


def test_an_unknown_model_lists_what_there_is_and_suggests_the_nearest():
    with pytest.raises(BadRequestError, match=r"unknown noise model 'symetric' \(did you mean symmetric\?\).*uniform"):
        noise_models.parse("symetric")


@pytest.mark.parametrize(
    "text", ["symmetric:cuont=exact", "symmetric:count=exactly", "uniform:count", "uniform:a=1,a=2"]
)
def test_bad_parameters_are_refused_in_one_line(text):
    with pytest.raises(BadRequestError) as raised:
        noise_models.parse(text)
    assert "\n" not in str(raised.value)
