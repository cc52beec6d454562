"""The rows of a data set of features: an HDF5 file in place of the archive of photos, in the order of the index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.errors import DamagedFileError
from flowernoise.store import files
from flowernoise.store.files import FileRef
from flowernoise.store.layout import Layout
from flowernoise.store.records import Dataset

FeatureArray = np.ndarray[Any, np.dtype[np.float32]]


def write(directory: Path, features: FeatureArray) -> FileRef:
    """Writes features [row, dimension]."""
    return files.write_arrays(directory, "features", {"features": features})


def read(layout: Layout, dataset: Dataset) -> FeatureArray:
    """Features [row, dimension] of all rows.

    Raises:
        DamagedFileError: the file is missing, damaged, or does not have the recorded digest.
    """
    assert dataset.given is not None
    declared = {"features": files.Declared("f", (None, dataset.given.dimension))}
    features = files.read_arrays(layout.photos, dataset.archive, declared)["features"]
    if features.dtype != np.float32 or digest(features) != dataset.given.digest:
        path = layout.photos / dataset.archive.name
        raise DamagedFileError(f"{path} does not hold the recorded features; run `flowernoise prepare` again")
    return features


def digest(features: FeatureArray) -> str:
    """SHA-256 of features; part of what a data set, its cached features and its runs are told apart by."""
    return files.digest(np.ascontiguousarray(features).tobytes())
