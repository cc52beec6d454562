"""Splits that a source comes with: kept, completed from train, drawn within, and never mistaken for classes."""

import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from flowernoise.analysis.results.stages import PrepareResult
from flowernoise.errors import BadRequestError
from flowernoise.progress import Silent
from flowernoise.show import summaries
from flowernoise.steps import commands
from flowernoise.steps.prepare import prepare, split_as_given
from flowernoise.steps.settings import PrepareSettings
from flowernoise.store import datasets
from flowernoise.store.layout import Layout


@pytest.fixture
def given(photo_folder: Path) -> Path:
    """Twelve photos a class: seven in Train, five in TEST."""
    for name in ("daisy", "roses", "tulips"):
        for number, file in enumerate(sorted((photo_folder / name).iterdir())):
            folder = photo_folder / ("Train" if number < 7 else "TEST") / name
            folder.mkdir(parents=True, exist_ok=True)
            file.rename(folder / file.name)
        (photo_folder / name).rmdir()
    return photo_folder


def prepared(source: Path | str, artifacts: Path, **options: object) -> PrepareResult:
    given = {"source": str(source), "image_size": 8, **options}
    return prepare(artifacts, PrepareSettings(**given), Silent())  # type: ignore[arg-type]


def splits_of(artifacts: Path) -> dict[str, str]:
    """The split of each photo, by path."""
    layout = Layout(artifacts)
    return {photo.path: photo.split for photo in datasets.index(layout, datasets.need(layout))}


def test_given_splits_are_kept_and_a_missing_val_is_drawn_from_train(given: Path, tmp_path: Path) -> None:
    dataset = prepared(given, tmp_path / "a").dataset
    assert dataset.classes == ("daisy", "roses", "tulips")
    assert dataset.counts == ((6, 6, 6), (1, 1, 1), (5, 5, 5))
    assert dataset.given_splits == ("train", "test")
    for path, split in splits_of(tmp_path / "a").items():
        assert (split == "test") == path.startswith("TEST/")
    assert summaries.splits_as_given(dataset) == "splits as given: train 21, test 15; val: 15 % of train"


def test_resplit_draws_the_same_split_as_from_class_folders(given: Path, tmp_path: Path) -> None:
    anew = prepared(given, tmp_path / "a", resplit=True).dataset
    for file in list(given.rglob("*.jpg")):
        folder = tmp_path / "classes" / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder)
    assert anew.id == prepared(tmp_path / "classes", tmp_path / "b").dataset.id
    assert anew.given_splits == ()
    assert "--resplit" in commands.prepare_again(anew.request)
    assert "resplit = true" in commands.as_file(commands.preparation(anew.request))


def test_numbers_are_drawn_within_each_given_split(given: Path, tmp_path: Path) -> None:
    dataset = prepared(given, tmp_path / "a", train=6, val=3, test=9).dataset
    assert dataset.counts == ((2, 2, 2), (1, 1, 1), (3, 3, 3))
    assert {
        path for path, split in splits_of(tmp_path / "a").items() if path.startswith("TEST/") != (split == "test")
    } == set()
    with pytest.raises(
        BadRequestError, match=r"^16 test photos are more than the 15 in the given test split; .*--resplit$"
    ):
        prepared(given, tmp_path / "a", train=6, test=16)


def test_a_photo_in_train_and_test_is_kept_in_test_and_listed(given: Path, tmp_path: Path) -> None:
    shutil.copy(given / "TEST" / "roses" / "11.jpg", given / "Train" / "roses" / "leak.jpg")
    dataset = prepared(given, tmp_path / "a").dataset
    assert dataset.across_splits == (("TEST/roses/11.jpg", "Train/roses/leak.jpg"),)
    assert "Train/roses/leak.jpg" not in splits_of(tmp_path / "a")


def test_a_single_split_is_divided_as_before_and_photos_without_labels_are_left_out(
    given: Path, tmp_path: Path
) -> None:
    for number, file in enumerate(list((given / "TEST").rglob("*.jpg"))):
        file.rename(given / "TEST" / f"{number}.jpg")
    for name in ("daisy", "roses", "tulips"):
        (given / "TEST" / name).rmdir()
    result = prepared(given, tmp_path / "a")
    assert (result.dataset.sizes, result.dataset.given_splits) == ((15, 3, 3), ())
    assert ("TEST/", "a split without class folders, so its photos have no labels") in [
        (each.path, each.reason) for each in result.passed_over
    ]


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        ((("Train", "valid"), ("TEST", "dev")), "dev and valid are both val; merge them, or rename one"),
        ((("Train", "val"),), "the source has val and test photos but no train; --resplit splits them anew"),
        ((("Train/roses", "Train/Roses"),), "the class folders 'Roses' and 'roses' differ only"),
    ],
)
def test_what_cannot_be_splits_is_refused(
    given: Path, tmp_path: Path, moves: Iterable[tuple[str, str]], message: str
) -> None:
    for before, after in moves:
        (given / before).rename(given / after)
    with pytest.raises(BadRequestError, match=message):
        prepared(given, tmp_path / "a")


def test_folders_called_like_splits_without_class_folders_are_refused(photo_folder: Path, tmp_path: Path) -> None:
    for before, after in (("daisy", "train"), ("roses", "test"), ("tulips", "valid")):
        (photo_folder / before).rename(photo_folder / after)
    with pytest.raises(
        BadRequestError, match="test and train and valid have the names of splits, but no class folders"
    ):
        prepared(photo_folder, tmp_path / "a")
    (photo_folder / "valid").rename(photo_folder / "tulips")
    assert prepared(photo_folder, tmp_path / "a").dataset.classes == ("test", "train", "tulips")


def test_the_seed_moves_only_what_is_drawn() -> None:
    labels = {str(number): "ab"[number % 2] for number in range(60)}
    given = {id: "test" if int(id) < 20 else "train" for id in labels}
    first, second = (split_as_given(labels, given, None, seed) for seed in (0, 1))
    assert Counter(first.values()) == Counter(second.values()) == {"train": 34, "val": 6, "test": 20}
    assert {id for id in first if first[id] == "test"} == {id for id in second if second[id] == "test"}
    assert first != second


def test_the_splits_of_a_tfds_set_are_kept_and_others_left_out(tmp_path: Path) -> None:
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    random = np.random.default_rng(0)

    def examples(count: int) -> list[tuple[int, dict[str, object]]]:
        images = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        return [(number, {"image": image, "label": number % 2}) for number, image in enumerate(images)]

    features = {
        "image": tfds.features.Image(shape=(8, 8, 3)),
        "label": tfds.features.ClassLabel(names=["daisy", "roses"]),
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name="with_splits",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={"train": examples(20), "validation": examples(6), "extra": examples(4)},
        data_dir=tmp_path / "tfds",
    )
    dataset = prepared("tfds:with_splits", tmp_path / "a", data_dir=tmp_path / "tfds").dataset
    assert (dataset.given_splits, dataset.sizes, dataset.without_split) == (("train", "val"), (17, 6, 3), 4)
    for path, split in splits_of(tmp_path / "a").items():
        assert (split == "val") == path.startswith("validation/")
    anew = prepared("tfds:with_splits", tmp_path / "a", data_dir=tmp_path / "tfds", resplit=True).dataset
    assert (anew.given_splits, sum(anew.sizes)) == ((), 30)
