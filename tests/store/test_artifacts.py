"""The artifacts directory as a whole: no folder of it is a link, and a failure leaves nothing behind."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import astuple

from flowernoise.errors import BadRequestError, DamagedFileError, ExitCode, FlowernoiseError
from flowernoise.progress import Silent
from flowernoise.steps.corrupt import corrupt
from flowernoise.steps.prepare import PrepareSettings, prepare
from flowernoise.steps.settings import CorruptSettings
from flowernoise.store import artifacts, claims, datasets, files, handles, runs
from flowernoise.store.artifacts import Artifacts
from flowernoise.store.layout import Layout
from flowernoise.store.records import Choice, RunKey
from tests.fabricated import a_block, a_run, a_setup

FOLDERS = [folder.name for folder in Layout(Path()).folders]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "artifacts")


# Links


def test_every_folder_of_the_layout_is_looked_at(layout: Layout) -> None:
    given = {value for name in dir(Layout) if isinstance(value := getattr(layout, name, None), Path)}
    of_files = {layout.root, layout.dataset, layout.evaluation, layout.preset}
    assert given - of_files <= set(layout.folders)


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("leads", ["to a folder", "nowhere", "in a circle", "within"])
def test_a_folder_that_is_a_link_is_refused_with_the_way_out(
    layout: Layout, tmp_path: Path, name: str, leads: str
) -> None:
    layout.root.mkdir()
    elsewhere = {"nowhere": tmp_path / "x", "in a circle": layout.root / name, "within": layout.root / "real"}
    target = elsewhere.get(leads, tmp_path / "elsewhere")
    if leads in ("to a folder", "within"):
        target.mkdir()
    (layout.root / name).symlink_to(target, target_is_directory=True)
    with pytest.raises(FlowernoiseError) as caught:
        artifacts.opened(layout.root)
    assert caught.value.exit_code is ExitCode.COULD_NOT
    assert str(caught.value).startswith(f"{layout.root / name} is a symbolic link, ")
    assert "move the whole directory" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("made", [True, False])
def test_a_root_may_be_a_link_and_need_not_be_there(layout: Layout, tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "big disk").mkdir()
    layout.root.symlink_to(tmp_path / "big disk")
    assert artifacts.opened(layout.root) == layout
    assert artifacts.opened(tmp_path / "none") == Layout(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", ["file", "pipe", "link to a file"])
def test_something_else_of_that_name_is_a_bad_request(layout: Layout, tmp_path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(layout.root)
    elif kind == "file":
        layout.root.touch()
    else:
        (tmp_path / "file").touch()
        layout.root.symlink_to(tmp_path / "file")
    with pytest.raises(BadRequestError, match=r"artifacts is not a directory; give another with --artifacts$"):
        artifacts.opened(layout.root)


def test_a_directory_that_cannot_be_looked_into_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(FlowernoiseError, match=r"cannot read .*: File name too long"):
        artifacts.opened(tmp_path / ("x" * 300))


# What it holds


def test_draws_are_picked_by_noise_rate_and_seed(finished: Path) -> None:
    held = Artifacts(finished)
    assert [(draw.noise, draw.rate, draw.seed) for draw in held.draws()] == [
        (noise, rate, seed) for noise, rate in (("none", 0), ("symmetric", 0.2), ("symmetric", 0.4)) for seed in (0, 1)
    ]
    assert [draw.seed for draw in held.draws(noise="symmetric", rate=0.4)] == [0, 1]
    assert [(draw.rate, draw.seed) for draw in held.draws(noise="symmetric", seed=1)] == [(0.2, 1), (0.4, 1)]
    assert len(held.draws(noise="control")) == 2
    assert held.draws(noise="none", rate=0.2) == ()


def test_a_draw_has_its_labels_and_which_are_wrong(finished: Path) -> None:
    held = Artifacts(finished)
    [draw] = held.draws(noise="symmetric", rate=0.4, seed=1)
    for split, labels, flipped in (
        ("train", draw.train_labels, draw.train_flipped),
        ("val", draw.val_labels, draw.val_flipped),
    ):
        assert labels.shape == flipped.shape == (sum(photo.split == split for photo in held.photos),)
        np.testing.assert_array_equal(flipped, labels != held.labels(split))
    assert draw.realised_rate == draw.train_flipped.mean() == 0.4
    assert draw.transition_matrix.shape == draw.realised_transition_matrix.shape == (5, 5)
    np.testing.assert_allclose(draw.transition_matrix.sum(axis=1), 1)


def test_runs_are_picked_by_draw_loss_and_any_setting(finished: Path) -> None:
    held = Artifacts(finished)
    assert len(held.runs()) == 12
    everything = {"backbone": "resnet50", "mode": "features", "epochs": 1, "batch_size": 32, "optimizer": "adam"}
    [run] = held.runs(noise="symmetric", rate=0.4, seed=0, loss="mae", learning_rate=[0.001], l2=0, **everything)
    assert (run.noise, run.rate, run.seed, run.loss, run.failure) == ("symmetric", 0.4, 0, "mae", None)
    assert run.settings.items() >= everything.items()
    assert run.choices["last"].epoch == 1


def test_a_run_answers_what_was_stored(finished: Path) -> None:
    held = Artifacts(finished)
    dataset = datasets.need(held.layout)
    for run in held.runs(seed=1):
        kept = runs.read_predictions(held.layout, dataset, run.block)
        selected, oracle = (run.block.selections.index(name) for name in ("selected", "oracle"))
        np.testing.assert_array_equal(run.probabilities(), kept["test_probabilities"][run.row, selected])
        np.testing.assert_array_equal(
            run.probabilities("val", select="oracle"), kept["val_probabilities"][run.row, oracle]
        )
        np.testing.assert_array_equal(run.predicted(), run.probabilities("test").argmax(axis=1))
        np.testing.assert_array_equal(run.predicted("train"), kept["train_predicted"][run.row, selected])
        assert {name: values.shape for name, values in run.history.items()} == dict.fromkeys(
            ("loss", "val_accuracy", "val_loss", "test_accuracy", "memorised"), (1,)
        )


@pytest.mark.parametrize(("kept", "reads"), [(handles.MAX_KEPT, 2), (0, 6)])
def test_each_block_is_read_once_while_there_is_room(
    finished: Path, monkeypatch: pytest.MonkeyPatch, kept: int, reads: int
) -> None:
    read, whole = [], runs.read_predictions
    monkeypatch.setattr(runs, "read_predictions", lambda *given: (read.append(given[2].arrays), whole(*given))[1])
    monkeypatch.setattr(handles, "MAX_KEPT", kept)
    for run in Artifacts(finished).runs():  # by noise and rate: three times seed 0, then 1
        run.probabilities()
    assert (len(read), len(set(read))) == (reads, 2)


def test_results_are_a_row_a_run_with_the_accuracy_of_its_answers(finished: Path) -> None:
    held = Artifacts(finished)
    rows = held.results(select="last")
    assert len(rows) == len(held.runs())
    for row in rows:
        [run] = held.runs(**{key: row[key] for key in ("noise", "rate", "seed", "loss", "backbone", "epochs")})
        right = run.predicted("test", select="last") == held.labels("test")
        assert row["accuracy"] == pytest.approx(right.mean())
        assert row["select"] == "last"
    assert {row["select"] for row in held.results()} == {"selected"}
    json.dumps(rows)  # plain values


def test_features_are_those_of_the_photos(finished: Path) -> None:
    held = Artifacts(finished)
    [features] = held.features(backbone="resnet50")
    assert (features.backbone, features.array.shape, features.array.dtype) == ("resnet50", (60, 3), np.float32)
    np.testing.assert_array_equal(features.of("val"), features.array[40:50])


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda held: held.draws(nois="symmetric"), r"draws\(\) takes no nois=… \(did you mean noise\?\); it takes: "),
        (
            lambda held: held.runs(epoch=3),
            r"runs\(\) takes no epoch=… \(did you mean epochs\?\); it takes: noise, rate",
        ),
        (lambda held: held.features(backbon="x"), r"features\(\) takes no backbon=… \(did you mean backbone\?\)"),
        (
            lambda held: held.draws(noise="symetric"),
            r"no draw with noise=symetric \(did you mean symmetric\?\); there are",
        ),
        (lambda held: held.draws(rate=0.3), r"no draw with rate=0.3; there are: 0, 0.2, 0.4"),
        (lambda held: held.runs(loss="gce"), r"no run with loss=gce \(did you mean ce\?\); there are: ce, mae"),
        (lambda held: held.features(backbone="vgg"), r"no features with backbone=vgg; there are: resnet50"),
        (
            lambda held: held.labels("tests"),
            r"there is no 'tests' \(did you mean test\?\); there are: train, val, test",
        ),
        (lambda held: held.runs()[0].probabilities("train"), r"use predicted\('train'\)"),
        (
            lambda held: held.runs()[0].predicted(select="best"),
            r"there is no 'best'; there are: selected, last, oracle",
        ),
        (lambda held: held.results(select="best"), r"select='best' is not one of: selected, last, oracle"),
    ],
)
def test_what_is_not_there_is_named_with_the_nearest(
    finished: Path, ask: Callable[[Artifacts], object], says: str
) -> None:
    with pytest.raises(BadRequestError, match=says):
        ask(Artifacts(finished))


def test_a_directory_without_a_data_set_says_what_comes_first(layout: Layout) -> None:
    held = Artifacts(layout.root)
    for ask in (lambda: held.dataset, held.draws, held.runs, held.features, held.results, lambda: held.photos):
        with pytest.raises(BadRequestError, match=r"nothing is prepared in .*; run `flowernoise prepare` first"):
            ask()
    assert not layout.root.exists()


def test_what_is_added_later_is_seen_and_damage_is_raised(finished: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(finished, tmp_path / "copy"))
    held = Artifacts(root)
    before = len(held.draws())
    corrupt(root, CorruptSettings(rates=(0.6,), seeds=1), Silent())
    assert len(held.draws()) == before + 1
    for path in held.layout.draws.glob("*.h5"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match="holds"):
        held.draws()[0].train_labels  # noqa: B018


def test_a_network_has_predictions_and_history_like_a_head_and_a_failed_run_has_none(
    finished: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(finished, tmp_path / "copy"))
    held = Artifacts(root)
    drawn, setup = held.draws(seed=0)[0], a_setup(mode="finetune", image_size=16)
    arrays = {
        "test_probabilities": np.full((1, 1, 10, 5), 0.2, dtype=np.float32),
        "val_probabilities": np.full((1, 1, 10, 5), 0.2, dtype=np.float32),
        "train_predicted": np.zeros((1, 1, 40), dtype=np.uint8),
    } | {name: np.full((1, setup.epochs), 0.5, dtype=np.float32) for name in runs.HISTORY_ARRAYS}
    made = [a_run(RunKey(*astuple(drawn.key), "gce", setup), drawn.draw.labels, (Choice(0.001, 0.0, 5),))]
    runs.write(held.layout, a_block(held.dataset.id, made, setup), arrays)
    [run] = held.runs(mode="finetune")
    assert (run.usual, run.probabilities().shape, run.history["memorised"].tolist()) == ("last", (10, 5), [0.5] * 5)
    failed = [a_run(RunKey(*astuple(drawn.key), "sce", setup), drawn.draw.labels, (), "diverged")]
    runs.write(held.layout, a_block(held.dataset.id, failed, setup), arrays)
    [run] = held.runs(loss="sce")
    assert (run.failure, run.choices) == ("diverged", {})
    with pytest.raises(BadRequestError, match="training sce on labels without noise, seed 0 failed: diverged"):
        run.predicted("train")


def test_looking_loads_no_tensorflow_and_writes_nothing(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    program = (
        "import sys, flowernoise; held = flowernoise.Artifacts(sys.argv[1]); assert 'h5py' not in sys.modules;"
        "held.runs()[0].probabilities(); held.draws()[0].train_labels; held.results();"
        "assert not {'tensorflow', 'keras', 'jax', 'torch', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(finished)], check=True)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


# What a failure leaves


def fail(layout: Layout, error: type[BaseException], *names: str) -> None:
    """A step that makes folders and files, works in the directory, and fails."""
    with artifacts.kept_empty_on_failure(layout):
        for name in names:
            files.write_plain(layout.root / name, b"x")
            if name.endswith("gone"):
                (layout.root / name).unlink()
        with claims.exclusive(layout, "prepare", Silent()):
            raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_folders_that_a_failure_leaves_empty_are_removed(layout: Layout, error: type[BaseException]) -> None:
    with pytest.raises(error):
        fail(layout, error, "photos/gone", "draws/gone")
    assert not layout.root.exists()


def test_a_directory_within_new_ones_is_removed(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "new" / "artifacts")
    with pytest.raises(KeyboardInterrupt):
        fail(layout, KeyboardInterrupt, "photos/gone")
    assert not layout.root.exists()


def test_what_was_there_before_a_failure_stays(layout: Layout) -> None:
    layout.draws.mkdir(parents=True)
    (layout.root / "notes.txt").write_text("mine")
    with pytest.raises(KeyboardInterrupt):
        fail(layout, KeyboardInterrupt, "photos/gone", "features/kept")
    there = {path.name for path in layout.root.iterdir()} - {"locks"}
    assert there == {"draws", "features", "notes.txt"}
    assert (layout.features / "kept").exists()


def test_success_leaves_everything(layout: Layout) -> None:
    with artifacts.kept_empty_on_failure(layout):
        layout.photos.mkdir(parents=True)
    assert layout.photos.is_dir()


@pytest.mark.parametrize("there", ["nothing", "an empty directory", "a directory with notes"])
@pytest.mark.parametrize("problem", ["too few photos", "the disk is full"])
def test_a_failed_first_prepare_leaves_what_was_there(
    layout: Layout, photo_folder: Path, monkeypatch: pytest.MonkeyPatch, there: str, problem: str
) -> None:
    if there != "nothing":
        layout.root.mkdir()
    if there == "a directory with notes":
        (layout.root / "notes.txt").write_text("mine")
    before = sorted(layout.root.parent.rglob("*"))
    size = 1000 if problem == "too few photos" else 20

    def full(*_: object) -> None:
        raise FlowernoiseError("cannot write x: No space left on device")

    if problem == "the disk is full":
        monkeypatch.setattr(files, "write_record", full)
    with pytest.raises(FlowernoiseError):
        prepare(layout.root, PrepareSettings(str(photo_folder), train=size, test=10, image_size=32), Silent())
    assert sorted(layout.root.parent.rglob("*")) == before
