"""The engine is described as Keras would choose it, without importing it on machines without an NVIDIA driver."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flowernoise.training import engine

CPU_ONLY = pytest.mark.skipif(engine.NVIDIA_DRIVER.exists(), reason="this machine has an NVIDIA driver")


def test_the_environment_names_the_backend_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "torch"}))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert engine.backend_name() == "jax"
    monkeypatch.delenv("KERAS_BACKEND")
    assert engine.backend_name() == "torch"


@pytest.mark.parametrize("content", [None, "not json", "[]", "{}"])
def test_tensorflow_is_the_backend_where_nothing_else_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if content is not None:
        (tmp_path / "keras.json").write_text(content)
    assert engine.backend_name() == "tensorflow"


@CPU_ONLY
def test_the_description_matches_keras() -> None:
    import keras

    described = engine.describe()
    assert described.backend == keras.backend.backend()
    assert described.device == "cpu"
    assert not described.has_gpu
    assert described.training_precision == "float32"
    assert described.versions["keras"] == keras.__version__
    assert f"{described.backend} {described.versions[described.backend]}" in described.name


@CPU_ONLY
def test_describing_imports_no_framework() -> None:
    code = (
        "import sys; from flowernoise.training import engine; engine.extractor(engine.describe(), True); "
        "print([name for name in ('tensorflow', 'keras', 'jax', 'openvino') if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"


@CPU_ONLY
def test_xla_is_left_out_on_tensorflows_cpu() -> None:
    import keras

    expected = False if keras.backend.backend() == "tensorflow" else "auto"
    assert engine.jit_compile() == expected
