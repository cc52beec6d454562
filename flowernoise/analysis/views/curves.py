"""Chooses the charts to draw as curves over the rate, and as the spread of their seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from flowernoise.analysis.views.charts import Chart
from flowernoise.analysis.views.material import Material, NothingToDrawError
from flowernoise.analysis.views.pictures import slug
from flowernoise.catalogue.metrics import USUAL
from flowernoise.store.records import CONTROL


@dataclasses.dataclass(frozen=True)
class Spread:
    """A chart's cells, seed by seed."""

    chart: Chart


def curves(material: Material) -> Iterator[tuple[str, Chart]]:
    """One chart per setup with noise.

    Raises:
        NothingToDrawError: there is only the control.
    """
    for ending, chart in material.charts.items():
        if all(cell.noise == CONTROL for cell in chart.cells):
            raise NothingToDrawError("only the control is there; `flowernoise corrupt` and `train` add noise to it")
        yield slug(chart.measures[0].name) + ending, chart


def spreads(material: Material) -> Iterator[tuple[str, Spread]]:
    """One chart per setup with several seeds.

    Raises:
        NothingToDrawError: there is only one seed.
    """
    for ending, chart in material.charts.items():
        if max(cell.seeds for cell in chart.cells) < 2:
            raise NothingToDrawError("one seed has no spread; `flowernoise corrupt --seeds N` draws more")
        metric = chart.measures[0].name
        name = "seeds" if metric == USUAL else f"seeds-{slug(metric)}"
        yield name + ending, Spread(chart)
