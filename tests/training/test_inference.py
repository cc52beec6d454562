"""OpenVINO: it says of photos what Keras says, whatever their company; used where installed, named, and refusable."""

import importlib.metadata
import importlib.util
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.training import engine, features, inference
from flowernoise.training.engine import Engine

SIZE = 12
CPU = Engine("tensorflow", "cpu", {"keras": "3.1", "tensorflow": "2.2"})
KERAS = engine.Extractor("keras 3.1 on tensorflow 2.2", "cpu", "float32")

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None or keras.backend.backend() != "tensorflow",
    reason="needs openvino (the extra `fast`) and TensorFlow",
)


def photo(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def model() -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(5, 3, kernel_initializer=keras.initializers.GlorotUniform(seed=0))(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


# The network


@needs_openvino
@pytest.mark.parametrize("count", [1, inference.REQUEST, features.BATCH + 3])
def test_features_are_those_of_keras_in_order(model: keras.Model, count: int) -> None:
    encoded = [photo(number) for number in range(count)]
    advanced: list[int] = []
    fast = features.extract(inference.Network(inference.convert(model), "f32"), encoded, SIZE, advanced.append)
    np.testing.assert_allclose(fast, features.extract(model, encoded, SIZE, advanced.append), rtol=1e-4, atol=1e-3)
    assert fast.dtype == np.float32
    assert sum(advanced) == 2 * count


@needs_openvino
def test_a_photos_features_are_the_same_bits_in_any_company(model: keras.Model) -> None:
    alone = features.extract(inference.Network(inference.convert(model), "f32"), [photo(7)], SIZE, lambda count: None)
    encoded = [*map(photo, range(40)), photo(7)]
    in_company = features.extract(inference.Network(inference.convert(model), "f32"), encoded, SIZE, lambda count: None)
    np.testing.assert_array_equal(alone[0], in_company[40])


@needs_openvino
def test_the_converted_model_leaves_no_file_behind(
    model: keras.Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    inference.Network(inference.convert(model), "f32")
    assert list(tmp_path.iterdir()) == []


@needs_openvino
def test_another_precision_than_the_cache_key_names_is_refused(model: keras.Model) -> None:
    import openvino

    if "FP16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has every precision")
    with pytest.raises(FlowernoiseError, match=r"not in f16.*FLOWERNOISE_ENGINE=keras"):
        inference.Network(inference.convert(model), "f16")


@needs_openvino
def test_the_precision_named_is_one_this_processor_computes_in(model: keras.Model) -> None:
    precision = engine.extractor(CPU, bfloat16=True).precision
    inference.Network(inference.convert(model), inference.HINTS[precision])


# Which engine extracts


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Pretends that a version of OpenVINO is installed, or none, on a processor with some flags."""

    def pretend(version: str | None, flags: str | None = "fpu avx512_bf16") -> None:
        def version_of(package: str) -> str:
            if version is None:
                raise importlib.metadata.PackageNotFoundError(package)
            return version

        monkeypatch.delenv(engine.CHOICE, raising=False)
        monkeypatch.setattr(importlib.metadata, "version", version_of)
        monkeypatch.setattr(engine, "PROCESSOR", tmp_path / "cpuinfo")
        if flags is not None:
            engine.PROCESSOR.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")

    return pretend


def test_without_openvino_the_key_is_that_of_keras(installed: Callable[..., None]) -> None:
    installed(None)
    assert engine.extractor(CPU, bfloat16=True) == engine.keras_extractor(CPU) == KERAS


@pytest.mark.parametrize(
    ("flags", "bfloat16", "precision"),
    [
        ("fpu avx512_bf16", True, "bfloat16"),
        ("amx_bf16 fpu", True, "bfloat16"),
        ("fpu avx512_bf16", False, "float32"),
        ("fpu avx512f", True, "float32"),
        (None, True, "float32"),
    ],
)
def test_openvino_is_named_with_its_precision(
    installed: Callable[..., None], flags: str | None, bfloat16: bool, precision: str
) -> None:
    installed("2026.1", flags)
    found = engine.extractor(CPU, bfloat16)
    assert (found.name, found.precision) == (f"openvino 2026.1 on cpu, from {KERAS.name}", precision)
    assert found.kind == "openvino"
    assert str(found) == f"openvino 2026.1 on cpu, {precision}"


def test_it_can_be_refused(installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    installed("2026.1")
    monkeypatch.setenv(engine.CHOICE, "keras")
    assert engine.extractor(CPU, bfloat16=True) == KERAS
    monkeypatch.setenv(engine.CHOICE, "kears")
    with pytest.raises(BadRequestError, match="set it to keras"):
        engine.extractor(CPU, bfloat16=True)


@pytest.mark.parametrize(("backend", "device"), [("tensorflow", "gpu: A"), ("jax", "cpu")])
def test_gpus_and_other_backends_are_left_to_keras(installed: Callable[..., None], backend: str, device: str) -> None:
    installed("2026.1")
    assert not engine.extractor(Engine(backend, device, {"keras": "3.1", backend: "2.2"}), bfloat16=True).is_openvino


@needs_openvino
def test_openvino_does_not_report_to_its_makers() -> None:
    script = """
import os, sys
def refuse(event, arguments):
    if event in ("os.fork", "socket.getaddrinfo", "socket.connect"):
        os.write(1, f"{event} {arguments}".encode())
sys.addaudithook(refuse)
from flowernoise.safe.openvino_ import openvino
openvino().Core()
assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]
"""
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (0, ""), finished.stderr
