"""The state of an artifacts directory as people see it (see conftest.py for how to write the golden files anew)."""

import dataclasses
import io

import pytest
from rich.console import Console

from flowernoise.analysis.results.status import (
    DrawCount,
    FeatureCount,
    Litter,
    RunCount,
    SetupSize,
    Stage,
    Status,
)
from flowernoise.show import status
from flowernoise.show.writers import table
from flowernoise.store.stages import SHOWN
from tests.fabricated import a_setup

EMPTY = Status(
    directory="artifacts",
    source=None,
    classes=(),
    photos=None,
    given_splits=(),
    stages=tuple(Stage(name, "missing", 0, 0) for name in SHOWN),
    draws=(),
    stale_draws=0,
    features=(),
    runs=(),
    setups=(),
    stale_runs=0,
    evaluated=0,
    litter=(),
    problems=(),
    inside=(),
    next="flowernoise prepare",
)


LITE, TUNED = a_setup("efficientnet_lite0"), a_setup("resnet50:weights=none", "finetune")


def stages(**known: tuple[str, int, int]) -> tuple[Stage, ...]:
    return tuple(Stage(name, *known.get(name, ("missing", 0, 0))) for name in SHOWN)


def a_run_count(loss: str, runs: int, **known) -> RunCount:
    nothing = dict.fromkeys(("failed", "unevaluated", "superseded", "stale", "lacking"), 0)
    facts = {"setup": LITE, **nothing}
    return RunCount(loss=loss, runs=runs, **(facts | known))


DONE = dataclasses.replace(
    EMPTY,
    source="tf_flowers",
    classes=("daisy", "dandelion", "roses", "sunflowers", "tulips"),
    photos=(2489, 534, 534),
    stages=stages(
        prepare=("done", 3, 44_600_000),
        corrupt=("done", 4, 212_000),
        features=("done", 15, 18_200_000),
        train=("done", 150, 46_000_000),
        evaluate=("done", 2, 1_200_000),
        preview=("done", 12, 13_600_000),
    ),
    draws=(
        DrawCount("none", 0.0, 5),
        DrawCount("asymmetric:pairs=roses/tulips+daisy/dandelion", 0.4, 5),
        DrawCount("symmetric", 0.2, 5),
        DrawCount("symmetric", 0.4, 3),
    ),
    features=(FeatureCount("efficientnet_lite0", 3557, "done"),),
    runs=tuple(a_run_count(loss, 18) for loss in ("ce", "agce", "gce:q=0.5", "mae", "sce:alpha=0.1,beta=0.5")),
    setups=(SetupSize(LITE, 90, 45_900_000),),
    evaluated=90,
    next="flowernoise compare",
)
TROUBLED = dataclasses.replace(
    DONE,
    stages=stages(
        prepare=("done", 3, 44_600_000),
        corrupt=("done", 4, 212_000),
        features=("partly", 3, 999),
        train=("damaged", 150, 1_046_000_000),
        evaluate=("stale", 2, 1_200_000),
        plots=("stale", 1, 98_000),
        report=("stale", 2, 1_000_000),
        other=("there", 1, 12),
    ),
    stale_draws=1,
    features=(FeatureCount("efficientnet_lite0", 512, "partly"), FeatureCount("resnet50", 3557, "stale")),
    runs=(
        a_run_count("ce", 1200, failed=1, unevaluated=30),
        a_run_count("mae", 17, superseded=4, lacking=1),
        a_run_count("ce", 1, setup=TUNED, stale=1),
    ),
    setups=(SetupSize(LITE, 1217, 1_000_000_000), SetupSize(TUNED, 1, 46_000_000)),
    stale_runs=15,
    problems=tuple(f"artifacts/runs/{k}.json is missing; `flowernoise train` makes it again" for k in range(7)),
    litter=(
        Litter("draws/.a.json.0123456789ab.tmp", "temporary", 120),
        *(Litter(f"runs/{k}-0123456789abcdef.h5", "unreferenced", 1_000_000) for k in range(7)),
        Litter("draws/a.json.damaged", "set aside", 2500),
    ),
    inside=("demo", "demo-seed"),
    next="flowernoise train --loss mae --backbone efficientnet_lite0 --mode features --epochs 15",
)
MADE = {"empty": EMPTY, "done": DONE, "troubled": TROUBLED}


def shown(result: Status, width: int | None) -> str:
    """The text at a terminal of a width, without colours, or in a pipe (None)."""
    terminal = {"force_terminal": True, "width": width, "no_color": True, "color_system": None}
    options = {"force_terminal": False, "width": 100} if width is None else terminal
    console = Console(file=io.StringIO(), highlight=False, _environ={}, **options)
    table.show(status.document(result), console)
    return console.file.getvalue()


@pytest.mark.parametrize("name", MADE)
def test_the_state_is_as_in_the_golden_file(name, check_golden):
    text = shown(MADE[name], 80)
    check_golden(f"status_{name}_80.txt", "".join(line.rstrip() + "\n" for line in text.splitlines()))


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("width", [40, 80, 200, None])
def test_no_word_of_the_table_is_cut(name, width):
    text = shown(MADE[name], width)
    assert "…" not in text
    words = "".join(text.split())
    for run in MADE[name].runs:
        assert f"{run.loss}{run.runs:,}" in words or f"{len(MADE[name].runs)}losses" in words
    for draw in MADE[name].draws:
        assert draw.noise == "none" or draw.noise in words


@pytest.mark.parametrize("name", MADE)
def test_a_pipe_has_no_escape_codes_and_no_spaces_at_line_ends(name):
    text = shown(MADE[name], None)
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_940, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (2_500_000_000, "2.5 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes_have_three_digits(count, text):
    assert status.size(count) == text


def test_brackets_in_names_are_no_markup():
    noise = "matrix:file=T.csv,name=[bold]T[/]"
    text = shown(dataclasses.replace(DONE, draws=(DrawCount(noise, 0.2, 1),)), 200)
    assert "[bold]T[/] at 0.2: 1 seed" in text
