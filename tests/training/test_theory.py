"""What theory says of classifiers trained on noisy labels, shown by heads on separable features."""

import numpy as np
import pytest

import flowernoise
from flowernoise.catalogue.losses import ce
from flowernoise.training.heads import train_heads
from flowernoise.training.tasks import HeadsTask, LossGroup

CLASSES, DIMENSION, TRAIN, TEST = 5, 20, 3000, 4000


def photos(count: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of photos in classes that overlap a little, and their true labels."""
    centres = np.random.default_rng(0).normal(size=(classes, DIMENSION)) * 1.2
    stream = np.random.default_rng([1, seed])
    labels = stream.integers(0, classes, count)
    return (centres[labels] + stream.normal(size=(count, DIMENSION))).astype(np.float32), labels


def predictions(noise: str, rate: float, classes: int = CLASSES) -> tuple[np.ndarray, np.ndarray]:
    """What a cross-entropy head answers to photos it was not trained on, and their true labels."""
    train, true = photos(TRAIN, classes, seed=0)
    test, test_labels = photos(TEST, classes, seed=1)
    observed = flowernoise.corrupt_labels(true, noise, rate=rate, seed=0, num_classes=classes).labels
    stream = np.random.default_rng(0)
    task = HeadsTask(
        train_features=train,
        other_features=test,
        labels=observed[None],
        labelling=np.array([0]),
        num_classes=classes,
        losses=[LossGroup(ce, 1)],
        learning_rates=np.array([3e-3]),
        l2=np.array([1e-3]),
        order=np.stack([stream.permutation(TRAIN) for _ in range(5)]),
        batch_size=50,
    )
    [outputs] = train_heads(task)
    return outputs.probabilities[0].argmax(axis=1), test_labels


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    return float((predicted == labels).mean())


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4, 0.6])
def test_accuracy_against_noisy_labels_follows_from_clean_accuracy(rate: float) -> None:
    predicted, true = predictions("symmetric", rate)
    noisy = flowernoise.corrupt_labels(true, "symmetric:count=bernoulli", rate=rate, seed=7, num_classes=CLASSES).labels
    clean = accuracy(predicted, true)
    expected = rate / (CLASSES - 1) + clean * (1 - rate * CLASSES / (CLASSES - 1))
    assert clean > 0.9
    assert accuracy(predicted, noisy) == pytest.approx(expected, abs=4 * 0.5 / TEST**0.5)


def test_half_of_two_classes_flipped_is_chance_and_all_of_them_inverts() -> None:
    clean = accuracy(*predictions("symmetric", 0.0, classes=2))
    assert clean > 0.95
    assert accuracy(*predictions("symmetric", 1.0, classes=2)) == pytest.approx(1 - clean, abs=0.01)
    assert 0.2 < accuracy(*predictions("symmetric", 0.5, classes=2)) < 0.8


def test_pairflip_beyond_a_half_teaches_the_next_class() -> None:
    predicted, true = predictions("pairflip", 0.7)
    assert accuracy(predicted, (true + 1) % CLASSES) > 0.75
    assert accuracy(predicted, true) < 0.25
    predicted, true = predictions("pairflip", 0.3)
    assert accuracy(predicted, true) > 0.75


def test_symmetric_noise_is_chance_at_four_fifths_and_inverts_above() -> None:
    assert accuracy(*predictions("symmetric", 0.7)) > 0.6
    assert accuracy(*predictions("symmetric", 0.8)) < 0.45
    assert accuracy(*predictions("symmetric", 1.0)) < 0.05


def test_uniform_noise_never_inverts() -> None:
    assert accuracy(*predictions("uniform", 0.85)) > 0.5
    assert 0.05 < accuracy(*predictions("uniform", 1.0)) < 0.45
