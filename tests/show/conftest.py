"""Fabricated comparisons, and the files that hold how they are shown.

`FLOWERNOISE_REGENERATE_GOLDEN=1 pytest tests/show` writes tests/show/golden/* anew; read the diff before committing it.
"""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from flowernoise.catalogue import presets
from flowernoise.store.records import (
    BalancedAccuracy,
    Column,
    Comparison,
    Condition,
    Difference,
    PublishedResult,
    Rate,
    RateInterval,
    Row,
    TestPhotos,
    Tolerated,
)
from tests.fabricated import a_setup

GOLDEN = Path(__file__).parent / "golden"
HEADS, TUNED = a_setup(), a_setup(mode="finetune")
CONDITIONS = (("none", 0.0), ("asymmetric:pairs=roses/tulips", 0.4), ("symmetric", 0.2), ("symmetric", 0.6))


def a_row(noise: str, rate: float, loss: str, mean: float | None, drop: float | None = None, **known) -> Row:
    """A row of three seeds with an interval of ± 2 points."""
    facts = {
        "setup": HEADS,
        "seeds": 3,
        "values": () if mean is None else (mean - 0.01, mean, mean + 0.01),
        "ci_low": None if mean is None else max(0.0, mean - 0.02),
        "ci_high": None if mean is None else min(1.0, mean + 0.02),
        "collapsed": 0,
        "failed": 0,
        "best": False,
    }
    facts |= known
    facts.setdefault("value_seeds", tuple(range(len(facts["values"]))))
    return Row(noise=noise, rate=rate, realised_rate=rate, loss=loss, mean=mean, drop=drop, **facts)


def a_difference(mean: float, p_holm: float, verdict: str | None) -> Difference:
    """How a cell of three seeds differs from the baseline's."""
    return Difference(mean, mean - 0.03, mean + 0.03, p_holm / 8, p_holm, "sign_flip", 3, verdict)


def exactly(rate: float, low: Rate, high: Rate) -> RateInterval:
    """A rate that was crossed."""
    return RateInterval(Rate("exact", rate), low, high)


def comparison_of(rows: list[Row], **known) -> Comparison:
    """A comparison of rows, conditions and columns in the order in which they come."""
    facts = {
        "directories": ("artifacts",),
        "datasets": (FLOWERS,),
        "metric": "accuracy",
        "unit": "share",
        "better": "higher",
        "baseline": "ce",
        "delta": 0.02,
        "conditions": tuple(dict.fromkeys(row.condition for row in rows)),
        "columns": tuple(dict.fromkeys(row.column for row in rows)),
        "rows": tuple(rows),
        "tolerated": (),
        "beside": (),
        "why": "",
        "notes": (),
    }
    return Comparison(**(facts | known))


FLOWERS = TestPhotos(
    name="tf_flowers",
    source="tf_flowers",
    classes=("daisy", "dandelion", "roses", "sunflowers", "tulips"),
    test_counts=(100, 125, 90, 95, 100),
    majority=125 / 510,
    select="selected",
)
SUNFLOWERS = TestPhotos("tf_flowers", "tf_flowers", ("not sunflowers", "sunflowers"), (83, 17), 0.83, "last")


def five_losses() -> Comparison:
    """Five losses on five classes: marks of every kind, collapses, failures, a missing cell and a missing control."""
    best, failed, partly = {"best": True}, {"seeds": 0, "failed": 3}, {"seeds": 2, "failed": 1}
    better, worse = a_difference(0.235, 0.0001, "better"), a_difference(-0.28, 0.0001, "worse")
    means = {
        "ce": [(0.92, {"tied": True}), (0.78, {"tied": True}), (0.88, best), (0.615, {})],
        "mae": [
            (0.905, {"difference": a_difference(-0.015, 0.8, None)}),
            (0.74, {"collapsed": 1}),
            (0.891, {"collapsed": 3}),
            (0.85, best | {"difference": better}),
        ],
        "gce:q=0.5": [(1.0, best), (0.79, best), (0.879, {"tied": True}), (None, failed)],
        "sce:alpha=0.1,beta=0.5": [(0.9, {}), (0.93, partly), None, (0.7, {})],
        "elr": [None, (0.5, {"difference": worse}), (0.6, {"difference": worse}), (0.09, {"difference": worse})],
    }
    rows = []
    for position, (noise, rate) in enumerate(CONDITIONS):
        for loss, cells in means.items():
            if cells[position] is None:
                continue
            mean, known = cells[position]
            drop = None if mean is None or cells[0] is None else cells[0][0] - mean
            rows.append(a_row(noise, rate, loss, mean, drop, **known))
    below, most, nothing = Rate("below", 0.2), Rate("at_least", 0.6), Rate("none", None)
    tolerances = {
        "ce": RateInterval(below, below, Rate("exact", 0.31)),
        "mae": exactly(0.444, Rate("exact", 0.2512), most),
        "gce:q=0.5": RateInterval(most, most, most),
        "elr": RateInterval(nothing, nothing, nothing),
    }
    crossover = exactly(0.2, Rate("below", 0.2), nothing)
    tolerated = tuple(
        Tolerated("symmetric", loss, HEADS, found, None if loss == "ce" else crossover, loss == "mae")
        for loss, found in tolerances.items()
    )
    return comparison_of(
        rows,
        columns=tuple(Column(loss, HEADS, "") for loss in ("ce", "elr", *list(means)[1:4])),
        tolerated=tolerated,
        notes=(
            "4 runs collapsed (mae): some class is never predicted. An accuracy that holds up because of that is not "
            "robustness.",
            "4 runs failed, such as gce:q=0.5 on symmetric at 0.6, seed 0: diverged: its answers are not finite.",
        ),
    )


def first_experiment() -> Comparison:
    """The first experiment: binary, one seed, L1 collapsed, published figures beside."""
    accuracies = [
        ("none", 0.0, "ce", 0.93, 0.0, {}),
        ("uniform", 0.1, "ce", 0.94, -0.01, {"best": True}),
        ("uniform", 0.1, "mae", 0.83, None, {"collapsed": 1, "difference": a_difference(-0.11, 0.03, "worse")}),
        ("uniform", 0.9, "ce", 0.54, 0.39, {"tied": True}),
        ("uniform", 0.9, "mae", 0.69, None, {"best": True, "difference": a_difference(0.15, 0.2, None)}),
    ]
    balanced = (0.82, 0.84, 0.5, 0.65, 0.63)
    rows = [
        a_row(
            noise,
            rate,
            loss,
            mean,
            drop,
            values=(mean,),
            seeds=1,
            balanced=BalancedAccuracy(share, share - 0.02, share + 0.02, None if drop is None else 0.82 - share),
            **known,
        )
        for (noise, rate, loss, mean, drop, known), share in zip(accuracies, balanced, strict=True)
    ]
    preset = presets.named("seed")
    ours = (((0.93, 0.93), 1, 0), ((0.54, 0.94), 2, 0), ((0.69, 0.83), 2, 1))
    return comparison_of(
        rows,
        datasets=(SUNFLOWERS,),
        beside=tuple(
            PublishedResult(published.label, (published.low, published.high), *found)
            for published, found in zip(preset.published, ours, strict=True)
        ),
        why=preset.why,
        notes=(
            "With one seed and one split, the interval covers only the choice of test photos. Another draw, training "
            "or split would change the numbers too.",
        ),
    )


def two_data_sets() -> Comparison:
    """Two data sets in three directories: one as heads and fine-tuned, the other binary and with fewer losses."""
    rows = [
        a_row("none", 0.0, "ce", 0.92, 0.0, tied=True),
        a_row("none", 0.0, "ce", 0.96, 0.0, setup=TUNED, best=True, directory=1),
        a_row("symmetric", 0.4, "ce", 0.85, 0.07),
        a_row(
            "symmetric",
            0.4,
            "ce",
            0.8,
            0.16,
            setup=TUNED,
            directory=1,
            difference=a_difference(-0.05, 1, None),
        ),
        a_row("symmetric", 0.4, "mae", 0.9, None, best=True, difference=a_difference(0.05, 0.01, "better")),
        a_row("none", 0.0, "ce", 0.93, 0.0, seeds=1, values=(0.93,), dataset=1, directory=2),
        a_row("symmetric", 0.4, "ce", 0.81, 0.12, seeds=1, values=(0.81,), dataset=1, directory=2),
    ]
    rows[5:] = [msgspec.structs.replace(row, balanced=BalancedAccuracy(0.6, 0.5, 0.7, 0.0)) for row in rows[5:]]
    tolerated = tuple(
        Tolerated("symmetric", "ce", HEADS, exactly(0.1, bound, bound), None, False, "", *place)
        for place, bound in (((0, 0), Rate("below", 0.4)), ((1, 2), Rate("at_least", 0.4)))
    )
    return comparison_of(
        rows,
        directories=("heads", "tuned", "binary"),
        columns=(
            Column("ce", HEADS, ""),
            Column("mae", HEADS, ""),
            Column("ce", TUNED, ""),
        ),
        conditions=(Condition("none", 0.0), Condition("symmetric", 0.4)),
        datasets=(
            msgspec.structs.replace(FLOWERS, name="tf_flowers"),
            msgspec.structs.replace(SUNFLOWERS, name="tf_flowers, sunflowers or not"),
        ),
        tolerated=tolerated,
    )


def likelihoods() -> Comparison:
    """A metric that is no share, lower is better, of twelve losses: more than fit side by side anywhere."""
    rows = []
    for noise, rate in (("none", 0.0), ("symmetric", 0.2), ("symmetric", 0.4)):
        for place, loss in enumerate(("ce", *(f"gce:q=0.{k}" for k in range(1, 10)), "mae", "elr")):
            mean = 0.2 + 0.05 * place + rate
            near = {"ci_low": mean - 0.0314, "ci_high": mean + 0.0314, "best": loss == "ce", "tied": place == 1}
            rows.append(a_row(noise, rate, loss, mean, -rate, **near))
    return comparison_of(rows, metric="nll", unit="plain", better="lower")


MADE: dict[str, Callable[[], Comparison]] = {
    "five_losses": five_losses,
    "first_experiment": first_experiment,
    "two_data_sets": two_data_sets,
    "likelihoods": likelihoods,
}


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
