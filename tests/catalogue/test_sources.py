import io
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flowernoise.catalogue.sources import Source, SourceContext, fingerprint, parse_source, sources
from flowernoise.errors import BadRequestError, ExitCode, FlowernoiseError
from flowernoise.safe import downloads
from flowernoise.safe.images import decode
from flowernoise.store.files import digest

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
REAL_PHOTOS = Path(os.environ.get("FLOWERNOISE_TEST_PHOTOS", SHARED / "flowers"))
REAL_TFDS = Path(os.environ.get("FLOWERNOISE_TEST_TFDS", SHARED / "tfds"))


def opened(text: str | Path, data_dir: Path | None = None) -> Source:
    return parse_source(str(text))(SourceContext(data_dir))


def listed(source: Source) -> list[tuple[str, str]]:
    """Path and class of each photo."""
    return [(photo.path, source.classes[photo.label]) for photo in source.photos()]


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no photo, but a name of one")
    return path


def one_line(error: Exception) -> str:
    assert len(str(error).splitlines()) == 1
    return str(error)


# What a SOURCE means


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("tf_flowers", "tf_flowers"),
        ("synthetic", "synthetic"),
        ("synthetic:seed=3,photos=0100", "synthetic:photos=100,seed=3"),
        ("synthetic:photos=2000", "synthetic"),
        ("tfds:cifar10", "tfds:cifar10"),
        ("tfds:name=cifar10", "tfds:cifar10"),
        ("./photos", "folder:photos"),
        ("photos/", "folder:photos"),
        ("some/photos", "folder:some/photos"),
        ("/tmp/photos", "folder:/tmp/photos"),
        ("folder:photos", "folder:photos"),
        ("folder:path=photos", "folder:photos"),
        ("./synthetic", "folder:synthetic"),
        ("./a=b,c", "folder:path=a=b,c"),
        ("..", "folder:.."),
    ],
)
def test_a_source_is_a_name_or_a_directory(text: str, canonical: str) -> None:
    spec = parse_source(text)
    assert str(spec) == canonical
    assert parse_source(str(spec)) == spec


def test_a_directory_here_needs_no_dot_unless_a_source_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "synthetic", "folder"):
        (tmp_path / name).mkdir()
    assert [str(parse_source(text)) for text in ("mine", "synthetic", "folder")] == [
        "folder:mine",
        "synthetic",
        "folder:folder",
    ]


def test_a_tilde_is_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert str(parse_source("~/photos")) == "folder:/home/ada/photos"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (
            "tf_flower",
            "unknown source 'tf_flower': it is not a directory here, nor FILE.npz, nor one of tf_flowers, "
            "synthetic, tfds:NAME",
        ),
        ("mnist", "unknown source 'mnist'"),
        ("", "unknown source ''"),
        ("folder", "unknown source 'folder'"),
        ("folder:", "needs a directory"),
        ("synthetic:photo=5", "did you mean photos?"),
        ("synthetic:photos=9", "must be at least 10"),
        ("tfds", "source tfds needs name"),
        ("~nobody-of-this-name/photos", "home directory"),
    ],
)
def test_what_is_no_source_is_a_bad_request(text: str, part: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        parse_source(text)
    assert part in one_line(caught.value)


@pytest.mark.parametrize("name", ["../x", "a b", "/etc", "cifar10:1", "-x", "a/../b", "."])
def test_a_tfds_name_that_could_lead_elsewhere_is_a_bad_request(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match="is not the name of a TensorFlow dataset"):
        opened(f"tfds:{name}", tmp_path)


def test_every_source_says_what_it_is_and_gives_an_example() -> None:
    for entry in sources:
        assert entry.summary.endswith(".")
        assert "Example: ``flowernoise prepare " in str(entry.function.__doc__)


# A folder of photos


def test_a_folder_has_a_class_for_each_of_its_folders(photo_folder: Path) -> None:
    source = opened(photo_folder)
    assert (source.classes, source.total) == (("daisy", "roses", "tulips"), 36)
    photos = list(source.photos())
    assert Counter(photo.label for photo in photos) == {0: 12, 1: 12, 2: 12}
    assert (photos[0].path, photos[0].label) == ("daisy/00.jpg", 0)
    assert photos[13].read() == (photo_folder / "roses" / "01.jpg").read_bytes()


def test_photos_can_be_gone_through_again(photo_folder: Path) -> None:
    source = opened(photo_folder)
    assert listed(source) == listed(source)


def test_photos_may_lie_in_nested_folders_and_suffixes_in_any_case(tmp_path: Path) -> None:
    for name in ("a/1.JPG", "a/x/y/2.Jpeg", "a/x/3.PNG", "b/4.webp", "b/5.BMP"):
        touch(tmp_path / name)
    for name in ("a/notes.txt", "a/6.gif", "a/jpg", "7.jpg", "b/8.jpg.bak"):
        touch(tmp_path / name)
    source = opened(tmp_path)
    assert source.total == 5
    assert listed(source) == [
        ("a/1.JPG", "a"),
        ("a/x/3.PNG", "a"),
        ("a/x/y/2.Jpeg", "a"),
        ("b/4.webp", "b"),
        ("b/5.BMP", "b"),
    ]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    for name in (
        "a/1.jpg",
        "b/2.jpg",
        "a/._1.jpg",
        "a/.ipynb_checkpoints/1-checkpoint.jpg",
        ".git/3.jpg",
        "b/x/.y/4.jpg",
    ):
        touch(tmp_path / name)
    assert listed(opened(tmp_path)) == [("a/1.jpg", "a"), ("b/2.jpg", "b")]


def test_folders_without_photos_are_no_classes(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "c/2.jpg", "b/readme.txt"):
        touch(tmp_path / name)
    (tmp_path / "d").mkdir()
    source = opened(tmp_path)
    assert source.classes == ("a", "c")
    assert listed(source) == [("a/1.jpg", "a"), ("c/2.jpg", "c")]


def test_names_that_are_not_utf8_or_not_printable_are_written_as_escapes(tmp_path: Path) -> None:
    touch(tmp_path / os.fsdecode(b"caf\xe9") / os.fsdecode(b"\xff.jpg")).write_bytes(b"1")
    touch(tmp_path / "roses" / "a\nb\r.jpg").write_bytes(b"2")
    source = opened(tmp_path)
    assert listed(source) == [(r"caf\udce9/\udcff.jpg", r"caf\udce9"), (r"roses/a\nb\r.jpg", "roses")]
    assert [photo.read() for photo in source.photos()] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], "it has none"),
        (["a/1.jpg"], "only 'a'"),
        (["1.jpg", "2.jpg"], "it has none; left out: 1.jpg is beside the class folders (move it into one"),
    ],
)
def test_a_folder_needs_two_classes(tmp_path: Path, names: list[str], found: str) -> None:
    for name in names:
        touch(tmp_path / name)
    with pytest.raises(BadRequestError, match="needs at least two folders with photos") as caught:
        opened(tmp_path)
    assert found in one_line(caught.value)


def test_a_folder_that_is_not_there_is_a_bad_request(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", touch(tmp_path / "file")):
        with pytest.raises(BadRequestError, match=f"{path} is not a directory; give a directory with"):
            opened(path)


def test_a_folder_that_cannot_be_listed_is_an_error_and_no_class_is_left_out(
    photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.scandir

    def guarded(path: Any) -> Any:
        if Path(path).name == "roses":
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(FlowernoiseError, match=f"cannot read {photo_folder}: Permission denied"):
        opened(photo_folder)


def test_a_file_that_cannot_be_read_fails_only_when_it_is_read(photo_folder: Path) -> None:
    (photo_folder / "daisy" / "link.jpg").symlink_to("nowhere")
    (photo,) = [photo for photo in opened(photo_folder).photos() if photo.path == "daisy/link.jpg"]
    with pytest.raises(FileNotFoundError):
        photo.read()


def test_the_fingerprint_of_a_folder_changes_with_its_photos_only(photo_folder: Path) -> None:
    spec = parse_source(str(photo_folder))
    before = fingerprint(spec)
    assert before is not None
    touch(photo_folder / "daisy" / "notes.txt")
    touch(photo_folder / "daisy" / ".hidden.jpg")
    assert fingerprint(spec) == before
    seen = {before}
    for change in (
        lambda: touch(photo_folder / "daisy" / "new.jpg"),
        lambda: touch(photo_folder / "daisy" / "00.jpg"),
        lambda: (photo_folder / "daisy" / "01.jpg").unlink(),
        lambda: (photo_folder / "roses" / "01.jpg").rename(photo_folder / "tulips" / "99.jpg"),
        lambda: (photo_folder / "daisy" / "link.jpg").symlink_to("nowhere"),
        lambda: touch(photo_folder / "daisy" / "more.jpg"),
    ):
        change()
        seen.add(str(fingerprint(spec)))
    assert len(seen) == 7


def test_sources_that_do_not_change_by_themselves_have_no_fingerprint() -> None:
    assert fingerprint(parse_source("synthetic")) is None
    assert fingerprint(parse_source("tf_flowers")) is None


# Synthetic flowers


def test_synthetic_flowers_are_the_same_each_time_and_all_different() -> None:
    first, second = ([photo.read() for photo in opened("synthetic:photos=20,size=32").photos()] for _ in range(2))
    assert first == second
    assert len(set(first)) == 20


def test_synthetic_flowers_change_with_the_seed_but_not_with_their_number() -> None:
    def photos(spec: str) -> list[bytes]:
        return [photo.read() for photo in opened(spec).photos()]

    assert photos("synthetic:photos=15,size=32") == photos("synthetic:photos=20,size=32")[:15]
    assert not set(photos("synthetic:photos=15,size=32")) & set(photos("synthetic:photos=15,size=32,seed=1"))


@pytest.mark.parametrize("count", [10, 23])
def test_synthetic_classes_are_those_of_tf_flowers_and_equally_frequent(count: int) -> None:
    source = opened(f"synthetic:photos={count},size=16")
    photos = list(source.photos())
    assert sorted(source.classes) == ["daisy", "dandelion", "roses", "sunflowers", "tulips"]
    assert source.total == len(photos) == count
    counts = Counter(photo.label for photo in photos)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert all(photo.path.startswith(f"{source.classes[photo.label]}/") for photo in photos)


def test_synthetic_flowers_are_photos_of_the_size_asked_for() -> None:
    with Image.open(io.BytesIO(next(opened("synthetic:size=40").photos()).read())) as image:
        assert (image.format, image.size) == ("JPEG", (40, 40))


# TensorFlow Datasets


@pytest.fixture(scope="module")
def tfds_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TFDS directory with sets of 6 + 3 photos (two of them without label), of none labelled, of two versions."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    directory = tmp_path_factory.mktemp("tfds")
    image, label = tfds.features.Image(shape=(None, None, 3)), tfds.features.ClassLabel(names=["daisy", "roses"])

    def pixels(level: int) -> np.ndarray:
        return np.full((8, 8, 3), level, dtype=np.uint8)

    def store(name: str, version: str, features: dict[str, Any], splits: dict[str, list[dict[str, Any]]]) -> None:
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version=version,
            features=tfds.features.FeaturesDict(features),
            split_datasets={split: list(enumerate(examples)) for split, examples in splits.items()},
            data_dir=directory,
        )

    train = [{"image": pixels(40 * level), "label": level % 2} for level in range(6)]
    test = [{"image": pixels(7 + level), "label": level - 1} for level in (0, 1)]
    store("tiny", "1.0.0", {"image": image, "label": label}, {"train": train, "test": [*test, test[0]]})
    store("unlabelled", "1.0.0", {"image": image, "n": np.int64}, {"train": [{"image": pixels(0), "n": 1}]})
    for version, count in (("2.0.0", 3), ("10.0.0", 4), ("9.1.0", 5)):
        store("versions", version, {"image": image, "label": label}, {"train": train[:count]})
    return directory


def test_a_tfds_set_gives_encoded_photos_of_all_splits_and_leaves_out_those_without_label(tfds_sets: Path) -> None:
    source = opened("tfds:tiny", tfds_sets)
    assert source.classes == ("daisy", "roses")
    photos = list(source.photos())
    assert Counter(photo.path.partition("/")[0] for photo in photos) == {"train": 6, "test": 1}
    levels = {int(decode(photo.read(), 1)[0, 0, 0]): photo.label for photo in photos}
    assert levels == {0: 0, 40: 1, 80: 0, 120: 1, 160: 0, 200: 1, 8: 0}
    assert len({photo.path for photo in photos}) == 7
    assert listed(source) == listed(source)


def test_a_tfds_set_is_taken_in_its_newest_version_unless_one_is_named(tfds_sets: Path) -> None:
    assert opened("tfds:versions", tfds_sets).total == 4
    assert opened("tfds:versions:9.1.0", tfds_sets).total == 5


def test_a_tfds_directory_is_also_taken_from_the_environment(tfds_sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_sets))
    assert opened("tfds:tiny").total == 9


def test_a_tfds_set_without_labels_is_a_bad_request(tfds_sets: Path) -> None:
    with pytest.raises(BadRequestError, match="tfds:unlabelled has no images with class labels") as caught:
        opened("tfds:unlabelled", tfds_sets)
    one_line(caught.value)


@pytest.mark.parametrize("damage", ["flipped", "emptied", "removed"])
def test_damaged_records_of_a_tfds_set_are_one_line(tfds_sets: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(tfds_sets / "tiny", tmp_path / "tiny")
    (records,) = tmp_path.rglob("tiny-train.tfrecord*")
    data = bytearray(records.read_bytes())
    data[len(data) // 2] ^= 1
    records.write_bytes(data if damage == "flipped" else b"")
    if damage == "removed":
        records.unlink()
    with pytest.raises(FlowernoiseError, match=r"cannot provide tiny from .*; try again, or give a folder") as caught:
        list(opened("tfds:tiny", tmp_path).photos())
    one_line(caught.value)


def test_a_damaged_description_of_a_tfds_set_is_one_line(tfds_sets: Path, tmp_path: Path) -> None:
    shutil.copytree(tfds_sets / "tiny", tmp_path / "tiny")
    (tmp_path / "tiny" / "1.0.0" / "features.json").write_text("{")
    with pytest.raises(FlowernoiseError, match="cannot provide tiny from") as caught:
        opened("tfds:tiny", tmp_path)
    one_line(caught.value)


@pytest.mark.parametrize("text", ["tf_flowers", "tfds:cifar10"])
def test_without_a_network_the_two_ways_on_are_named(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "status", lambda _: None)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for data_dir in (tmp_path / "sets", None):
        with pytest.raises(FlowernoiseError, match=r"cannot be reached.*--data-dir DIR.* or give a folder") as caught:
            opened(text, data_dir)
        assert caught.value.exit_code is ExitCode.COULD_NOT
        assert (str(data_dir) in one_line(caught.value)) is (data_dir is not None)


def test_a_name_that_tfds_does_not_know_is_a_bad_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "status", lambda _: 200)
    with pytest.raises(BadRequestError, match="TensorFlow Datasets does not know 'no_such_set'") as caught:
        opened("tfds:no_such_set", tmp_path)
    one_line(caught.value)


def test_a_download_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow_datasets as tfds

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(downloads, "status", lambda _: 200)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(FlowernoiseError, match="cannot provide tf_flowers from its download: no route to host") as e:
        opened("tf_flowers", tmp_path)
    one_line(e.value)


@pytest.mark.skipif(not (REAL_TFDS / "tf_flowers").is_dir(), reason=f"no prepared tf_flowers in {REAL_TFDS}")
def test_tf_flowers_from_a_prepared_directory_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "status", lambda _: None)
    source = opened("tf_flowers", REAL_TFDS)
    assert source.total == 3566
    assert sorted(source.classes) == ["daisy", "dandelion", "roses", "sunflowers", "tulips"]


@pytest.mark.skipif(
    not ((REAL_TFDS / "tf_flowers").is_dir() and REAL_PHOTOS.is_dir()),
    reason=f"no {REAL_PHOTOS}, or no prepared tf_flowers in {REAL_TFDS}",
)
def test_tf_flowers_are_the_same_photos_of_the_same_classes_as_in_the_folder() -> None:
    def photos(source: Source) -> list[tuple[str, str]]:
        return sorted((digest(photo.read()), source.classes[photo.label]) for photo in source.photos())

    from_tfds = photos(opened("tf_flowers", REAL_TFDS))
    assert len(from_tfds) == 3566
    assert from_tfds == photos(opened(REAL_PHOTOS))
