"""``corrupt`` over small artifacts directories: what is drawn, what is kept, what is left alone."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from flowernoise.errors import BadRequestError
from flowernoise.progress import Silent
from flowernoise.steps.corrupt import CorruptSettings, corrupt
from flowernoise.steps.prepare import PrepareSettings, prepare
from flowernoise.store import datasets, draws, photos
from flowernoise.store.layout import Layout
from flowernoise.store.records import DrawKey


class Listening(Silent):
    """Progress that remembers the notes."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def artifacts(photo_folder, tmp_path):
    """An artifacts directory of 3 classes, 18 training, 9 validation and 9 test photos."""
    directory = tmp_path / "artifacts"
    prepare(directory, PrepareSettings(source=str(photo_folder), train=18, val=9, test=9, image_size=32), Silent())
    return directory


def asked(noise="symmetric", rates=(0.5,), seeds=1):
    return CorruptSettings(noise=(noise,) if isinstance(noise, str) else noise, rates=rates, seeds=seeds)


def labels_of(directory):
    """All draws' arrays, by key."""
    layout = Layout(directory)
    return draws.read(layout, draws.index(layout, datasets.need(layout).id).values())


def truth(directory, split="train"):
    layout = Layout(directory)
    return photos.labels_of(photos.read_index(layout.photos, datasets.need(layout).index), split)


def contents(directory):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in directory.rglob("*") if path.is_file()}


def test_every_draw_that_is_asked_for_and_the_control_of_every_seed(artifacts):
    result = corrupt(artifacts, asked(("symmetric", "uniform"), (0.2, 0.4), 2), Silent())
    controls = [DrawKey("none", 0.0, seed) for seed in (0, 1)]
    noisy = [DrawKey(n, r, s) for n in ("symmetric", "uniform") for r in (0.2, 0.4) for s in (0, 1)]
    assert [draw.key for draw in result.draws] == controls + noisy
    assert (result.made, result.done_before) == (10, 0)
    assert set(labels_of(artifacts)) == set(controls + noisy)


def test_the_control_has_the_clean_labels(artifacts):
    corrupt(artifacts, asked(), Silent())
    control = labels_of(artifacts)[DrawKey("none", 0.0, 0)]
    np.testing.assert_array_equal(control.train_labels, truth(artifacts))
    np.testing.assert_array_equal(control.val_labels, truth(artifacts, "val"))
    np.testing.assert_array_equal(control.transition_matrix, np.eye(3))
    assert not control.train_flipped.any()
    assert not control.val_flipped.any()


def test_train_and_val_get_the_exact_count_each_and_everything_is_recorded(artifacts):
    result = corrupt(artifacts, asked(rates=(0.3,)), Silent())
    [record] = [draw for draw in result.draws if draw.key.noise == "symmetric"]
    drawn = labels_of(artifacts)[record.key]
    assert drawn.train_flipped.sum() == 5  # 5.4
    assert drawn.val_flipped.sum() == 3  # 2.7
    np.testing.assert_array_equal(drawn.train_flipped, drawn.train_labels != truth(artifacts))
    np.testing.assert_array_equal(drawn.val_flipped, drawn.val_labels != truth(artifacts, "val"))
    assert (record.realised_rate, record.realised_rate_val) == (5 / 18, 3 / 9)
    by_class = [drawn.train_flipped[truth(artifacts) == label].mean() for label in range(3)]
    np.testing.assert_allclose(record.realised_rate_by_class, by_class)
    np.testing.assert_allclose(1 - np.diag(drawn.realised_transition_matrix), by_class)
    np.testing.assert_allclose(np.diag(drawn.transition_matrix), 0.7)


def test_the_same_request_gives_the_same_files_in_another_directory(artifacts, photo_folder, tmp_path):
    other = tmp_path / "other"
    prepare(other, PrepareSettings(source=str(photo_folder), train=18, val=9, test=9, image_size=32), Silent())
    for directory in (artifacts, other):
        corrupt(directory, asked(rates=(0.2, 0.6), seeds=2), Silent())
    first, second = ({path.name: path.read_bytes() for path in (d / "draws").iterdir()} for d in (artifacts, other))
    assert first == second


def test_labels_do_not_depend_on_what_else_is_drawn_or_on_the_order(artifacts, photo_folder, tmp_path):
    other = tmp_path / "other"
    prepare(other, PrepareSettings(source=str(photo_folder), train=18, val=9, test=9, image_size=32), Silent())
    corrupt(artifacts, asked(("uniform", "symmetric"), (0.6, 0.3), 3), Silent())
    corrupt(other, asked("symmetric", (0.3,), 1), Silent())
    key = DrawKey("symmetric", 0.3, 0)
    np.testing.assert_array_equal(labels_of(artifacts)[key].train_labels, labels_of(other)[key].train_labels)


def test_seeds_models_and_splits_have_streams_of_their_own(tmp_path):
    directory, folder = tmp_path / "artifacts", tmp_path / "many"
    for number in range(402):
        (folder / f"class{number % 3}").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"class{number % 3}" / f"{number}.bmp")
    prepare(directory, PrepareSettings(str(folder), train=200, val=200, test=2, image_size=16), Silent())
    corrupt(directory, asked(("symmetric", "symmetric:count=bernoulli", "uniform"), (0.5,), 3), Silent())
    flipped = {}
    for key, drawn in labels_of(directory).items():
        if key.noise != "none":
            flipped[key, "train"], flipped[key, "val"] = drawn.train_flipped, drawn.val_flipped
    correlation = np.corrcoef(np.stack(list(flipped.values())).astype(float))
    assert np.abs(correlation - np.eye(len(flipped))).max() < 4.5 / np.sqrt(200)


def test_draws_accumulate(artifacts):
    corrupt(artifacts, asked("symmetric", (0.2,), 1), Silent())
    before = labels_of(artifacts)
    second = corrupt(artifacts, asked("uniform", (0.4,), 2), Silent())
    assert (second.made, second.done_before) == (3, 1)
    after = labels_of(artifacts)
    assert len(after) == 5
    for key, drawn in before.items():
        np.testing.assert_array_equal(after[key].train_labels, drawn.train_labels)


def test_asking_again_touches_nothing(artifacts):
    corrupt(artifacts, asked(rates=(0.2, 0.4), seeds=2), Silent())
    before = contents(artifacts)
    for again in (asked(rates=(0.2, 0.4), seeds=2), asked(rates=(0.4,), seeds=1), asked(rates=(0.0,), seeds=2)):
        result = corrupt(artifacts, again, Silent())
        assert result.made == 0
    assert contents(artifacts) == before


def test_rates_0_and_1_and_a_rate_given_twice(artifacts):
    result = corrupt(artifacts, asked(rates=(0.0, 1.0, 1.0)), Silent())
    assert [str(draw.key) for draw in result.draws] == ["none at 0, seed 0", "symmetric at 1, seed 0"]
    assert [draw.realised_rate for draw in result.draws] == [0.0, 1.0]


def test_equal_specs_are_one_model(artifacts):
    result = corrupt(artifacts, asked(("symmetric", "symmetric:count=exact")), Silent())
    assert len(result.draws) == 2


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_rate_out_of_range_is_named(artifacts, rate):
    with pytest.raises(BadRequestError, match=f"--rates: {rate:g} is not between 0 and 1"):
        corrupt(artifacts, asked(rates=(0.2, rate)), Silent())
    assert not (artifacts / "draws").exists()


def test_no_seed_is_refused(artifacts):
    with pytest.raises(BadRequestError, match="--seeds 0 is too few"):
        corrupt(artifacts, asked(seeds=0), Silent())


def test_an_unknown_model_lists_what_there_is_and_suggests_the_nearest(artifacts):
    with pytest.raises(
        BadRequestError, match=r"'symetric' \(did you mean symmetric\?\); there are: symmetric, uniform"
    ):
        corrupt(artifacts, asked("symetric"), Silent())


def test_nothing_prepared(tmp_path):
    with pytest.raises(BadRequestError, match="run `flowernoise prepare` first"):
        corrupt(tmp_path / "nowhere", asked(), Silent())


def test_a_binary_task_at_one_half(photo_folder, tmp_path):
    directory = tmp_path / "artifacts"
    prepare(directory, PrepareSettings(str(photo_folder), "roses", train=24, test=12, image_size=32), Silent())
    result = corrupt(directory, asked(rates=(0.5, 1.0)), Silent())
    assert [draw.realised_rate for draw in result.draws] == [0.0, 0.5, 1.0]
    assert [draw.realised_rate_val for draw in result.draws] == [None] * 3
    inverted = labels_of(directory)[DrawKey("symmetric", 1.0, 0)]
    np.testing.assert_array_equal(inverted.train_labels, 1 - truth(directory))
    assert inverted.val_labels.shape == (0,)


@pytest.mark.parametrize(
    ("suffix", "harm"), [(".json", "changed"), (".json", "cut"), (".h5", "changed"), (".h5", "cut"), (".h5", "gone")]
)
def test_damage_is_named_set_aside_and_drawn_again_identically(artifacts, suffix, harm):
    corrupt(artifacts, asked(rates=(0.5,), seeds=2), Silent())
    before = {path.name: path.read_bytes() for path in (artifacts / "draws").iterdir()}
    [damaged] = (artifacts / "draws").glob(f"*{suffix}")
    data = damaged.read_bytes()
    if harm == "gone":
        damaged.unlink()
    else:
        damaged.write_bytes(data[:-40] if harm == "cut" else data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])
    progress = Listening()
    result = corrupt(artifacts, asked(rates=(0.5,), seeds=2), progress)
    assert result.made == 4
    [note] = progress.notes
    assert damaged.name in note
    assert "drawn again" in note
    after = {path.name: path.read_bytes() for path in (artifacts / "draws").iterdir()}
    assert {name: data for name, data in after.items() if not name.endswith(".damaged")} == before
    if harm != "gone":
        assert damaged.name + ".damaged" in after


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.3, 0.4])  # other rates, other file names, another order of reading
def test_damaged_draws_stay_aside_when_they_are_drawn_again_beside_new_ones(artifacts, rate):
    corrupt(artifacts, asked(rates=(0.5,)), Silent())
    before = labels_of(artifacts)
    [arrays] = (artifacts / "draws").glob("*.h5")
    arrays.write_bytes(arrays.read_bytes()[:-1])
    result = corrupt(artifacts, asked(rates=(0.5, rate)), Silent())
    assert result.made == 3
    after = labels_of(artifacts)
    for key, drawn in before.items():
        np.testing.assert_array_equal(after[key].train_labels, drawn.train_labels)


def test_draws_of_the_photos_before_do_not_count(artifacts, photo_folder):
    corrupt(artifacts, asked(), Silent())
    prepare(artifacts, PrepareSettings(str(photo_folder), train=24, val=6, test=6, image_size=32), Silent())
    assert corrupt(artifacts, asked(), Silent()).made == 2


def test_corrupt_imports_neither_tensorflow_nor_keras(artifacts):
    program = (
        "import sys; from pathlib import Path; from flowernoise.progress import Silent;"
        "from flowernoise.steps.corrupt import CorruptSettings, corrupt;"
        f"assert corrupt(Path({str(artifacts)!r}), CorruptSettings(), Silent()).made == 12;"
        "assert not {'tensorflow', 'keras', 'jax', 'torch', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
