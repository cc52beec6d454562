"""Epochs: what each loss learns, epoch by epoch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flowernoise.analysis.views.arrays import Floats
from flowernoise.analysis.views.histories import Histories, History, histories_of
from flowernoise.catalogue.label_words import label_words
from flowernoise.show.plot import marks, sheet, styles, subject
from flowernoise.show.plot.kinds import picture
from flowernoise.show.plot.styles import OTHER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CONDITIONS = 5  # side by side
_BESIDE = 4.0  # points between neighbouring bars at the end
_FEW_BANDS = 3  # losses; the ranges of more hide one another, and are bars at the end instead


def _memorisation_caption(data: Histories) -> str:
    wrong = label_words(data.chart).wrong
    kind = subject.kind(data.chart)
    return f"Learning epoch by epoch, and the share of {wrong} labels that are memorised; {kind}."


def _memorisation_alt(data: Histories) -> str:
    highest: dict[tuple[str, str], History] = {}
    for history in data.histories:
        place = (history.noise, history.loss)
        if history.loss in data.chart.highlighted and (place not in highest or highest[place].rate < history.rate):
            highest[place] = history
    parts = [
        f"{history.loss} {subject.percent(_last(history.memorised))} under "
        f"{subject.condition_name(history.noise, history.rate)}"
        for history in highest.values()
    ]
    wrong = label_words(data.chart).wrong
    last = f"{wrong.capitalize()} training labels memorised in the last one: {subject.listed(parts)}."
    return f"Line chart over epochs. {last}"


def _last(shares: Floats) -> float:
    """Mean over seeds of the last epoch of each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a seed without any epoch
        return float(np.nanmean([own[~np.isnan(own)][-1] if (~np.isnan(own)).any() else np.nan for own in shares]))


@picture(
    histories_of,
    caption=_memorisation_caption,
    alt=_memorisation_alt,
    options=("losses", "noise", "where"),
)
def memorisation(data: Histories) -> Figure:
    """Learning, epoch by epoch: one column per noise, one line per loss, the mean over seeds with their range.

    The top row is the share of wrong labels that a run gives back. Below it are its accuracy on the test photos and on
    the noisy validation photos; in practice only the latter can choose an epoch.
    """
    conditions = list(dict.fromkeys((history.noise, history.rate) for history in data.histories))
    noises = sorted({noise for noise, _ in conditions})
    names, words = subject.short_names(noises), label_words(data.chart)
    on_test = "clean test\naccuracy, %" if words.are_clean else f"test accuracy, %\n({words.of_test})"
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
    tested = f"{sum(data.chart.test_counts):,} test {words.things}"
    photos = f"{data.train_photos:,} training, {data.val_photos:,} val and {tested}"
    chosen = "each run with the learning rate and L2 selected for it on noisy val"
    return sheet.finish(
        figure,
        f"memorisation of {words.wrong} labels, epoch by epoch",
        [source, classes, kind, photos, chosen, _spread(data), *subject.shortened(noises)],
        [*marks.losses_legend(data.chart), *marks.collapsed_legend(data.chart)],
    )


def _spread(data: Histories) -> str:
    """How many seeds a line is the mean of, and what shows their range."""
    counts = sorted({len(history.memorised) for history in data.histories})
    if counts == [1]:
        return "one seed"
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    shown = "band" if len(data.chart.highlighted) <= _FEW_BANDS else "bar at the end"
    return f"mean of {many} seeds, {shown}: their range"


def _against_epoch(
    panel: Axes, data: Histories, condition: tuple[str, float], read: Callable[[History], Floats], inches: float
) -> None:
    """The lines of a panel of about this width in inches; a collapsed loss ends in a hollow, crossed marker."""
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
            common["transform"] = marks.moved(panel, _BESIDE * (order.index(history.loss) + 1.5))
            panel.vlines(epochs[-1:], low[-1:], high[-1:], linewidth=1.1, alpha=0.75, **common)
        if (history.loss, *condition) in collapsed:
            marks.crossed(panel, epochs[-1:], mean[-1:], style, common, f"{history.loss}, collapsed")
        elif style is not OTHER:
            panel.plot(epochs[-1:], mean[-1:], linestyle="", marker=style.marker, ms=5, mew=0, **common)
    last = max(history.memorised.shape[1] for history in data.histories)
    room = _BESIDE * (len(order) + 2) / (72 * inches) if len(order) > _FEW_BANDS else 0.05
    panel.set_xlim(1 - 0.04 * last, last + room / (1 - room) * last)
    ticks = MaxNLocator(nbins=5, integer=True).tick_values(1, last)
    panel.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if 1 <= tick <= last]))
    panel.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    panel.autoscale_view(scalex=False)
