"""The selector against brute force: every epoch and grid point of every run, ordered by what the rules say."""

import dataclasses
import math
import weakref
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowernoise.training.selection import REACH, Selector, Truth, combined

EXAMPLES = settings(deadline=None, max_examples=60)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What a sweep outputs: probabilities [epoch, head, val + test photo, class], predictions, training losses."""

    truth: Truth
    grid: int
    probabilities: np.ndarray
    predicted: np.ndarray
    training_loss: np.ndarray

    @property
    def epochs(self) -> int:
        return len(self.probabilities)

    def follow(self) -> Selector:
        selector = Selector(self.truth, self.grid, self.epochs)
        for epoch in range(self.epochs):
            selector.update(
                epoch + 1, self.probabilities[epoch], self.predicted[epoch], self.training_loss[epoch].copy()
            )
        return selector


@st.composite
def sweeps(draw, *, least_val=0, broken=0.25) -> Sweep:
    """A sweep whose heads give one of a few answers, so that exact ties are common; some answers are not finite."""
    runs, grid, epochs, classes = (draw(st.integers(1, most)) for most in (3, 3, 9, 3))
    classes, val_photos, test_photos, train_photos = (
        classes + 1,
        draw(st.integers(least_val, 4)),
        draw(st.integers(1, 4)),
        5,
    )
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    answers = rng.dirichlet(np.ones(classes), size=(3, val_photos + test_photos)).astype(np.float32)
    spoiled = answers[0].copy()
    spoiled[rng.integers(len(spoiled)), 0] = rng.choice([np.nan, np.inf])
    chosen = rng.choice(4, p=[broken, *[(1 - broken) / 3] * 3], size=(epochs, runs * grid))
    truth = Truth(
        val_labels=rng.integers(0, classes, size=(runs, val_photos)),
        test_labels=rng.integers(0, classes, size=test_photos),
        train_labels=rng.integers(0, classes, size=(runs, train_photos)),
        flipped=rng.random((runs, train_photos)) < 0.4,
    )
    return Sweep(
        truth,
        grid,
        np.stack([spoiled, *answers])[chosen],
        rng.integers(0, classes, size=(epochs, runs * grid, train_photos)),
        rng.random((epochs, runs * grid)).astype(np.float32),
    )


def accuracy_and_loss(probabilities, labels) -> tuple[Fraction, float]:
    right, loss = 0, 0.0
    for row, label in zip(probabilities, labels, strict=True):
        right += int(max(range(len(row)), key=lambda k: row[k]) == label)
        loss -= math.log(max(float(row[label]), 1e-30))
    return Fraction(right, len(labels)), loss / len(labels)


def is_finite(probabilities) -> bool:
    return all(math.isfinite(value) for row in probabilities for value in row)


def mean_accuracy_around(sweep: Sweep, run: int, point: int, epoch: int) -> Fraction:
    """Of noisy val labels over the epochs around one, counted from 0; what is not finite is wrong everywhere."""
    accuracies = []
    for other in (epoch - 1, epoch, epoch, epoch + 1):
        if 0 <= other < sweep.epochs:
            probabilities = sweep.probabilities[other, run * sweep.grid + point]
            val = probabilities[: sweep.truth.val_labels.shape[1]]
            finite = is_finite(probabilities)
            accuracies.append(accuracy_and_loss(val, sweep.truth.val_labels[run])[0] if finite else Fraction(0))
    return sum(accuracies, Fraction(0)) / len(accuracies)


def brute_force(sweep: Sweep, run: int, selection: str) -> tuple[int, int] | None:
    """The epoch (from 1) and grid point of the best candidate, None if none is finite."""
    truth, val_photos = sweep.truth, sweep.truth.val_labels.shape[1]
    candidates = []
    for epoch in range(sweep.epochs):
        for point in range(sweep.grid):
            probabilities = sweep.probabilities[epoch, run * sweep.grid + point]
            if not is_finite(probabilities):
                continue
            if selection == "last" and epoch != sweep.epochs - 1:
                continue
            if selection == "oracle":
                accuracy, loss = accuracy_and_loss(probabilities[val_photos:], truth.test_labels)
            elif val_photos:
                accuracy, loss = accuracy_and_loss(probabilities[:val_photos], truth.val_labels[run])
            else:
                accuracy, loss = Fraction(0), 0.0
            if selection == "selected":
                accuracy = mean_accuracy_around(sweep, run, point, epoch)
            candidates.append((-accuracy, loss, epoch + 1, point))
    return min(candidates)[2:] if candidates else None


@EXAMPLES
@given(sweeps())
def test_what_is_taken_is_what_brute_force_takes(sweep):
    selector = sweep.follow()
    val_photos = sweep.truth.val_labels.shape[1]
    arrays = selector.arrays()
    for run in range(len(sweep.truth.train_labels)):
        expected = [brute_force(sweep, run, selection) for selection in selector.selections]
        assert selector.failed[run] == (None in expected)
        for column, choice in enumerate(expected):
            if choice is None:
                assert selector.epoch[run, column] == 0
                assert np.isnan(arrays["test_probabilities"][run, column]).all()
                continue
            epoch, point = choice
            assert (selector.epoch[run, column], selector.grid[run, column]) == choice
            head = run * sweep.grid + point
            kept = np.concatenate([arrays["val_probabilities"][run, column], arrays["test_probabilities"][run, column]])
            np.testing.assert_array_equal(kept, sweep.probabilities[epoch - 1, head])
            np.testing.assert_array_equal(arrays["train_predicted"][run, column], sweep.predicted[epoch - 1, head])
            assert arrays["val_probabilities"].shape[2] == val_photos


@EXAMPLES
@given(sweeps(least_val=1), st.randoms(use_true_random=False))
def test_shuffling_the_test_labels_changes_neither_selected_nor_last(sweep, random):
    labels = sweep.truth.test_labels.tolist()
    random.shuffle(labels)
    shuffled = dataclasses.replace(sweep, truth=dataclasses.replace(sweep.truth, test_labels=np.array(labels)))
    before, after = sweep.follow(), shuffled.follow()
    for selection in ("selected", "last"):
        column = before.selections.index(selection)
        np.testing.assert_array_equal(after.epoch[:, column], before.epoch[:, column])
        np.testing.assert_array_equal(after.grid[:, column], before.grid[:, column])


@EXAMPLES
@given(sweeps())
def test_grid_points_one_after_another_give_what_the_whole_grid_gives(sweep):
    whole = sweep.follow()
    parts = []
    for point in range(sweep.grid):
        heads = slice(point, None, sweep.grid)
        own = dataclasses.replace(
            sweep,
            grid=1,
            probabilities=sweep.probabilities[:, heads],
            predicted=sweep.predicted[:, heads],
            training_loss=sweep.training_loss[:, heads],
        )
        parts.append(own.follow())
    together = combined(parts)
    np.testing.assert_array_equal(together.epoch, whole.epoch)
    np.testing.assert_array_equal(together.grid, whole.grid)
    np.testing.assert_array_equal(together.failed, whole.failed)
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(together.arrays()[name], array, err_msg=name)


@EXAMPLES
@given(sweeps(least_val=1, broken=0.0))
def test_history_is_that_of_the_selected_grid_point(sweep):
    selector = sweep.follow()
    arrays, truth, val_photos = selector.arrays(), sweep.truth, sweep.truth.val_labels.shape[1]
    for run, epoch in np.ndindex(len(truth.train_labels), sweep.epochs):
        head = run * sweep.grid + selector.grid[run, selector.selections.index("selected")]
        probabilities = sweep.probabilities[epoch, head]
        val = accuracy_and_loss(probabilities[:val_photos], truth.val_labels[run])
        test = accuracy_and_loss(probabilities[val_photos:], truth.test_labels)
        wrong = [k for k in range(5) if truth.flipped[run, k]]
        back = [k for k in wrong if sweep.predicted[epoch, head, k] == truth.train_labels[run, k]]
        expected = {
            "loss": sweep.training_loss[epoch, head],
            "val_accuracy": val[0],
            "val_loss": val[1],
            "test_accuracy": test[0],
            "memorised": len(back) / len(wrong) if wrong else math.nan,
        }
        for name, value in expected.items():
            assert arrays[f"history_{name}"][run, epoch] == pytest.approx(value, rel=1e-5, nan_ok=True), name


@EXAMPLES
@given(sweeps(least_val=1))
def test_a_run_is_chosen_for_as_if_it_were_alone(sweep):
    together, grid = sweep.follow(), sweep.grid
    for run in range(len(sweep.truth.train_labels)):
        rows, heads = slice(run, run + 1), slice(run * grid, (run + 1) * grid)
        truth = Truth(
            sweep.truth.val_labels[rows],
            sweep.truth.test_labels,
            sweep.truth.train_labels[rows],
            sweep.truth.flipped[rows],
        )
        outputs = (sweep.probabilities[:, heads], sweep.predicted[:, heads], sweep.training_loss[:, heads])
        alone = Sweep(truth, grid, *outputs).follow()
        np.testing.assert_array_equal(alone.epoch[0], together.epoch[run])
        np.testing.assert_array_equal(alone.grid[0], together.grid[run])
        for name, values in alone.arrays().items():
            np.testing.assert_array_equal(values[0], together.arrays()[name][run], err_msg=name)


@EXAMPLES
@given(sweeps(least_val=1))
def test_outputs_are_held_for_no_more_epochs_than_the_window_reaches_ahead(sweep):
    selector = Selector(sweep.truth, sweep.grid, sweep.epochs)
    held = []
    for epoch in range(sweep.epochs):
        probabilities = sweep.probabilities[epoch].copy()
        held.append(weakref.ref(probabilities))
        selector.update(epoch + 1, probabilities, sweep.predicted[epoch], sweep.training_loss[epoch])
        del probabilities
        alive = [number for number, each in enumerate(held) if each() is not None]
        last = epoch == sweep.epochs - 1
        assert alive == ([] if last else list(range(max(0, epoch + 1 - REACH), epoch + 1)))


def one_run(*epochs, val_labels=(0, 0), test_labels=(0,)) -> Selector:
    """A run whose grid points answer class 0 with the given probabilities, on val and then on test photos."""
    truth = Truth(
        np.array([val_labels], dtype=int), np.array(test_labels), np.zeros((1, 1), int), np.zeros((1, 1), bool)
    )
    answers = np.array(epochs, dtype=np.float32)  # [epoch, grid, photo]
    sweep = Sweep(
        truth,
        answers.shape[1],
        np.stack([answers, 1 - answers], axis=-1),
        np.zeros((*answers.shape[:2], 1), dtype=int),
        np.zeros(answers.shape[:2]),
    )
    return sweep.follow()


def taken(selector: Selector, selection: str) -> tuple[int, int]:
    column = selector.selections.index(selection)
    return int(selector.epoch[0, column]), int(selector.grid[0, column])


GOOD, WORSE, BAD = [0.9, 0.9, 0.5], [0.9, 0.1, 0.5], [0.1, 0.1, 0.5]  # right about 2, 1 and 0 of 2 val photos


def test_a_lucky_epoch_loses_to_a_steady_grid_point():
    nothing, everything, most = [0.1, 0.1, 0.1, 0.5], [0.9, 0.9, 0.9, 0.5], [0.9, 0.9, 0.1, 0.5]
    epochs = [nothing, most], [everything, most], [nothing, most]
    assert taken(one_run(*epochs, val_labels=(0, 0, 0)), "selected") == (1, 1)


def test_the_epoch_among_good_ones_is_taken():
    accurate = [BAD, GOOD, BAD, GOOD, GOOD, GOOD, BAD]
    assert taken(one_run(*[[epoch] for epoch in accurate]), "selected") == (5, 0)


def test_windows_are_cut_at_the_ends():
    assert taken(one_run(*[[epoch] for epoch in (GOOD, WORSE, BAD, WORSE, GOOD)]), "selected") == (1, 0)
    assert taken(one_run(*[[epoch] for epoch in (WORSE, BAD, WORSE, GOOD)]), "selected") == (4, 0)


def test_of_two_epochs_the_better_is_taken_of_the_grid_point_that_is_better_in_both():
    steady, lucky = [WORSE, GOOD], [BAD, GOOD]
    assert taken(one_run(*zip(lucky, steady, strict=True)), "selected") == (2, 1)
    assert taken(one_run([GOOD], [WORSE]), "selected") == (1, 0)


def test_what_diverges_later_is_wrong_about_every_photo_in_the_mean():
    diverged, slow = [math.nan] * 3, [WORSE, WORSE, WORSE]
    assert taken(one_run(*zip([WORSE, GOOD, diverged], slow, strict=True)), "selected") == (1, 0)
    assert taken(one_run(*zip([WORSE, diverged, diverged], slow, strict=True)), "selected") == (1, 1)


def test_equal_accuracy_goes_to_the_lower_validation_loss():
    assert taken(one_run([[0.6, 0.6, 0.9], [0.9, 0.9, 0.1]]), "selected") == (1, 1)


def test_equal_loss_goes_to_the_earlier_epoch_before_the_grid_order():
    worse, good = [0.1, 0.1, 0.5], [0.9, 0.9, 0.5]
    assert taken(one_run([worse, good], [good, good]), "selected") == (1, 1)


def test_equal_epochs_go_by_grid_order():
    assert taken(one_run([[0.9, 0.9, 0.5]] * 3), "selected") == (1, 0)


def test_oracle_takes_what_is_best_on_the_test_photos_alone():
    selector = one_run([[0.9, 0.9, 0.1], [0.1, 0.1, 0.6]], [[0.9, 0.9, 0.2], [0.1, 0.1, 0.9]])
    assert taken(selector, "oracle") == (2, 1)
    assert taken(selector, "selected") == (1, 0)


def test_last_takes_the_grid_point_that_is_best_in_the_last_epoch():
    selector = one_run([[0.9, 0.9, 0.5], [0.1, 0.1, 0.5]], [[0.6, 0.1, 0.5], [0.6, 0.6, 0.5]])
    assert taken(selector, "last") == (2, 1)
    assert taken(selector, "selected") == (1, 0)


def test_without_validation_photos_only_the_first_grid_points_last_epoch_is_kept():
    selector = one_run([[0.1], [0.9]], [[0.2], [0.9]], val_labels=())
    assert selector.selections == ("last",)
    assert taken(selector, "last") == (2, 0)
    assert np.isnan(selector.arrays()["history_val_accuracy"]).all()


def test_a_run_that_diverges_in_every_grid_point_is_failed():
    nan = math.nan
    assert one_run([[nan, 0.5, 0.5], [0.5, 0.5, nan]]).failed.tolist() == [True]
    assert one_run([[nan, 0.5, 0.5], [0.5, 0.5, 0.5]]).failed.tolist() == [False]


def test_nothing_can_be_kept_before_the_first_epoch():
    truth = Truth(np.zeros((1, 1), int), np.zeros(1, int), np.zeros((1, 1), int), np.zeros((1, 1), bool))
    with pytest.raises(RuntimeError, match="no epoch"):
        Selector(truth, 1, 1).arrays()
