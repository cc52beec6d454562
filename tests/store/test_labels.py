"""Labels in and out as CSV: what is written is read back, and what is wrong is named."""

import concurrent.futures
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.store import labels
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import DrawKey

CLASSES = ("daisy", "rose, wild", 'the "tulip"')
INDEX = tuple(
    IndexedPhoto(f"{number:064x}", split, number % 3, f"folder/{number}, a.jpg")
    for number, split in enumerate(["train"] * 5 + ["val"] * 2 + ["test"] * 2)
)


def drawn(train, val):
    train, val = np.array(train), np.array(val)
    truth = np.array([photo.label for photo in INDEX])
    return DrawnLabels(train, train != truth[:5], val, val != truth[5:7], np.eye(3), np.eye(3))


def read(text, **settings):
    data = text if isinstance(text, bytes) else text.encode()
    return labels.read(data, "labels.csv", INDEX, CLASSES, **settings)


def rows(**replaced):
    """A file that is right, but for the rows of some photos."""
    lines = {photo.id: f"{photo.id},daisy" for photo in INDEX[:7]} | replaced
    return "\n".join(["id,label", *filter(None, lines.values())]) + "\n"


@given(
    train=st.lists(st.integers(0, 2), min_size=5, max_size=5), val=st.lists(st.integers(0, 2), min_size=2, max_size=2)
)
def test_what_is_written_is_read_back(tmp_path_factory, train, val):
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    assert labels.write(
        path, labels.written(lambda _seed: INDEX, CLASSES, {DrawKey("symmetric", 0.2, 0): drawn(train, val)})
    )
    found = read(path.read_bytes())
    assert found["train"].tolist() == train
    assert found["val"].tolist() == val


def test_paths_byte_order_marks_other_columns_and_line_ends():
    lines = ["note,label,id"] + [f'"a, b","{CLASSES[1]}","{photo.path}"' for photo in INDEX]
    found = read("\ufeff" + "\r\n".join(lines))
    assert set(found["train"]) == {1}


@pytest.mark.parametrize(
    "spelt",
    [
        lambda photo: photo.path,
        lambda photo: photo.id,
        lambda photo: photo.path.removeprefix("folder/"),
        lambda photo: f"./{photo.path}",
        lambda photo: f"/home/ada/{photo.path}",
        lambda photo: "C:\\photos\\" + photo.path.replace("/", "\\"),
    ],
)
@pytest.mark.parametrize("header", ["path,label", "id,observed_label"])
def test_photos_may_go_by_path_absolute_path_file_name_or_id(header, spelt):
    lines = [header, *(f'"{spelt(photo)}","{CLASSES[1]}"' for photo in INDEX)]
    assert set(read("\n".join(lines))["train"]) == {1}


def test_a_file_name_that_several_photos_have_is_refused_by_name():
    index = [IndexedPhoto(f"{k:064x}", "train", 0, f"{name}/1.jpg") for k, name in enumerate("ab")]
    with pytest.raises(BadRequestError, match=r"line 2: 2 photos are called '1.jpg', such as a/1.jpg and b/1.jpg"):
        labels.read(b"path,label\n1.jpg,daisy\n", "labels.csv", index, CLASSES)


def test_partial_labels_leave_the_others_as_they_are():
    found = read(f'path,label\n"{INDEX[1].path}","{CLASSES[0]}"\n', partial=True)
    assert found["train"].tolist() == [INDEX[0].label, 0, *(photo.label for photo in INDEX[2:5])]
    assert found["val"].tolist() == [photo.label for photo in INDEX[5:7]]


def test_rows_of_test_photos_and_of_photos_set_aside_are_passed_over():
    extra = f"{INDEX[-1].id},whatever\ndropped.jpg,daisy\n"
    assert read(rows() + extra, dropped=["dropped.jpg"])["val"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"needs a header with path \(or id\) and label \(or observed_label\); its first line is ''"),
        ("id,class\n", "needs a header with path"),
        (rows() + "abc,daisy\n", "line 9: no photo of this data set has the id or path 'abc'"),
        (rows() + f"{INDEX[2].path!s},daisy\n", "line 9: not 2 cells as in the header"),
        (rows() + f"{INDEX[2].id},daisy\n", "line 9: photo 0+2 already has a label$"),
        (rows() + f'"{INDEX[2].path}",daisy\n', "line 9: photo folder/2, a.jpg already has a label$"),
        (rows() + f"{INDEX[2].id}\n", "line 9: not 2 cells"),
        (
            rows(**{INDEX[3].id: f"{INDEX[3].id},dasy"}),
            r"line 5: 'dasy' is not a class \(did you mean daisy\?\); there are:",
        ),
        (rows(**{INDEX[3].id: f"{INDEX[3].id},1"}), "line 5: '1' is not a class"),
        (rows(**{INDEX[3].id: ""}), r"has no label for 1 of the 7 photos of train and val, such as folder/3, a\.jpg"),
        (b"id,label\n\xff\xfe,daisy\n", "is not a CSV file in UTF-8"),
        ('id,label\n"abc,daisy\n', "is not a CSV file in UTF-8"),
    ],
)
def test_what_is_wrong_is_named(text, problem):
    with pytest.raises(BadRequestError, match=problem) as raised:
        read(text)
    assert str(raised.value).startswith("labels.csv")
    assert "\n" not in str(raised.value)


def test_several_draws_in_one_file_are_named(tmp_path):
    path = tmp_path / "labels.csv"
    both = {DrawKey("symmetric", 0.2, seed): drawn([0] * 5, [0] * 2) for seed in (0, 1)}
    labels.write(path, labels.written(lambda _seed: INDEX, CLASSES, both))
    with pytest.raises(
        BadRequestError, match="already has a label; the file holds several draws, keep the rows of just one"
    ):
        read(path.read_bytes())


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FlowernoiseError, match=r"cannot make the directory .*/file: "):
        labels.write(tmp_path / "file" / "labels.csv", iter(()))


def test_an_interrupted_write_leaves_the_file_before(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("before")

    def broken():
        yield ("a",) * 9
        raise RuntimeError

    with pytest.raises(RuntimeError):
        labels.write(path, broken())
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["labels.csv"]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        read_back = pool.submit(pipe.read_bytes)
        assert labels.write(pipe, iter([("a",) * len(labels.COLUMNS)]))
    assert read_back.result().decode().splitlines()[0] == ",".join(labels.COLUMNS)
    assert pipe.is_fifo()
