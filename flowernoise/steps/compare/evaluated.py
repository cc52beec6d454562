"""What was evaluated in the directories of a comparison: runs in cells, by the test photos that they share."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flowernoise.catalogue.metrics import Answers
from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.store import datasets, evaluations, files, photos, runs
from flowernoise.store.layout import Layout
from flowernoise.store.records import Dataset, EvaluatedRun, Evaluation, Mode, Preset, RunBlock, Selection

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Directory:
    """An artifacts directory as far as it must be read to tell whether it was compared before.

    Args:
        evaluation: SHA-256 of the evaluation's record.
        inputs: digest of the runs that are there now.
    """

    path: Path
    dataset: Dataset
    preset: Preset | None
    evaluation: str
    inputs: str

    @property
    def layout(self) -> Layout:
        """Where its things lie."""
        return Layout(self.path)


def open_directory(path: Path) -> Directory:
    """Reads the records that say what was evaluated.

    Raises:
        BadRequestError: nothing is prepared or evaluated.
        DamagedFileError: a record is not what was written.
    """
    layout = Layout(path)
    dataset = datasets.need(layout)
    with _made_again():
        evaluation = evaluations.digest(layout)
    if evaluation is None:
        raise BadRequestError(f"nothing is evaluated in {path}; run `flowernoise evaluate` first")
    preset = files.read_record(layout.preset, "preset", Preset) if layout.preset.exists() else None
    return Directory(path, dataset, preset, evaluation, evaluations.inputs_of(runs.heads(layout, dataset.id)))


@contextlib.contextmanager
def _made_again() -> Iterator[None]:
    try:
        yield
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}; `flowernoise evaluate` makes it again") from error


class Cell(NamedTuple):
    """One loss under one noise in one directory; cells sort as printed tables do not."""

    directory: int
    noise: str
    rate: float
    loss: str
    backbone: str
    mode: Mode


@dataclasses.dataclass(frozen=True)
class Members:
    """The runs of a cell: rows of those that did not fail, with their seeds, and how many did."""

    rows: list[int]
    seeds: list[int]
    failed: int
    realised_rate: float
    collapsed: int


@dataclasses.dataclass(frozen=True)
class Group:
    """The runs of all directories that hold the same test photos, in cells.

    ``selected`` is the selection shown; ``fallen_back`` counts the runs that have none such and show their last epoch,
    and ``failures`` names each failed run with its reason.
    """

    directories: tuple[int, ...]
    dataset: Dataset
    answers: Answers
    cells: dict[Cell, Members]
    asked: Selection
    selected: Selection
    fallen_back: int
    failures: list[EvaluatedRun]


@dataclasses.dataclass(frozen=True)
class _Read:
    position: int
    directory: Directory
    evaluation: Evaluation
    arrays: dict[str, Array]


def read_groups(directories: Sequence[Directory], select: Selection | None, needs: Sequence[str]) -> list[Group]:
    """Reads what was evaluated, and groups it by test photos, in the order of the directories.

    Args:
        select: what to show; None for the usual.
        needs: attributes of :class:`Answers` that the metric wants beside the predictions.

    Raises:
        BadRequestError: an evaluation of other photos than those prepared, or of other runs where probabilities are
            needed.
        DamagedFileError: not what was written.
    """
    by_photos: dict[str, list[_Read]] = {}
    alone = len({directory.dataset.id for directory in directories}) == 1
    for position, directory in enumerate(directories):
        dataset = directory.dataset
        photos_id = dataset.id if alone else _test_photos(directory)
        by_photos.setdefault(photos_id, []).append(_Read(position, directory, *_read(directory)))
    return [_group(members, select, needs) for members in by_photos.values()]


def _read(directory: Directory) -> tuple[Evaluation, dict[str, Array]]:
    layout = directory.layout
    with _made_again():
        evaluation = evaluations.find(layout)
        if evaluation is None or evaluation.dataset != directory.dataset.id:
            raise BadRequestError(
                f"the evaluation in {layout.root} is of the photos before the last `flowernoise prepare`; run "
                "`flowernoise corrupt`, `train` and `evaluate` for the present ones"
            )
        return evaluation, evaluations.read(layout, evaluation)


def _test_photos(directory: Directory) -> str:
    """Digest of the classes and of every test photo with its label: equal where answers can be compared in pairs."""
    index = photos.read_index(directory.layout.photos, directory.dataset.index)
    tested = [(photo.id, photo.label) for photo in index if photo.split == "test"]
    return files.digest_of([directory.dataset.classes, tested])


def _group(members: Sequence[_Read], select: Selection | None, needs: Sequence[str]) -> Group:
    asked: Selection = select or ("selected" if any(each.directory.dataset.sizes[1] for each in members) else "last")
    columns = [_columns(each, asked) for each in members]
    taken = [np.arange(len(each.evaluation.runs)) for each in members]
    collapsed = np.concatenate(
        [each.arrays["collapsed"][rows, column] for each, rows, (column, _) in zip(members, taken, columns, strict=True)]
    )

    def joined(name: str) -> Array:
        each_one = zip(members, taken, columns, strict=True)
        return np.concatenate([each.arrays[name][rows, column] for each, rows, (column, _) in each_one])

    further = {name: joined(name) for name in needs if name != "probabilities"}
    if "probabilities" in needs:
        loaded = [_probabilities(each, column) for each, (column, _) in zip(members, columns, strict=True)]
        further["probabilities"] = np.concatenate(loaded)
    fallen_back = sum(count for _, count in columns)
    alive = sum(run.failure is None for each in members for run in each.evaluation.runs)
    return Group(
        directories=tuple(each.position for each in members),
        dataset=members[0].directory.dataset,
        answers=Answers(joined("predicted"), members[0].arrays["test_labels"], members[0].evaluation.classes, **further),
        cells=_cells(members, collapsed),
        asked=asked,
        selected="last" if alive and fallen_back == alive else asked,
        fallen_back=fallen_back,
        failures=[run for each in members for run in each.evaluation.runs if run.failure],
    )


def _columns(each: _Read, select: Selection) -> tuple[Array, int]:
    """The selection's column of each run; that of ``last`` for runs that have no other, and how many these are."""
    selections = each.evaluation.selections
    wanted, last = selections.index(select), selections.index("last")
    available = each.arrays["available"]
    fallen_back = available[:, last] & ~available[:, wanted]
    return np.where(fallen_back, last, wanted), int(fallen_back.sum())


def _cells(members: Sequence[_Read], collapsed: Array) -> dict[Cell, Members]:
    found: dict[tuple[Any, ...], list[int]] = {}
    every: list[EvaluatedRun] = []
    for each in members:
        for row, run in enumerate(each.evaluation.runs, start=len(every)):
            key = run.key
            cell = (each.position, key.noise, key.rate, key.loss, key.backbone, key.mode)
            found.setdefault(cell, []).append(row)
        every += each.evaluation.runs
    cells = {}
    for cell, rows in found.items():
        alive = [row for row in rows if every[row].failure is None]
        cells[Cell(*cell)] = Members(
            rows=alive,
            seeds=[every[row].key.seed for row in alive],
            failed=len(rows) - len(alive),
            realised_rate=float(np.mean([every[row].realised_rate for row in rows])),
            collapsed=int(collapsed[alive].sum()),
        )
    return cells


def _probabilities(each: _Read, columns: Array) -> Array:
    """Answers of the runs to the test photos [runs, photos, classes] under the selection of each run; NaN if it failed."""
    layout, evaluation = each.directory.layout, each.evaluation
    if evaluation.inputs != each.directory.inputs:
        raise BadRequestError(
            f"probabilities of the evaluated runs are needed, but in {layout.root} runs were added or changed since; "
            "run `flowernoise evaluate` first"
        )
    found = runs.blocks(layout, evaluation.dataset)
    live = runs.live(found)
    shape = (len(evaluation.runs), len(each.arrays["test_labels"]), len(evaluation.classes))
    probabilities = np.full(shape, np.nan, dtype=np.float32)
    by_block: dict[str, list[tuple[int, runs.StoredRun]]] = {}
    for row, run in enumerate(evaluation.runs):
        if run.failure is None:
            stored = live[run.key]
            by_block.setdefault(stored.name, []).append((row, stored))
    for name, rows in by_block.items():
        block = found[name]
        answers = _answers(layout, name, block)
        selections = [block.selections.index(evaluation.selections[columns[row]]) for row, _ in rows]
        probabilities[[row for row, _ in rows]] = answers[[stored.row for _, stored in rows], selections]
    return probabilities


def _answers(layout: Layout, name: str, block: RunBlock) -> Array:
    """The probabilities for test photos that a block's runs give [run, selection, photo, class]."""
    if block.mode == "features":
        return runs.read_arrays(layout, block, (*runs.PREDICTION_ARRAYS, *runs.HISTORY_ARRAYS))["test_probabilities"]
    predictions = runs.find_predictions(layout, name, block)
    if predictions is None:
        raise DamagedFileError(
            f"{runs.predictions_path(layout, name)} is missing or damaged; `flowernoise evaluate` makes it again"
        )
    return predictions["test_probabilities"]
