"""Comparisons of fabricated evaluations: nothing is trained."""

import dataclasses
import json
import math
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from flowernoise import statistics
from flowernoise.catalogue.metrics import Answers, metrics
from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.show.export import as_json
from flowernoise.steps import presets
from flowernoise.steps.compare import CompareSettings, Comparison, compare
from flowernoise.steps.evaluate import ALL
from flowernoise.store import datasets, evaluations, files, runs
from flowernoise.store.layout import Layout
from flowernoise.store.records import Dataset, DatasetRequest, EvaluatedRun, Evaluation, Preset, RunKey

FIVE = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
BINARY = ("not sunflowers", "sunflowers")


@dataclasses.dataclass(frozen=True)
class Made:
    """A fabricated run: how many of the test photos it answers rightly under each selection, and what else is known."""

    noise: str
    rate: float
    loss: str
    right: int
    seed: int = 0
    selected: int | None = None
    backbone: str = "resnet50"
    memorised: float = 0.25
    collapsed: bool = False
    failure: str | None = None
    has: tuple[str, ...] = ALL

    @property
    def key(self) -> RunKey:
        return RunKey(self.noise, self.rate, self.seed, self.loss, self.backbone, "features")


def a_dataset(classes=FIVE, test=(20, 20, 20, 20, 20), val=10, identity="photos") -> Dataset:
    nothing = files.NOT_WRITTEN
    request = DatasetRequest("synthetic", None, None, None, 32, 0)
    counts = ((60,) * len(classes), (val,) * len(classes), test)
    return Dataset(identity, request, None, classes, counts, 0, nothing, nothing, (), (), ())


def write(root: Path, made: list[Made], dataset: Dataset | None = None, *, inputs: str | None = None) -> Path:
    """An artifacts directory with the evaluation of fabricated runs of a data set."""
    layout, dataset = Layout(root), dataset or a_dataset()
    datasets.write(layout, dataset)
    made = sorted(made, key=lambda run: run.key)
    labels = np.repeat(np.arange(len(dataset.classes)), dataset.counts[2])
    arrays = {
        "predicted": np.zeros((len(made), 3, len(labels)), dtype=np.uint8),
        "memorised": np.array([[run.memorised] * 3 for run in made]),
        "recovered": np.array([[1 - run.memorised] * 3 for run in made]),
        "collapsed": np.array([[run.collapsed] * 3 for run in made]),
        "available": np.array([[name in run.has and not run.failure for name in ALL] for run in made]),
        "test_labels": labels,
    }
    for row, run in enumerate(made):
        for column, selection in enumerate(ALL):
            right = run.selected if selection == "selected" and run.selected is not None else run.right
            wrong = (labels + 1) % len(dataset.classes)
            arrays["predicted"][row, column] = np.where(np.arange(len(labels)) < right, labels, wrong)
    evaluation = Evaluation(
        dataset=dataset.id,
        source=dataset.request.source,
        classes=dataset.classes,
        counts=dataset.counts,
        inputs=inputs or evaluations.inputs_of(runs.blocks(layout, dataset.id)),
        selections=ALL,
        runs=tuple(EvaluatedRun(run.key, run.rate, run.failure) for run in made),
        arrays=files.NOT_WRITTEN,
    )
    evaluations.write(layout, evaluation, arrays)
    return root


def compared(root: Path, **settings) -> Comparison:
    return compare(root, CompareSettings(**settings))


def row_of(result: Comparison, noise: str, loss: str):
    [row] = [row for row in result.rows if (row.noise, row.loss) == (noise, loss)]
    return row


TWO_LOSSES = [
    Made("none", 0.0, "ce", 90),
    Made("none", 0.0, "mae", 92),
    Made("symmetric", 0.4, "ce", 70, seed=0),
    Made("symmetric", 0.4, "ce", 80, seed=1),
    Made("symmetric", 0.4, "mae", 88, seed=0),
    Made("symmetric", 0.4, "mae", 90, seed=1),
]


def test_json_is_the_object_of_the_design(tmp_path):
    plain = json.loads(as_json(compared(write(tmp_path, TWO_LOSSES))))
    assert list(plain) == ["schema", "metric", "select", "majority", "rows"]
    assert (plain["schema"], plain["metric"], plain["select"], plain["majority"]) == (1, "accuracy", "selected", 0.2)
    identity = ["noise", "rate", "realised_rate", "loss", "backbone", "mode"]
    of_design = [*identity, "seeds", "values", "mean", "ci_low", "ci_high", "drop", "collapsed"]
    for row in plain["rows"]:
        assert list(row) == [*of_design, "failed"]
    assert plain["rows"][0]["noise"] == "none"
    assert plain["rows"][0]["rate"] == 0.0


def test_a_row_holds_the_mean_of_its_seeds_and_the_drop_below_its_own_losses_control(tmp_path):
    result = compared(write(tmp_path, TWO_LOSSES))
    row = row_of(result, "symmetric", "ce")
    assert (row.rate, row.realised_rate, row.seeds, row.values) == (0.4, 0.4, 2, (0.7, 0.8))
    assert row.mean == pytest.approx(0.75)
    assert row.drop == pytest.approx(0.15)
    assert row_of(result, "symmetric", "mae").drop == pytest.approx(0.03)
    assert row_of(result, "none", "mae").drop == 0.0
    assert row.ci_low < 0.75 < row.ci_high


def test_one_seed_gets_wilsons_interval_and_a_note(tmp_path):
    result = compared(write(tmp_path, TWO_LOSSES[:2]))
    row = row_of(result, "none", "ce")
    assert (row.ci_low, row.ci_high) == statistics.wilson(90, 100)
    assert any(note.startswith("one seed") for note in result.notes)


def test_without_a_control_of_the_same_loss_and_backbone_there_is_no_drop(tmp_path):
    others = [Made("none", 0.0, "ce", 90), Made("none", 0.0, "mae", 90, backbone="efficientnet_lite0")]
    result = compared(write(tmp_path, [*others, Made("symmetric", 0.4, "mae", 80)]))
    assert row_of(result, "symmetric", "mae").drop is None


def test_the_best_of_each_noise_is_marked(tmp_path):
    result = compared(write(tmp_path, TWO_LOSSES))
    assert {(row.noise, row.loss) for row in result.rows if row.best} == {("none", "mae"), ("symmetric", "mae")}


def test_one_loss_alone_is_not_best_of_anything(tmp_path):
    result = compared(write(tmp_path, [Made("none", 0.0, "ce", 90)]))
    assert not result.rows[0].best


@pytest.mark.parametrize("trouble", [{"collapsed": True}, {"failure": "diverged"}])
def test_a_loss_that_collapsed_or_failed_in_any_seed_is_never_best(tmp_path, trouble):
    spoiled = dataclasses.replace(TWO_LOSSES[4], **trouble)
    result = compared(write(tmp_path, [*TWO_LOSSES[:4], spoiled, TWO_LOSSES[5]]))
    best = row_of(result, "symmetric", "mae")
    assert best.mean > row_of(result, "symmetric", "ce").mean
    assert not best.best
    assert row_of(result, "symmetric", "ce").best
    assert any(("collapsed (mae)" if "collapsed" in trouble else "1 run has failed") in note for note in result.notes)


def test_a_collapse_that_equals_the_best_shares_no_star_with_it(tmp_path):
    made = [Made("none", 0.0, "ce", 90), Made("none", 0.0, "gce", 90), Made("none", 0.0, "mae", 90, collapsed=True)]
    assert [row.loss for row in compared(write(tmp_path, made)).rows if row.best] == ["ce", "gce"]


def test_failed_runs_are_counted_and_have_no_value(tmp_path):
    made = [Made("none", 0.0, "ce", 90), Made("none", 0.0, "ce", 0, seed=1, failure="diverged")]
    row = row_of(compared(write(tmp_path, made)), "none", "ce")
    assert (row.seeds, row.failed, row.values, row.mean) == (1, 1, (0.9,), 0.9)


def test_a_loss_that_failed_in_every_seed_has_no_mean_interval_or_drop(tmp_path):
    made = [*TWO_LOSSES[:3], Made("symmetric", 0.4, "mae", 0, failure="diverged")]
    row = row_of(compared(write(tmp_path, made)), "symmetric", "mae")
    assert (row.mean, row.ci_low, row.ci_high, row.drop, row.values, row.best) == (None, None, None, None, (), False)


def test_balanced_accuracy_stands_beside_a_binary_accuracy_only(tmp_path):
    dataset = a_dataset(BINARY, (80, 20))
    root = write(tmp_path, [Made("none", 0.0, "ce", 80), Made("none", 0.0, "mae", 90)], dataset)
    result = compared(root)
    assert result.majority == 0.8
    assert [row.loss for row in result.balanced] == [row.loss for row in result.rows]
    assert [row.mean for row in result.balanced] == [0.5, 0.75]
    assert compared(root, metric="memorised").balanced == ()
    assert compared(write(tmp_path / "five", TWO_LOSSES)).balanced == ()


def test_memorised_has_t_intervals_within_what_a_share_can_be(tmp_path):
    made = [Made("symmetric", 0.4, "ce", 90, seed=seed, memorised=share) for seed, share in enumerate((0.01, 0.0, 0.2))]
    row = row_of(compared(write(tmp_path, made), metric="memorised"), "symmetric", "ce")
    assert row.ci_low == 0.0
    assert row.ci_high == pytest.approx(statistics.over_seeds([0.01, 0.0, 0.2])[1])


def test_memorised_is_nothing_where_no_label_is_wrong_and_lower_is_best(tmp_path):
    clean = Made("none", 0.0, "ce", 90, memorised=math.nan)
    noisy = [Made("symmetric", 0.4, "ce", 90, memorised=0.3), Made("symmetric", 0.4, "mae", 90, memorised=0.1)]
    result = compared(write(tmp_path, [clean, *noisy]), metric="memorised")
    assert row_of(result, "none", "ce").mean is None
    assert row_of(result, "symmetric", "ce").drop is None
    assert [row.loss for row in result.rows if row.best] == ["mae"]
    json.loads(as_json(result), parse_constant=pytest.fail)


def test_selected_is_shown_where_it_can_be(tmp_path):
    root = write(tmp_path, [Made("none", 0.0, "ce", right=60, selected=90)])
    assert compared(root).rows[0].mean == 0.9
    assert compared(root, select="last").rows[0].mean == 0.6


def test_last_is_shown_without_validation_photos(tmp_path):
    made = [Made("none", 0.0, "ce", 60, has=("last",))]
    result = compared(write(tmp_path, made, a_dataset(val=0)))
    assert result.select == "last"
    assert not any("epoch" in note for note in result.notes)


def test_runs_without_the_asked_epoch_fall_back_to_their_last_and_say_so(tmp_path):
    made = [Made("none", 0.0, "ce", 60, selected=90), Made("none", 0.0, "mae", 70, selected=0, has=("last",))]
    result = compared(write(tmp_path, made))
    assert (row_of(result, "none", "ce").mean, row_of(result, "none", "mae").mean) == (0.9, 0.7)
    assert result.select == "selected"
    assert any(note.startswith("1 run has no selected epoch") for note in result.notes)


def test_where_every_run_falls_back_the_table_is_called_last(tmp_path):
    made = [Made("none", 0.0, "ce", 60, has=("last",)), Made("none", 0.0, "mae", 0, failure="diverged")]
    result = compared(write(tmp_path, made), select="oracle")
    assert result.select == "last"
    assert any(note == "no run has the oracle epoch; the last one is shown" for note in result.notes)


def test_failed_runs_are_no_fall_back(tmp_path):
    result = compared(write(tmp_path, [Made("none", 0.0, "ce", 60), Made("none", 0.0, "mae", 0, failure="diverged")]))
    assert not any("epoch" in note for note in result.notes)


def test_oracle_is_labelled_unattainable(tmp_path):
    assert any("nobody can reach" in note for note in compared(write(tmp_path, TWO_LOSSES), select="oracle").notes)


SORTABLE = [
    Made("none", 0.0, "ce", 90),
    Made("none", 0.0, "mae", 80),
    Made("pairflip", 0.4, "ce", 60),
    Made("symmetric", 0.2, "ce", 85),
    Made("symmetric", 0.2, "mae", 79),
    Made("symmetric", 0.4, "mae", 0, failure="diverged"),
]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("noise", ["none ce 0", "none mae 0", "pairflip ce 0.4", "symmetric ce 0.2", "symmetric mae 0.2"]),
        ("rate", ["none ce 0", "none mae 0", "symmetric ce 0.2", "symmetric mae 0.2", "pairflip ce 0.4"]),
        ("loss", ["none ce 0", "pairflip ce 0.4", "symmetric ce 0.2", "none mae 0", "symmetric mae 0.2"]),
        ("mean", ["none ce 0", "symmetric ce 0.2", "none mae 0", "symmetric mae 0.2", "pairflip ce 0.4"]),
        ("drop", ["none ce 0", "none mae 0", "symmetric mae 0.2", "symmetric ce 0.2", "pairflip ce 0.4"]),
    ],
)
def test_rows_are_sorted_as_asked_and_failed_ones_come_last(tmp_path, order, expected):
    result = compared(write(tmp_path, SORTABLE), sort_by=order)
    assert [f"{row.noise} {row.loss} {row.rate:g}" for row in result.rows] == [*expected, "symmetric mae 0.4"]


def test_a_missing_baseline_is_noted(tmp_path):
    root = write(tmp_path, TWO_LOSSES)
    assert not any("baseline" in note for note in compared(root).notes)
    assert any(note.startswith("no runs with the baseline gce") for note in compared(root, baseline="gce").notes)


def preset_directory(tmp_path, dataset_id="photos") -> Path:
    made = [
        Made("none", 0.0, "ce", 93),
        *[Made("uniform", rate, "ce", right) for rate, right in ((0.1, 91), (0.9, 54))],
        *[Made("uniform", 0.1, "mae", 80, seed=seed, collapsed=seed == 0) for seed in range(3)],
    ]
    root = write(tmp_path, made, a_dataset(BINARY, (80, 20), val=0))
    files.write_record(Layout(root).preset, "preset", Preset("seed", dataset_id))
    return root


def test_published_ranges_stand_beside_ours_after_the_preset(tmp_path):
    result = compared(preset_directory(tmp_path))
    assert [row.published for row in result.beside] == list(presets.named("seed").published)
    ours = [(row.low, row.high, row.runs, row.collapsed) for row in result.beside]
    assert ours == [(0.93, 0.93, 1, 0), (0.54, 0.91, 2, 0), (0.8, 0.8, 3, 1)]
    assert result.why


def test_published_accuracies_stand_beside_accuracies_only(tmp_path):
    assert compared(preset_directory(tmp_path), metric="balanced_accuracy").beside == ()


def test_a_preset_of_other_photos_is_not_compared(tmp_path):
    result = compared(preset_directory(tmp_path, "others"))
    assert (result.beside, result.why) == ((), "")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metric": "acuracy"}, r"unknown metric 'acuracy' \(did you mean accuracy\?\)"),
        ({"metric": "recall:rose"}, r"'rose' is no class \(did you mean roses\?\)"),
        ({"baseline": "cee"}, r"unknown loss 'cee' \(did you mean ce\?\)"),
        ({"sort_by": "name"}, "--sort-by 'name' is not one of noise, rate"),
    ],
)
def test_an_unknown_name_is_refused_with_what_there_is(tmp_path, settings, message):
    with pytest.raises(BadRequestError, match=message):
        compared(write(tmp_path, TWO_LOSSES), **settings)


def test_nothing_prepared_and_nothing_evaluated_say_which_stage_is_missing(tmp_path):
    with pytest.raises(BadRequestError, match=r"nothing is prepared in .*run `flowernoise prepare` first"):
        compared(tmp_path)
    datasets.write(Layout(tmp_path), a_dataset())
    with pytest.raises(BadRequestError, match=r"nothing is evaluated in .*run `flowernoise evaluate` first"):
        compared(tmp_path)


def test_the_evaluation_of_other_photos_is_refused(tmp_path):
    write(tmp_path, TWO_LOSSES)
    datasets.write(Layout(tmp_path), a_dataset(identity="others"))
    with pytest.raises(BadRequestError, match="of the photos before the last `flowernoise prepare`"):
        compared(tmp_path)


def test_runs_that_changed_since_the_evaluation_are_noted(tmp_path):
    assert not any("changed" in note for note in compared(write(tmp_path / "fresh", TWO_LOSSES)).notes)
    result = compared(write(tmp_path / "stale", TWO_LOSSES, inputs="of other blocks"))
    assert any("changed since the last `flowernoise evaluate`" in note for note in result.notes)


def test_a_damaged_evaluation_is_named_with_the_way_out(tmp_path):
    write(tmp_path, TWO_LOSSES)
    [blob] = tmp_path.glob("evaluation-*.h5")
    blob.write_bytes(blob.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=rf"{blob.name}.*`flowernoise evaluate` makes it again"):
        compared(tmp_path)


def test_a_comparison_is_the_same_each_time(tmp_path):
    root = write(tmp_path, TWO_LOSSES)
    assert msgspec.to_builtins(compared(root)) == msgspec.to_builtins(compared(root))


@pytest.mark.parametrize("classes", [FIVE, BINARY], ids=["five classes", "binary"])
def test_five_thousand_runs_are_read_and_compared_at_once(tmp_path, classes):
    losses = ("ce", "mae", "gce", "sce", "focal")
    rates = [0.0, *(k / 100 for k in range(1, 100))]
    made = [
        Made("symmetric" if rate else "none", rate, loss, 400 + seed, seed=seed)
        for rate in rates
        for loss in losses
        for seed in range(10)
    ]
    assert len(made) == 5000
    write(tmp_path, made, a_dataset(classes, (500 // len(classes),) * len(classes)))
    layout = Layout(tmp_path)

    def best_of_three(function) -> float:
        times = []
        for _ in range(3):
            started = time.perf_counter()
            function()
            times.append(time.perf_counter() - started)
        return min(times)

    reading = best_of_three(lambda: evaluations.read(layout, evaluations.find(layout)))
    comparing = best_of_three(lambda: compared(tmp_path))
    print(f"reading {reading:.2f} s, comparing (with reading) {comparing:.2f} s")  # noqa: T201 (shown by pytest -s)
    assert reading < 1.5
    assert comparing < 1.5


def test_intervals_of_a_cell_are_those_of_the_statistics(tmp_path):
    """Every cell of two seeds in one table: the bootstrap of the answers, whatever else the table holds."""
    row = row_of(compared(write(tmp_path, TWO_LOSSES)), "symmetric", "ce")
    labels = np.repeat(np.arange(5), 20)
    predicted = np.stack([np.where(np.arange(100) < right, labels, (labels + 1) % 5) for right in (70, 80)])
    measured = metrics.parse("accuracy")(Answers(predicted, labels, FIVE, np.zeros(2)))
    [(low, high)] = statistics.intervals(measured.photos, measured.groups, [[0, 1]], np.random.default_rng(0))
    assert (row.ci_low, row.ci_high) == pytest.approx((low, high), abs=0.03)
