"""Which Keras backend trains here, on which device; found without importing it where that is possible."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
from pathlib import Path

from flowernoise import __version__
from flowernoise.errors import BadRequestError

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
PROCESSOR = Path("/proc/cpuinfo")
CHOICE = "FLOWERNOISE_ENGINE"  # environment variable that can refuse OpenVINO
MIN_COSINE = 0.9999  # between features in bfloat16 and in float32
FLOAT32, BFLOAT16 = "float32", "bfloat16"
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}  # processor flags; without them bfloat16 is emulated
_BACKENDS = ("tensorflow", "jax", "torch")
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
    """The engine of this process. Imports the backend only on machines with an NVIDIA driver.

    Raises:
        BadRequestError: Keras is told to use a backend that is not there.
    """
    backend = backend_name()
    if backend not in _BACKENDS or not _is_installed(backend):
        raise BadRequestError(
            f"KERAS_BACKEND={backend} (or the backend in keras.json) is none that is installed; unset it for tensorflow"
        )
    versions = {package: importlib.metadata.version(package) for package in (*_PACKAGES, backend)}
    versions["flowernoise"] = __version__
    return Engine(backend, _device(backend), versions)


@dataclasses.dataclass(frozen=True)
class Extractor:
    """What extracts features, where, and in which precision; belongs into cache keys."""

    name: str
    device: str
    precision: str

    @property
    def is_openvino(self) -> bool:
        """Whether OpenVINO runs the network, which Keras has built."""
        return self.kind == "openvino"

    @property
    def kind(self) -> str:
        """Its name without versions: ``keras`` or ``openvino``."""
        return self.name.partition(" ")[0]

    def __str__(self) -> str:
        return f"{self.name.partition(',')[0]}, {self.precision}" if self.is_openvino else self.device


def keras_extractor(engine: Engine) -> Extractor:
    """Keras extracts the features itself."""
    return Extractor(engine.name, engine.device, FLOAT32)


def extractor(engine: Engine, bfloat16: bool) -> Extractor:
    """OpenVINO where it is installed, not refused, and can take over from TensorFlow on a CPU; otherwise Keras.

    Args:
        engine: what Keras runs on.
        bfloat16: whether bfloat16 is to be tried where the processor has it.

    Raises:
        BadRequestError: ``FLOWERNOISE_ENGINE`` is set, but not to ``keras``.
    """
    choice = os.environ.get(CHOICE, "")
    if choice not in ("", "keras"):
        raise BadRequestError(f"{CHOICE}={choice} is unknown; set it to keras, or not at all")
    version = _openvino_version()
    if choice or version is None or engine.has_gpu or engine.backend != "tensorflow":
        return keras_extractor(engine)
    precision = BFLOAT16 if bfloat16 and _has_bfloat16() else FLOAT32
    return Extractor(f"openvino {version} on cpu, from {engine.name}", engine.device, precision)


def _is_installed(package: str) -> bool:
    """Whether a package is installed; does not import it."""
    return bool(package) and importlib.util.find_spec(package) is not None


def _openvino_version() -> str | None:
    """Version of the installed OpenVINO; does not import it."""
    try:
        return importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        return None


def _has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16; unknown, and so not used, outside Linux."""
    try:
        lines = PROCESSOR.read_text().splitlines()
    except OSError:
        return False
    return any(_BFLOAT16 & set(line.split()) for line in lines if line.startswith("flags"))


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
