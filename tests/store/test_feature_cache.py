"""Cached features are kept and found by photo, whatever the shards that they lie in."""

import random
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowernoise.errors import DamagedFileError
from flowernoise.store import feature_cache, files
from flowernoise.store.layout import Layout
from flowernoise.store.records import FeatureShard, FeaturesKey

KEY = FeaturesKey(224, "pillow", "resnet50", "weights", "tensorflow", "cpu", "float32")
IDS = [f"photo {number}" for number in range(20)]
OF_PHOTO = {id: np.array([number, number + 0.5, -number], dtype=np.float32) for number, id in enumerate(IDS)}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def write(layout: Layout, ids: list[str], key: FeaturesKey = KEY) -> FeatureShard:
    return feature_cache.write(layout, key, ids, np.stack([OF_PHOTO[id] for id in ids]))


def assert_read(layout: Layout, ids: list[str]) -> None:
    read = feature_cache.read(layout, feature_cache.shards(layout, KEY), ids)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, [OF_PHOTO[id] for id in ids])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(1, len(IDS) - 1), max_size=4))
def test_photos_are_found_whatever_the_shards_they_are_in(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cuts: list[int]
) -> None:
    """Shards may even overlap, as after two processes that did not know of each other."""
    layout, order = Layout(tmp_path_factory.mktemp("cache")), random.Random(seed).sample(IDS, len(IDS))
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(IDS)], strict=True):
        if order[start : end + 2]:
            write(layout, order[start : end + 2])
    wanted = random.Random(seed + 1).sample(IDS, 7)
    assert_read(layout, wanted)
    assert feature_cache.missing(feature_cache.shards(layout, KEY), IDS) == []


def test_what_is_missing_comes_in_the_order_asked_for(layout: Layout) -> None:
    write(layout, IDS[3:5])
    there = feature_cache.shards(layout, KEY)
    assert feature_cache.missing(there, [IDS[4], IDS[9], IDS[3], IDS[1]]) == [IDS[9], IDS[1]]
    assert_read(layout, [IDS[4], IDS[3]])


def test_nothing_is_there_before_the_first_shard(layout: Layout) -> None:
    assert not feature_cache.is_there(layout, KEY)
    assert feature_cache.missing(feature_cache.shards(layout, KEY), IDS) == IDS
    write(layout, IDS)
    assert feature_cache.is_there(layout, KEY)


@pytest.mark.parametrize("field", FeaturesKey.__struct_fields__)
def test_features_of_another_key_are_not_found(layout: Layout, field: str) -> None:
    write(layout, IDS)
    other = msgspec.structs.replace(KEY, **{field: 96 if field == "image_size" else "another"})
    assert not feature_cache.is_there(layout, other)
    assert feature_cache.shards(layout, other) == []


def test_entries_that_have_all_photos_are_found_by_backbone(layout: Layout) -> None:
    lite0, small = (msgspec.structs.replace(KEY, **each) for each in ({"backbone": "lite0"}, {"image_size": 96}))
    write(layout, IDS[:10])
    write(layout, IDS[10:])
    write(layout, IDS, lite0)
    write(layout, IDS[:10], msgspec.structs.replace(KEY, backbone="partly"))
    write(layout, IDS, small)
    found = feature_cache.of_photos(layout, IDS, 224)
    assert [(shards[0].key.backbone, len(shards)) for shards in found] == [("lite0", 1), ("resnet50", 2)]


def test_a_shard_without_its_record_is_not_there(layout: Layout) -> None:
    write(layout, IDS)
    for path in layout.features.glob("*.json"):
        path.unlink()
    assert feature_cache.shards(layout, KEY) == []


@pytest.mark.parametrize("damage", ["missing", "changed", "cut"])
def test_a_damaged_shard_is_refused_and_set_aside_with_its_record(layout: Layout, damage: str) -> None:
    shard = write(layout, IDS)
    path = layout.features / shard.array.name
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(data[:-1] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DamagedFileError, match=path.name):
        feature_cache.read(layout, [shard], IDS)
    feature_cache.quarantine(layout, shard)
    assert feature_cache.shards(layout, KEY) == []


def test_a_damaged_record_is_refused(layout: Layout) -> None:
    write(layout, IDS)
    (record,) = layout.features.glob("*.json")
    record.write_bytes(record.read_bytes()[:-2])
    with pytest.raises(DamagedFileError, match=record.name):
        feature_cache.shards(layout, KEY)


@pytest.mark.parametrize("lie", [{"dimension": 4}, {"ids": tuple(IDS[:-1])}])
def test_a_record_that_does_not_fit_its_shard_is_refused(layout: Layout, lie: dict[str, object]) -> None:
    shard = msgspec.structs.replace(write(layout, IDS), **lie)
    with pytest.raises(DamagedFileError, match="which is not what its record says"):
        feature_cache.read_shard(layout, shard)


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.zeros((20, 3)), "not finite float32"),
        (np.full((20, 3), np.nan, dtype=np.float32), "not finite float32"),
        (np.zeros((20, 3), dtype=np.int32), "not what its record says"),
    ],
)
def test_shards_of_another_type_are_refused(layout: Layout, array: np.ndarray, problem: str) -> None:
    ref = files.write_arrays(layout.features, "a", {"features": array})
    with pytest.raises(DamagedFileError, match=problem):
        feature_cache.read_shard(layout, FeatureShard(KEY, tuple(IDS), 3, ref))


def test_shards_of_different_dimensions_are_refused(layout: Layout) -> None:
    first = write(layout, IDS[:10])
    second = feature_cache.write(layout, KEY, IDS[10:], np.zeros((10, 4), dtype=np.float32))
    with pytest.raises(DamagedFileError, match="different dimensions"):
        feature_cache.read(layout, [first, second], IDS)
