"""The evaluation of an artifacts directory."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from flowernoise.errors import DamagedFileError
from flowernoise.store import files
from flowernoise.store.layout import Layout
from flowernoise.store.records import BlockHead, Evaluation, RunBlock

KIND = "evaluation"
ARRAYS = ("predicted", "memorised", "recovered", "collapsed", "available", "test_labels")
Arrays = dict[str, np.ndarray[Any, Any]]


def inputs_of(blocks: Mapping[str, RunBlock | BlockHead]) -> str:
    """Digest of the blocks behind an evaluation."""
    return files.digest_of([(name, blocks[name].arrays.sha256, blocks[name].generation) for name in sorted(blocks)])


def find(layout: Layout) -> Evaluation | None:
    """The evaluation, or None.

    Raises:
        DamagedFileError: the record is damaged.
    """
    return files.read_record(layout.evaluation, KIND, Evaluation) if layout.evaluation.exists() else None


def digest(layout: Layout) -> str | None:
    """SHA-256 of the evaluation's record, which covers everything that was evaluated; None without a record.

    Raises:
        DamagedFileError: the record is damaged.
    """
    return files.digest_of_record(layout.evaluation, KIND) if layout.evaluation.exists() else None


def read(layout: Layout, evaluation: Evaluation) -> Arrays:
    """The evaluation's arrays.

    Raises:
        DamagedFileError: they are damaged.
    """
    shape, photos = (len(evaluation.runs), len(evaluation.selections)), sum(evaluation.counts[2])
    declared = {
        "predicted": files.Declared("u", (*shape, photos)),
        "memorised": files.Declared("f", shape),
        "recovered": files.Declared("f", shape),
        "collapsed": files.Declared("b", shape),
        "available": files.Declared("b", shape),
        "test_labels": files.Declared("iu", (photos,)),
    }
    if evaluation.splits > 1:
        in_splits = files.Declared("iu", (evaluation.splits, photos))
        declared |= {"test_labels": in_splits, "test_photos": in_splits}
    arrays = files.read_arrays(layout.root, evaluation.arrays, declared)
    classes = len(evaluation.classes)
    if any(((arrays[name] < 0) | (arrays[name] >= classes)).any() for name in ("predicted", "test_labels")):
        raise DamagedFileError(f"{layout.root / evaluation.arrays.name} holds predictions of classes that do not exist")
    if any((arrays[name] < 0).any() or (arrays[name] > 1).any() for name in ("memorised", "recovered")):
        raise DamagedFileError(f"{layout.root / evaluation.arrays.name} holds shares outside 0 … 1")
    return arrays


def labels_of_runs(evaluation: Evaluation, arrays: Arrays) -> np.ndarray[Any, Any]:
    """The true labels of the test photos that each run predicts [run, photo]."""
    by_split = np.atleast_2d(arrays["test_labels"])
    return np.asarray(by_split[[run.draw.seed % evaluation.splits for run in evaluation.runs]])


def write(layout: Layout, evaluation: Evaluation, arrays: Arrays) -> Evaluation:
    """Writes arrays and record, and removes the previous evaluation's arrays.

    Other arrays stay, as they may belong to a process that is about to write its record. Where locks do not work, two
    processes may write the same arrays while a third replaces them. So arrays that the record names by then are not
    removed, and arrays removed in the meantime are written again if the record still names them.
    """
    before = _named(layout)
    with files.together():
        written = msgspec.structs.replace(evaluation, arrays=files.write_arrays(layout.root, "evaluation", arrays))
        files.write_record(layout.evaluation, KIND, written)
    if before is not None and before != written.arrays and before != _named(layout):
        with contextlib.suppress(DamagedFileError):
            files.remove(files.checked_path(layout.root, before))
    if not (layout.root / written.arrays.name).exists() and _named(layout) == written.arrays:
        files.write_arrays(layout.root, "evaluation", arrays)
    return written


def _named(layout: Layout) -> files.FileRef | None:
    """The arrays that the record names now."""
    with contextlib.suppress(DamagedFileError):
        found = find(layout)
        return None if found is None else found.arrays
    return None
