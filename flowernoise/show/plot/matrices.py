"""Matrices: which classes a run mixes up, and how a draw changed the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from flowernoise.analysis.views.arrays import Floats
from flowernoise.analysis.views.matrices import Confusion, Confusions, Transition, confusions, transitions
from flowernoise.catalogue.label_words import label_words
from flowernoise.show.plot import sheet, subject
from flowernoise.show.plot.kinds import picture
from flowernoise.show.plot.styles import COLLAPSED
from flowernoise.store.records import CONTROL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE_BY_SIDE = 3
_MAX_WRITTEN = 12  # classes whose cells have room for numbers
_MAX_NAMED = 40  # classes that have room for their names
_DARK = 0.65  # from this share on a cell's text is white
_CELL = 0.62  # inches
SHADES = "Blues"


def _confusion_caption(data: Confusions) -> str:
    condition = subject.condition_name(data.noise, data.rate)
    words = label_words(data.chart)
    by = f"Test {words.things} by {words.test_class} and predicted class"
    return f"{by}; {condition}, seed {data.seed}; {subject.kind(data.chart)}."


def _confusion_alt(data: Confusions) -> str:
    parts = []
    for matrix in data.matrices:
        counts = np.array(matrix.counts)
        right, total = int(np.trace(counts)), int(counts.sum())
        off = counts - np.diag(np.diag(counts))
        true, predicted = divmod(int(off.argmax()), len(off))
        names = data.chart.classes
        most = f", most often {names[true]} taken for {names[predicted]} ({off.max()})" if off.max() else ""
        parts.append(f"{matrix.loss}: {right} of {total} {_right(data)}{most}")
    return f"Confusion matrices. {'; '.join(parts)}."


@picture(
    confusions,
    caption=_confusion_caption,
    alt=_confusion_alt,
    options=("select", "losses", "noise", "rate", "seed", "where"),
)
def confusion(data: Confusions) -> Figure:
    """Test photos by true and predicted class, one panel per run: counts, and shares of each true class."""
    chart, words = data.chart, label_words(data.chart)
    columns = min(_SIDE_BY_SIDE, len(data.matrices))
    figure, grid = sheet.panels(-(-len(data.matrices) // columns), columns, _size(chart.classes))
    panels = [panel for axes in grid for panel in axes]
    for panel, matrix in zip(panels, data.matrices, strict=False):
        counts = np.asarray(matrix.counts)
        totals = counts.sum(axis=1)
        shares = np.divide(counts, totals[:, None], out=np.zeros(counts.shape), where=totals[:, None] > 0)
        texts = [
            [f"{n}\n{100 * s:.0f} %" if n else "0" for n, s in zip(*row, strict=True)]
            for row in zip(counts, shares, strict=True)
        ]
        _matrix(panel, shares, texts, chart.classes, totals.tolist())
        panel.set_title(_of_run(matrix, _right(data), _side(chart.classes)), loc="left")
        panel.set_xlabel("predicted class")
        panel.set_ylabel(f"{words.test_class} (test {words.things})")
    sheet.remove(panels[len(data.matrices) :])
    collapsed = [f"{COLLAPSED} {subject.COLLAPSED}"] if any(matrix.collapsed for matrix in data.matrices) else []
    wrong = words.training_labels(subject.percent(data.realised_rate), is_control=data.noise == CONTROL)
    return sheet.finish(
        figure,
        f"confusion matrix: {subject.condition_name(data.noise, data.rate)}, seed {data.seed}",
        [
            *subject.facts(chart),
            wrong,
            _cells(chart.classes, f"{words.things}, and % of the {words.test_class}"),
            *collapsed,
        ],
    )


def _right(data: Confusions) -> str:
    """What predictions on the diagonal are, as far as that is known."""
    return "as labelled" if label_words(data.chart).test_is_doubted else "right"


def _of_run(matrix: Confusion, right: str, width: float) -> str:
    counts = np.asarray(matrix.counts)
    right = sheet.folded(f"{matrix.loss}: {subject.percent(counts.trace() / counts.sum())} {right}", width)
    return f"{right}\n{COLLAPSED} collapsed" if matrix.collapsed else right


def _transition_caption(data: Transition) -> str:
    true_class = label_words(data).training_class
    condition = subject.condition_name(data.noise, data.rate)
    return f"Transition matrix, from {true_class} to observed class of training labels; {condition}, seed {data.seed}."


def _transition_alt(data: Transition) -> str:
    realised = np.nan_to_num(np.array(data.realised, dtype=float))
    off = realised - np.diag(np.diag(realised))
    true, observed = divmod(int(off.argmax()), len(off))
    names = data.classes
    most = f"; most often {names[true]} becomes {names[observed]} ({subject.percent(off.max())})" if off.max() else ""
    wrong = label_words(data).wrong
    return f"Transition matrix: {subject.percent(data.realised_rate)} {wrong} training labels{most}."


@picture(
    transitions,
    caption=_transition_caption,
    alt=_transition_alt,
    options=("noise", "rate", "seed"),
    compared=False,
)
def transition(data: Transition) -> Figure:
    """P(observed label | true label) of a draw: as the noise model defines it, and as drawn."""
    words = label_words(data)
    matrices = [("nominal T", data.nominal), ("realised T, training labels", data.realised)]
    shown = [(title, matrix) for title, matrix in matrices if matrix is not None]
    figure, [axes] = sheet.panels(1, len(shown), _size(data.classes))
    totals = np.asarray(data.train_counts)
    for panel, (title, matrix) in zip(axes, shown, strict=True):
        shares = np.nan_to_num(matrix)
        texts = [
            [_transition_text(share, total, matrix is data.realised) for share in row]
            for row, total in zip(matrix, totals, strict=True)
        ]
        _matrix(panel, shares, texts, data.classes, data.train_counts)
        panel.set_title(title, loc="left")
        panel.set_xlabel("observed label")
        panel.set_ylabel(f"{words.training_class} (training {words.things})")
    missing = ["nominal T unknown: this noise depends on the photos"] if data.nominal is None else []
    return sheet.finish(
        figure,
        f"transition matrix: {subject.condition_name(data.noise, data.rate)}, seed {data.seed}",
        [
            data.source,
            f"{len(data.classes)} classes",
            f"{totals.sum():,} training {words.things}, {subject.percent(data.realised_rate)} {words.wrong} labels",
            _cells(data.classes, f"P(observed | {words.truth}) in %, and labels in brackets"),
            *missing,
        ],
    )


def _transition_text(share: float, total: int, realised: bool) -> str:
    if np.isnan(share):
        return "–"
    return f"{100 * share:.1f}\n({round(share * total)})" if realised else f"{100 * share:.1f}"


def _cells(classes: Sequence[str], written: str) -> str:
    """What the cells hold, or what their shade means where there is no room for numbers."""
    if len(classes) <= _MAX_WRITTEN:
        return f"cells: {written}"
    numbered = "" if len(classes) <= _MAX_NAMED else ", classes by number from 0"
    return f"darker cells hold a larger share of their row (white 0, darkest 100 %){numbered}"


def _size(classes: Sequence[str]) -> tuple[float, float]:
    """Size of a panel with its labels, in inches."""
    if len(classes) > _MAX_WRITTEN:
        return 5.2, 5.3
    names = max(sheet.text_width(f"{name} (0000)", 9.0) for name in classes)
    return _side(classes) + names + 0.5, _side(classes) + 1.2


def _side(classes: Sequence[str]) -> float:
    """About the side of the square of cells, in inches."""
    return max(len(classes) * _CELL, 1.7) if len(classes) <= _MAX_WRITTEN else 3.5


def _matrix(
    panel: Axes, shares: Floats, texts: Sequence[Sequence[str]], classes: Sequence[str], totals: Sequence[int]
) -> None:
    """Cells shaded by their share of the row, with numbers where there is room."""
    count = len(classes)
    panel.grid(visible=False)
    panel.imshow(shares, cmap=SHADES, vmin=0.0, vmax=1.0, aspect="equal")
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
    if count <= _MAX_WRITTEN:
        for row, line in enumerate(texts):
            for column, text in enumerate(line):
                colour = "white" if shares[row][column] > _DARK else sheet.INK
                panel.text(column, row, text, ha="center", va="center", size=8.5, color=colour, linespacing=1.15)
    ticks = range(count) if count <= _MAX_NAMED else range(0, count, -(-count // 20))
    size = 9.0 if count <= _MAX_WRITTEN else 6.0
    named = [classes[k] if count <= _MAX_NAMED else str(k) for k in ticks]
    panel.set_xticks(
        ticks, named, rotation=40 if count <= _MAX_NAMED else 0, ha="right", rotation_mode="anchor", size=size
    )
    panel.set_yticks(ticks, [f"{name} ({totals[k]:,})" for k, name in zip(ticks, named, strict=True)], size=size)
