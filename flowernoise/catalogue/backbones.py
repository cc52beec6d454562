"""Backbones: pretrained networks that turn images into features.

A backbone is a function that finds its weights without importing Keras and returns a `Backbone`; only ``build`` does
the slow part. Models take RGB images as float32 [n, size, size, 3] with values 0 to 255, preprocess them, and return
pooled features as float32 [n, num_features]. They are Keras 3 models and run on any of its backends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from flowernoise.catalogue import keras_networks, lite0, onnx_networks, weight_files
from flowernoise.catalogue.keras_networks import NETWORKS
from flowernoise.catalogue.onnx_networks import Scaling
from flowernoise.catalogue.weight_files import RANDOM_DIGEST, PublishedFile
from flowernoise.errors import BadRequestError
from flowernoise.registry import Between, FilePath, Registry, Spec
from flowernoise.safe import onnx_file

if TYPE_CHECKING:
    import keras

    Name = str
else:
    Name = Literal[tuple(NETWORKS)]

backbones = Registry("backbone")
GIVEN = "features"  # of data sets without photos

# As in keras.applications.resnet, but without importing Keras; a test compares them.
RESNET50_FOLDER = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
RESNET50_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
RESNET50_MD5 = "4d473c1dd8becc155b73f8504c6f6626"

MAX_RESNET50_BYTES = 320 << 20  # ResNet50 with its classifier and Adam's state takes 308 MB
MAX_KERAS_BYTES = 5 << 30  # ConvNeXtXLarge with these takes 4.2 GB


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
        openvino: for a network that only OpenVINO runs, makes its model for an image size and a number of photos at a
            time; ``build`` then refuses.
    """

    name: str
    weights_digest: str
    native_size: int
    num_features: int
    build: Callable[[int], keras.Model]
    bfloat16: bool = False
    openvino: Callable[[int, int], Any] | None = None


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
    digest, load = _weights(weights, _resnet50_weights(), "resnet50", MAX_RESNET50_BYTES)
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
        build = partial(lite0.build, load=weight_files.randomise)
        return Backbone("efficientnet_lite0", RANDOM_DIGEST, 224, 1280, build)
    load = partial(lite0.load, path=lite0.weight_file())
    return Backbone("efficientnet_lite0", lite0.SHA256, 224, 1280, partial(lite0.build, load=load))


@backbones.register(unkeyed="name")
def keras_(*, name: Name, weights: Annotated[str, FilePath(instead=("imagenet", "none"))] = "imagenet") -> Backbone:
    """Any network of keras.applications, by its name there, such as MobileNetV2; photos keep their size.

    Each network has its own preprocessing. Its weights are those of ImageNet, which Keras publishes, random ones, or
    those of an HDF5 file written by Keras, with or without the classifier. Files are only read for their arrays. An
    unknown name is answered with all names.
    Source: https://keras.io/api/applications

    Args:
        name: the network, in Keras' spelling.
        weights: ``imagenet``, ``none`` (random, always the same), or the path of a local weight file.

    Example: ``flowernoise train --backbone keras:MobileNetV2,weights=none``

    Raises:
        FlowernoiseError: the weights are not on this machine and cannot be downloaded.
        BadRequestError: as for `resnet50`, or (from ``build``) the photos are too small for the network.
        DamagedFileError: as for `resnet50`.

    >>> keras_(name="MobileNetV2", weights="none").num_features
    1280
    """
    network = NETWORKS[name]
    digest, load = _weights(weights, network.weights, f"keras:{name}", MAX_KERAS_BYTES)
    if weights != "none" and keras_networks.normalises(name):
        load = partial(load, fixed={"normalization": (keras_networks.MEANS, keras_networks.DEVIATIONS)})
    build = partial(keras_networks.build, name=name, load=load)
    return Backbone(name, digest, network.native_size, network.features, build)


@backbones.register(unkeyed="path")
def onnx(
    *,
    path: Annotated[str, FilePath()],
    mean: str = "0",
    std: str = "1",
    divide: Annotated[float, Between(0, 1e6, open="low")] = 255.0,
    layout: Literal["nchw", "nhwc"] = "nchw",
) -> Backbone:
    """Any network in an ONNX file, for features only: OpenVINO runs it. A map of features is averaged over positions.

    Pixels from 0 to 255 become (x / divide − mean) / std. The file must hold all its data itself, and have one input,
    photos, and one output, features. Needs OpenVINO (``flowernoise[fast]``).
    Source: https://onnx.ai/onnx/intro

    Args:
        path: the file.
        mean: one number, or one for red, green and blue: ``0.485+0.456+0.406``.
        std: likewise.
        divide: what pixels are divided by first.
        layout: ``nchw`` if the channels come first, as in PyTorch; ``nhwc`` if they come last, as in TensorFlow.

    Example: ``flowernoise train --backbone onnx:dino.onnx,mean=0.485+0.456+0.406,std=0.229+0.224+0.225``

    Raises:
        BadRequestError: the file cannot be read, refers to other files, or is not a network from photos to features.
        FlowernoiseError: OpenVINO is not installed.
    """
    scaling = Scaling(divide, onnx_networks.channels(mean, "mean"), onnx_networks.channels(std, "std"))
    content = onnx_file.read(Path(path).expanduser())
    features, side = onnx_networks.size_of_output(content, path, layout)

    def prepared(size: int, photos: int) -> Any:
        return onnx_networks.prepared(content, path, layout, scaling, size, photos)

    refuse = partial(onnx_networks.refuse_to_build, path)
    digest = hashlib.sha256(content).hexdigest()
    return Backbone("onnx", digest, side or onnx_networks.USUAL_SIZE, features, lambda _: refuse(), openvino=prepared)


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
        raise BadRequestError(f"backbone {GIVEN}:{name} is features, not a network; name a network, such as resnet50")
    raise BadRequestError(
        "backbone features belongs to data sets of features without photos, so nothing tells the features of a photo; "
        "name a network, such as resnet50, or features that you imported, as features:NAME"
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
    spec = backbones.parse(text)
    own = {"weights": "none"} if "weights" in spec.values else {}
    backbone: Backbone = Spec(spec.entry, {**spec.values, **own})()
    return backbone


def _weights(text: str, published: PublishedFile, network: str, most_bytes: int) -> tuple[str, Callable[..., None]]:
    """The digest of a network's weights, and what puts them into its model.

    Args:
        text: ``imagenet``, ``none`` or a path.
        published: the weights of ImageNet.
        network: spec of the backbone, for messages.
        most_bytes: most that a file may take.
    """
    if text == "none":
        return RANDOM_DIGEST, weight_files.randomise
    if text == "imagenet":
        path = weight_files.fetched(published, network)
    else:
        path = weight_files.given(text, network, most_bytes)
    digest = weight_files.digest(path)
    return digest, partial(weight_files.load, path=path, sha256=digest)


def _resnet50_weights() -> PublishedFile:
    return PublishedFile(RESNET50_FOLDER + RESNET50_FILE, RESNET50_MD5)


def why_no_resnet50() -> str | None:
    """Why ResNet-50's ImageNet weights cannot be had; None if they are here or can be downloaded. Takes two seconds."""
    return weight_files.why_not(_resnet50_weights(), "resnet50")


def _build_resnet50(image_size: int, *, load: Callable[[keras.Model], None]) -> keras.Model:
    import keras

    images = keras.Input((image_size, image_size, 3), name="images")
    # The last layer stays in float32 under mixed precision, as preprocessing does.
    x = keras_networks.preprocessed(images, "caffe", name="minus_means")
    x = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=x).output
    features = keras.layers.GlobalAveragePooling2D(name="features", dtype="float32")(x)
    model = keras.Model(images, features, name="resnet50")
    load(model)
    return model
