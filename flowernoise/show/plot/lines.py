"""Lines: what every loss reaches against the rate of wrong labels, and what it learns epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flowernoise.show.plot import sheet, styles, subject
from flowernoise.show.plot.styles import OTHER, REFERENCE, Style
from flowernoise.show.plot.subject import ChartLike, HistoriesLike, HistoryLike, Measure
from flowernoise.show.table import CONTROL, CellLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

_NOISES = 3  # side by side
_CONDITIONS = 5  # side by side
_DODGE, _DODGED = 4.5, 14.0  # points between the bars of neighbouring losses, and between the first and the last
_FAR = 0.6  # of the data's range; a chance line further below is brought near
_BELOW = 0.12  # of the data's range; there
_BESIDE = 4.0  # points between neighbouring bars at the end
_FEW_BANDS = 3  # losses; the ranges of more hide one another, and are bars at the end instead
_CONTROL_DASHES: Any = (0, (1, 2))
_CHANCE_DASHES: Any = (0, (4, 3))
_FLAWED = 1.0  # width of lines through collapsed cells
Entry = tuple[Any, str]  # of a legend


def accuracy(chart: ChartLike) -> Figure:
    """A metric against the realised rate: a line a loss, a panel a noise model, 95 % intervals as bars.

    The score of one answer for everything and the baseline's clean control are drawn in. Where the task is binary,
    balanced accuracy stands beside accuracy. Collapsed cells are hollow and crossed, their lines thin and dotted: a
    flat line at the majority score is no robustness.
    """
    result, measures = chart.comparison, subject.measures(chart.comparison)
    noises = sorted({row.noise for row in result.rows} - {CONTROL})
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
            panel.set_xlabel("wrong training labels, %")
            if panel is axes[0] or len(noises) == 1:
                panel.set_ylabel(subject.axis_label(measure.name, result.better))
                panel.tick_params(labelleft=True)
        sheet.remove(axes[len(within) :])
        _limit(axes[0], chart, [measure for _, measure in within])
    several = "" if subject.seeds(result.rows) == "one seed" else "mean of "
    return sheet.finish(
        figure,
        f"{subject.readable(result.metric)} under wrong training labels",
        [
            *subject.facts(result),
            f"{several}{subject.seeds(result.rows)}",
            "bars: 95 % interval",
            *subject.failures(result.rows),
            *subject.shortened(noises),
        ],
        _legend(chart, measures),
    )


def _against_rate(panel: Axes, chart: ChartLike, noise: str, measure: Measure) -> None:
    """The lines of a panel, those that stand out above the others."""
    of_losses = styles.of_losses(chart.highlighted)
    if measure.chance is not None:
        panel.axhline(100 * measure.chance, color=REFERENCE, linewidth=1.1, linestyle=_CHANCE_DASHES, label="chance")
    control = _control(chart, measure)
    if control is not None:
        panel.axhline(100 * control, color=REFERENCE, linewidth=1.1, linestyle=_CONTROL_DASHES, label="control")
    lines = {
        loss: sorted(
            (r for r in measure.rows if r.loss == loss and r.noise in (noise, CONTROL) and r.mean is not None),
            key=lambda row: row.realised_rate,
        )
        for loss in dict.fromkeys(row.loss for row in measure.rows)
    }
    flawed = {(row.loss, row.noise, row.rate) for row in chart.comparison.rows if row.collapsed}
    order = list(of_losses)
    step = min(_DODGE, _DODGED / max(len(order) - 1, 1))
    for loss, rows in lines.items():
        shift = step * (order.index(loss) - (len(order) - 1) / 2) if loss in of_losses else 0.0
        _line(panel, loss, rows, flawed, of_losses.get(loss, OTHER), shift)


def _line(
    panel: Axes, loss: str, rows: Sequence[CellLike], flawed: set[tuple[str, str, float]], style: Style, shift: float
) -> None:
    """One loss: its sound cells joined by its line, the collapsed ones hollow, crossed, and only dotted together."""
    x = np.array([100 * row.realised_rate for row in rows])
    y = np.array([100 * (row.mean or 0.0) for row in rows])
    collapsed = np.array([(row.loss, row.noise, row.rate) in flawed for row in rows], dtype=bool)
    above = 3.0 if style is not OTHER else 2.0
    common: dict[str, Any] = {"color": style.colour, "transform": _moved(panel, shift), "zorder": above}
    if style is not OTHER:
        low = np.array([100 * (row.mean if row.ci_low is None else row.ci_low) for row in rows if row.mean is not None])
        high = np.array(
            [100 * (row.mean if row.ci_high is None else row.ci_high) for row in rows if row.mean is not None]
        )
        panel.vlines(x, low, high, linewidth=1.1, alpha=0.75, **common)
    if collapsed.any():
        panel.plot(x, y, linestyle=(0, (1, 2.5)), linewidth=_FLAWED, label=f"{loss}, in all", **common)
        _crossed(panel, x[collapsed], y[collapsed], style, common, f"{loss}, collapsed")
    sound = np.where(collapsed, np.nan, y)
    width = 1.8 if style is not OTHER else 0.9
    panel.plot(
        x, sound, linestyle=style.dashes, linewidth=width, marker=style.marker, ms=5.5, mew=0, label=loss, **common
    )


def _moved(panel: Axes, shift: float) -> Transform:
    """Where data stand, ``shift`` points to the right, so that neighbours do not hide one another."""
    from matplotlib.transforms import ScaledTranslation

    return panel.transData + ScaledTranslation(shift / 72, 0, panel.figure.dpi_scale_trans)


def _crossed(panel: Axes, x: Any, y: Any, style: Style, common: dict[str, Any], label: str) -> None:
    """Hollow markers with a cross in them."""
    panel.plot(
        x,
        y,
        linestyle="",
        marker="o" if style is OTHER else style.marker,
        ms=8,
        mfc="white",
        mew=1.2,
        label=label,
        **common,
    )
    panel.plot(x, y, linestyle="", marker="x", ms=4.2, mew=1.2, **common)


def _control(chart: ChartLike, measure: Measure) -> float | None:
    """What the baseline reaches without noise."""
    baseline = chart.comparison.baseline
    means = [row.mean for row in measure.rows if row.noise == CONTROL and row.loss == baseline]
    return means[0] if means else None


def _limit(panel: Axes, chart: ChartLike, measures: Sequence[Measure]) -> None:
    """All of the data and a little more, but no share below 0 or above 1; a chance line far below is brought near."""
    rows = [row for measure in measures for row in measure.rows if row.mean is not None]
    barred = [row for row in rows if row.loss in chart.highlighted]
    ends = [row.mean for row in rows] + [end for row in barred for end in (row.ci_low, row.ci_high)]
    low, high = (100 * end(share for share in ends if share is not None) for end in (min, max))
    chances = sorted({100 * measure.chance for measure in measures if measure.chance is not None})
    far = [chance for chance in chances if chance < low - _FAR * (high - low)]
    low, high = min([low, *(c for c in chances if c not in far)]), max([high, *chances])
    room = max(0.05 * (high - low), 1.0)
    low, high = max(low - room, -1.0), min(high + room, 101.0)
    last = 100 * max(row.realised_rate for row in rows)
    panel.set_xlim(-0.06 * last, 1.06 * last)
    if far:
        _bring_near(panel, far, low, high)
    else:
        panel.set_ylim(low, high)


def _bring_near(panel: Axes, far: Sequence[float], low: float, high: float) -> None:
    """Squeezes the axis below ``low``, so that it reaches down to ``far``, and marks the break."""
    from matplotlib.ticker import FixedLocator, FormatStrFormatter, MaxNLocator

    squeezed = _BELOW * (high - low) / (low - far[0])

    def forward(values: Any) -> Any:
        return np.where(values >= low, values, low - squeezed * (low - values))

    def backward(places: Any) -> Any:
        return np.where(places >= low, places, low - (low - places) / squeezed)

    panel.set_yscale("function", functions=(forward, backward))
    panel.set_ylim(float(backward(low - 1.4 * _BELOW * (high - low))), high)
    above = [tick for tick in MaxNLocator(nbins=7, steps=[1, 2, 5, 10]).tick_values(low, high) if low < tick <= 100]
    panel.yaxis.set_major_locator(FixedLocator([*far, *above]))
    panel.yaxis.set_major_formatter(FormatStrFormatter("%.3g"))
    middle = low - 0.5 * _BELOW * (high - low)
    for each in panel.get_shared_y_axes().get_siblings(panel):
        at = [float(backward(middle + offset * (high - low))) for offset in (-0.008, 0.008)]
        edge: dict[str, Any] = {"transform": each.get_yaxis_transform(), "clip_on": False}
        each.plot([0, 0], at, color="white", linewidth=3, zorder=5, **edge)
        slash = [(-1.0, -0.5), (1.0, 0.5)]
        each.plot([0, 0], at, linestyle="", marker=slash, ms=9, mew=1, color=sheet.FAINT, zorder=6, **edge)


def _legend(chart: ChartLike, measures: Sequence[Measure]) -> list[Entry]:
    entries = _losses_legend(chart)
    named = [(measure, _control(chart, measure)) for measure in measures]
    controls = [(measure.name, control) for measure, control in named if control is not None]
    if controls:
        text = f"{chart.comparison.baseline} without noise: {_values(controls)}"
        entries.append((_handle(REFERENCE, "", _CONTROL_DASHES, 1.1), text))
    chances = [(measure.name, measure.chance) for measure in measures if measure.chance is not None]
    if chances:
        what = "majority" if chances[0][0] == "accuracy" else "one answer for all"
        entries.append((_handle(REFERENCE, "", _CHANCE_DASHES, 1.1), f"{what}: {_values(chances)}"))
    return [*entries, *_collapsed_legend(chart)]


def _losses_legend(chart: ChartLike) -> list[Entry]:
    """An entry a loss that stands out, and one for the others."""
    entries = [(_handle(*style, 1.8), loss) for loss, style in styles.of_losses(chart.highlighted).items()]
    others = len({row.loss for row in chart.comparison.rows} - set(chart.highlighted))
    return [*entries, (_handle(*OTHER, 0.9), f"{others} other losses")] if others else entries


def _values(named: Sequence[tuple[str, float]]) -> str:
    """``80.0 %``, with the second one's name: ``80.0 %, balanced 50.0 %``."""
    (_, first), *rest = named
    return ", ".join([subject.percent(first), *(f"balanced {subject.percent(share)}" for _, share in rest)])


def _handle(colour: str, marker: str, dashes: Any, width: float) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker, linestyle=dashes, linewidth=width, ms=5.5, mew=0)


def _collapsed_legend(chart: ChartLike) -> list[Entry]:
    from matplotlib.lines import Line2D

    if not any(row.collapsed for row in chart.comparison.rows):
        return []
    hollow = Line2D([], [], color=REFERENCE, linestyle="", marker="o", ms=8, mfc="white", mew=1.2)
    cross = Line2D([], [], color=REFERENCE, linestyle="", marker="x", ms=4.2, mew=1.2)
    return [((hollow, cross), subject.COLLAPSED)]


def memorisation(data: HistoriesLike) -> Figure:
    """What runs learn epoch by epoch: a column of panels a noise, a line a loss, the mean over seeds in their range.

    Above the share of wrong labels that a run gives back, beneath its accuracy on the clean test photos and on the
    noisy validation photos, from which alone an epoch can be chosen in practice.
    """
    result = data.chart.comparison
    conditions = list(dict.fromkeys((history.noise, history.rate) for history in data.histories))
    noises = sorted({noise for noise, _ in conditions})
    names = subject.short_names(noises)
    measures: list[tuple[str, Callable[[HistoryLike], Any]]] = [
        ("wrong labels\nmemorised, %", lambda history: history.memorised),
        ("clean test\naccuracy, %", lambda history: history.test_accuracy),
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
    source, classes, kind, *_ = subject.facts(result)
    photos = f"{data.train_photos:,} training, {data.val_photos:,} val and {sum(result.test_counts):,} test photos"
    chosen = "each run with the learning rate and L2 selected for it on noisy val"
    return sheet.finish(
        figure,
        "memorisation of wrong labels, epoch by epoch",
        [source, classes, kind, photos, chosen, _spread(data), *subject.shortened(noises)],
        [*_losses_legend(data.chart), *_collapsed_legend(data.chart)],
    )


def _spread(data: HistoriesLike) -> str:
    """How many seeds a line is the mean of, and what shows how far they lie apart."""
    counts = sorted({len(history.memorised) for history in data.histories})
    if counts == [1]:
        return "one seed"
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    shown = "band" if len(data.chart.highlighted) <= _FEW_BANDS else "bar at the end"
    return f"mean of {many} seeds, {shown}: their range"


def _against_epoch(
    panel: Axes, data: HistoriesLike, condition: tuple[str, float], read: Callable[[HistoryLike], Any], inches: float
) -> None:
    """The lines of a panel about so many inches wide; a collapsed loss ends in a hollow, crossed marker."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    of_losses = styles.of_losses(data.chart.highlighted)
    order = list(of_losses)
    collapsed = {(row.loss, row.noise, row.rate) for row in data.chart.comparison.rows if row.collapsed}
    for history in data.histories:
        if (history.noise, history.rate) != condition:
            continue
        style = of_losses.get(history.loss, OTHER)
        values = 100 * read(history)
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
