"""Features that a user computed and imported, by name: rows of photos, known by their ids, in HDF5 shards.

Unlike the cache, they cannot be made again from the photos. They belong to no data set: whichever photos are prepared,
each has its row or has none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.registry import did_you_mean
from flowernoise.store import files
from flowernoise.store.feature_cache import FeatureArray
from flowernoise.store.layout import Layout
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import OwnFeatures

KIND = "own"
SHARD = 4096  # photos
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def checked_name(name: str) -> str:
    """The name, if it can be part of a spec and of a file's name.

    Raises:
        BadRequestError: it cannot.

    >>> checked_name("dinov2-b14")
    'dinov2-b14'
    """
    if not _NAME.fullmatch(name):
        raise BadRequestError(
            f"--name {name[:80]!a} must be up to 64 ASCII letters, digits, - and _, first a letter or a digit"
        )
    return name


def digest_of(ids: Sequence[str], array: FeatureArray) -> str:
    """The digest that stands for rows of photos in the identity of runs; ``ids`` are sorted."""
    return files.digest_of([tuple(ids), files.digest(np.ascontiguousarray(array).tobytes())])


def names(layout: Layout) -> tuple[str, ...]:
    """Names of what was imported, sorted."""
    return tuple(sorted(path.stem for path in layout.own_features.glob("*.json")))


def find(layout: Layout, name: str) -> OwnFeatures | None:
    """The record of what was imported under a name, or None.

    Raises:
        DamagedFileError: the record is damaged.
    """
    path = layout.own_features / f"{name}.json"
    if not path.exists():
        return None
    found = files.read_record(path, KIND, OwnFeatures)
    if found.name != name:
        raise DamagedFileError(f"{path} is the record of {found.name!r}; give the file its name again")
    return found


def need(layout: Layout, name: str) -> OwnFeatures:
    """The record of what was imported under a name.

    Raises:
        BadRequestError: nothing was.
        DamagedFileError: the record is damaged.
    """
    found = find(layout, name) if _NAME.fullmatch(name) else None
    if found is None:
        there = names(layout)
        listed = f"there are: {', '.join(there)}" if there else "there are none"
        raise BadRequestError(
            f"backbone features:{name}: no features of this name were imported{did_you_mean(name, there)}; {listed}; "
            "import them with `flowernoise features --import FILE --name NAME`, or name another backbone"
        )
    return found


def write(layout: Layout, name: str, file: str, ids: Sequence[str], array: FeatureArray) -> OwnFeatures:
    """Stores rows under a name.

    Args:
        layout: the artifacts directory.
        name: as :func:`checked_name` accepts it.
        file: SHA-256 of the file that they come from.
        ids: the photos, sorted.
        array: float32 [photo, dimension].
    """
    folder = layout.own_features
    with files.together():
        shards = tuple(
            files.write_arrays(folder, f"{name}.{start:08}", {"features": array[start : start + SHARD]})
            for start in range(0, len(ids), SHARD)
        )
        record = OwnFeatures(name, file, digest_of(ids, array), tuple(ids), array.shape[1], shards)
        files.write_record(folder / f"{name}.json", KIND, record)
    return record


def read(layout: Layout, features: OwnFeatures) -> FeatureArray:
    """Features [photo, dimension], in the order of ``features.ids``.

    Raises:
        DamagedFileError: a shard is missing or damaged, or they are not the recorded ones.
    """
    shards = [_read_shard(layout, ref, features.dimension) for ref in features.shards]
    array = np.concatenate(shards) if shards else np.zeros((0, features.dimension), np.float32)
    if len(array) != len(features.ids) or digest_of(features.ids, array) != features.digest:
        path = layout.own_features / f"{features.name}.json"
        raise DamagedFileError(f"{path}: the shards do not hold the recorded features")
    return array


def _read_shard(layout: Layout, ref: files.FileRef, dimension: int) -> FeatureArray:
    declared = {"features": files.Declared("f", (None, dimension))}
    array: np.ndarray[Any, Any] = files.read_arrays(layout.own_features, ref, declared)["features"]
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise DamagedFileError(f"{layout.own_features / ref.name} holds features that are not finite float32")
    return array


def rows(layout: Layout, name: str, index: Sequence[IndexedPhoto]) -> FeatureArray:
    """Features [photo, dimension] of the photos of an index, in its order.

    Raises:
        BadRequestError: nothing was imported under this name, or a photo has no row.
        DamagedFileError: what was imported is damaged.
    """
    found = need(layout, name)
    _check_complete(found, index)
    place = {id: row for row, id in enumerate(found.ids)}
    try:
        return read(layout, found)[[place[photo.id] for photo in index]]
    except DamagedFileError as error:
        again = f"`flowernoise features --import FILE --name {name}` stores them again"
        raise DamagedFileError(f"{error}; {again}") from error


def _check_complete(features: OwnFeatures, index: Sequence[IndexedPhoto]) -> None:
    """Refuses features that lack a photo of an index.

    Raises:
        BadRequestError: says how many photos have no row.
    """
    there = set(features.ids)
    missing = [photo for photo in index if photo.id not in there]
    if missing:
        raise BadRequestError(
            f"backbone features:{features.name} has no row for {len(missing):,} of the {len(index):,} photos, such as "
            f"{missing[0].path}; import a file with all of them under another name"
        )
