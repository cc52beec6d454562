"""Strips: a metric of each seed, one row per loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowernoise.analysis.views.arrays import Floats
from flowernoise.analysis.views.charts import ChartCell, Measure
from flowernoise.analysis.views.curves import Spread, spreads
from flowernoise.catalogue.metrics import facts_of
from flowernoise.show.plot import sheet, subject
from flowernoise.show.plot.kinds import picture
from flowernoise.show.plot.sheet import LegendEntry
from flowernoise.show.plot.styles import COLLAPSED, REFERENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FEW = 8  # losses; up to here the panels are stacked
_SIDE_BY_SIDE = 3
_ROW, _HIGH_ROW = 0.23, 0.32  # inches; the latter of few losses
_DOT, _BAND = "#0072B2", "#dcdcdc"


def _seeds_caption(spread: Spread) -> str:
    metric = f"{subject.title(spread.chart.measures[0])}{subject.against(spread.chart)}"
    return f"{metric} of each seed; {subject.kind(spread.chart)}."


def _seeds_alt(spread: Spread) -> str:
    measure = spread.chart.measures[0]
    cells = [cell for cell in measure.cells if len(cell.values) > 1]
    if not cells:
        return "One dot per seed."
    widest = max(cells, key=lambda cell: max(cell.values) - min(cell.values))
    return (
        f"One dot per seed, in {len(cells)} cells. Seeds differ most for {widest.loss} under "
        f"{subject.condition_name(widest.noise, widest.rate)}: from {subject.value(measure, min(widest.values))} to "
        f"{subject.value(measure, max(widest.values))}."
    )


@picture(
    spreads,
    caption=_seeds_caption,
    alt=_seeds_alt,
    options=("metric", "select", "losses", "noise", "where"),
)
def seeds(spread: Spread) -> Figure:
    """A metric of every run: one panel per noise, one row per loss, one dot per seed, their mean and its interval."""
    chart = spread.chart
    measure = chart.measures[0]
    cells = measure.cells
    conditions = subject.conditions(cells)
    noises = sorted({noise for noise, _ in conditions})
    names = subject.short_names(noises)
    losses = sorted({cell.loss for cell in cells}, key=lambda loss: (loss != chart.baseline, loss))
    columns = 1 if len(losses) <= _FEW else min(_SIDE_BY_SIDE, len(conditions))
    size = (7.0, _HIGH_ROW * len(losses) + 0.5) if columns == 1 else (3.3, _ROW * len(losses) + 0.5)
    figure, grid = sheet.panels(-(-len(conditions) // columns), columns, size, share_x=True)
    for axes in grid:
        sheet.share_y(axes)
    panels = [panel for axes in grid for panel in axes]
    for number, (panel, condition) in enumerate(zip(panels, conditions, strict=False)):
        _strips(panel, losses, {c.loss: c for c in cells if (c.noise, c.rate) == condition}, subject.scale(measure))
        title = subject.condition_name(names[condition[0]], condition[1])
        panel.set_title(sheet.folded(title, size[0] - 1.2), loc="left")
        if number + columns >= len(conditions):
            panel.set_xlabel(subject.axis_label(measure))
    sheet.remove(panels[len(conditions) :])
    _limit(panels[0], measure)
    return sheet.finish(
        figure,
        f"{facts_of(measure.name).title} of each seed",
        [
            *subject.facts(chart),
            subject.seeds(cells),
            *subject.failures(cells),
            *subject.shortened(noises),
        ],
        _legend(cells),
    )


def _limit(panel: Axes, measure: Measure) -> None:
    """All of the data and a little more, but no share below 0 or above 1."""
    ends = [end for cell in measure.cells for end in (*cell.values, cell.ci_low, cell.ci_high) if end is not None]
    low, high = (subject.scale(measure) * end for end in (min(ends), max(ends)))
    room = max(0.04 * (high - low), 0.01 * subject.scale(measure))
    low, high = low - room, high + room
    panel.set_xlim(*((max(low, -1.0), min(high, 101.0)) if measure.unit == "share" else (low, high)))


def _strips(panel: Axes, losses: Sequence[str], cells: Mapping[str, ChartCell], scale: float) -> None:
    """The rows of a panel; the dots of a row are spread out, each seed always at the same height."""
    for row, loss in enumerate(losses):
        cell = cells.get(loss)
        if cell is not None and cell.mean is not None:
            _strip(panel, row, cell, scale)
        else:
            panel.text(0.01, row, "–", transform=panel.get_yaxis_transform(), va="center", color=REFERENCE)
        if cell is not None and (marks := _marks(cell)):
            beside: dict[str, Any] = {"xycoords": panel.get_yaxis_transform(), "textcoords": "offset points"}
            panel.annotate(marks, (1, row), (3, 0), va="center", size=8.5, color=REFERENCE, **beside)
    panel.set_yticks(range(len(losses)), losses)
    panel.set_ylim(len(losses) - 0.45, -0.55)
    panel.grid(axis="y", visible=False)
    panel.tick_params(axis="y", length=0)


def _strip(panel: Axes, row: int, cell: ChartCell, scale: float) -> None:
    if cell.ci_low is not None and cell.ci_high is not None:
        panel.barh(row, scale * (cell.ci_high - cell.ci_low), left=scale * cell.ci_low, height=0.7, color=_BAND)
    values = scale * np.array(cell.values)
    fill: dict[str, Any] = {"mfc": "white"} if cell.collapsed else {"mec": "white", "mew": 0.4}
    heights = row + _heights(len(values))
    panel.plot(values, heights, linestyle="", marker="o", ms=4.6, color=_DOT, zorder=3, label=cell.loss, **fill)
    panel.plot([values.mean()], [row], linestyle="", marker="|", ms=13, mew=1.6, color="black", zorder=3.5)


def _marks(cell: ChartCell) -> str:
    """What went wrong, as in tables."""
    many = "" if cell.seeds == 1 else f" {cell.collapsed}/{cell.seeds}"
    collapsed = f"{COLLAPSED}{many}" if cell.collapsed else ""
    return " ".join(filter(None, [collapsed, f"{cell.failed} failed" if cell.failed else ""]))


def _heights(count: int) -> Floats:
    """Offsets within a row, well spread however many there are (van der Corput's sequence)."""
    halves = [int(f"{k:016b}"[::-1], 2) / 2**16 for k in range(count)]
    return 0.62 * (np.array(halves) - np.mean(halves)) if count else np.zeros(0)


def _legend(cells: Sequence[ChartCell]) -> list[LegendEntry]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    dot = Line2D([], [], linestyle="", marker="o", ms=4.6, color=_DOT)
    entries: list[LegendEntry] = [(dot, "one seed")]
    entries.append((Line2D([], [], linestyle="", marker="|", ms=13, mew=1.6, color="black"), "mean"))
    if any(cell.ci_low is not None for cell in cells):
        entries.append((Patch(color=_BAND), "95 % interval"))
    if any(cell.collapsed for cell in cells):
        hollow = Line2D([], [], linestyle="", marker="o", ms=4.6, color=_DOT, mfc="white")
        entries.append((hollow, f"{COLLAPSED} {subject.COLLAPSED}"))
    return entries
