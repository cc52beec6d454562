"""Which epoch and hyper-parameters of a run are reported.

``selected`` is chosen on the noisy validation split. ``last`` is the last epoch, with hyper-parameters chosen there.
``oracle`` is the best on the clean test split, which is unattainable in practice but serves as a bound.

Among E epochs on a grid, ``selected`` is the epoch e and grid point g with the highest weighted mean of noisy
validation accuracy a over the epochs around e, cut off at the ends::

    s(g, e) = sum of w(k - e) a(g, k) / sum of w(k - e)    over k = 1 ... E,    w(0) = 2, w(-1) = w(1) = 1, else 0

The best single epoch is often just lucky, especially if training is unsteady. ``last`` and ``oracle`` compare
accuracies of single epochs.

Ties go to the lower cross-entropy on the same labels at epoch e alone, then to the earlier epoch, then to the order of
the grid. Epochs that diverged are never taken. In their neighbours' means they count as wrong for every photo.
``tests/benchmarks/selection.py`` compares this rule with others.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Selection = Literal["selected", "last", "oracle"]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Labels = np.ndarray[Any, np.dtype[np.integer[Any]]]
ALL: tuple[Selection, ...] = ("selected", "last", "oracle")
ONLY_LAST: tuple[Selection, ...] = ("last",)
# Per example; above it, training has diverged even if predictions are still finite. Losses use 1e9 for −log 0.
MAX_LOSS = 1e12
WEIGHTS = (1, 2, 1)  # of an epoch (in the middle) and its neighbours
REACH = len(WEIGHTS) // 2


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """The labels that R runs of n training photos are judged by.

    Args:
        val_labels: observed labels [R, photos]; without a validation split there are 0 photos.
        test_labels: clean labels [photos].
        train_labels: observed labels [R, n].
        flipped: [R, n], which training labels are wrong.
    """

    val_labels: Labels
    test_labels: Labels
    train_labels: Labels
    flipped: np.ndarray[Any, np.dtype[np.bool_]]


@dataclasses.dataclass(frozen=True, eq=False)
class _Outputs:
    """The outputs of R·G heads after an epoch, as ``Selector.update`` takes them, and their scores.

    Attributes:
        sound: [R·G], which heads have not diverged.
        val, test: accuracy and cross-entropy [R·G] on the two splits.
    """

    epoch: int
    probabilities: Floats
    predicted: Labels
    sound: np.ndarray[Any, np.dtype[np.bool_]]
    val: tuple[Floats, Floats]
    test: tuple[Floats, Floats]


@dataclasses.dataclass(eq=False)
class Selector:
    """Follows R runs, each on a grid of G hyper-parameters, epoch by epoch, and keeps what each selection takes.

    Heads are ordered by run, then by grid point. ``grid`` and ``epoch`` [R, S] say what was taken; ``failed`` [R] says
    for which runs a selection found only diverged epochs.

    An epoch is judged for ``selected`` once the ``REACH`` epochs after it are known. Until then its outputs are held by
    reference.
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
        self._right = np.zeros((heads, self.epochs), dtype=np.int64)  # correct val photos; 0 if diverged
        self._waiting: collections.deque[_Outputs] = collections.deque()
        self._history = {
            name: np.full((heads, self.epochs), np.nan, dtype=np.float32)
            for name in ("loss", "val_accuracy", "val_loss", "test_accuracy", "memorised")
        }

    def update(self, epoch: int, probabilities: Floats, predicted: Labels, training_loss: Floats) -> None:
        """Takes an epoch's outputs; the arrays must not change until training has ended.

        Args:
            epoch: counted from 1. With a validation split, pass every epoch in order; otherwise at least the last.
            probabilities: [R·G, val + test photos, c].
            predicted: [R·G, training photos].
            training_loss: [R·G].
        """
        g, truth = self.grid_size, self.truth
        val_photos = truth.val_labels.shape[1]
        test_labels = np.broadcast_to(truth.test_labels, (len(probabilities), len(truth.test_labels)))
        outputs = _Outputs(
            epoch=epoch,
            probabilities=probabilities,
            predicted=predicted,
            sound=np.isfinite(probabilities).all(axis=(1, 2)) & ~has_diverged(training_loss),
            val=score(probabilities[:, :val_photos], np.repeat(truth.val_labels, g, axis=0)),
            test=score(probabilities[:, val_photos:], test_labels),
        )
        history = {
            "loss": training_loss,
            "val_accuracy": outputs.val[0],
            "val_loss": outputs.val[1],
            "test_accuracy": outputs.test[0],
            "memorised": memorised(predicted, np.repeat(truth.train_labels, g, 0), np.repeat(truth.flipped, g, 0)),
        }
        for name, values in history.items():
            self._history[name][:, epoch - 1] = values
        if epoch == self.epochs:
            nothing = np.zeros(len(probabilities))
            self._take("last", outputs, *(outputs.val if val_photos else (nothing, nothing)))
        if val_photos:
            self._take("oracle", outputs, *outputs.test)
            self._right[:, epoch - 1] = np.where(outputs.sound, np.rint(outputs.val[0] * val_photos), 0)
            self._waiting.append(outputs)
            self._judge_waiting(epoch)

    def _judge_waiting(self, known: int) -> None:
        """Judges for ``selected`` the epochs whose windows end at or before the last known epoch."""
        while self._waiting and min(self._waiting[0].epoch + REACH, self.epochs) <= known:
            outputs = self._waiting.popleft()
            self._take("selected", outputs, self._mean_around(outputs.epoch), outputs.val[1])

    def _mean_around(self, epoch: int) -> Floats:
        """Weighted mean of val accuracy over an epoch and its neighbours, [R·G]."""
        offsets = range(max(-REACH, 1 - epoch), min(REACH, self.epochs - epoch) + 1)
        weights = np.array([WEIGHTS[REACH + offset] for offset in offsets])
        window = self._right[:, [epoch - 1 + offset for offset in offsets]]
        # Dividing whole numbers only once makes equal means equal to the bit, even with different weights.
        return np.asarray((window @ weights) / (weights.sum() * self.truth.val_labels.shape[1]))

    def _take(self, selection: Selection, outputs: _Outputs, accuracy: Floats, loss: Floats) -> None:
        """Takes heads that beat all earlier ones for a selection, by their accuracy and loss [R·G] in an epoch."""
        column, g = self.selections.index(selection), self.grid_size
        accuracy, loss = np.where(outputs.sound, accuracy, -np.inf).reshape(-1, g), loss.reshape(-1, g)
        runs = np.arange(len(accuracy))
        best = np.lexsort((np.broadcast_to(np.arange(g), accuracy.shape), loss, -accuracy), axis=1)[:, 0]
        accuracy, loss = accuracy[runs, best], loss[runs, best]
        before = (self._accuracy[:, column], self._loss[:, column])
        better = (accuracy > before[0]) | ((accuracy == before[0]) & (loss < before[1]) & np.isfinite(accuracy))
        taken, heads = runs[better], (runs * g + best)[better]
        if self._probabilities is None or self._predicted is None:
            shape = (len(runs), len(self.selections))
            self._probabilities = np.full((*shape, *outputs.probabilities.shape[1:]), np.nan, dtype=np.float32)
            self._predicted = np.zeros((*shape, outputs.predicted.shape[1]), dtype=outputs.predicted.dtype)
        self._probabilities[taken, column] = outputs.probabilities[heads]
        self._predicted[taken, column] = outputs.predicted[heads]
        self._accuracy[taken, column], self._loss[taken, column] = accuracy[better], loss[better]
        self.grid[taken, column], self.epoch[taken, column] = best[better], outputs.epoch

    @property
    def failed(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Runs [R] for which a selection found only diverged epochs."""
        return np.asarray((self.epoch == 0).any(axis=1))

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Results: probabilities and predictions for each selection, and the history of the first one's grid point."""
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


def combined(parts: Sequence[Selector]) -> Selector:
    """What one selector on the whole grid takes, from selectors of runs trained on one grid point after another.

    Args:
        parts: with a grid of one point each, in the order of the grid, after the last epoch.
    """
    [truth], [epochs] = {part.truth for part in parts}, {part.epochs for part in parts}
    whole = Selector(truth, len(parts), epochs)
    names = ("_accuracy", "_loss", "epoch")
    accuracy, loss, epoch = (np.stack([getattr(part, name) for part in parts]) for name in names)
    order = np.broadcast_to(np.arange(len(parts))[:, None, None], accuracy.shape)
    best = np.lexsort((order, epoch, loss, -accuracy), axis=0)[0]
    runs, columns = np.indices(best.shape)

    def of_best(name: str) -> np.ndarray[Any, Any]:
        return np.asarray(np.stack([getattr(part, name) for part in parts])[best, runs, columns])

    for name in ("_accuracy", "_loss", "epoch", "_probabilities", "_predicted"):
        setattr(whole, name, of_best(name))
    whole.grid = np.where(whole.epoch > 0, best, 0)
    for name, values in whole._history.items():
        values[:] = np.stack([part._history[name] for part in parts], axis=1).reshape(values.shape)
    return whole


def has_diverged(training_loss: Floats) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which mean training losses show that training has diverged: not a number, or uselessly large.

    >>> has_diverged(np.array([0.3, -20.0, 1e29, np.inf, np.nan])).tolist()
    [False, False, True, True, True]
    """
    return np.asarray(~(np.abs(training_loss) <= MAX_LOSS))


def score(probabilities: Floats, labels: Labels) -> tuple[Floats, Floats]:
    """Accuracy and mean cross-entropy [heads] of probabilities [heads, photos, c] against labels [heads, photos]."""
    if not labels.shape[1]:
        nothing = np.full(len(labels), np.nan)
        return nothing, nothing
    accuracy = (probabilities.argmax(axis=2) == labels).mean(axis=1)
    given = np.take_along_axis(probabilities, labels[:, :, None].astype(np.intp), axis=2)[:, :, 0]
    return accuracy, -np.log(np.maximum(given, 1e-30)).mean(axis=1)


def memorised(predicted: Labels, observed: Labels, flipped: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
    """Share of the wrong labels that a model reproduces, [heads]; NaN if no label is wrong.

    >>> memorised(np.array([[0, 1, 1]]), np.array([[1, 1, 1]]), np.array([[True, True, False]])).tolist()
    [0.5]
    """
    wrong = flipped.sum(axis=1)
    given_back = ((predicted == observed) & flipped).sum(axis=1)
    return np.asarray(np.divide(given_back, wrong, out=np.full(len(wrong), np.nan), where=wrong > 0))
