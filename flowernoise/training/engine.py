"""Which Keras backend trains here, and on which device; found without importing it if possible."""

from __future__ import annotations

import contextlib
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
CHOICE = "FLOWERNOISE_ENGINE"  # environment variable that can turn OpenVINO off
MIN_COSINE = 0.9999  # between features in bfloat16 and in float32
FLOAT32, BFLOAT16 = "float32", "bfloat16"
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}  # processor flags; without them, bfloat16 is emulated
_BACKENDS = ("tensorflow", "jax", "torch")
_PACKAGES = ("keras", "numpy", "pillow", "h5py")


@dataclasses.dataclass(frozen=True)
class Engine:
    """Backend, device, and the versions that results depend on."""

    backend: str
    device: str
    versions: dict[str, str]

    @property
    def name(self) -> str:
        """Backend and versions in one line, for cache keys and for display."""
        return f"keras {self.versions['keras']} on {self.backend} {self.versions[self.backend]}"

    @property
    def has_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device != "cpu"

    @property
    def training_precision(self) -> str:
        """Keras dtype policy for fine-tuning: on GPUs bfloat16, on CPUs float32.

        Float16 would need its loss scaled, which leaves out steps, and other steps for other losses.
        """
        return "mixed_bfloat16" if self.has_gpu else "float32"


def describe() -> Engine:
    """The engine of this process; imports the backend only if the machine has an NVIDIA driver.

    Raises:
        BadRequestError: Keras is configured for a backend that is not installed.
    """
    backend = backend_name()
    if backend not in _BACKENDS or not _is_installed(backend):
        raise BadRequestError(
            f"KERAS_BACKEND={backend} (or the backend in keras.json) is not installed; unset it to use tensorflow"
        )
    versions = {package: importlib.metadata.version(package) for package in (*_PACKAGES, backend)}
    versions["flowernoise"] = __version__
    return Engine(backend, _device(backend), versions)


@dataclasses.dataclass(frozen=True)
class Extractor:
    """What extracts features, on which device, and in which precision; part of cache keys."""

    name: str
    device: str
    precision: str

    @property
    def is_openvino(self) -> bool:
        """Whether OpenVINO runs the network that Keras built."""
        return self.kind == "openvino"

    @property
    def kind(self) -> str:
        """The name without versions: ``keras`` or ``openvino``."""
        return self.name.partition(" ")[0]

    def __str__(self) -> str:
        return f"{self.name.partition(',')[0]}, {self.precision}" if self.is_openvino else self.device


def keras_extractor(engine: Engine) -> Extractor:
    """The extractor if Keras itself extracts the features."""
    return Extractor(engine.name, engine.device, FLOAT32)


def extractor_of_files(engine: Engine) -> Extractor:
    """The extractor of networks that only OpenVINO runs, whatever Keras would run on; always in float32."""
    return Extractor(f"openvino {_openvino_version()} on cpu", engine.device, FLOAT32)


def extractor(engine: Engine, bfloat16: bool) -> Extractor:
    """OpenVINO if it is installed, not turned off, and can replace TensorFlow on a CPU; otherwise Keras.

    Args:
        engine: the engine that Keras uses.
        bfloat16: whether to try bfloat16 if the processor supports it.

    Raises:
        BadRequestError: ``FLOWERNOISE_ENGINE`` is set to something other than ``keras``.
    """
    choice = os.environ.get(CHOICE, "")
    if choice not in ("", "keras"):
        raise BadRequestError(f"{CHOICE}={choice} is unknown; set it to keras, or unset it")
    version = _openvino_version()
    if choice or version is None or engine.has_gpu or engine.backend != "tensorflow":
        return keras_extractor(engine)
    precision = BFLOAT16 if bfloat16 and _has_bfloat16() else FLOAT32
    return Extractor(f"openvino {version} on cpu, from {engine.name}", engine.device, precision)


def _is_installed(package: str) -> bool:
    """Whether a package is installed, found without importing it."""
    return bool(package) and importlib.util.find_spec(package) is not None


def _openvino_version() -> str | None:
    """Version of the installed OpenVINO, found without importing it."""
    try:
        return importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        return None


def _has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16; False outside Linux, where this is unknown."""
    try:
        lines = PROCESSOR.read_text().splitlines()
    except OSError:
        return False
    return any(_BFLOAT16 & set(line.split()) for line in lines if line.startswith("flags"))


def backend_name() -> str:
    """Keras' backend by Keras' own rules: the environment, then its configuration file, then TensorFlow."""
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
    """The argument for Keras' ``compile``: on CPUs, XLA's convolutions are many times slower than TensorFlow's."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return "auto"
    import tensorflow

    return "auto" if tensorflow.config.list_physical_devices("GPU") else False


def repeat_to_the_bit() -> None:
    """Makes TensorFlow run one operation at a time on CPUs, each on all cores, so that equal work gives equal bits.

    It takes effect only before TensorFlow's first operation, and measured no slower.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow

        with contextlib.suppress(RuntimeError):  # TensorFlow has begun
            tensorflow.config.threading.set_inter_op_parallelism_threads(1)
