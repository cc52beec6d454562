"""Runs on disk: blocks of models that were trained together."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.store import files
from flowernoise.store.layout import Layout
from flowernoise.store.records import BlockHead, Dataset, Run, RunBlock, RunKey
from flowernoise.store.setups import Setup
from flowernoise.store.watch import Watch

KIND = "runs"
PREDICTION_ARRAYS = ("test_probabilities", "val_probabilities", "train_predicted")
HISTORY_ARRAYS = (
    "history_loss",
    "history_val_accuracy",
    "history_val_loss",
    "history_test_accuracy",
    "history_memorised",
)
Arrays = dict[str, np.ndarray[Any, Any]]


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """A run and where it is stored: its block's name and record, and its row in the block."""

    run: Run
    block: RunBlock
    name: str
    row: int

    @property
    def key(self) -> RunKey:
        """The run's identity."""
        return self.block.key(self.run)


def name_of(block: RunBlock) -> str:
    """File name of a block, without its suffix: a digest of its runs, how they were trained, and its generation."""
    keys = [(run.draw, run.method, run.labels) for run in block.runs]
    return files.digest_of([block.dataset, block.setup, block.generation, keys])[:16]


def write(layout: Layout, block: RunBlock, arrays: Arrays, weights: Arrays | None = None) -> None:
    """Writes a block's arrays and weights, then its record, with the references to them filled in."""
    name = name_of(block)
    with files.together():
        kept = None if weights is None else files.write_arrays(layout.runs, f"{name}.weights", weights)
        written = msgspec.structs.replace(block, arrays=files.write_arrays(layout.runs, name, arrays), weights=kept)
        files.write_record(layout.runs / f"{name}.json", KIND, written)


def blocks(
    layout: Layout, dataset: str, on_damage: Callable[[Path, DamagedFileError], None] | None = None
) -> dict[str, RunBlock]:
    """The blocks of a data set, by name.

    Args:
        on_damage: called with each damaged record, which is then skipped; without it, the error is raised.

    Raises:
        DamagedFileError: a record is damaged.
    """
    return _of_dataset(layout, dataset, lambda path: files.read_record(path, KIND, RunBlock), on_damage)


def watch(layout: Layout, on_damage: Callable[[Path, DamagedFileError], None]) -> Watch[RunBlock]:
    """The blocks of all data sets, those present now and those added later."""
    return Watch(
        layout.runs,
        lambda name: name.endswith(".json"),
        lambda path: files.read_record(path, KIND, RunBlock),
        on_damage,
    )


def heads(layout: Layout, dataset: str) -> dict[str, BlockHead]:
    """The fields that identify a data set's blocks, by name; with many runs, much faster than :func:`blocks`.

    Raises:
        DamagedFileError: a record is damaged.
    """
    return _of_dataset(layout, dataset, lambda path: files.read_fields(path, KIND, BlockHead), None)


Block = TypeVar("Block", RunBlock, BlockHead)


def _of_dataset(
    layout: Layout,
    dataset: str,
    read: Callable[[Path], Block],
    on_damage: Callable[[Path, DamagedFileError], None] | None,
) -> dict[str, Block]:
    found: dict[str, Block] = {}
    for path in records_in(layout.runs):
        try:
            block = read(path)
        except DamagedFileError as error:
            if not os.path.lexists(path):  # another process has just superseded it; the new block is listed now
                return _of_dataset(layout, dataset, read, on_damage)
            if on_damage is None:
                raise _hint(error) from error
            on_damage(path, error)
            continue
        if block.dataset == dataset:
            found[path.stem] = block
    return found


def records_in(folder: Path) -> list[Path]:
    """Sorted paths of the block records in a folder."""
    return sorted(folder.glob("*.json"))


def live(found: Mapping[str, RunBlock]) -> dict[RunKey, StoredRun]:
    """The valid version of every run, which has the highest generation, ordered by key."""
    runs: dict[RunKey, StoredRun] = {}
    for name, block in found.items():
        for row, (key, run) in enumerate(zip(block.keys, block.runs, strict=True)):
            rival = runs.get(key)
            if rival is None or (rival.block.generation, rival.name) < (block.generation, name):
                runs[key] = StoredRun(run, block, name, row)
    return dict(sorted(runs.items()))


def next_recency(trained: Iterable[tuple[int, Setup]], setup: Setup) -> int:
    """Recency for runs trained now: the setup's own if it is already the highest, else one above all others.

    So a sweep that is shared or interrupted gives the same records as one that is trained in one go.

    Args:
        trained: recency and setup of the existing runs.
        setup: of the runs to train.
    """
    own, others = 1, 0
    for recency, each in trained:
        if each == setup:
            own = max(own, recency)
        else:
            others = max(others, recency)
    return own if own > others else others + 1


def remove_superseded(layout: Layout, dataset: str) -> None:
    """Removes blocks whose runs have all been superseded."""
    found = blocks(layout, dataset, on_damage=lambda _path, _error: None)
    in_use = {stored.name for stored in live(found).values()}
    for name in sorted(found.keys() - in_use):
        _remove(layout, name)


def _remove(layout: Layout, name: str) -> None:
    """Removes a block: its record first, then the files that it names."""
    for path in (layout.runs / f"{name}.json", *layout.runs.glob(f"{name}*")):
        files.remove(path)


def remove_runs(layout: Layout, dataset: Dataset, name: str, block: RunBlock, unwanted: Collection[RunKey]) -> None:
    """Removes some of a block's runs; the others are written to a new block before the old one is removed.

    Raises:
        DamagedFileError: the other runs are damaged.
    """
    stay = [row for row, key in enumerate(block.keys) if key not in unwanted]
    if stay:
        arrays = {each: array[stay] for each, array in read_predictions(layout, dataset, block).items()}
        write(layout, msgspec.structs.replace(block, runs=tuple(block.runs[row] for row in stay)), arrays)
    _remove(layout, name)


def quarantine(layout: Layout, name: str, block: RunBlock) -> None:
    """Renames a block's record and arrays, so that they are no longer read."""
    files.quarantine(layout.runs / f"{name}.json")
    for ref in filter(None, (block.arrays, block.weights)):
        files.quarantine(files.checked_path(layout.runs, ref))


def check(layout: Layout, block: RunBlock) -> None:
    """Checks every byte of a block's arrays and weights.

    Raises:
        DamagedFileError: they are missing or damaged.
    """
    for ref in filter(None, (block.arrays, block.weights)):
        files.check_blob(layout.runs, ref)


def read_predictions(layout: Layout, dataset: Dataset, block: RunBlock) -> Arrays:
    """The predictions and history of a block's runs: arrays as described in :class:`RunBlock`.

    Raises:
        DamagedFileError: they are damaged.
    """
    runs, epochs = len(block.runs), block.setup.epochs
    declared = _declared_predictions(dataset, runs, len(block.selections))
    declared |= {name: files.Declared("f", (runs, epochs)) for name in HISTORY_ARRAYS}
    try:
        arrays = files.read_arrays(layout.runs, block.arrays, declared)
        _check_predictions(arrays, dataset, block, str(layout.runs / block.arrays.name))
    except DamagedFileError as error:
        raise _hint(error) from error
    return arrays


def read_weights(layout: Layout, block: RunBlock, names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> Arrays:
    """The weights of a fine-tuned network.

    Raises:
        BadRequestError: they were not kept.
        DamagedFileError: they are damaged, or have other shapes.
    """
    if block.weights is None:
        raise BadRequestError("its weights were not kept; train it again with --keep-weights")
    declared = {name: files.Declared("f", shape) for name, shape in zip(names, shapes, strict=True)}
    try:
        return files.read_arrays(layout.runs, block.weights, declared)
    except DamagedFileError as error:
        raise _hint(error) from error


def _declared_predictions(dataset: Dataset, runs: int, selections: int) -> dict[str, files.Declared]:
    train, val, test = dataset.sizes
    return {
        "test_probabilities": files.Declared("f", (runs, selections, test, len(dataset.classes))),
        "val_probabilities": files.Declared("f", (runs, selections, val, len(dataset.classes))),
        "train_predicted": files.Declared("iu", (runs, selections, train)),
    }


def _check_predictions(arrays: Arrays, dataset: Dataset, block: RunBlock, where: str) -> None:
    """Refuses impossible predictions; only failed runs may have invalid probabilities."""
    finished = [row for row, run in enumerate(block.runs) if run.failure is None]
    for name in ("test_probabilities", "val_probabilities"):
        values = arrays[name][finished]
        if not ((values >= 0) & (values <= 1 + 1e-5)).all():
            raise DamagedFileError(f"{where}: {name} holds values that are not probabilities")
    predicted = arrays["train_predicted"]
    if (predicted < 0).any() or (predicted >= len(dataset.classes)).any():
        raise DamagedFileError(f"{where}: train_predicted holds classes that do not exist")


def _hint(error: DamagedFileError) -> DamagedFileError:
    return DamagedFileError(
        f"{error}; `flowernoise train` with the same options sets it aside and makes its runs again"
    )
