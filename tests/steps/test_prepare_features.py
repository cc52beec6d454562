"""Features without photos: what is read from NPZ files, how rows are split, and what the real command makes of them."""

import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import flowernoise
from flowernoise.catalogue import feature_files
from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.progress import Silent
from flowernoise.steps import backbone, features
from flowernoise.steps.prepare import prepare
from flowernoise.steps.settings import PrepareSettings
from flowernoise.steps.status import status
from flowernoise.store import datasets, feature_rows
from flowernoise.store.layout import Layout
from tests.reliability.command_server import CommandServer

NAMES = np.array(["fable", "poem", "recipe"])


def arrays(count: int = 60, dimension: int = 5) -> dict[str, np.ndarray]:
    """Well-made rows of three classes."""
    labels = np.arange(count) % 3
    features = np.random.default_rng(0).normal(labels[:, None], 1, (count, dimension)).astype(np.float32)
    return {"features": features, "labels": NAMES[labels]}


def saved(path: Path, **given: object) -> Path:
    """An NPZ file of well-made rows with some arrays replaced, or left out where None is given."""
    made = {name: array for name, array in ({**arrays(), **given}).items() if array is not None}
    np.savez(path / "rows.npz", **made)  # type: ignore[arg-type]
    return path / "rows.npz"


def prepared(path: Path, **options: object) -> Layout:
    layout = Layout(path.parent / "artifacts")
    prepare(layout.root, PrepareSettings(source=str(path), **options), Silent())  # type: ignore[arg-type]
    return layout


def splits_of(layout: Layout) -> dict[str, str]:
    return {row.path: row.split for row in datasets.index(layout, datasets.need(layout))}


# What is read


def test_rows_keep_their_features_labels_and_places(tmp_path):
    made = arrays()
    layout = prepared(saved(tmp_path))
    dataset = datasets.need(layout)
    index, rows = datasets.index(layout, dataset), feature_rows.read(layout, dataset)
    assert (dataset.classes, dataset.sizes, dataset.given.dimension) == (("fable", "poem", "recipe"), (42, 9, 9), 5)
    assert sorted(row.id for row in index) == [f"{place:02}" for place in range(60)]
    for row, values in zip(index, rows, strict=True):
        np.testing.assert_array_equal(values, made["features"][int(row.id)])
        assert dataset.classes[row.label] == made["labels"][int(row.id)]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4"])
def test_features_are_read_in_any_precision_and_numbers_are_labels_too(tmp_path, kind):
    features = arrays()["features"].astype(kind)
    layout = prepared(saved(tmp_path, features=features, labels=np.arange(60) % 3, class_names=NAMES))
    dataset = datasets.need(layout)
    rows, index = feature_rows.read(layout, dataset), datasets.index(layout, dataset)
    np.testing.assert_array_equal(rows, features[[int(row.id) for row in index]].astype(np.float32))
    assert dataset.classes == tuple(NAMES)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"features": None}, "has neither images nor features; it has labels"),
        ({"labels": None}, "has no labels; it has features"),
        ({"images": np.zeros((60, 2, 2))}, "images is not known"),
        ({"features": np.zeros((60, 5), int)}, "must be real numbers (floats), not int64"),
        ({"features": np.zeros(60)}, "must be a table of rows × numbers, not 60"),
        ({"features": np.zeros((60, 0))}, "must be a table of rows × numbers, not 60 × 0"),
        ({"features": np.zeros((60, 2), complex)}, "must be real numbers (floats), not complex128"),
        ({"features": np.array([["a"] * 2] * 60, object)}, "is an array of objects"),
        ({"features": np.full((60, 2), np.nan)}, "features of row 0, and 59 more are not finite"),
        ({"features": np.vstack([np.zeros((59, 2)), [[0, 1e300]]])}, "features of row 59 are not finite in single"),
        ({"labels": NAMES[np.arange(59) % 3]}, "labels must be one row of 60"),
        ({"labels": np.full(60, "poem")}, "all photos are of one class, 'poem'"),
        ({"labels": np.full(60, 3), "class_names": NAMES}, "label 3 is not one of the 3 class_names"),
        ({"labels": np.linspace(0, 1, 60)}, "labels must be whole numbers or texts"),
        ({"ids": np.array(["a"] * 60)}, "id 'a' is there twice"),
        ({"ids": np.arange(59)}, "ids must be one row of 60"),
        ({"ids": np.array(["a\nb", *map(str, range(59))])}, "must be 1 to 200 printable characters"),
        ({"split": np.array(["train", "exam"] * 30)}, "'exam' is not a split"),
        ({"split": np.array(["val", "test"] * 30)}, "has test and val rows but no train"),
    ],
)
def test_a_file_that_holds_something_else_is_refused_in_one_line(tmp_path, given, says):
    path = saved(tmp_path, **given)
    with pytest.raises(BadRequestError) as caught:
        prepared(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_refused_before_more_is_read_than_it_says(tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("features.npy", "w") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 12)}
        np.lib.format.write_array_header_1_0(stream, header)
    with pytest.raises(BadRequestError, match="features is not a plain array of the length that its header gives"):
        prepared(bomb)
    monkeypatch.setattr(feature_files, "MAX_BYTES", 1000)
    with pytest.raises(BadRequestError, match="features of 60 × 5 are too large"):
        prepared(saved(tmp_path))


@pytest.mark.parametrize("content", [b"", b"PK", b"text"])
def test_what_is_not_an_npz_file_is_refused(tmp_path, content):
    (tmp_path / "rows.npz").write_bytes(content)
    with pytest.raises(BadRequestError, match="is not an NPZ file"):
        prepared(tmp_path / "rows.npz")
    with pytest.raises(FlowernoiseError, match=r"cannot read .*none.npz: No such file"):
        prepared(tmp_path / "none.npz")


# Splits


def test_equal_rows_are_kept_and_are_in_one_split(tmp_path):
    features = np.repeat(arrays()["features"], 3, axis=0)
    path = saved(tmp_path, features=features, labels=NAMES[np.arange(180) // 3 % 3])
    for seed, sizes in enumerate(({}, {}, {"train": 100, "val": 40, "test": 40})):
        layout = prepared(path, seed=seed, **sizes)
        splits, dataset = splits_of(layout), datasets.need(layout)
        groups = [{splits.get(f"{3 * group + k:03}") for k in range(3)} for group in range(60)]
        assert all(len(group) == 1 for group in groups)
        assert dataset.given.equal == 180
        assert sizes or dataset.sizes == (126, 27, 27)


def test_equal_rows_that_are_given_in_train_and_test_are_tested(tmp_path):
    made = arrays()
    made["features"][0] = made["features"][59]
    splits = splits_of(prepared(saved(tmp_path, **made, split=np.array(["train"] * 30 + ["val"] * 15 + ["test"] * 15))))
    assert (splits["00"], splits["59"]) == ("test", "test")
    assert Counter(splits.values()) == {"train": 29, "val": 15, "test": 16}


def test_given_splits_are_kept_and_missing_ones_are_drawn_from_train(tmp_path):
    given = np.array(["train"] * 48 + ["dev"] * 6 + ["test"] * 6)
    splits = splits_of(prepared(saved(tmp_path, split=given)))
    assert [splits[f"{row:02}"] for row in range(60)] == ["train"] * 48 + ["val"] * 6 + ["test"] * 6
    some = splits_of(prepared(saved(tmp_path, split=np.array(["train"] * 40 + ["test"] * 20))))
    assert Counter(some.values()) == {"train": 34, "val": 6, "test": 20}
    assert {id for id, split in some.items() if split == "test"} == {f"{row:02}" for row in range(40, 60)}
    with pytest.raises(BadRequestError, match="gives splits; leave --train"):
        prepared(saved(tmp_path, split=given), train=30, test=9)


def test_other_features_under_the_same_ids_are_another_data_set(tmp_path):
    before = datasets.need(prepared(saved(tmp_path))).id
    again = datasets.need(prepared(saved(tmp_path))).id
    other = datasets.need(prepared(saved(tmp_path, features=arrays()["features"] + 1))).id
    assert before == again != other


def test_features_are_cached_as_they_are_and_go_stale_with_them(tmp_path):
    layout = prepared(saved(tmp_path))
    dataset = datasets.need(layout)
    spec, network = backbone.of(layout, dataset, None, Silent())
    extractor = features.extractor_of(network, None)
    work = features.FeatureWork(layout, dataset, datasets.index(layout, dataset), spec, network, extractor)
    np.testing.assert_array_equal(features.cached(work, Silent()), feature_rows.read(layout, dataset))
    assert [each.state for each in status(layout.root).features] == ["done"]
    prepared(saved(tmp_path, features=arrays()["features"] + 1))
    assert [each.state for each in status(layout.root).features] == ["stale"]


# The real command


def test_features_give_the_same_table_without_their_photos(real_commands: CommandServer, tmp_path: Path) -> None:
    photos, rows = tmp_path / "photos", tmp_path / "rows"
    sweep = ("--rates", "0.4", "--seeds", "2", "--loss", "ce", "--loss", "mae", "--epochs", "3", "--json")
    models = ("--noise", "symmetric", "--noise", "pairflip")
    network = ("--image-size", "32", "--backbone", "efficientnet_lite0:weights=none")

    def table(*words: str | Path) -> list[dict[str, object]]:
        done = real_commands.run("run", *words, *models, *sweep, cwd=tmp_path, env={"FLOWERNOISE_ENGINE": "keras"})
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)["rows"]
        kept = ("rate", "realised_rate", "loss", "values", "mean", "ci_low", "ci_high", "drop", "difference")
        return [{"noise": row["noise"].partition(":")[0], **{key: row[key] for key in kept}} for row in found]

    from_photos = table("synthetic:photos=150,size=32", *network, "-a", photos)
    held = flowernoise.Artifacts(photos)
    [cached] = held.features()
    np.savez(
        tmp_path / "rows.npz",
        features=cached.array,
        labels=np.array([photo.label for photo in held.photos]),
        class_names=np.array(held.dataset.classes),
        ids=np.array([photo.id for photo in held.photos]),
        split=np.array([photo.split for photo in held.photos]),
    )
    assert table(tmp_path / "rows.npz", "-a", rows) == from_photos
    for command, says in {
        ("preview",): "preview needs photos",
        ("train", "--mode", "finetune"): "--mode finetune needs photos",
        ("train", "--backbone", "efficientnet_lite0"): "there are no photos for it",
    }.items():
        refused = real_commands.run(*command, "-a", rows, cwd=tmp_path, env={})
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert says in refused.stderr
    for command in (("report",), ("verify",), ("status", "--check")):
        done = real_commands.run(*command, "-a", rows, cwd=tmp_path, env={})
        assert done.returncode == 0, done.stderr
