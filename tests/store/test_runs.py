from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.store import files, runs
from flowernoise.store.layout import Layout
from flowernoise.store.records import (
    Choice,
    Provenance,
    RunBlock,
    RunKey,
)
from tests.fabricated import a_block, a_dataset, a_key, a_run, a_setup

DATASET = a_dataset("data", ("a", "b"), ((3, 1), (1, 1), (2, 1)), found=9)
WEIGHTS = {"0000": np.zeros(2), "0001": np.ones(3)}
PROVENANCE = Provenance({"keras": "3"}, "tensorflow", "cpu")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def key(loss: str = "ce", seed: int = 0) -> RunKey:
    return a_key("symmetric", 0.2, seed, loss)


def block(
    *keys: RunKey, generation: int = 1, dataset: str = "data", labels: str = "labels", epochs: int = 5, recency: int = 1
) -> RunBlock:
    made = [a_run(each, labels, (Choice(0.001, 0.0, epochs),)) for each in keys]
    setup = a_setup(epochs=epochs)
    return a_block(dataset, made, setup, generation=generation, recency=recency, provenance=PROVENANCE)


def predictions(fill: float = 0.5, count: int = 1) -> dict[str, np.ndarray]:
    """What runs with one selection answer."""
    train, val, test = DATASET.sizes
    return {
        "test_probabilities": np.full((count, 1, test, 2), fill, dtype=np.float32),
        "val_probabilities": np.full((count, 1, val, 2), fill, dtype=np.float32),
        "train_predicted": np.ones((count, 1, train), dtype=np.uint8),
    }


def arrays(fill: float = 0.5, count: int = 1) -> dict[str, np.ndarray]:
    """What a block of heads holds."""
    history = {name: np.full((count, 5), np.nan, dtype=np.float32) for name in runs.HISTORY_ARRAYS}
    return predictions(fill, count) | history


def test_blocks_and_their_arrays_read_back(layout: Layout) -> None:
    written = block(key("ce"), key("mae"))
    runs.write(layout, written, arrays(count=2))
    ((name, read),) = runs.blocks(layout, "data").items()
    assert name == runs.name_of(written) == runs.name_of(read)
    assert msgspec.structs.replace(read, arrays=files.NOT_WRITTEN) == written
    answers = runs.read_predictions(layout, DATASET, read)
    assert answers.keys() == arrays().keys()
    for array, expected in arrays(count=2).items():
        np.testing.assert_array_equal(answers[array], expected)
        assert answers[array].dtype == expected.dtype


def changed(**parts: np.ndarray) -> dict[str, np.ndarray]:
    return arrays() | parts


NAN = np.full((1, 1, 3, 2), np.nan, dtype=np.float32)
NO_ANSWERS = {
    "other photos": (changed(test_probabilities=arrays()["val_probabilities"]), "test_probabilities is float32"),
    "other classes": (changed(val_probabilities=np.zeros((1, 1, 2, 3), dtype=np.float32)), "val_probabilities is"),
    "other runs": (arrays(count=2), "which is not what its record says"),
    "other epochs": (changed(history_loss=np.zeros((1, 4), dtype=np.float32)), "history_loss is float32"),
    "other type": (changed(test_probabilities=np.ones((1, 1, 3, 2), dtype=int)), "test_probabilities is int64"),
    "no history": (predictions(), "holds"),
    "nan": (changed(test_probabilities=NAN), "test_probabilities holds values that are not probabilities"),
    "below 0": (
        changed(val_probabilities=-arrays()["val_probabilities"]),
        "val_probabilities holds values that are not prob",
    ),
    "above 1": (arrays(1.01), "holds values that are not probabilities"),
    "no class": (changed(train_predicted=np.full((1, 1, 4), 2, dtype=np.uint8)), "train_predicted holds classes that"),
    "class -1": (changed(train_predicted=np.full((1, 1, 4), -1)), "train_predicted holds classes that"),
}


@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_answers_that_no_run_gives_are_refused(layout: Layout, kind: str) -> None:
    held, message = NO_ANSWERS[kind]
    runs.write(layout, block(key()), held)
    (found,) = runs.blocks(layout, "data").values()
    with pytest.raises(DamagedFileError, match=rf"{found.arrays.name}.*{message}.*; `flowernoise train` with the same"):
        runs.read_predictions(layout, DATASET, found)


def test_a_failed_run_may_have_answers_that_are_none(layout: Layout) -> None:
    written = block(key("ce"), key("mae"))
    failed = msgspec.structs.replace(written.runs[1], failure="diverged")
    both = arrays(count=2)
    both["test_probabilities"][1] = np.nan
    runs.write(layout, msgspec.structs.replace(written, runs=(written.runs[0], failed)), both)
    (found,) = runs.blocks(layout, "data").values()
    assert np.isnan(runs.read_predictions(layout, DATASET, found)["test_probabilities"][1]).all()


def test_weights_are_read_in_the_shapes_of_the_network(layout: Layout) -> None:
    weights = {"0000": np.ones((2, 3), dtype=np.float32), "0001": np.ones(3, dtype=np.float32)}
    runs.write(layout, block(key()), arrays(), weights)
    (found,) = runs.blocks(layout, "data").values()
    assert found.weights is not None
    read = runs.read_weights(layout, found, ["0000", "0001"], [(2, 3), (3,)])
    assert [read[name].shape for name in ("0000", "0001")] == [(2, 3), (3,)]
    for names, shapes in ((["0000"], [(2, 3)]), (["0000", "0001"], [(3, 2), (3,)]), (["0000", "1"], [(2, 3), (3,)])):
        with pytest.raises(
            DamagedFileError, match=rf"{found.weights.name}.*; `flowernoise train` with the same options"
        ):
            runs.read_weights(layout, found, names, shapes)


def test_what_tells_blocks_from_others_is_found_without_the_rest(layout: Layout) -> None:
    runs.write(layout, block(key(), generation=3), arrays())
    runs.write(layout, block(key(), dataset="other"), arrays())
    ((name, found),) = runs.blocks(layout, "data").items()
    ((same, head),) = runs.heads(layout, "data").items()
    assert same == name
    assert (head.dataset, head.arrays, head.generation) == (found.dataset, found.arrays, 3)


def test_a_block_that_is_superseded_while_it_is_read_is_no_damage(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.write(layout, block(key()), arrays())
    plain, read = files.read_record, []

    def superseded(path: Path, *rest: object) -> object:
        read.append(path)
        if len(read) == 1:  # another process does this in the moment between listing and reading
            runs.write(layout, block(key(), generation=2), arrays())
            path.unlink()
        return plain(path, *rest)

    monkeypatch.setattr(files, "read_record", superseded)
    assert [each.generation for each in runs.blocks(layout, "data").values()] == [2]


def test_a_quarantined_block_is_read_no_more_and_can_still_be_looked_at(layout: Layout) -> None:
    runs.write(layout, block(key()), arrays())
    runs.write(layout, block(key("mae")), arrays())
    before = {path.name: path.read_bytes() for path in layout.runs.iterdir()}
    (name, found), (other, kept) = runs.blocks(layout, "data").items()
    runs.quarantine(layout, name, found)
    assert runs.blocks(layout, "data") == {other: kept}
    after = {path.name.removesuffix(".damaged"): path.read_bytes() for path in layout.runs.iterdir()}
    assert after == before
    assert {path.name for path in layout.runs.glob("*.damaged")} == {
        f"{name}.json.damaged",
        f"{found.arrays.name}.damaged",
    }


@pytest.mark.parametrize("damage", ["missing", "changed", "cut", "link"])
def test_every_byte_of_a_blocks_arrays_is_checked(layout: Layout, damage: str) -> None:
    runs.write(layout, block(key()), arrays())
    (found,) = runs.blocks(layout, "data").values()
    runs.check(layout, found)
    path = layout.runs / found.arrays.name
    data = path.read_bytes()
    path.unlink()
    if damage == "link":
        (layout.root / "elsewhere").write_bytes(data)
        path.symlink_to(layout.root / "elsewhere")
    elif damage != "missing":
        path.write_bytes(data[:-1] + (b"" if damage == "cut" else bytes([data[-1] ^ 1])))
    with pytest.raises(DamagedFileError, match=path.name):
        runs.check(layout, found)


def test_a_block_is_named_by_what_it_holds_and_how_it_was_trained() -> None:
    plain = block(key())
    changed = [
        block(key("mae")),
        block(key(seed=1)),
        block(key(), key("mae")),
        block(key(), epochs=6),
        block(key(), generation=9),
        block(key(), dataset="other"),
        msgspec.structs.replace(plain, runs=(msgspec.structs.replace(plain.runs[0], labels="others"),)),
    ]
    assert len({runs.name_of(each) for each in (plain, *changed)}) == 1 + len(changed)


def test_blocks_of_other_data_sets_are_passed_over(layout: Layout) -> None:
    runs.write(layout, block(key()), arrays())
    runs.write(layout, block(key(), dataset="other"), arrays())
    (found,) = runs.blocks(layout, "data").values()
    assert found.dataset == "data"


def test_the_highest_generation_of_a_run_is_live() -> None:
    old, new, other = block(key(), key("mae")), block(key(), labels="others", generation=2), block(key("gce"))
    for order in (("a", old), ("b", new), ("c", other)), (("c", other), ("b", new), ("a", old)):
        live = runs.live(dict(order))
        assert {each.method: stored.name for each, stored in live.items()} == {"ce": "b", "gce": "c", "mae": "a"}
        assert list(live) == sorted(live)
        assert (live[key("mae")].row, live[key("mae")].block) == (1, old)


def test_of_two_blocks_of_one_generation_the_same_is_live_in_any_order() -> None:
    one, two = block(key()), block(key(), labels="others")
    assert runs.live({"a": one, "b": two})[key()].name == runs.live({"b": two, "a": one})[key()].name


BLOCKS = st.dictionaries(
    st.integers(1, 40),
    st.tuples(st.integers(1, 3), st.sets(st.sampled_from(["ce", "mae", "gce", "sce"]), min_size=1)),
    max_size=8,
)


@given(BLOCKS)
def test_every_run_is_live_once_in_a_block_that_no_other_outranks(made: dict[int, tuple[int, set[str]]]) -> None:
    found = {
        str(number): block(*(key(loss) for loss in sorted(losses)), generation=generation, labels=str(number))
        for number, (generation, losses) in made.items()
    }
    live = runs.live(found)
    assert {each.method for each in live} == {loss for _, losses in made.values() for loss in losses}
    for each, stored in live.items():
        assert stored.block.runs[stored.row] == stored.run
        assert stored.key == each
        rivals = [generation for generation, losses in made.values() if each.method in losses]
        assert stored.block.generation == max(rivals)


def test_exactly_the_blocks_without_live_runs_are_removed(layout: Layout) -> None:
    kinds = {
        "superseded": block(key("ce"), key("mae"), labels="1"),
        "partly live": block(key("ce"), key("gce"), labels="2", generation=2),
        "live": block(key("ce"), key("mae"), labels="3", generation=3),
        "of another data set": block(key("ce"), dataset="other", labels="1"),
    }
    for each in kinds.values():
        runs.write(layout, each, arrays(), WEIGHTS)
    before = {path.name for path in layout.runs.iterdir()}
    runs.remove_superseded(layout, "data")
    gone = {name for name in before if name.startswith(runs.name_of(kinds["superseded"]))}
    assert len(gone) == 3  # record, arrays and weights
    assert {path.name for path in layout.runs.iterdir()} == before - gone


def test_without_runs_nothing_is_removed_and_nothing_fails(layout: Layout) -> None:
    runs.remove_superseded(layout, "data")
    assert runs.live(runs.blocks(layout, "data")) == {}


def test_a_damaged_record_says_what_to_do(layout: Layout) -> None:
    runs.write(layout, block(key()), arrays())
    (record,) = layout.runs.glob("*.json")
    record.write_bytes(record.read_bytes()[:-9])
    with pytest.raises(DamagedFileError, match=f"{record.name} is damaged: .*; `flowernoise train` with the same"):
        runs.blocks(layout, "data")


def test_damaged_arrays_say_what_to_do(layout: Layout) -> None:
    runs.write(layout, block(key()), arrays())
    (found,) = runs.blocks(layout, "data").values()
    (layout.runs / found.arrays.name).write_bytes(b"x")
    with pytest.raises(DamagedFileError, match=f"{found.arrays.name} is damaged.*; `flowernoise train` with the same"):
        runs.read_predictions(layout, DATASET, found)


def test_weights_that_were_not_kept_say_how_to_keep_them(layout: Layout) -> None:
    runs.write(layout, block(key()), arrays())
    (found,) = runs.blocks(layout, "data").values()
    with pytest.raises(BadRequestError, match="train it again with --keep-weights"):
        runs.read_weights(layout, found, ["0000"], [(2,)])


def test_damaged_weights_are_noticed_and_set_aside_with_their_block(layout: Layout) -> None:
    runs.write(layout, block(key()), arrays(), WEIGHTS)
    ((name, found),) = runs.blocks(layout, "data").items()
    assert found.weights is not None
    (layout.runs / found.weights.name).write_bytes(b"x")
    with pytest.raises(DamagedFileError, match=found.weights.name):
        runs.check(layout, found)
    runs.quarantine(layout, name, found)
    assert runs.blocks(layout, "data") == {}
    assert all(path.name.endswith(".damaged") for path in layout.runs.iterdir())


def test_predictions_that_no_run_gives_are_refused(layout: Layout) -> None:
    impossible = (arrays(2.0), arrays(count=2), predictions(), arrays() | {"test_probabilities": NAN})
    for number, held in enumerate(impossible):
        runs.write(layout, block(key(seed=number)), held)
    for found in runs.blocks(layout, "data").values():
        with pytest.raises(DamagedFileError, match="`flowernoise train` with the same options"):
            runs.read_predictions(layout, DATASET, found)
