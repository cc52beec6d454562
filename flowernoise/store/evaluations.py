"""The evaluation of an artifacts directory."""

from __future__ import annotations

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
    """Digest of the blocks that an evaluation is made from."""
    return files.digest_of([(name, blocks[name].arrays.sha256, blocks[name].generation) for name in sorted(blocks)])


def find(layout: Layout) -> Evaluation | None:
    """The evaluation, or None.

    Raises:
        DamagedFileError: there is a record, but it is not what was written.
    """
    return files.read_record(layout.evaluation, KIND, Evaluation) if layout.evaluation.exists() else None


def digest(layout: Layout) -> str | None:
    """SHA-256 of the evaluation's record, or None where there is none; it covers all that was evaluated.

    Raises:
        DamagedFileError: there is a record, but it is not what was written.
    """
    return files.digest_of_record(layout.evaluation, KIND) if layout.evaluation.exists() else None


def read(layout: Layout, evaluation: Evaluation) -> Arrays:
    """The evaluation's arrays.

    Raises:
        DamagedFileError: not what was written.
    """
    arrays = files.read_arrays(layout.root, evaluation.arrays, ARRAYS)
    rows = len(evaluation.runs)
    if any(len(array) != rows for name, array in arrays.items() if name != "test_labels"):
        raise DamagedFileError(f"{layout.root / evaluation.arrays.name} does not hold as many runs as its record")
    return arrays


def write(layout: Layout, evaluation: Evaluation, arrays: Arrays) -> Evaluation:
    """Writes arrays and record, and removes the arrays of the evaluation before."""
    written = msgspec.structs.replace(evaluation, arrays=files.write_arrays(layout.root, "evaluation", arrays))
    files.write_record(layout.evaluation, KIND, written)
    for path in layout.root.glob("evaluation-*.h5"):
        if path.name != written.arrays.name:
            path.unlink(missing_ok=True)
    return written
