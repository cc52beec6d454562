"""Training on a tiny prepared directory: what is trained, what is left alone, what is kept."""

import contextlib
import dataclasses
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flowernoise.catalogue.backbones import backbones
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.methods import method_of
from flowernoise.errors import BadRequestError, OtherVersionError
from flowernoise.progress import Silent
from flowernoise.steps.corrupt import CorruptSettings, corrupt
from flowernoise.steps.evaluate import evaluate
from flowernoise.steps.prepare import PrepareSettings, prepare
from flowernoise.steps.train import TrainSettings, plan, train
from flowernoise.store import claims, datasets, files, runs
from flowernoise.store.artifacts import Artifacts
from flowernoise.store.claims import Claim
from flowernoise.store.layout import Layout
from flowernoise.store.records import DrawKey, RunKey

pytestmark = pytest.mark.usefixtures("tiny_backbone")
ON_FEATURES = TrainSettings(backbone="tiny", epochs=2, batch_size=8)
FINETUNE = dataclasses.replace(
    ON_FEATURES, mode="finetune", epochs=1, losses=("ce",), head="random", learning_rates=(1e-3,), keep_weights=True
)


class Notes(Silent):
    """Keeps the notes, so that a test can read them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def live_runs(directory: Path) -> dict[runs.RunKey, runs.StoredRun]:
    layout = Layout(directory)
    return runs.live(runs.blocks(layout, datasets.need(layout).id))


def mtimes(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): path.stat().st_mtime_ns for path in directory.rglob("*")}


def probabilities(directory: Path) -> dict[str, np.ndarray]:
    """Test probabilities of every run, by its name."""
    layout = Layout(directory)
    found = {}
    for key, stored in live_runs(directory).items():
        arrays = runs.read_predictions(layout, datasets.need(layout), stored.block)
        found[f"{key.method} {key.draw}"] = arrays["test_probabilities"][stored.row]
    return found


def test_every_draw_is_trained_with_every_loss(prepared: Path) -> None:
    result = train(prepared, ON_FEATURES, Silent())
    assert (result.trained, result.done_before, result.failed) == (4, 0, ())
    assert {(key.method, key.rate) for key in live_runs(prepared)} == {
        ("ce", 0.0),
        ("ce", 0.5),
        ("mae", 0.0),
        ("mae", 0.5),
    }


def test_a_second_time_touches_nothing(prepared: Path) -> None:
    train(prepared, ON_FEATURES, Silent())
    before = mtimes(prepared)
    result = train(prepared, ON_FEATURES, Silent())
    assert (result.trained, result.done_before) == (0, 4)
    assert mtimes(prepared) == before


def test_the_same_command_gives_the_same_numbers(prepared: Path) -> None:
    train(prepared, ON_FEATURES, Silent())
    first = probabilities(prepared)
    for path in (prepared / "runs").iterdir():
        path.unlink()
    train(prepared, ON_FEATURES, Silent())
    again = probabilities(prepared)
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_another_loss_is_added_and_leaves_the_others_alone(prepared: Path) -> None:
    train(prepared, dataclasses.replace(ON_FEATURES, losses=("ce",)), Silent())
    before = mtimes(prepared / "runs")
    result = train(prepared, dataclasses.replace(ON_FEATURES, losses=("ce", "mae")), Silent())
    assert (result.trained, result.done_before) == (2, 2)
    after = mtimes(prepared / "runs")
    assert before.items() <= after.items()


OTHER_SETTINGS = [
    {"epochs": 3},
    {"batch_size": 9},
    {"learning_rates": (1e-3,)},
    {"l2": (0.0,)},
    {"optimizer": "sgd"},
    {"mode": "finetune", "learning_rates": (1e-3,), "l2": (0.0,), "head": "random"},
]


@pytest.mark.parametrize("other", OTHER_SETTINGS, ids=lambda other: next(iter(other)))
def test_other_settings_add_runs_and_leave_those_that_are_there_alone(prepared: Path, other: dict[str, Any]) -> None:
    train(prepared, ON_FEATURES, Silent())
    before = contents(prepared / "runs")
    changed = dataclasses.replace(ON_FEATURES, losses=("ce",), **other)
    result = train(prepared, changed, Silent())
    assert (result.trained, result.done_before) == (2, 0)
    assert before.items() <= contents(prepared / "runs").items()
    assert len(live_runs(prepared)) == 6
    after = contents(prepared / "runs")
    assert train(prepared, changed, Silent()).trained == train(prepared, ON_FEATURES, Silent()).trained == 0
    assert contents(prepared / "runs") == after


def test_the_order_in_which_a_grid_is_asked_for_makes_no_other_runs(prepared: Path) -> None:
    train(prepared, dataclasses.replace(ON_FEATURES, learning_rates=(1e-2, 1e-3), l2=(0.0,)), Silent())
    turned = dataclasses.replace(ON_FEATURES, learning_rates=(1e-3, 1e-2, 1e-3), l2=(0.0,))
    assert train(prepared, turned, Silent()).trained == 0


def recency(directory: Path) -> dict[tuple[str, int], int]:
    """Recency of the runs, by method and epochs."""
    return {(key.method, key.setup.epochs): stored.block.recency for key, stored in live_runs(directory).items()}


def test_recency_tells_which_settings_were_trained_last_and_asking_for_what_is_there_does_not_move_it(
    prepared: Path,
) -> None:
    longer = dataclasses.replace(ON_FEATURES, epochs=3)
    for settings in (ON_FEATURES, longer, ON_FEATURES, longer):
        train(prepared, settings, Silent())
    assert recency(prepared) == {("ce", 2): 1, ("mae", 2): 1, ("ce", 3): 2, ("mae", 3): 2}
    train(prepared, dataclasses.replace(ON_FEATURES, losses=("ce", "gce")), Silent())
    assert recency(prepared)["gce", 2] == 3
    train(prepared, dataclasses.replace(ON_FEATURES, losses=("sce",)), Silent())
    assert recency(prepared)["sce", 2] == 3, "the same settings as before it: they were trained last already"


def test_a_new_draw_trains_only_its_own_runs(prepared: Path) -> None:
    train(prepared, ON_FEATURES, Silent())
    corrupt(prepared, CorruptSettings(rates=(0.25,), seeds=1), Silent())
    result = train(prepared, ON_FEATURES, Silent())
    assert (result.trained, result.done_before) == (2, 4)


def test_another_split_makes_runs_stale_and_keeps_them(prepared: Path, photo_folder: Path) -> None:
    train(prepared, ON_FEATURES, Silent())
    files_before = set(mtimes(prepared / "runs"))
    other = PrepareSettings(str(photo_folder), train=24, val=6, test=6, image_size=32, seed=1)
    assert prepare(prepared, other, Silent()).stale == ("draws", "runs")
    with pytest.raises(BadRequestError, match="run `flowernoise corrupt` first"):
        train(prepared, ON_FEATURES, Silent())
    assert set(mtimes(prepared / "runs")) == files_before
    corrupt(prepared, CorruptSettings(rates=(0.5,), seeds=1), Silent())
    assert train(prepared, ON_FEATURES, Silent()).trained == 4


def test_features_are_extracted_once_and_again_only_where_they_are_damaged(prepared: Path) -> None:
    train(prepared, dataclasses.replace(ON_FEATURES, losses=("ce",)), Silent())
    (shard,) = (prepared / "features").glob("*.h5")
    written = shard.stat().st_mtime_ns
    train(prepared, dataclasses.replace(ON_FEATURES, losses=("mae",)), Silent())
    assert shard.stat().st_mtime_ns == written
    original = shard.read_bytes()
    shard.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    notes = Notes()
    train(prepared, dataclasses.replace(ON_FEATURES, losses=("gce",)), notes)
    assert any(shard.name in line and "damaged" in line for line in notes.lines)
    assert shard.read_bytes() == original


def test_an_interrupted_extraction_goes_on_at_the_first_missing_shard(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowernoise.store import feature_cache
    from flowernoise.training import features

    monkeypatch.setattr(feature_cache, "SHARD", 10)
    extract, calls = features.extract, []

    def interrupted_at_the_third(*arguments: object) -> np.ndarray:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return extract(*arguments)

    monkeypatch.setattr(features, "extract", interrupted_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        train(prepared, ON_FEATURES, Silent())
    written = {path.name for path in (prepared / "features").glob("*.h5")}
    assert len(written) == 2
    calls.append(1)
    train(prepared, ON_FEATURES, Silent())
    assert len(calls) - 4 == 2  # shards three and four of 36 photos
    assert written <= {path.name for path in (prepared / "features").glob("*.h5")}


def test_only_photos_without_features_are_extracted(
    prepared: Path, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another split and one more photo: what is there stays, to the byte, and equals what is extracted at once."""
    from flowernoise.training import features

    extract, extracted = features.extract, []

    def counted(model: object, encoded: Iterable[bytes], *more: object) -> np.ndarray:
        photos = list(encoded)
        extracted.extend(photos)
        return extract(model, photos, *more)

    monkeypatch.setattr(features, "extract", counted)
    train(prepared, dataclasses.replace(ON_FEATURES, losses=("ce",)), Silent())
    before = contents(prepared / "features")
    assert len(extracted) == 36
    other = PrepareSettings(str(photo_folder), train=20, val=5, test=5, image_size=32, seed=1)
    prepare(prepared, other, Silent())
    corrupt(prepared, CorruptSettings(rates=(0.5,), seeds=1), Silent())
    train(prepared, dataclasses.replace(ON_FEATURES, losses=("ce",)), Silent())
    assert len(extracted) == 36
    more = Path(shutil.copytree(photo_folder, prepared.parent / "more"))
    Image.new("RGB", (40, 30), "teal").save(next(more.rglob("*.*")).with_name("another.png"))
    prepare(prepared, dataclasses.replace(other, source=str(more), train=26), Silent())
    corrupt(prepared, CorruptSettings(rates=(0.5,), seeds=1), Silent())
    train(prepared, dataclasses.replace(ON_FEATURES, losses=("ce",)), Silent())
    assert before.items() <= contents(prepared / "features").items()
    [found] = Artifacts(prepared).features()
    every = [photo.id for photo in Artifacts(prepared).photos]
    assert len(extracted) == 36 + len(set(every) - set(held_before(before)))
    at_once = prepared.parent / "at_once"
    shutil.copytree(prepared, at_once, ignore=shutil.ignore_patterns("features", "runs"))
    train(at_once, dataclasses.replace(ON_FEATURES, losses=("ce",)), Silent())
    [whole] = Artifacts(at_once).features()
    np.testing.assert_array_equal(found.array, whole.array)


def held_before(files: dict[str, bytes]) -> list[str]:
    """The photos of the shards among some files."""
    [record] = [data for name, data in files.items() if name.endswith(".json")]
    return list(json.loads(record)["body"]["ids"])


def test_a_control_can_be_restricted_to_some_losses(prepared: Path) -> None:
    result = train(prepared, dataclasses.replace(ON_FEATURES, control_losses=("ce",)), Silent())
    assert result.trained == 3
    assert {key.method for key in live_runs(prepared) if key.noise == "none"} == {"ce"}


def test_a_grid_needs_a_validation_split(tmp_path: Path, photo_folder: Path) -> None:
    directory = tmp_path / "without-val"
    prepare(directory, PrepareSettings(str(photo_folder), train=24, test=6, image_size=32), Silent())
    corrupt(directory, CorruptSettings(rates=(), seeds=1), Silent())
    with pytest.raises(BadRequestError, match="validation split"):
        train(directory, dataclasses.replace(ON_FEATURES, learning_rates=(1e-3, 1e-2)), Silent())


def test_a_grid_is_chosen_from_on_validation(prepared: Path) -> None:
    settings = dataclasses.replace(ON_FEATURES, learning_rates=(1e-6, 1e-2), l2=(0.0, 1e-3))
    assert train(prepared, settings, Silent()).trained == 4
    for stored in live_runs(prepared).values():
        assert stored.block.selections == ("selected", "last", "oracle")
        for choice in stored.run.choices:
            assert (choice.learning_rate, choice.l2) in settings.grid
            assert 1 <= choice.epoch <= 2
        assert stored.run.choices[1].epoch == 2


def test_every_run_is_tuned_unless_there_is_nothing_to_choose_on() -> None:
    assert len(TrainSettings().resolved(validated=True).grid) == 15
    assert TrainSettings().resolved(validated=False).grid == [(1e-3, 0.0)]
    assert TrainSettings(mode="finetune").resolved(validated=True).grid == [(1e-4, 0.0), (3e-4, 0.0)]
    assert TrainSettings(mode="finetune").resolved(validated=False).grid == [(1e-4, 0.0)]
    assert TrainSettings(l2=(0.5,)).resolved(validated=True).grid == [(rate, 0.5) for rate in (3e-4, 1e-3, 3e-3)]


def answers(directory: Path) -> dict[RunKey, np.ndarray]:
    """Probabilities on test and validation photos of every run."""
    layout, found = Layout(directory), {}
    for key, stored in live_runs(directory).items():
        arrays = runs.read_predictions(layout, datasets.need(layout), stored.block)
        both = [arrays[f"{split}_probabilities"][stored.row] for split in ("test", "val")]
        found[key] = np.concatenate(both, axis=1)
    return found


ONE_POINT = dataclasses.replace(ON_FEATURES, learning_rates=(1e-2,), l2=(1e-3,))


def test_other_blocks_and_other_company_change_no_head(prepared: Path, tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    shutil.copytree(prepared, small)
    shutil.copytree(prepared, large)
    train(small, dataclasses.replace(ONE_POINT, memory=1e-9), Silent())
    train(large, dataclasses.replace(ONE_POINT, losses=("gce", "ce", "elr", "mae")), Silent())
    assert {len(stored.block.runs) for stored in live_runs(small).values()} == {1}
    assert {len(stored.block.runs) for stored in live_runs(large).values()} == {8}
    in_company = answers(large)
    for key, alone in answers(small).items():
        np.testing.assert_allclose(alone, in_company[key], atol=1e-5)


def test_an_interrupted_sweep_goes_on_at_the_block_and_gives_the_same_bits(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(prepared, whole)
    settings = dataclasses.replace(ONE_POINT, memory=1e-9)
    train(whole, settings, Silent())
    write, written = runs.write, []

    def write_two(*block: object) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(block)
        write(*block)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "write", write_two)
        with pytest.raises(KeyboardInterrupt):
            train(prepared, settings, Silent())
    result = train(prepared, settings, Silent())
    assert (result.done_before, result.trained) == (2, 2)
    digests = [
        sorted(stored.block.arrays.sha256 for stored in live_runs(place).values()) for place in (prepared, whole)
    ]
    assert digests[0] == digests[1]


def test_a_diverging_run_is_marked_failed_and_the_rest_goes_on(prepared: Path) -> None:
    settings = dataclasses.replace(ON_FEATURES, optimizer="sgd", learning_rates=(1e30,), l2=(0.1,), losses=("ce",))
    result = train(prepared, settings, Silent())
    assert result.trained == 2
    assert [reason for _, reason in result.failed] == [reason for _, reason in result.failed if "diverged" in reason]
    assert len(result.failed) == 2
    train(prepared, dataclasses.replace(ON_FEATURES, losses=("mae",)), Silent())
    evaluated = evaluate(prepared, Silent())
    assert {run.method: bool(run.failure) for run in evaluated.evaluation.runs} == {"ce": True, "mae": False}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": ("cee",)}, "unknown loss 'cee'"),
        ({"backbone": "resnet"}, "unknown backbone 'resnet'"),
        ({"epochs": 0}, "--epochs 0"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"learning_rates": (0.0,)}, "--learning-rate 0"),
        ({"learning_rates": (float("nan"),)}, "--learning-rate nan"),
        ({"l2": (-1.0,)}, "--l2 -1"),
        ({"mode": "finetune", "tune": "last"}, "--tune 'last' is not all, norm, or last:N"),
        ({"augment": "crop"}, "--augment is for --mode finetune"),
        ({"keep_weights": True}, "--keep-weights is for --mode finetune"),
    ],
)
def test_a_bad_request_is_named(prepared: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        train(prepared, dataclasses.replace(ON_FEATURES, **changes), Silent())


@pytest.mark.parametrize("loss", ["forward", "backward"])
def test_an_estimated_or_given_matrix_trains_another_model_than_the_true_one(
    prepared: Path, tmp_path: Path, loss: str
) -> None:
    file = tmp_path / "T.csv"
    file.write_text("0.6,0.2,0.2\n0,0.7,0.3\n0.1,0,0.9\n")
    # From random features an estimate need not have an inverse.
    names = (
        (f"{loss}:T={file}", f"{loss}:T=true") if loss == "backward" else (loss, f"{loss}:T={file}", f"{loss}:T=true")
    )
    settings = dataclasses.replace(ON_FEATURES, losses=names, epochs=1, learning_rates=(1e-2,))
    assert train(prepared, settings, Silent()).failed == ()
    evaluate(prepared, Silent())
    stored = [each for key, each in live_runs(prepared).items() if key.noise == "symmetric"]
    assert [each.run.method.partition(",")[0] for each in stored] == sorted(names)
    trained = {name: array for name, array in probabilities(prepared).items() if "symmetric" in name}
    assert len({array.tobytes() for array in trained.values()}) == len(names)
    file.write_text("0.6,0.2,0.2\n0,0.7,0.3\n0.2,0,0.8\n")
    assert train(prepared, settings, Silent()).trained == 2  # another content is another loss


def test_class_names_in_a_matrix_file_must_be_those_of_the_data_set(prepared: Path, tmp_path: Path) -> None:
    file = tmp_path / "T.csv"
    settings = dataclasses.replace(ON_FEATURES, losses=(f"forward:T={file}",), epochs=1)
    file.write_text("roses,daisy,tulips\n0.6,0.2,0.2\n0,0.7,0.3\n0.1,0,0.9\n")
    with pytest.raises(BadRequestError, match="names the classes 'roses, daisy, tulips', but the data set has"):
        train(prepared, settings, Silent())
    file.write_text("daisy,roses,tulips\n0.6,0.2,0.2\n0,0.7,0.3\n0.1,0,0.9\n")
    assert train(prepared, settings, Silent()).failed == ()


def test_fine_tuning_estimates_the_matrix_in_a_first_stage(prepared: Path) -> None:
    notes = Notes()
    settings = dataclasses.replace(FINETUNE, losses=("forward",))
    assert train(prepared, settings, notes).trained == 2
    assert sum("first stage on" in line and "epoch 1 of 1" in line for line in notes.lines) == 2


def test_a_class_of_which_nothing_can_be_said_is_named_in_a_note() -> None:
    from flowernoise.steps.train import matrices

    notes, draw = Notes(), DrawKey("symmetric", 0.2, 0)
    [stage] = method_of(losses.parse("forward")).stages
    answers = np.repeat([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]], 20, axis=0)
    T = matrices.handed_on(stage, draw, np.repeat([0, 1, 2], [16, 8, 16]), answers, ("daisy", "roses", "tulips"), notes)
    np.testing.assert_allclose(T, [[0.8, 0.2, 0], [0, 1, 0], [0, 0.2, 0.8]], atol=0.06)
    assert [line for line in notes.lines if "roses" in line and "daisy" not in line and str(draw) in line]
    assert matrices.handed_on(stage, draw, np.zeros(40, int), answers * np.nan, ("a", "b", "c"), notes).shape == (3, 3)
    assert np.isnan(matrices.handed_on(stage, draw, np.zeros(40, int), answers * np.nan, ("a", "b", "c"), notes)).all()
    assert len(notes.lines) == 1


@pytest.mark.parametrize("settings", ["features", "finetune"])
def test_training_tells_of_which_class_nothing_can_be_said(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, settings: str
) -> None:
    monkeypatch.setattr("flowernoise.catalogue.transition_matrix.MIN_PHOTOS", 1000)
    notes = Notes()
    train(prepared, dataclasses.replace(ON_FEATURES, mode=settings, losses=("forward",), epochs=1), notes)
    assert sum("T estimated on" in line and "daisy, roses, tulips" in line for line in notes.lines) == 2


def test_nothing_prepared_or_drawn_says_what_comes_first(tmp_path: Path, photo_folder: Path) -> None:
    with pytest.raises(BadRequestError, match="run `flowernoise prepare` first"):
        train(tmp_path / "empty", ON_FEATURES, Silent())
    prepare(tmp_path / "prepared", PrepareSettings(str(photo_folder), image_size=32), Silent())
    with pytest.raises(BadRequestError, match="run `flowernoise corrupt` first"):
        train(tmp_path / "prepared", ON_FEATURES, Silent())


def assert_convolutions_changed(directory: Path) -> None:
    """Every kernel of every fine-tuned run differs from the pretrained one."""
    layout = Layout(directory)
    for stored in live_runs(directory).values():
        if stored.block.mode == "finetune":
            pretrained = backbones.parse(stored.block.setup.backbone)().build(32)
            shapes = [*(array.shape for array in pretrained.get_weights()), (pretrained.output_shape[1], 3), (3,)]
            names = [f"{position:04}" for position in range(len(shapes))]
            trained = runs.read_weights(layout, stored.block, names, shapes)
            kernels = [each for each in zip(pretrained.get_weights(), trained.values()) if each[0].ndim == 4]  # noqa: B905
            assert kernels
            assert all(np.abs(before - after).max() > 0 for before, after in kernels)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet50:weights=none", "efficientnet_lite0"])
def test_the_real_backbones_are_fine_tuned_end_to_end(prepared: Path, backbone: str) -> None:
    result = train(prepared, dataclasses.replace(FINETUNE, backbone=backbone), Silent())
    assert (result.trained, result.failed) == (2, ())
    assert_convolutions_changed(prepared)
    assert len(evaluate(prepared, Silent()).evaluation.runs) == 2


def test_fine_tuning_changes_convolutions_and_lands_in_the_same_evaluation(prepared: Path) -> None:
    notes = Notes()
    train(prepared, ON_FEATURES, Silent())
    result = train(prepared, FINETUNE, notes)
    assert (result.trained, result.photos_trained) == (2, 48)
    [first, _] = [stored for stored in live_runs(prepared).values() if stored.block.mode == "finetune"]
    assert first.block.setup.tune == "all"
    assert sum("epoch 1 of 1, training loss" in line for line in notes.lines) == 2
    assert_convolutions_changed(prepared)
    evaluated = evaluate(prepared, Silent())
    assert {key.setup.mode for key in evaluated.evaluation.keys} == {"features", "finetune"}
    rows = [row for row, key in enumerate(evaluated.evaluation.keys) if key.setup.mode == "finetune"]
    selections = ["selected", "last", "oracle"]
    assert all([metrics.selection for metrics in evaluated.of_run(row)] == selections for row in rows)
    before = mtimes(prepared)
    assert train(prepared, FINETUNE, Silent()).done_before == 2
    assert evaluate(prepared, Silent()).done_before
    assert mtimes(prepared) == before


def test_an_interrupted_fine_tuning_keeps_what_is_finished(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flowernoise.training import finetune

    original, trained = finetune.Finetuner.train, []

    def interrupted_at_the_second(self: object, *arguments: object) -> object:
        trained.append(1)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(finetune.Finetuner, "train", interrupted_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        train(prepared, FINETUNE, Silent())
    finished = mtimes(prepared / "runs")
    assert len(live_runs(prepared)) == 1
    result = train(prepared, FINETUNE, Silent())
    assert (result.trained, result.done_before) == (1, 1)
    assert finished.items() <= mtimes(prepared / "runs").items()


@pytest.mark.parametrize("mode", ["features", "finetune"])
def test_a_matrix_without_inverse_fails_its_run_alone(prepared: Path, mode: str) -> None:
    corrupt(prepared, CorruptSettings(noise=("uniform",), rates=(1.0,), seeds=1), Silent())
    settings = dataclasses.replace(ON_FEATURES, mode=mode, losses=("backward:T=true",), epochs=1)
    result = train(prepared, settings, Silent())
    assert [(key.noise, "cannot be inverted" in reason) for key, reason in result.failed] == [("uniform", True)]
    failures = {run.draw.noise: run.failure for run in evaluate(prepared, Silent()).evaluation.runs}
    assert failures["none"] is failures["symmetric"] is None
    assert failures["uniform"]


# What is damaged is made again

SINGLY = dataclasses.replace(ON_FEATURES, learning_rates=(1e-2,), l2=(1e-3,), memory=1e-9)  # a block for each run


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])


def link(path: Path) -> None:
    elsewhere = path.parents[1] / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize("suffix", [".json", ".h5"])
def test_a_damaged_block_is_set_aside_and_trained_again_byte_for_byte(prepared: Path, suffix: str) -> None:
    train(prepared, SINGLY, Silent())
    folder = prepared / "runs"
    whole = contents(folder)
    assert len(whole) == 8
    harms: list[Callable[[Path], object]] = [cut, change, link, Path.unlink]
    for number, harm in enumerate(harms):
        path = sorted(folder.glob(f"*{suffix}"))[number % 4]
        harm(path)
        if (suffix, harm) == (".json", Path.unlink):
            # Without its record a block is as if it had not been trained, and its arrays are written once more.
            assert train(prepared, SINGLY, Silent()).trained == 1
        else:
            damaged = contents(folder).get(path.name)
            notes = Notes()
            result = train(prepared, SINGLY, notes)
            assert (result.trained, result.done_before, result.failed) == (1, 3, ())
            [note] = [line for line in notes.lines if "set aside" in line]
            assert path.name in note
            if harm is not Path.unlink:
                assert (folder / f"{path.name}.damaged").read_bytes() == damaged
        for left in folder.glob("*.damaged"):
            left.unlink()
        assert contents(folder) == whole
        assert not any(path.is_symlink() for path in folder.iterdir())
    before = mtimes(prepared)
    assert train(prepared, SINGLY, Silent()).done_before == 4
    assert mtimes(prepared) == before


def test_damage_of_runs_that_are_not_asked_for_is_left_to_whoever_asks_for_them(prepared: Path) -> None:
    train(prepared, dataclasses.replace(SINGLY, losses=("mae",)), Silent())
    for path in (prepared / "runs").glob("*.h5"):
        change(path)
    before = contents(prepared / "runs")
    assert train(prepared, dataclasses.replace(SINGLY, losses=("ce",)), Silent()).trained == 2
    assert before.items() <= contents(prepared / "runs").items()


@pytest.mark.parametrize("of", ["block", "draws", "data set"])
def test_a_record_of_another_version_stops_the_training_and_stays(prepared: Path, of: str) -> None:
    train(prepared, dataclasses.replace(SINGLY, losses=("ce",)), Silent())
    patterns = {"block": "runs/*.json", "draws": "draws/*.json", "data set": "dataset.json"}
    path = next(prepared.glob(patterns[of]))
    path.write_bytes(path.read_bytes().replace(b'"schema": 4', b'"schema": 5'))
    before = mtimes(prepared)
    with pytest.raises(OtherVersionError, match="has schema 5"):
        train(prepared, SINGLY, Silent())
    assert {name: at for name, at in mtimes(prepared).items() if name != "locks"} == {
        name: at for name, at in before.items() if name != "locks"
    }


# Beside other processes


@contextlib.contextmanager
def another(
    directory: Path, runs_claimed: dict[str, str], before_the_end: Callable[[], object], **said: Any
) -> Iterator[None]:
    """Another training that claims runs, and does something before its claim ends.

    A lock is held by whoever has opened its file; a thread will do for a process.
    """
    held = threading.Event()

    def work() -> None:
        with claims.claimed(Layout(directory), Silent(), lambda _: Claim("train", makes=runs_claimed, **said)):
            held.set()
            before_the_end()

    thread = threading.Thread(target=work)
    thread.start()
    assert held.wait(20)
    try:
        yield
    finally:
        thread.join(60)
        assert not thread.is_alive()


def when_there(folder: Path, pattern: str, count: int) -> None:
    end = time.monotonic() + 60
    while len(list(folder.glob(pattern))) < count and time.monotonic() < end:
        time.sleep(0.02)


def claim_of(directory: Path, settings: TrainSettings, key: RunKey) -> dict[str, str]:
    """What a training with these settings claims of a run."""
    drawn = plan.make(Layout(directory), settings, Silent()).drawn
    return {files.digest_of(key)[:16]: drawn[key.draw].draw.labels}


@pytest.fixture
def whole(prepared: Path, tmp_path: Path) -> Path:
    """A copy in which everything is trained, one after another."""
    train(shutil.copytree(prepared, tmp_path / "whole"), SINGLY, Silent())
    return tmp_path / "whole"


def test_runs_that_another_process_trains_are_left_to_it_and_waited_for(prepared: Path, whole: Path) -> None:
    key, theirs = next(iter(live_runs(whole).items()))
    finished = [f"{theirs.name}.json", theirs.block.arrays.name]
    ended = []

    def finish() -> None:
        when_there(prepared / "runs", "*.json", 3)
        ended.append(set(contents(prepared / "runs")))
        for name in reversed(finished):
            shutil.copy(whole / "runs" / name, prepared / "runs")

    with another(prepared, claim_of(prepared, SINGLY, key), finish):
        result = train(prepared, SINGLY, Silent())
    assert (result.trained, result.done_before) == (3, 1)
    assert ended[0] == contents(whole / "runs").keys() - set(finished)
    assert contents(prepared / "runs") == contents(whole / "runs")
    assert [path.name for path in (prepared / "locks").iterdir()] == ["directory.lock"]


def test_runs_that_another_process_claimed_and_never_finished_are_trained(prepared: Path, whole: Path) -> None:
    key = next(iter(live_runs(whole)))
    with another(prepared, claim_of(prepared, SINGLY, key), lambda: when_there(prepared / "runs", "*.json", 3)):
        result = train(prepared, SINGLY, Silent())
    assert (result.trained, result.done_before) == (4, 0)
    assert contents(prepared / "runs") == contents(whole / "runs")


def test_runs_that_are_being_trained_on_other_labels_are_refused(prepared: Path, whole: Path) -> None:
    key = next(iter(live_runs(whole)))
    done = threading.Event()
    before = contents(prepared)
    with another(prepared, {files.digest_of(key)[:16]: "other labels"}, lambda: done.wait(20)):
        try:
            with pytest.raises(BadRequestError) as caught:
                train(prepared, SINGLY, Silent())
            # what the other one does not train is nobody's concern
            assert train(prepared, dataclasses.replace(SINGLY, losses=("gce",)), Silent()).trained == 2
        finally:
            done.set()
    message = str(caught.value)
    assert message.startswith("train (process ")
    assert f"is training {key.method} on other labels of {key.draw} in {prepared}; wait until it ends" in message
    assert contents(prepared) == before
    assert train(prepared, SINGLY, Silent()).trained == 4


def test_other_settings_are_trained_beside_another_process_and_come_after_it(prepared: Path, whole: Path) -> None:
    key = next(iter(live_runs(whole)))
    done = threading.Event()
    others = dataclasses.replace(SINGLY, epochs=3)
    setup = plan.make(Layout(prepared), others, Silent()).setup
    claim = claim_of(prepared, others, key._replace(setup=setup))
    with another(prepared, claim, lambda: done.wait(20), setup=setup, recency=1):
        try:
            assert train(prepared, SINGLY, Silent()).trained == 4
        finally:
            done.set()
    assert {stored.block.recency for stored in live_runs(prepared).values()} == {2}


def test_what_changes_no_result_makes_no_other_runs(prepared: Path) -> None:
    keys = plan.asked(plan.make(Layout(prepared), SINGLY, Silent()))
    same = dataclasses.replace(SINGLY, memory=2.0, losses=("mae", "ce", "gce"))
    assert set(keys) < set(plan.asked(plan.make(Layout(prepared), same, Silent())))
    for other in OTHER_SETTINGS:
        changed = plan.make(Layout(prepared), dataclasses.replace(SINGLY, **other), Silent())
        assert set(plan.asked(changed)).isdisjoint(keys)


def test_photos_that_are_replaced_meanwhile_are_noticed_before_anything_is_trained(
    prepared: Path, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = plan.make

    def replaced_then(*arguments: object) -> object:
        made = make(*arguments)
        prepare(prepared, PrepareSettings(str(photo_folder), train=24, val=6, test=6, image_size=32, seed=1), Silent())
        return made

    monkeypatch.setattr(plan, "make", replaced_then)
    with pytest.raises(BadRequestError, match="were replaced meanwhile; run `flowernoise corrupt`"):
        train(prepared, SINGLY, Silent())
    assert not (prepared / "runs").exists()


# What fine-tuned networks leave


def test_answers_and_weights_that_are_lost_or_damaged_are_made_again_byte_for_byte(prepared: Path) -> None:
    train(prepared, FINETUNE, Silent())
    folder = prepared / "runs"
    kept = contents(folder)
    assert len(kept) == 6  # record, answers and weights of two runs
    for pattern, harm in ((".weights-*.h5", change), ("[0-9a-f]-*.h5", cut)):
        path = sorted(folder.glob(f"*{pattern}"))[0]
        harm(path)
        notes = Notes()
        assert train(prepared, FINETUNE, notes).trained == 1
        assert any(path.name in line and "set aside" in line for line in notes.lines)
        left = {name: data for name, data in contents(folder).items() if not name.endswith(".damaged")}
        assert left.items() == kept.items()


def test_a_probe_starts_from_the_best_linear_head(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flowernoise.steps.train.by_finetuning import ByFinetuning

    started, original = [], ByFinetuning._start
    monkeypatch.setattr(ByFinetuning, "_start", lambda *given: started.append(original(*given)) or started[-1])
    settings = dataclasses.replace(FINETUNE, head="probe", epochs=2)
    assert train(prepared, settings, Silent()).trained == 2
    assert len(list((prepared / "features").glob("*.h5"))) == 1
    train(prepared, dataclasses.replace(ON_FEATURES, losses=("ce",), batch_size=8, epochs=2), Silent())
    held = Artifacts(prepared)
    features = held.features()[0].of("test")
    for start, probe in zip(started, held.runs(mode="features", loss="ce"), strict=True):
        logits = features @ start.kernel + start.bias
        shown = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(shown, probe.probabilities("test", select="selected"), atol=1e-5)
