"""The networks of ``keras.applications``: facts about each, without importing Keras, and how they are built.

A test compares the facts with Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from flowernoise.catalogue.weight_files import PublishedFile
from flowernoise.errors import BadRequestError
from flowernoise.safe.keras_file import leaves

if TYPE_CHECKING:
    import keras

Preprocessing = Literal["tf", "torch", "caffe", "own"]
# Of ImageNet, for values from 0 to 1.
MEANS, DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREPROCESSING = "preprocessing"  # the layer's name
_HOST = "https://storage.googleapis.com"


@dataclass(frozen=True)
class KerasNetwork:
    """What is known of a network.

    Attributes:
        features: number of features per image.
        native_size: side in pixels of the images that Keras' weights were trained on.
        preprocessing: one of the modes of ``keras.applications.imagenet_utils.preprocess_input``, or ``own`` if the
            network has its own layers for it.
        weights: its ImageNet weights without classifier.
        min_size: side in pixels of the smallest images it can work with.
    """

    features: int
    native_size: int
    preprocessing: Preprocessing
    weights: PublishedFile
    min_size: int = 32


NETWORKS: Mapping[str, KerasNetwork] = MappingProxyType(
    {
        "ConvNeXtBase": KerasNetwork(
            1024,
            224,
            "own",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/convnext/convnext_base_notop.h5",
                "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
            ),
        ),
        "ConvNeXtLarge": KerasNetwork(
            1536,
            224,
            "own",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/convnext/convnext_large_notop.h5",
                "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
            ),
        ),
        "ConvNeXtSmall": KerasNetwork(
            768,
            224,
            "own",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/convnext/convnext_small_notop.h5",
                "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
            ),
        ),
        "ConvNeXtTiny": KerasNetwork(
            768,
            224,
            "own",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/convnext/convnext_tiny_notop.h5",
                "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
            ),
        ),
        "ConvNeXtXLarge": KerasNetwork(
            2048,
            224,
            "own",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/convnext/convnext_xlarge_notop.h5",
                "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
            ),
        ),
        "DenseNet121": KerasNetwork(
            1024,
            224,
            "torch",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "30ee3e1110167f948a6b9946edeeb738",
            ),
        ),
        "DenseNet169": KerasNetwork(
            1664,
            224,
            "torch",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/densenet/densenet169_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "b8c4d4c20dd625c148057b9ff1c1176b",
            ),
        ),
        "DenseNet201": KerasNetwork(
            1920,
            224,
            "torch",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/densenet/densenet201_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "c13680b51ded0fb44dff2d8f86ac8bb1",
            ),
        ),
        "EfficientNetB0": KerasNetwork(
            1280,
            224,
            "torch",
            PublishedFile(f"{_HOST}/keras-applications/efficientnetb0_notop.h5", "50bc09e76180e00e4465e1a485ddc09d"),
        ),
        "EfficientNetB1": KerasNetwork(
            1280,
            240,
            "torch",
            PublishedFile(f"{_HOST}/keras-applications/efficientnetb1_notop.h5", "74c4e6b3e1f6a1eea24c589628592432"),
        ),
        "EfficientNetB2": KerasNetwork(
            1408,
            260,
            "torch",
            PublishedFile(f"{_HOST}/keras-applications/efficientnetb2_notop.h5", "111f8e2ac8aa800a7a99e3239f7bfb39"),
        ),
        "EfficientNetB3": KerasNetwork(
            1536,
            300,
            "torch",
            PublishedFile(f"{_HOST}/keras-applications/efficientnetb3_notop.h5", "af6d107764bb5b1abb91932881670226"),
        ),
        "EfficientNetB4": KerasNetwork(
            1792,
            380,
            "torch",
            PublishedFile(f"{_HOST}/keras-applications/efficientnetb4_notop.h5", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
        ),
        "EfficientNetB5": KerasNetwork(
            2048,
            456,
            "torch",
            PublishedFile(f"{_HOST}/keras-applications/efficientnetb5_notop.h5", "38879255a25d3c92d5e44e04ae6cec6f"),
        ),
        "EfficientNetB6": KerasNetwork(
            2304,
            528,
            "torch",
            PublishedFile(f"{_HOST}/keras-applications/efficientnetb6_notop.h5", "9ecce42647a20130c1f39a5d4cb75743"),
        ),
        "EfficientNetB7": KerasNetwork(
            2560,
            600,
            "torch",
            PublishedFile(f"{_HOST}/keras-applications/efficientnetb7_notop.h5", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
        ),
        "EfficientNetV2B0": KerasNetwork(
            1280,
            224,
            "own",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b0_notop.h5",
                "893217f2bb855e2983157299931e43ff",
            ),
        ),
        "EfficientNetV2B1": KerasNetwork(
            1280,
            240,
            "own",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b1_notop.h5",
                "0e80663031ca32d657f9caa404b6ec37",
            ),
        ),
        "EfficientNetV2B2": KerasNetwork(
            1408,
            260,
            "own",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b2_notop.h5",
                "1dfe2e7a5d45b6632553a8961ea609eb",
            ),
        ),
        "EfficientNetV2B3": KerasNetwork(
            1536,
            300,
            "own",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b3_notop.h5",
                "f6abf7b5849ac99a89b50dd3fd532856",
            ),
        ),
        "EfficientNetV2L": KerasNetwork(
            1280,
            480,
            "own",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/efficientnet_v2/efficientnetv2-l_notop.h5",
                "b0b66b5c863aef5b46e8608fe1711615",
            ),
        ),
        "EfficientNetV2M": KerasNetwork(
            1280,
            480,
            "own",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/efficientnet_v2/efficientnetv2-m_notop.h5",
                "1b8dc055df72dde80d614482840fe342",
            ),
        ),
        "EfficientNetV2S": KerasNetwork(
            1280,
            384,
            "own",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/efficientnet_v2/efficientnetv2-s_notop.h5",
                "af0682fb74e8c54910f2d4393339c070",
            ),
        ),
        "InceptionResNetV2": KerasNetwork(
            1536,
            299,
            "tf",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "d19885ff4a710c122648d3b5c3b684e4",
            ),
            min_size=75,
        ),
        "InceptionV3": KerasNetwork(
            2048,
            299,
            "tf",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "bcbd6486424b2319ff4ef7d526e38f63",
            ),
            min_size=75,
        ),
        "MobileNet": KerasNetwork(
            1024,
            224,
            "tf",
            PublishedFile(f"{_HOST}/tensorflow/keras-applications/mobilenet/mobilenet_1_0_224_tf_no_top.h5", ""),
        ),
        "MobileNetV2": KerasNetwork(
            1280,
            224,
            "tf",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
                "",
            ),
        ),
        "MobileNetV3Large": KerasNetwork(
            960,
            224,
            "own",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
                "07fb09a5933dd0c8eaafa16978110389",
            ),
        ),
        "MobileNetV3Small": KerasNetwork(
            576,
            224,
            "own",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
                "d3e8ec802a04aa4fc771ee12a9a9b836",
            ),
        ),
        "NASNetLarge": KerasNetwork(
            4032,
            331,
            "tf",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/nasnet/NASNet-large-no-top.h5",
                "d81d89dc07e6e56530c4e77faddd61b5",
                name="nasnet_large_no_top.h5",
            ),
        ),
        "NASNetMobile": KerasNetwork(
            1056,
            224,
            "tf",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/nasnet/NASNet-mobile-no-top.h5",
                "1ed92395b5b598bdda52abe5c0dbfd63",
                name="nasnet_mobile_no_top.h5",
            ),
        ),
        "ResNet101": KerasNetwork(
            2048,
            224,
            "caffe",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/resnet/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "88cf7a10940856eca736dc7b7e228a21",
            ),
        ),
        "ResNet101V2": KerasNetwork(
            2048,
            224,
            "tf",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/resnet/resnet101v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "c0ed64b8031c3730f411d2eb4eea35b5",
            ),
        ),
        "ResNet152": KerasNetwork(
            2048,
            224,
            "caffe",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/resnet/resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "ee4c566cf9a93f14d82f913c2dc6dd0c",
            ),
        ),
        "ResNet152V2": KerasNetwork(
            2048,
            224,
            "tf",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/resnet/resnet152v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "ed17cf2e0169df9d443503ef94b23b33",
            ),
        ),
        "ResNet50": KerasNetwork(
            2048,
            224,
            "caffe",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "4d473c1dd8becc155b73f8504c6f6626",
            ),
        ),
        "ResNet50V2": KerasNetwork(
            2048,
            224,
            "tf",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "fac2f116257151a9d068a22e544a4917",
            ),
        ),
        "VGG16": KerasNetwork(
            512,
            224,
            "caffe",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "6d6bbae143d832006294945121d1f1fc",
            ),
        ),
        "VGG19": KerasNetwork(
            512,
            224,
            "caffe",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "253f8cb515780f3b799900260a226db6",
            ),
        ),
        "Xception": KerasNetwork(
            2048,
            299,
            "tf",
            PublishedFile(
                f"{_HOST}/tensorflow/keras-applications/xception/xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
                "b0042744bf5b25fce3cb969f33bebb97",
            ),
            min_size=71,
        ),
    }
)


def preprocessed(images: Any, mode: Preprocessing, name: str = PREPROCESSING) -> Any:
    """Images with values from 0 to 255, preprocessed by layers of Keras' own, which plain Keras can load.

    They stay in float32 under mixed precision: 0 to 255 is coarse in float16.
    """
    import keras

    scale: Any
    offset: Any
    if mode == "own":
        return images
    if mode == "caffe":  # blue, green, red, minus the means
        images, scale, offset = keras.ops.flip(images, axis=-1), 1.0, [-103.939, -116.779, -123.68]
    elif mode == "tf":  # -1 to 1
        scale, offset = 1 / 127.5, -1.0
    else:
        scale = [1 / 255 / deviation for deviation in DEVIATIONS]
        offset = [-mean / deviation for mean, deviation in zip(MEANS, DEVIATIONS, strict=True)]
    return keras.layers.Rescaling(scale, offset=offset, name=name, dtype="float32")(images)


def build(image_size: int, *, name: str, load: Callable[[keras.Model], None]) -> keras.Model:
    """A network with its preprocessing and global average pooling.

    Args:
        image_size: side in pixels.
        name: its name in ``keras.applications``.
        load: sets its weights.

    Raises:
        BadRequestError: the images are too small for it.
    """
    network = NETWORKS[name]
    if image_size < network.min_size:
        raise BadRequestError(
            f"backbone keras:{name} needs photos of at least {network.min_size} × {network.min_size} pixels, not "
            f"{image_size}; run `flowernoise prepare` with --image-size {network.min_size} or more"
        )
    import keras

    images = keras.Input((image_size, image_size, 3), name="images")
    inputs = preprocessed(images, network.preprocessing)
    application = getattr(keras.applications, name)
    model = application(include_top=False, weights=None, pooling="avg", input_tensor=inputs)
    if normalises(name):
        model = keras.models.clone_model(model, clone_function=_without_normalization)
    features = keras.layers.Activation("linear", dtype="float32", name="features")(model.output)
    model = keras.Model(model.inputs[0], features, name=name)
    _rename(model)
    load(model)
    return model


def normalises(name: str) -> bool:
    """Whether Keras stores the network's preprocessing in its weights: means, and deviations as variances.

    Keras makes up for the latter with a further layer if, and only if, it loads ImageNet's weights itself. Together,
    its layers do what mode ``torch`` does, so that takes their place here.
    """
    return name.startswith("EfficientNetB")


def _without_normalization(layer: Any) -> Any:
    import keras

    if layer.name != PREPROCESSING and isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization)):
        return keras.layers.Identity()
    return type(layer).from_config(layer.get_config())


def _rename(model: keras.Model) -> None:
    """Names layers without a name of their own by their place: Keras counts them over all networks of a process."""
    for place, layer in leaves(model):
        if layer.name.rstrip("_0123456789") == place.rpartition("/")[2].rstrip("_0123456789"):
            layer.name = place
