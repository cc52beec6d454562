"""Metrics against scikit-learn, loops and hand-computed values, and what every registered one promises."""

import dataclasses
import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.catalogue.metrics import RunPredictions, metrics, recalls
from flowernoise.errors import BadRequestError

CLASSES = ("daisy", "roses", "tulips")
BY_CONFUSION = ("macro_f1", "mcc")
OPTIONAL = ("memorised", "recovered", "probabilities")


@st.composite
def answers(draw, classes=3) -> RunPredictions:
    """Answers of a few runs, some with equal probabilities; classes may be missing among the test photos."""
    runs, photos = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    labels = rng.choice(rng.choice(classes, size=2), size=photos)
    probabilities = rng.integers(1, draw(st.sampled_from([3, 1000])), (runs, photos, classes)).astype(np.float32)
    probabilities /= probabilities.sum(axis=2, keepdims=True)
    wrong = np.where(rng.random((2, runs)) < 0.3, np.nan, rng.random((2, runs)))
    return RunPredictions(probabilities.argmax(axis=2), labels, CLASSES[:classes], *wrong, probabilities)


def share_right(given: RunPredictions, run: int, label: int | None = None) -> float:
    photos = [k for k, true in enumerate(given.labels) if label is None or true == label]
    return sum(given.predicted[run, k] == given.labels[k] for k in photos) / len(photos) if photos else math.nan


def by_loops(name: str, given: RunPredictions, run: int) -> float:
    if name == "accuracy":
        return share_right(given, run)
    if name == "balanced_accuracy":
        shares = [share_right(given, run, label) for label in range(3)]
        there = [share for share in shares if not math.isnan(share)]
        return sum(there) / len(there)
    return share_right(given, run, CLASSES.index(name.removeprefix("recall:")))


def ece_by_loops(given: RunPredictions, run: int, bins: int) -> float:
    total = 0.0
    for k in range(bins):
        low, high = k / bins, (k + 1) / bins
        confidence = given.probabilities[run].max(axis=1).astype(float)
        inside = [i for i, p in enumerate(confidence) if low < p <= high]
        total += abs(sum(float(given.predicted[run, i] == given.labels[i]) - confidence[i] for i in inside))
    return total / len(given.labels)


def spec_of(entry):
    return metrics.parse(f"{entry.name}:{CLASSES[0]}" if entry.unkeyed else entry.name)


# Values


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", *(f"recall:{label}" for label in CLASSES)])
@given(given=answers())
def test_values_are_those_of_loops(name, given):
    values = metrics.parse(name)(given).values
    assert values.tolist() == pytest.approx([by_loops(name, given, k) for k in range(len(values))], nan_ok=True)


@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@pytest.mark.parametrize("classes", [2, 3])
@given(data=st.data())
def test_values_from_predictions_are_scikit_learns(classes, data):
    given = data.draw(answers(classes))
    for run, predicted in enumerate(given.predicted):
        expected = {
            "accuracy": sklearn.metrics.accuracy_score(given.labels, predicted),
            "macro_f1": sklearn.metrics.f1_score(given.labels, predicted, average="macro", zero_division=0),
            "mcc": sklearn.metrics.matthews_corrcoef(given.labels, predicted),
        }
        found = {name: metrics.parse(name)(given).values[run] for name in expected}
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
@given(data=st.data())
def test_values_from_probabilities_are_scikit_learns(classes, data):
    given = data.draw(answers(classes))
    for run, probabilities in enumerate(given.probabilities):
        expected = {
            "nll": sklearn.metrics.log_loss(given.labels, probabilities, labels=range(classes)),
            "brier": sklearn.metrics.brier_score_loss(given.labels, probabilities, labels=range(classes)),
        }
        found = {name: metrics.parse(name)(given).values[run] for name in expected}
        assert found == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("classes", [2, 3])
@given(data=st.data())
def test_auroc_is_scikit_learns_mean_over_the_classes_there_are(classes, data):
    given = data.draw(answers(classes))
    values = metrics.parse("auroc")(given).values
    there = np.unique(given.labels)
    if len(there) == 1:
        assert np.isnan(values).all()
        return
    for run, probabilities in enumerate(given.probabilities):
        areas = [sklearn.metrics.roc_auc_score(given.labels == k, probabilities[:, k]) for k in there]
        assert values[run] == pytest.approx(np.mean(areas))


def test_auroc_of_all_classes_is_scikit_learns_one_versus_rest():
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(3), (2, 50)), rng.integers(0, 3, 50)
    values = metrics.parse("auroc")(
        RunPredictions(probabilities.argmax(axis=2), labels, CLASSES, None, None, probabilities)
    ).values
    expected = [sklearn.metrics.roc_auc_score(labels, each, multi_class="ovr") for each in probabilities]
    assert values.tolist() == pytest.approx(expected)


def test_auroc_of_many_runs_is_that_of_each(monkeypatch):
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(2), (7, 20)), rng.integers(0, 2, 20)
    given = RunPredictions(probabilities.argmax(axis=2), labels, CLASSES[:2], None, None, probabilities)
    together = metrics.parse("auroc")(given).photos
    monkeypatch.setattr("flowernoise.catalogue.metrics._AT_ONCE", 45)  # two runs at once
    np.testing.assert_array_equal(metrics.parse("auroc")(given).photos, together)


@pytest.mark.parametrize("bins", [1, 4, 15])
@given(given=answers())
def test_ece_is_that_of_loops(bins, given):
    values = metrics.parse(f"ece:bins={bins}")(given).values
    assert values.tolist() == pytest.approx([ece_by_loops(given, run, bins) for run in range(len(values))])


def test_ece_by_hand():
    """Two photos at 0.75, one right; one at 0.95, right: (2 · |0.5 − 0.75| + |1 − 0.95|) / 3."""
    probabilities = np.array([[[0.75, 0.25], [0.25, 0.75], [0.95, 0.05]]])
    given = RunPredictions(np.array([[0, 1, 0]]), np.array([0, 0, 0]), ("a", "b"), probabilities=probabilities)
    assert metrics.parse("ece")(given).values.tolist() == pytest.approx([0.55 / 3])


def test_probabilities_of_zero_and_one_give_finite_values_within_range():
    probabilities = np.array([[[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]], dtype=np.float32)
    given = RunPredictions(np.array([[1, 0, 0]]), np.array([0, 0, 1]), ("a", "b"), probabilities=probabilities)
    worst = -math.log(np.finfo(np.float32).eps)
    assert metrics.parse("nll")(given).values.tolist() == pytest.approx([2 * worst / 3])
    assert metrics.parse("brier")(given).values.tolist() == pytest.approx([2 / 3])
    assert metrics.parse("ece")(given).values.tolist() == pytest.approx([2 / 3])


def test_answering_one_class_always_scores_the_majority_but_is_no_better_than_chance_otherwise():
    probabilities = np.tile([0.8, 0.2], (1, 10, 1))
    given = RunPredictions(np.zeros((1, 10), int), np.array([0] * 8 + [1] * 2), ("a", "b"), probabilities=probabilities)
    found = {name: metrics.parse(name)(given).values[0] for name in ("accuracy", "balanced_accuracy", "mcc", "auroc")}
    assert found == pytest.approx({"accuracy": 0.8, "balanced_accuracy": 0.5, "mcc": 0, "auroc": 0.5})


@given(given=answers())
def test_memorised_and_recovered_are_the_shares_that_were_counted(given):
    np.testing.assert_array_equal(metrics.parse("memorised")(given).values, given.memorised)
    np.testing.assert_array_equal(metrics.parse("recovered")(given).values, given.recovered)


@given(given=answers())
def test_recalls_are_one_column_a_class(given):
    found = recalls(given.predicted, given.labels, 3)
    expected = [[share_right(given, run, label) for label in range(3)] for run in range(len(found))]
    np.testing.assert_allclose(found, expected)


# Parts of photos


@pytest.mark.parametrize("name", [*BY_CONFUSION, "auroc"])
@pytest.mark.parametrize("classes", [2, 3])
def test_parts_are_what_one_more_such_photo_changes(name, classes):
    """The influence by definition: one photo more among very many, times their number."""
    rng = np.random.default_rng(classes)
    labels, often = np.arange(9) % classes, 2000
    probabilities = rng.dirichlet(np.ones(classes), (1, 9))
    spec = metrics.parse(name)

    def value(photos):
        p = probabilities[:, photos]
        return spec(RunPredictions(p.argmax(axis=2), labels[photos], CLASSES[:classes], probabilities=p)).values[0]

    [parts] = spec(
        RunPredictions(probabilities.argmax(axis=2), labels, CLASSES[:classes], probabilities=probabilities)
    ).photos
    many = np.repeat(np.arange(9), often)
    changes = [(value(np.append(many, photo)) - value(many)) * len(many) for photo in range(9)]
    np.testing.assert_allclose(parts - value(many), changes, atol=0.01)


def test_the_spread_of_aurocs_parts_is_delongs_standard_error():
    rng = np.random.default_rng(0)
    labels, scores = np.arange(60) % 3 == 0, rng.normal(size=60) + (np.arange(60) % 3 == 0)
    probabilities = np.stack([1 - scores, scores], axis=1)[None]
    given = RunPredictions(np.zeros((1, 60), int), labels.astype(int), ("a", "b"), probabilities=probabilities)
    [parts] = metrics.parse("auroc")(given).photos
    of_positives = [np.mean(scores[~labels] < score) for score in scores[labels]]
    of_negatives = [np.mean(scores[labels] > score) for score in scores[~labels]]
    delong = np.var(of_positives) / labels.sum() + np.var(of_negatives) / (~labels).sum()
    assert parts.var() / 60 == pytest.approx(delong)


# What every metric promises


@pytest.mark.parametrize("entry", list(metrics), ids=lambda entry: entry.name)
@given(given=answers())
def test_every_metric_gives_a_value_a_run_within_its_range_that_its_photos_explain(entry, given):
    measured = spec_of(entry)(given)
    assert measured.values.shape == (len(given.predicted),)
    low, high = entry.properties["facts"].range
    finite = measured.values[np.isfinite(measured.values)]
    assert ((finite >= low - 1e-6) & (finite <= high + 1e-6)).all()
    assert (measured.photos is None) == (measured.groups is None)
    if measured.photos is not None:
        kept = [group for group in np.unique(measured.groups) if group >= 0]
        means = [measured.photos[:, measured.groups == group].mean(axis=1) for group in kept]
        np.testing.assert_allclose(measured.values, np.mean(means, axis=0), atol=1e-5)


@pytest.mark.parametrize("entry", list(metrics), ids=lambda entry: entry.name)
def test_every_metric_is_described_and_says_what_a_table_asks(entry):
    assert entry.summary.endswith(".")
    assert entry.properties["facts"].better in ("higher", "lower")
    assert entry.properties["facts"].unit in ("share", "plain")
    low, high = entry.properties["facts"].range
    assert low < high
    assert entry.properties["facts"].unit == "plain" or (low, high) == (0, 1)


@pytest.mark.parametrize("entry", list(metrics), ids=lambda entry: entry.name)
def test_every_metric_needs_what_it_says_and_no_more(entry):
    rng = np.random.default_rng(0)
    full = RunPredictions(
        rng.integers(0, 3, (2, 9)), np.arange(9) % 3, CLASSES, *rng.random((2, 2)), rng.dirichlet(np.ones(3), (2, 9))
    )
    needs = entry.properties["facts"].needs
    spare = dataclasses.replace(full, **{name: None for name in OPTIONAL if name not in needs})
    np.testing.assert_array_equal(spec_of(entry)(spare).values, spec_of(entry)(full).values)
    for name in needs:
        with pytest.raises(BadRequestError, match=f"needs the runs' {name}"):
            spec_of(entry)(dataclasses.replace(full, **{name: None}))


@pytest.mark.parametrize("entry", list(metrics), ids=lambda entry: entry.name)
def test_the_better_of_two_runs_has_the_better_value(entry):
    """One run knows the classes and the wrong labels for wrong; the other guesses confidently and gives all back."""
    labels = np.arange(30) % 3
    knowing, guessing = np.full((30, 3), 0.05), np.full((30, 3), 0.05)
    knowing[np.arange(30), labels] = 0.9
    guessing[np.arange(30), (labels + np.arange(30) // 10) % 3] = 0.9
    probabilities = np.stack([knowing, guessing])
    given = RunPredictions(
        probabilities.argmax(axis=2), labels, CLASSES, np.array([0.1, 0.9]), np.array([0.9, 0.1]), probabilities
    )
    first, second = spec_of(entry)(given).values
    assert first > second if entry.properties["facts"].better == "higher" else first < second


@pytest.mark.parametrize(
    "entry", [each for each in metrics if each.properties["facts"].chance], ids=lambda entry: entry.name
)
@pytest.mark.parametrize("photos", [(5, 5, 5), (1, 7, 2), (4, 0, 9)])
def test_the_chance_score_is_what_one_answer_for_all_photos_gets(entry, photos):
    labels = np.repeat(np.arange(3), photos)
    probabilities = np.full((1, len(labels), 3), 0.1)
    probabilities[:, :, np.argmax(photos)] = 0.8
    given = RunPredictions(probabilities.argmax(axis=2), labels, CLASSES, probabilities=probabilities)
    assert spec_of(entry)(given).values == pytest.approx(entry.properties["facts"].chance.of(photos))


def test_what_goes_beneath_a_metric_is_a_metric():
    beneath = {entry.name: entry.properties["facts"].beneath for entry in metrics}
    assert {name for name in beneath.values() if name} <= set(metrics.names())


def test_recall_of_no_class_lists_the_classes_and_suggests_the_nearest():
    given = RunPredictions(np.zeros((1, 1), int), np.zeros(1, int), CLASSES)
    with pytest.raises(BadRequestError, match=r"'rose' is not a class \(did you mean roses\?\); there are: daisy"):
        metrics.parse("recall:rose")(given)


def test_recall_of_a_class_with_a_comma_can_be_asked_for():
    given = RunPredictions(np.array([[0, 1, 1]]), np.array([0, 0, 1]), ("rose, wild", "a=b, c"))
    assert metrics.parse("recall:rose, wild")(given).values == [0.5]
    assert metrics.parse("recall:label=a=b, c")(given).values == [1.0]


def test_recall_needs_a_class():
    with pytest.raises(BadRequestError, match="recall needs label"):
        metrics.parse("recall")


def test_ece_needs_a_bin():
    with pytest.raises(BadRequestError, match="bins=0 must be at least 1"):
        metrics.parse("ece:bins=0")


def test_a_class_without_test_photos_has_no_recall_to_average():
    given = RunPredictions(np.zeros((2, 3), int), np.zeros(3, int), CLASSES)
    measured = metrics.parse("recall:tulips")(given)
    assert np.isnan(measured.values).all()
    assert measured.photos is None
