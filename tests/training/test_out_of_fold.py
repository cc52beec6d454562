"""Out-of-fold answers: every photo is answered by a head that was not trained on it."""

import numpy as np
import pytest

from flowernoise.catalogue.losses import ce
from flowernoise.training import heads, out_of_fold
from flowernoise.training.tasks import EpochOutputs, LossGroup

LOSS = LossGroup(ce, heads=1)


@pytest.fixture
def tasks(monkeypatch):
    """The tasks given to the trainer, which answers every photo with the number of its task."""
    given = []

    def train_heads(task):
        given.append(task)
        answers = np.full((1, len(task.other_features), task.num_classes), float(len(given)))
        yield EpochOutputs(1, answers, np.zeros((1, 1)), np.zeros(1))

    monkeypatch.setattr(heads, "train_heads", train_heads)
    return given


@pytest.mark.parametrize("n", [5, 6, 9, 23, 100])
def test_no_head_answers_a_photo_that_it_was_trained_on(tasks, n):
    features = np.arange(n, dtype=np.float32)[:, None]  # a photo's only feature is its number
    labels = np.arange(n) % 3
    answers = out_of_fold.probabilities(features, labels, 3, LOSS, np.random.default_rng(0))
    assert len(tasks) == 5
    assert len({task.train_features.shape for task in tasks}) == 1  # one compilation
    for number, task in enumerate(tasks, start=1):
        answered = np.flatnonzero(answers[:, 0] == number)
        assert not np.intersect1d(task.train_features[:, 0], answered).size
        assert n // 5 <= len(answered) <= n // 5 + 1
        np.testing.assert_array_equal(task.labels[0], labels[task.train_features[:, 0].astype(int)])
        if n == 100:
            assert np.ptp(np.bincount(labels[answered])) <= 1  # every fold has its share of each class


def test_fewer_photos_than_folds_say_nothing(tasks):
    answers = out_of_fold.probabilities(np.ones((4, 2)), np.arange(4) % 2, 2, LOSS, np.random.default_rng(0))
    assert (answers == 0.5).all()
    assert not tasks


def test_separable_photos_are_answered_rightly_and_the_same_again():
    chance = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = (5 * np.eye(3)[labels] + chance.normal(size=(60, 3))).astype(np.float32)
    first, second = (out_of_fold.probabilities(features, labels, 3, LOSS, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-5)
    assert (first.argmax(axis=1) == labels).mean() > 0.95


def test_confusion_has_no_answer_for_absent_classes():
    confusion = out_of_fold.confusion(np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]), np.array([0, 0]))
    np.testing.assert_array_equal(confusion[0], [0.375, 0.25, 0.375])
    assert np.isnan(confusion[1:]).all()
