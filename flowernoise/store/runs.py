"""Runs on disk: blocks of models that were trained together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from flowernoise.errors import DamagedFileError
from flowernoise.store import files
from flowernoise.store.layout import Layout
from flowernoise.store.records import BlockHead, Predictions, Run, RunBlock, RunKey

KIND = "runs"
PREDICTIONS_KIND = "predictions"
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


def name_of(block: RunBlock) -> str:
    """File name of a block, without suffix: what it holds and how that was trained, not what came out."""
    keys = [(run.key, run.labels) for run in block.runs]
    return files.digest_of([block.dataset, block.backbone, block.mode, block.inputs, block.settings, keys])[:16]


def write(layout: Layout, block: RunBlock, arrays: Arrays) -> None:
    """Writes a block's arrays, then its record; what ``block`` says of its arrays is filled in."""
    name = name_of(block)
    written = msgspec.structs.replace(block, arrays=files.write_arrays(layout.runs, name, arrays))
    files.write_record(layout.runs / f"{name}.json", KIND, written)


def blocks(layout: Layout, dataset: str) -> dict[str, RunBlock]:
    """The blocks of a data set, by name.

    Raises:
        DamagedFileError: a record is not what was written.
    """
    return _of_dataset(layout, dataset, RunBlock)


def heads(layout: Layout, dataset: str) -> dict[str, BlockHead]:
    """What tells the blocks of a data set from others, by name; of many runs a fraction of the work of :func:`blocks`.

    Raises:
        DamagedFileError: a record is not what was written.
    """
    return _of_dataset(layout, dataset, BlockHead)


Block = TypeVar("Block", RunBlock, BlockHead)


def _of_dataset(layout: Layout, dataset: str, kind: type[Block]) -> dict[str, Block]:
    found: dict[str, Block] = {}
    for path in sorted(layout.runs.glob("*.json")):
        if path.name.endswith(".predictions.json"):
            continue
        try:
            block = files.read_record(path, KIND, kind)
        except DamagedFileError as error:
            raise DamagedFileError(f"{error}; remove it, and `flowernoise train` makes its runs again") from error
        if block.dataset == dataset:
            found[path.stem] = block
    return found


def live(found: Mapping[str, RunBlock]) -> dict[RunKey, StoredRun]:
    """Every run's valid version, that of the highest generation, in the order of the keys."""
    runs: dict[RunKey, StoredRun] = {}
    for name, block in found.items():
        for row, run in enumerate(block.runs):
            rival = runs.get(run.key)
            if rival is None or (rival.block.generation, rival.name) < (block.generation, name):
                runs[run.key] = StoredRun(run, block, name, row)
    return dict(sorted(runs.items()))


def remove_superseded(layout: Layout, dataset: str) -> None:
    """Removes the blocks in which no run is valid any more."""
    found = blocks(layout, dataset)
    in_use = {stored.name for stored in live(found).values()}
    for name in found.keys() - in_use:
        for path in (layout.runs / f"{name}.json", *layout.runs.glob(f"{name}*")):
            path.unlink(missing_ok=True)


def read_arrays(layout: Layout, block: RunBlock, names: tuple[str, ...]) -> Arrays:
    """Arrays of a block.

    Raises:
        DamagedFileError: not what was written.
    """
    try:
        return files.read_arrays(layout.runs, block.arrays, names)
    except DamagedFileError as error:
        path = layout.runs / f"{name_of(block)}.json"
        raise DamagedFileError(f"{error}; remove {path}, and `flowernoise train` makes its runs again") from error


def predictions_path(layout: Layout, name: str) -> Path:
    """Record of what a fine-tuned block answers."""
    return layout.runs / f"{name}.predictions.json"


def write_predictions(layout: Layout, name: str, block: RunBlock, arrays: Arrays) -> None:
    """Keeps what a fine-tuned block answers."""
    ref = files.write_arrays(layout.runs, f"{name}.predictions", arrays)
    files.write_record(predictions_path(layout, name), PREDICTIONS_KIND, Predictions(block.arrays.sha256, ref))


def find_predictions(layout: Layout, name: str, block: RunBlock) -> Arrays | None:
    """What a fine-tuned block answers, if that was computed from its present weights and is intact."""
    path = predictions_path(layout, name)
    if not path.exists():
        return None
    try:
        record = files.read_record(path, PREDICTIONS_KIND, Predictions)
        if record.block != block.arrays.sha256:
            return None
        return files.read_arrays(layout.runs, record.arrays, PREDICTION_ARRAYS)
    except DamagedFileError:
        return None
