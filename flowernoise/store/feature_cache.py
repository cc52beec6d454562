"""Cached features, by photo: HDF5 shards, each with a record of the photos in it.

A shard is complete once its record is there. So an interrupted extraction goes on with the photos that have none, and
another split, another seed or one more photo needs only what is new.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from flowernoise.errors import DamagedFileError
from flowernoise.store import files
from flowernoise.store.layout import Layout
from flowernoise.store.records import FeatureShard, FeaturesKey

KIND = "features"
SHARD = 256  # photos
FeatureArray = np.ndarray[Any, np.dtype[np.float32]]


def name_of(key: FeaturesKey) -> str:
    """The beginning of the file names of a cache entry."""
    return files.digest_of(key)[:16]


def name_of_shard(key: FeaturesKey, ids: Sequence[str]) -> str:
    """File name of a shard, without its suffix."""
    return f"{name_of(key)}.{files.digest_of(tuple(ids))[:16]}"


def is_there(layout: Layout, key: FeaturesKey) -> bool:
    """Whether features of any photo are cached for ``key``."""
    return next(layout.features.glob(f"{name_of(key)}.*.json"), None) is not None


def shards(layout: Layout, key: FeaturesKey) -> list[FeatureShard]:
    """The shards for ``key``, in an order that does not change.

    Raises:
        DamagedFileError: a record is damaged.
    """
    return [read_record(layout, name) for name in names(layout, key)]


def names(layout: Layout, key: FeaturesKey) -> list[str]:
    """File names of the records of the shards for ``key``."""
    return sorted(path.name for path in layout.features.glob(f"{name_of(key)}.*.json"))


def read_record(layout: Layout, name: str) -> FeatureShard:
    """The record of a shard.

    Raises:
        DamagedFileError: it is damaged.
    """
    return files.read_record(layout.features / name, KIND, FeatureShard)


def of_photos(layout: Layout, ids: Sequence[str], image_size: int) -> list[tuple[FeatureShard, ...]]:
    """The shards of each cache entry that has features of all these photos, ordered by backbone.

    Raises:
        DamagedFileError: a record is damaged.
    """
    by_key: dict[FeaturesKey, list[FeatureShard]] = {}
    for path in sorted(layout.features.glob("*.json")):
        shard = read_record(layout, path.name)
        if shard.key.image_size == image_size:
            by_key.setdefault(shard.key, []).append(shard)
    complete = (tuple(found) for found in by_key.values() if not missing(found, ids))
    return sorted(complete, key=lambda found: found[0].key.backbone)


def missing(found: Iterable[FeatureShard], ids: Iterable[str]) -> list[str]:
    """The photos without features, in the order given."""
    there = {id for shard in found for id in shard.ids}
    return [id for id in ids if id not in there]


def read(layout: Layout, found: Sequence[FeatureShard], ids: Sequence[str]) -> FeatureArray:
    """Features [photo, dimension] of photos that all have some.

    Raises:
        DamagedFileError: a shard is missing or damaged, or shards have different dimensions.
    """
    wanted = {id: row for row, id in enumerate(ids)}
    array = np.empty((len(ids), found[0].dimension), dtype=np.float32)
    for shard in found:
        rows = [(wanted.pop(id), place) for place, id in enumerate(shard.ids) if id in wanted]
        if rows:
            if shard.dimension != array.shape[1]:
                raise DamagedFileError(f"{layout.features}: shards of {shard.key.backbone} have different dimensions")
            to, places = (list(each) for each in zip(*rows, strict=True))
            array[to] = read_shard(layout, shard)[places]
    return array


def read_shard(layout: Layout, shard: FeatureShard) -> FeatureArray:
    """Features [photo, dimension] of a shard.

    Raises:
        DamagedFileError: it is missing, damaged, not finite, or does not hold what its record says.
    """
    declared = {"features": files.Declared("f", (len(shard.ids), shard.dimension))}
    array = files.read_arrays(layout.features, shard.array, declared)["features"]
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise DamagedFileError(f"{layout.features / shard.array.name} holds features that are not finite float32")
    return array


def write(layout: Layout, key: FeaturesKey, ids: Sequence[str], features: FeatureArray) -> FeatureShard:
    """Writes a shard of photos, then its record."""
    name = name_of_shard(key, ids)
    with files.together():
        array = files.write_arrays(layout.features, name, {"features": features})
        shard = FeatureShard(key, tuple(ids), features.shape[1], array)
        files.write_record(layout.features / f"{name}.json", KIND, shard)
    return shard


def quarantine(layout: Layout, shard: FeatureShard) -> None:
    """Renames a shard and its record, so that they are no longer read."""
    files.quarantine(layout.features / f"{name_of_shard(shard.key, shard.ids)}.json")
    files.quarantine(files.checked_path(layout.features, shard.array))
