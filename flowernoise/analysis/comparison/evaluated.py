"""The evaluated runs of a comparison's directories: in cells, grouped by the test photos that they share."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flowernoise.analysis.stats import PhotosTested
from flowernoise.catalogue.metrics import RunPredictions
from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.store import artifacts, datasets, evaluations, files, runs
from flowernoise.store.layout import Layout
from flowernoise.store.records import (
    Dataset,
    DrawKey,
    EvaluatedRun,
    Evaluation,
    Identity,
    PresetRecord,
    Provenance,
    RunBlock,
    Selection,
)
from flowernoise.store.setups import Setup

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Directory:
    """The part of an artifacts directory that shows whether it was compared before.

    Args:
        evaluation: SHA-256 of the evaluation's record.
        inputs: digest of the current runs.
    """

    path: Path
    dataset: Dataset
    preset: PresetRecord | None
    evaluation: str
    inputs: str

    @property
    def layout(self) -> Layout:
        """Its layout."""
        return Layout(self.path)


def open_directory(path: Path) -> Directory:
    """Reads the records that say what was evaluated.

    Raises:
        BadRequestError: nothing is prepared or evaluated.
        DamagedFileError: a record is damaged.
    """
    layout = artifacts.opened(path)
    dataset = datasets.need(layout)
    with _made_again():
        evaluation = evaluations.digest(layout)
    if evaluation is None:
        raise BadRequestError(f"nothing is evaluated in {path}; run `flowernoise evaluate` first")
    preset = files.read_record(layout.preset, "preset", PresetRecord) if layout.preset.exists() else None
    return Directory(path, dataset, preset, evaluation, evaluations.inputs_of(runs.heads(layout, dataset.id)))


@contextlib.contextmanager
def _made_again() -> Iterator[None]:
    try:
        yield
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}; `flowernoise evaluate` makes it again") from error


class CellKey(NamedTuple):
    """One method under one noise in one directory, trained in one way; the sort order is not that of printed tables."""

    directory: int
    noise: str
    rate: float
    loss: str
    setup: Setup

    @property
    def identity(self) -> Identity:
        """The identity that its runs share."""
        return Identity(self.noise, self.rate, self.loss, self.setup)


@dataclasses.dataclass(frozen=True)
class Members:
    """The runs of a cell: rows of predictions and seeds of the successful runs, and the number of failed ones.

    ``recency`` is that of the run trained last; ``provenances`` holds each distinct one among the runs.
    """

    rows: list[int]
    seeds: list[int]
    failed: int
    realised_rate: float
    collapsed: int
    recency: int
    provenances: tuple[Provenance, ...]


@dataclasses.dataclass(frozen=True)
class Failure:
    """A run that failed, and the reason."""

    cell: CellKey
    draw: DrawKey
    reason: str


@dataclasses.dataclass(frozen=True)
class Group:
    """The runs, in cells, of all directories with the same test photos.

    ``selected`` is the selection shown. ``fallen_back`` counts the runs without it, which show their last epoch.
    ``failures`` lists each failed run with its reason. ``tested`` says which test photos each run predicts; None if all
    predict the same.
    """

    directories: tuple[int, ...]
    dataset: Dataset
    predictions: RunPredictions
    cells: dict[CellKey, Members]
    asked: Selection
    selected: Selection
    fallen_back: int
    failures: list[Failure]
    tested: PhotosTested | None = None


@dataclasses.dataclass(frozen=True)
class _Read:
    position: int
    directory: Directory
    evaluation: Evaluation
    arrays: dict[str, Array]

    @functools.cached_property
    def order(self) -> Array:
        """The order of the test photos of each split in which all splits have the same labels [split, photo]."""
        return np.argsort(np.atleast_2d(self.arrays["test_labels"]), axis=1, kind="stable")

    @property
    def labels(self) -> Array:
        """The labels of the test photos: as evaluated, or if there are several splits, in the order that they share."""
        labels = self.arrays["test_labels"]
        return labels if self.evaluation.splits == 1 else np.sort(labels[0])


def read_groups(
    directories: Sequence[Directory], select: Selection | None, needs: Sequence[str]
) -> tuple[list[Group], tuple[str, ...]]:
    """Reads the evaluations and groups them by test photos, in the order of the directories.

    Also returns, for each directory, the digest of the evaluated runs.

    Args:
        select: the selection to show; None for the usual one.
        needs: attributes of :class:`RunPredictions` that the metric needs in addition to the predicted classes.

    Raises:
        BadRequestError: an evaluation belongs to other photos than those prepared, or, if probabilities are needed,
            to other runs.
        DamagedFileError: a file is damaged.
    """
    by_photos: dict[str, list[_Read]] = {}
    inputs = []
    alone = len({directory.dataset.id for directory in directories}) == 1
    for position, directory in enumerate(directories):
        dataset = directory.dataset
        photos_id = dataset.id if alone else _test_photos(directory)
        evaluation, arrays = _read(directory)
        by_photos.setdefault(photos_id, []).append(_Read(position, directory, evaluation, arrays))
        inputs.append(evaluation.inputs)
    return [_group(members, select, needs) for members in by_photos.values()], tuple(inputs)


def _read(directory: Directory) -> tuple[Evaluation, dict[str, Array]]:
    layout = directory.layout
    with _made_again():
        evaluation = evaluations.find(layout)
        if evaluation is None or evaluation.dataset != directory.dataset.id:
            raise BadRequestError(
                f"the evaluation in {layout.root} is of the photos before the last `flowernoise prepare`; run "
                "`flowernoise corrupt`, `train` and `evaluate` for the current ones"
            )
        return evaluation, evaluations.read(layout, evaluation)


def _test_photos(directory: Directory) -> str:
    """Digest of the classes and of every test photo with its label; equal if runs can be compared in pairs."""
    splits = datasets.splits(directory.layout, directory.dataset)
    tested = [
        [(photo.id, photo.label) for photo in splits.of(number) if photo.split == "test"]
        for number in range(splits.count)
    ]
    return files.digest_of([directory.dataset.classes, *tested])


def _group(members: Sequence[_Read], select: Selection | None, needs: Sequence[str]) -> Group:
    asked: Selection = select or ("selected" if any(each.directory.dataset.sizes[1] for each in members) else "last")
    taken = [_Taken(each, asked) for each in members]
    fallen_back = sum(each.fallen_back for each in taken)
    if asked == "oracle" and all(each.has_none for each in taken):
        why = "fine-tuning keeps the last epoch only" if members[0].directory.dataset.sizes[1] else "without val"
        raise BadRequestError(f"--select oracle: no run has it ({why}); use --select last")
    further = {name: np.concatenate([each.further(name) for each in taken]) for name in needs}
    predicted = np.concatenate([each.of_photos("predicted") for each in taken])
    return Group(
        directories=tuple(each.position for each in members),
        dataset=members[0].directory.dataset,
        predictions=RunPredictions(predicted, members[0].labels, members[0].evaluation.classes, **further),
        tested=_tested(members[0], np.concatenate([each.seeds for each in taken])),
        cells=_cells(members, np.concatenate([each.array("collapsed") for each in taken])),
        asked=asked,
        selected="last" if len(predicted) and fallen_back == len(predicted) else asked,
        fallen_back=fallen_back,
        failures=[
            Failure(CellKey(each.position, *key.identity), key.draw, run.failure)
            for each in members
            for key, run in zip(each.evaluation.keys, each.evaluation.runs, strict=True)
            if run.failure
        ],
    )


def _tested(read: _Read, seeds: Array) -> PhotosTested | None:
    if read.evaluation.splits == 1:
        return None
    photos = np.take_along_axis(read.arrays["test_photos"], read.order, axis=1)
    return PhotosTested(seeds % read.evaluation.splits, photos)


class _Taken:
    """One directory's runs that did not fail, each under the requested selection, falling back to ``last``."""

    def __init__(self, read: _Read, select: Selection) -> None:
        evaluation, available = read.evaluation, read.arrays["available"]
        wanted, last = evaluation.selections.index(select), evaluation.selections.index("last")
        missing = available[:, last] & ~available[:, wanted]
        self._read = read
        self._rows = np.array([row for row, run in enumerate(evaluation.runs) if run.failure is None], dtype=int)
        self._columns = np.where(missing, last, wanted)[self._rows]
        self.fallen_back = int(missing.sum())
        self.has_none = not available[:, wanted].any()
        self.seeds = np.array([evaluation.runs[row].draw.seed for row in self._rows], dtype=int)

    def array(self, name: str) -> Array:
        """Their part of an array of the evaluation."""
        part: Array = self._read.arrays[name][self._rows, self._columns]
        return part

    def of_photos(self, name: str) -> Array:
        """Their part of an array with a value for each test photo, in the order of the group's labels."""
        return self._in_order(self.array(name))

    def further(self, name: str) -> Array:
        """Further arrays that some metrics need."""
        return self._in_order(self._probabilities()) if name == "probabilities" else self.array(name)

    def _in_order(self, of_photos: Array) -> Array:
        """An array [run, photo, …] with the photos of each run in the order of labels that all splits have."""
        splits = self._read.evaluation.splits
        if splits == 1:
            return of_photos
        order = self._read.order[self.seeds % splits]
        return np.take_along_axis(of_photos, order.reshape(*order.shape, *[1] * (of_photos.ndim - 2)), axis=1)

    def _probabilities(self) -> Array:
        """Probabilities for the test photos [runs, photos, classes]."""
        layout, evaluation = self._read.directory.layout, self._read.evaluation
        if evaluation.inputs != self._read.directory.inputs:
            raise BadRequestError(
                f"probabilities of the evaluated runs are needed, but in {layout.root} runs were added or changed "
                "since; run `flowernoise evaluate` first"
            )
        found = runs.blocks(layout, evaluation.dataset)
        live = runs.live(found)
        keys = evaluation.keys
        stored = [live[keys[row]] for row in self._rows]
        by_block: dict[str, list[int]] = {}
        for place, each in enumerate(stored):
            by_block.setdefault(each.name, []).append(place)
        shape = (len(stored), sum(evaluation.counts[2]), len(evaluation.classes))
        probabilities = np.empty(shape, dtype=np.float32)
        for name, places in by_block.items():
            selections = [found[name].selections.index(evaluation.selections[self._columns[k]]) for k in places]
            probabilities[places] = self._predictions(found[name])[[stored[k].row for k in places], selections]
        return probabilities

    def _predictions(self, block: RunBlock) -> Array:
        """Probabilities of a block's runs for the test photos [run, selection, photo, class]."""
        layout, dataset = self._read.directory.layout, self._read.directory.dataset
        return runs.read_predictions(layout, dataset, block)["test_probabilities"]


def _cells(members: Sequence[_Read], collapsed: Array) -> dict[CellKey, Members]:
    found: dict[CellKey, list[tuple[int, EvaluatedRun]]] = {}
    provenances = {each.position: each.evaluation.provenances for each in members}
    alive = 0
    for each in members:
        evaluation = each.evaluation
        for run in evaluation.runs:
            cell = CellKey(each.position, run.draw.noise, run.draw.rate, run.method, evaluation.setups[run.setup])
            found.setdefault(cell, []).append((alive, run))
            alive += run.failure is None
    return {cell: _members(pairs, collapsed, provenances[cell.directory]) for cell, pairs in found.items()}


def _members(pairs: Sequence[tuple[int, EvaluatedRun]], collapsed: Array, provenances: Sequence[Provenance]) -> Members:
    alive = [(row, run.draw.seed) for row, run in pairs if run.failure is None]
    rows = [row for row, _ in alive]
    return Members(
        rows=rows,
        seeds=[seed for _, seed in alive],
        failed=len(pairs) - len(alive),
        realised_rate=sum(run.realised_rate for _, run in pairs) / len(pairs),
        collapsed=int(collapsed[rows].sum()),
        recency=max(run.recency for _, run in pairs),
        provenances=tuple(provenances[place] for place in sorted({run.provenance for _, run in pairs})),
    )
