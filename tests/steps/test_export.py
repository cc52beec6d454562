"""Exported models give what their runs gave, load in plain Keras, and answer to photos; foreign files are refused."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from flowernoise.catalogue.backbones import backbones
from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.progress import Silent
from flowernoise.safe import images
from flowernoise.steps.corrupt import CorruptSettings, corrupt
from flowernoise.steps.export import export
from flowernoise.steps.predict import predict
from flowernoise.steps.prepare import PrepareSettings, prepare
from flowernoise.steps.settings import ExportSettings, PredictSettings
from flowernoise.steps.train import TrainSettings, train
from flowernoise.store.artifacts import Artifacts
from flowernoise.store.photos import Archive
from tests.reliability.command_server import CommandServer, Ended
from tests.reliability.fakes import add_tiny_backbone

pytestmark = pytest.mark.usefixtures("tiny_backbone")
LOSSES = ("ce", "mae", "forward", "elr", "peer")
NOISY = {"noise": "symmetric", "rate": 0.4, "seed": 1}


def exported(root: Path, output: Path, **picked) -> tuple[Path, object]:
    found = export(root, ExportSettings(output=output, **picked), Silent())
    return output, found


def answers(root: Path, model: Path) -> np.ndarray:
    """What plain Keras makes of the test photos of a directory."""
    held = Artifacts(root)
    tested = [photo for photo in held.photos if photo.split == "test"]
    pixels = [images.decode(data, 32) for data in Archive(held.layout.photos, held.dataset.archive).read(tested)]
    loaded = keras.models.load_model(model, safe_mode=True)
    return np.asarray(loaded.predict(np.stack(pixels).astype("float32"), verbose=0))


@pytest.fixture(scope="module")
def root(tiny_backbone: None, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001 (must be there before)
    """Heads of five losses, two seeds and a control on 60 drawn photos, tuned; and of older settings."""
    directory = tmp_path_factory.mktemp("trained")
    prepare(directory, PrepareSettings("synthetic:photos=60", train=30, val=15, test=15, image_size=32), Silent())
    corrupt(directory, CorruptSettings(rates=(0.2, 0.4), seeds=2), Silent())
    settings = TrainSettings(losses=LOSSES, backbone="tiny", epochs=4, batch_size=8)
    train(directory, dataclasses.replace(settings, losses=("ce",), epochs=1), Silent())
    train(directory, settings, Silent())
    return directory


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("select", ["selected", "last"])
def test_the_head_gives_what_the_run_gave(root: Path, tmp_path: Path, loss: str, select: str) -> None:
    path, found = exported(root, tmp_path / "model.keras", loss=loss, select=select, **NOISY)
    assert found.on_features < 1e-5
    [run] = Artifacts(root).runs(loss=loss, epochs=4, **NOISY)
    known = run.probabilities("test", select=select)
    np.testing.assert_allclose(answers(root, path), known, atol=1e-3)  # by OpenVINO, it may be
    assert (found.agreement.photos, found.agreement.alike) == (15, 15)


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A directory of two classes and the exported model of its only run, which has the layers of a real backbone."""
    root = tmp_path_factory.mktemp("two classes") / "a"
    source = PrepareSettings("synthetic:photos=40", positive="roses", train=20, val=0, test=10, image_size=32)
    prepare(root, source, Silent())
    corrupt(root, CorruptSettings(rates=(), noise=(), seeds=1), Silent())
    train(root, TrainSettings(losses=("mae",), backbone="efficientnet_lite0:weights=none", epochs=2), Silent())
    path, found = exported(root, root.parent / "m.keras")
    assert (found.on_features < 1e-5, found.select) == (True, "last")
    return root, path


def test_two_classes_are_exported_too(two_classes: tuple[Path, Path]) -> None:
    root, path = two_classes
    assert json.loads(path.with_suffix(".json").read_text())["classes"] == ["not roses", "roses"]
    [run] = Artifacts(root).runs()
    np.testing.assert_allclose(answers(root, path), run.probabilities("test", select="last"), atol=1e-3)


def test_a_second_export_touches_nothing(root: Path, tmp_path: Path) -> None:
    path, first = exported(root, tmp_path / "model.keras", loss="ce", **NOISY)
    before = {each: each.stat().st_mtime_ns for each in tmp_path.iterdir()}
    _, again = exported(root, path, loss="ce", **NOISY)
    assert (first.done_before, again.done_before) == (False, True)
    assert {each: each.stat().st_mtime_ns for each in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("picked", "message"),
    [
        (
            {},
            r"10 runs fit, which differ in loss \(ce, elr, forward, mae, peer\) and seed \(0, 1\); choose one with ",
        ),
        ({"loss": "ce"}, r"2 runs fit, which differ in seed \(0, 1\); choose one with --seed"),
        ({"loss": "ce", "noise": "symmetric", "seed": 0}, r"differ in rate \(0.2, 0.4\); choose one with --rate"),
        ({"loss": "ce", "seed": 0, "where": ("epochs=1", "epochs=4")}, r"differ in epochs \(1, 4\); .* with --where"),
        ({"loss": "gce"}, "no run has loss=gce; there are: ce, elr"),
        ({"loss": "ce", "seed": 7}, "--seed 7: no matching run; there are: 0, 1"),
        ({"loss": "ce", "rate": 0.2}, "no run has all of them together"),
        ({"loss": "ce", "seed": 0, "where": ("loss=mae",)}, "loss is given twice"),
        ({"output": Path("model.h5")}, "must end in .keras"),
    ],
)
def test_anything_but_one_run_is_refused(root: Path, tmp_path: Path, picked: dict, message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        exported(root, **{"output": tmp_path / "model.keras", **picked})
    assert list(tmp_path.iterdir()) == []


def test_where_picks_as_in_compare(root: Path, tmp_path: Path) -> None:
    where = ("noise=symmetric,rate=0.4,epochs=1",)
    _, found = exported(root, tmp_path / "m.keras", loss="ce", seed=0, where=where)
    assert (found.key.noise, found.key.setup.epochs) == ("symmetric", 1)


def test_classes_never_replace_another_file(root: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(BadRequestError, match="already exists and is something else"):
        exported(root, tmp_path / "dataset.keras", loss="ce", **NOISY)
    assert (tmp_path / "dataset.json").read_text() == "{}"


def test_nothing_trained_is_refused(tmp_path: Path) -> None:
    prepare(tmp_path, PrepareSettings("synthetic:photos=60", image_size=16), Silent())
    with pytest.raises(BadRequestError, match="run `flowernoise train` first"):
        exported(tmp_path, tmp_path / "m.keras")


def test_other_weights_of_the_backbone_are_refused(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "_entries", dict(backbones._entries))
    add_tiny_backbone(weights_digest="none:other")
    with pytest.raises(FlowernoiseError, match=r"are not those that ce on symmetric at 0\.4, seed 1 was trained with"):
        exported(root, tmp_path / "m.keras", loss="ce", **NOISY)


# Fine-tuned networks


def test_a_fine_tuned_network_is_exported_with_its_weights(tmp_path: Path) -> None:
    root = tmp_path / "a"
    prepare(root, PrepareSettings("synthetic:photos=20", train=10, val=0, test=10, image_size=32), Silent())
    corrupt(root, CorruptSettings(rates=(), noise=(), seeds=1), Silent())
    tuned = TrainSettings(losses=("ce",), backbone="tiny", mode="finetune", epochs=1)
    train(root, tuned, Silent())
    with pytest.raises(BadRequestError, match="were not kept; train it again with --keep-weights"):
        exported(root, tmp_path / "m.keras")
    train(root, dataclasses.replace(tuned, keep_weights=True), Silent())
    path, found = exported(root, tmp_path / "m.keras")
    assert found.on_features is None
    assert found.agreement.difference < 1e-5
    assert keras.models.load_model(path, safe_mode=True).output_shape == (None, 5)


# Predictions


@pytest.fixture(scope="module")
def model(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(root, tmp_path_factory.mktemp("model") / "model.keras", loss="ce", **NOISY)[0]


@pytest.fixture(scope="module")
def photos(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The test photos as files."""
    held, folder = Artifacts(root), tmp_path_factory.mktemp("photos")
    tested = [photo for photo in held.photos if photo.split == "test"]
    files = []
    for number, data in enumerate(Archive(held.layout.photos, held.dataset.archive).read(tested)):
        files.append(folder / f"{number}.png")
        files[-1].write_bytes(data)
    return files


def test_predictions_are_those_of_the_run(root: Path, model: Path, photos: list[Path]) -> None:
    found = predict(PredictSettings(model, tuple(photos * 3)), Silent())
    [run] = Artifacts(root).runs(loss="ce", epochs=4, **NOISY)
    known = run.probabilities("test")
    assert [each.path for each in found.photos] == list(map(str, photos * 3))
    np.testing.assert_allclose([each.probabilities for each in found.photos], np.tile(known, (3, 1)), atol=1e-3)
    for each, row in zip(found.photos, np.tile(known, (3, 1)), strict=True):
        assert each.predicted == found.classes[row.argmax()]
        assert each.probability == max(each.probabilities)


def test_photos_that_cannot_be_read_are_named_and_the_rest_is_answered(
    model: Path, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    os.mkfifo(tmp_path / "pipe.jpg")
    wrong = [tmp_path / "text.jpg", tmp_path / "pipe.jpg", tmp_path / "none.jpg", tmp_path]
    found = predict(PredictSettings(model, (wrong[0], photos[0], *wrong[1:], photos[1])), Silent())
    assert [each.path for each in found.photos] == [str(photos[0]), str(photos[1])]
    assert [path for path, _ in found.unreadable] == list(map(str, wrong))
    reasons = ("is not a photo", "is not a regular file", "No such file", "is a directory; give its photos")
    for (_, reason), expected in zip(found.unreadable, reasons, strict=True):
        assert expected in reason


def foreign(folder: Path, build: object) -> Path:
    path = folder / "model.keras"
    build.save(path)
    return path


def a_network(layers: list[object], size: int = 32) -> keras.Model:
    return keras.Sequential([keras.Input((size, size, 3)), *layers])


@pytest.mark.parametrize(
    "layers",
    [
        [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(5, activation="softmax")],
        [keras.layers.Lambda(lambda x: x), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(5)],
    ],
)
def test_models_of_others_are_refused(model: Path, photos: list[Path], tmp_path: Path, layers: list[object]) -> None:
    path = foreign(tmp_path, a_network(layers))
    path.with_suffix(".json").write_bytes(model.with_suffix(".json").read_bytes())
    with pytest.raises(BadRequestError, match="is not a model that `flowernoise export` wrote"):
        predict(PredictSettings(path, (photos[0],)), Silent())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about["classes"].pop(), "has 5 classes, but model.json names 4"),
        (lambda about: about.update(backbone="resnet50"), "it has other layers than resnet50 with a softmax head"),
        (lambda about: about.update(backbone="resnet51"), "unknown backbone 'resnet51'"),
        (lambda about: about.update(image_size=10**9), "lacks classes or an image size"),
        (lambda about: about.update(schema=2), "has schema 2, not 1; use the version that wrote it"),
        (lambda about: about.update(classes="roses"), "is not what `flowernoise export` wrote"),
        (lambda about: about.clear(), "is not what `flowernoise export` wrote"),
    ],
)
def test_classes_of_another_model_are_refused(
    model: Path, photos: list[Path], tmp_path: Path, change, message: str
) -> None:
    about = json.loads(model.with_suffix(".json").read_text())
    change(about)
    (tmp_path / "model.json").write_text(json.dumps(about))
    (tmp_path / "model.keras").write_bytes(model.read_bytes())
    with pytest.raises(BadRequestError) as caught:
        predict(PredictSettings(tmp_path / "model.keras", (photos[0],)), Silent())
    assert message in str(caught.value)


def test_a_model_without_classes_is_refused(model: Path, photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(model.read_bytes())
    with pytest.raises(BadRequestError, match=r"has no model\.json beside it, which names its classes"):
        predict(PredictSettings(tmp_path / "model.keras", (photos[0],)), Silent())
    with pytest.raises(BadRequestError, match="give a model and photos"):
        predict(PredictSettings(model), Silent())


# The real commands


def test_the_commands(root: Path, photos: list[Path], real_commands: CommandServer, tmp_path: Path) -> None:
    def flowernoise(*arguments: str) -> Ended:
        return real_commands.run(*arguments, cwd=tmp_path)

    picked = ("--loss", "mae", "--noise", "symmetric", "--rate", "0.4", "--seed", "0")
    done = flowernoise("export", *picked, "-a", str(root))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.decode().splitlines()[:3] == [
        "model.keras",
        "model.json",
        "mae on symmetric at 0.4, seed 0, selected epoch",
    ]
    again = flowernoise("export", *picked, "-a", str(root), "--json")
    assert "export: done already, nothing touched" in again.stderr
    assert json.loads(again.stdout)["difference_on_features"] < 1e-5
    Image.open(photos[0]).save(tmp_path / "a,b.png")
    shown = flowernoise("predict", "model.keras", "a,b.png", "missing.png", "--probabilities")
    assert shown.returncode == 3
    header, line = shown.stdout.decode().splitlines()
    assert header.startswith("path,predicted,probability,probability_dandelion,")
    assert line.startswith('"a,b.png",')
    assert shown.stderr.splitlines()[-1] == (
        "error: 1 of 2 photos have no prediction; the first, missing.png, cannot be read: No such file or directory"
    )
    plain = json.loads(flowernoise("predict", "model.keras", "a,b.png", "--json").stdout)
    assert [each["path"] for each in plain["photos"]] == ["a,b.png"]
    nothing = flowernoise("predict", "model.keras", "missing.png")
    assert (nothing.returncode, nothing.stdout) == (1, b"path,predicted,probability\n")


def test_plain_keras_loads_it_without_this_program(two_classes: tuple[Path, Path], photos: list[Path]) -> None:
    _, model = two_classes
    code = (
        "import sys, keras, numpy as np\n"
        "from PIL import Image\n"
        "model = keras.models.load_model(sys.argv[1], safe_mode=True)\n"
        "photo = Image.open(sys.argv[2]).convert('RGB').resize((32, 32), Image.Resampling.BILINEAR)\n"
        "answers = model.predict(np.asarray(photo, dtype='float32')[None], verbose=0)[0]\n"
        "assert not any(name.startswith('flowernoise') for name in sys.modules)\n"
        "print(*answers)\n"
    )
    command = [sys.executable, "-c", code, str(model), str(photos[0])]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = predict(PredictSettings(model, (photos[0],)), Silent()).photos[0]
    np.testing.assert_allclose(list(map(float, shown.split())), found.probabilities, atol=1e-5)
