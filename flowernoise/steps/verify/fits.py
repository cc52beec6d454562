"""Checks that a file's content fits its inputs, even if its digest is right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.catalogue import transition_matrix
from flowernoise.errors import DamagedFileError
from flowernoise.store import evaluations, files, runs
from flowernoise.store.draws import StoredDraw
from flowernoise.store.evaluations import Arrays
from flowernoise.store.inventory import RecordEntry
from flowernoise.store.photos import Splits
from flowernoise.store.records import CONTROL, Comparison, Draw, DrawKey, Evaluation, Identity, RunBlock

_EQUAL = 1e-9
Predictions = Mapping[str, np.ndarray[Any, Any]]  # block → predicted classes [run, selection, photo]


def check_name(path: Path, expected: str) -> None:
    """Checks that a record's name matches its content.

    Raises:
        DamagedFileError: it does not.
    """
    if path.name != expected:
        raise DamagedFileError(f"{path} does not have the name that its content requires, {expected}")


def check_draw(draw: Draw, arrays: Arrays, truth: Arrays, blob: Path) -> None:
    """Checks that a draw's labels have the recorded digest, flips and rates.

    Raises:
        DamagedFileError: they do not.
    """
    train, val = arrays["train_labels"], arrays["val_labels"]
    flipped = [arrays["train_flipped"], arrays["val_flipped"]]
    wrong = [train != truth["train"], val != truth["val"]]
    T = transition_matrix.realised(truth["train"], train.astype(np.int64), len(arrays["transition_matrix"]))
    fits = (
        files.digest(train.astype("<u4").tobytes() + val.astype("<u4").tobytes()) == draw.labels,
        all(np.array_equal(a, b) for a, b in zip(flipped, wrong, strict=True)),
        np.allclose(T, arrays["realised_transition_matrix"], equal_nan=True),
        abs(float(wrong[0].mean()) - draw.realised_rate) < _EQUAL,
        draw.key.noise != CONTROL or not wrong[0].any(),
    )
    if not all(fits):
        raise DamagedFileError(f"{blob}: the labels of {draw.key} are not those that its record describes")


def check_block(entry: RecordEntry[RunBlock], image_size: int, drawn: Mapping[DrawKey, StoredDraw]) -> None:
    """Checks the name of a block of runs, and that they were trained on photos of this size and their draws' labels.

    Raises:
        DamagedFileError: a check failed.
    """
    path, block = entry.path, entry.body
    check_name(path, f"{runs.name_of(block)}.json")
    if block.setup.image_size != image_size:
        raise DamagedFileError(f"{path} claims to belong to the prepared photos, but they have another size")
    for run in block.runs:
        stored = drawn.get(run.draw)
        if stored is not None and stored.draw.labels != run.labels:
            raise DamagedFileError(f"{path}: {run.method} on {run.draw} was trained on other labels than were drawn")


def check_tested(blob: Path, arrays: Arrays, splits: Splits) -> None:
    """Checks that an evaluation is of the test photos.

    Raises:
        DamagedFileError: it is of others.
    """
    for number, labels in enumerate(np.atleast_2d(arrays["test_labels"])):
        rows = splits.rows(number, "test")
        if not np.array_equal(labels, splits.labels(number, "test")):
            raise DamagedFileError(f"{blob} does not hold the labels of the test photos")
        if splits.count > 1 and not np.array_equal(arrays["test_photos"][number], rows):
            raise DamagedFileError(f"{blob} is not of the test photos of each split")


def check_evaluation(
    entry: RecordEntry[Evaluation],
    blob: Path,
    predicted: np.ndarray[Any, Any],
    blocks: Mapping[str, RunBlock],
    drawn: Mapping[DrawKey, StoredDraw],
    predictions: Predictions,
) -> None:
    """Checks that an evaluation holds what the runs predict.

    Raises:
        DamagedFileError: it holds something else.
    """
    evaluation, live = entry.body, runs.live(blocks)
    if evaluation.keys != list(live):
        raise DamagedFileError(f"{entry.path} does not list the current runs")
    for row, (run, stored) in enumerate(zip(evaluation.runs, live.values(), strict=True)):
        draw = drawn.get(run.draw)
        if draw is not None and draw.draw.realised_rate != run.realised_rate:
            raise DamagedFileError(f"{blob} has a different rate of wrong labels than {run.draw}")
        said = (run.failure, run.recency, evaluation.provenances[run.provenance])
        if said != (stored.run.failure, stored.block.recency, stored.block.provenance):
            raise DamagedFileError(f"{entry.path} contradicts the record of {run.method} on {run.draw}")
        if run.failure is None and stored.name in predictions:
            columns = [evaluation.selections.index(selection) for selection in stored.block.selections]
            if not np.array_equal(predicted[row, columns], predictions[stored.name][stored.row]):
                raise DamagedFileError(f"{blob} does not hold what {run.method} on {run.draw} predicts")


def check_accuracies(path: Path, comparison: Comparison, evaluation: Evaluation, arrays: Arrays) -> None:
    """Checks that a table shows the evaluation's accuracies.

    Raises:
        DamagedFileError: it shows others.
    """
    if comparison.select is None:
        return
    column, last = (evaluation.selections.index(each) for each in (comparison.select, "last"))
    accuracy = (arrays["predicted"] == evaluations.labels_of_runs(evaluation, arrays)[:, None]).mean(axis=2)
    by_cell: dict[Identity, list[float]] = {}
    for row, (key, run) in enumerate(zip(evaluation.keys, evaluation.runs, strict=True)):
        if run.failure is None:
            own = column if arrays["available"][row, column] else last
            by_cell.setdefault(key.identity, []).append(float(accuracy[row, own]))
    for shown in comparison.rows:
        values = by_cell.get(shown.identity, [])
        if len(values) != len(shown.values) or not np.allclose(values, shown.values, rtol=0, atol=_EQUAL):
            raise DamagedFileError(f"{path} shows other accuracies for {shown.loss} than the evaluation")
