"""What pictures are drawn from, as the steps make it, and what all of them say of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from flowernoise.show.table import CONTROL, CellLike, ComparisonLike

COLLAPSED = "collapsed: never predicts some class; no robustness"
Floats = Any  # an array of floating-point numbers
Condition = tuple[str, float]


class ValuedCellLike(CellLike, Protocol):
    """A cell with the value of each seed."""

    values: Sequence[float]


class ChartLike(Protocol):
    """A comparison of one backbone and mode, and the losses that stand out, the baseline first."""

    comparison: Any  # ComparisonLike, its rows with values
    highlighted: Sequence[str]


class HistoryLike(Protocol):
    """One loss under one noise, epoch by epoch: shares [seeds, epochs], NaN where a seed has fewer epochs."""

    noise: str
    rate: float
    loss: str
    memorised: Floats
    test_accuracy: Floats
    val_accuracy: Floats


class HistoriesLike(Protocol):
    """Histories of the runs of a chart."""

    chart: ChartLike
    train_photos: int
    val_photos: int
    histories: Sequence[HistoryLike]


class ConfusionLike(Protocol):
    """One run's test photos by true and predicted class [true, predicted]."""

    loss: str
    counts: Any
    collapsed: bool


class ConfusionsLike(Protocol):
    """Confusion matrices of runs that share a draw."""

    comparison: ComparisonLike
    noise: str
    rate: float
    realised_rate: float
    seed: int
    matrices: Sequence[ConfusionLike]


class TransitionLike(Protocol):
    """A draw's transition matrices [true, observed]; ``nominal`` is None where the noise model has none."""

    source: str
    classes: Sequence[str]
    train_counts: Sequence[int]
    noise: str
    rate: float
    realised_rate: float
    seed: int
    nominal: Floats | None
    realised: Floats


class Measure(NamedTuple):
    """A metric, its cells, and what answering one class always scores, where that is known."""

    name: str
    rows: Sequence[CellLike]
    chance: float | None


def measures(result: ComparisonLike) -> list[Measure]:
    """The metric of a comparison; balanced accuracy too where the comparison has it."""
    one_answer = 1 / sum(count > 0 for count in result.test_counts)
    chances = {"accuracy": result.majority, "balanced_accuracy": one_answer}
    found = [Measure(result.metric, result.rows, chances.get(result.metric))]
    return [*found, Measure("balanced_accuracy", result.balanced, one_answer)] if result.balanced else found


def readable(metric: str) -> str:
    """A metric's name as people write it.

    >>> readable("balanced_accuracy")
    'balanced accuracy'
    """
    return metric.replace("_", " ")


def axis_label(metric: str, better: str) -> str:
    """A metric with its unit, and its direction where that is not the usual one."""
    return f"{readable(metric)}, %" + (" (lower is better)" if better == "lower" else "")


def conditions(rows: Sequence[CellLike]) -> list[Condition]:
    """Noise models and rates, the control first."""
    return sorted({(row.noise, row.rate) for row in rows}, key=lambda each: (each[0] != CONTROL, each))


def condition_name(noise: str, rate: float) -> str:
    """A noise model and its nominal rate, as in tables."""
    return "control" if noise == CONTROL else f"{noise} {rate:g}"


def short_names(specs: Sequence[str]) -> dict[str, str]:
    """Specs without their parameters, where no two would be called the same.

    >>> short_names(["instance:backbone=resnet50", "symmetric"])
    {'instance:backbone=resnet50': 'instance', 'symmetric': 'symmetric'}
    """
    names = [spec.partition(":")[0] for spec in specs]
    return {spec: name if names.count(name) == 1 else spec for spec, name in zip(specs, names, strict=True)}


def shortened(specs: Sequence[str]) -> list[str]:
    """The specs that :func:`short_names` shortens, in full."""
    return [spec for spec, name in short_names(specs).items() if name != spec]


def facts(result: ComparisonLike) -> list[str]:
    """What was measured, and on what."""
    kinds = sorted({(row.backbone, row.mode) for row in result.rows})
    return [
        result.source,
        f"{len(result.classes)} classes",
        *(f"{backbone} {mode}" for backbone, mode in kinds),
        f"{result.select} epoch",
        f"{sum(result.test_counts):,} clean test photos",
    ]


def seeds(rows: Sequence[CellLike]) -> str:
    """How many seeds cells have."""
    counts = sorted({row.seeds for row in rows if row.seeds})
    if counts == [1]:
        return "one seed"
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def failures(rows: Sequence[CellLike]) -> list[str]:
    """That failed runs are left out, if there are any."""
    failed = sum(row.failed for row in rows)
    return [f"{failed:,} failed {'run' if failed == 1 else 'runs'} left out"] if failed else []


def percent(share: float) -> str:
    """A share with its unit.

    >>> percent(0.249)
    '24.9 %'
    """
    return f"{100 * share:.1f} %"
