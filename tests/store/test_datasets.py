import json
from pathlib import Path

import msgspec
import pytest

from flowernoise.errors import BadRequestError, DamagedFileError, ExitCode
from flowernoise.store import datasets, files, photos
from flowernoise.store.files import FileRef
from flowernoise.store.layout import Layout
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import Dataset, DatasetRequest, Unreadable


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "artifacts")


def blob(layout: Layout, data: bytes, suffix: str) -> FileRef:
    return files.write_blob(layout.photos, "photos", suffix, lambda stream: stream.write(data))


def made(layout: Layout, archive: bytes = b"archive", index: bytes = b"index") -> Dataset:
    return Dataset(
        id=files.digest(archive),
        request=DatasetRequest("folder:photos", None, "daisy", (3, 1, 2), 224, 0),
        source_fingerprint="f",
        classes=("not daisy", "daisy"),
        counts=((2, 1), (1, 0), (0, 2)),
        found=9,
        archive=blob(layout, archive, ".tar"),
        index=blob(layout, index, ".csv"),
        identical=(("a", "b"),),
        contradictory=(("c", "d"),),
        unreadable=(Unreadable("e", "truncated"),),
    )


def test_a_dataset_reads_back_as_it_was_written(layout: Layout) -> None:
    dataset = made(layout)
    datasets.write(layout, dataset)
    assert datasets.find(layout) == dataset
    assert datasets.need(layout) == dataset


def test_fields_that_came_later_are_not_written_at_their_defaults(layout: Layout) -> None:
    """So records from before they came are still read, as what is read must be what this program would write."""
    datasets.write(layout, made(layout))
    body = json.loads(layout.dataset.read_text())["body"]
    assert "given" not in body
    assert list(body["request"]) == ["source", "data_dir", "positive", "sizes", "image_size", "seed"]


def test_sizes_and_majority_follow_from_the_counts(layout: Layout) -> None:
    dataset = made(layout)
    assert dataset.sizes == (3, 1, 2)
    assert dataset.majority == 1.0
    assert msgspec.structs.replace(dataset, counts=((1, 1), (0, 0), (3, 1))).majority == 0.75


def test_without_a_dataset_the_user_is_told_to_prepare(layout: Layout) -> None:
    assert datasets.find(layout) is None
    with pytest.raises(
        BadRequestError, match=r"nothing is prepared in .*artifacts; run `flowernoise prepare` first"
    ) as e:
        datasets.need(layout)
    assert e.value.exit_code is ExitCode.BAD_REQUEST


def test_a_damaged_record_is_no_missing_one(layout: Layout) -> None:
    datasets.write(layout, made(layout))
    layout.dataset.write_bytes(layout.dataset.read_bytes().replace(b"daisy", b"roses"))
    for look in (datasets.find, datasets.need):
        with pytest.raises(DamagedFileError, match=r"dataset\.json is damaged"):
            look(layout)


def test_whole_photos_have_no_damage(layout: Layout) -> None:
    assert datasets.damage(layout, made(layout)) is None


@pytest.mark.parametrize("part", ["archive", "index"])
@pytest.mark.parametrize("data", [b"Archive", b"Index", b"", None])
def test_changed_and_missing_files_are_named(layout: Layout, part: str, data: bytes | None) -> None:
    dataset = made(layout)
    path = layout.photos / getattr(dataset, part).name
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    assert path.name in str(datasets.damage(layout, dataset))


def test_names_that_lead_elsewhere_are_damage_and_are_never_removed(layout: Layout) -> None:
    layout.root.mkdir()
    precious = layout.root / "precious"
    precious.write_bytes(b"archive")
    crafted = msgspec.structs.replace(made(layout), archive=FileRef("../precious", files.digest(b"archive"), 7))
    assert "not a file name" in str(datasets.damage(layout, crafted))
    datasets.remove_replaced(layout, crafted, made(layout))
    assert precious.exists()


def test_replacing_removes_exactly_the_files_no_longer_pointed_to(layout: Layout) -> None:
    before = made(layout, b"archive", b"index")
    now = made(layout, b"another archive", b"index")
    (layout.photos / "mine.txt").write_text("keep")
    datasets.remove_replaced(layout, before, now)
    assert {path.name for path in layout.photos.iterdir()} == {now.archive.name, now.index.name, "mine.txt"}
    datasets.remove_replaced(layout, before, now)  # gone already


def test_later_stages_that_hold_something_are_named(layout: Layout) -> None:
    assert datasets.made_from_another(layout) == ()
    for name in ("draws", "features", "runs"):
        (layout.root / name).mkdir(parents=True)
    (layout.features / "x.h5").write_bytes(b"")  # litter: no record
    assert datasets.made_from_another(layout) == ()
    (layout.draws / "x.json").write_bytes(b"")
    (layout.runs / "x.json").write_bytes(b"")
    layout.evaluation.write_bytes(b"")
    assert datasets.made_from_another(layout) == ("draws", "runs", "evaluation")


# The photos of each split and class are as many as the record says

LISTED = [
    IndexedPhoto(f"{split}{label}{k}", split, label, f"{k}.jpg", 0, 7)
    for split, counts in (("train", (2, 1)), ("val", (1, 0)), ("test", (0, 2)))
    for label, count in enumerate(counts)
    for k in range(count)
]


def with_index(layout: Layout, listed: list[IndexedPhoto]) -> Dataset:
    return msgspec.structs.replace(made(layout), index=photos.write_index(layout.photos, listed, "ab???"))


def test_the_index_reads_back_where_it_fits_the_record(layout: Layout) -> None:
    assert list(datasets.index(layout, with_index(layout, LISTED))) == LISTED


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (LISTED[1:], "does not hold as many photos of each class"),
        (LISTED + LISTED[-1:], "does not hold as many photos of each class"),
        ([], "does not hold as many photos of each class"),
        (LISTED[:2] + LISTED[:1] + LISTED[3:], "does not hold as many photos of each class"),
        (
            [IndexedPhoto("x", "train", 2, "x.jpg", 0, 7), *LISTED],
            "names a class that does not exist, or a place beyond",
        ),
        (
            [IndexedPhoto("x", "train", 0, "x.jpg", 1, 7), *LISTED[1:]],
            "names a class that does not exist, or a place beyond",
        ),
        (
            [IndexedPhoto("x", "train", 0, "x.jpg", 0, 8), *LISTED[1:]],
            "names a class that does not exist, or a place beyond",
        ),
        (
            [IndexedPhoto("x", "train", 0, "x.jpg", 2**80, 0), *LISTED[1:]],
            "names a class that does not exist, or a place beyond",
        ),
    ],
)
def test_an_index_that_does_not_fit_the_record_is_refused(
    layout: Layout, listed: list[IndexedPhoto], message: str
) -> None:
    dataset = with_index(layout, listed)
    with pytest.raises(DamagedFileError, match=f"{dataset.index.name}.*{message}"):
        datasets.index(layout, dataset)


@pytest.mark.parametrize("part", ["archive", "index"])
def test_photos_behind_a_link_are_damage(layout: Layout, part: str) -> None:
    dataset = made(layout)
    path = layout.photos / getattr(dataset, part).name
    path.rename(layout.root / "elsewhere")
    path.symlink_to(layout.root / "elsewhere")
    assert f"{path.name} is a link" in str(datasets.damage(layout, dataset))
