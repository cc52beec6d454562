"""Contact sheets of prepared photos, real draws and fabricated runs: nothing is trained."""

import csv
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowernoise.analysis.views.sheets import ContactSheet, most_confident, sample
from flowernoise.errors import BadRequestError, DamagedFileError, FlowernoiseError
from flowernoise.progress import Silent
from flowernoise.show import contact_sheet
from flowernoise.steps.corrupt import CorruptSettings, corrupt
from flowernoise.steps.prepare import PrepareSettings, prepare
from flowernoise.steps.preview import PreviewSettings, preview, sheets
from flowernoise.store import datasets, draws, photos, runs
from flowernoise.store.artifacts import Artifacts
from flowernoise.store.layout import Layout
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import Choice, DrawKey, RunBlock, RunKey
from tests.fabricated import a_block, a_run, a_setup

ALL = ("selected", "last", "oracle")
CONTROL, NOISY = DrawKey("none", 0.0, 0), DrawKey("symmetric", 0.4, 0)


class Listener(Silent):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def write_block(
    layout: Layout, losses: list[str], *, mode="features", selections=ALL, failures=(), certain=False, stream=0
) -> RunBlock:
    """A block of runs of every draw of seed 0, whose answers are made up; ``certain`` ones are all right."""
    dataset = datasets.need(layout)
    drawn = draws.index(layout, dataset.id)
    setup = a_setup(mode=mode, epochs=1)
    keys = [RunKey(d.noise, d.rate, d.seed, loss, setup) for d in drawn if d.seed == 0 for loss in losses]
    made = [
        a_run(key, drawn[key.draw].draw.labels, (Choice(0.001, 0.0, 1),), "diverged" if key.draw in failures else None)
        for key in keys
    ]
    block = a_block(dataset.id, made, setup, selections=selections)
    (train, val, test), classes = dataset.sizes, len(dataset.classes)
    random = np.random.default_rng(stream)
    shape = len(keys), len(selections)
    answers = random.dirichlet(np.ones(classes), (*shape, test))
    if certain:
        answers[:] = np.eye(classes)[photos.labels_of(photos.read_index(layout.photos, dataset.index), "test")]
    arrays = {
        "test_probabilities": answers,
        "val_probabilities": random.dirichlet(np.ones(classes), (*shape, val)),
        "train_predicted": random.integers(0, classes, (*shape, train)),
    }
    runs.write(layout, block, {**arrays, **{name: np.zeros((len(keys), 1)) for name in runs.HISTORY_ARRAYS}})
    return block


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 drawn photos in five classes, draws of two noise models and two seeds."""
    root = tmp_path_factory.mktemp("drawn")
    prepare(root, PrepareSettings(source="synthetic:photos=100,size=16", image_size=16), Silent())
    noise = ("symmetric", "pairflip:count=bernoulli")
    corrupt(root, CorruptSettings(noise=noise, rates=(0.2, 0.4), seeds=2), Silent())
    return root


@pytest.fixture
def artifacts(drawn: Path, tmp_path: Path) -> Path:
    """A copy of them to write to."""
    return shutil.copytree(drawn, tmp_path / "artifacts")


def made(root: Path, listener: Silent | None = None, **settings) -> list[ContactSheet]:
    return list(sheets(root, PreviewSettings(**settings), listener or Silent()))


def mtimes(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): path.stat().st_mtime_ns for path in directory.rglob("*")}


# The sample

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=40)


def indexed(labels: list[int]) -> list[IndexedPhoto]:
    return [IndexedPhoto(f"id{k}", "train", label, "") for k, label in enumerate(labels)]


@given(LABELS, st.integers(1, 45), st.integers(0, 3), st.randoms())
def test_the_sample_depends_on_ids_and_seed_alone(labels, count, seed, random):
    index = indexed(labels)
    picked = sample(index, count, seed)
    random.shuffle(index)
    assert sample(index, count, seed) == picked
    assert len({photo.id for photo in picked}) == min(count, len(labels))


@given(LABELS, st.integers(1, 45), st.integers(0, 3))
def test_the_sample_is_in_proportion_and_leaves_out_no_class(labels, count, seed):
    picked = sample(indexed(labels), count, seed)
    there, shown = Counter(labels), Counter(photo.label for photo in picked)
    if count >= len(there):
        assert set(shown) == set(there)
    for one in there:  # no class is owed two photos more than another, unless for the first of each
        for other in there:
            if shown[other] > 1 and shown[one] < there[one]:
                assert (shown[one] + 0.5) / there[one] >= (shown[other] - 0.5) / there[other]


@given(LABELS, st.integers(1, 45), st.integers(0, 3))
def test_a_larger_sample_holds_the_smaller_one(labels, count, seed):
    index = indexed(labels)
    assert {p.id for p in sample(index, count, seed)} <= {p.id for p in sample(index, count + 1, seed)}


def test_another_seed_shows_other_photos():
    index = indexed([0] * 50)
    assert sample(index, 10, seed=0) != sample(index, 10, seed=1)


@given(st.integers(1, 20), st.integers(2, 4), st.integers(0, 25), st.integers(0, 99))
def test_the_most_confident_mistakes_are_those_of_a_plain_search(count, classes, most, seed):
    random = np.random.default_rng(seed)
    probabilities, labels = random.dirichlet(np.ones(classes), count).round(1), random.integers(0, classes, count)
    wrong = [k for k in range(count) if list(probabilities[k]).index(max(probabilities[k])) != labels[k]]
    wanted = sorted(wrong, key=lambda k: (-max(probabilities[k]), k))[:most]
    assert most_confident(probabilities, labels, most).tolist() == wanted


# Sheets of draws


def test_every_sheet_shows_the_same_training_photos_with_the_labels_of_its_draw(drawn):
    held = Artifacts(drawn)
    train = [photo for photo in held.photos if photo.split == "train"]
    rows = {photo.id: row for row, photo in enumerate(train)}
    by_key = {draw.key: draw for draw in held.draws()}
    clean, *others = made(drawn, seeds=2)
    assert (clean.kind, clean.wrong, len(clean.photos)) == ("clean", 0, 24)
    assert [photo.given for photo in clean.photos] == [train[rows[photo.id]].label for photo in clean.photos]
    assert len(others) == 8
    for sheet in others:
        draw = by_key[DrawKey(sheet.noise, sheet.rate, sheet.seed)]
        assert [photo.id for photo in sheet.photos] == [photo.id for photo in clean.photos]
        assert all(a.pixels is b.pixels for a, b in zip(sheet.photos, clean.photos, strict=True))
        flipped = [bool(draw.train_flipped[rows[photo.id]]) for photo in sheet.photos]
        assert [caption.marked for caption in contact_sheet.captions(sheet)] == flipped
        assert sheet.wrong == sum(flipped)
        assert sheet.realised_rate == draw.realised_rate
    assert sum(sheet.wrong for sheet in others) > 20


@pytest.mark.parametrize(
    ("settings", "conditions"),
    [
        ({}, {("symmetric", 0.2), ("symmetric", 0.4), ("pairflip:count=bernoulli", 0.2)}
         | {("pairflip:count=bernoulli", 0.4)}),
        ({"noise": ("symmetric",)}, {("symmetric", 0.2), ("symmetric", 0.4)}),
        ({"noise": ("pairflip",), "rates": (0.4,)}, {("pairflip:count=bernoulli", 0.4)}),
        ({"noise": ("symmetric:count=exact",), "rates": (0.2, 0.4)}, {("symmetric", 0.2), ("symmetric", 0.4)}),
        ({"rates": (0.2,)}, {("symmetric", 0.2), ("pairflip:count=bernoulli", 0.2)}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("seeds", [1, 2, 9])
def test_draws_are_picked_by_noise_rate_and_number_of_seeds(drawn, settings, conditions, seeds):
    shown = [(sheet.noise, sheet.rate, sheet.seed) for sheet in made(drawn, seeds=seeds, **settings)[1:]]
    assert len(shown) == len(set(shown))
    assert set(shown) == {(*condition, seed) for condition in conditions for seed in range(min(seeds, 2))}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"noise": ("asymmetric",)},
            r"--noise asymmetric: .* no such draw; there are: pairflip:count=bernoulli 0\.2, ",
        ),
        ({"noise": ("symmetrc",)}, "did you mean symmetric"),
        ({"rates": (0.3,)}, r"--rates 0\.3: .* has no such draw"),
        ({"losses": ("gce",)}, "--loss gce: .* has no such run$"),
        ({"losses": ("gxe",)}, "did you mean gce"),
        ({"photos": 0}, "--photos 0 must be at least 1 and at most 600"),
        ({"photos": 601}, "--photos 601 "),
        ({"seeds": 0}, "--seeds 0 must be at least 1"),
    ],
)
def test_what_is_not_there_is_a_bad_request(drawn, settings, says):
    with pytest.raises(BadRequestError, match=says):
        made(drawn, **settings)


def test_more_photos_than_there_are_shows_all_of_them(drawn):
    sheet = made(drawn, photos=500)[0]
    assert len(sheet.photos) == len({photo.id for photo in sheet.photos}) == sheet.population == 70


def test_without_draws_only_clean_labels_are_shown(artifacts):
    shutil.rmtree(artifacts / "draws")
    listener = Listener()
    assert [sheet.kind for sheet in made(artifacts, listener)] == ["clean"]
    assert [note.partition(" yet")[0] for note in listener.notes] == ["nothing was drawn", "nothing was trained"]


def test_nothing_prepared_is_a_bad_request(tmp_path):
    with pytest.raises(BadRequestError, match="run `flowernoise prepare` first"):
        made(tmp_path)


def test_a_damaged_archive_is_named(artifacts):
    [archive] = (artifacts / "photos").glob("*.tar")
    archive.write_bytes(bytes(archive.stat().st_size))
    with pytest.raises(DamagedFileError, match=re.escape(str(archive))):
        made(artifacts)


# Sheets of mistakes


def test_mistakes_are_the_most_confident_ones_of_the_selected_epoch(artifacts):
    layout = Layout(artifacts)
    block = write_block(layout, ["ce", "mae"])
    dataset = datasets.need(layout)
    [stored] = runs.blocks(layout, dataset.id).values()
    arrays = runs.read_predictions(layout, dataset, stored)
    test = [photo for photo in photos.read_index(layout.photos, dataset.index) if photo.split == "test"]
    found = [sheet for sheet in made(artifacts, photos=5) if sheet.kind == "mistakes"]
    assert found[0].noise == "none"
    assert len(found) == 5
    for sheet in found:
        draw = DrawKey(sheet.noise, sheet.rate, sheet.seed)
        answers = arrays["test_probabilities"][[run.draw for run in block.runs].index(draw), 0]
        wrong = [row for row, photo in enumerate(test) if answers[row].argmax() != photo.label]
        best = sorted(wrong, key=lambda row: -answers[row].max())[:5]
        assert (sheet.selection, sheet.mistakes, sheet.population) == ("selected", len(wrong), 15)
        assert [photo.id for photo in sheet.photos] == [test[row].id for row in best]
        for row, photo in zip(best, sheet.photos, strict=True):
            assert (photo.true, photo.given) == (test[row].label, test[row].label)
            assert (photo.predicted, photo.probability) == (answers[row].argmax(), answers[row].max())
        assert sheet.wrong == len(best)
        assert sheet.inputs == stored.arrays.sha256


def test_the_runs_of_a_loss_are_asked_for_by_name(artifacts):
    write_block(Layout(artifacts), ["ce", "mae", "gce:q=0.5", "gce:q=0.6"])
    shown = [sheet.loss for sheet in made(artifacts, losses=("mae", "gce"), rates=(0.4,), noise=("symmetric",))]
    assert shown == [None, None, *("mae", "gce:q=0.5", "gce:q=0.6") * 2]
    with pytest.raises(BadRequestError, match=r"there are: ce, gce:q=0\.5, gce:q=0\.6, mae"):
        made(artifacts, losses=("gce:q=0.7",))


def test_without_cross_entropy_the_first_loss_is_shown(artifacts):
    write_block(Layout(artifacts), ["mae", "gce"])
    assert {sheet.loss for sheet in made(artifacts)} == {None, "gce"}


def test_a_failed_run_is_passed_over_and_named(artifacts):
    write_block(Layout(artifacts), ["ce"], failures=[DrawKey("symmetric", 0.4, 0)])
    listener = Listener()
    found = made(artifacts, listener, noise=("symmetric",), rates=(0.4,))
    assert [(sheet.kind, sheet.noise) for sheet in found][2:] == [("mistakes", "none")]
    assert listener.notes == ["mistakes of 1 run are left out, such as ce on symmetric at 0.4, seed 0: training failed"]


def test_a_fine_tuned_run_shows_its_mistakes(artifacts):
    write_block(Layout(artifacts), ["ce"], mode="finetune", selections=("last",))
    listener = Listener()
    assert {sheet.selection for sheet in made(artifacts, listener)} == {None, "last"}
    assert listener.notes == []


def test_a_run_without_mistakes_has_a_sheet_that_says_so(artifacts):
    write_block(Layout(artifacts), ["ce"], certain=True)
    found = [sheet for sheet in made(artifacts) if sheet.kind == "mistakes"]
    assert {(len(sheet.photos), sheet.mistakes) for sheet in found} == {(0, 0)}
    assert "no mistakes" in str(contact_sheet.title(found[0]))


# Files


def test_files_are_written_once_and_then_left_alone(artifacts):
    write_block(Layout(artifacts), ["ce"])
    first = preview(artifacts, PreviewSettings(photos=6), Silent())
    before = mtimes(artifacts)
    second = preview(artifacts, PreviewSettings(photos=6), Silent())
    assert (first.written, second.written) == (10, 0)
    assert mtimes(artifacts) == before
    assert (first.done_before, second.done_before) == (False, True)
    there = set((artifacts / "preview").iterdir())
    assert {*(sheet.file for sheet in first.sheets), artifacts / "preview" / "photos.csv"} == there
    assert first.sheets[1].file.name == "draw-pairflip_count=bernoulli-0.2-seed0-cfc075a3.png"


def test_the_photos_of_all_sheets_are_listed_with_labels_and_predictions(artifacts):
    write_block(Layout(artifacts), ["ce"])
    result = preview(artifacts, PreviewSettings(photos=6, noise=("symmetric",), rates=(0.4,)), Silent())
    with (artifacts / "preview" / "photos.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert Counter(row["sheet"] for row in rows) == {sheet.file.name: sheet.photos for sheet in result.sheets}
    held = Artifacts(artifacts)
    paths = {photo.id: photo.path for photo in held.photos}
    assert all(paths[row["id"]] == row["path"] for row in rows)
    wrong = [row for row in rows if row["sheet"].startswith("draw")]
    assert sum(row["label"] != row["given"] for row in wrong) == next(
        s.wrong for s in result.sheets if s.kind == "draw"
    )
    assert not any(row["predicted"] or row["probability"] for row in wrong)
    mistakes = [row for row in rows if row["sheet"].startswith("mistakes")]
    assert {row["split"] for row in mistakes} == {"test"}
    assert all(row["predicted"] != row["given"] == row["label"] for row in mistakes)
    assert all(0.2 <= float(row["probability"]) <= 1 for row in mistakes)


def test_other_answers_replace_the_sheet_and_no_other(artifacts):
    write_block(Layout(artifacts), ["ce"], stream=0)
    preview(artifacts, PreviewSettings(photos=6), Silent())
    write_block(Layout(artifacts), ["ce"], stream=1)
    again = preview(artifacts, PreviewSettings(photos=6), Silent())
    assert {sheet.kind for sheet in again.sheets if sheet.written} == {"mistakes"}


def test_the_directory_is_the_one_asked_for(artifacts, tmp_path):
    output = tmp_path / "elsewhere" / "sheets"
    result = preview(artifacts, PreviewSettings(photos=6, output=output), Silent())
    assert {sheet.file.parent for sheet in result.sheets} == {output}
    assert not (artifacts / "preview").exists()


def test_a_file_in_the_way_is_named(artifacts):
    (artifacts / "preview").write_text("")
    with pytest.raises(FlowernoiseError, match=r"cannot make the directory .*/preview: File exists"):
        preview(artifacts, PreviewSettings(photos=6), Silent())


SPECS = st.text(st.sampled_from("aB0:=,+/._- ü\n"), min_size=1, max_size=150)


@given(SPECS, SPECS)
def test_files_of_different_draws_have_different_plain_names(one, other):
    blank = ContactSheet("draw", "s", "train", 1, ("a",), (), "", noise="", rate=0.25)
    names = [dataclasses.replace(blank, noise=noise).name for noise in (one, other)]
    assert all(re.fullmatch(r"[A-Za-z0-9._=+,-]{1,140}", name) for name in names)
    assert (names[0] == names[1]) == (one == other)


# The command


def flowernoise(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flowernoise", "preview", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env})


def test_the_command_writes_equal_bytes_in_every_process(artifacts, tmp_path):
    write_block(Layout(artifacts), ["ce"])
    written = []
    for seed in ("1", "2"):
        output = tmp_path / seed
        options = (
            "-a",
            str(artifacts),
            "--noise",
            "symmetric",
            "--photos",
            "6",
            "--json",
            "--output",
            str(output),
        )
        shown = flowernoise(*options, "--quiet", PYTHONHASHSEED=seed)
        assert (shown.returncode, shown.stderr) == (0, "")
        answer = json.loads(shown.stdout)
        assert (answer["schema"], answer["written"]) == (1, 6)
        listed = str(output / "photos.csv")
        assert {*(sheet["file"] for sheet in answer["sheets"]), listed} == set(map(str, output.iterdir()))
        written.append({path.name: path.read_bytes() for path in output.iterdir()})
    assert written[0] == written[1]
    noisy = next(sheet for sheet in answer["sheets"] if sheet["kind"] == "draw" and sheet["rate"] == 0.4)
    assert (
        noisy.items() >= {"noise": "symmetric", "seed": 0, "realised_rate": 0.4, "photos": 6, "written": True}.items()
    )
    assert noisy["listed"][0].keys() == {"path", "id", "split", "label", "given", "predicted", "probability"}
    assert answer["list"] == listed
    again = flowernoise(*options)
    assert again.stderr == "preview: done already, nothing touched\n"
    assert json.loads(again.stdout)["written"] == 0


def test_the_command_lists_its_sheets_and_notes_what_is_missing(artifacts):
    shown = flowernoise("-a", str(artifacts), "--photos", "6", "--rates", "0.4")
    assert shown.returncode == 0
    assert [line.split()[0] for line in shown.stdout.split("\n") if ".png" in line] == [
        "clean.png",
        "draw-pairflip_count=bernoulli-0.4-seed0-7ad62d72.png",
        "draw-symmetric-0.4-seed0.png",
    ]
    assert shown.stderr == "nothing was trained yet, so mistakes are left out; `flowernoise train` comes first\n"
    assert flowernoise("-a", str(artifacts), "--photos", "6", "--rates", "0.4", "-q").stderr == ""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--photos", "0"), "--photos 0 must be at least 1 and at most 600"),
        (("--photos", "many"), "'many' is not a whole number"),
        (("--noise", "matrix"), "--noise matrix: "),
        (("--rates", "0.4;0.5"), "is not a number"),
        (("-a", "nowhere"), "nothing is prepared in nowhere; run `flowernoise prepare` first"),
    ],
)
def test_a_bad_request_is_one_line(drawn, options, says):
    shown = flowernoise("-a", str(drawn), *options)
    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (2, "", 1)
    assert shown.stderr.startswith("error: ")
    assert says in shown.stderr


def test_defaults_in_the_help_are_those_of_the_step():
    shown = " ".join(flowernoise("--help").stdout.split())
    defaults = PreviewSettings()
    assert f"Photos per sheet. [default: {defaults.photos}]" in shown
    assert f"for each noise and rate. [default: {defaults.seeds}]" in shown
