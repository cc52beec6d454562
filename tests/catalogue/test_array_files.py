"""NPZ files: what is read, in which form, and that nothing but plain arrays of the announced length is."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowernoise.catalogue import array_files
from flowernoise.errors import BadRequestError, FlowernoiseError

MOST = 1 << 20


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def with_header(path: Path, header: str, data: bytes = b"") -> Path:
    """An NPZ file whose one array, ``x``, has any header."""
    member = io.BytesIO()
    member.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", member.getvalue())
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_whole_or_by_row_whatever_their_byte_order(tmp_path: Path, save: Any) -> None:
    x = np.arange(24, dtype=">f4").reshape(4, 2, 3)
    save(tmp_path / "a.npz", x=x, by_columns=np.asfortranarray(x))
    assert array_files.headers(tmp_path / "a.npz")["x"].shape == (4, 2, 3)
    for name in ("x", "by_columns"):
        read = array_files.read(tmp_path / "a.npz", name, MOST)
        assert np.array_equal(read, x)
        assert read.dtype.isnative
    assert np.array_equal(list(array_files.rows(tmp_path / "a.npz", "x", MOST)), x)
    with pytest.raises(BadRequestError, match=r"by_columns is stored by columns; save np\.ascontiguousarray"):
        list(array_files.rows(tmp_path / "a.npz", "by_columns", MOST))


def test_labels_may_be_numbers_or_names_with_splits(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "a.npz", labels=np.array(["tulip", "rose", "tulip"]), split=np.array([b"Train", b"dev", b"test"])
    )
    names = array_files.labelling(path, 3)
    assert (names.classes, names.labels.tolist(), names.splits) == (
        ("rose", "tulip"),
        [1, 0, 1],
        ("train", "val", "test"),
    )
    numbers = array_files.labelling(saved(tmp_path / "b.npz", labels=np.array([10, 9, 10], dtype=np.uint8)), 3)
    assert (numbers.classes, numbers.labels.tolist(), numbers.splits) == (("9", "10"), [1, 0, 1], None)
    named = array_files.labelling(saved(tmp_path / "c.npz", labels=[1, 0], class_names=["tulip", "rose"]), 2)
    assert (named.classes, named.labels.tolist()) == (("tulip", "rose"), [1, 0])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": [1]}, "has no labels; it has x"),
        ({"labels": [0, 1]}, "labels must be one row of 3, not 2 of type int64"),
        ({"labels": [[0], [1], [0]]}, "labels must be one row of 3, not 3 × 1 of type int64"),
        ({"labels": [0.0, 1.0, 0.0]}, "labels must be whole numbers or texts, not float64"),
        ({"labels": np.array(["a", "b", None], dtype=object)}, "labels is an array of objects, which could run code"),
        ({"labels": ["a", "b", ""]}, "a label is empty"),
        ({"labels": ["Rose", "rose", "b"]}, "the classes 'Rose' and 'rose' differ only in upper and lower case"),
        ({"labels": [0, 1, 2], "class_names": ["a", "b"]}, "label 2 is not one of the 2 class_names, 0 to 1"),
        ({"labels": ["a", "b", "lily"], "class_names": ["a", "b"]}, "'lily' is not a class; there are: a, b"),
        ({"labels": [0, 1, 0], "class_names": ["a", "a"]}, "names class 'a' twice"),
        ({"labels": [0, 1, 0], "split": ["train", "test", "holdout"]}, "'holdout' is not a split; there are train"),
        ({"labels": [0, 1, 0], "split": ["train", "test"]}, "split must be one row of 3, not 2 of type"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_meant_are_refused_in_a_line(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        array_files.labelling(saved(tmp_path / "a.npz", **arrays), 3)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}\n",  # four terabytes
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}\n",
        "{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,)}\n",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (0,)}\n",
        "__import__('os')\n",
        "(" * 5000 + "\n",
    ],
)
def test_headers_that_announce_anything_else_are_refused_before_the_data_is_read(tmp_path: Path, header: str) -> None:
    path = with_header(tmp_path / "a.npz", header)
    for look in (array_files.headers, lambda path: array_files.read(path, "x", 1 << 62)):
        with pytest.raises(BadRequestError):
            look(path)


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    data = saved(tmp_path / "a.npz", x=np.random.default_rng(0).random(100)).read_bytes()
    for number, broken in enumerate((b"", data[:200], data[:300] + b"?" + data[301:], b"text")):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(broken)
        with pytest.raises(BadRequestError, match="is not an NPZ file of plain arrays"):
            array_files.read(path, "x", MOST)
    with pytest.raises(BadRequestError, match="x takes 800 bytes, over 100"):
        array_files.read(tmp_path / "a.npz", "x", 100)
    with pytest.raises(FlowernoiseError, match=r"cannot read .*: No such file"):
        array_files.headers(tmp_path / "missing.npz")
