"""Features that come without photos, as rows of an NPZ file: embeddings of tables, texts, or of anything."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.catalogue import array_files
from flowernoise.catalogue.array_files import ArrayHeader
from flowernoise.errors import BadRequestError

FEATURES, IDS = "features", "ids"
MAX_BYTES = 4 << 30  # of features, as stored in the file
MAX_DIMENSION = 1_000_000
MAX_ID = 200  # characters
_KNOWN = (FEATURES, IDS, "labels", "split", "class_names")

FeatureArray = np.ndarray[Any, np.dtype[np.float32]]


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureRows:
    """Rows of features with their labels.

    Args:
        ids: tells the rows apart; their positions where the file gives none [n].
        classes: names of the classes.
        labels: the number of each row's class [n].
        splits: train, val or test for each row; None if the file gives no splits.
        features: float32 [n, d].
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    labels: tuple[int, ...]
    splits: tuple[str, ...] | None
    features: FeatureArray


def read(path: Path) -> FeatureRows:
    """Reads ``features`` and ``labels``, and if there, ``ids``, ``split`` and ``class_names``.

    Raises:
        BadRequestError: something is missing, too large, or not what it should be; the message names it.
        FlowernoiseError: the file cannot be read.
    """
    there = array_files.headers(path)
    if others := sorted(there.keys() - set(_KNOWN)):
        raise BadRequestError(f"{path}: {others[0]} is not known; an NPZ file of features may hold {', '.join(_KNOWN)}")
    count = _checked(path, there)
    given = array_files.labelling(path, count)
    return FeatureRows(
        ids=_ids(path, there, count),
        classes=given.classes,
        labels=tuple(given.labels.tolist()),
        splits=given.splits,
        features=_features(path),
    )


def _checked(path: Path, there: dict[str, ArrayHeader]) -> int:
    """The number of rows, known before anything is read."""
    if FEATURES not in there:
        raise BadRequestError(f"{path} has no {FEATURES}; it has {', '.join(there) or 'nothing'}")
    header = there[FEATURES]
    if len(header.shape) != 2 or not all(header.shape):
        shape = " × ".join(f"{length:,}" for length in header.shape) or "a single number"
        raise BadRequestError(f"{path}: {FEATURES} must be a table of rows × numbers, not {shape}")
    if header.dtype.kind != "f":
        raise BadRequestError(
            f"{path}: {FEATURES} must be real numbers (floats), not {header.dtype}; turn them into features first"
        )
    count, dimension = header.shape
    if header.bytes > MAX_BYTES or dimension > MAX_DIMENSION:
        raise BadRequestError(
            f"{path}: {FEATURES} of {count:,} × {dimension:,} are too large; at most {MAX_BYTES:,} bytes and "
            f"{MAX_DIMENSION:,} numbers per row are read"
        )
    return count


def _features(path: Path) -> FeatureArray:
    with np.errstate(over="ignore"):
        features: FeatureArray = array_files.read(path, FEATURES, MAX_BYTES).astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(wrong):
        more = "" if len(wrong) == 1 else f", and {len(wrong) - 1:,} more"
        raise BadRequestError(f"{path}: {FEATURES} of row {wrong[0]:,}{more} are not finite in single precision")
    return features


def _ids(path: Path, there: dict[str, ArrayHeader], count: int) -> tuple[str, ...]:
    if IDS not in there:
        width = len(str(count - 1))
        return tuple(f"{place:0{width}}" for place in range(count))
    if there[IDS].shape != (count,):
        raise BadRequestError(f"{path}: {IDS} must be one row of {count:,}, one for each row of {FEATURES}")
    if there[IDS].dtype.kind in "iu":
        ids = tuple(map(str, array_files.read(path, IDS, array_files.MAX_TEXT).tolist()))
    else:
        ids = array_files.texts(path, IDS, (count,))
    seen: set[str] = set()
    for id in ids:
        if not id or len(id) > MAX_ID or not id.isprintable():
            raise BadRequestError(f"{path}: id {id[:80]!a} must be 1 to {MAX_ID} printable characters")
        if id in seen:
            raise BadRequestError(f"{path}: id {id!r} is there twice; each row needs its own")
        seen.add(id)
    return ids
