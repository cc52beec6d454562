"""What commands say of what they did: tables that stay whole in narrow terminals, and the same as plain data."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from flowernoise.analysis.results.listed import Listed
from flowernoise.analysis.results.models import Agreement, ExportResult
from flowernoise.analysis.results.stages import TrainResult
from flowernoise.analysis.results.upkeep import Checked, Problem, Removed, RemoveResult, VerifyResult
from flowernoise.show import models, summaries, writers
from flowernoise.show.document import Document
from flowernoise.show.writers import table
from flowernoise.store.records import RunKey
from flowernoise.training.engine import Engine, Extractor
from tests.fabricated import a_setup

LITE, TUNED = a_setup("efficientnet_lite0", epochs=5), a_setup("efficientnet_lite0", mode="finetune", epochs=15)
NOISE = "asymmetric:pairs=roses/tulips+daisy/dandelion"
REMOVED = RemoveResult((Removed(NOISE, 0.4, "ce", LITE, 1200), Removed("none", 0.0, "mae", TUNED, 17)), removed=False)
DAMAGED = Problem("runs/0.json", "train", "runs/0.json is damaged", "`flowernoise train` makes it again", "runs/0.json")
VERIFIED = VerifyResult("artifacts", (Checked("prepare", 1, 3, 44_600_000),), (DAMAGED,), (DAMAGED,), (), mended=True)
LISTED = [
    Listed(
        "losses", "sce", ("alpha=0.1", "beta=1", "floor=0.0001"), "Symmetric cross-entropy.", "In full.\n  Formula."
    ),
    Listed("metrics", "accuracy", (), "The share of test photos that are classified right.", "In full."),
]


def shown(document: Document, width: int | None) -> list[str]:
    """The lines at a terminal of a width, without colours, or in a pipe (None)."""
    terminal = {"force_terminal": True, "width": width, "no_color": True, "color_system": None}
    options = {"force_terminal": False, "width": 100} if width is None else terminal
    console = Console(file=io.StringIO(), highlight=False, _environ={}, **options)
    table.show(document, console)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100])
def test_what_folds_does_so_where_it_may_be_broken_and_no_other_column_is_cut(width):
    lines = shown(summaries.removal(REMOVED), width)
    assert max(map(cell_len, lines)) <= width
    assert lines[0].split() == ["runs", "loss", "noise", "rate", "backbone", "mode", "epochs"]
    assert lines[2].split()[:2] == ["1,200", "ce"]
    assert "".join(line[13:40].strip() for line in lines[2:4]).startswith("asymmetric:pairs=")
    assert lines[-1].split() == ["1,217", "in", "all"]
    assert not any(line.endswith(" ") for line in lines)


def test_a_table_that_a_terminal_has_no_room_for_is_not_cut():
    lines = shown(summaries.removal(REMOVED), 30)
    assert any(NOISE in line for line in lines)


def test_a_table_in_a_pipe_is_as_wide_as_it_takes():
    wide = RemoveResult((Removed(NOISE * 3, 0.4, "ce", LITE, 1),), removed=True)
    assert any(NOISE * 3 in line for line in shown(summaries.removal(wide), None))


def test_verify_counts_what_is_wrong_by_stage_and_tells_it_below():
    lines = shown(summaries.verified(VERIFIED), 80)
    assert [line.split() for line in lines if line.startswith(("prepare", "train", "all"))] == [
        ["prepare", "1", "3", "44,600,000", "0"],
        ["train", "0", "0", "0", "1"],
        ["all", "1", "3", "44,600,000", "1"],
    ]
    assert lines[-2:] == [
        "repaired: runs/0.json is damaged",
        "wrong: runs/0.json is damaged; `flowernoise train` makes it again",
    ]


def test_every_kind_of_thing_has_a_table_and_one_thing_is_told_in_full():
    lines = shown(summaries.listed(LISTED, in_full=False), 80)
    assert [line for line in lines if line in ("losses", "metrics")] == ["losses", "metrics"]
    assert "sce:alpha=0.1,beta=1,floor=0.0001  Symmetric cross-entropy." in lines
    in_full = summaries.listed(LISTED[:1], in_full=True)
    assert shown(in_full, 20) == ["sce:alpha=0.1,beta=1,floor=0.0001", "", "In full.", "  Formula."]
    assert json.loads(writers.named("json").write(in_full))["things"][0]["name"] == "sce"


@pytest.mark.parametrize("photos_trained", [0, 500])
def test_the_times_of_a_training_add_up(photos_trained):
    result = TrainResult(
        trained=12,
        done_before=3,
        failed=(),
        setup=LITE,
        engine=Engine("tensorflow", "cpu", {"keras": "3.15", "tensorflow": "2.21"}),
        extractor=Extractor("openvino 2026.4 on cpu, from keras", "cpu", "float32"),
        feature_seconds=0.0 if photos_trained else 8.16,
        training_seconds=4.24,
        photos_trained=photos_trained,
        seconds=14.07,
    )
    text = summaries.training(result)
    whole = float(re.search(r"; ([\d.]+) s in all: ", text)[1])
    parts = [float(each) for each in re.findall(r" ([\d.]+) s(?=,|;|$)", text.partition("in all: ")[2])]
    assert len(parts) == (2 if photos_trained else 3)
    assert sum(parts) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("noise", "rate", "said"),
    [
        ("none", 0.0, "mae on labels without noise, seed 1, last epoch"),
        ("observed:/home/ada/human.csv,sha256=1f", 0.25, "mae on human at 0.25, seed 1, last epoch"),
    ],
)
def test_an_export_says_what_its_run_was_trained_on(noise: str, rate: float, said: str) -> None:
    key = RunKey(noise, rate, 1, "mae", LITE)
    result = ExportResult(
        Path("m.keras"), Path("m.json"), False, key, "last", ("a", "b"), "onnx", None, Agreement(9, 9, 0.0)
    )
    assert any(said in line for line in shown(models.exported(result), None))
