"""Cached features: HDF5 shards of consecutive photos, complete once a record lists them.

A shard gets its name only when it is complete, so an interrupted extraction goes on at the first missing shard.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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
    """File name of a cache entry, without its suffix."""
    return files.digest_of(key)[:16]


def is_there(layout: Layout, key: FeaturesKey) -> bool:
    """Whether features for ``key`` are complete."""
    return (layout.features / f"{name_of(key)}.json").exists()


def find(layout: Layout, key: FeaturesKey) -> Features | None:
    """The record of complete features for ``key``, or None.

    Raises:
        DamagedFileError: the record is damaged.
    """
    path = layout.features / f"{name_of(key)}.json"
    return files.read_record(path, KIND, Features) if path.exists() else None


def of_photos(layout: Layout, ids: Sequence[str], image_size: int) -> list[Features]:
    """The records of complete features of these photos, ordered by backbone.

    Raises:
        DamagedFileError: a record is damaged.
    """
    photos = digest_of_photos(ids)
    found = [files.read_record(path, KIND, Features) for path in sorted(layout.features.glob("*.json"))]
    own = [each for each in found if (each.key.photos, each.key.image_size) == (photos, image_size)]
    return sorted(own, key=lambda features: features.key.backbone)


def digest_of_photos(ids: Sequence[str]) -> str:
    """The digest that stands for photos in a features key."""
    return files.digest_of(ids)


def read(layout: Layout, features: Features) -> FeatureArray:
    """Features [photo, dimension] of all photos.

    Raises:
        DamagedFileError: a shard is missing or damaged.
    """
    held = sum(ref.size for ref in features.shards)
    if min(features.count, features.dimension) < 0 or 4 * features.count * features.dimension > held:
        raise DamagedFileError(f"{layout.features}: the shards are too small for the recorded {features.count} photos")
    array = np.empty((features.count, features.dimension), dtype=np.float32)
    start = 0
    for ref in features.shards:
        shard = read_shard(layout, ref, features.dimension)
        if start + len(shard) > features.count:
            raise DamagedFileError(f"{layout.features / ref.name} holds more photos than recorded")
        array[start : start + len(shard)] = shard
        start += len(shard)
    if start != features.count:
        raise DamagedFileError(f"{layout.features}: the shards hold {start} photos, not the recorded {features.count}")
    return array


def read_shard(layout: Layout, ref: FileRef, dimension: int | None) -> FeatureArray:
    """Features [photo, dimension] of a shard.

    Raises:
        DamagedFileError: it is missing, damaged, or not finite.
    """
    declared = {"features": files.Declared("f", (None, dimension))}
    shard = files.read_arrays(layout.features, ref, declared)["features"]
    if shard.dtype != np.float32 or not np.isfinite(shard).all():
        raise DamagedFileError(f"{layout.features / ref.name} holds features that are not finite float32")
    return shard


@dataclasses.dataclass(frozen=True)
class Extraction:
    """An extraction in progress: which shards exist, and how to add one."""

    layout: Layout
    key: FeaturesKey
    count: int

    def starts(self) -> range:
        """The first photo of each shard."""
        return range(0, self.count, SHARD)

    def existing(self, start: int) -> FileRef | None:
        """The intact shard that starts at a photo, if an earlier attempt wrote it."""
        ref = files.find_blob(self.layout.features, self._stem(start), ".h5")
        if ref is None:
            return None
        try:
            read_shard(self.layout, ref, None)
        except DamagedFileError:  # intact, but not features of ours
            files.quarantine(self.layout.features / ref.name)
            return self.existing(start)
        return ref

    def write(self, start: int, features: FeatureArray) -> FileRef:
        """Writes the shard that starts at a photo."""
        return files.write_arrays(self.layout.features, self._stem(start), {"features": features})

    def finish(self, shards: tuple[FileRef, ...]) -> Features:
        """Records that the features are complete."""
        dimension = read_shard(self.layout, shards[0], None).shape[1]
        features = Features(self.key, self.count, dimension, shards)
        files.write_record(self.layout.features / f"{name_of(self.key)}.json", KIND, features)
        return features

    def _stem(self, start: int) -> str:
        return f"{name_of(self.key)}.{start:08}"
