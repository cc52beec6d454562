import csv
import io
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flowernoise.errors import DamagedFileError
from flowernoise.store import files, photos
from flowernoise.store.files import FileRef
from flowernoise.store.photos import Archive, IndexedPhoto

CLASSES = ("daisy", "roses, wild", 'the "tulips"')
ENCODED = {
    files.digest(data): data
    for data in (b"\xff\xd8 jpeg", b"\x89PNG" + bytes(1000), b"RIFF webp", b"BM bmp", b"", bytes(512))
}


def indexed(count: int = len(ENCODED)) -> list[IndexedPhoto]:
    splits = ("train", "val", "test")
    return [
        IndexedPhoto(id, splits[row % 3], row % 3, f"folder/{row}.jpg") for row, id in enumerate(list(ENCODED)[:count])
    ]


def written(directory: Path) -> tuple[FileRef, tuple[IndexedPhoto, ...]]:
    return photos.write_archive(directory, indexed(), lambda photo: ENCODED[photo.id])


def test_the_archive_gives_each_photo_back_in_any_order(tmp_path: Path) -> None:
    ref, placed = written(tmp_path)
    for order in (placed, placed[::-1], placed[2:4] + placed[2:3]):
        assert list(Archive(tmp_path, ref).read(order)) == [ENCODED[photo.id] for photo in order]


def test_the_archive_is_a_tar_that_others_can_unpack(tmp_path: Path) -> None:
    ref, placed = written(tmp_path)
    with tarfile.open(tmp_path / ref.name) as archive:
        members = archive.getmembers()
        assert [archive.extractfile(member).read() for member in members] == list(ENCODED.values())
        assert [member.offset_data for member in members] == [photo.offset for photo in placed]
    assert [Path(member.name).suffix for member in members] == [".jpg", ".png", ".webp", ".bmp", "", ""]
    assert [Path(member.name).stem for member in members] == list(ENCODED)


def test_the_same_photos_give_the_same_archive(tmp_path: Path) -> None:
    assert written(tmp_path / "a") == written(tmp_path / "b")


def test_photos_keep_everything_else_when_they_are_placed(tmp_path: Path) -> None:
    _, placed = written(tmp_path)
    assert [(photo.id, photo.split, photo.label, photo.path) for photo in placed] == [
        (photo.id, photo.split, photo.label, photo.path) for photo in indexed()
    ]
    assert [photo.size for photo in placed] == [len(data) for data in ENCODED.values()]


def test_a_photo_whose_bytes_changed_is_named_and_not_handed_out(tmp_path: Path) -> None:
    ref, placed = written(tmp_path)
    path = tmp_path / ref.name
    data = bytearray(path.read_bytes())
    data[placed[2].offset] ^= 1
    path.write_bytes(data)
    archive = Archive(tmp_path, ref)
    assert list(archive.read(placed[:2])) == list(ENCODED.values())[:2]
    with pytest.raises(DamagedFileError, match=r"is damaged at photo folder/2\.jpg; run `flowernoise prepare` again"):
        list(archive.read(placed))


def test_a_truncated_archive_is_noticed(tmp_path: Path) -> None:
    ref, placed = written(tmp_path)
    path = tmp_path / ref.name
    path.write_bytes(path.read_bytes()[: placed[-1].offset + 10])
    with pytest.raises(DamagedFileError, match=rf"{ref.name} is damaged: .*; run `flowernoise prepare` again"):
        list(Archive(tmp_path, ref).read(placed))


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    ref, placed = written(tmp_path)
    (tmp_path / ref.name).unlink()
    with pytest.raises(DamagedFileError, match=f"{ref.name} is missing; run `flowernoise prepare` again"):
        list(Archive(tmp_path, ref).read(placed))


def test_an_archive_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match="not a file name"):
        Archive(tmp_path, FileRef("../photos.tar", "0" * 64, 1))


# Whatever a source may call a photo: one line of printable text.
PATHS = st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from(' ,"/'), min_size=1).filter(
    str.isprintable
)
PHOTOS = st.lists(
    st.builds(
        IndexedPhoto,
        st.text("0123456789abcdef", min_size=64, max_size=64),
        st.sampled_from(["train", "val", "test"]),
        st.integers(0, 2),
        PATHS,
        st.integers(0, 2**40),
        st.integers(0, 2**30),
    ),
    max_size=5,
).map(tuple)


@given(PHOTOS)
def test_the_index_reads_back_as_it_was_written(listed: tuple[IndexedPhoto, ...]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        ref = photos.write_index(Path(directory), listed, CLASSES)
        assert photos.read_index(Path(directory), ref) == listed


def test_the_index_is_a_csv_with_named_columns_and_classes(tmp_path: Path) -> None:
    ref = photos.write_index(tmp_path, indexed(3), CLASSES)
    with (tmp_path / ref.name).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == ("id", "split", "label", "class", "path", "offset", "size")
    assert [row["class"] for row in rows] == list(CLASSES)


@pytest.mark.parametrize(
    "text",
    [
        "id,split,label\nx,train,0\n",
        "id,split,label,class,path,offset,size\nx,train,daisy,daisy,p,0,1\n",
        "id,split,label,class,path,offset,size\nx,train\n",
        'id,split,label,class,path,offset,size\nx,train,0,"dai"sy,p,0,1\n',
        "id,split,label,class,path,offset,size\nx,valid,0,daisy,p,0,1\n",
        "id,split,label,class,path,offset,size\nx,,0,daisy,p,0,1\n",
        "id,split,label,class,path,offset,size\nx,train,-1,daisy,p,0,1\n",
        "id,split,label,class,path,offset,size\nx,train,0,daisy,p,-1,1\n",
        "id,split,label,class,path,offset,size\nx,train,0,daisy,p,0,-1\n",
        "id,split,label,class,path,offset,size\nx,train,0,daisy,\x1b[2Jp,0,1\n",
        "id,split,label,class,path,offset,size\nx,train,0,daisy,\u202ep,0,1\n",
        "id,split,label,class,path,offset,size\nx,train,0,daisy,p,0,1e3\n",
        f"id,split,label,class,path,offset,size\nx,train,0,daisy,p,0,{'9' * 5000}\n",
    ],
)
def test_an_index_with_other_rows_than_declared_is_refused(tmp_path: Path, text: str) -> None:
    ref = files.write_blob(tmp_path, "photos", ".csv", lambda stream: stream.write(text.encode()))
    with pytest.raises(DamagedFileError, match="is not an index of photos"):
        photos.read_index(tmp_path, ref)


def test_a_changed_index_is_refused(tmp_path: Path) -> None:
    ref = photos.write_index(tmp_path, indexed(3), CLASSES)
    path = tmp_path / ref.name
    path.write_text(path.read_text().replace("train", "tests"))
    with pytest.raises(DamagedFileError, match="SHA-256"):
        photos.read_index(tmp_path, ref)


def test_photos_are_ordered_by_split_then_id() -> None:
    unordered = [IndexedPhoto(id, split, 0, "") for id in "ba" for split in ("test", "train", "val")]
    ordered = [(photo.split, photo.id) for photo in photos.in_order(unordered)]
    assert ordered == [(split, id) for split in ("train", "val", "test") for id in "ab"]


def test_labels_of_a_split_come_in_index_order() -> None:
    listed = [IndexedPhoto(str(n), "train" if n % 2 else "test", n, "") for n in (3, 1, 2, 5)]
    labels = photos.labels_of(listed, "train")
    assert (labels.tolist(), labels.dtype) == ([3, 1, 5], np.int64)
    assert photos.labels_of(listed, "val").shape == (0,)


@pytest.mark.parametrize(("form", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("BMP", ".bmp")])
def test_real_photos_get_the_suffix_of_their_format(tmp_path: Path, form: str, suffix: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, form)
    photo = IndexedPhoto(files.digest(buffer.getvalue()), "train", 0, "x")
    ref, _ = photos.write_archive(tmp_path, [photo], lambda _: buffer.getvalue())
    with tarfile.open(tmp_path / ref.name) as archive:
        assert archive.getnames() == [photo.id + suffix]
