"""What is drawn of an artifacts directory: small photos, real draws, and heads that are made up instead of trained."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from flowernoise.analysis.views.charts import highlighted
from flowernoise.analysis.views.material import Material, NothingToDrawError, Wanted
from flowernoise.analysis.views.pictures import slug
from flowernoise.errors import BadRequestError
from flowernoise.progress import Silent
from flowernoise.registry import Registry
from flowernoise.show.plot import kinds
from flowernoise.steps.compare import Row
from flowernoise.steps.corrupt import CorruptSettings, corrupt
from flowernoise.steps.evaluate import evaluate
from flowernoise.steps.plot import PlotSettings, pictures, plot
from flowernoise.steps.prepare import PrepareSettings, prepare
from flowernoise.store import datasets, draws, runs
from flowernoise.store.layout import Layout
from flowernoise.store.photos import labels_of, read_index
from flowernoise.store.records import (
    RunKey,
)
from flowernoise.training.selection import ALL, ONLY_LAST
from tests.fabricated import a_setup, always_first, train_by_hand

EPOCHS = 4
LOSSES = ("ce", "gce:q=0.5", "mae")


def half_right(artifacts: Path, losses=LOSSES, mode="features", backbone="resnet50") -> None:
    """Runs of every draw, which are right on every second test photo; mae always answers the first class."""
    layout = Layout(artifacts)
    dataset = datasets.need(layout)
    truth = labels_of(read_index(layout.photos, dataset.index), "test")

    def change(keys, answers):
        answers["test_probabilities"][:, :, ::2] = np.eye(3)[truth[::2]]
        always_first("mae")(keys, answers)

    selections = ALL if dataset.sizes[1] else ONLY_LAST
    setup = a_setup(backbone, mode, epochs=EPOCHS, image_size=16)
    train_by_hand(artifacts, losses, setup, selections=selections, change=change)


def make(artifacts: Path, photos: Path, *, val: int = 6, seeds: int = 2, noise=("symmetric", "pairflip")) -> Path:
    sizes = {"train": 20, "val": val, "test": 9}
    prepare(artifacts, PrepareSettings(source=str(photos), image_size=16, **sizes), Silent())
    if noise:
        corrupt(artifacts, CorruptSettings(noise=noise, rates=(0.2, 0.4), seeds=seeds), Silent())
    return artifacts


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(("daisy", "roses", "tulips")):
        (folder / name).mkdir()
        for k in range(12):
            pixels = np.random.default_rng([number, k]).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k:02}.png")
    return folder


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    artifacts = make(tmp_path_factory.mktemp("evaluated"), photos)
    half_right(artifacts)
    evaluate(artifacts, Silent())
    return artifacts


def data_of(artifacts: Path, kind: str, **settings):
    """The data of a kind's pictures, by name."""
    return {
        each.name: each.data for each in pictures(artifacts, PlotSettings(kind=kind, **settings), Silent()).pictures
    }


def refusal(artifacts: Path, **settings) -> str:
    with pytest.raises(BadRequestError) as caught:
        pictures(artifacts, PlotSettings(**settings), Silent())
    return str(caught.value)


@pytest.fixture
def named_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write what a picture shows instead of drawing it."""

    def named(picture, _form) -> bytes:
        return f"{picture.kind} {type(picture.data).__name__}".encode()

    monkeypatch.setattr("flowernoise.show.plot.draw", named)


# What is gathered


def test_all_kinds_without_a_kind(evaluated):
    gallery = pictures(evaluated, PlotSettings(), Silent())
    assert [each.name for each in gallery.pictures] == [
        "accuracy",
        "memorisation",
        "confusion-pairflip-0.4-seed0",
        "confusion-symmetric-0.4-seed0",
        "transition-pairflip-0.4-seed0",
        "transition-symmetric-0.4-seed0",
        "seeds",
    ]
    assert any("collapsed (mae)" in note for note in gallery.notes)


def test_losses_and_noise_narrow_and_the_control_stays(evaluated):
    [chart] = data_of(evaluated, "accuracy", losses=("gce", "ce"), noise=("pairflip",)).values()
    assert {cell.loss for cell in chart.cells} == {"ce", "gce:q=0.5"}
    assert {cell.noise for cell in chart.cells} == {"none", "pairflip"}
    assert chart.highlighted == ("ce", "gce:q=0.5")


def test_histories_are_those_of_the_blocks(evaluated):
    [histories] = data_of(evaluated, "memorisation").values()
    assert (histories.train_photos, histories.val_photos) == (20, 6)
    assert {(each.noise, each.rate) for each in histories.histories} == {
        (noise, rate) for noise in ("pairflip", "symmetric") for rate in (0.2, 0.4)
    }
    layout = Layout(evaluated)
    dataset = datasets.need(layout)
    found = runs.blocks(layout, dataset.id)
    for history in histories.histories:
        for seed, values in enumerate(history.memorised):
            key = RunKey(history.noise, history.rate, seed, history.loss, histories.chart.setup)
            stored = runs.live(found)[key]
            arrays = runs.read_predictions(layout, dataset, stored.block)
            np.testing.assert_array_equal(values, arrays["history_memorised"][stored.row].astype(float))


def test_confusion_counts_the_answers_of_the_selection(evaluated):
    data = data_of(evaluated, "confusion", noise=("symmetric",), rate=0.2, seed=1)
    [confusions] = data.values()
    assert list(data) == ["confusion-symmetric-0.2-seed1"]
    assert (confusions.rate, confusions.seed) == (0.2, 1)
    assert [matrix.loss for matrix in confusions.matrices] == list(LOSSES)
    cells = {cell.loss: cell for cell in confusions.chart.cells if (cell.noise, cell.rate) == ("symmetric", 0.2)}
    for matrix in confusions.matrices:
        assert matrix.counts.sum(axis=1).tolist() == list(confusions.chart.test_counts)
        assert matrix.counts.trace() / matrix.counts.sum() == pytest.approx(cells[matrix.loss].values[1])
    sure = confusions.matrices[-1]
    assert (sure.collapsed, sure.counts[:, 1:].sum()) == (True, 0)
    [other] = data_of(evaluated, "confusion", noise=("symmetric",), rate=0.2, seed=1, select="oracle").values()
    assert any((a.counts != b.counts).any() for a, b in zip(other.matrices, confusions.matrices, strict=True))


def test_the_control_has_matrices_where_it_is_asked_for(evaluated):
    assert list(data_of(evaluated, "confusion", noise=("none",))) == ["confusion-none-0-seed0"]
    [control] = data_of(evaluated, "transition", noise=("none",)).values()
    np.testing.assert_array_equal(control.realised, np.eye(3))


def test_transition_matrices_are_those_of_the_draw(evaluated):
    [found] = data_of(evaluated, "transition", noise=("symmetric",)).values()
    layout = Layout(evaluated)
    stored = draws.index(layout, datasets.need(layout).id)
    key = next(key for key in stored if (key.noise, key.rate, key.seed) == ("symmetric", 0.4, 0))
    labels = draws.read(layout, datasets.need(layout), [stored[key]])[key]
    np.testing.assert_array_equal(found.nominal, labels.transition_matrix)
    np.testing.assert_array_equal(found.realised, labels.realised_transition_matrix)
    assert found.train_counts == datasets.need(layout).counts[0]


def test_backbones_have_pictures_of_their_own(photos, tmp_path):
    make(tmp_path, photos, noise=("symmetric",))
    half_right(tmp_path, losses=("ce",))
    half_right(tmp_path, losses=("ce",), backbone="efficientnet_lite0")
    evaluate(tmp_path, Silent())
    charts = data_of(tmp_path, "accuracy")
    assert list(charts) == ["accuracy-efficientnet_lite0-features", "accuracy-resnet50-features"]
    assert [chart.backbone for chart in charts.values()] == ["efficientnet_lite0", "resnet50"]
    assert all(len(chart.cells) == 3 for chart in charts.values())
    assert len(data_of(tmp_path, "confusion")) == 2


def a_row(loss: str, mean: float | None, rate: float = 0.4, **known) -> Row:
    facts = {"seeds": 3, "values": (), "ci_low": None, "ci_high": None, "drop": None, "collapsed": 0, "failed": 0}
    facts |= {"best": False} | known
    return Row("symmetric" if rate else "none", rate, rate, loss, a_setup(), mean=mean, **facts)


def test_a_collapsed_or_failed_loss_never_stands_out_among_many():
    rows = [a_row(f"loss{k}", 0.5 + 0.01 * k) for k in range(20)]
    rows += [a_row("ce", 0.4), a_row("sure", 0.99, collapsed=1), a_row("broken", 0.98, failed=1), a_row("none", None)]
    assert highlighted(rows, "ce", "higher") == ("ce", "loss19", "loss18", "loss17", "loss16", "loss15")
    assert highlighted(rows, "ce", "lower") == ("ce", "loss0", "loss1", "loss2", "loss3", "loss4")
    rows.append(a_row("twice", 0.99))
    rows += [a_row(row.loss, row.mean, 0.6, best=row.loss == "loss3") for row in rows if row.loss != "twice"]
    assert highlighted(rows, "ce", "higher")[:3] == ("ce", "loss3", "loss19")


def test_names_of_files_are_short_and_plain_and_tell_specs_apart():
    assert slug("asymmetric:pairs=roses/tulips+daisy/dandelion") == "asymmetric-pairs-roses-tulips-daisy-dandelion"
    long = [slug(f"matrix:file={'far/' * 40}{k}.csv") for k in range(3)]
    assert len(set(long)) == 3
    assert all(len(name) <= 60 and "/" not in name for name in long)


# What cannot be drawn


def test_unknown_things_are_named_with_what_there_is(evaluated):
    assert "did you mean memorisation?" in refusal(evaluated, kind="memorization")
    assert "there are: ce, gce:q=0.5, mae" in refusal(evaluated, losses=("sce",))
    assert "unknown loss 'maee' (did you mean mae?)" in refusal(evaluated, losses=("maee",))
    assert "there are: none, pairflip, symmetric" in refusal(evaluated, noise=("uniform",))
    assert "symmetric at 0.2 0.4, seeds 0 1" in refusal(evaluated, kind="confusion", rate=0.3)
    assert "seed 9" in refusal(evaluated, kind="transition", seed=9)
    assert "--rate does not apply to accuracy; it is for confusion, transition" in refusal(
        evaluated, kind="accuracy", rate=0.4
    )
    assert "--loss does not apply to transition" in refusal(evaluated, kind="transition", losses=("ce",))
    assert "unknown metric" in refusal(evaluated, metric="luck")


@pytest.mark.parametrize(
    "asked",
    [
        {"losses": ("sce",)},
        {"noise": ("uniform",)},
        {"kind": "confusion", "rate": 0.3},
        {"kind": "confusion", "seed": 9},
        {"losses": ("mae",), "where": ("loss=ce",)},
    ],
)
def test_what_no_run_has_is_refused_before_anything_is_compared(evaluated, asked):
    there = set(Layout(evaluated).comparisons.glob("*"))
    refusal(evaluated, metric="mcc", **asked)  # not asked for elsewhere, so not kept already
    assert set(Layout(evaluated).comparisons.glob("*")) == there


def test_without_val_there_is_no_history_and_it_says_why(photos, tmp_path):
    make(tmp_path, photos, val=0, seeds=1)
    half_right(tmp_path)
    evaluate(tmp_path, Silent())
    assert "val 0" in refusal(tmp_path, kind="memorisation")
    assert "one seed has no spread" in refusal(tmp_path, kind="seeds")
    gallery = pictures(tmp_path, PlotSettings(), Silent())
    assert {each.kind for each in gallery.pictures} == {"accuracy", "confusion", "transition"}
    assert [note for note in gallery.notes if note.startswith("no picture of")] == [
        "no picture of memorisation: without a validation split (val 0) no history of epochs is kept",
        "no picture of seeds: one seed has no spread; `flowernoise corrupt --seeds N` draws more",
    ]


def test_the_control_alone_has_no_curve(photos, tmp_path):
    make(tmp_path, photos)
    corrupt(tmp_path, CorruptSettings(noise=("symmetric",), rates=(0.2,), seeds=2), Silent())
    half_right(tmp_path)
    evaluate(tmp_path, Silent())
    assert "only the control" in refusal(tmp_path, kind="accuracy", noise=("none",))
    assert "the control has no noise" in refusal(tmp_path, kind="memorisation", noise=("none",))


def test_each_stage_that_is_missing_is_named(photos, tmp_path):
    assert "run `flowernoise prepare` first" in refusal(tmp_path)
    make(tmp_path, photos, noise=())
    assert "run `flowernoise corrupt` first" in refusal(tmp_path, kind="transition")
    assert "run `flowernoise evaluate` first" in refusal(tmp_path)
    make(tmp_path, photos)
    assert "run `flowernoise evaluate` first" in refusal(tmp_path, kind="accuracy")
    gallery = pictures(tmp_path, PlotSettings(), Silent())
    assert {each.kind for each in gallery.pictures} == {"transition"}
    assert len(gallery.notes) == len(kinds.pictures.names()) - 1


# Where it goes


@pytest.mark.usefixtures("named_instead")
def test_files_are_written_once_and_left_alone_while_they_hold_the_same(evaluated, tmp_path):
    settings = PlotSettings(output=tmp_path / "deep" / "down")
    first = plot(evaluated, settings, Silent())
    assert not any(drawn.done_before for drawn in first.files)
    assert sorted(path.name for path in (tmp_path / "deep" / "down").iterdir()) == sorted(
        drawn.path.name for drawn in first.files
    )
    before = {drawn.path: drawn.path.stat().st_mtime_ns for drawn in first.files}
    first.files[0].path.write_bytes(b"something else")
    second = plot(evaluated, settings, Silent())
    assert [drawn.done_before for drawn in second.files] == [False] + [True] * (len(first.files) - 1)
    assert first.files[0].path.read_bytes() == b"accuracy Chart"
    assert all(path.stat().st_mtime_ns == before[path] for path in list(before)[1:])


@pytest.mark.usefixtures("named_instead")
def test_the_output_is_a_directory_or_the_file_of_one_picture(evaluated, tmp_path):
    def paths(**settings) -> list[Path]:
        return [drawn.path for drawn in plot(evaluated, PlotSettings(**settings), Silent()).files]

    assert paths(kind="accuracy") == [evaluated / "plots" / "accuracy.png"]
    assert paths(kind="seeds", format="svg", metric="balanced_accuracy") == [
        evaluated / "plots" / "seeds-balanced_accuracy.svg"
    ]
    assert paths(kind="accuracy", output=tmp_path / "curve.svg") == [tmp_path / "curve.svg"]
    assert paths(kind="accuracy", output=tmp_path / "v1.2") == [tmp_path / "v1.2" / "accuracy.png"]
    with pytest.raises(BadRequestError, match="one file for 2 pictures"):
        paths(kind="confusion", output=tmp_path / "curve.svg")
    with pytest.raises(BadRequestError, match="is not a file of --format png"):
        paths(kind="accuracy", output=tmp_path / "curve.svg", format="png")


def test_every_option_of_a_kind_is_a_setting():
    fields = {field.name for field in dataclasses.fields(PlotSettings)}
    assert {option for kind in kinds.pictures for option in kind.properties["options"]} <= fields


def a_view(material):
    """Two pictures of a directory, or nothing where mae is asked for."""
    if "mae" in material.wanted.losses:
        raise NothingToDrawError("mae has no ranks")
    yield "ranks", len(material.comparison.rows)
    yield "ranks-again", 0


@pytest.mark.parametrize("usual", [True, False])
def test_a_view_and_a_drawing_of_it_are_all_that_a_picture_takes(evaluated, monkeypatch, usual):
    own = Registry("picture")
    monkeypatch.setattr(kinds, "pictures", own)
    words = {"caption": str, "alt": str}

    @kinds.picture(a_view, options=("losses",), usual=usual, **words)
    def ranks(count):
        """Ranks."""

    @kinds.picture(lambda material: iter([("plain", None)]), options=(), compared=False, **words)
    def plain(nothing):
        """Plain."""

    asked = pictures(evaluated, PlotSettings(), Silent())
    assert [each.name for each in asked.pictures] == [*(["ranks", "ranks-again"] if usual else []), "plain"]
    assert bool(asked.notes) == usual  # nothing that needs no comparison is told what it says of itself
    with pytest.raises(BadRequestError, match="mae has no ranks"):
        list(own["ranks"].properties["view"](Material(Layout(evaluated), None, Wanted(("mae",)), None)))
    with pytest.raises(BadRequestError, match="--loss does not apply to plain; it is for ranks"):
        PlotSettings(kind="plain", losses=("mae",)).check_together()
