"""Lines: what every loss reaches against the rate of wrong labels, and what it learns epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowernoise.analysis.views.arrays import Floats
from flowernoise.analysis.views.charts import Chart, ChartCell, Measure
from flowernoise.analysis.views.histories import Histories, History
from flowernoise.catalogue.sources import label_words
from flowernoise.show.plot import sheet, styles, subject
from flowernoise.show.plot.sheet import Entry
from flowernoise.show.plot.styles import OTHER, REFERENCE, Dashes, Style
from flowernoise.store.records import CONTROL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Transform

_NOISES = 3  # side by side
_CONDITIONS = 5  # side by side
_DODGE, _DODGED = 4.5, 14.0  # points between the bars of neighbouring losses, and between the first and the last
_FAR = 0.6  # of the data's range; a chance line further below is brought near
_BELOW = 0.12  # of the data's range; there
_BESIDE = 4.0  # points between neighbouring bars at the end
_FEW_BANDS = 3  # losses; the ranges of more hide one another, and are bars at the end instead
_CONTROL_DASHES: Dashes = (0, (1, 2))
_CHANCE_DASHES: Dashes = (0, (4, 3))


def accuracy(chart: Chart) -> Figure:
    """A metric against the realised rate: a line a loss, a panel a noise model, 95 % intervals as bars.

    The score of one answer for everything and the baseline's control are drawn in. Where the task is binary,
    balanced accuracy stands beside accuracy. Collapsed cells are hollow and crossed, their lines thin and dotted: a
    flat line at the majority score is no robustness.
    """
    measures, cells, wrong = chart.measures, chart.measures[0].cells, label_words(chart.source).wrong
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
        f"{subject.readable(measures[0].name)} under {wrong} training labels",
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
    """The lines of a panel, those that stand out above the others."""
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
    """One loss: its sound cells joined by its line, the collapsed ones hollow, crossed, and only dotted together."""
    x = np.array([100 * cell.realised_rate for cell in cells])
    y = np.array([scale * (cell.mean or 0.0) for cell in cells])
    collapsed = np.array([cell.collapsed > 0 for cell in cells], dtype=bool)
    stands_out = style is not OTHER
    common: dict[str, Any] = {"color": style.colour, "transform": _moved(panel, shift), "zorder": 2.0 + stands_out}
    if stands_out:
        low, high = (
            np.array([mean if end is None else scale * end for mean, end in zip(y, ends, strict=True)])
            for ends in ([cell.ci_low for cell in cells], [cell.ci_high for cell in cells])
        )
        panel.vlines(x, low, high, linewidth=1.1, alpha=0.75, **common)
    if collapsed.any():
        panel.plot(x, y, linestyle=(0, (1, 2.5)), linewidth=1.0, label=f"{loss}, in all", **common)
        _crossed(panel, x[collapsed], y[collapsed], style, common, f"{loss}, collapsed")
    shown: dict[str, Any] = {"linewidth": 1.8 if stands_out else 0.9, "marker": style.marker, "ms": 5.5, "mew": 0}
    panel.plot(x, np.where(collapsed, np.nan, y), linestyle=style.dashes, label=loss, **shown, **common)


def _moved(panel: Axes, shift: float) -> Transform:
    """Where data stand, ``shift`` points to the right, so that neighbours do not hide one another."""
    from matplotlib.transforms import ScaledTranslation

    return panel.transData + ScaledTranslation(shift / 72, 0, panel.figure.dpi_scale_trans)


def _crossed(panel: Axes, x: Floats, y: Floats, style: Style, common: dict[str, Any], label: str) -> None:
    """Hollow markers with a cross in them."""
    hollow: dict[str, Any] = {"marker": "o" if style is OTHER else style.marker, "ms": 8, "mfc": "white", "mew": 1.2}
    panel.plot(x, y, linestyle="", label=label, **hollow, **common)
    panel.plot(x, y, linestyle="", marker="x", ms=4.2, mew=1.2, **common)


def _control(chart: Chart, measure: Measure) -> float | None:
    """What the baseline reaches without noise."""
    means = [cell.mean for cell in measure.cells if cell.noise == CONTROL and cell.loss == chart.baseline]
    return means[0] if means else None


def _limit(panel: Axes, chart: Chart, measures: Sequence[Measure]) -> None:
    """All of the data and a little more, but no share below 0 or above 1; a chance line far below is brought near."""
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


def _legend(chart: Chart) -> list[Entry]:
    entries = _losses_legend(chart)
    controls = [(measure, _control(chart, measure)) for measure in chart.measures]
    if text := _values(controls):
        entries.append((_handle(REFERENCE, "", _CONTROL_DASHES, 1.1), f"{chart.baseline} without noise: {text}"))
    if text := _values([(measure, measure.chance) for measure in chart.measures]):
        what = "majority" if chart.measures[0].name == "accuracy" else "one answer for all"
        entries.append((_handle(REFERENCE, "", _CHANCE_DASHES, 1.1), f"{what}: {text}"))
    return [*entries, *_collapsed_legend(chart)]


def _losses_legend(chart: Chart) -> list[Entry]:
    """An entry a loss that stands out, and one for the others."""
    entries = [(_handle(*style, 1.8), loss) for loss, style in styles.of_losses(chart.highlighted).items()]
    others = len({cell.loss for cell in chart.measures[0].cells} - set(chart.highlighted))
    return [*entries, (_handle(*OTHER, 0.9), f"{others} other losses")] if others else entries


def _values(numbers: Sequence[tuple[Measure, float | None]]) -> str:
    """``80.0 %``; of two metrics ``80.0 %, balanced 50.0 %``."""
    texts = [subject.value(measure, number) for measure, number in numbers if number is not None]
    return ", balanced ".join(texts)


def _handle(colour: str, marker: str, dashes: Dashes, width: float) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, linestyle=dashes, linewidth=width, ms=5.5, mew=0)


def _collapsed_legend(chart: Chart) -> list[Entry]:
    from matplotlib.lines import Line2D

    if not any(cell.collapsed for cell in chart.measures[0].cells):
        return []
    hollow = Line2D([], [], color=REFERENCE, linestyle="", marker="o", ms=8, mfc="white", mew=1.2)
    cross = Line2D([], [], color=REFERENCE, linestyle="", marker="x", ms=4.2, mew=1.2)
    return [((hollow, cross), subject.COLLAPSED)]


def memorisation(data: Histories) -> Figure:
    """What runs learn epoch by epoch: a column of panels a noise, a line a loss, the mean over seeds in their range.

    Above the share of wrong labels that a run gives back, beneath its accuracy on the test photos and on the
    noisy validation photos, from which alone an epoch can be chosen in practice.
    """
    conditions = list(dict.fromkeys((history.noise, history.rate) for history in data.histories))
    noises = sorted({noise for noise, _ in conditions})
    names, words = subject.short_names(noises), label_words(data.chart.source)
    on_test = "clean test\naccuracy, %" if words.are_clean else f"test accuracy, %\n({words.labels})"
    measures: list[tuple[str, Callable[[History], Floats]]] = [
        (f"{words.wrong} labels\nmemorised, %", lambda history: history.memorised),
        (on_test, lambda history: history.test_accuracy),
        ("noisy val\naccuracy, %", lambda history: history.val_accuracy),
    ]
    chunks = sheet.chunks(conditions, _CONDITIONS)
    columns = len(chunks[0])
    width = {1: 6.4, 2: 4.2, 3: 3.2, 4: 2.6}.get(columns, 2.2)
    figure, grid = sheet.panels(len(chunks) * len(measures), columns, (width, 2.2), share_x=True)
    for number, axes in enumerate(grid):
        within = chunks[number // len(measures)]
        label, read = measures[number % len(measures)]
        axes[0].set_ylabel(label)
        if read is not measures[-1][1]:  # how high noisy val can go depends on its rate
            sheet.share_y(axes)
        for panel, (noise, rate) in zip(axes, within, strict=False):
            _against_epoch(panel, data, (noise, rate), read, width - 0.7)
            if read is measures[0][1]:
                title = subject.condition_name(names[noise], rate)
                panel.set_title(sheet.folded(title, width - 0.7), loc="left")
            if read is measures[-1][1]:
                panel.set_xlabel("epoch")
        sheet.remove(axes[len(within) :])
    source, classes, kind, *_ = subject.facts(data.chart)
    photos = f"{data.train_photos:,} training, {data.val_photos:,} val and {sum(data.chart.test_counts):,} test photos"
    chosen = "each run with the learning rate and L2 selected for it on noisy val"
    return sheet.finish(
        figure,
        f"memorisation of {words.wrong} labels, epoch by epoch",
        [source, classes, kind, photos, chosen, _spread(data), *subject.shortened(noises)],
        [*_losses_legend(data.chart), *_collapsed_legend(data.chart)],
    )


def _spread(data: Histories) -> str:
    """How many seeds a line is the mean of, and what shows how far they lie apart."""
    counts = sorted({len(history.memorised) for history in data.histories})
    if counts == [1]:
        return "one seed"
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    shown = "band" if len(data.chart.highlighted) <= _FEW_BANDS else "bar at the end"
    return f"mean of {many} seeds, {shown}: their range"


def _against_epoch(
    panel: Axes, data: Histories, condition: tuple[str, float], read: Callable[[History], Floats], inches: float
) -> None:
    """The lines of a panel about so many inches wide; a collapsed loss ends in a hollow, crossed marker."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    of_losses = styles.of_losses(data.chart.highlighted)
    order = list(of_losses)
    collapsed = {(cell.loss, cell.noise, cell.rate) for cell in data.chart.measures[0].cells if cell.collapsed}
    for history in data.histories:
        if (history.noise, history.rate) != condition:
            continue
        style = of_losses.get(history.loss, OTHER)
        values = 100 * read(history)
        if np.isnan(values).all():  # of labels that happen to be all right, none is memorised
            continue
        epochs = np.arange(1, values.shape[1] + 1)
        mean, low, high = (function(values, axis=0) for function in (np.nanmean, np.nanmin, np.nanmax))
        common: dict[str, Any] = {"color": style.colour, "zorder": 2.0 if style is OTHER else 3.0}
        panel.plot(
            epochs, mean, linestyle=style.dashes, linewidth=0.8 if style is OTHER else 1.6, label=history.loss, **common
        )
        common["transform"] = panel.transData
        panel.update_datalim([(1, low.min()), (1, high.max())] if style is not OTHER else [(1, mean.min())])
        if style is not OTHER and len(order) <= _FEW_BANDS:
            panel.fill_between(epochs, low, high, color=style.colour, alpha=0.14, linewidth=0, zorder=2.5)
        elif style is not OTHER:
            common["transform"] = _moved(panel, _BESIDE * (order.index(history.loss) + 1.5))
            panel.vlines(epochs[-1:], low[-1:], high[-1:], linewidth=1.1, alpha=0.75, **common)
        if (history.loss, *condition) in collapsed:
            _crossed(panel, epochs[-1:], mean[-1:], style, common, f"{history.loss}, collapsed")
        elif style is not OTHER:
            panel.plot(epochs[-1:], mean[-1:], linestyle="", marker=style.marker, ms=5, mew=0, **common)
    last = max(history.memorised.shape[1] for history in data.histories)
    room = _BESIDE * (len(order) + 2) / (72 * inches) if len(order) > _FEW_BANDS else 0.05
    panel.set_xlim(1 - 0.04 * last, last + room / (1 - room) * last)
    ticks = MaxNLocator(nbins=5, integer=True).tick_values(1, last)
    panel.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if 1 <= tick <= last]))
    panel.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    panel.autoscale_view(scalex=False)
