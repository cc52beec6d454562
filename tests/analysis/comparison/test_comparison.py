"""Comparisons of fabricated evaluations: nothing is trained."""

import dataclasses
import json
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy.stats import binomtest

from flowernoise.analysis import stats
from flowernoise.analysis.comparison.evaluated import CellKey, Group, Members
from flowernoise.analysis.comparison.judge import judge, measure
from flowernoise.catalogue import presets
from flowernoise.catalogue.metrics import Measured, RunPredictions, facts_of, metrics
from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.progress import Progress, Silent
from flowernoise.show import comparison, writers
from flowernoise.steps.compare import CompareSettings, Comparison, compare
from flowernoise.steps.evaluate import ALL
from flowernoise.store import comparisons, datasets, evaluations, files, photos, runs
from flowernoise.store.layout import Layout
from flowernoise.store.records import (
    SPLITS,
    Dataset,
    Evaluation,
    KeptComparison,
    PresetRecord,
    Provenance,
    RunBlock,
    RunKey,
)
from flowernoise.store.setups import SETTINGS
from tests.fabricated import a_block, a_dataset, a_key, a_setup, evaluated

FIVE = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
BINARY = ("not sunflowers", "sunflowers")


def as_json(result: Comparison) -> str:
    """What ``compare --json`` prints."""
    return writers.named("json").write(comparison.document(result))


@dataclasses.dataclass(frozen=True)
class Made:
    """A fabricated run: how many of the test photos it answers rightly under each selection, and what else is known.

    The first photos are right, or those from ``start`` on.
    """

    noise: str
    rate: float
    loss: str
    right: int
    seed: int = 0
    selected: int | None = None
    start: int = 0
    backbone: str = "resnet50"
    memorised: float = 0.25
    collapsed: bool = False
    failure: str | None = None
    mode: str = "features"
    has: tuple[str, ...] = ALL
    epochs: int = 5
    recency: int = 1

    @property
    def key(self) -> RunKey:
        return a_key(self.noise, self.rate, self.seed, self.loss, self.backbone, self.mode, epochs=self.epochs)


def flowers(classes=FIVE, test=(20, 20, 20, 20, 20), val=10, identity="photos") -> Dataset:
    return a_dataset(identity, classes, ((60,) * len(classes), (val,) * len(classes), test))


def write(root: Path, made: list[Made], dataset: Dataset | None = None, *, inputs: str | None = None) -> Path:
    """An artifacts directory with the evaluation of fabricated runs of a data set."""
    layout, dataset = Layout(root), dataset or flowers()
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
            place = np.arange(len(labels)) - run.start
            arrays["predicted"][row, column] = np.where((place >= 0) & (place < right), labels, wrong)
    evaluation = Evaluation(
        dataset=dataset.id,
        source=dataset.request.source,
        classes=dataset.classes,
        counts=dataset.counts,
        inputs=inputs or evaluations.inputs_of(runs.blocks(layout, dataset.id)),
        selections=ALL,
        **evaluated(
            [run.key for run in made],
            failures=[run.failure for run in made],
            recency=[run.recency for run in made],
        ),
        arrays=files.NOT_WRITTEN,
    )
    evaluations.write(layout, evaluation, {name: arrays[name] for name in evaluations.ARRAYS})
    return root


def compared(*roots: Path, progress: Progress | None = None, **settings) -> Comparison:
    return compare(roots, CompareSettings(**settings), progress or Silent())


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
    assert list(plain)[:5] == ["schema", "metric", "select", "majority", "rows"]
    assert (plain["schema"], plain["metric"], plain["select"], plain["majority"]) == (1, "accuracy", "selected", 0.2)
    identity = ["noise", "rate", "realised_rate", "loss", "backbone", "mode", *SETTINGS]
    of_design = [*identity, "seeds", "values", "mean", "ci_low", "ci_high", "drop", "collapsed"]
    for row in plain["rows"]:
        assert list(row)[: len(of_design)] == of_design
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
    assert (row.ci_low, row.ci_high) == stats.wilson(90, 100)
    assert any(note.startswith("With one seed") for note in result.notes)


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
    assert any(("collapsed (mae)" if "collapsed" in trouble else "1 run failed") in note for note in result.notes)


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
    dataset = flowers(BINARY, (80, 20))
    root = write(tmp_path, [Made("none", 0.0, "ce", 80), Made("none", 0.0, "mae", 90)], dataset)
    result = compared(root)
    assert result.majority == 0.8
    assert [row.balanced.mean for row in result.rows] == [0.5, 0.75]
    assert [row.balanced for row in compared(root, metric="memorised").rows] == [None, None]
    assert {row.balanced for row in compared(write(tmp_path / "five", TWO_LOSSES)).rows} == {None}


def test_memorised_has_t_intervals_within_what_a_share_can_be(tmp_path):
    made = [Made("symmetric", 0.4, "ce", 90, seed=seed, memorised=share) for seed, share in enumerate((0.01, 0.0, 0.2))]
    row = row_of(compared(write(tmp_path, made), metric="memorised"), "symmetric", "ce")
    assert row.ci_low == 0.0
    assert row.ci_high == pytest.approx(stats.over_seeds([0.01, 0.0, 0.2])[1])


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
    result = compared(write(tmp_path, made, flowers(val=0)))
    assert result.select == "last"
    assert not any("epoch" in note for note in result.notes)


def test_runs_without_the_asked_epoch_fall_back_to_their_last_and_say_so(tmp_path):
    made = [Made("none", 0.0, "ce", 60, selected=90), Made("none", 0.0, "mae", 70, selected=0, has=("last",))]
    result = compared(write(tmp_path, made))
    assert (row_of(result, "none", "ce").mean, row_of(result, "none", "mae").mean) == (0.9, 0.7)
    assert result.select == "selected"
    assert "1 run was fine-tuned. Fine-tuning keeps only the last epoch, so that is what is shown." in result.notes


def test_a_failed_run_leaves_the_others_their_own_epochs(tmp_path):
    made = [
        Made("none", 0.0, "ce", 0, failure="diverged"),
        Made("none", 0.0, "gce", 60, selected=0, has=("last",)),
        Made("none", 0.0, "mae", 60, selected=90),
    ]
    result = compared(write(tmp_path, made))
    assert [row.mean for row in result.rows] == [None, 0.6, 0.9]


def test_where_every_run_falls_back_the_table_is_called_last(tmp_path):
    made = [Made("none", 0.0, "ce", 60, has=("last",)), Made("none", 0.0, "mae", 0, failure="diverged")]
    result = compared(write(tmp_path, made), select="selected")
    assert result.select == "last"
    assert "Fine-tuning keeps only the last epoch, so that is what is shown." in result.notes


@pytest.mark.parametrize(("val", "why"), [(0, "without val"), (10, "fine-tuning keeps the last epoch only")])
def test_an_oracle_that_no_run_has_is_refused_with_the_reason(tmp_path, val, why):
    root = write(tmp_path, [Made("none", 0.0, "ce", 60, has=("last",))], flowers(val=val))
    with pytest.raises(BadRequestError, match=rf"--select oracle: no run has it \({why}\); use --select last"):
        compared(root, select="oracle")


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
    assert any(note.startswith("No run uses the baseline gce") for note in compared(root, baseline="gce").notes)


def preset_directory(tmp_path, dataset_id="photos") -> Path:
    made = [
        Made("none", 0.0, "ce", 93),
        *[Made("uniform", rate, "ce", right) for rate, right in ((0.1, 91), (0.9, 54))],
        *[Made("uniform", 0.1, "mae", 80, seed=seed, collapsed=seed == 0) for seed in range(3)],
    ]
    root = write(tmp_path, made, flowers(BINARY, (80, 20), val=0))
    files.write_record(Layout(root).preset, "preset", PresetRecord("seed", dataset_id))
    return root


def test_published_ranges_stand_beside_ours_after_the_preset(tmp_path):
    result = compared(preset_directory(tmp_path))
    published = [(each.label, (each.low, each.high)) for each in presets.named("seed").published]
    assert [(row.label, row.published) for row in result.beside] == published
    ours = [(*row.ours, row.runs, row.collapsed) for row in result.beside]
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
        ({"metric": "recall:rose"}, r"'rose' is not a class \(did you mean roses\?\)"),
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
    datasets.write(Layout(tmp_path), flowers())
    with pytest.raises(BadRequestError, match=r"nothing is evaluated in .*run `flowernoise evaluate` first"):
        compared(tmp_path)


def test_the_evaluation_of_other_photos_is_refused(tmp_path):
    write(tmp_path, TWO_LOSSES)
    datasets.write(Layout(tmp_path), flowers(identity="others"))
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


def test_intervals_of_a_cell_are_those_of_the_statistics(tmp_path):
    """Every cell of two seeds in one table: the bootstrap of the answers, whatever else the table holds."""
    row = row_of(compared(write(tmp_path, TWO_LOSSES)), "symmetric", "ce")
    labels = np.repeat(np.arange(5), 20)
    predicted = np.stack([np.where(np.arange(100) < right, labels, (labels + 1) % 5) for right in (70, 80)])
    measured = metrics.parse("accuracy")(RunPredictions(predicted, labels, FIVE, np.zeros(2)))
    [(low, high)] = stats.intervals(measured.photos, measured.groups, [[0, 1]], np.random.default_rng(0))
    assert (row.ci_low, row.ci_high) == pytest.approx((low, high), abs=0.03)


# Against the baseline, and the best


def holm_by_hand(p_values: list[float]) -> list[float]:
    """Each p-value is no more than m · p, and no less than what any smaller one became."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, which in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[which]))
        corrected[which] = largest
    return corrected


ONE_SEED = [
    Made("none", 0.0, "ce", 90),
    Made("none", 0.0, "gce", 88),
    Made("none", 0.0, "mae", 60, start=20),
    Made("symmetric", 0.4, "ce", 70),
    Made("symmetric", 0.4, "gce", 76),
    Made("symmetric", 0.4, "mae", 85, start=5),
]


def test_one_seed_is_compared_with_the_baseline_by_mcnemars_exact_test_corrected_over_the_table(tmp_path):
    result = compared(write(tmp_path, ONE_SEED))
    tested = [row for row in result.rows if row.difference]
    assert [(row.noise, row.loss) for row in tested] == [
        (noise, loss) for noise in ("none", "symmetric") for loss in ("gce", "mae")
    ]
    photos_that_one_has = [(0, 2), (0, 30), (6, 0), (20, 5)]
    expected = [binomtest(b, b + c).pvalue for b, c in photos_that_one_has]
    assert [row.difference.test for row in tested] == ["mcnemar"] * 4
    assert [row.difference.p for row in tested] == pytest.approx(expected)
    assert [row.difference.p_holm for row in tested] == pytest.approx(holm_by_hand(expected))
    assert [row.difference.mean for row in tested] == pytest.approx([-0.02, -0.3, 0.06, 0.15])
    assert [row.difference.verdict for row in tested] == [None, "worse", None, "better"]


def test_several_seeds_are_tested_over_those_that_both_have(tmp_path):
    made = [Made("symmetric", 0.4, "ce", 60 + seed, seed=seed) for seed in range(5)]
    made += [Made("symmetric", 0.4, "mae", 90 + seed, seed=seed) for seed in (1, 2, 3, 7)]
    made.append(Made("symmetric", 0.4, "mae", 0, seed=4, failure="diverged"))
    difference = row_of(compared(write(tmp_path, made)), "symmetric", "mae").difference
    assert (difference.seeds, difference.test) == (3, "sign_flip")
    assert difference.mean == pytest.approx(0.30)
    assert difference.low < 0.30 < difference.high
    assert difference.verdict is None, "what failed is never called better"


def test_a_loss_without_a_seed_of_the_baseline_is_not_tested(tmp_path):
    made = [Made("symmetric", 0.4, "ce", 60), Made("symmetric", 0.4, "mae", 90, seed=1)]
    row = row_of(compared(write(tmp_path, made)), "symmetric", "mae")
    assert (row.best, row.difference) == (True, None)


@pytest.mark.parametrize(("right", "verdict"), [(95, None), (20, "worse")])
def test_a_collapse_is_never_called_better_but_may_be_worse(tmp_path, right, verdict):
    made = [Made("symmetric", 0.4, "ce", 60), Made("symmetric", 0.4, "mae", right, collapsed=True)]
    assert row_of(compared(write(tmp_path, made)), "symmetric", "mae").difference.verdict == verdict


def test_another_baseline_can_be_named(tmp_path):
    result = compared(write(tmp_path, ONE_SEED), baseline="mae")
    assert {row.loss for row in result.rows if row.difference} == {"ce", "gce"}
    assert result.columns[0].loss == "mae"


def test_without_the_baseline_nothing_is_tested_but_the_best_is_marked(tmp_path):
    result = compared(write(tmp_path, ONE_SEED), baseline="elr")
    assert {row.difference for row in result.rows} == {None}
    assert result.tolerated == ()
    assert {row.loss for row in result.rows if row.best} == {"ce", "mae"}


def test_what_is_not_significantly_worse_than_the_best_is_tied_with_it(tmp_path):
    made = [*ONE_SEED, Made("symmetric", 0.4, "elr", 80, start=5, collapsed=True)]
    result = compared(write(tmp_path, made))
    marks = {(row.noise, row.loss): (row.best, row.tied) for row in result.rows}
    assert marks == {
        ("none", "ce"): (True, False),
        ("none", "gce"): (False, True),  # two photos
        ("none", "mae"): (False, False),  # thirty photos
        ("symmetric", "ce"): (False, False),  # 20 against 5
        ("symmetric", "gce"): (False, True),  # 14 against 5, of four tests the third smallest p
        ("symmetric", "mae"): (True, False),
        ("symmetric", "elr"): (False, False),  # collapsed
    }


def test_what_is_significantly_worse_than_the_baseline_is_not_tied_with_the_best(tmp_path):
    """The best differs from it on more photos, but in both directions; the baseline on few, all in one."""
    made = [
        Made("symmetric", 0.4, "ce", 60, start=0),
        Made("symmetric", 0.4, "gce", 48, start=0),
        Made("symmetric", 0.4, "mae", 62, start=38),
    ]
    row = row_of(compared(write(tmp_path, made)), "symmetric", "gce")
    assert row.difference.verdict == "worse"
    assert binomtest(38, 38 + 52).pvalue > 0.05
    assert not row.tied


def test_metrics_of_one_number_a_run_are_not_tested_over_photos(tmp_path):
    result = compared(write(tmp_path, ONE_SEED), metric="memorised")
    assert {(row.difference, row.tied) for row in result.rows} == {(None, False)}
    assert result.tolerated == ()


def judged_by(name: str, wrong: dict[str, int]) -> dict[str, tuple[float, bool]]:
    """Means and stars of losses of five seeds that answer so many of 100 photos wrongly, and are 90 % sure."""
    labels = np.repeat(np.arange(5), 20)
    predicted = np.stack([np.where(np.arange(100) < many, (labels + 1) % 5, labels) for many in wrong.values()] * 5)
    sure = np.where(np.eye(5)[predicted] > 0, 0.9, 0.025)
    answers = RunPredictions(
        predicted, labels, FIVE, wrong_share(predicted, labels), 1 - wrong_share(predicted, labels), sure
    )
    cells = {
        CellKey(0, "symmetric", 0.4, loss, a_setup()): Members(
            rows=list(range(place, 5 * len(wrong), len(wrong))), seeds=[0, 1, 2, 3, 4], failed=0, realised_rate=0.4,
            collapsed=0, recency=1, provenances=()
        )
        for place, loss in enumerate(wrong)
    }  # fmt: skip
    group = Group((0,), flowers(), answers, cells, "last", "last", 0, [])
    judged = judge(group, metrics.parse(name), list(cells), "ce", 0.02, 1)
    return {cell.loss: (judged.values[cell].mean, cell in judged.best) for cell in cells}


@pytest.mark.parametrize("name", ["memorised", "recovered", "ece", "accuracy"])
def test_intervals_that_are_cut_off_at_the_metrics_range_are_kept_as_numbers_like_others(name):
    """0 and 0.0 are written differently: a kept comparison that holds the former is refused when it is read."""
    cell = CellKey(0, "symmetric", 0.4, "ce", a_setup())
    members = Members([0, 1], [0, 1], 0, 0.4, 0, 1, ())
    [value] = measure(Measured(np.array([0.0, 1.0])), {cell: members}, facts_of(name).range).values()
    assert (value.low, value.high) == (0, 1)
    assert (type(value.low), type(value.high)) == (float, float)


def wrong_share(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return (predicted != labels).mean(axis=1)


@pytest.mark.parametrize("name", [name for name in metrics.names() if name != "recall"])
def test_the_star_follows_the_direction_of_the_metric(name):
    """Fewer wrong answers are better by every metric; the calibration error is lowest where 10 % are wrong."""
    found = judged_by(name, {"ce": 30, "gce": 10, "mae": 60})
    assert {loss for loss, (_, best) in found.items() if best} == {"gce"}
    choose = min if metrics.parse(name).entry.properties["facts"].better == "lower" else max
    assert choose(found, key=lambda loss: found[loss][0]) == "gce"


def test_test_photos_too_few_to_tell_a_lost_class_are_noted(tmp_path):
    made = [Made("none", 0.0, loss, 8) for loss in ("ce", "mae")]
    few = compared(write(tmp_path / "few", made, flowers(test=(2, 2, 2, 2, 1)))).notes
    [note] = [note for note in few if "too few" in note]
    assert note.startswith("Some classes have too few test photos (daisy 2, dandelion 2, roses 2, sunflowers 2, ")
    rare = compared(write(tmp_path / "rare", made, flowers(test=(300, 90, 90, 20, 4)))).notes
    assert [note for note in rare if "too few test photos (tulips 4; 504 in all) to tell" in note]
    assert not any("too few" in note for note in compared(write(tmp_path / "enough", made)).notes)


def unsteady_notes(root: Path, falls: dict[tuple[float, int], int], **trouble) -> list[str]:
    """Of a comparison of two losses, of which mae has runs that answer fewer photos rightly, by rate and seed."""
    made = []
    for rate, level in ((0.2, 90), (0.4, 85), (0.6, 80)):
        for seed in range(5):
            luck = (0, 1, -1, 2, -2)[seed]
            made.append(Made("symmetric", rate, "ce", level + luck, seed))
            fall = falls.get((rate, seed), 0)
            made.append(Made("symmetric", rate, "mae", level - luck - fall, seed, **(trouble if fall else {})))
    return [note for note in compared(write(root, made)).notes if "vary" in note]


def test_a_loss_of_which_some_runs_fall_or_lose_a_class_is_noted(tmp_path):
    assert unsteady_notes(tmp_path / "steady", {}) == []
    [note] = unsteady_notes(tmp_path / "fallen", {(0.4, 1): 17, (0.6, 3): 20})
    assert note.startswith("Results with mae vary: 2 of 15 runs collapsed or fell far below the others of their cell")
    assert unsteady_notes(tmp_path / "lost", {(0.2, 0): 1}, collapsed=True)
    whole_cell = {(0.6, seed): 20 for seed in range(5)}
    assert unsteady_notes(tmp_path / "always", whole_cell, collapsed=True) == []


# Rates


def tolerated_of(result: Comparison, loss: str):
    [line] = [line for line in result.tolerated if line.loss == loss]
    return line


FALLING = [
    *[Made("none", 0.0, loss, right) for loss, right in (("ce", 92), ("mae", 91), ("elr", 80))],
    *[Made("symmetric", rate, "ce", right) for rate, right in ((0.2, 92), (0.4, 88), (0.6, 60))],
    *[Made("symmetric", rate, "mae", right) for rate, right in ((0.2, 90), (0.4, 90), (0.6, 90))],
    *[Made("symmetric", rate, "elr", right) for rate, right in ((0.2, 80), (0.4, 95), (0.6, 95))],
]


def test_tolerance_is_where_a_loss_falls_two_points_below_the_baselines_control(tmp_path):
    result = compared(write(tmp_path, FALLING))
    points = {line.loss: (line.tolerance.point.censoring, line.tolerance.point.rate) for line in result.tolerated}
    assert points["ce"] == ("exact", pytest.approx(0.3))  # 92 at 0.2, 88 at 0.4: 90 in the middle
    assert points["mae"] == ("at_least", 0.6)
    assert points["elr"] == ("none", None)  # its own control is twelve points lower


@pytest.mark.parametrize(("trust", "lines"), [("all", 3), ("test", 3), ("none", 0)])
def test_nothing_is_tolerated_by_test_labels_that_may_be_wrong(tmp_path, trust, lines):
    layout = Layout(write(tmp_path, FALLING))
    before = datasets.need(layout)
    request = msgspec.structs.replace(before.request, source="folder:photos", trust=trust)
    datasets.write(layout, msgspec.structs.replace(before, request=request))
    result = compared(tmp_path)
    assert len(result.tolerated) == lines
    assert sum(note.startswith("Tolerated rates are left out") for note in result.notes) == (trust == "none")
    assert [photos.trust for photos in result.datasets] == [trust]


def test_tolerance_follows_delta(tmp_path):
    root = write(tmp_path, FALLING)
    assert tolerated_of(compared(root, delta=4.0), "ce").tolerance.point.rate == pytest.approx(0.4)
    assert tolerated_of(compared(root, delta=1.0), "mae").tolerance.point.censoring == "below"
    assert compared(root, delta=1.0).delta == 0.01


def test_crossover_is_where_a_loss_gets_ahead_of_the_baseline(tmp_path):
    result = compared(write(tmp_path, FALLING))
    assert tolerated_of(result, "ce").crossover is None
    crossing = tolerated_of(result, "mae").crossover.point
    assert (crossing.censoring, crossing.rate) == ("exact", pytest.approx(0.3))  # −2 at 0.2, +2 at 0.4
    [note] = [note for note in result.notes if "ahead of ce" in note]
    assert note == (
        "Under symmetric noise, these losses get ahead of ce once about this share of labels is made wrong: "
        "elr 32.6 %, mae 30.0 %."
    )


def test_a_lead_that_is_not_significant_is_not_told_of(tmp_path):
    made = [Made("none", 0.0, "ce", 90), Made("none", 0.0, "mae", 90)]
    made += [Made("symmetric", rate, "ce", 80) for rate in (0.4, 0.6)]
    made += [Made("symmetric", rate, "mae", 82) for rate in (0.4, 0.6)]
    result = compared(write(tmp_path, made))
    assert tolerated_of(result, "mae").crossover.point.censoring == "below"
    assert not any("ahead" in note for note in result.notes)


@pytest.mark.parametrize(("rate", "collapsed"), [(0.2, True), (0.6, False)])
def test_a_tolerated_rate_tells_of_collapses_up_to_it(tmp_path, rate, collapsed):
    made = [dataclasses.replace(run, collapsed=(run.loss, run.rate) == ("ce", rate)) for run in FALLING]
    assert tolerated_of(compared(write(tmp_path, made)), "ce").collapsed == collapsed


def test_nothing_is_tolerated_beside_a_baseline_that_collapsed_without_noise(tmp_path):
    made = [dataclasses.replace(run, collapsed=run.key == FALLING[0].key) for run in FALLING]
    result = compared(write(tmp_path, made))
    assert {line.tolerance for line in result.tolerated} == {None}
    assert {line.loss for line in result.tolerated} == {"mae", "elr"}, "crossovers need no control"


# What is shown


def conditions_and_losses(result: Comparison) -> tuple[list[str], list[str]]:
    return [f"{noise} {rate:g}" for noise, rate in result.conditions], [column.loss for column in result.columns]


MANY = [
    Made(noise, rate, loss, 80)
    for noise, rate in (("none", 0.0), ("pairflip", 0.2), ("symmetric", 0.2), ("symmetric", 0.4))
    for loss in ("ce", "gce", "gce:q=0.5", "mae", "sce:alpha=1,beta=0.5")
]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (None, ["none 0", "pairflip 0.2", "symmetric 0.2", "symmetric 0.4"]),
        ("symmetric,pairflip", ["none 0", "symmetric 0.2", "symmetric 0.4", "pairflip 0.2"]),
        ("pairflip", ["none 0", "pairflip 0.2"]),
        ("0.20", ["none 0", "pairflip 0.2", "symmetric 0.2"]),
        ("symmetric,0.4", ["none 0", "symmetric 0.4"]),
        ("control", ["none 0"]),
    ],
)
def test_rows_names_noise_models_and_rates_in_the_order_to_show_them(tmp_path, rows, expected):
    assert conditions_and_losses(compared(write(tmp_path, MANY), rows=rows))[0] == expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (None, ["ce", "gce", "gce:q=0.5", "mae", "sce:alpha=1,beta=0.5"]),
        ("mae,ce", ["mae", "ce"]),
        ("gce", ["gce"]),
        ("gce:q=0.50", ["gce:q=0.5"]),
        ("sce", ["sce:alpha=1,beta=0.5"]),
        ("sce:beta=0.5,alpha=1,mae", ["sce:alpha=1,beta=0.5", "mae"]),
        ("mae, resnet50", ["mae"]),
    ],
)
def test_columns_names_losses_in_the_order_to_show_them(tmp_path, columns, expected):
    assert conditions_and_losses(compared(write(tmp_path, MANY), columns=columns))[1] == expected


def test_columns_can_choose_a_mode(tmp_path):
    made = [Made("none", 0.0, "ce", 90, mode=mode) for mode in ("features", "finetune")]
    assert [column.setup.mode for column in compared(write(tmp_path, made), columns="finetune").columns] == ["finetune"]


def test_what_is_hidden_is_still_compared_with_but_not_corrected_for(tmp_path):
    root = write(tmp_path, ONE_SEED)
    everything, part = compared(root), compared(root, columns="mae", rows="symmetric")
    row, same = row_of(part, "symmetric", "mae"), row_of(everything, "symmetric", "mae")
    assert (row.drop, row.difference.p) == (same.drop, same.difference.p)
    assert same.difference.p_holm == pytest.approx(3 * same.difference.p)  # the second smallest of four
    assert row.difference.p_holm == pytest.approx(row.difference.p)  # the larger of two, the control's the other
    assert not any("baseline" in note for note in part.notes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rows": "symetric"}, r"--rows: no run has 'symetric' \(did you mean symmetric\?\); there are: 0, 0.2"),
        ({"rows": "0.3"}, "--rows: no run has '0.3'"),
        ({"columns": "ce,elr"}, "--columns: no run has 'elr'.*there are: ce, features, gce"),
        ({"delta": -1.0}, "--delta -1 must be at least 0 and below 100"),
        ({"delta": math.nan}, "--delta nan must be"),
    ],
)
def test_rows_columns_and_deltas_that_are_not_there_are_refused(tmp_path, settings, message):
    with pytest.raises(BadRequestError, match=message):
        compared(write(tmp_path, MANY), **settings)


def test_rows_and_columns_that_no_run_has_together_are_refused(tmp_path):
    made = [Made("none", 0.0, "ce", 90, mode="finetune"), Made("none", 0.0, "mae", 90)]
    with pytest.raises(BadRequestError, match="no run matches both --rows and --columns"):
        compared(write(tmp_path, made), columns="mae,finetune")


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "mcc", "memorised", "recovered"])
def test_a_sweep_of_which_everything_failed_is_shown_as_such(tmp_path, metric):
    made = [Made("none", 0.0, "ce", 0, failure="diverged"), Made("symmetric", 0.4, "mae", 0, failure="diverged")]
    result = compared(write(tmp_path, made), metric=metric)
    assert [(row.mean, row.failed, row.values) for row in result.rows] == [(None, 1, ())] * 2
    json.loads(as_json(result), parse_constant=pytest.fail)


def test_sorting_by_mean_orders_the_losses_of_the_table_best_first(tmp_path):
    root = write(tmp_path, [run for run in FALLING if run.loss != "ce"] + [Made("none", 0.0, "ce", 70)])
    assert conditions_and_losses(compared(root, sort_by="mean"))[1] == ["mae", "elr", "ce"]
    lower = [dataclasses.replace(run, memorised=share) for run, share in zip(TWO_LOSSES, (0.1, 0.3) * 3, strict=True)]
    by_memory = compared(write(tmp_path / "lower", lower), metric="memorised", sort_by="mean")
    assert [row.mean for row in by_memory.rows] == sorted(row.mean for row in by_memory.rows)


# Several directories


def with_photos(root: Path, dataset: Dataset) -> Dataset:
    """The data set with an index of its photos, which tells whether data sets share those of test."""
    listed = [
        photos.IndexedPhoto(f"{split} {label} {number}", split, label, "")
        for split, counts in zip(SPLITS, dataset.counts, strict=True)
        for label, count in enumerate(counts)
        for number in range(count)
    ]
    index = photos.write_index(Layout(root).photos, listed, dataset.classes)
    return msgspec.structs.replace(dataset, index=index)


def test_directories_of_one_data_set_share_a_table_and_its_columns(tmp_path):
    one = write(tmp_path / "one", ONE_SEED)
    tuned = [dataclasses.replace(run, backbone="efficientnet_lite0", mode="finetune") for run in ONE_SEED]
    result = compared(one, write(tmp_path / "two", tuned))
    assert len(result.datasets) == 1
    kinds = [("resnet50", "features", "")] * 3 + [("efficientnet_lite0", "finetune", "")] * 3
    assert [(each.setup.backbone, each.setup.mode, each.variant) for each in result.columns] == kinds
    assert result.directories == (str(tmp_path / "one"), str(tmp_path / "two"))
    assert {(row.setup.backbone, row.directory) for row in result.rows} == {("resnet50", 0), ("efficientnet_lite0", 1)}
    best = [row.directory for row in result.rows if row.best and row.noise == "none"]
    assert best == [0, 1], "one best under a noise, whatever the directory; here two equal ones"


def test_a_loss_is_compared_with_the_baseline_of_its_kind_and_that_with_the_first(tmp_path):
    tuned = [dataclasses.replace(run, right=run.right + 5, mode="finetune") for run in ONE_SEED]
    result = compared(write(tmp_path / "one", ONE_SEED), write(tmp_path / "two", tuned))
    differences = {
        (row.setup.mode, row.loss): row.difference.mean for row in result.rows if row.difference and row.noise != "none"
    }
    assert differences == {
        ("features", "gce"): pytest.approx(0.06),
        ("features", "mae"): pytest.approx(0.15),
        ("finetune", "ce"): pytest.approx(0.05),
        ("finetune", "gce"): pytest.approx(0.06),
        ("finetune", "mae"): pytest.approx(0.15),
    }
    alone = [row.difference.p_holm for row in compared(tmp_path / "one").rows if row.difference]
    together = [row.difference.p_holm for row in result.rows if row.difference and row.setup.mode == "features"]
    assert all(more >= less for more, less in zip(together, alone, strict=True)), "corrected over both directories"


def test_a_baseline_may_lie_in_another_directory(tmp_path):
    one = write(tmp_path / "one", [run for run in FALLING if run.loss == "ce"])
    result = compared(one, write(tmp_path / "two", [run for run in FALLING if run.loss == "mae"]))
    assert [column.loss for column in result.columns] == ["ce", "mae"]
    assert tolerated_of(result, "mae").tolerance.point.censoring == "at_least"
    assert all(row.difference for row in result.rows if row.loss == "mae")


def test_directories_that_hold_the_same_runs_are_told_apart_by_name(tmp_path):
    better = [dataclasses.replace(run, right=run.right + 2) for run in TWO_LOSSES]
    result = compared(write(tmp_path / "plain", TWO_LOSSES), write(tmp_path / "tuned", better))
    assert [(column.loss, column.variant) for column in result.columns] == [
        ("ce", "plain"), ("mae", "plain"), ("ce", "tuned"), ("mae", "tuned"),
    ]  # fmt: skip


def test_a_loss_is_compared_with_the_baseline_of_its_own_directory_if_that_has_one(tmp_path):
    made = [Made("none", 0.0, "ce", 70), Made("none", 0.0, "mae", 80)]
    others = [Made("none", 0.0, "ce", 75), Made("none", 0.0, "mae", 81)]
    result = compared(write(tmp_path / "one", made), write(tmp_path / "two", others))
    means = [round(row.difference.mean, 9) if row.difference else None for row in result.rows]
    assert means == [None, 0.1, 0.05, 0.06]


def test_another_evaluation_of_any_directory_is_another_comparison(tmp_path):
    one, two = write(tmp_path / "one", ONE_SEED), tmp_path / "two"
    tuned = [dataclasses.replace(run, mode="finetune") for run in ONE_SEED]
    before = compared(one, write(two, tuned))
    after = compared(one, write(two, [dataclasses.replace(run, right=run.right - 10) for run in tuned]))
    assert [row.mean for row in after.rows] != [row.mean for row in before.rows]


def test_data_sets_are_kept_apart_and_nothing_is_tested_across_them(tmp_path):
    five = with_photos(tmp_path / "five", flowers())
    binary = flowers(BINARY, (80, 20), val=0, identity="binary")
    request = msgspec.structs.replace(binary.request, positive="sunflowers")
    binary = msgspec.structs.replace(binary, request=request)
    binary = with_photos(tmp_path / "two", binary)
    one = write(tmp_path / "five", ONE_SEED, five)
    result = compared(one, write(tmp_path / "two", [run for run in ONE_SEED if run.loss == "mae"], binary))
    assert [photos.name for photos in result.datasets] == ["synthetic", "synthetic, sunflowers or not"]
    assert [(photos.majority, photos.select) for photos in result.datasets] == [(0.2, "selected"), (0.8, "last")]
    assert (result.majority, result.select) == (None, None)
    assert [column.loss for column in result.columns] == ["ce", "gce", "mae"]
    assert {row.difference for row in result.rows if row.dataset == 1} == {None}
    assert {bool(row.balanced) for row in result.rows if row.dataset == 1} == {True}
    assert {bool(row.balanced) for row in result.rows if row.dataset == 0} == {False}
    json.loads(as_json(result), parse_constant=pytest.fail)


def test_data_sets_with_the_same_test_photos_are_one(tmp_path):
    """Prepared at another image size, say: the same photos in the same split."""
    one = with_photos(tmp_path / "one", flowers())
    two = with_photos(tmp_path / "two", flowers(identity="larger"))
    tuned = [dataclasses.replace(run, mode="finetune") for run in ONE_SEED]
    result = compared(write(tmp_path / "one", ONE_SEED, one), write(tmp_path / "two", tuned, two))
    assert len(result.datasets) == 1
    assert any(row.difference for row in result.rows if (row.loss, row.setup.mode) == ("ce", "finetune"))


def test_a_stale_directory_among_several_is_named(tmp_path):
    fresh = write(tmp_path / "fresh", ONE_SEED)
    tuned = [dataclasses.replace(run, mode="finetune") for run in ONE_SEED]
    stale = write(tmp_path / "stale", tuned, inputs="of other blocks")
    [note] = [note for note in compared(fresh, stale).notes if "changed since" in note]
    assert note.startswith(f"{stale}: Runs were added")


def test_a_directory_named_twice_is_refused(tmp_path):
    root = write(tmp_path, ONE_SEED)
    with pytest.raises(BadRequestError, match="a directory is named twice"):
        compared(root, root / ".." / root.name)


# What was computed before


class Notes(Silent):
    """Progress that keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def forget_answers(root: Path) -> None:
    """Removes what a comparison must read if it computes anything."""
    [blob] = root.glob("evaluation-*.h5")
    blob.unlink()


def kept_in(root: Path) -> list[Path]:
    return sorted(Layout(root).comparisons.glob("*"))


def test_the_second_time_nothing_is_computed_read_or_written(tmp_path):
    root = write(tmp_path, TWO_LOSSES)
    first = compared(root)
    before = [(path, path.stat().st_mtime_ns) for path in sorted(root.rglob("*"))]
    assert compared(root) == first
    assert [(path, path.stat().st_mtime_ns) for path in sorted(root.rglob("*"))] == before
    forget_answers(root)
    assert as_json(compared(root)) == as_json(first)


@pytest.mark.parametrize(
    "settings",
    [
        {"metric": "macro_f1"},
        {"select": "oracle"},
        {"baseline": "mae"},
        {"delta": 3.0},
        {"rows": "symmetric"},
        {"columns": "ce"},
        {"sort_by": "mean"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_other_settings_are_another_comparison(tmp_path, settings):
    root = write(tmp_path, TWO_LOSSES)
    compared(root)
    with_settings = compared(root, **settings)
    assert len(kept_in(root)) == 2
    forget_answers(root)
    assert compared(root, **settings) == with_settings


def test_the_same_settings_written_otherwise_are_the_same_comparison(tmp_path):
    root = write(tmp_path, TWO_LOSSES)
    compared(root, baseline="gce:q=0.7")
    compared(root, baseline="gce")
    assert len(kept_in(root)) == 1


def test_another_evaluation_is_another_comparison_and_the_old_one_is_removed(tmp_path):
    root = write(tmp_path, TWO_LOSSES)
    old = compared(root)
    [before] = kept_in(root)
    new = compared(write(root, [dataclasses.replace(run, right=run.right - 10) for run in TWO_LOSSES]))
    assert new.rows[0].mean == old.rows[0].mean - 0.1
    [after] = kept_in(root)
    assert after != before


def test_runs_that_change_afterwards_are_noted_from_what_was_kept(tmp_path):
    root = write(tmp_path, TWO_LOSSES)
    assert not any("changed" in note for note in compared(root).notes)
    layout = Layout(root)
    layout.runs.mkdir(exist_ok=True)
    files.write_record(layout.runs / "another.json", runs.KIND, another_block())
    assert any("changed since" in note for note in compared(root).notes)
    assert len(kept_in(root)) == 1


def another_block() -> RunBlock:
    return a_block("photos", (), selections=ALL)


@pytest.mark.parametrize("harm", ["truncated", "of other answers", "of another kind"])
def test_what_was_kept_and_is_broken_or_foreign_is_computed_again_with_a_note(tmp_path, harm):
    root = write(tmp_path, TWO_LOSSES)
    expected = compared(root)
    [path] = kept_in(root)
    whole = path.read_bytes()
    if harm == "truncated":
        path.write_bytes(whole[:-10])
    elif harm == "of another kind":
        files.write_record(path, "preset", PresetRecord("seed", "photos"))
    else:
        kept = files.read_record(path, comparisons.KIND, KeptComparison)
        files.write_record(path, comparisons.KIND, msgspec.structs.replace(kept, key="0" * 64))
    notes = Notes()
    assert compared(root, progress=notes) == expected
    [note] = notes.notes
    assert note.startswith(str(path))
    assert note.endswith("; comparing again")
    assert path.read_bytes() == whole
    compared(root, progress=notes)
    assert len(notes.notes) == 1


def test_a_directory_that_cannot_be_written_is_compared_all_the_same(tmp_path):
    root = write(tmp_path, TWO_LOSSES)
    Layout(root).comparisons.write_text("a file in the place of the folder")
    notes = Notes()
    assert compared(root, progress=notes) == compared(root, progress=notes)
    assert notes.notes == []


# Probabilities


def test_metrics_of_probabilities_are_of_the_selection_shown_and_need_the_evaluated_runs(sweep, tmp_path):
    root = sweep(tmp_path / "sweep", probabilities=True, seeds=2)
    result = compared(root, metric="nll")
    right = row_of(compared(root), "none", "ce").mean
    expected = -right * math.log(0.84) - (1 - right) * math.log(0.04)  # as the sweep's answers are made
    assert row_of(result, "none", "ce").mean == pytest.approx(expected, rel=1e-5)
    assert (result.unit, result.better) == ("plain", "lower")
    layout = Layout(root)
    files.write_record(layout.runs / "another.json", runs.KIND, another_block())
    with pytest.raises(BadRequestError, match="runs were added or changed since; run `flowernoise evaluate` first"):
        compared(root, metric="nll")


def test_probabilities_of_a_fine_tuned_run_count_as_those_of_a_head(sweep, tmp_path):
    tuned, heads = (sweep(tmp_path / mode, mode=mode, probabilities=True) for mode in ("finetune", "features"))
    assert row_of(compared(tuned, metric="brier"), "none", "ce").mean == pytest.approx(
        row_of(compared(heads, metric="brier"), "none", "ce").mean
    )


# Settings are part of a run


def trained_so(epochs: int, recency: int, right: dict[str, int], start: int = 0, **known) -> list[Made]:
    """Runs of one seed of the control and under noise, of these losses, all trained in one way."""
    return [
        Made(noise, rate, loss, count - (10 if rate else 0), epochs=epochs, recency=recency, start=start, **known)
        for noise, rate in (("none", 0.0), ("symmetric", 0.4))
        for loss, count in right.items()
    ]


def shown(result: Comparison) -> list[tuple[str, int]]:
    return [(column.loss, column.setup.epochs) for column in result.columns]


def test_runs_trained_with_other_settings_are_never_in_one_cell(tmp_path):
    made = [Made("none", 0.0, "ce", 90, seed=seed, epochs=400 if seed == 0 else 5) for seed in range(3)]
    result = compared(write(tmp_path, made), where=("epochs=5", "epochs=400"))
    assert sorted((row.setup.epochs, row.seeds) for row in result.rows) == [(5, 2), (400, 1)]


def test_what_was_trained_differently_is_not_compared_as_if_it_were_the_same(tmp_path):
    """Cross-entropy after one epoch, L1 after thirty: L1 has no baseline, so nothing is better and nothing best."""
    made = trained_so(1, 1, {"ce": 50}) + trained_so(30, 2, {"mae": 95})
    result = compared(write(tmp_path, made))
    assert shown(result) == [("ce", 1), ("mae", 30)]
    assert not any(row.difference or row.best or row.tied for row in result.rows)
    assert result.tolerated == ()


def test_the_settings_trained_last_are_shown_with_their_own_baseline_and_the_rest_is_told_of(tmp_path):
    made = trained_so(3, 1, {"ce": 60, "mae": 95}) + trained_so(30, 2, {"ce": 80})
    result = compared(write(tmp_path, made))
    assert shown(result) == [("ce", 3), ("mae", 3), ("ce", 30)]
    assert not any("Not shown" in note for note in result.notes)
    result = compared(write(tmp_path, [*made, *trained_so(30, 2, {"mae": 90})]))
    assert shown(result) == [("ce", 30), ("mae", 30)]
    assert "Not shown: ce, mae trained with epochs 3. `--where epochs=3` shows them." in result.notes
    assert not any("Not shown" in note for note in compared(tmp_path, where=("epochs=30",)).notes)


def test_marks_are_held_within_a_group_and_the_groups_baselines_against_the_first(tmp_path):
    made = trained_so(3, 2, {"ce": 60, "mae": 95}) + trained_so(30, 1, {"ce": 80, "mae": 50})
    result = compared(write(tmp_path, made), where=("epochs=3", "epochs=30"))
    assert shown(result) == [("ce", 3), ("mae", 3), ("ce", 30), ("mae", 30)]
    of_noise = {(row.loss, row.setup.epochs): row for row in result.rows if row.noise == "symmetric"}
    assert {key for key, row in of_noise.items() if row.best} == {("mae", 3), ("ce", 30)}
    differences = {key: row.difference and round(row.difference.mean, 9) for key, row in of_noise.items()}
    assert differences == {("ce", 3): None, ("mae", 3): 0.35, ("ce", 30): 0.2, ("mae", 30): -0.3}


def test_where_shows_and_tests_what_it_picks_and_the_baseline_beside_it(tmp_path):
    made = trained_so(3, 2, {"ce": 60, "gce": 61, "mae": 95}) + trained_so(30, 1, {"ce": 80, "mae": 50})
    root = write(tmp_path, made)
    result = compared(root, where=("loss=mae,noise=symmetric",))
    assert shown(result) == [("ce", 3), ("mae", 3)]
    assert {row.noise for row in result.rows} == {"symmetric"}
    everything = compared(root)
    [alone] = [row.difference for row in result.rows if row.difference]
    [among] = [r.difference for r in everything.rows if r.difference and (r.loss, r.noise) == ("mae", "symmetric")]
    assert (alone.p, alone.p_holm) == (among.p, alone.p)
    assert among.p_holm > alone.p_holm, "corrected over all that is shown"
    assert [row.drop for row in result.rows] == pytest.approx([0.1, 0.1]), "below controls that are not shown"
    with pytest.raises(BadRequestError, match="no run has epochs=7; there are: 3, 30"):
        compared(root, where=("epochs=7",))


def test_json_rows_carry_the_settings_with_grids_as_lists(tmp_path):
    row = json.loads(as_json(compared(write(tmp_path, trained_so(3, 1, {"ce": 60})))))["rows"][0]
    assert {key: row[key] for key in SETTINGS} == {
        "extractor": "keras",
        "precision": "float32",
        "image_size": 32,
        "epochs": 3,
        "batch_size": 32,
        "optimizer": "adam",
        "learning_rate": [0.001],
        "l2": [0.0],
        **dict.fromkeys(("tune", "augment", "head", "weight_decay", "ema")),
    }


def test_different_versions_or_devices_within_a_cell_are_told_of(tmp_path):
    made = [Made("none", 0.0, loss, 90, seed=seed) for loss in ("ce", "mae") for seed in range(2)]
    root = write(tmp_path, made)
    assert not any("versions" in note for note in compared(root).notes)
    layout = Layout(root)
    evaluation = evaluations.find(layout)
    other = Provenance({"keras": "3.16"}, "tensorflow", "gpu: H100")
    first = msgspec.structs.replace(evaluation.provenances[0], versions={"keras": "3.15"})
    mixed = [msgspec.structs.replace(run, provenance=run.draw.seed) for run in evaluation.runs]
    changed = msgspec.structs.replace(evaluation, provenances=(first, other), runs=tuple(mixed))
    evaluations.write(layout, changed, evaluations.read(layout, evaluation))
    [note] = [note for note in compared(root).notes if "versions" in note]
    assert note == (
        "2 cells mix runs made with different versions or devices, such as ce under the control: device cpu and "
        "gpu: H100; keras 3.15 and 3.16."
    )


# What would mislead


def test_a_loss_that_is_given_the_true_matrix_is_marked_and_never_best(tmp_path):
    made = trained_so(3, 1, {"ce": 60, "mae": 70, "forward:T=true": 95, "gce": 71})
    result = compared(write(tmp_path, made))
    assert {row.loss for row in result.rows if row.best} == {"gce"}
    assert {row.loss for row in result.rows if row.oracle} == {"forward:T=true"}
    assert not any(row.tied for row in result.rows if row.oracle)
    assert all(row["oracle"] == (row["loss"] == "forward:T=true") for row in json.loads(as_json(result))["rows"])


def test_seeds_of_one_labelling_say_that_they_differ_in_training_only(tmp_path):
    made = [Made(noise, 0.2, "ce", 80, seed=seed) for noise in ("observed:a.csv", "symmetric") for seed in range(3)]
    [note] = [note for note in compared(write(tmp_path, made)).notes if "labelling" in note]
    assert note.startswith("All 3 seeds of a share one labelling and differ only in training.")


def test_nothing_is_tolerated_of_a_noise_model_that_was_seen_at_one_rate(tmp_path):
    made = [*FALLING, *(Made("pairflip", 0.3, loss, 85) for loss in ("ce", "mae"))]
    assert {line.noise for line in compared(write(tmp_path, made)).tolerated} == {"symmetric"}


def test_the_table_says_which_luck_its_intervals_leave_out(tmp_path):
    [one] = [note for note in compared(write(tmp_path / "one", ONE_SEED)).notes if "split" in note]
    assert one.startswith("With one seed and one split, the interval covers only the choice of test photos.")
    [several] = [note for note in compared(write(tmp_path / "several", TWO_LOSSES)).notes if "split" in note]
    assert several.startswith("There is one split. Another split of the photos would change the numbers")


def test_without_validation_photos_the_note_says_why_the_last_epoch_is_shown(tmp_path):
    root = write(tmp_path, [Made("none", 0.0, "ce", 60, has=("last",))], flowers(val=0))
    result = compared(root, select="selected")
    assert result.select == "last"
    assert "Without a validation split nothing can be selected, so the last epoch is shown." in result.notes


def test_tables_name_a_folder_without_the_path_that_leads_to_it(tmp_path):
    dataset = flowers()
    request = msgspec.structs.replace(dataset.request, source="folder:/home/ada/tulips")
    result = compared(write(tmp_path, TWO_LOSSES, msgspec.structs.replace(dataset, request=request)))
    for form in ("table", "markdown", "html", "latex"):
        text = writers.named(form).write(comparison.document(result))
        assert "folder:tulips" in text
        assert "ada" not in text
    [photos] = json.loads(as_json(result))["datasets"]
    assert (photos["name"], photos["source"]) == ("folder:tulips", "folder:/home/ada/tulips")
