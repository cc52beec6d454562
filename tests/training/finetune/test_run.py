"""A fine-tuned run on its grid: what is selected, and which weights are kept."""

import numpy as np
import pytest

from flowernoise.training.finetune import Finetuner, FinetuneSetup, tune
from flowernoise.training.selection import Truth
from tests.training.finetune.small_networks import ALL, CLASSES, COUNT, SIZE, convolution, task

VAL = 2
QUIET = (lambda count, seconds: None, lambda rate, epoch, loss: None)


@pytest.mark.parametrize("select", ["selected", "last"])
def test_kept_weights_give_the_answers_of_the_first_selection(select: str) -> None:
    work = task(epochs=5)
    stream = np.random.default_rng(7)
    vals = VAL if select == "selected" else 0
    truth = Truth(
        val_labels=stream.integers(0, CLASSES, (1, vals)),
        test_labels=stream.integers(0, CLASSES, ALL - COUNT - vals),
        train_labels=work.labels[None],
        flipped=np.zeros((1, COUNT), dtype=bool),
    )
    trainer = Finetuner(FinetuneSetup(convolution, SIZE, CLASSES))
    grid = [(1e-3, 0.0), (1e-1, 0.0)] if vals else [(1e-2, 0.0)]
    tuned = tune(trainer, work, grid, truth, *QUIET, keep_weights=True)
    selector = tuned.selector
    assert selector.selections[0] == select
    assert tuned.weights is not None
    arrays = selector.arrays()
    assert arrays["test_probabilities"].shape == (1, len(selector.selections), ALL - COUNT - vals, CLASSES)
    rate, l2 = grid[selector.grid[0, 0]]
    again = task(epochs=5, learning_rate=rate, l2=l2)
    for answers in trainer.train(again, lambda count, seconds: None):
        if answers.epoch == selector.epoch[0, 0]:
            expected = arrays["test_probabilities"][0, 0]
            np.testing.assert_allclose(answers.probabilities[COUNT + vals :], expected, atol=1e-6)
            for ours, kept in zip(trainer.weights(), tuned.weights, strict=True):
                np.testing.assert_allclose(ours, kept, atol=1e-6)


def test_other_photos_can_be_judged() -> None:
    work = task()
    truth = Truth(
        val_labels=np.zeros((1, VAL), dtype=int),
        test_labels=np.zeros(COUNT, dtype=int),
        train_labels=work.labels[None],
        flipped=np.zeros((1, COUNT), dtype=bool),
    )
    judged = np.concatenate([np.arange(COUNT, COUNT + VAL), np.arange(COUNT)])
    trainer = Finetuner(FinetuneSetup(convolution, SIZE, CLASSES))
    tuned = tune(trainer, work, [(1e-2, 0.0)], truth, *QUIET, judged=judged)
    arrays = tuned.selector.arrays()
    assert arrays["test_probabilities"].shape == (1, 3, COUNT, CLASSES)
    np.testing.assert_array_equal(arrays["test_probabilities"][0, 0].argmax(axis=1), arrays["train_predicted"][0, 0])
