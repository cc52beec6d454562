"""What all pictures say about the data they show."""

from __future__ import annotations

from collections.abc import Sequence

from flowernoise.analysis.views.charts import Chart, ChartCell, Measure
from flowernoise.catalogue.label_words import label_words
from flowernoise.catalogue.metrics import facts_of
from flowernoise.catalogue.noise import shown_names
from flowernoise.store.records import CONTROL

COLLAPSED = "collapsed: some class is never predicted"
Condition = tuple[str, float]
_MAX_LISTED = 6  # items in a sentence


def title(measure: Measure) -> str:
    """A metric's title with a capital, to begin a sentence."""
    name = facts_of(measure.name).title
    return name[0].upper() + name[1:]


def against(chart: Chart) -> str:
    """Follows a metric of test photos whose labels may be wrong."""
    return label_words(chart).against if facts_of(chart.measures[0].name).of == "test" else ""


def axis_label(measure: Measure) -> str:
    """A metric with its unit, and its direction where that is not the usual one."""
    unit = ", %" if measure.unit == "share" else ""
    return facts_of(measure.name).title + unit + (" (lower is better)" if measure.better == "lower" else "")


def scale(measure: Measure) -> float:
    """The factor between values and what is shown: shares are shown in %."""
    return 100.0 if measure.unit == "share" else 1.0


def value(measure: Measure, number: float) -> str:
    """A value with its unit."""
    return percent(number) if measure.unit == "share" else f"{number:.3f}"


def conditions(cells: Sequence[ChartCell]) -> list[Condition]:
    """Noise models and rates, the control first."""
    return sorted({(cell.noise, cell.rate) for cell in cells}, key=lambda each: (each[0] != CONTROL, each))


def condition_name(noise: str, rate: float) -> str:
    """A noise model and its nominal rate, as in tables."""
    return "control" if noise == CONTROL else f"{noise} {rate:g}"


def short_names(specs: Sequence[str]) -> dict[str, str]:
    """Specs without their parameters, unless that would give two the same name.

    >>> short_names(["instance:backbone=resnet50", "symmetric"])
    {'instance:backbone=resnet50': 'instance', 'symmetric': 'symmetric'}
    """
    called = shown_names(specs)
    names = [spec.partition(":")[0] if called[spec] == spec else called[spec] for spec in specs]
    return {spec: name if names.count(name) == 1 else spec for spec, name in zip(specs, names, strict=True)}


def shortened(specs: Sequence[str]) -> list[str]:
    """The specs that :func:`short_names` shortens, in full."""
    return [spec for spec, name in short_names(specs).items() if name != spec]


def facts(chart: Chart) -> list[str]:
    """What was measured, and on what."""
    return [
        chart.source,
        f"{len(chart.classes)} classes",
        kind(chart),
        f"{chart.select} epoch",
        label_words(chart).test_photos(sum(chart.test_counts)),
    ]


def kind(chart: Chart) -> str:
    """How a chart's runs are trained, as far as that sets them apart from others."""
    return ", ".join([chart.setup.kind, *chart.settings])


def seeds(cells: Sequence[ChartCell]) -> str:
    """How many seeds cells have."""
    counts = sorted({cell.seeds for cell in cells if cell.seeds})
    if counts == [1]:
        return "one seed"
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def failures(cells: Sequence[ChartCell]) -> list[str]:
    """Says that failed runs are left out, if there are any."""
    failed = sum(cell.failed for cell in cells)
    return [f"{failed:,} failed {'run' if failed == 1 else 'runs'} left out"] if failed else []


def percent(share: float) -> str:
    """A share with its unit.

    >>> percent(0.249)
    '24.9 %'
    """
    return f"{100 * share:.1f} %"


def listed(parts: Sequence[str]) -> str:
    """The first few of some items, and how many more there are.

    >>> listed(["ce 80.0 %", "mae 79.0 %"])
    'ce 80.0 %, mae 79.0 %'
    """
    if not parts:
        return "nothing"
    more = [f"and {len(parts) - _MAX_LISTED} more"] if len(parts) > _MAX_LISTED else []
    return ", ".join([*parts[:_MAX_LISTED], *more])
