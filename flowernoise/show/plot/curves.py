"""Curves: a metric of each loss against the rate of wrong labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowernoise.analysis.views.arrays import Floats
from flowernoise.analysis.views.charts import Chart, ChartCell, Measure
from flowernoise.analysis.views.curves import curves
from flowernoise.catalogue.label_words import label_words
from flowernoise.catalogue.metrics import facts_of
from flowernoise.show.plot import marks, sheet, styles, subject
from flowernoise.show.plot.kinds import picture
from flowernoise.show.plot.sheet import LegendEntry
from flowernoise.show.plot.styles import OTHER, REFERENCE, Dashes, Style
from flowernoise.store.records import CONTROL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOISES = 3  # side by side
_DODGE, _DODGED = 4.5, 14.0  # points between the bars of neighbouring losses, and between the first and the last
_FAR = 0.6  # of the data's range; a chance line further below is brought near
_BELOW = 0.12  # of the data's range; there
_CONTROL_DASHES: Dashes = (0, (1, 2))
_CHANCE_DASHES: Dashes = (0, (4, 3))


def _accuracy_caption(chart: Chart) -> str:
    metric, wrong = subject.title(chart.measures[0]), label_words(chart).wrong
    measured = f", measured{against}" if (against := subject.against(chart)) else ""
    return f"{metric} against the share of {wrong} training labels{measured}; {subject.kind(chart)}."


def _accuracy_alt(chart: Chart) -> str:
    measure = chart.measures[0]
    controls = {cell.loss: cell for cell in measure.cells if cell.noise == CONTROL}
    sentences = []
    for noise in sorted({cell.noise for cell in measure.cells} - {CONTROL}):
        cells = [cell for cell in measure.cells if cell.noise == noise and cell.mean is not None]
        most = max((cell.rate for cell in cells), default=0.0)
        last = {cell.loss: cell for cell in cells if cell.rate == most}
        parts = [_from_to(measure, controls.get(loss), last[loss]) for loss in chart.highlighted if loss in last]
        sentences.append(f"Up to {subject.condition_name(noise, most)}: {subject.listed(parts)}.")
    shown = f"{facts_of(measure.name).title}{subject.against(chart)}"
    return " ".join([f"Line chart of {shown} as labels get noisier.", *sentences])


def _from_to(measure: Measure, control: ChartCell | None, last: ChartCell) -> str:
    before = f"from {subject.value(measure, control.mean)} " if control and control.mean is not None else ""
    return f"{last.loss} {before}to {subject.value(measure, last.mean or 0.0)}"


@picture(
    curves,
    caption=_accuracy_caption,
    alt=_accuracy_alt,
    options=("metric", "select", "losses", "noise", "where"),
)
def accuracy(chart: Chart) -> Figure:
    """A metric against the realised rate: one line per loss, one panel per noise model, bars for 95 % intervals.

    Two lines show the score of one answer for everything and the baseline's control. Binary tasks have balanced
    accuracy beside accuracy. Collapsed cells are hollow and crossed, with thin dotted lines: a flat line at the
    majority score is not robustness.
    """
    measures, cells, wrong = chart.measures, chart.measures[0].cells, label_words(chart).wrong
    noises = sorted({cell.noise for cell in cells} - {CONTROL})
    names = subject.short_names(noises)
    if len(noises) == 1:
        places = [[(noises[0], measure) for measure in measures]]
    else:
        places = [[(noise, each) for noise in chunk] for chunk in sheet.chunks(noises, _NOISES) for each in measures]
    columns = len(places[0])
    size = {1: (6.6, 4.2), 2: (4.4, 3.8)}.get(columns, (3.3, 3.8))
    figure, grid = sheet.panels(len(places), columns, size, share_x=True)
    for axes, within in zip(grid, places, strict=True):
        sheet.share_y(axes)
        for panel, (noise, measure) in zip(axes, within, strict=False):
            _against_rate(panel, chart, noise, measure)
            panel.set_title(sheet.folded(names[noise], size[0] - 0.8), loc="left")
            panel.set_xlabel(f"{wrong} training labels, %")
            if panel is axes[0] or len(noises) == 1:
                panel.set_ylabel(subject.axis_label(measure))
                panel.tick_params(labelleft=True)
        sheet.remove(axes[len(within) :])
        _limit(axes[0], chart, [measure for _, measure in within])
    seeds = subject.seeds(cells)
    return sheet.finish(
        figure,
        f"{facts_of(measures[0].name).title}{subject.against(chart)} under {wrong} training labels",
        [
            *subject.facts(chart),
            seeds if seeds == "one seed" else f"mean of {seeds}",
            "bars: 95 % interval",
            *subject.failures(cells),
            *subject.shortened(noises),
        ],
        _legend(chart),
    )


def _against_rate(panel: Axes, chart: Chart, noise: str, measure: Measure) -> None:
    """The lines of a panel, highlighted ones on top."""
    scale, control = subject.scale(measure), _control(chart, measure)
    reference: dict[str, Any] = {"color": REFERENCE, "linewidth": 1.1}
    if measure.chance is not None:
        panel.axhline(scale * measure.chance, linestyle=_CHANCE_DASHES, label="chance", **reference)
    if control is not None:
        panel.axhline(scale * control, linestyle=_CONTROL_DASHES, label="control", **reference)
    of_losses = styles.of_losses(chart.highlighted)
    order = list(of_losses)
    step = min(_DODGE, _DODGED / max(len(order) - 1, 1))
    for loss in dict.fromkeys(cell.loss for cell in measure.cells):
        cells = [c for c in measure.cells if c.loss == loss and c.noise in (noise, CONTROL) and c.mean is not None]
        cells.sort(key=lambda cell: cell.realised_rate)
        shift = step * (order.index(loss) - (len(order) - 1) / 2) if loss in of_losses else 0.0
        _line(panel, loss, cells, of_losses.get(loss, OTHER), scale, shift)


def _line(panel: Axes, loss: str, cells: Sequence[ChartCell], style: Style, scale: float, shift: float) -> None:
    """One loss: a line through its sound cells; collapsed cells are hollow, crossed, and joined by dots only."""
    x = np.array([100 * cell.realised_rate for cell in cells])
    y = np.array([scale * (cell.mean or 0.0) for cell in cells])
    collapsed = np.array([cell.collapsed > 0 for cell in cells], dtype=bool)
    stands_out = style is not OTHER
    common: dict[str, Any] = {"color": style.colour, "transform": marks.moved(panel, shift), "zorder": 2.0 + stands_out}
    if stands_out:
        low, high = (
            np.array([mean if end is None else scale * end for mean, end in zip(y, ends, strict=True)])
            for ends in ([cell.ci_low for cell in cells], [cell.ci_high for cell in cells])
        )
        panel.vlines(x, low, high, linewidth=1.1, alpha=0.75, **common)
    if collapsed.any():
        panel.plot(x, y, linestyle=(0, (1, 2.5)), linewidth=1.0, label=f"{loss}, in all", **common)
        marks.crossed(panel, x[collapsed], y[collapsed], style, common, f"{loss}, collapsed")
    shown: dict[str, Any] = {"linewidth": 1.8 if stands_out else 0.9, "marker": style.marker, "ms": 5.5, "mew": 0}
    panel.plot(x, np.where(collapsed, np.nan, y), linestyle=style.dashes, label=loss, **shown, **common)


def _control(chart: Chart, measure: Measure) -> float | None:
    """The baseline's value without noise."""
    means = [cell.mean for cell in measure.cells if cell.noise == CONTROL and cell.loss == chart.baseline]
    return means[0] if means else None


def _limit(panel: Axes, chart: Chart, measures: Sequence[Measure]) -> None:
    """All of the data and a little more, but no share below 0 or above 1; a chance line far below is moved closer."""
    scale = subject.scale(measures[0])
    cells = [cell for measure in measures for cell in measure.cells if cell.mean is not None]
    barred = [cell for cell in cells if cell.loss in chart.highlighted]
    ends = [cell.mean for cell in cells] + [end for cell in barred for end in (cell.ci_low, cell.ci_high)]
    low, high = (scale * end(number for number in ends if number is not None) for end in (min, max))
    chances = sorted({scale * measure.chance for measure in measures if measure.chance is not None})
    far = [chance for chance in chances if chance < low - _FAR * (high - low)]
    low, high = min([low, *(chance for chance in chances if chance not in far)]), max([high, *chances])
    room = max(0.05 * (high - low), 0.01 * scale)
    low, high = low - room, high + room
    if measures[0].unit == "share":
        low, high = max(low, -1.0), min(high, 101.0)
    last = 100 * max(cell.realised_rate for cell in cells)
    panel.set_xlim(-0.06 * last, 1.06 * last)
    if far:
        _bring_near(panel, far, low, high)
    else:
        panel.set_ylim(low, high)


def _bring_near(panel: Axes, far: Sequence[float], low: float, high: float) -> None:
    """Squeezes the axis below ``low``, so that it reaches down to ``far``, and marks the break."""
    from matplotlib.ticker import FixedLocator, FormatStrFormatter, MaxNLocator

    squeezed = _BELOW * (high - low) / (low - far[0])

    def forward(values: Floats | float) -> Floats:
        return np.where(values >= low, values, low - squeezed * (low - values))

    def backward(places: Floats | float) -> Floats:
        return np.where(places >= low, places, low - (low - places) / squeezed)

    panel.set_yscale("function", functions=(forward, backward))
    panel.set_ylim(float(backward(low - 1.4 * _BELOW * (high - low))), high)
    above = [tick for tick in MaxNLocator(nbins=7, steps=[1, 2, 5, 10]).tick_values(low, high) if low < tick <= high]
    panel.yaxis.set_major_locator(FixedLocator([*far, *above]))
    panel.yaxis.set_major_formatter(FormatStrFormatter("%.3g"))
    middle = low - 0.5 * _BELOW * (high - low)
    for each in panel.get_shared_y_axes().get_siblings(panel):
        at = [float(backward(middle + offset * (high - low))) for offset in (-0.008, 0.008)]
        edge: dict[str, Any] = {"transform": each.get_yaxis_transform(), "clip_on": False}
        each.plot([0, 0], at, color="white", linewidth=3, zorder=5, **edge)
        slash = [(-1.0, -0.5), (1.0, 0.5)]
        each.plot([0, 0], at, linestyle="", marker=slash, ms=9, mew=1, color=sheet.FAINT, zorder=6, **edge)


def _legend(chart: Chart) -> list[LegendEntry]:
    entries = marks.losses_legend(chart)
    controls = [(measure, _control(chart, measure)) for measure in chart.measures]
    if text := _values(controls):
        entries.append((marks.handle(REFERENCE, "", _CONTROL_DASHES, 1.1), f"{chart.baseline} without noise: {text}"))
    chance = facts_of(chart.measures[0].name).chance
    if chance and (text := _values([(measure, measure.chance) for measure in chart.measures])):
        entries.append((marks.handle(REFERENCE, "", _CHANCE_DASHES, 1.1), f"{chance.name}: {text}"))
    return [*entries, *marks.collapsed_legend(chart)]


def _values(numbers: Sequence[tuple[Measure, float | None]]) -> str:
    """``80.0 %``; of two metrics ``80.0 %, balanced 50.0 %``."""
    texts = [subject.value(measure, number) for measure, number in numbers if number is not None]
    return ", balanced ".join(texts)
