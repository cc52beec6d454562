"""Photos in NPZ files and in what Hugging Face's ``datasets`` saves: pixels, labels and splits; damage in a line."""

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flowernoise.analysis.results.stages import PrepareResult
from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.progress import Silent
from flowernoise.safe import images
from flowernoise.steps.prepare import prepare
from flowernoise.steps.settings import PrepareSettings
from flowernoise.store import datasets
from flowernoise.store.layout import Layout
from flowernoise.store.photos import Archive, IndexedPhoto

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 6, 8, 3), dtype=np.uint8)
LABELS = np.arange(30) % 3
NAMES = ["tulips", "daisy", "roses"]  # not in the order of the alphabet
SPLITS = ["train"] * 18 + ["test"] * 12


def prepared(source: Path, artifacts: Path, **options: object) -> PrepareResult:
    given = {"source": str(source), "image_size": 8, **options}
    return prepare(artifacts, PrepareSettings(**given), Silent())  # type: ignore[arg-type]


def kept(artifacts: Path) -> list[tuple[IndexedPhoto, np.ndarray[Any, Any]]]:
    """The photos and their pixels."""
    layout = Layout(artifacts)
    dataset = datasets.need(layout)
    index = datasets.index(layout, dataset)
    encoded = Archive(layout.photos, dataset.archive).read(index)
    return [(photo, np.asarray(Image.open(io.BytesIO(data)))) for photo, data in zip(index, encoded, strict=True)]


def hugging_face(folder: Path, rows: Sequence[Mapping[str, Any]], label: Mapping[str, Any], **state: Any) -> Path:
    """A directory as version 5.2 of ``datasets`` saves it, in two files."""
    pyarrow = pytest.importorskip("pyarrow")
    folder.mkdir(parents=True)
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    kind = pyarrow.int64() if label["_type"] == "ClassLabel" else pyarrow.string()
    schema = pyarrow.schema([("image", image), ("label", kind)])
    names = [f"data-0000{k}-of-00002.arrow" for k in range(2)]
    for k, name in enumerate(names):
        with pyarrow.OSFile(str(folder / name), "wb") as file, pyarrow.ipc.new_stream(file, schema) as writer:
            writer.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows[k::2]], schema))
    features = {"image": {"_type": "Image"}, "label": dict(label)}
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names], **state}))
    return folder


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def info(label: str, names: Sequence[str]) -> str:
    return json.dumps({"features": {"image": {"_type": "Image"}, label: {"_type": "ClassLabel", "names": names}}})


CLASS_LABEL = {"_type": "ClassLabel", "names": NAMES}
ROWS = [{"image": {"bytes": png(x), "path": None}, "label": int(y)} for x, y in zip(PIXELS, LABELS, strict=True)]


def test_an_npz_file_keeps_pixels_names_and_splits(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", images=PIXELS, labels=LABELS, class_names=NAMES, split=SPLITS)
    dataset = prepared(tmp_path / "x.npz", tmp_path / "a").dataset
    assert (dataset.classes, dataset.given_splits, dataset.sizes) == (tuple(NAMES), ("train", "test"), (15, 3, 12))
    for photo, pixels in kept(tmp_path / "a"):
        assert np.array_equal(pixels, PIXELS[int(photo.path)])
        assert photo.label == LABELS[int(photo.path)]
        assert (photo.split == "test") == (int(photo.path) >= 18)
    assert prepared(tmp_path / "x.npz", tmp_path / "a").done_before
    np.savez(tmp_path / "x.npz", images=PIXELS, labels=np.array(NAMES)[LABELS])
    again = prepared(tmp_path / "x.npz", tmp_path / "a")
    assert (again.done_before, again.dataset.classes) == (False, ("daisy", "roses", "tulips"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": LABELS}, "has neither images nor features; it has labels$"),
        ({"images": PIXELS / 255, "labels": LABELS}, "images must be n × height × width × 3 of type uint8, not 30"),
        ({"images": PIXELS[..., 0], "labels": LABELS}, "images must be n × height × width × 3 of type uint8"),
        ({"images": PIXELS}, "has no labels; it has images$"),
        ({"images": PIXELS, "labels": LABELS[:-1]}, "labels must be one row of 30, not 29 of type int64$"),
        ({"images": np.asfortranarray(PIXELS), "labels": LABELS}, "images is stored by columns; save np"),
    ],
)  # fmt: skip
def test_an_npz_file_that_is_no_set_of_photos_is_refused_in_a_line(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(BadRequestError, match=message):
        prepared(tmp_path / "x.npz", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FlowernoiseError, match=r"cannot read .*x\.npz: No such file"):
        prepared(tmp_path / "x.npz", tmp_path / "a")


def test_a_saved_dict_of_data_sets_keeps_photos_names_and_splits(tmp_path: Path) -> None:
    unlabelled = {**ROWS[0], "label": -1}
    hugging_face(tmp_path / "hf" / "train", [*ROWS[:18], unlabelled], CLASS_LABEL)
    hugging_face(tmp_path / "hf" / "test", ROWS[18:], CLASS_LABEL)
    (tmp_path / "hf" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    result = prepared(tmp_path / "hf", tmp_path / "a")
    dataset = result.dataset
    assert (dataset.classes, dataset.given_splits, dataset.sizes) == (tuple(NAMES), ("train", "test"), (15, 3, 12))
    by_digest = {images.digest_of_pixels(row["image"]["bytes"], 8): row["label"] for row in ROWS}
    for photo, pixels in kept(tmp_path / "a"):
        assert by_digest[images.digest_of_pixels(png(pixels), 8)] == photo.label
    assert (result.passed_over, prepared(tmp_path / "hf", tmp_path / "a").done_before) == ((), True)


def test_a_single_data_set_with_names_in_a_column_and_photos_beside_it(tmp_path: Path) -> None:
    rows = [{**row, "label": NAMES[row["label"]]} for row in ROWS]
    rows[0] = {**rows[0], "image": {"bytes": None, "path": "beside.png"}}
    rows[1] = {**rows[1], "image": {"bytes": None, "path": str(tmp_path / "outside.png")}}
    rows[2] = {**rows[2], "image": {"bytes": None, "path": None}}
    hugging_face(tmp_path / "hf", rows, {"_type": "Value", "dtype": "string"})
    for place in (tmp_path / "hf" / "beside.png", tmp_path / "outside.png"):
        place.write_bytes(ROWS[0]["image"]["bytes"])
    dataset = prepared(tmp_path / "hf", tmp_path / "a").dataset
    assert (dataset.classes, sum(dataset.sizes)) == (("daisy", "roses", "tulips"), 28)
    assert Counter(problem.reason for problem in dataset.unreadable) == {
        "it names a file outside the data set; embed the photos when saving it": 1,
        "it has neither bytes nor a path": 1,
    }


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("state.json", '{"_data_files": [{"filename": "../x.arrow"}]}', "state.json does not list the Arrow files"),
        ("state.json", "[" * 100_000, "state.json is not JSON"),
        ("state.json", "[]", "state.json does not describe a data set"),
        ("dataset_info.json", '{"features": {"label": {"_type": "ClassLabel"}}}', "has no photos with labels"),
        ("dataset_info.json", '{"features": null}', "has no photos with labels"),
        ("dataset_info.json", info("y", ["a", "b"]), "has no column 'y'"),
        ("dataset_info.json", info("label", ["a", "b"]), "a photo has class 2, but there are only 2"),
        ("data-00001-of-00002.arrow", "nothing", "is not an Arrow file"),
    ],
)  # fmt: skip
def test_a_damaged_data_set_is_one_line(tmp_path: Path, file: str, text: str, message: str) -> None:
    hugging_face(tmp_path / "hf", ROWS, CLASS_LABEL)
    (tmp_path / "hf" / file).write_text(text)
    with pytest.raises(BadRequestError, match=message) as caught:
        prepared(tmp_path / "hf", tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_what_a_data_set_needs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hugging_face(tmp_path / "hf", ROWS, CLASS_LABEL)
    (tmp_path / "labels.csv").write_text("path,label\n")
    with pytest.raises(BadRequestError, match="has its own labels; leave --labels out"):
        prepared(tmp_path / "hf", tmp_path / "a", labels=tmp_path / "labels.csv")
    hugging_face(tmp_path / "selected", ROWS, CLASS_LABEL, _indices_files=[{"filename": "indices.arrow"}])
    with pytest.raises(BadRequestError, match=r"is a selection of rows; save it with \.flatten_indices\(\)"):
        prepared(tmp_path / "selected", tmp_path / "a")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(FlowernoiseError, match=r"needs pyarrow: pip install 'flowernoise\[parquet\]'"):
        prepared(tmp_path / "hf", tmp_path / "a")
