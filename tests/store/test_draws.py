from pathlib import Path

import msgspec
import numpy as np
import pytest

from flowernoise.errors import DamagedFileError
from flowernoise.store import draws, files
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.layout import Layout
from flowernoise.store.records import Draw, DrawBatch, DrawKey
from tests.fabricated import a_dataset

DATASET = a_dataset("data", ("a", "b", "c"), ((3, 3, 2), (2, 1, 1), (1, 1, 1)), found=15)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def drawn(rate: float, seed: int, noise: str = "symmetric") -> tuple[Draw, DrawnLabels]:
    stream = np.random.default_rng([int(1000 * rate), seed])
    train, val = (stream.integers(0, 3, count).astype(np.uint8) for count in (8, 4))
    key = DrawKey(noise, rate, seed)
    labels = DrawnLabels(train, train == 0, val, val == 0, np.full((3, 3), np.nan), np.eye(3) * rate)
    return Draw(key, files.digest(train.tobytes()), rate, None, (rate, None, 0.0)), labels


def test_draws_and_their_labels_read_back(layout: Layout) -> None:
    batches = [[drawn(0.2, 0), drawn(0.4, 0)], [drawn(0.2, 1)]]
    for batch in batches:
        draws.write(layout, "data", batch)
    index = draws.index(layout, "data")
    labels = draws.read(layout, DATASET, index.values())
    for draw, written in (item for batch in batches for item in batch):
        assert index[draw.key].draw == draw
        for name in draws.ARRAYS:
            np.testing.assert_array_equal(getattr(labels[draw.key], name), getattr(written, name))
            assert getattr(labels[draw.key], name).dtype == getattr(written, name).dtype


def test_an_empty_validation_split_reads_back(layout: Layout) -> None:
    draw, labels = drawn(0.2, 0)
    nothing = {"val_labels": np.array([], dtype=np.uint8), "val_flipped": np.array([], dtype=bool)}
    draws.write(layout, "data", [(draw, DrawnLabels(**{**vars(labels), **nothing}))])
    no_val = msgspec.structs.replace(DATASET, counts=((3, 3, 2), (0, 0, 0), (1, 1, 1)))
    read = draws.read(layout, no_val, draws.index(layout, "data").values())
    assert read[draw.key].val_labels.shape == (0,)


def test_the_index_is_in_the_order_of_keys_and_of_one_data_set(layout: Layout) -> None:
    draws.write(layout, "data", [drawn(0.4, 1), drawn(0.4, 0), drawn(0.0, 0, "none"), drawn(0.2, 5)])
    draws.write(layout, "other", [drawn(0.9, 0)])
    assert [str(key) for key in draws.index(layout, "data")] == [
        "labels without noise, seed 0",
        "symmetric at 0.2, seed 5",
        "symmetric at 0.4, seed 0",
        "symmetric at 0.4, seed 1",
    ]


def test_without_draws_the_index_is_empty(layout: Layout) -> None:
    assert draws.index(layout, "data") == {}


def test_each_batch_is_read_once(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    draws.write(layout, "data", [drawn(0.2, seed) for seed in range(5)])
    opened = []
    plain = files.read_arrays
    monkeypatch.setattr(files, "read_arrays", lambda *given: (opened.append(given[1]), plain(*given))[1])
    assert len(draws.read(layout, DATASET, draws.index(layout, "data").values())) == 5
    assert len(opened) == 1


def test_only_the_batches_asked_for_are_read(layout: Layout) -> None:
    draws.write(layout, "data", [drawn(0.2, 0)])
    draws.write(layout, "data", [drawn(0.4, 0)])
    index = draws.index(layout, "data")
    wanted, other = index.values()
    (layout.draws / other.batch.arrays.name).unlink()
    assert list(draws.read(layout, DATASET, [wanted])) == [wanted.draw.key]


def test_a_damaged_record_is_raised_with_the_way_out(layout: Layout) -> None:
    draws.write(layout, "data", [drawn(0.2, 0)])
    (record,) = layout.draws.glob("*.json")
    record.write_bytes(record.read_bytes().replace(b"symmetric", b"symmetrix"))
    with pytest.raises(DamagedFileError, match=r"is damaged: .*; `flowernoise corrupt` draws it again"):
        draws.index(layout, "data")


def test_a_damaged_record_can_be_passed_over_and_is_told(layout: Layout) -> None:
    draws.write(layout, "data", [drawn(0.2, 0)])
    draws.write(layout, "data", [drawn(0.4, 0)])
    damaged = sorted(layout.draws.glob("*.json"))[0]
    damaged.write_bytes(b"{")
    told: list[tuple[Path, DamagedFileError]] = []
    index = draws.index(layout, "data", on_damage=lambda path, error: told.append((path, error)))
    assert len(index) == 1
    assert [path for path, _ in told] == [damaged]


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:500] + b"\xff" + data[501:]])
def test_damaged_labels_are_raised_with_the_way_out(layout: Layout, change: object) -> None:
    draws.write(layout, "data", [drawn(0.2, 0)])
    (arrays,) = layout.draws.glob("*.h5")
    arrays.write_bytes(change(arrays.read_bytes()))
    with pytest.raises(DamagedFileError, match=f"{arrays.name} is damaged: .*; `flowernoise corrupt` draws it again"):
        draws.read(layout, DATASET, draws.index(layout, "data").values())


def test_a_record_that_lists_more_draws_than_there_are_labels_is_refused(layout: Layout) -> None:
    draws.write(layout, "data", [drawn(0.2, 0)])
    (stored,) = draws.index(layout, "data").values()
    lie = DrawBatch("data", (stored.draw, drawn(0.4, 0)[0]), stored.batch.arrays)
    files.write_record(layout.draws / "lie.json", draws.KIND, lie)
    with pytest.raises(DamagedFileError, match="not what its record says"):
        draws.read(layout, DATASET, draws.index(layout, "data").values())


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train_labels", np.full(8, 3, dtype=np.uint8), "labels of classes that do not exist"),
        ("val_labels", np.full(4, 200, dtype=np.uint8), "labels of classes that do not exist"),
        ("train_labels", np.zeros(8, dtype=np.int8), "train_labels is int8"),
        ("train_labels", np.zeros(9, dtype=np.uint8), "train_labels is uint8"),
        ("train_flipped", np.zeros(8, dtype=np.uint8), "train_flipped is uint8"),
        ("val_flipped", np.zeros(5, dtype=bool), "val_flipped is bool"),
        ("transition_matrix", np.eye(2), "transition_matrix is float64"),
        ("realised_transition_matrix", np.eye(3, dtype=int), "realised_transition_matrix is int64"),
    ],
)
def test_labels_that_are_none_of_this_data_set_are_refused(
    layout: Layout, name: str, array: np.ndarray, message: str
) -> None:
    draw, labels = drawn(0.2, 0)
    draws.write(layout, "data", [(draw, DrawnLabels(**{**vars(labels), name: array}))])
    with pytest.raises(DamagedFileError, match=f"{message}.*; `flowernoise corrupt` draws it again"):
        draws.read(layout, DATASET, draws.index(layout, "data").values())


def test_a_batch_knows_its_record(layout: Layout) -> None:
    draws.write(layout, "data", [drawn(0.2, 0)])
    (stored,) = draws.index(layout, "data").values()
    assert [draws.record_of(layout, stored.batch)] == list(layout.draws.glob("*.json"))
