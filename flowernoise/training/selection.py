"""Which epoch and hyper-parameters of a run are reported.

``selected`` is chosen on the noisy validation split, ``last`` is the last epoch with its hyper-parameters chosen there,
``oracle`` is the best on the clean test split: unattainable in practice, kept as a bound. Ties go to the lower
cross-entropy on the same labels, then to the earlier epoch, then to the order of the grid. What has diverged is never
taken.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np

Selection = Literal["selected", "last", "oracle"]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Labels = np.ndarray[Any, np.dtype[np.integer[Any]]]
ALL: tuple[Selection, ...] = ("selected", "last", "oracle")
ONLY_LAST: tuple[Selection, ...] = ("last",)
# Of an example; beyond, training has diverged even where its answers are still numbers. Losses have 1e9 for −log 0.
MOST_LOSS = 1e12


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """What R runs of n training photos are judged by.

    Args:
        val_labels: observed labels [R, photos]; no photos where there is no validation split.
        test_labels: clean labels [photos].
        train_labels: observed labels [R, n].
        flipped: [R, n], which of them are wrong.
    """

    val_labels: Labels
    test_labels: Labels
    train_labels: Labels
    flipped: np.ndarray[Any, np.dtype[np.bool_]]


@dataclasses.dataclass(eq=False)
class Selector:
    """Follows R runs, each on a grid of G hyper-parameters, epoch by epoch, and keeps what the selections take.

    Heads are ordered run by run, the grid innermost. ``grid`` and ``epoch`` [R, S] tell what was taken, ``failed`` [R]
    which runs a selection found nothing for that had not diverged.
    """

    truth: Truth
    grid_size: int
    epochs: int

    def __post_init__(self) -> None:
        """Starts with nothing taken."""
        runs = len(self.truth.train_labels)
        self.selections = ALL if self.truth.val_labels.shape[1] else ONLY_LAST
        shape = (runs, len(self.selections))
        self._accuracy = np.full(shape, -np.inf)
        self._loss = np.full(shape, np.inf)
        self.grid = np.zeros(shape, dtype=np.int64)
        self.epoch = np.zeros(shape, dtype=np.int64)
        self._probabilities: Floats | None = None
        self._predicted: Labels | None = None
        heads = runs * self.grid_size
        self._history = {
            name: np.full((heads, self.epochs), np.nan, dtype=np.float32)
            for name in ("loss", "val_accuracy", "val_loss", "test_accuracy", "memorised")
        }

    def update(self, epoch: int, probabilities: Floats, predicted: Labels, training_loss: Floats) -> None:
        """Takes an epoch's outputs.

        Args:
            epoch: from 1.
            probabilities: [R·G, val + test photos, c].
            predicted: [R·G, training photos].
            training_loss: [R·G].
        """
        g, truth = self.grid_size, self.truth
        val_photos = truth.val_labels.shape[1]
        val_accuracy, val_loss = score(probabilities[:, :val_photos], np.repeat(truth.val_labels, g, axis=0))
        test_labels = np.broadcast_to(truth.test_labels, (len(probabilities), len(truth.test_labels)))
        test_accuracy, test_loss = score(probabilities[:, val_photos:], test_labels)
        history = {
            "loss": training_loss,
            "val_accuracy": val_accuracy,
            "val_loss": val_loss,
            "test_accuracy": test_accuracy,
            "memorised": memorised(predicted, np.repeat(truth.train_labels, g, 0), np.repeat(truth.flipped, g, 0)),
        }
        for name, values in history.items():
            self._history[name][:, epoch - 1] = values
        sound = np.isfinite(probabilities).all(axis=(1, 2)) & ~has_diverged(training_loss)
        judged: dict[Selection, tuple[Floats, Floats]] = {"oracle": (test_accuracy, test_loss)}
        judged["selected"] = judged["last"] = (val_accuracy, val_loss) if val_photos else (np.zeros(len(sound)),) * 2
        for column, selection in enumerate(self.selections):
            if selection == "last" and epoch != self.epochs:
                continue
            accuracy, loss = (values.reshape(-1, g) for values in judged[selection])
            accuracy = np.where(sound.reshape(-1, g), accuracy, -np.inf)
            self._take(column, epoch, accuracy, loss, probabilities, predicted)

    def _take(
        self, column: int, epoch: int, accuracy: Floats, loss: Floats, probabilities: Floats, predicted: Labels
    ) -> None:
        runs = np.arange(len(accuracy))
        best = np.lexsort((np.broadcast_to(np.arange(self.grid_size), accuracy.shape), loss, -accuracy), axis=1)[:, 0]
        accuracy, loss = accuracy[runs, best], loss[runs, best]
        before = (self._accuracy[:, column], self._loss[:, column])
        better = (accuracy > before[0]) | ((accuracy == before[0]) & (loss < before[1]) & np.isfinite(accuracy))
        taken, heads = runs[better], (runs * self.grid_size + best)[better]
        if self._probabilities is None or self._predicted is None:
            shape = (len(runs), len(self.selections))
            self._probabilities = np.full((*shape, *probabilities.shape[1:]), np.nan, dtype=np.float32)
            self._predicted = np.zeros((*shape, predicted.shape[1]), dtype=predicted.dtype)
        self._probabilities[taken, column] = probabilities[heads]
        self._predicted[taken, column] = predicted[heads]
        self._accuracy[taken, column], self._loss[taken, column] = accuracy[better], loss[better]
        self.grid[taken, column], self.epoch[taken, column] = best[better], epoch

    @property
    def failed(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Runs [R] for which a selection found nothing that had not diverged."""
        return np.asarray((self.epoch == 0).any(axis=1))

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """What is kept: probabilities and predictions of each selection, history of the first one's grid point."""
        if self._probabilities is None or self._predicted is None:
            raise RuntimeError("no epoch has been taken yet")
        val_photos = self.truth.val_labels.shape[1]
        heads = np.arange(len(self.grid)) * self.grid_size + self.grid[:, 0]
        return {
            "test_probabilities": self._probabilities[:, :, val_photos:],
            "val_probabilities": self._probabilities[:, :, :val_photos],
            "train_predicted": self._predicted,
            **{f"history_{name}": values[heads] for name, values in self._history.items()},
        }


def has_diverged(training_loss: Floats) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which mean training losses are those of a training that has diverged: no number, or beyond all use.

    >>> has_diverged(np.array([0.3, -20.0, 1e29, np.inf, np.nan])).tolist()
    [False, False, True, True, True]
    """
    return np.asarray(~(np.abs(training_loss) <= MOST_LOSS))


def score(probabilities: Floats, labels: Labels) -> tuple[Floats, Floats]:
    """Accuracy and mean cross-entropy [heads] of probabilities [heads, photos, c] against labels [heads, photos]."""
    if not labels.shape[1]:
        nothing = np.full(len(labels), np.nan)
        return nothing, nothing
    accuracy = (probabilities.argmax(axis=2) == labels).mean(axis=1)
    given = np.take_along_axis(probabilities, labels[:, :, None].astype(np.intp), axis=2)[:, :, 0]
    return accuracy, -np.log(np.maximum(given, 1e-30)).mean(axis=1)


def memorised(predicted: Labels, observed: Labels, flipped: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
    """Share of the wrong labels that a model gives back, [heads]; NaN where no label is wrong.

    >>> memorised(np.array([[0, 1, 1]]), np.array([[1, 1, 1]]), np.array([[True, True, False]])).tolist()
    [0.5]
    """
    wrong = flipped.sum(axis=1)
    given_back = ((predicted == observed) & flipped).sum(axis=1)
    return np.asarray(np.divide(given_back, wrong, out=np.full(len(wrong), np.nan), where=wrong > 0))
