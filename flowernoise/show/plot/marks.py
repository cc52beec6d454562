"""What several pictures share: the lines of losses, the mark of a collapse, and the legend for both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowernoise.analysis.views.arrays import Floats
from flowernoise.analysis.views.charts import Chart
from flowernoise.show.plot import styles, subject
from flowernoise.show.plot.sheet import LegendEntry
from flowernoise.show.plot.styles import OTHER, REFERENCE, Dashes, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Transform


def moved(panel: Axes, shift: float) -> Transform:
    """Data coordinates moved ``shift`` points to the right, so that neighbours do not hide each other."""
    from matplotlib.transforms import ScaledTranslation

    return panel.transData + ScaledTranslation(shift / 72, 0, panel.figure.dpi_scale_trans)


def crossed(panel: Axes, x: Floats, y: Floats, style: Style, common: dict[str, Any], label: str) -> None:
    """Hollow markers with a cross in them."""
    hollow: dict[str, Any] = {"marker": "o" if style is OTHER else style.marker, "ms": 8, "mfc": "white", "mew": 1.2}
    panel.plot(x, y, linestyle="", label=label, **hollow, **common)
    panel.plot(x, y, linestyle="", marker="x", ms=4.2, mew=1.2, **common)


def losses_legend(chart: Chart) -> list[LegendEntry]:
    """One entry per highlighted loss, and one for the others."""
    entries = [(handle(*style, 1.8), loss) for loss, style in styles.of_losses(chart.highlighted).items()]
    others = len({cell.loss for cell in chart.measures[0].cells} - set(chart.highlighted))
    return [*entries, (handle(*OTHER, 0.9), f"{others} other losses")] if others else entries


def handle(colour: str, marker: str, dashes: Dashes, width: float) -> Line2D:
    """The handle of a line in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, linestyle=dashes, linewidth=width, ms=5.5, mew=0)


def collapsed_legend(chart: Chart) -> list[LegendEntry]:
    """An entry for collapsed cells, if there are any."""
    from matplotlib.lines import Line2D

    if not any(cell.collapsed for cell in chart.measures[0].cells):
        return []
    hollow = Line2D([], [], color=REFERENCE, linestyle="", marker="o", ms=8, mfc="white", mew=1.2)
    cross = Line2D([], [], color=REFERENCE, linestyle="", marker="x", ms=4.2, mew=1.2)
    return [((hollow, cross), subject.COLLAPSED)]
