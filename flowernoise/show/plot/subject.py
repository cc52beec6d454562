"""What pictures are drawn from, as the steps make it, and what all of them say of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from flowernoise.catalogue.sources import label_words
from flowernoise.store.records import CONTROL

COLLAPSED = "collapsed: never predicts some class; no robustness"
Floats = Any  # an array of floating-point numbers
Condition = tuple[str, float]


class CellLike(Protocol):
    """One loss under one noise: its seeds' values, their mean and its 95 % interval, collapsed and failed runs."""

    noise: str
    rate: float
    realised_rate: float
    loss: str
    seeds: int
    values: Sequence[float]
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    collapsed: int
    failed: int


class MeasureLike(Protocol):
    """A metric, its cells, and what answering one class always scores, None where that is not known.

    ``unit`` is ``share`` (shown in %) or ``plain``, ``better`` is ``higher`` or ``lower``.
    """

    name: str
    unit: str
    better: str
    chance: float | None
    cells: Sequence[CellLike]


class ChartLike(Protocol):
    """What was compared of one way of training, and the losses that stand out, the baseline first.

    ``settings`` tell it from other charts. The first of the ``measures`` is the one asked for; balanced accuracy goes
    with accuracy where the task is binary.
    """

    source: str
    classes: Sequence[str]
    test_counts: Sequence[int]
    backbone: str
    mode: str
    settings: Sequence[str]
    select: str
    baseline: str
    highlighted: Sequence[str]
    measures: Sequence[MeasureLike]


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

    chart: ChartLike
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


def readable(metric: str) -> str:
    """A metric's name as people write it.

    >>> readable("balanced_accuracy")
    'balanced accuracy'
    """
    return metric.replace("_", " ")


def axis_label(measure: MeasureLike) -> str:
    """A metric with its unit, and its direction where that is not the usual one."""
    unit = ", %" if measure.unit == "share" else ""
    return readable(measure.name) + unit + (" (lower is better)" if measure.better == "lower" else "")


def scale(measure: MeasureLike) -> float:
    """What values are multiplied by to be shown: shares are shown in %."""
    return 100.0 if measure.unit == "share" else 1.0


def value(measure: MeasureLike, number: float) -> str:
    """A value with its unit."""
    return percent(number) if measure.unit == "share" else f"{number:.3f}"


def conditions(cells: Sequence[CellLike]) -> list[Condition]:
    """Noise models and rates, the control first."""
    return sorted({(cell.noise, cell.rate) for cell in cells}, key=lambda each: (each[0] != CONTROL, each))


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


def facts(chart: ChartLike) -> list[str]:
    """What was measured, and on what."""
    return [
        chart.source,
        f"{len(chart.classes)} classes",
        kind(chart),
        f"{chart.select} epoch",
        label_words(chart.source).test_photos(sum(chart.test_counts)),
    ]


def kind(chart: ChartLike) -> str:
    """How a chart's runs are trained, as far as it tells them from others."""
    return ", ".join([f"{chart.backbone} {chart.mode}", *chart.settings])


def seeds(cells: Sequence[CellLike]) -> str:
    """How many seeds cells have."""
    counts = sorted({cell.seeds for cell in cells if cell.seeds})
    if counts == [1]:
        return "one seed"
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def failures(cells: Sequence[CellLike]) -> list[str]:
    """That failed runs are left out, if there are any."""
    failed = sum(cell.failed for cell in cells)
    return [f"{failed:,} failed {'run' if failed == 1 else 'runs'} left out"] if failed else []


def percent(share: float) -> str:
    """A share with its unit.

    >>> percent(0.249)
    '24.9 %'
    """
    return f"{100 * share:.1f} %"
