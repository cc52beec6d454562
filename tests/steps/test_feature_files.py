"""``features``: one's own features are stored by photo, and train exactly as if they had been extracted here."""

import importlib.util
import os
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from flowernoise.catalogue.backbones import backbones
from flowernoise.errors import BadRequestError, DamagedFileError, FlowernoiseError
from flowernoise.progress import Silent
from flowernoise.safe import images
from flowernoise.steps.corrupt import CorruptSettings, corrupt
from flowernoise.steps.evaluate import evaluate
from flowernoise.steps.export import export
from flowernoise.steps.feature_files import features
from flowernoise.steps.prepare import PrepareSettings, prepare
from flowernoise.steps.settings import ExportSettings, FeaturesSettings
from flowernoise.steps.status import status
from flowernoise.steps.train import TrainSettings, train
from flowernoise.steps.verify import verify
from flowernoise.store.artifacts import Artifacts
from flowernoise.store.photos import Archive

PYARROW = importlib.util.find_spec("pyarrow") is not None
TRAIN = {"losses": ("ce",), "learning_rates": (1e-2,), "l2": (0.0,), "epochs": 2}


@pytest.fixture(autouse=True)
def _tiny(tiny_backbone: None) -> None:
    """The backbone ``tiny`` is there."""


def bring(directory: Path, file: Path, name: str = "mine"):
    return features(directory, FeaturesSettings(import_=file, name=name), Silent())


def take(directory: Path, file: Path, backbone: str = "tiny"):
    return features(directory, FeaturesSettings(backbone=backbone, export=file), Silent())


def rows_of(directory: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Ids, paths and made-up features of the prepared photos."""
    photos = Artifacts(directory).photos
    made = np.random.default_rng(1).normal(size=(len(photos), 5)).astype(np.float32)
    return [photo.id for photo in photos], [photo.path for photo in photos], made


# What is exported can be imported again ───────────────────────────────────────────────────────────────────────────────


def test_exported_features_train_the_same_heads_when_imported(prepared: Path, tmp_path: Path) -> None:
    file = tmp_path / "features.npz"
    first = take(prepared, file)
    assert (first.photos, first.dimension, first.extracted, first.done_before) == (36, 8, 36, False)
    again = take(prepared, file)
    assert (again.extracted, again.done_before) == (0, True)
    assert bring(prepared, file).done_before is False
    for backbone in ("tiny", "features:mine"):
        train(prepared, TrainSettings(backbone=backbone, **TRAIN), Silent())
    evaluate(prepared, Silent())
    held = Artifacts(prepared)
    theirs, ours = (held.runs(backbone=name, noise="symmetric")[0] for name in ("tiny", "features:mine"))
    np.testing.assert_array_equal(ours.probabilities("test"), theirs.probabilities("test"))
    assert theirs.probabilities("test").std() > 0
    assert ours.block.setup.extractor == "given"
    assert not verify(prepared, Silent(), mend=False).problems
    for suffix in (".h5", ".hdf5", ".npy", ".parquet") if PYARROW else (".h5", ".hdf5", ".npy"):
        take(prepared, file.with_suffix(suffix))
        assert bring(prepared, file.with_suffix(suffix)).done_before, suffix  # these rows, to the bit


def test_features_of_plain_keras_equal_our_own_extraction(prepared: Path, tmp_path: Path) -> None:
    import keras

    spec, held = "keras:VGG16,weights=none", Artifacts(prepared)
    network = keras.applications.VGG16(weights=None, include_top=False, pooling="avg", input_shape=(32, 32, 3))
    network.set_weights(backbones.parse(spec)().build(32).get_weights())
    encoded = Archive(held.layout.photos, held.dataset.archive).read(held.photos)
    pixels = np.stack([images.decode(data, 32) for data in encoded]).astype(np.float32)
    extracted = network.predict(keras.applications.vgg16.preprocess_input(pixels), verbose=0)
    np.savez(tmp_path / "x.npz", path=[photo.path for photo in held.photos], features=extracted)
    bring(prepared, tmp_path / "x.npz")
    for backbone, name in ((spec, "ours"), ("features:mine", "theirs")):
        take(prepared, tmp_path / f"{name}.npy", backbone)
    ours, theirs = (np.load(tmp_path / f"{name}.npy") for name in ("ours", "theirs"))
    assert ours.shape == (36, 512)
    assert (theirs.std(axis=0) > 0).mean() > 0.5  # it tells photos apart
    np.testing.assert_allclose(theirs, ours, atol=1e-5 * np.abs(ours).max(), rtol=0)


def test_rows_are_found_by_path_or_id_in_any_order(prepared: Path, tmp_path: Path) -> None:
    ids, paths, made = rows_of(prepared)
    order = np.random.default_rng(0).permutation(len(ids))
    np.savez(tmp_path / "ids.npz", ids=np.array(ids)[order], features=made[order])
    np.savez(tmp_path / "paths.npz", path=[f"/elsewhere/{paths[k]}" for k in order], features=made[order].astype(float))
    np.save(tmp_path / "order.npy", made)
    bring(prepared, tmp_path / "ids.npz")
    with h5py.File(tmp_path / "texts.h5", "w") as file:  # texts of variable length, as h5py writes them
        file["path"], file["features"] = paths, made
    for other in ("paths.npz", "order.npy", "texts.h5"):  # the same rows
        assert bring(prepared, tmp_path / other).done_before
    take(prepared, tmp_path / "back.npz", "features:mine")
    with np.load(tmp_path / "back.npz") as back:
        np.testing.assert_array_equal(back["features"], made)
        assert back["id"].tolist() == ids
        assert back["path"].tolist() == paths


def test_another_split_uses_the_same_import(prepared: Path, photo_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", rows_of(prepared)[2])
    bring(prepared, tmp_path / "x.npy")
    assert [(each.backbone, each.photos, each.state) for each in status(prepared).features] == [
        ("features:mine", 36, "done")
    ]
    by_id = dict(zip(*rows_of(prepared)[::2], strict=True))
    prepare(prepared, PrepareSettings(str(photo_folder), train=20, val=8, test=8, image_size=64, seed=3), Silent())
    corrupt(prepared, CorruptSettings(rates=(0.5,), seeds=1), Silent())
    take(prepared, tmp_path / "back.npz", "features:mine")
    with np.load(tmp_path / "back.npz") as back:
        np.testing.assert_array_equal(back["features"], np.stack([by_id[id] for id in back["id"]]))
    train(prepared, TrainSettings(backbone="features:mine", **TRAIN), Silent())


def test_noise_models_can_look_at_imported_features(prepared: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", rows_of(prepared)[2])
    bring(prepared, tmp_path / "x.npy")
    result = corrupt(
        prepared, CorruptSettings(noise=("instance:backbone=features:mine",), rates=(0.5,), seeds=1), Silent()
    )
    assert result.made == 1


# What is wrong ────────────────────────────────────────────────────────────────────────────────────────────────────────


def wrong_files(folder: Path, ids: list[str], paths: list[str], made: np.ndarray) -> dict[Path, str]:
    """Files that must be refused, and what the message says."""
    nan, strange = made.copy(), np.empty((len(made), 1), dtype=object)
    nan[3, 1], strange[:] = np.nan, os.system
    infinite = made.astype(np.float64)
    infinite[2, 0] = 1e300  # finite only in double precision
    written: dict[Path, str] = {}

    def npz(message: str, **arrays: object) -> None:
        path = folder / f"{len(written)}.npz"
        np.savez(path, **arrays)
        written[path] = message

    def npy(message: str, array: np.ndarray) -> None:
        path = folder / f"{len(written)}.npy"
        np.save(path, array)
        written[path] = message

    npy("holds 35 rows for 36 photos", made[1:])
    npy("must be real numbers", made.astype(int))
    npy("must be a table of photos × numbers, not 36", made[:, 0])
    npy("array of objects, which could run code", strange)
    npy("of row 3 are not finite", nan)
    npz(f"features of {paths[3]!r} are not finite", path=paths, features=nan)
    npz("not finite in single precision", path=paths, features=infinite)
    npz("no photo of this data set has the id or path 'nowhere.jpg'", path=["nowhere.jpg", *paths[1:]], features=made)
    npz("already has row 0", path=[paths[0], *paths[:-1]], features=made)
    npz(f"no row for 1 of the 36 photos, such as {paths[0]}", id=ids[1:], features=made[1:])
    npz("path must be one row of texts", path=paths[1:], features=made)
    npz("has neither id nor path", names=paths, features=made)
    npz("has no features; it has embeddings, path", path=paths, embeddings=made)
    npz("array of objects, which could run code", path=paths, features=strange)
    huge = folder / "huge.npy"
    with huge.open("wb") as stream:  # 36 GiB in 128 bytes
        np.lib.format.write_array_header_1_0(stream, {"shape": (36, 1 << 28), "fortran_order": False, "descr": "<f4"})
    assert huge.stat().st_size == 128
    written[huge] = "not an NPY file of a plain array"
    for name, data in (
        ("text.npz", b"PK\x03\x04"),
        ("text.npy", b"hello"),
        ("text.h5", b"\x89HDF\r\n"),
        ("none.h5", b""),
    ):
        (folder / name).write_bytes(data)
        written[folder / name] = f"is not an {'HDF5' if name.endswith('h5') else name[-3:].upper()} file"
    return written


def test_wrong_files_are_refused_in_one_line_and_nothing_is_stored(prepared: Path, tmp_path: Path) -> None:
    for file, message in wrong_files(tmp_path, *rows_of(prepared)).items():
        with pytest.raises(BadRequestError, match=re.escape(message)) as caught:
            bring(prepared, file)
        assert "\n" not in str(caught.value)
        assert str(file) in str(caught.value)
    assert not (prepared / "own_features").exists()


def test_hdf5_files_that_lead_elsewhere_are_refused(prepared: Path, tmp_path: Path) -> None:
    _, paths, made = rows_of(prepared)
    outside = tmp_path / "outside.h5"
    with h5py.File(outside, "w") as file:
        file["features"] = made

    def link(file: h5py.File) -> None:
        file["features"] = h5py.ExternalLink(str(outside), "features")

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(made.shape, made.dtype)
        layout[:] = h5py.VirtualSource(str(outside), "features", made.shape)
        file.create_virtual_dataset("features", layout)

    def compressed(file: h5py.File) -> None:
        file.create_dataset("features", data=made, compression="gzip")

    for number, write in enumerate((link, virtual, compressed)):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            file["path"] = paths
            write(file)
        with pytest.raises(BadRequestError, match=r"is not an HDF5 file of plain arrays: /?features is"):
            bring(prepared, path)


def test_wrong_parquet_is_refused(prepared: Path, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    from pyarrow import parquet

    _, paths, made = rows_of(prepared)
    uneven = [*made.tolist()[:-1], [1.0]]
    for table, message in (
        ({"path": paths, "features": uneven}, "lists of the same length"),
        ({"path": paths, "features": made[:, 0].tolist()}, "must be a column of lists of floats, not double"),
        ({"path": [*paths[:-1], None], "features": made.tolist()}, "path must be a text in every row"),
        ({"path": paths, "features": [*made.tolist()[:-1], None]}, "lists of the same length"),
    ):
        parquet.write_table(arrow.table(table), tmp_path / "x.parquet")
        with pytest.raises(BadRequestError, match=message):
            bring(prepared, tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadRequestError, match="is not a Parquet file"):
        bring(prepared, tmp_path / "x.parquet")


def test_parquet_without_pyarrow_says_how_to_install_it(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "x.parquet").write_bytes(b"")
    with pytest.raises(FlowernoiseError, match=re.escape("pip install 'flowernoise[parquet]'")):
        bring(prepared, tmp_path / "x.parquet")


def test_a_name_stands_for_one_content(prepared: Path, tmp_path: Path) -> None:
    made = rows_of(prepared)[2]
    np.save(tmp_path / "x.npy", made)
    np.save(tmp_path / "y.npy", made + 1)
    bring(prepared, tmp_path / "x.npy")
    with pytest.raises(BadRequestError, match=r"--name mine: other features .* choose another name"):
        bring(prepared, tmp_path / "y.npy")
    with pytest.raises(BadRequestError, match=r"--name '\.\./x' must be"):
        bring(prepared, tmp_path / "y.npy", "../x")
    bring(prepared, tmp_path / "y.npy", "yours")
    with pytest.raises(BadRequestError, match=r"features:your: .*did you mean yours\?.*there are: mine, yours"):
        train(prepared, TrainSettings(backbone="features:your", **TRAIN), Silent())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"import_": Path("x.npy")}, "--import needs --name NAME"),
        ({"name": "x"}, "--name needs --import FILE"),
        ({"import_": Path("x.npy"), "name": "x", "backbone": "tiny"}, "--import and --backbone contradict"),
        ({"import_": Path("x.npy"), "name": "x", "export": Path("y.npy")}, "--import and --export contradict"),
        ({"export": Path("x.csv")}, r"--export.*must end in \.npy, \.npz, \.h5, \.hdf5 or \.parquet"),
        ({"import_": Path("x.csv"), "name": "x"}, "--import.*must end in"),
    ],
)
def test_options_that_make_no_sense_together(prepared: Path, settings: dict, message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        features(prepared, FeaturesSettings(**settings), Silent())


def test_imported_features_are_no_network(prepared: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", rows_of(prepared)[2])
    bring(prepared, tmp_path / "x.npy")
    train(prepared, TrainSettings(backbone="features:mine", **TRAIN), Silent())
    for backbone in ("features:mine", None):  # None: that of the last runs
        with pytest.raises(BadRequestError, match="--mode finetune needs a network, but features:mine is features"):
            train(prepared, TrainSettings(backbone=backbone, mode="finetune"), Silent())
    asked = ExportSettings(loss="ce", output=tmp_path / "model.keras")
    with pytest.raises(BadRequestError, match="a model for photos needs a network, but features:mine is features"):
        export(prepared, asked, Silent())


def test_new_photos_have_no_row(prepared: Path, photo_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", rows_of(prepared)[2])
    bring(prepared, tmp_path / "x.npy")
    more = tmp_path / "more"
    shutil.copytree(photo_folder, more)
    from PIL import Image

    folder = next(path for path in sorted(more.iterdir()) if path.is_dir())
    Image.fromarray(np.full((40, 40, 3), 7, np.uint8)).save(folder / "new.png")
    prepare(prepared, PrepareSettings(str(more), train=25, val=6, test=6, image_size=32), Silent())
    corrupt(prepared, CorruptSettings(rates=(0.5,), seeds=1), Silent())
    assert [each.state for each in status(prepared).features] == ["stale"]
    with pytest.raises(BadRequestError, match=r"features:mine has no row for 1 of the 37 photos, such as .*new\.png"):
        train(prepared, TrainSettings(backbone="features:mine", **TRAIN), Silent())


def test_damage_is_found_and_importing_again_mends_it(prepared: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", rows_of(prepared)[2])
    bring(prepared, tmp_path / "x.npy")
    (shard,) = (prepared / "own_features").glob("*.h5")
    data = bytearray(shard.read_bytes())
    data[-3] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DamagedFileError, match="--import FILE --name mine` stores them again"):
        train(prepared, TrainSettings(backbone="features:mine", **TRAIN), Silent())
    (problem,) = verify(prepared, Silent(), mend=False).problems
    assert "--import" in problem.way_out
    assert not bring(prepared, tmp_path / "x.npy").done_before
    assert not verify(prepared, Silent(), mend=False).problems
