"""Evaluations of fabricated blocks of heads: nothing is trained."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from flowernoise.analysis.results.stages import EvaluateResult
from flowernoise.errors import BadRequestError, DamagedFileError, OtherVersionError
from flowernoise.progress import Silent
from flowernoise.steps.evaluate import ALL, evaluate
from flowernoise.store import datasets, draws, photos, runs
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.layout import Layout
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import (
    Choice,
    Draw,
    DrawKey,
)
from tests.fabricated import a_block, a_dataset, a_key, a_run

CLASSES = ("daisy", "roses", "tulips")
TEST = np.array([0, 0, 0, 1, 1, 2])
TRAIN = np.array([0, 0, 1, 1, 2, 2])
OBSERVED = np.array([0, 1, 1, 0, 2, 2])  # the second and the fourth label are wrong
VAL = np.array([0, 1, 2])
NOISY = DrawKey("symmetric", 0.4, 0)
ALL_RIGHT = TEST
ALL_BUT_TULIPS = np.array([0, 0, 1, 1, 1, 1])
TINY = np.array([0, 0, 1, 1, 2, 0], dtype=np.uint8)  # what the heads answer on the training photos


class Listener(Silent):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def prepare(root: Path, *, test=TEST, observed=OBSERVED) -> Layout:
    """A directory with photos that are only an index, and one draw."""
    layout = Layout(root)
    labels = [("train", TRAIN), ("val", VAL), ("test", test)]
    index = [IndexedPhoto(f"{s}{k}", s, int(label), "x.jpg") for s, own in labels for k, label in enumerate(own)]
    counts = tuple(tuple(np.bincount(own, minlength=3).tolist()) for _, own in labels)
    ref = photos.write_index(layout.photos, index, CLASSES)
    datasets.write(layout, a_dataset("photos", CLASSES, counts, found=15, index=ref))
    drawn = DrawnLabels(
        observed.astype(np.uint8),
        observed != TRAIN,
        VAL.astype(np.uint8),
        np.zeros(3, bool),
        np.full((3, 3), np.nan),
        np.eye(3),
    )
    draws.write(layout, "photos", [(Draw(NOISY, "labels", 2 / 6, 0.0, (0.5, 0.5, 0.0)), drawn)])
    return layout


def write_block(
    layout: Layout, answers: dict[str, list], *, generation=0, selections=ALL, failures=(), **changed
) -> None:
    """A block of heads, a loss each, that predict these classes on the test photos under each selection."""
    losses = list(answers)
    predicted = np.array([answers[loss] for loss in losses])  # [run, selection, photo]
    probabilities = np.full((*predicted.shape, 3), 0.2, dtype=np.float32)
    np.put_along_axis(probabilities, predicted[..., None], 0.6, axis=-1)
    choices = tuple(Choice(1e-3, 0.0, 1) for _ in selections)
    made = tuple(
        a_run(
            a_key(NOISY.noise, NOISY.rate, NOISY.seed, loss),
            "labels",
            choices,
            "diverged" if loss in failures else None,
        )
        for loss in losses
    )
    block = a_block("photos", made, selections=selections, generation=generation)
    shape = predicted.shape[:2]
    arrays = {
        "test_probabilities": probabilities,
        "val_probabilities": np.full((*shape, len(VAL), 3), 1 / 3, dtype=np.float32),
        "train_predicted": np.broadcast_to(TINY, (*shape, len(TINY))),
        **{name: np.zeros((len(losses), 5), dtype=np.float32) for name in runs.HISTORY_ARRAYS},
    }
    runs.write(layout, msgspec.structs.replace(block, **changed), arrays)


def evaluated(layout: Layout) -> EvaluateResult:
    return evaluate(layout.root, Silent())


def row_of(result: EvaluateResult, loss: str) -> int:
    return [run.method for run in result.evaluation.runs].index(loss)


def test_every_selection_has_its_metrics(tmp_path):
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT, ALL_BUT_TULIPS, ALL_RIGHT]})
    selected, last, oracle = evaluated(layout).of_run(0)
    assert [metrics.selection for metrics in (selected, last, oracle)] == ["selected", "last", "oracle"]
    assert (selected.accuracy, selected.balanced_accuracy) == (oracle.accuracy, oracle.balanced_accuracy) == (1.0, 1.0)
    assert last.accuracy == pytest.approx(4 / 6)
    assert last.balanced_accuracy == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert last.recall == pytest.approx({"daisy": 2 / 3, "roses": 1.0, "tulips": 0.0})


def test_memorised_is_the_share_of_wrong_labels_that_a_run_gives_back(tmp_path):
    """Of the two wrong labels, 1 for the second photo and 0 for the fourth, it gives back neither, then one."""
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT] * 3})
    assert evaluated(layout).of_run(0)[0].memorised == 0.0
    other = prepare(tmp_path / "other", observed=np.array([0, 0, 1, 1, 1, 0]))
    write_block(other, {"ce": [ALL_RIGHT] * 3})
    assert evaluated(other).of_run(0)[0].memorised == 0.5


def test_nothing_is_memorised_where_no_label_is_wrong(tmp_path):
    layout = prepare(tmp_path, observed=TRAIN)
    write_block(layout, {"ce": [ALL_RIGHT] * 3})
    assert evaluated(layout).of_run(0)[0].memorised is None


MANY = np.repeat(TEST, 20)
MANY_BUT_TULIPS = np.repeat(ALL_BUT_TULIPS, 20)


@pytest.mark.parametrize(
    ("predicted", "test", "observed", "collapsed"),
    [
        pytest.param(MANY, MANY, OBSERVED, False, id="all classes"),
        pytest.param(MANY_BUT_TULIPS, MANY, OBSERVED, True, id="a class is never predicted"),
        pytest.param(MANY_BUT_TULIPS, MANY, OBSERVED % 2, False, id="but no training label names it"),
        pytest.param(MANY_BUT_TULIPS, MANY % 2, OBSERVED, False, id="but no test photo shows it"),
        pytest.param(ALL_BUT_TULIPS, TEST, OBSERVED, False, id="but chance explains it"),
    ],
)
def test_collapsed_is_fewer_classes_than_training_labels_hold_and_chance_explains(
    tmp_path, predicted, test, observed, collapsed
):
    layout = prepare(tmp_path, test=test, observed=observed)
    write_block(layout, {"mae": [predicted] * 3})
    assert [metrics.collapsed for metrics in evaluated(layout).of_run(0)] == [collapsed] * 3


@pytest.mark.parametrize(
    ("counts", "predicts", "collapsed"),
    [
        pytest.param((83, 17), (100, 0), True, id="no to all, 17 % of 100 photos are sunflowers"),
        pytest.param((83, 17), (99, 1), False, id="no to all but one"),
        pytest.param((4, 3, 2), (6, 3, 0), False, id="one class of nine photos in all"),
        pytest.param((4, 3, 2), (9, 0, 0), False, id="two classes of nine photos in all"),
        pytest.param((300, 195, 5), (305, 195, 0), False, id="a handful of photos among hundreds"),
        pytest.param((300, 180, 20), (320, 180, 0), True, id="twenty photos among hundreds"),
        pytest.param((20, 20, 20), (60, 0, 0), True, id="one class only"),
    ],
)
def test_collapsed_follows_from_the_test_photos_of_a_class(tmp_path, counts, predicts, collapsed):
    """How many photos there are of each class, and how often a run answers it."""
    test, predicted = (np.repeat(np.arange(len(numbers)), numbers) for numbers in (counts, predicts))
    layout = prepare(tmp_path, test=test, observed=OBSERVED % len(counts))
    write_block(layout, {"mae": [predicted] * 3})
    assert [metrics.collapsed for metrics in evaluated(layout).of_run(0)] == [collapsed] * 3


def test_a_class_without_test_photos_has_no_recall(tmp_path):
    layout = prepare(tmp_path, test=TEST % 2)
    write_block(layout, {"ce": [TEST % 2] * 3})
    [metrics, *_] = evaluated(layout).of_run(0)
    assert metrics.recall == {"daisy": 1.0, "roses": 1.0, "tulips": None}
    assert metrics.balanced_accuracy == 1.0


def test_a_failed_run_keeps_its_row_and_reason_but_has_no_metrics(tmp_path):
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT] * 3, "mae": [ALL_RIGHT] * 3}, failures=("mae",))
    result = evaluated(layout)
    failed = row_of(result, "mae")
    assert result.evaluation.runs[failed].failure == "diverged"
    assert result.of_run(failed) == []
    assert not result.arrays["available"][failed].any()
    assert len(result.of_run(row_of(result, "ce"))) == 3


def test_a_run_without_validation_has_its_last_epoch_only(tmp_path):
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT]}, selections=("last",))
    assert [metrics.selection for metrics in evaluated(layout).of_run(0)] == ["last"]


def test_the_evaluation_carries_noise_rates_and_reads_back(tmp_path):
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT] * 3})
    first, again = evaluated(layout), evaluated(layout)
    assert first.evaluation.runs[0].realised_rate == pytest.approx(1 / 3)
    assert again.evaluation == first.evaluation
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)


def mtimes(root: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(root.rglob("*"))}


def test_what_is_done_is_left_alone_to_the_mtime(tmp_path):
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT] * 3})
    assert not evaluated(layout).done_before
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        os.utime(path, ns=(1, 1))
    before = mtimes(tmp_path)
    assert evaluated(layout).done_before
    assert mtimes(tmp_path) == before


def test_a_new_block_is_evaluated_and_supersedes_older_runs(tmp_path):
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT] * 3, "mae": [ALL_RIGHT] * 3})
    evaluated(layout)
    write_block(layout, {"mae": [ALL_BUT_TULIPS] * 3}, generation=1)
    result = evaluated(layout)
    assert not result.done_before
    assert [run.method for run in result.evaluation.runs] == ["ce", "mae"]
    assert result.of_run(row_of(result, "ce"))[0].accuracy == 1.0
    assert result.of_run(row_of(result, "mae"))[0].accuracy == pytest.approx(4 / 6)
    assert len(list(tmp_path.glob("evaluation-*.h5"))) == 1


def test_blocks_of_other_photos_are_passed_over(tmp_path):
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT] * 3})
    write_block(layout, {"mae": [ALL_RIGHT] * 3}, dataset="others")
    assert [run.method for run in evaluated(layout).evaluation.runs] == ["ce"]


def test_a_damaged_evaluation_is_made_again_and_noted(tmp_path):
    layout, listener = prepare(tmp_path), Listener()
    write_block(layout, {"ce": [ALL_RIGHT] * 3})
    evaluated(layout)
    [blob] = tmp_path.glob("evaluation-*.h5")
    blob.write_bytes(b"")
    assert not evaluate(tmp_path, listener).done_before
    assert any(blob.name in note and note.endswith("evaluating again") for note in listener.notes)
    assert evaluated(layout).done_before


def test_a_damaged_block_is_named_with_the_way_out(tmp_path):
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT] * 3})
    [blob] = layout.runs.glob("*.h5")
    blob.write_bytes(blob.read_bytes()[::-1])
    with pytest.raises(DamagedFileError, match=rf"{blob.name} is damaged.*; `flowernoise train` with the same options"):
        evaluated(layout)


def test_runs_of_a_draw_that_is_lost_are_named_with_the_way_out(tmp_path):
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT] * 3})
    for path in layout.draws.iterdir():
        path.unlink()
    with pytest.raises(BadRequestError) as caught:
        evaluated(layout)
    assert str(caught.value) == (
        f"{tmp_path} has runs of a draw that no longer exists ({NOISY}); run `flowernoise corrupt` with the "
        "options that drew it"
    )
    assert not layout.evaluation.exists()


@pytest.mark.parametrize("suffix", [".json", ".h5"])
def test_damaged_draws_are_named_with_the_way_out(tmp_path, suffix):
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT] * 3})
    [path] = layout.draws.glob(f"*{suffix}")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=rf"{path.name} is damaged.*; `flowernoise corrupt` draws it again"):
        evaluated(layout)
    assert not layout.evaluation.exists()


@pytest.mark.parametrize("name", ["evaluation.json", "runs/*.json", "draws/*.json", "dataset.json"])
def test_a_record_of_another_version_is_neither_read_nor_replaced(tmp_path, name):
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT] * 3})
    evaluated(layout)
    if name == "draws/*.json":
        layout.evaluation.unlink()
    [path] = tmp_path.glob(name)
    path.write_bytes(path.read_bytes().replace(b'"schema": 4', b'"schema": 5'))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(OtherVersionError, match=rf"{path.name} has schema 5, but this flowernoise reads 4"):
        evaluated(layout)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_answers_that_no_run_gives_are_refused_though_their_digest_fits(tmp_path):
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT] * 3})
    [block] = runs.blocks(layout, "photos").values()
    arrays = runs.read_predictions(layout, datasets.need(layout), block)
    arrays["test_probabilities"][0, 0, 0, 0] = np.nan
    runs.write(layout, block, arrays)
    with pytest.raises(DamagedFileError, match="holds values that are not probabilities; `flowernoise train`"):
        evaluated(layout)
    assert not layout.evaluation.exists()


def test_an_evaluation_leaves_no_claim(tmp_path):
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT] * 3})
    evaluated(layout)
    assert [path.name for path in layout.locks.iterdir()] == ["directory.lock"]


def test_the_missing_stage_is_named(tmp_path):
    with pytest.raises(BadRequestError, match="run `flowernoise prepare` first"):
        evaluate(tmp_path, Silent())
    with pytest.raises(BadRequestError, match="run `flowernoise train` first"):
        evaluated(prepare(tmp_path))


def test_heads_are_evaluated_without_tensorflow_or_keras(tmp_path):
    layout = prepare(tmp_path)
    write_block(layout, {"ce": [ALL_RIGHT] * 3})
    script = (
        "import sys, pathlib\n"
        "from flowernoise.progress import Silent\n"
        "from flowernoise.steps.evaluate import evaluate\n"
        "result = evaluate(pathlib.Path(sys.argv[1]), Silent())\n"
        "print(len(result.evaluation.runs), sorted({'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "1 []"
