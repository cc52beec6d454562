"""Fabricated comparisons, and the files that hold how they are shown.

`FLOWERNOISE_REGENERATE_GOLDEN=1 pytest tests/show` writes tests/show/golden/* anew; read the diff before committing it.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flowernoise.steps import presets
from flowernoise.steps.compare import Beside, Comparison, Row

GOLDEN = Path(__file__).parent / "golden"
CONDITIONS = (("none", 0.0), ("asymmetric:pairs=roses/tulips", 0.4), ("symmetric", 0.2), ("symmetric", 0.6))


def a_row(noise: str, rate: float, loss: str, mean: float | None, drop: float | None = None, **known) -> Row:
    """A row of three seeds with an interval of ± 2 points."""
    facts = {
        "backbone": "resnet50",
        "mode": "features",
        "seeds": 3,
        "values": () if mean is None else (mean - 0.01, mean, mean + 0.01),
        "ci_low": None if mean is None else max(0.0, mean - 0.02),
        "ci_high": None if mean is None else min(1.0, mean + 0.02),
        "collapsed": 0,
        "failed": 0,
        "best": False,
    }
    return Row(noise=noise, rate=rate, realised_rate=rate, loss=loss, mean=mean, drop=drop, **(facts | known))


def five_losses() -> Comparison:
    """Five losses on five classes: one best, one collapsed in one of three seeds, failures, no cell, no control."""
    best, failed, partly = {"best": True}, {"seeds": 0, "failed": 3}, {"seeds": 2, "failed": 1}
    means = {
        "ce": [(0.92, {}), (0.78, {}), (0.88, best), (0.615, {})],
        "mae": [(0.905, {}), (0.74, {"collapsed": 1}), (0.891, {"collapsed": 3}), (0.85, best)],
        "gce:q=0.5": [(1.0, best), (0.79, best), (0.879, {}), (None, failed)],
        "sce:alpha=0.1,beta=0.5": [(0.9, {}), (0.93, partly), None, (0.7, {})],
        "elr": [None, (0.5, {}), (0.6, {}), (0.09, {})],
    }
    rows = []
    for position, (noise, rate) in enumerate(CONDITIONS):
        for loss, cells in means.items():
            if cells[position] is None:
                continue
            mean, known = cells[position]
            drop = None if mean is None or cells[0] is None else cells[0][0] - mean
            rows.append(a_row(noise, rate, loss, mean, drop, **known))
    return Comparison(
        directory="artifacts",
        source="tf_flowers",
        classes=("daisy", "dandelion", "roses", "sunflowers", "tulips"),
        test_counts=(100, 125, 90, 95, 100),
        metric="accuracy",
        better="higher",
        select="selected",
        baseline="ce",
        majority=125 / 510,
        rows=tuple(rows),
        balanced=(),
        beside=(),
        why="",
        notes=(
            "4 runs have collapsed (mae), predicting fewer classes than the training labels hold; such accuracy is no "
            "robustness",
            "4 runs have failed, such as gce:q=0.5 on symmetric at 0.6, seed 0: diverged: its answers are not finite",
        ),
    )


def first_experiment() -> Comparison:
    """The first experiment: binary, one seed, L1 collapsed, published figures beside."""
    one = {"seeds": 1, "backbone": "resnet50"}
    accuracies = [
        ("none", 0.0, "ce", 0.93, 0.0, {}),
        ("uniform", 0.1, "ce", 0.94, -0.01, {"best": True}),
        ("uniform", 0.1, "mae", 0.83, None, {"collapsed": 1}),
        ("uniform", 0.9, "ce", 0.54, 0.39, {}),
        ("uniform", 0.9, "mae", 0.69, None, {"best": True}),
    ]
    balanced = (0.82, 0.84, 0.5, 0.65, 0.63)
    rows = tuple(
        a_row(noise, rate, loss, mean, drop, values=(mean,), **(one | known))
        for noise, rate, loss, mean, drop, known in accuracies
    )
    beneath = tuple(
        a_row(row.noise, row.rate, row.loss, share, None if row.drop is None else 0.82 - share, values=(share,), **one)
        for row, share in zip(rows, balanced, strict=True)
    )
    preset = presets.named("seed")
    ours = ((0.93, 0.93, 1, 0), (0.54, 0.94, 2, 0), (0.69, 0.83, 2, 1))
    return Comparison(
        directory="artifacts",
        source="tf_flowers",
        classes=("not sunflowers", "sunflowers"),
        test_counts=(83, 17),
        metric="accuracy",
        better="higher",
        select="last",
        baseline="ce",
        majority=0.83,
        rows=rows,
        balanced=beneath,
        beside=tuple(Beside(published, *found) for published, found in zip(preset.published, ours, strict=True)),
        why=preset.why,
        notes=("one seed: the interval holds the sampling of test photos only, not the luck of draw and training",),
    )


MADE: dict[str, Callable[[], Comparison]] = {"five_losses": five_losses, "first_experiment": first_experiment}


@pytest.fixture(params=list(MADE))
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of each comparison in turn."""
    return request.param


@pytest.fixture
def comparison(name: str) -> Comparison:
    """Return the comparison of that name."""
    return MADE[name]()


@pytest.fixture
def made() -> Callable[[str], Comparison]:
    """Return the maker of a comparison by its name."""
    return lambda name: MADE[name]()


@pytest.fixture
def check_golden() -> Callable[[str, str], None]:
    """Return the comparison of a text with its golden file, or its writer where that is asked for."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("FLOWERNOISE_REGENERATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return check
