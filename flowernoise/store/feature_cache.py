"""Cached features: HDF5 shards of consecutive photos, complete once a record lists them.

A shard is a whole file as soon as it has its name, so an interrupted extraction goes on at the first missing shard.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from flowernoise.errors import DamagedFileError
from flowernoise.store import files
from flowernoise.store.files import FileRef
from flowernoise.store.layout import Layout
from flowernoise.store.records import Features, FeaturesKey

KIND = "features"
SHARD = 256  # photos
FeatureArray = np.ndarray[Any, np.dtype[np.float32]]


def name_of(key: FeaturesKey) -> str:
    """File name of a cache entry, without suffix."""
    return files.digest_of(key)[:16]


def find(layout: Layout, key: FeaturesKey) -> Features | None:
    """The record of complete features for ``key``, or None.

    Raises:
        DamagedFileError: there is a record, but it is not what was written.
    """
    path = layout.features / f"{name_of(key)}.json"
    return files.read_record(path, KIND, Features) if path.exists() else None


def read(layout: Layout, features: Features) -> FeatureArray:
    """Features [photo, dimension] of all photos.

    Raises:
        DamagedFileError: a shard is missing or not what was written.
    """
    array = np.empty((features.count, features.dimension), dtype=np.float32)
    start = 0
    for ref in features.shards:
        shard = files.read_arrays(layout.features, ref, ("features",))["features"]
        if shard.ndim != 2 or shard.dtype != np.float32 or shard.shape[1] != features.dimension:
            raise DamagedFileError(f"{layout.features / ref.name} does not hold features of the recorded shape")
        if start + len(shard) > features.count:
            raise DamagedFileError(f"{layout.features / ref.name} holds more photos than recorded")
        array[start : start + len(shard)] = shard
        start += len(shard)
    if start != features.count:
        raise DamagedFileError(f"{layout.features}: the shards hold {start} photos, not the recorded {features.count}")
    return array


@dataclasses.dataclass(frozen=True)
class Extraction:
    """An extraction under way: which shards are there, and how to add one."""

    layout: Layout
    key: FeaturesKey
    count: int

    def starts(self) -> range:
        """First photo of each shard."""
        return range(0, self.count, SHARD)

    def existing(self, start: int) -> FileRef | None:
        """The intact shard that starts at a photo, if an earlier attempt has written it."""
        for path in sorted(self.layout.features.glob(f"{self._stem(start)}-*.h5")):
            try:
                data = path.read_bytes()
            except OSError:
                continue
            ref = FileRef(path.name, files.digest(data), len(data))
            if files.blob_name(self._stem(start), ref.sha256, ".h5") == path.name:
                return ref
        return None

    def write(self, start: int, features: FeatureArray) -> FileRef:
        """Writes the shard that starts at a photo."""
        return files.write_arrays(self.layout.features, self._stem(start), {"features": features})

    def finish(self, shards: tuple[FileRef, ...]) -> Features:
        """Records that the features are complete."""
        first = files.read_arrays(self.layout.features, shards[0], ("features",))["features"]
        features = Features(self.key, self.count, int(first.shape[1]), shards)
        files.write_record(self.layout.features / f"{name_of(self.key)}.json", KIND, features)
        return features

    def _stem(self, start: int) -> str:
        return f"{name_of(self.key)}.{start:08}"
