"""Strips: what each seed reaches, a row a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowernoise.show.plot import sheet, subject
from flowernoise.show.plot.styles import COLLAPSED, REFERENCE
from flowernoise.show.plot.subject import ChartLike, ValuedCellLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FEW = 8  # losses; up to here the panels stand under one another
_SIDE_BY_SIDE = 3
_ROW, _HIGH_ROW = 0.23, 0.32  # inches; the latter of few losses
_DOT, _BAND = "#0072B2", "#dcdcdc"


def seeds(chart: ChartLike) -> Figure:
    """A metric of every run: a panel a noise, a row a loss, a dot a seed, the mean as a stroke, its interval behind."""
    result = chart.comparison
    conditions = subject.conditions(result.rows)
    noises = sorted({noise for noise, _ in conditions})
    names = subject.short_names(noises)
    losses = sorted({row.loss for row in result.rows}, key=lambda loss: (loss != result.baseline, loss))
    columns = 1 if len(losses) <= _FEW else min(_SIDE_BY_SIDE, len(conditions))
    size = (7.0, _HIGH_ROW * len(losses) + 0.5) if columns == 1 else (3.3, _ROW * len(losses) + 0.5)
    figure, grid = sheet.panels(-(-len(conditions) // columns), columns, size, share_x=True)
    for axes in grid:
        sheet.share_y(axes)
    panels = [panel for axes in grid for panel in axes]
    for number, (panel, condition) in enumerate(zip(panels, conditions, strict=False)):
        cells = {row.loss: row for row in result.rows if (row.noise, row.rate) == condition}
        _strips(panel, losses, cells)
        title = subject.condition_name(names[condition[0]], condition[1])
        panel.set_title(sheet.folded(title, size[0] - 1.2), loc="left")
        if number + columns >= len(conditions):
            panel.set_xlabel(subject.axis_label(result.metric, result.better))
    sheet.remove(panels[len(conditions) :])
    ends = [end for row in result.rows for end in (*row.values, row.ci_low, row.ci_high) if end is not None]
    room = max(4.0 * (max(ends) - min(ends)), 1.0)
    panels[0].set_xlim(max(100 * min(ends) - room, -1.0), min(100 * max(ends) + room, 101.0))
    return sheet.finish(
        figure,
        f"{subject.readable(result.metric)} of every seed",
        [
            *subject.facts(result),
            subject.seeds(result.rows),
            *subject.failures(result.rows),
            *subject.shortened(noises),
        ],
        _legend(result.rows),
    )


def _strips(panel: Axes, losses: Sequence[str], cells: Mapping[str, ValuedCellLike]) -> None:
    """The rows of a panel; a row's dots lie apart, a seed always at the same height."""
    for row, loss in enumerate(losses):
        cell = cells.get(loss)
        if cell is not None and cell.mean is not None:
            _strip(panel, row, cell)
        else:
            panel.text(0.01, row, "–", transform=panel.get_yaxis_transform(), va="center", color=REFERENCE)
        if cell is not None and (marks := _marks(cell)):
            beside: dict[str, Any] = {"xycoords": panel.get_yaxis_transform(), "textcoords": "offset points"}
            panel.annotate(marks, (1, row), (3, 0), va="center", size=8.5, color=REFERENCE, **beside)
    panel.set_yticks(range(len(losses)), losses)
    panel.set_ylim(len(losses) - 0.45, -0.55)
    panel.grid(axis="y", visible=False)
    panel.tick_params(axis="y", length=0)


def _strip(panel: Axes, row: int, cell: ValuedCellLike) -> None:
    if cell.ci_low is not None and cell.ci_high is not None:
        panel.barh(row, 100 * (cell.ci_high - cell.ci_low), left=100 * cell.ci_low, height=0.7, color=_BAND)
    values = 100 * np.array(cell.values)
    fill: dict[str, Any] = {"mfc": "white"} if cell.collapsed else {"mec": "white", "mew": 0.4}
    heights = row + _heights(len(values))
    panel.plot(values, heights, linestyle="", marker="o", ms=4.6, color=_DOT, zorder=3, label=cell.loss, **fill)
    panel.plot([values.mean()], [row], linestyle="", marker="|", ms=13, mew=1.6, color="black", zorder=3.5)


def _marks(cell: ValuedCellLike) -> str:
    """What went wrong, as in tables."""
    many = "" if cell.seeds == 1 else f" {cell.collapsed}/{cell.seeds}"
    collapsed = f"{COLLAPSED}{many}" if cell.collapsed else ""
    return " ".join(filter(None, [collapsed, f"{cell.failed} failed" if cell.failed else ""]))


def _heights(count: int) -> Any:
    """Offsets within a row, well spread however many there are (van der Corput's sequence)."""
    halves = [int(f"{k:016b}"[::-1], 2) / 2**16 for k in range(count)]
    return 0.62 * (np.array(halves) - np.mean(halves)) if count else np.zeros(0)


def _legend(rows: Sequence[ValuedCellLike]) -> list[tuple[Any, str]]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    dot = Line2D([], [], linestyle="", marker="o", ms=4.6, color=_DOT)
    entries: list[tuple[Any, str]] = [(dot, "a seed")]
    entries.append((Line2D([], [], linestyle="", marker="|", ms=13, mew=1.6, color="black"), "mean"))
    if any(row.ci_low is not None for row in rows):
        entries.append((Patch(color=_BAND), "95 % interval"))
    if any(row.collapsed for row in rows):
        hollow = Line2D([], [], linestyle="", marker="o", ms=4.6, color=_DOT, mfc="white")
        entries.append((hollow, f"{COLLAPSED} {subject.COLLAPSED}"))
    return entries
