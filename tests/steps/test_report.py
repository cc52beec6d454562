"""The real command on small photos, real draws and heads that are made up: what is written, and that it reproduces."""

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flowernoise import options
from flowernoise.analysis.views.reports import Report
from flowernoise.errors import BadRequestError
from flowernoise.progress import Silent
from flowernoise.show.plot.kinds import pictures
from flowernoise.show.report import render
from flowernoise.show.session import Session
from flowernoise.steps.corrupt import CorruptSettings, corrupt
from flowernoise.steps.evaluate import evaluate
from flowernoise.steps.prepare import PrepareSettings, prepare
from flowernoise.steps.report import ReportSettings, gather, report
from flowernoise.steps.settings import CompareSettings, TrainSettings
from flowernoise.steps.status import status
from flowernoise.store import datasets, draws, files
from flowernoise.store.layout import Layout
from flowernoise.store.photos import read_index
from flowernoise.store.records import (
    CONTROL,
    DrawKey,
    PresetRecord,
    Provenance,
)
from tests.fabricated import a_setup, always_first, train_by_hand

EVIL = "<script>alert(1)"
SETTINGS_OF_RUN = (PrepareSettings, CorruptSettings, TrainSettings, CompareSettings)
CLASSES = (EVIL, "daisy", "a|b & c")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluated directory; the photos lie beside it, in folders that are called like markup."""
    root = tmp_path_factory.mktemp("made")
    for number, name in enumerate(CLASSES):
        (root / "photos" / name).mkdir(parents=True)
        for k in range(12):
            pixels = np.random.default_rng([number, k]).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "photos" / name / f"{k:02}.png")
    artifacts = root / "artifacts"
    settings = PrepareSettings(source=str(root / "photos"), image_size=16, train=18, val=6, test=9)
    prepare(artifacts, settings, Silent())
    corrupt(artifacts, CorruptSettings(noise=("symmetric", "pairflip"), rates=(0.2, 0.4), seeds=2), Silent())
    setup = a_setup(epochs=3, image_size=16, learning_rates=(0.001, 0.01))
    provenance = Provenance({"numpy": "2.0"}, "tensorflow", "cpu")
    train_by_hand(artifacts, ("ce", "mae"), setup, provenance=provenance, change=always_first("mae"))
    evaluate(artifacts, Silent())
    return artifacts


@pytest.fixture
def artifacts(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "artifacts")


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "100"}
    environment.pop("FLOWERNOISE_ARTIFACTS", None)
    return subprocess.run(
        [sys.executable, "-m", "flowernoise", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env=environment,
    )


@pytest.fixture
def only_the_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the metric instead of drawing all of a report, which takes seconds."""

    def instead(gathered: Report) -> dict[str, bytes]:
        return {"report.html": f"{gathered.comparison.metric} {gathered.comparison.select}".encode()}

    monkeypatch.setattr("flowernoise.steps.report.render", instead)


def contents(folder: Path) -> dict[str, bytes]:
    paths = [folder / "report.html", folder / "report.md", *sorted((folder / "report").iterdir())]
    paths.append(folder / "report.toml")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def gathered(made: Path) -> Report:
    return gather(made, ReportSettings(), Silent())


@pytest.fixture(scope="module")
def rendered(gathered: Report) -> dict[str, bytes]:
    return render(gathered)


def test_the_same_data_give_the_same_files_wherever_they_lie_and_only_those_that_differ_are_written(
    artifacts, rendered
):
    first = command("report", "-a", str(artifacts))
    assert (first.returncode, first.stdout) == (0, f"{artifacts}/report.html\n{artifacts}/report.md\n"), first.stderr
    assert contents(artifacts) == rendered

    written = (artifacts / "report.html").stat().st_mtime_ns
    (artifacts / "report.md").write_text("something else")
    again = command("report", "-a", str(artifacts), "--json")
    assert contents(artifacts) == rendered
    assert (artifacts / "report.html").stat().st_mtime_ns == written
    assert json.loads(again.stdout)["files"] == [
        {"path": str(artifacts / name), "bytes": len(data), "done_before": name != "report.md"}
        for name, data in rendered.items()
    ]
    stages = {stage.name: stage.state for stage in status(artifacts).stages}
    assert (stages["report"], stages["other"]) == ("there", "missing")


@pytest.mark.usefixtures("only_the_metric")
def test_a_second_report_says_that_it_touched_nothing(artifacts, capsys):
    session = Session(quiet=False, json=False)
    session.show_report(report(artifacts, ReportSettings(), session.progress))
    assert "nothing touched" not in capsys.readouterr().err
    session.show_report(report(artifacts, ReportSettings(), session.progress))
    assert "report: done already, nothing touched" in capsys.readouterr().err


def test_classes_called_like_markup_stay_text(rendered):
    page, text = rendered["report.html"].decode(), rendered["report.md"].decode()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in text
    assert "a\\|b &amp; c" in text
    pictures = {line.partition("](")[2].rstrip(")") for line in text.splitlines() if line.startswith("![")}
    assert {name for name in rendered if name.startswith("report/")} == pictures


def test_no_page_tells_where_the_photos_or_the_artifacts_lay(rendered, made):
    pages = {name: data for name, data in rendered.items() if name.endswith((".html", ".md"))}
    assert pages
    for page in pages.values():
        text = page.decode().replace("<wbr>", "")
        assert str(made.parent) not in text
        assert "folder:photos" in text


def test_paths_of_files_in_specs_are_variables_in_commands_and_names_elsewhere(artifacts, tmp_path):
    layout, labels = Layout(artifacts), tmp_path / "hidden" / "human.csv"
    labels.parent.mkdir()
    rows = [f"{photo.path},daisy" for photo in read_index(layout.photos, datasets.need(layout).index)]
    labels.write_text("\n".join(["path,label", *rows]))
    corrupt(artifacts, CorruptSettings(noise=(f"observed:{labels}",), seeds=1), Silent())
    setup, loss = a_setup(epochs=3, image_size=16), f"forward:T={tmp_path}/hidden/T.csv,sha256=1f"
    train_by_hand(artifacts, ("ce", loss), setup)
    evaluate(artifacts, Silent())
    found = gather(artifacts, ReportSettings(), Silent())
    files_of_it = render(found)
    for name, data in files_of_it.items():
        assert "hidden" not in name
        assert b"hidden" not in data.replace(b"<wbr>", b""), name
    assert {name for name in files_of_it if "human" in name}
    assert "FILE_2=human.csv  # a file, wherever you have it" in found.commands
    [drawing] = [line for line in found.commands if "observed" in line]
    assert '--noise observed:"$FILE_2",sha256=' in drawing
    assert any('--loss forward:T="$FILE_1",sha256=1f' in line for line in found.commands)


def test_every_picture_is_described_and_its_bytes_are_in_the_page(gathered, rendered):
    page = rendered["report.html"].decode()
    assert {picture.kind for picture in gathered.pictures} == set(pictures.names())
    for name, data in rendered.items():
        assert name.startswith("report.") or base64.b64encode(data).decode() in page
    alts = re.findall(r'<img alt="([^"]*)"', page)
    assert len(alts) == len(gathered.pictures) + len(gathered.sheets)
    assert all(re.search(r"\d", alt) for alt in alts)  # the gist, in numbers


@pytest.mark.usefixtures("only_the_metric")
def test_output_goes_elsewhere_and_leaves_the_directory_alone(artifacts, tmp_path):
    settings = ReportSettings(metric="macro_f1", output=tmp_path / "out")
    report(artifacts, settings, Silent())
    assert not (artifacts / "report.html").exists()
    assert (tmp_path / "out" / "report.html").read_bytes() == b"macro_f1 selected"


@pytest.mark.usefixtures("only_the_metric")
def test_another_selection_is_another_report(artifacts):
    report(artifacts, ReportSettings(), Silent())
    result = report(artifacts, ReportSettings(select="oracle"), Silent())
    assert not result.files[0].done_before
    assert (artifacts / "report.html").read_bytes() == b"accuracy oracle"


def test_the_commands_prepare_and_draw_the_same_again(gathered, made, tmp_path):
    (tmp_path / "empty").mkdir()
    source, *lines = gathered.commands
    assert source == "SOURCE=photos  # the photos, wherever you have them"
    assert [line.split()[1] for line in lines] == ["prepare", "corrupt", "train", "evaluate", "report"]
    for line in lines[:2]:
        words = shlex.split(line.replace("$SOURCE", str(made.parent / "photos")))
        finished = command(*words[1:], cwd=tmp_path / "empty")
        assert finished.returncode == 0, finished.stderr
    old, new = Layout(made), Layout(tmp_path / "empty" / "artifacts")
    dataset = datasets.need(new)
    assert dataset.id == datasets.need(old).id
    drawn, again = draws.index(old, dataset.id), draws.index(new, dataset.id)
    assert {key: each.draw.labels for key, each in drawn.items()} == {
        key: each.draw.labels for key, each in again.items()
    }


def test_the_command_of_training_names_every_setting(gathered):
    [line] = [line for line in gathered.commands if "train" in line.split()]
    assert line == (
        "flowernoise train --loss ce --loss mae --backbone resnet50 --mode features --epochs 3 --batch-size 32 "
        "--optimizer adam --learning-rate 0.001,0.01 --l2 0"
    )


def test_one_run_with_the_file_prepares_draws_and_trains_the_same_again(gathered, made, tmp_path):
    (tmp_path / "report.toml").write_text(gathered.sweep)
    assert gathered.sweep_command == 'flowernoise run "$SOURCE" --config report.toml'
    assert str(made.parent) not in gathered.sweep
    assert tomllib.loads(gathered.sweep)["learning-rate"] == [0.001, 0.01]
    settings = options.configured(
        [field for kind in SETTINGS_OF_RUN for field in options.fields_of(kind)], tmp_path / "report.toml", "run"
    )
    settings["source"] = str(made.parent / "photos")
    again, dataset = tmp_path / "again", datasets.need(Layout(made))
    prepare(again, options.made(PrepareSettings, settings), Silent())
    assert datasets.need(Layout(again)).id == dataset.id
    corrupt(again, options.made(CorruptSettings, settings), Silent())
    assert draws.index(Layout(again), dataset.id).keys() == draws.index(Layout(made), dataset.id).keys()
    wanted = options.made(TrainSettings, settings)
    assert (wanted.losses, wanted.epochs, wanted.l2) == (("ce", "mae"), 3, (0.0,))


def test_what_takes_several_runs_has_no_file(artifacts):
    corrupt(artifacts, CorruptSettings(noise=("pairflip",), rates=(0.1,), seeds=1), Silent())
    gathered = gather(artifacts, ReportSettings(), Silent())
    assert gathered.sweep == ""
    assert "report.toml" not in render(gathered)


def test_a_preset_is_one_command(artifacts):
    layout = Layout(artifacts)
    files.write_record(layout.preset, "preset", PresetRecord("seed", datasets.need(layout).id))
    _, first, last = gather(artifacts, ReportSettings(), Silent()).commands
    assert first.startswith("flowernoise run ")
    assert "--preset seed --noise pairflip --noise symmetric --rates 0.2,0.4 --seeds 2 --backbone resnet50" in first
    assert "--loss" not in first
    sweep = tomllib.loads(gather(artifacts, ReportSettings(), Silent()).sweep)
    assert (sweep["preset"], sweep["rates"], "loss" in sweep) == ("seed", [0.2, 0.4], False)
    assert last == "flowernoise report --metric accuracy"


def test_sheets_are_few_and_begin_with_clean_labels(gathered):
    assert [(sheet.kind, sheet.noise, sheet.rate) for sheet in gathered.sheets] == [
        ("clean", None, 0.0),
        ("draw", "pairflip", 0.4),
        ("draw", "symmetric", 0.4),
        ("mistakes", "pairflip", 0.4),
    ]
    assert gathered.sheets[-1].loss == "ce"


def test_draws_are_counted_with_their_realised_rates(gathered, made):
    drawn = gathered.drawn
    assert (drawn[0].noise, drawn[0].seeds, drawn[0].realised) == (CONTROL, 2, (0.0, 0.0))
    of_draws = draws.index(Layout(made), gathered.dataset.id)
    rates = [of_draws[DrawKey("symmetric", 0.4, seed)].draw.realised_rate for seed in (0, 1)]
    [symmetric] = [each for each in drawn if (each.noise, each.rate) == ("symmetric", 0.4)]
    assert symmetric.realised == (min(rates), max(rates))


def test_nothing_evaluated_is_one_clear_line(artifacts, tmp_path):
    Layout(artifacts).evaluation.unlink()
    with pytest.raises(BadRequestError, match="run `flowernoise evaluate` first"):
        gather(artifacts, ReportSettings(), Silent())
    finished = command("report", "-a", str(tmp_path / "nowhere"))
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
