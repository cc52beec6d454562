"""Runs on disk: blocks of models that were trained together."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from flowernoise.errors import DamagedFileError
from flowernoise.store import files
from flowernoise.store.layout import Layout
from flowernoise.store.records import BlockHead, Dataset, Predictions, Provenance, Run, RunBlock, RunKey
from flowernoise.store.setups import Setup
from flowernoise.store.watch import Watch

KIND = "runs"
PREDICTIONS_KIND = "predictions"
PREDICTIONS_SUFFIX = ".predictions.json"
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
    """A run and where it lies: its block's name and record, and its row in the block."""

    run: Run
    block: RunBlock
    name: str
    row: int

    @property
    def key(self) -> RunKey:
        """Identity of the run."""
        return self.block.key(self.run)


def name_of(block: RunBlock) -> str:
    """File name of a block, without suffix: what it holds, how that was trained and in place of what."""
    keys = [(run.draw, run.method, run.labels) for run in block.runs]
    return files.digest_of([block.dataset, block.setup, block.generation, keys])[:16]


def write(layout: Layout, block: RunBlock, arrays: Arrays) -> None:
    """Writes a block's arrays, then its record; what ``block`` says of its arrays is filled in."""
    name = name_of(block)
    with files.together():
        written = msgspec.structs.replace(block, arrays=files.write_arrays(layout.runs, name, arrays))
        files.write_record(layout.runs / f"{name}.json", KIND, written)


def blocks(
    layout: Layout, dataset: str, on_damage: Callable[[Path, DamagedFileError], None] | None = None
) -> dict[str, RunBlock]:
    """The blocks of a data set, by name.

    Args:
        on_damage: called with each damaged record, which is then passed over; without it the damage is raised.

    Raises:
        DamagedFileError: a record is not what was written.
    """
    return _of_dataset(layout, dataset, lambda path: files.read_record(path, KIND, RunBlock), on_damage)


def watch(layout: Layout, on_damage: Callable[[Path, DamagedFileError], None]) -> Watch[RunBlock]:
    """The blocks of all data sets that are there, and those that are added."""
    return Watch(layout.runs, _is_record, lambda path: files.read_record(path, KIND, RunBlock), on_damage)


def heads(layout: Layout, dataset: str) -> dict[str, BlockHead]:
    """What tells the blocks of a data set from others, by name; of many runs a fraction of the work of :func:`blocks`.

    Raises:
        DamagedFileError: a record is not what was written.
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
            if not os.path.lexists(path):  # superseded by another process in this moment: what did so is there now
                return _of_dataset(layout, dataset, read, on_damage)
            if on_damage is None:
                raise _hint(error) from error
            on_damage(path, error)
            continue
        if block.dataset == dataset:
            found[path.stem] = block
    return found


def records_in(folder: Path) -> list[Path]:
    """Paths of the records of blocks in a folder, in order."""
    return sorted(path for path in folder.glob("*.json") if _is_record(path.name))


def _is_record(name: str) -> bool:
    return name.endswith(".json") and not name.endswith(PREDICTIONS_SUFFIX)


def live(found: Mapping[str, RunBlock]) -> dict[RunKey, StoredRun]:
    """Every run's valid version, that of the highest generation, in the order of the keys."""
    runs: dict[RunKey, StoredRun] = {}
    for name, block in found.items():
        for row, (key, run) in enumerate(zip(block.keys, block.runs, strict=True)):
            rival = runs.get(key)
            if rival is None or (rival.block.generation, rival.name) < (block.generation, name):
                runs[key] = StoredRun(run, block, name, row)
    return dict(sorted(runs.items()))


def next_recency(trained: Iterable[tuple[int, Setup]], setup: Setup) -> int:
    """Recency of runs that are trained now: above that of all other setups, and that of equal ones where that is so.

    So sharing out a sweep, or going on with an interrupted one, gives the same records as training it in one go.

    Args:
        trained: recency and setup of the runs that are there.
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
    """Removes the blocks in which no run is valid any more."""
    found = blocks(layout, dataset, on_damage=lambda _path, _error: None)
    in_use = {stored.name for stored in live(found).values()}
    for name in sorted(found.keys() - in_use):
        _remove(layout, name)


def _remove(layout: Layout, name: str) -> None:
    """Removes a block; first what names the others."""
    for path in (predictions_path(layout, name), layout.runs / f"{name}.json", *layout.runs.glob(f"{name}*")):
        files.remove(path)


def remove_runs(layout: Layout, dataset: Dataset, name: str, block: RunBlock, unwanted: Collection[RunKey]) -> None:
    """Removes some of a block's runs; those that stay are written anew before the block goes.

    Raises:
        DamagedFileError: the runs that stay are not what was written.
    """
    stay = [row for row, key in enumerate(block.keys) if key not in unwanted]
    if stay:
        arrays = {each: array[stay] for each, array in read_head_predictions(layout, dataset, block).items()}
        write(layout, msgspec.structs.replace(block, runs=tuple(block.runs[row] for row in stay)), arrays)
    _remove(layout, name)


def quarantine(layout: Layout, name: str, block: RunBlock) -> None:
    """Renames a block's record and arrays, so that nothing reads them any more."""
    files.quarantine(layout.runs / f"{name}.json")
    files.quarantine(files.checked_path(layout.runs, block.arrays))


def check(layout: Layout, block: RunBlock) -> None:
    """Checks every byte of a block's arrays.

    Raises:
        DamagedFileError: missing, or not what was written.
    """
    files.check_blob(layout.runs, block.arrays)


def read_head_predictions(layout: Layout, dataset: Dataset, block: RunBlock) -> Arrays:
    """What the heads of a block predict, and their history: arrays as declared in :class:`RunBlock`.

    Raises:
        DamagedFileError: not what was written.
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


def predictions_of(layout: Layout, dataset: Dataset, name: str, block: RunBlock) -> Arrays | None:
    """What the runs of a block predict, of heads with their history; None for a network that was not evaluated yet.

    Raises:
        DamagedFileError: not what was written.
    """
    if block.mode == "features":
        return read_head_predictions(layout, dataset, block)
    return find_predictions(layout, dataset, name, block)


def read_weights(layout: Layout, block: RunBlock, names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> Arrays:
    """The weights of a fine-tuned network.

    Raises:
        DamagedFileError: not what was written, or not of these shapes.
    """
    declared = {name: files.Declared("f", shape) for name, shape in zip(names, shapes, strict=True)}
    try:
        return files.read_arrays(layout.runs, block.arrays, declared)
    except DamagedFileError as error:
        raise _hint(error) from error


def predictions_path(layout: Layout, name: str) -> Path:
    """Record of what a fine-tuned block predicts."""
    return layout.runs / f"{name}{PREDICTIONS_SUFFIX}"


def write_predictions(layout: Layout, name: str, block: RunBlock, arrays: Arrays, provenance: Provenance) -> None:
    """Keeps what a fine-tuned block predicts."""
    with files.together():
        ref = files.write_arrays(layout.runs, f"{name}.predictions", arrays)
        record = Predictions(block.arrays.sha256, ref, provenance)
        files.write_record(predictions_path(layout, name), PREDICTIONS_KIND, record)


def find_predictions(layout: Layout, dataset: Dataset, name: str, block: RunBlock) -> Arrays | None:
    """What a fine-tuned block predicts, if that was computed from its present weights.

    Raises:
        DamagedFileError: there is something, but it is not what was written.
    """
    path = predictions_path(layout, name)
    if not path.exists():
        return None
    try:
        record = files.read_record(path, PREDICTIONS_KIND, Predictions)
        if record.block != block.arrays.sha256:
            return None
        arrays = files.read_arrays(layout.runs, record.arrays, _declared_predictions(dataset, len(block.runs), 1))
        _check_predictions(arrays, dataset, block, str(layout.runs / record.arrays.name))
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}; `flowernoise evaluate` makes it again") from error
    return arrays


def _declared_predictions(dataset: Dataset, runs: int, selections: int) -> dict[str, files.Declared]:
    train, val, test = dataset.sizes
    return {
        "test_probabilities": files.Declared("f", (runs, selections, test, len(dataset.classes))),
        "val_probabilities": files.Declared("f", (runs, selections, val, len(dataset.classes))),
        "train_predicted": files.Declared("iu", (runs, selections, train)),
    }


def _check_predictions(arrays: Arrays, dataset: Dataset, block: RunBlock, where: str) -> None:
    """Refuses predictions that no run gives: only a failed run may have probabilities that are none."""
    finished = [row for row, run in enumerate(block.runs) if run.failure is None]
    for name in ("test_probabilities", "val_probabilities"):
        values = arrays[name][finished]
        if not ((values >= 0) & (values <= 1 + 1e-5)).all():
            raise DamagedFileError(f"{where}: {name} holds what is no probability")
    predicted = arrays["train_predicted"]
    if (predicted < 0).any() or (predicted >= len(dataset.classes)).any():
        raise DamagedFileError(f"{where}: train_predicted holds classes that there are not")


def _hint(error: DamagedFileError) -> DamagedFileError:
    return DamagedFileError(
        f"{error}; `flowernoise train` with the same options sets it aside and makes its runs again"
    )
