"""``evaluate``: what every run answers on the clean test split."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.catalogue.backbones import backbones
from flowernoise.catalogue.metrics import Answers, accuracy, balanced_accuracy, recalls
from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.progress import Progress
from flowernoise.store import datasets, draws, evaluations, files, photos, runs
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.layout import Layout
from flowernoise.store.photos import Archive, IndexedPhoto
from flowernoise.store.records import Dataset, EvaluatedRun, Evaluation, RunBlock, Selection
from flowernoise.store.runs import StoredRun
from flowernoise.training import engine, finetune
from flowernoise.training.selection import ALL, memorised

Arrays = dict[str, np.ndarray[Any, Any]]
FEW = 10  # test photos of a class that a fair model may all miss


@dataclasses.dataclass(frozen=True)
class RunMetrics:
    """One run's metrics under one selection."""

    selection: Selection
    accuracy: float
    balanced_accuracy: float
    recall: dict[str, float | None]
    memorised: float | None
    collapsed: bool


@dataclasses.dataclass(frozen=True)
class EvaluateResult:
    """The evaluation, and whether it was there already."""

    evaluation: Evaluation
    arrays: Arrays
    done_before: bool

    def of_run(self, row: int) -> list[RunMetrics]:
        """A run's metrics, for each selection that it has."""
        return [
            self._metrics(row, column, selection)
            for column, selection in enumerate(self.evaluation.selections)
            if self.arrays["available"][row, column]
        ]

    def _metrics(self, row: int, column: int, selection: Selection) -> RunMetrics:
        classes, labels = self.evaluation.classes, self.arrays["test_labels"]
        predicted = self.arrays["predicted"][row : row + 1, column]
        share = float(self.arrays["memorised"][row, column])
        answers = Answers(predicted, labels, classes, np.array([share]))
        by_class = recalls(predicted, labels, len(classes))[0]
        return RunMetrics(
            selection=selection,
            accuracy=float(accuracy(answers).values[0]),
            balanced_accuracy=float(balanced_accuracy(answers).values[0]),
            recall={n: None if np.isnan(v) else float(v) for n, v in zip(classes, by_class, strict=True)},
            memorised=None if np.isnan(share) else share,
            collapsed=bool(self.arrays["collapsed"][row, column]),
        )


def evaluate(artifacts_directory: Path, progress: Progress) -> EvaluateResult:
    """Evaluates every run on the clean test split; fine-tuned networks are rebuilt from their weights.

    Raises:
        BadRequestError: nothing prepared, or nothing trained on what is prepared.
        DamagedFileError: runs that are not what was written.
    """
    layout = Layout(artifacts_directory)
    dataset = datasets.need(layout)
    found = runs.blocks(layout, dataset.id)
    if not found:
        raise BadRequestError(f"no runs in {layout.root} for its data set; run `flowernoise train` first")
    inputs = evaluations.inputs_of(found)
    before = _find_before(layout, dataset, inputs, progress)
    if before is not None:
        return before
    live = runs.live(found)
    index = photos.read_index(layout.photos, dataset.index)
    drawn = draws.index(layout, dataset.id)
    labels = draws.read(layout, drawn.values())
    answers = _Answers(layout, dataset, index, progress)
    by_block: dict[str, list[StoredRun]] = {}
    for stored in live.values():
        by_block.setdefault(stored.name, []).append(stored)
    test_labels = photos.labels_of(index, "test")
    rows: dict[Any, dict[str, Any]] = {}
    with progress.task("evaluating", len(live), "runs") as advance:
        for name, members in by_block.items():
            arrays = answers.of_block(name, found[name]) if any(not each.run.failure for each in members) else {}
            for stored in members:
                row = _blank(len(test_labels), len(dataset.classes))
                if not stored.run.failure:
                    _judge(row, stored, arrays, labels[stored.run.key.draw], test_labels)
                rows[stored.run.key] = row
            advance(len(members))
    stacked = {name: np.stack([rows[key][name] for key in live]) for name in next(iter(rows.values()))}
    stacked["test_labels"] = test_labels
    evaluated = tuple(
        EvaluatedRun(key, drawn[key.draw].draw.realised_rate, stored.run.failure) for key, stored in live.items()
    )
    written = evaluations.write(
        layout,
        Evaluation(
            dataset=dataset.id,
            source=dataset.request.source,
            classes=dataset.classes,
            counts=dataset.counts,
            inputs=inputs,
            selections=ALL,
            runs=evaluated,
            arrays=files.NOT_WRITTEN,
        ),
        stacked,
    )
    return EvaluateResult(written, stacked, done_before=False)


def _find_before(layout: Layout, dataset: Dataset, inputs: str, progress: Progress) -> EvaluateResult | None:
    try:
        before = evaluations.find(layout)
        if before is None or (before.dataset, before.inputs) != (dataset.id, inputs):
            return None
        return EvaluateResult(before, evaluations.read(layout, before), done_before=True)
    except DamagedFileError as error:
        progress.note(f"{error}; evaluating again")
        return None


def _blank(photos_tested: int, num_classes: int) -> Arrays:
    """The row of a run without answers in the evaluation's arrays."""
    return {
        "predicted": np.zeros((len(ALL), photos_tested), dtype=np.min_scalar_type(num_classes - 1)),
        "memorised": np.full(len(ALL), np.nan),
        "collapsed": np.zeros(len(ALL), dtype=bool),
        "available": np.zeros(len(ALL), dtype=bool),
    }


def _judge(
    row: Arrays, stored: StoredRun, arrays: Arrays, drawn: DrawnLabels, test_labels: np.ndarray[Any, Any]
) -> None:
    """Fills in a run's row of the evaluation's arrays."""
    trained = arrays["train_predicted"][stored.row]
    observed = np.broadcast_to(drawn.train_labels, trained.shape)
    flipped = np.broadcast_to(drawn.train_flipped, trained.shape)
    shares = memorised(trained, observed, flipped)
    for source, selection in enumerate(stored.block.selections):
        column = ALL.index(selection)
        row["predicted"][column] = arrays["test_probabilities"][stored.row, source].argmax(axis=1)
        row["memorised"][column] = shares[source]
        row["collapsed"][column] = _has_collapsed(
            row["predicted"][column], test_labels, trained[source], drawn.train_labels
        )
        row["available"][column] = True


def _has_collapsed(
    predicted: np.ndarray[Any, Any],
    test_labels: np.ndarray[Any, Any],
    train_predicted: np.ndarray[Any, Any],
    train_labels: np.ndarray[Any, Any],
) -> bool:
    """Whether a class that training labels name and test photos show is never predicted for a test photo.

    A class with few test photos may be missed on all of them by chance; it also counts as predicted if it is predicted
    for a training photo.
    """
    shown, photos_of = np.unique(test_labels, return_counts=True)
    rare = np.intersect1d(shown[photos_of < FEW], train_predicted)
    return bool(np.setdiff1d(np.intersect1d(train_labels, shown), np.union1d(predicted, rare)).size)


class _Answers:
    """What the runs of a block answer: kept with heads, computed once from the weights of fine-tuned networks."""

    def __init__(self, layout: Layout, dataset: Dataset, index: tuple[IndexedPhoto, ...], progress: Progress) -> None:
        self._layout, self._dataset, self._index, self._progress = layout, dataset, index, progress
        self._model: tuple[str, Any] | None = None

    def of_block(self, name: str, block: RunBlock) -> Arrays:
        """Arrays test_probabilities, val_probabilities and train_predicted of a block."""
        if block.mode == "features":
            arrays = runs.read_arrays(self._layout, block, (*runs.PREDICTION_ARRAYS, *runs.HISTORY_ARRAYS))
        else:
            arrays = runs.find_predictions(self._layout, name, block) or self._predict(name, block)
        return arrays

    def _predict(self, name: str, block: RunBlock) -> Arrays:
        model = self._classifier(block.backbone)
        names = tuple(finetune.named(model.get_weights()))
        weights = runs.read_arrays(self._layout, block, names)
        _set_weights(model, weights, block)
        archive = Archive(self._layout.photos, self._dataset.archive)
        size = self._dataset.request.image_size
        where = f"predicting · {block.runs[0].key.loss} on {block.runs[0].key.draw} · {engine.describe().device}"
        with self._progress.task(where, len(self._index), "photos") as advance:
            answers = finetune.predict(model, archive.read(self._index), size, advance)
        split = np.array([photo.split for photo in self._index])
        compact = np.min_scalar_type(answers.shape[1] - 1)
        arrays: Arrays = {
            "test_probabilities": answers[None, None, split == "test"],
            "val_probabilities": answers[None, None, split == "val"],
            "train_predicted": answers[None, None, split == "train"].argmax(axis=3).astype(compact),
        }
        runs.write_predictions(self._layout, name, block, arrays)
        return arrays

    def _classifier(self, backbone: str) -> Any:
        """The network of a backbone, rebuilt from code; the last one is kept."""
        if self._model is None or self._model[0] != backbone:
            build = backbones.parse(backbone)().build
            classes, size = len(self._dataset.classes), self._dataset.request.image_size
            self._model = (backbone, finetune.build_classifier(build, size, classes))
        return self._model[1]


def _set_weights(model: Any, weights: Mapping[str, Any], block: RunBlock) -> None:
    expected = model.get_weights()
    for have, want in zip(weights.values(), expected, strict=True):
        if have.shape != want.shape or have.dtype != want.dtype:
            raise DamagedFileError(f"{block.arrays.name} does not hold weights of {block.backbone}")
    model.set_weights(list(weights.values()))
