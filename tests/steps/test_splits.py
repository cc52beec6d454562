"""Several splits of one source: what a seed trains and is tested on, from ``prepare`` to the table."""

import csv
import dataclasses
import io
import shutil

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.analysis.results.stages import PrepareResult
from flowernoise.analysis.stats import student_quantile
from flowernoise.catalogue.metrics import RunPredictions, metrics
from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.progress import Silent
from flowernoise.show import status as shown_status
from flowernoise.show import summaries
from flowernoise.steps.compare import compare
from flowernoise.steps.corrupt import corrupt
from flowernoise.steps.evaluate import evaluate
from flowernoise.steps.prepare import _seed_of, prepare, split, splits_of
from flowernoise.steps.preview import sheets
from flowernoise.steps.settings import (
    CompareSettings,
    CorruptSettings,
    PrepareSettings,
    PreviewSettings,
    TrainSettings,
)
from flowernoise.steps.status import status
from flowernoise.steps.train import train
from flowernoise.steps.verify import verify
from flowernoise.store import datasets, photos
from flowernoise.store.artifacts import Artifacts
from flowernoise.store.layout import Layout
from flowernoise.store.records import SPLITS, DatasetRequest
from tests.fabricated import train_by_hand

SIZES = {"train": 24, "val": 6, "test": 6}


def a_request(count, seed=0, sizes=None):
    return DatasetRequest("synthetic", None, None, sizes, 32, seed, count)


@given(
    classes=st.lists(st.integers(8, 12), min_size=3, max_size=4),
    count=st.integers(2, 5),
    seed=st.integers(0, 2**63 - 1),
)
def test_splits_differ_but_have_as_many_photos_of_each_class(classes, count, seed):
    labels = {f"{label}-{number}": str(label) for label, size in enumerate(classes) for number in range(size)}
    placed = splits_of(lambda seed: split(labels, None, seed), a_request(count, seed))
    assert {id: first for id, (first, *_) in placed.items()} == split(labels, None, seed)
    counts = [sorted((places[number], labels[id]) for id, places in placed.items()) for number in range(count)]
    assert all(each == counts[0] for each in counts)
    assert any(len(set(places)) > 1 for places in placed.values())


def test_splits_that_would_all_be_the_same_are_refused():
    with pytest.raises(BadRequestError, match="--splits 3: there is only one way to split these photos"):
        splits_of(lambda _seed: {"a": "train", "b": "test"}, a_request(3))


@pytest.fixture
def three(tmp_path, photo_folder):
    """Draws of five seeds on three splits of 36 photos; 24 are in a split for training, 6 are left out."""
    directory = tmp_path / "three"
    sizes = {"train": 18, "val": 6, "test": 6}
    prepare(directory, PrepareSettings(str(photo_folder), **sizes, image_size=32, splits=3), Silent())
    corrupt(directory, CorruptSettings(rates=(0.5,), seeds=5), Silent())
    return directory


def test_the_index_says_where_each_photo_is_in_each_split(three):
    held = Artifacts(three)
    assert held.dataset.splits == 3
    assert held.dataset.sizes == (18, 6, 6)
    rows = list(csv.DictReader(io.StringIO((held.layout.photos / held.dataset.index.name).read_text())))
    assert list(rows[0])[-2:] == ["split_1", "split_2"]
    assert len(rows) == len({row["id"] for row in rows}) > 30  # photos that some split leaves out are there
    for seed, column in [(0, "split"), (1, "split_1"), (2, "split_2"), (3, "split"), (4, "split_1")]:
        listed = [(row["id"], row[column]) for row in rows if row[column]]
        expected = sorted(listed, key=lambda pair: (SPLITS.index(pair[1]), pair[0]))
        assert [(photo.id, photo.split) for photo in held.photos_of(seed)] == expected


def test_labels_are_drawn_for_the_photos_of_each_seed(three):
    held = Artifacts(three)
    assert not np.array_equal(held.labels("train", seed=0), held.labels("test", seed=0))
    for draw in held.draws(noise="symmetric"):
        for name, observed, flipped in (
            ("train", draw.train_labels, draw.train_flipped),
            ("val", draw.val_labels, draw.val_flipped),
        ):
            true = np.array([photo.label for photo in held.photos_of(draw.seed) if photo.split == name])
            np.testing.assert_array_equal(observed != true, flipped)
            assert flipped.mean() == pytest.approx(0.5, abs=0.01)


def test_exported_labels_name_the_photos_of_each_seed_and_can_be_imported(three, tmp_path):
    file = tmp_path / "labels.csv"
    corrupt(three, CorruptSettings(rates=(0.5,), seeds=2, export=file), Silent())
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    held = Artifacts(three)
    for seed in (0, 1):
        own = [(row["id"], row["split"]) for row in rows if row["seed"] == str(seed)]
        assert own == [(photo.id, photo.split) for photo in held.photos_of(seed)]
    every = tmp_path / "all.csv"  # of all photos, as a file from elsewhere has them
    every.write_text("id,label\n" + "".join(f"{photo.id},daisy\n" for photo in held.photos))
    corrupt(three, CorruptSettings(noise=(), import_=every, seeds=3), Silent())
    for draw in Artifacts(three).draws(noise="observed"):
        assert set(draw.train_labels.tolist()) == {0}
        assert draw.rate == pytest.approx(2 / 3, abs=1e-4)


def evaluated(directory, losses=("ce", "mae")):
    """Random answers of runs of all draws, which are right on 5 of 6 test photos for ``mae``."""

    def change(keys, answers):
        for row, key in enumerate(keys):
            true = Artifacts(directory).labels("test", seed=key.seed)
            if key.method == "mae":
                answers["test_probabilities"][row, :, :5] = np.eye(3)[true[:5]]

    for seed in range(5):
        train_by_hand(directory, losses, seed=seed, change=change)
    evaluate(directory, Silent())
    return directory


def test_each_run_is_measured_on_the_test_photos_of_its_seed(three):
    held = Artifacts(evaluated(three))
    results = held.results()
    assert len(results) == 20
    for run, row in zip(held.runs(), results, strict=True):
        true = np.array([photo.label for photo in held.photos_of(run.seed) if photo.split == "test"])
        assert row["accuracy"] == (run.predicted("test") == true).mean()
        assert row["loss"] != "mae" or row["accuracy"] >= 5 / 6


def test_a_table_averages_over_splits_and_its_interval_is_over_them(three):
    result = compare([evaluated(three)], CompareSettings(metric="accuracy"), Silent())
    [row] = [row for row in result.rows if (row.noise, row.loss) == ("symmetric", "ce")]
    assert row.value_seeds == (0, 1, 2, 3, 4)
    by_split = [np.mean([row.values[0], row.values[3]]), np.mean([row.values[1], row.values[4]]), row.values[2]]
    assert row.mean == pytest.approx(np.mean(by_split))
    half = student_quantile(2) * np.std(by_split, ddof=1) / 3**0.5  # each split has photos of its own, or nearly
    assert row.ci_low is not None
    assert row.ci_high is not None
    assert row.ci_high - row.ci_low > 0.8 * min(2 * half, 0.5)
    assert row.difference is None
    [other] = [row for row in result.rows if (row.noise, row.loss) == ("symmetric", "mae")]
    assert other.difference is not None
    assert other.difference.seeds == 5
    assert result.datasets[0].splits == 3
    assert result.majority == pytest.approx(1 / 3)
    assert not any("one split" in note for note in result.notes)


def test_other_metrics_agree_with_each_run_on_its_own(three):
    """Photos of the splits are brought into one order; what a metric says of a run does not depend on it."""
    directory = evaluated(three)
    held = Artifacts(directory)
    for name in ("balanced_accuracy", "auroc", "nll", "mcc", "recall:label=roses"):
        rows = {(row.noise, row.loss): row for row in compare([directory], CompareSettings(metric=name), Silent()).rows}
        for run in held.runs(noise="symmetric"):
            probabilities, labels = run.probabilities("test"), held.labels("test", seed=run.seed)
            predicted = probabilities.argmax(axis=1)[None]
            own = RunPredictions(predicted, labels, held.dataset.classes, probabilities=probabilities[None])
            row = rows["symmetric", run.loss]
            assert row.values[run.seed] == pytest.approx(metrics.parse(name)(own).values[0])


def test_contact_sheets_show_the_photos_of_each_seed(three):
    held = Artifacts(evaluated(three))
    by_seed = {seed: {photo.id: photo for photo in held.photos_of(seed)} for seed in range(5)}
    kinds = []
    for sheet in sheets(three, PreviewSettings(seeds=3, photos=6), Silent()):
        places = {by_seed[sheet.seed or 0][photo.id].split for photo in sheet.photos}
        assert places <= {sheet.split}
        kinds.append((sheet.kind, sheet.seed))
    assert {("draw", 1), ("draw", 2), ("mistakes", 1)} <= set(kinds)


def test_status_and_prepare_say_how_many_splits_there_are(three):
    data = shown_status.document(status(three)).data
    assert (data["photos"], data["splits"]) == ((18, 6, 6), 3)
    [table] = summaries.prepared(PrepareResult(Artifacts(three).dataset, done_before=True)).blocks
    assert table.title == "Photos in each of 3 splits; seed s uses split s mod 3"


def test_directories_with_the_same_splits_are_compared_within_a_seed(three, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(three, other)
    evaluated(three, ("ce",))
    evaluated(other, ("mae",))
    result = compare([three, other], CompareSettings(), Silent())
    assert len(result.datasets) == 1
    [row] = [row for row in result.rows if (row.noise, row.loss) == ("symmetric", "mae")]
    assert row.difference is not None
    assert row.difference.seeds == 5


def test_the_records_of_one_split_are_as_they_were_before_there_could_be_several(prepared):
    train_by_hand(prepared)
    evaluate(prepared, Silent())
    compare([prepared], CompareSettings(), Silent())
    records = [path.read_text() for path in prepared.rglob("*.json")]
    assert len(records) > 4
    assert not any("splits" in text for text in records)


def test_verify_checks_every_split(three):
    assert not verify(evaluated(three), Silent()).problems
    layout = Layout(three)
    dataset = datasets.need(layout)
    index = list(datasets.index(layout, dataset))
    one = next(place for place, photo in enumerate(index) if photo.splits[2] == "train")
    index[one] = dataclasses.replace(index[one], further=(index[one].splits[1], "test"))
    ref = photos.write_index(layout.photos, index, dataset.classes)
    with pytest.raises(DamagedFileError, match="does not hold as many photos of each class"):
        datasets.index(layout, msgspec.structs.replace(dataset, index=ref))
    request = msgspec.structs.replace(dataset.request, splits=2)
    with pytest.raises(DamagedFileError, match="does not hold as many splits"):
        datasets.index(layout, msgspec.structs.replace(dataset, request=request))


@pytest.mark.usefixtures("tiny_backbone")
def test_a_run_equals_that_of_a_directory_with_its_split_alone(tmp_path, photo_folder):
    """Of seed 1 on the second of two splits, and of a directory that was split in this way alone."""
    made = {}
    for name, splits, seed in (("both", 2, 0), ("alone", 1, _seed_of(0, 1))):
        settings = PrepareSettings(str(photo_folder), **SIZES, image_size=32, seed=seed, splits=splits)
        prepare(tmp_path / name, settings, Silent())
        corrupt(tmp_path / name, CorruptSettings(noise=("instance:backbone=tiny",), rates=(0.4,), seeds=2), Silent())
        training = TrainSettings(losses=("ce",), backbone="tiny", epochs=2, learning_rates=(0.01,), l2=(0.0,))
        train(tmp_path / name, training, Silent())
        [made[name]] = Artifacts(tmp_path / name).runs(noise="instance", seed=1)
    [draws] = zip(*(Artifacts(tmp_path / name).draws(noise="instance", seed=1) for name in made), strict=True)
    np.testing.assert_array_equal(draws[0].train_labels, draws[1].train_labels)
    for part in ("val", "test"):
        np.testing.assert_allclose(
            made["both"].probabilities(part), made["alone"].probabilities(part), rtol=0, atol=1e-5
        )
    assert not np.allclose(
        made["both"].probabilities("test"),
        Artifacts(tmp_path / "both").runs(noise="instance", seed=0)[0].probabilities("test"),
    )
