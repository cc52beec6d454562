import inspect

import h5py
import numpy as np
import pytest

from flowernoise.catalogue import weight_files
from flowernoise.catalogue.backbones import backbones, unweighted
from flowernoise.catalogue.keras_networks import DEVIATIONS, MEANS, NETWORKS, normalises
from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.safe import downloads, keras_file
from flowernoise.training import classifier

# Keras' own saving of weights meets it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SMALL = ("MobileNetV2", "MobileNetV3Small")
# The smallest of each kind: among them are all preprocessings, and layers that hold layers or that Keras only numbers.
FAMILIES = (
    *("MobileNet", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny", "InceptionV3"),
    *("InceptionResNetV2", "NASNetMobile", "ResNet50", "ResNet50V2", "VGG16", "Xception"),
)


def with_slow(names):
    return [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in names if name not in SMALL)]


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


def spec(name, weights="none"):
    return backbones.parse(f"keras:{name},weights={weights}")


def images_for(name):
    size = max(64, NETWORKS[name].min_size)
    return np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype(np.float32)


def features(model, images):
    import keras

    return keras.ops.convert_to_numpy(model(images, training=False))


def module_of(name):
    import keras

    return inspect.getmodule(inspect.unwrap(getattr(keras.applications, name)))


def plain(name, size, **options):
    """Keras' own network; every array is random, so that no two can be mistaken."""
    import keras

    application = getattr(keras.applications, name)
    model = application(weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3), **options)
    stream = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.set_weights([np.array(MEANS), np.array(DEVIATIONS), np.array(1)])
            layer.finalize_state()
        else:
            layer.set_weights([random_array(stream, array.shape) for array in layer.get_weights()])
    return model


def random_array(stream, shape):
    """Kernels that keep features finite in deep networks; everything else is positive, as variances are."""
    if len(shape) > 1:
        return (stream.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)
    return stream.uniform(0.5, 1.5, shape).astype(np.float32)


def expected_features(name, model, images):
    """What Keras documents: its ``preprocess_input``, then its network."""
    if not normalises(name):
        return features(model, module_of(name).preprocess_input(images.copy()))
    # With ImageNet's weights, Keras divides by the square root of the deviations once more, after its own layers.
    scaled = (images / 255 - MEANS) / np.sqrt(DEVIATIONS) + MEANS
    return features(model, (255 * scaled).astype(np.float32))


# What is known without Keras ──────────────────────────────────────────────────────────────────────────────────────────


def test_every_network_of_keras_is_known(keras):
    theirs = {name for name in dir(keras.applications) if inspect.isfunction(getattr(keras.applications, name))}
    assert set(NETWORKS) == theirs


@pytest.mark.parametrize("name", NETWORKS)
def test_preprocessing_is_what_keras_does(name, keras):
    images = np.random.default_rng(0).uniform(0, 255, (2, 3, 3, 3)).astype(np.float32)
    source = inspect.getsource(module_of(name).preprocess_input)
    modes = [mode for mode in ("tf", "torch", "caffe") if f'mode="{mode}"' in source]
    mode = NETWORKS[name].preprocessing
    if mode == "own" or normalises(name):
        assert not modes
        assert "Rescaling" in inspect.getsource(module_of(name)) or name.startswith("ConvNeXt")
    else:
        assert modes == [mode]
        own = keras.Model(*_through(mode))
        expected = module_of(name).preprocess_input(images.copy())
        np.testing.assert_allclose(features(own, images), expected, atol=1e-4)


def _through(mode):
    import keras

    from flowernoise.catalogue.keras_networks import preprocessed

    images = keras.Input((3, 3, 3))
    return images, preprocessed(images, mode)


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_are_those_of_keras(name, keras, monkeypatch):
    application, asked = getattr(keras.applications, name), {}

    def asked_for(_shape, **options):
        asked.update(options)
        raise InterruptedError

    too_small = NETWORKS[name].min_size - 1
    with pytest.raises(ValueError, match=r"[Ii]nput size must be at least"):
        application(weights=None, include_top=False, input_shape=(too_small, too_small, 3))
    if not name.startswith("MobileNetV3"):  # it has no default size of its own
        monkeypatch.setattr("keras.src.applications.imagenet_utils.obtain_input_shape", asked_for)
        with pytest.raises(InterruptedError):
            application(weights=None, include_top=False)
        assert (asked["default_size"], asked["min_size"]) == (NETWORKS[name].native_size, NETWORKS[name].min_size)


def test_an_unknown_network_is_refused_with_the_nearest_name_and_all_names():
    with pytest.raises(
        BadRequestError, match=r"name=MobilNetV2 is not one of .*Xception \(did you mean MobileNetV2\?\)"
    ):
        backbones.parse("keras:MobilNetV2")
    with pytest.raises(BadRequestError, match=r"\(did you mean MobileNetV2\?\)"):
        backbones.parse("keras:mobilenetv2")
    with pytest.raises(BadRequestError, match="backbone keras needs name, as in keras:name=…"):
        backbones.parse("keras")


def test_photos_that_are_too_small_are_refused_in_one_line():
    with pytest.raises(BadRequestError, match=r"keras:Xception needs photos of at least 71 × 71 pixels, not 64; run"):
        spec("Xception")().build(64)


def test_without_a_network_the_ways_on_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_files, "keras_folders", lambda: (tmp_path,))
    monkeypatch.setattr(downloads, "status", lambda *_: None)
    with pytest.raises(FlowernoiseError) as caught:
        backbones.parse("keras:MobileNetV2")()
    assert "cannot download the ImageNet weights of keras:MobileNetV2: storage.googleapis.com does not" in str(
        caught.value
    )
    assert "--backbone keras:MobileNetV2,weights=PATH" in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_can_be_built(name):
    images = images_for(name)
    found = features(spec(name)().build(images.shape[1]), images)
    assert found.shape == (2, NETWORKS[name].features)
    assert np.isfinite(found).all()
    assert found.std() > 0


# The networks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", with_slow(FAMILIES))
def test_features_are_those_of_keras_from_files_of_either_layout(name, keras, tmp_path):
    images = images_for(name)
    reference = plain(name, images.shape[1])
    expected = expected_features(name, reference, images)
    assert expected.shape[1] == NETWORKS[name].features
    assert np.isfinite(expected).all()
    reference.save_weights(tmp_path / "keras3.weights.h5")
    with h5py.File(tmp_path / "keras2.h5", "w") as file:
        keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group(file, reference)
    for file in ("keras3.weights.h5", "keras2.h5"):
        backbone = spec(name, tmp_path / file)()
        assert len(backbone.weights_digest) == 64
        found = features(backbone.build(images.shape[1]), images)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", with_slow(FAMILIES))
def test_random_weights_are_always_the_same_and_plain_keras_loads_the_export(name, keras, tmp_path):
    images, size = images_for(name), images_for(name).shape[1]
    model = classifier.build(spec(name)().build, size, 3)
    again = classifier.build(unweighted(f"keras:{name},weights=/missing").build, size, 3)
    names = [layer.name for _, layer in keras_file.leaves(model)]
    assert names == [layer.name for _, layer in keras_file.leaves(again)]
    assert len(set(names)) == len(names)
    found = features(keras.Model(model.input, model.get_layer("features").output), images)
    assert np.isfinite(found).all()
    assert (found.std(axis=0) > 0).mean() > 0.3
    stream = np.random.default_rng(0)
    model.get_layer("head").set_weights([stream.normal(size=(found.shape[1], 3)), stream.normal(size=3)])
    (tmp_path / "model.keras").write_bytes(keras_file.write(model))
    probabilities = features(model, images)
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(features(loaded, images), probabilities, atol=1e-6)
    file = keras_file.read(tmp_path / "model.keras")
    assert classifier.has_layers(again, file.layers)
    classifier.fill(again, file.arrays)
    np.testing.assert_array_equal(features(again, images), probabilities)


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined or non-square")
@pytest.mark.parametrize("name", with_slow(NETWORKS))
def test_weights_are_fetched_from_where_keras_fetches_them(name, keras, monkeypatch):
    asked = {}

    def get_file(file, url, **options):
        asked.update(options, file=file, url=url)
        raise InterruptedError

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    with pytest.raises(InterruptedError):
        getattr(keras.applications, name)(include_top=False, input_shape=images_for(name).shape[1:])
    own = NETWORKS[name].weights
    assert (own.file, own.url, own.digest or None) == (asked["file"], asked["url"], asked.get("file_hash"))
    assert own.folder == asked.get("cache_subdir", "datasets")


@pytest.mark.parametrize("name", [pytest.param("EfficientNetB0", marks=pytest.mark.slow)])
def test_a_file_with_other_means_than_those_of_imagenet_is_refused(name, tmp_path):
    reference = plain(name, 32)
    reference.layers[2].set_weights([np.zeros(3), np.ones(3), np.array(1)])
    reference.save_weights(tmp_path / "own.weights.h5")
    with pytest.raises(
        BadRequestError, match=r"layer normalization.* does not hold the means and variances of ImageNet"
    ):
        spec(name, tmp_path / "own.weights.h5")().build(32)


def test_weights_of_another_network_are_refused(tmp_path):
    plain("MobileNetV3Small", 32).save_weights(tmp_path / "small.weights.h5")
    with pytest.raises(BadRequestError, match="does not hold weights for MobileNetV2: it has no layer"):
        spec("MobileNetV2", tmp_path / "small.weights.h5")().build(32)
