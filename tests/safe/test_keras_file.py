"""Model files: equal models are equal bytes, and what strangers could put into one is refused in one line."""

import io
import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from flowernoise.errors import BadRequestError
from flowernoise.safe import keras_file
from flowernoise.safe.keras_file import CONFIG, METADATA, WEIGHTS


def a_model() -> keras.Model:
    pixels = keras.Input((4,), name="pixels")
    return keras.Model(pixels, keras.layers.Dense(2, name="head", kernel_initializer="ones")(pixels))


@pytest.fixture(scope="module")
def written() -> bytes:
    return keras_file.write(a_model())


def test_what_is_written_is_read_and_loaded_by_keras(written: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(written)
    found = keras_file.read(path)
    assert found.layers == (("InputLayer", "pixels"), ("Dense", "head"))
    kernel, bias = found.arrays["head"]
    assert (kernel.tolist(), bias.tolist()) == (np.ones((4, 2)).tolist(), [0, 0])
    loaded = keras.models.load_model(path, safe_mode=True)
    np.testing.assert_array_equal(loaded.get_layer("head").kernel, kernel)
    assert keras_file.write(loaded) == keras_file.write(loaded)


def test_what_differs_from_process_to_process_is_left_out() -> None:
    pixels = keras.Input((4, 4, 3))
    model = keras.Model(pixels, keras.layers.BatchNormalization()(keras.layers.Conv2D(3, 1)(pixels)))
    with zipfile.ZipFile(io.BytesIO(keras_file.write(model))) as archive:
        assert "1980-01-01" in json.loads(archive.read(METADATA))["date_saved"]
        shared = re.findall(rb'"shared_object_id": (\d+)', archive.read(CONFIG))
        assert shared
        assert max(map(int, shared)) < len(shared)


def zipped(written: bytes, compression: int = zipfile.ZIP_STORED, **changed: bytes | None) -> bytes:
    """The model file with some of its files changed or left out."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(written)) as archive, zipfile.ZipFile(out, "w", compression) as made:
        for key, name in {"metadata": METADATA, "config": CONFIG, "weights": WEIGHTS}.items():
            data = changed.get(key, archive.read(name))
            if data is not None:
                made.writestr(name, data)
    return out.getvalue()


def weights(fill: Callable[[h5py.File], object]) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        fill(file)
    return out.getvalue()


def many_files() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(1000):
            archive.writestr(str(number), b"")
    return out.getvalue()


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "is not a ZIP file"),
    "text": (lambda _: b"no model" * 100, "is not a ZIP file"),
    "truncated": (lambda data: data[:-30], "is not a ZIP file"),
    "many files": (lambda _: many_files(), "it holds too many files"),
    "compressed": (lambda data: zipped(data, zipfile.ZIP_DEFLATED), "is compressed"),
    "without weights": (lambda data: zipped(data, weights=None), f"{WEIGHTS} is missing"),
    "without layers": (lambda data: zipped(data, config=b"{}"), "does not list layers"),
    "a list": (lambda data: zipped(data, config=b"[1]"), "does not list layers"),
    "deep": (lambda data: zipped(data, config=b"[" * 100_000), "recursion"),
    "large configuration": (lambda data: zipped(data, config=b" " * (4 << 20) + b"{}"), "too large"),
    "not HDF5": (lambda data: zipped(data, weights=b"x"), ""),
    "a link": (lambda data: zipped(data, weights=weights(_link)), "link"),
    "not finite": (lambda data: zipped(data, weights=weights(_not_finite)), "not finite"),
    "compressed array": (lambda data: zipped(data, weights=weights(_compressed)), "not a plain array"),
    "damaged": (lambda data: data.replace(b"PK\x01\x02", b"PK\x01\x03"), ""),
}


def _link(file: h5py.File) -> None:
    file["layers"] = h5py.ExternalLink("/etc/passwd", "/")


def _not_finite(file: h5py.File) -> None:
    file["layers/dense/vars/0"] = np.array([np.inf], dtype=np.float32)


def _compressed(file: h5py.File) -> None:
    file.create_dataset("layers/dense/vars/0", data=np.zeros(10_000), compression="gzip")


@pytest.mark.parametrize("name", list(HOSTILE))
def test_what_is_not_a_model_of_ours_is_refused(written: bytes, tmp_path: Path, name: str) -> None:
    change, message = HOSTILE[name]
    path = tmp_path / "model.keras"
    path.write_bytes(change(written))
    with pytest.raises(BadRequestError) as caught:
        keras_file.read(path)
    assert str(caught.value).startswith(f"{path} is not a model that `flowernoise export` wrote: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_opened_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "none", "cannot read .*: No such file"),
        (tmp_path, "cannot read .*: it is not a regular file"),
        (tmp_path / "pipe", "cannot read .*: it is not a regular file"),
        (Path("a\0b"), "cannot read "),
    ):
        with pytest.raises(BadRequestError, match=message):
            keras_file.read(path)
    (tmp_path / "large").write_bytes(b"12345")
    monkeypatch.setattr(keras_file, "MAX_BYTES", 4)
    with pytest.raises(BadRequestError, match="is larger than 4 bytes"):
        keras_file.read(tmp_path / "large")


def test_nothing_in_the_file_is_run(tmp_path: Path) -> None:
    """A layer that would run code as Keras builds it is only a name here."""
    evil = {"class_name": "Lambda", "name": "x", "module": "os", "config": {"function": "system"}}
    path = tmp_path / "model.keras"
    path.write_bytes(zipped(keras_file.write(a_model()), config=json.dumps({"config": {"layers": [evil]}}).encode()))
    assert keras_file.read(path).layers == (("Lambda", "x"),)
