"""Which Keras backend trains here, on which device; found without importing it where that is possible."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
from pathlib import Path

from flowernoise import __version__

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_PACKAGES = ("keras", "numpy", "pillow", "h5py")


@dataclasses.dataclass(frozen=True)
class Engine:
    """Backend and device, with the versions that results depend on."""

    backend: str
    device: str
    versions: dict[str, str]

    @property
    def name(self) -> str:
        """Backend and versions in one line, for cache keys and for people."""
        return f"keras {self.versions['keras']} on {self.backend} {self.versions[self.backend]}"

    @property
    def has_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device != "cpu"

    @property
    def training_precision(self) -> str:
        """Keras dtype policy that fine-tuning uses: float16 where that is safe on GPUs, float32 on CPUs."""
        return "mixed_float16" if self.has_gpu else "float32"


def describe() -> Engine:
    """The engine of this process. Imports the backend only on machines with an NVIDIA driver."""
    backend = backend_name()
    versions = {package: importlib.metadata.version(package) for package in (*_PACKAGES, backend)}
    versions["flowernoise"] = __version__
    return Engine(backend, _device(backend), versions)


def backend_name() -> str:
    """Keras' backend, by Keras' own rules: environment, then its configuration file, then TensorFlow."""
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    path = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "keras.json"
    try:
        return str(json.loads(path.read_text()).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"


def _device(backend: str) -> str:
    if not NVIDIA_DRIVER.exists() or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "cpu"
    if backend == "jax":
        import jax

        first = jax.devices()[0]
        return "cpu" if first.platform == "cpu" else f"gpu: {first.device_kind}"
    import tensorflow

    gpus = tensorflow.config.list_physical_devices("GPU")
    if not gpus:
        return "cpu"
    details = tensorflow.config.experimental.get_device_details(gpus[0])
    return f"gpu: {details.get('device_name', 'unnamed')}"


def jit_compile() -> str | bool:
    """What Keras' ``compile`` is told: XLA's convolutions are many times slower than TensorFlow's own on CPUs."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return "auto"
    import tensorflow

    return "auto" if tensorflow.config.list_physical_devices("GPU") else False
