"""Metrics against loops, and what every registered one promises."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.catalogue.metrics import Answers, metrics, recalls
from flowernoise.errors import BadRequestError

CLASSES = ("daisy", "roses", "tulips")


@st.composite
def answers(draw) -> Answers:
    """Answers of a few runs; classes may be missing among the test photos."""
    runs, photos = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    labels = rng.choice(rng.choice(3, size=2), size=photos)
    memorised = np.where(rng.random(runs) < 0.3, np.nan, rng.random(runs))
    return Answers(rng.integers(0, 3, (runs, photos)), labels, CLASSES, memorised)


def share_right(given: Answers, run: int, label: int | None = None) -> float:
    photos = [k for k, true in enumerate(given.labels) if label is None or true == label]
    return sum(given.predicted[run, k] == given.labels[k] for k in photos) / len(photos) if photos else math.nan


def by_loops(name: str, given: Answers, run: int) -> float:
    if name == "accuracy":
        return share_right(given, run)
    if name == "balanced_accuracy":
        shares = [share_right(given, run, label) for label in range(3)]
        there = [share for share in shares if not math.isnan(share)]
        return sum(there) / len(there)
    return share_right(given, run, CLASSES.index(name.removeprefix("recall:")))


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", *(f"recall:{label}" for label in CLASSES)])
@given(given=answers())
def test_values_are_those_of_loops(name, given):
    values = metrics.parse(name)(given).values
    assert values.tolist() == pytest.approx([by_loops(name, given, k) for k in range(len(values))], nan_ok=True)


@given(given=answers())
def test_recalls_are_one_column_a_class(given):
    found = recalls(given.predicted, given.labels, 3)
    expected = [[share_right(given, run, label) for label in range(3)] for run in range(len(found))]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("entry", list(metrics), ids=lambda entry: entry.name)
@given(given=answers())
def test_every_metric_gives_one_share_a_run_that_its_photos_explain(entry, given):
    spec = metrics.parse(f"{entry.name}:{CLASSES[0]}" if entry.unkeyed else entry.name)
    measured = spec(given)
    assert measured.values.shape == (len(given.predicted),)
    finite = measured.values[np.isfinite(measured.values)]
    assert ((finite >= 0) & (finite <= 1)).all()
    assert (measured.photos is None) == (measured.groups is None)
    if measured.photos is not None:
        kept = [group for group in np.unique(measured.groups) if group >= 0]
        means = [measured.photos[:, measured.groups == group].mean(axis=1) for group in kept]
        np.testing.assert_allclose(measured.values, np.mean(means, axis=0), atol=1e-6)


@pytest.mark.parametrize("entry", list(metrics), ids=lambda entry: entry.name)
def test_every_metric_is_described_and_says_which_way_is_better(entry):
    assert entry.summary.endswith(".")
    assert entry.properties["better"] in ("higher", "lower")


def test_answering_one_class_always_scores_the_majority_but_is_no_better_than_chance_when_balanced():
    given = Answers(np.zeros((1, 10), int), np.array([0] * 8 + [1] * 2), ("a", "b"), np.zeros(1))
    assert metrics.parse("accuracy")(given).values.tolist() == [0.8]
    assert metrics.parse("balanced_accuracy")(given).values.tolist() == [0.5]


def test_recall_of_no_class_lists_the_classes_and_suggests_the_nearest():
    given = Answers(np.zeros((1, 1), int), np.zeros(1, int), CLASSES, np.zeros(1))
    with pytest.raises(BadRequestError, match=r"'rose' is no class \(did you mean roses\?\); there are: daisy, roses"):
        metrics.parse("recall:rose")(given)


def test_recall_needs_a_class():
    with pytest.raises(BadRequestError, match="recall needs label"):
        metrics.parse("recall")


def test_a_class_without_test_photos_has_no_recall_to_average():
    given = Answers(np.zeros((2, 3), int), np.zeros(3, int), CLASSES, np.zeros(2))
    measured = metrics.parse("recall:tulips")(given)
    assert np.isnan(measured.values).all()
    assert measured.photos is None
