"""``corrupt`` over small artifacts directories: what is drawn, what is kept, what is left alone."""

import csv
import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flowernoise
from flowernoise.catalogue.noise import is_rated, noise_models
from flowernoise.errors import BadRequestError, FlowernoiseError, OtherVersionError
from flowernoise.progress import Silent
from flowernoise.steps import features, noise_inputs
from flowernoise.steps.corrupt import CorruptSettings, corrupt
from flowernoise.steps.prepare import PrepareSettings, prepare
from flowernoise.store import datasets, draws, photos
from flowernoise.store.artifacts import Artifacts
from flowernoise.store.layout import Layout
from flowernoise.store.records import DrawKey
from flowernoise.training import out_of_fold

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
CIFAR10N = Path(os.environ.get("FLOWERNOISE_TEST_CIFAR10N", SHARED / "cifar10n"))


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
    return {draw.key: draw.labels for draw in Artifacts(directory).draws()}


def truth(directory, split="train"):
    return Artifacts(directory).labels(split)


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
    for number in range(403):
        (folder / f"class{number % 3}").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"class{number % 3}" / f"{number}.bmp")
    prepare(directory, PrepareSettings(str(folder), train=200, val=200, test=3, image_size=16), Silent())
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
    assert [str(draw.key) for draw in result.draws] == ["labels without noise, seed 0", "symmetric at 1, seed 0"]
    assert [draw.realised_rate for draw in result.draws] == [0.0, 1.0]


def test_rates_at_and_past_break_even_say_what_they_mean(artifacts):
    progress = Listening()
    corrupt(artifacts, asked(("symmetric", "pairflip"), (0.3, 2 / 3, 1.0), 2), progress)
    assert progress.notes == [
        "symmetric at 0.666667: every class gets the same labels, so labels say nothing about the class",
        "symmetric at 1: daisy is labelled roses more often than daisy",
        "pairflip at 0.666667: daisy is labelled roses more often than daisy",
        "pairflip at 1: daisy is labelled roses more often than daisy",
    ]


def test_equal_specs_are_one_model(artifacts):
    result = corrupt(artifacts, asked(("symmetric", "symmetric:count=exact")), Silent())
    assert len(result.draws) == 2


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_rate_out_of_range_is_named(artifacts, rate):
    with pytest.raises(BadRequestError, match=f"--rates {rate:g} must be at least 0 and at most 1"):
        corrupt(artifacts, asked(rates=(0.2, rate)), Silent())
    assert not (artifacts / "draws").exists()


def test_no_seed_is_refused(artifacts):
    with pytest.raises(BadRequestError, match="--seeds 0 must be at least 1"):
        corrupt(artifacts, asked(seeds=0), Silent())


def test_an_unknown_model_lists_what_there_is_and_suggests_the_nearest(artifacts):
    with pytest.raises(
        BadRequestError, match=r"'symetric' \(did you mean symmetric\?\); there are: symmetric, uniform, "
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


def behind_a_link(path):
    elsewhere = path.parents[2] / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def as_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("suffix", [".json", ".h5"])
@pytest.mark.parametrize("harm", [behind_a_link, as_a_pipe])
def test_draws_that_are_no_files_of_their_own_are_drawn_again_identically(artifacts, suffix, harm):
    corrupt(artifacts, asked(), Silent())
    folder = artifacts / "draws"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    [path] = folder.glob(f"*{suffix}")
    harm(path)
    progress = Listening()
    assert corrupt(artifacts, asked(), progress).made == 2
    [note] = progress.notes
    assert note.endswith(f"set aside as {path.name}.damaged and drawn again")
    after = {path.name: path for path in folder.iterdir() if not path.name.endswith(".damaged")}
    assert not any(path.is_symlink() for path in after.values())
    assert {name: path.read_bytes() for name, path in after.items()} == before


@pytest.mark.parametrize("lie", ["a class that there is not", "other photos"])
def test_labels_that_fit_their_digest_and_not_the_photos_are_drawn_again(artifacts, lie):
    corrupt(artifacts, asked(), Silent())
    layout, before = Layout(artifacts), labels_of(artifacts)
    dataset = datasets.need(layout)
    stored = list(draws.index(layout, dataset.id).values())
    changed = [dataclasses.replace(before[each.draw.key]) for each in stored]
    for labels in changed:
        if lie == "other photos":
            object.__setattr__(labels, "train_labels", labels.train_labels[:-1])
        else:
            object.__setattr__(labels, "train_labels", labels.train_labels + 1)
    draws.write(layout, dataset.id, [(each.draw, labels) for each, labels in zip(stored, changed, strict=True)])
    assert corrupt(artifacts, asked(), Silent()).made == 2
    for key, labels in labels_of(artifacts).items():
        np.testing.assert_array_equal(labels.train_labels, before[key].train_labels)


def test_draws_of_another_version_are_neither_read_nor_replaced(artifacts):
    corrupt(artifacts, asked(), Silent())
    [path] = (artifacts / "draws").glob("*.json")
    path.write_bytes(path.read_bytes().replace(b'"schema": 4', b'"schema": 5'))
    before = contents(artifacts)
    with pytest.raises(OtherVersionError, match=rf"{path.name} has schema 5, but this flowernoise reads 4"):
        corrupt(artifacts, asked(), Silent())
    assert contents(artifacts) == before


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


# --- noise models that need more -------------------------------------------------------------------------------------


@pytest.fixture
def extractions(monkeypatch):
    """Features made up in place of a network's: the counts of photos asked for, call by call."""
    calls = []

    def extract(_model, encoded, _image_size, advance):
        rows = [np.frombuffer(data[-64:], dtype=np.uint8).astype(np.float32) for data in encoded]
        calls.append(len(rows))
        advance(len(rows))
        return np.stack(rows)

    monkeypatch.setattr(features, "_network", lambda _work, _progress: None)
    monkeypatch.setattr(features.features, "extract", extract)
    return calls


NONE = "efficientnet_lite0:weights=none"


def test_features_come_from_the_cache_that_training_uses(artifacts, extractions):
    from flowernoise.steps import features
    from flowernoise.steps.train import TrainSettings, plan

    noise = f"instance:backbone={NONE}"
    result = corrupt(artifacts, asked(noise, (0.5,), 2), Silent())
    assert extractions == [36]
    assert [draw.realised_rate for draw in result.draws] == [0, 0, 0.5, 0.5]
    assert corrupt(artifacts, asked(noise, (0.5, 0.7), 2), Silent()).made == 2
    work = plan.make(Layout(artifacts), TrainSettings(backbone=NONE), Silent())
    assert features.cached(work.feature_work, Silent()).shape == (36, 64)
    assert extractions == [36]


def test_nothing_is_extracted_for_draws_that_are_there_or_need_nothing(artifacts, extractions):
    corrupt(artifacts, asked((f"asymmetric:backbone={NONE},pairs=roses/daisy", "symmetric"), (0.5,), 1), Silent())
    assert extractions == []
    corrupt(artifacts, asked(f"boundary:backbone={NONE}"), Silent())
    (artifacts / "features").rename(artifacts / "gone")
    before = contents(artifacts)
    assert corrupt(artifacts, asked(f"boundary:backbone={NONE}"), Silent()).made == 0
    assert contents(artifacts) == before
    assert extractions == [36]


@pytest.mark.usefixtures("extractions")
def test_one_clean_model_of_train_and_val_serves_all_models_and_seeds(artifacts, monkeypatch):
    asked_for = []

    def probabilities(given, labels, num_classes, loss, stream):
        del loss, stream
        asked_for.append((given.shape, labels.tolist()))
        return np.full((len(labels), num_classes), [0.7, 0.2, 0.1])

    monkeypatch.setattr(out_of_fold, "probabilities", probabilities)
    corrupt(artifacts, asked((f"boundary:backbone={NONE}", f"asymmetric:backbone={NONE}"), (1.0,), 2), Silent())
    both = np.concatenate([truth(artifacts), truth(artifacts, "val")])
    assert asked_for == [((27, 64), both.tolist())]
    drawn = labels_of(artifacts)
    unsure = drawn[DrawKey(f"boundary:backbone={NONE}", 1.0, 0)]
    np.testing.assert_array_equal(unsure.val_labels, np.where(truth(artifacts, "val") == 0, 1, 0))
    assert np.isnan(unsure.transition_matrix).all()
    pairs = drawn[DrawKey(f"asymmetric:backbone={NONE}", 1.0, 0)]
    np.testing.assert_array_equal(pairs.transition_matrix, [[1, 0, 0], [1, 0, 0], [1, 0, 0]])


@pytest.mark.usefixtures("extractions")
def test_backbones_are_written_in_their_canonical_form(artifacts):
    result = corrupt(artifacts, asked(f"instance:backbone={NONE},temperature=1.0"), Silent())
    assert result.draws[-1].key.noise == f"instance:backbone={NONE}"
    given = noise_models.parse("instance:backbone=resnet50:weights=imagenet")
    assert noise_inputs.settled(given, datasets.need(Layout(artifacts))) == noise_models.parse("instance")
    with pytest.raises(BadRequestError, match=r"unknown backbone 'resnet5' \(did you mean resnet50\?\)"):
        corrupt(artifacts, asked("instance:backbone=resnet5"), Silent())


def test_weights_that_cannot_be_had_are_named_with_the_way_out(artifacts, tmp_path):
    noise = f"instance:backbone=resnet50:weights={tmp_path / 'nowhere.h5'}"
    with pytest.raises(FlowernoiseError, match=r"noise model instance: .*nowhere\.h5.* as instance:backbone=…"):
        corrupt(artifacts, asked(noise), Silent())
    assert not (artifacts / "draws").exists()


def test_train_and_val_share_one_stream_and_have_one_each(artifacts):
    spec, layout = noise_models.parse("annotators"), Layout(artifacts)
    inputs = noise_inputs.NoiseInputs(layout, datasets.need(layout), Silent())
    requests = [inputs.request(spec, 0.5, seed, split) for seed in (0, 1) for split in ("train", "val")]
    shared = [request.shared.random() for request in requests]
    assert (shared[0], shared[2]) == (shared[1], shared[3])
    own = [request.generator.random() for request in requests]
    assert len({*shared, *own}) == 6


@pytest.mark.parametrize(
    "text", ["symmetric", "pairflip", "annotators:label=majority", "asymmetric:pairs=roses/tulips"]
)
def test_the_python_api_draws_the_training_labels_that_corrupt_draws(artifacts, text):
    corrupt(artifacts, asked(text), Silent())
    [drawn] = [drawn for key, drawn in labels_of(artifacts).items() if key.noise == text]
    names = ("daisy", "roses", "tulips")
    ours = flowernoise.corrupt_labels(truth(artifacts), text, rate=0.5, class_names=names)
    np.testing.assert_array_equal(ours.labels, drawn.train_labels)
    np.testing.assert_array_equal(ours.transition_matrix, drawn.transition_matrix)
    np.testing.assert_array_equal(ours.realised_transition_matrix, drawn.realised_transition_matrix)


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_matrix_takes_no_rates_and_is_known_by_its_content(artifacts, tmp_path):
    path = tmp_path / "T.csv"
    path.write_text("0.5,0.5,0\n0,1,0\n0,0,1\n")
    settings = CorruptSettings(noise=(f"matrix:{path}",), seeds=2)
    first = corrupt(artifacts, settings, Silent())
    assert [draw.key.rate for draw in first.draws] == [0, 0, 0.1667, 0.1667]
    assert first.draws[-1].realised_rate == 3 / 18
    assert re.fullmatch(rf"matrix:{path},sha256=[0-9a-f]{{12}}", first.draws[-1].key.noise)
    assert corrupt(artifacts, settings, Silent()).made == 0
    path.write_text("1,0,0\n0,1,0\n0.5,0,0.5\n")
    second = corrupt(artifacts, settings, Silent())
    assert second.made == 2
    assert second.draws[-1].key.noise != first.draws[-1].key.noise
    with pytest.raises(BadRequestError, match="its content has changed"):
        corrupt(artifacts, asked(first.draws[-1].key.noise, CorruptSettings().rates), Silent())


def test_rates_for_models_that_take_none_are_refused_unless_another_takes_them(artifacts, tmp_path):
    (tmp_path / "T.csv").write_text("1,0,0\n0,1,0\n0,0,1\n")
    matrix = f"matrix:{tmp_path / 'T.csv'}"
    with pytest.raises(BadRequestError, match="--rates: noise model matrix takes none"):
        corrupt(artifacts, asked(matrix, (0.3,)), Silent())
    rates = [draw.key.rate for draw in corrupt(artifacts, asked((matrix, "symmetric"), (0.3,)), Silent()).draws]
    assert rates == [0, 0, 0.3]


def test_which_models_take_no_rates():
    unrated = [name for name in noise_models.names() if not noise_models[name].properties.get("rated", True)]
    assert unrated == ["matrix", "observed"]
    assert is_rated(noise_models.parse("symmetric"))


def exported(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_an_export_has_a_row_a_photo_with_what_the_draw_says(artifacts, tmp_path):
    path = tmp_path / "out" / "labels.csv"
    progress = Listening()
    corrupt(artifacts, dataclasses.replace(asked(), export=path), progress)
    assert progress.notes == [f"labels of 1 draw written to {path}"]
    rows = exported(path)
    assert path.read_text().splitlines()[0] == "id,path,split,clean_label,observed_label,flipped,noise,rate,seed"
    names = ("daisy", "roses", "tulips")
    drawn = labels_of(artifacts)[DrawKey("symmetric", 0.5, 0)]
    expected = np.concatenate([drawn.train_labels, drawn.val_labels, truth(artifacts, "test")])
    assert [row["observed_label"] for row in rows] == [names[label] for label in expected]
    assert [row["path"].split("/")[0] for row in rows] == [row["clean_label"] for row in rows]
    assert [row["flipped"] for row in rows] == [
        str(row["clean_label"] != row["observed_label"]).lower() for row in rows
    ]
    assert [row["split"] for row in rows] == ["train"] * 18 + ["val"] * 9 + ["test"] * 9
    assert {(row["noise"], row["rate"], row["seed"]) for row in rows} == {("symmetric", "0.5", "0")}


def test_exporting_again_touches_nothing(artifacts, tmp_path):
    settings = dataclasses.replace(asked(), export=tmp_path / "labels.csv")
    corrupt(artifacts, settings, Silent())
    before = contents(tmp_path)
    progress = Listening()
    corrupt(artifacts, settings, progress)
    assert contents(tmp_path) == before
    assert progress.notes == []


def test_several_draws_are_exported_one_after_another_and_controls_only_alone(artifacts, tmp_path):
    path = tmp_path / "labels.csv"
    corrupt(artifacts, dataclasses.replace(asked(seeds=2, rates=(0.2, 0.4)), export=path), Silent())
    assert len(exported(path)) == 4 * 36
    corrupt(artifacts, dataclasses.replace(asked(rates=(0.0,)), export=path), Silent())
    assert {row["noise"] for row in exported(path)} == {"none"}
    assert len(exported(path)) == 36


def test_what_was_exported_is_imported_as_it_was(artifacts, tmp_path):
    path = tmp_path / "labels.csv"
    corrupt(artifacts, dataclasses.replace(asked(), export=path), Silent())
    settings = CorruptSettings(noise=(), seeds=2, import_=path)
    result = corrupt(artifacts, settings, Silent())
    assert (result.made, result.done_before) == (3, 1)
    key = result.draws[-1].key
    assert re.fullmatch(rf"observed:{path},sha256=[0-9a-f]{{12}}", key.noise)
    assert key.rate == 0.5
    drawn = labels_of(artifacts)
    for seed in (0, 1):
        ours, theirs = drawn[DrawKey(key.noise, 0.5, seed)], drawn[DrawKey("symmetric", 0.5, 0)]
        np.testing.assert_array_equal(ours.train_labels, theirs.train_labels)
        np.testing.assert_array_equal(ours.val_labels, theirs.val_labels)
        np.testing.assert_array_equal(ours.realised_transition_matrix, theirs.realised_transition_matrix)
        assert np.isnan(ours.transition_matrix).all()
    assert corrupt(artifacts, settings, Silent()).made == 0


def test_labels_of_ones_own_may_go_by_path(artifacts, tmp_path):
    index = photos.read_index(Layout(artifacts).photos, datasets.need(Layout(artifacts)).index)
    path = tmp_path / "own.csv"
    path.write_text("label,id,who\n" + "".join(f"roses,{photo.path},me\n" for photo in index))
    result = corrupt(artifacts, CorruptSettings(noise=(f"observed:{path}",), seeds=1), Silent())
    drawn = labels_of(artifacts)[result.draws[-1].key]
    assert set(drawn.train_labels) == set(drawn.val_labels) == {1}


def command(*arguments):
    called = [sys.executable, "-m", "flowernoise", *map(str, arguments)]
    return subprocess.run(called, capture_output=True, text=True, check=False)


def test_labels_of_some_photos_are_imported_and_the_others_keep_theirs(artifacts, photo_folder, tmp_path):
    index = photos.read_index(Layout(artifacts).photos, datasets.need(Layout(artifacts)).index)
    first = next(photo for photo in index if photo.split == "train" and photo.label != 1)
    (tmp_path / "own.csv").write_text(f"path,label\n{photo_folder / first.path},roses\n")
    done = command("corrupt", "-a", artifacts, "--import", tmp_path / "own.csv", "--partial", "--seeds", 1, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["draws"][-1]["realised_rate"] == 1 / 18
    without = command("corrupt", "-a", artifacts, "--import", tmp_path / "own.csv", "--seeds", 1)
    assert without.returncode == 2
    assert "every one needs a row, unless --partial lets the others keep their label" in without.stderr
    alone = command("corrupt", "-a", artifacts, "--partial")
    assert (alone.returncode, alone.stderr) == (2, "error: --partial needs --import FILE\n")


def test_rates_that_tables_cannot_tell_apart_are_refused_also_beside_those_that_are_drawn(artifacts):
    message = (
        "error: --rates 0.2000000001: tables print it as 0.2, like the rate 0.2 of the same noise; leave one out\n"
    )
    done = command("corrupt", "-a", artifacts, "--rates", "0.2,0.2000000001")
    assert (done.returncode, done.stderr) == (2, message)
    assert not (artifacts / "draws").exists()
    assert command("corrupt", "-a", artifacts, "--rates", "0.2,0.20", "--seeds", 1).returncode == 0
    later = command("corrupt", "-a", artifacts, "--rates", "0.2000000001")
    assert (later.returncode, later.stderr) == (2, message)


@pytest.mark.parametrize("how", ["file", "column"])
def test_each_seed_gets_the_labels_of_the_photos_of_its_own_split(tmp_path, photo_folder, how):
    """Labels that were given are those of the photos, whatever their places in a split."""
    names = sorted(path.relative_to(photo_folder).as_posix() for path in photo_folder.rglob("*.*"))
    classes = sorted({name.partition("/")[0] for name in names})
    table = tmp_path / "labels.csv"
    rows = [(name, name.partition("/")[0], classes[number % 2]) for number, name in enumerate(names)]
    table.write_text("path,label,other\n" + "".join(f"{','.join(row)}\n" for row in rows))
    given = {path: other for path, _, other in rows}
    directory = tmp_path / "artifacts"
    settings = PrepareSettings(source=str(photo_folder), labels=table, image_size=32, splits=3)
    prepare(directory, settings, Silent())
    own = tmp_path / "own.csv"
    own.write_text("path,label\n" + "".join(f"{path},{other}\n" for path, other in given.items()))
    asked_for = {"file": {"noise": (), "import_": own}, "column": {"noise": ("observed:column=other",)}}[how]
    corrupt(directory, CorruptSettings(seeds=3, rates=(), **asked_for), Silent())
    held = Artifacts(directory)
    noisy = [draw for draw in held.draws() if draw.noise != "none"]
    assert len(noisy) == 3
    for draw in noisy:
        for split, labels in (("train", draw.train_labels), ("val", draw.val_labels)):
            own_photos = [photo for photo in held.photos_of(draw.seed) if photo.split == split]
            expected = [held.dataset.classes.index(given[photo.path]) for photo in own_photos]
            np.testing.assert_array_equal(labels, expected)


@pytest.mark.skipif(
    not CIFAR10N.is_dir(), reason=f"{CIFAR10N} is not there: the labels that people gave are not shared"
)
def test_labels_that_people_gave_are_imported_by_path(tmp_path):
    directory, own = tmp_path / "artifacts", tmp_path / "own.csv"
    prepare(directory, PrepareSettings(source=str(CIFAR10N / "photos"), image_size=32), Silent())
    with (CIFAR10N / "labels.csv").open(newline="") as file:
        given = [(row["path"], row["worse_label"]) for row in csv.DictReader(file)]
    own.write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in given))
    result = corrupt(directory, CorruptSettings(noise=(), import_=own, seeds=1), Silent())
    assert 0.3 < result.draws[-1].realised_rate < 0.5  # 40.2 % of the worst of three labels, says the paper


def test_labels_of_a_file_go_by_its_name_or_one_that_is_given_and_by_their_digest_in_json(artifacts, tmp_path):
    index = photos.read_index(Layout(artifacts).photos, datasets.need(Layout(artifacts)).index)
    for name in ("worst", "best"):
        (tmp_path / f"{name}.csv").write_text("path,label\n" + "".join(f"{photo.path},roses\n" for photo in index))
    noise = [f"observed:{tmp_path}/worst.csv", f"observed:{tmp_path}/best.csv,name=human"]
    called = ["corrupt", "-a", artifacts, "--seeds", 1, "--noise", noise[0], "--noise", noise[1]]
    shown = command(*called)
    assert shown.returncode == 0, shown.stderr
    assert [line.split()[0] for line in shown.stdout.splitlines() if "0.66" in line] == ["worst", "human"]
    assert "sha256" not in shown.stdout
    keys = [draw["key"]["noise"] for draw in json.loads(command(*called, "--json").stdout)["draws"]]
    assert keys[0] == "none"
    assert re.fullmatch(rf"observed:{tmp_path}/worst\.csv,sha256=[0-9a-f]{{12}}", keys[1])
    assert re.fullmatch(rf"observed:{tmp_path}/best\.csv,name=human,sha256=[0-9a-f]{{12}}", keys[2])


def test_a_name_changes_no_number(artifacts, tmp_path):
    (tmp_path / "T.csv").write_text("0.5,0.5,0\n0,1,0\n0,0,1\n")
    plain, named = (f"matrix:{tmp_path}/T.csv", f"matrix:{tmp_path}/T.csv,name=pairs")
    result = corrupt(artifacts, CorruptSettings(noise=(plain, named), seeds=1), Silent())
    assert result.draws[1].labels == result.draws[2].labels


def test_an_import_that_is_not_right_leaves_nothing_behind(artifacts, tmp_path):
    (tmp_path / "labels.csv").write_text("id,label\n")
    with pytest.raises(BadRequestError, match=r"labels\.csv has no label for 27 of the 27 photos"):
        corrupt(artifacts, CorruptSettings(import_=tmp_path / "labels.csv"), Silent())
    assert not (artifacts / "draws").exists()
    with pytest.raises(BadRequestError, match=r"noise model observed: cannot read .*nowhere\.csv: No such file"):
        corrupt(artifacts, CorruptSettings(import_=tmp_path / "nowhere.csv"), Silent())

    for text in ("observed", f"observed:field=worse_label,file={tmp_path / 'labels.csv'}"):
        with pytest.raises(BadRequestError, match="observed needs a file, a column of"):
            corrupt(artifacts, CorruptSettings(noise=(text,)), Silent())
    with pytest.raises(BadRequestError, match="has no fields, only tfds:NAME has"):
        corrupt(artifacts, CorruptSettings(noise=("observed:field=worse_label",)), Silent())


def test_a_field_of_a_tfds_source_is_read_in_the_order_of_its_photos(tmp_path):
    import io

    import tensorflow_datasets

    names = ["a", "b", "c"]
    chance = np.random.default_rng(0)

    def photo():
        stream = io.BytesIO()
        Image.fromarray(chance.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(stream, "PNG")
        return stream.getvalue()

    class Crowd(tensorflow_datasets.core.GeneratorBasedBuilder):
        """Photos with a second label each, always the next class; the last three have none."""

        VERSION = tensorflow_datasets.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tensorflow_datasets.features.Image(shape=(16, 16, 3), encoding_format="png"),
                "label": tensorflow_datasets.features.ClassLabel(names=names),
                "worse_label": tensorflow_datasets.features.ClassLabel(num_classes=3),
                "named_label": tensorflow_datasets.features.ClassLabel(names=names[::-1]),
                "partial_label": tensorflow_datasets.features.ClassLabel(names=names),
            }
            return tensorflow_datasets.core.DatasetInfo(
                builder=self,
                features=tensorflow_datasets.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, manager):
            del manager
            return {"train": self._generate_examples(40), "test": self._generate_examples(20)}

        def _generate_examples(self, count):
            for number in range(count):
                label = number % 3
                yield (
                    number,
                    {
                        "image": photo(),
                        "label": label,
                        "worse_label": (label + 1) % 3,
                        "named_label": names[(label + 1) % 3],
                        "partial_label": label if number < 10 else -1,
                    },
                )

    Crowd(data_dir=tmp_path / "tfds").download_and_prepare()
    directory = tmp_path / "artifacts"
    settings = PrepareSettings(
        "tfds:crowd", train=30, val=15, test=15, image_size=16, resplit=True, data_dir=tmp_path / "tfds"
    )
    prepare(directory, settings, Silent())
    for field in ("worse_label", "named_label"):
        result = corrupt(directory, CorruptSettings(noise=(f"observed:field={field}",), seeds=1), Silent())
        assert str(result.draws[-1].key) == f"observed:field={field} at 1, seed 0"
        drawn = labels_of(directory)[result.draws[-1].key]
        np.testing.assert_array_equal(drawn.train_labels, (truth(directory) + 1) % 3)
        np.testing.assert_array_equal(drawn.val_labels, (truth(directory, "val") + 1) % 3)
    with pytest.raises(BadRequestError, match=r"tfds:crowd, field partial_label has no label for \d+ of the 45 photos"):
        corrupt(directory, CorruptSettings(noise=("observed:field=partial_label",)), Silent())
    with pytest.raises(BadRequestError, match=r"has no field 'worst_label' .*did you mean worse_label"):
        corrupt(directory, CorruptSettings(noise=("observed:field=worst_label",)), Silent())
