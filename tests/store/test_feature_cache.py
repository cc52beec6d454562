from pathlib import Path

import msgspec
import numpy as np
import pytest

from flowernoise.errors import DamagedFileError
from flowernoise.store import feature_cache, files
from flowernoise.store.feature_cache import SHARD, Extraction
from flowernoise.store.layout import Layout
from flowernoise.store.records import Features, FeaturesKey

KEY = FeaturesKey("photos", 224, "pillow", "resnet50", "weights", "tensorflow", "cpu", "float32")
COUNT = 2 * SHARD + 10


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def features(count: int = COUNT, dimension: int = 3) -> np.ndarray:
    return np.arange(count * dimension, dtype=np.float32).reshape(count, dimension)


def write_shards(extraction: Extraction, array: np.ndarray) -> tuple[files.FileRef, ...]:
    return tuple(extraction.write(start, array[start : start + SHARD]) for start in extraction.starts())


def complete(layout: Layout, key: FeaturesKey = KEY, array: np.ndarray | None = None) -> Features:
    array = features() if array is None else array
    extraction = Extraction(layout, key, len(array))
    return extraction.finish(write_shards(extraction, array))


@pytest.mark.parametrize("count", [1, SHARD - 1, SHARD, SHARD + 1, COUNT])
def test_features_read_back_in_the_order_of_the_photos(layout: Layout, count: int) -> None:
    record = complete(layout, array=features(count))
    assert feature_cache.find(layout, KEY) == record
    assert (record.count, record.dimension) == (count, 3)
    read = feature_cache.read(layout, record)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, features(count))


def test_nothing_is_found_before_an_extraction_is_finished(layout: Layout) -> None:
    write_shards(Extraction(layout, KEY, COUNT), features())
    assert feature_cache.find(layout, KEY) is None


@pytest.mark.parametrize("field", FeaturesKey.__struct_fields__)
def test_features_of_another_key_are_not_found(layout: Layout, field: str) -> None:
    complete(layout)
    other = msgspec.structs.replace(KEY, **{field: 96 if field == "image_size" else "another"})
    assert feature_cache.find(layout, other) is None
    assert Extraction(layout, other, COUNT).existing(0) is None


def test_an_interrupted_extraction_goes_on_at_the_first_missing_shard(layout: Layout) -> None:
    first = Extraction(layout, KEY, COUNT)
    ref = first.write(0, features()[:SHARD])
    second = Extraction(layout, KEY, COUNT)
    assert [second.existing(start) for start in second.starts()] == [ref, None, None]
    rest = tuple(second.write(start, features()[start : start + SHARD]) for start in second.starts()[1:])
    np.testing.assert_array_equal(feature_cache.read(layout, second.finish((ref, *rest))), features())


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda _: b"", lambda d: d[:700] + bytes([d[700] ^ 1]) + d[701:]])
def test_damaged_shards_of_an_interrupted_extraction_are_not_taken(layout: Layout, change: object) -> None:
    extraction = Extraction(layout, KEY, COUNT)
    refs = write_shards(extraction, features())
    path = layout.features / refs[1].name
    path.write_bytes(change(path.read_bytes()))
    assert [extraction.existing(start) for start in extraction.starts()] == [refs[0], None, refs[2]]


def test_an_intact_shard_is_found_beside_a_damaged_one(layout: Layout) -> None:
    extraction = Extraction(layout, KEY, SHARD)
    ref = extraction.write(0, features(SHARD))
    stem = ref.name.rpartition("-")[0]
    (layout.features / f"{stem}-0000000000000000.h5").write_bytes(b"damaged")
    assert extraction.existing(0) == ref


def test_a_shard_that_cannot_be_read_counts_as_missing(layout: Layout) -> None:
    extraction = Extraction(layout, KEY, SHARD)
    ref = extraction.write(0, features(SHARD))
    (layout.features / ref.name).unlink()
    (layout.features / ref.name).mkdir()
    assert extraction.existing(0) is None


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_finished_features_with_a_broken_shard_are_refused(layout: Layout, damage: str) -> None:
    record = complete(layout)
    path = layout.features / record.shards[1].name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(DamagedFileError, match=path.name):
        feature_cache.read(layout, record)


def test_a_damaged_record_is_refused(layout: Layout) -> None:
    complete(layout)
    (record,) = layout.features.glob("*.json")
    record.write_bytes(record.read_bytes().replace(b"resnet50", b"resnet51"))
    with pytest.raises(DamagedFileError, match=record.name):
        feature_cache.find(layout, KEY)


@pytest.mark.parametrize(
    ("lie", "problem"),
    [
        ({"count": COUNT + 1}, "hold 522 photos, not the recorded 523"),
        ({"count": 10**12}, "too small for the recorded 1000000000000 photos"),
        ({"count": COUNT - 1}, "holds more photos than recorded"),
        ({"dimension": 4}, "not what its record says"),
        ({"shards": ()}, "too small for the recorded 522 photos"),
    ],
)
def test_records_that_do_not_fit_their_shards_are_refused(layout: Layout, lie: dict[str, object], problem: str) -> None:
    with pytest.raises(DamagedFileError, match=problem):
        feature_cache.read(layout, msgspec.structs.replace(complete(layout), **lie))


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (features().astype(np.float64), "not finite float32"),
        (np.where(np.arange(COUNT)[:, None] == 7, np.float32("nan"), features()), "not finite float32"),
        (features().ravel(), "not what its record says"),
        (np.ones((COUNT, 3), dtype=np.int32), "not what its record says"),
    ],
)
def test_shards_of_another_type_or_shape_are_refused(layout: Layout, array: np.ndarray, problem: str) -> None:
    ref = files.write_arrays(layout.features, "x", {"features": array})
    with pytest.raises(DamagedFileError, match=problem):
        feature_cache.read(layout, Features(KEY, COUNT, 3, (ref,)))
