from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.errors import DamagedFileError
from flowernoise.store import files, runs
from flowernoise.store.layout import Layout
from flowernoise.store.records import Choice, FeaturesKey, Provenance, Run, RunBlock, RunKey, TrainingSettings

INPUTS = FeaturesKey("photos", 224, "decoding", "resnet50", "weights", "engine", "cpu", "float32")

SETTINGS = TrainingSettings(5, 32, "adam", (0.001,), (0.0,))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def key(loss: str = "ce", seed: int = 0) -> RunKey:
    return RunKey("symmetric", 0.2, seed, loss, "resnet50", "features")


def block(*keys: RunKey, generation: int = 1, dataset: str = "data", epochs: int = 5) -> RunBlock:
    return RunBlock(
        dataset=dataset,
        backbone="resnet50",
        mode="features",
        inputs=INPUTS,
        settings=msgspec.structs.replace(SETTINGS, epochs=epochs),
        selections=("last",),
        runs=tuple(Run(each, "labels", (Choice(0.001, 0.0, epochs),), None) for each in keys),
        arrays=files.NOT_WRITTEN,
        generation=generation,
        provenance=Provenance({"keras": "3"}, "tensorflow", "cpu"),
    )


def arrays(fill: float = 0.5) -> dict[str, np.ndarray]:
    return {name: np.full((1, 1, 2, 2), fill, dtype=np.float32) for name in runs.PREDICTION_ARRAYS}


def test_blocks_and_their_arrays_read_back(layout: Layout) -> None:
    written = block(key("ce"), key("mae"))
    runs.write(layout, written, arrays())
    ((name, read),) = runs.blocks(layout, "data").items()
    assert name == runs.name_of(written) == runs.name_of(read)
    assert msgspec.structs.replace(read, arrays=files.NOT_WRITTEN) == written
    np.testing.assert_array_equal(
        runs.read_arrays(layout, read, runs.PREDICTION_ARRAYS)["test_probabilities"], arrays()["test_probabilities"]
    )


def test_a_block_is_named_by_what_it_holds_and_how_it_was_trained() -> None:
    plain = block(key())
    changed = [
        block(key("mae")),
        block(key(seed=1)),
        block(key(), key("mae")),
        block(key(), epochs=6),
        block(key(), generation=9),
        block(key(), dataset="other"),
        msgspec.structs.replace(plain, inputs=msgspec.structs.replace(INPUTS, photos="others")),
        msgspec.structs.replace(plain, runs=(msgspec.structs.replace(plain.runs[0], labels="others"),)),
    ]
    assert len({runs.name_of(each) for each in (plain, *changed)}) == 1 + len(changed)


def test_blocks_of_other_data_sets_and_predictions_are_passed_over(layout: Layout) -> None:
    runs.write(layout, block(key()), arrays())
    runs.write(layout, block(key(), dataset="other"), arrays())
    (found,) = runs.blocks(layout, "data").values()
    runs.write_predictions(layout, runs.name_of(found), found, arrays())
    assert list(runs.blocks(layout, "data").values()) == [found]


def test_the_highest_generation_of_a_run_is_live() -> None:
    old, new, other = block(key(), key("mae")), block(key(), epochs=6, generation=2), block(key("gce"))
    for order in (("a", old), ("b", new), ("c", other)), (("c", other), ("b", new), ("a", old)):
        live = runs.live(dict(order))
        assert {each.loss: stored.name for each, stored in live.items()} == {"ce": "b", "gce": "c", "mae": "a"}
        assert list(live) == sorted(live)
        assert (live[key("mae")].row, live[key("mae")].block) == (1, old)


def test_of_two_blocks_of_one_generation_the_same_is_live_in_any_order() -> None:
    one, two = block(key()), block(key(), epochs=6)
    assert runs.live({"a": one, "b": two})[key()].name == runs.live({"b": two, "a": one})[key()].name


BLOCKS = st.dictionaries(
    st.integers(1, 40),
    st.tuples(st.integers(1, 3), st.sets(st.sampled_from(["ce", "mae", "gce", "sce"]), min_size=1)),
    max_size=8,
)


@given(BLOCKS)
def test_every_run_is_live_once_in_a_block_that_no_other_outranks(made: dict[int, tuple[int, set[str]]]) -> None:
    found = {
        str(epochs): block(*(key(loss) for loss in sorted(losses)), generation=generation, epochs=epochs)
        for epochs, (generation, losses) in made.items()
    }
    live = runs.live(found)
    assert {each.loss for each in live} == {loss for _, losses in made.values() for loss in losses}
    for each, stored in live.items():
        assert stored.block.runs[stored.row] == stored.run
        assert stored.run.key == each
        rivals = [generation for generation, losses in made.values() if each.loss in losses]
        assert stored.block.generation == max(rivals)


def test_exactly_the_blocks_without_live_runs_are_removed(layout: Layout) -> None:
    kinds = {
        "superseded": block(key("ce"), key("mae"), epochs=1),
        "partly live": block(key("ce"), key("gce"), epochs=2, generation=2),
        "live": block(key("ce"), key("mae"), epochs=3, generation=3),
        "of another data set": block(key("ce"), dataset="other", epochs=1),
    }
    for each in kinds.values():
        runs.write(layout, each, arrays())
    for name, each in runs.blocks(layout, "data").items():
        runs.write_predictions(layout, name, each, arrays())
    before = {path.name for path in layout.runs.iterdir()}
    runs.remove_superseded(layout, "data")
    gone = {name for name in before if name.startswith(runs.name_of(kinds["superseded"]))}
    assert len(gone) == 4  # record and arrays, of the block and of its predictions
    assert {path.name for path in layout.runs.iterdir()} == before - gone


def test_without_runs_nothing_is_removed_and_nothing_fails(layout: Layout) -> None:
    runs.remove_superseded(layout, "data")
    assert runs.live(runs.blocks(layout, "data")) == {}


def test_a_damaged_record_says_what_to_do(layout: Layout) -> None:
    runs.write(layout, block(key()), arrays())
    (record,) = layout.runs.glob("*.json")
    record.write_bytes(record.read_bytes()[:-9])
    with pytest.raises(DamagedFileError, match=f"{record.name} is damaged: .*; remove it, and `flowernoise train`"):
        runs.blocks(layout, "data")


def test_damaged_arrays_say_which_record_to_remove(layout: Layout) -> None:
    runs.write(layout, block(key()), arrays())
    (found,) = runs.blocks(layout, "data").values()
    (layout.runs / found.arrays.name).write_bytes(b"x")
    (record,) = layout.runs.glob("*.json")
    with pytest.raises(DamagedFileError, match=f"{found.arrays.name} is damaged.*; remove .*{record.name}, and"):
        runs.read_arrays(layout, found, runs.PREDICTION_ARRAYS)


def test_predictions_are_found_while_they_are_intact_and_of_the_present_weights(layout: Layout) -> None:
    runs.write(layout, block(key()), arrays())
    ((name, found),) = runs.blocks(layout, "data").items()
    assert runs.find_predictions(layout, name, found) is None
    runs.write_predictions(layout, name, found, arrays(0.25))
    kept = runs.find_predictions(layout, name, found)
    assert kept is not None
    np.testing.assert_array_equal(kept["val_probabilities"], arrays(0.25)["val_probabilities"])
    retrained = msgspec.structs.replace(found, arrays=msgspec.structs.replace(found.arrays, sha256="0" * 64))
    assert runs.find_predictions(layout, name, retrained) is None
    for path in layout.runs.glob("*.predictions-*.h5"):
        path.write_bytes(b"damaged")
    assert runs.find_predictions(layout, name, found) is None
    runs.predictions_path(layout, name).write_bytes(b"damaged")
    assert runs.find_predictions(layout, name, found) is None
