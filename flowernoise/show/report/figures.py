"""The pictures of a report, and what they tell those who cannot see them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from flowernoise.analysis.views.arrays import Floats
from flowernoise.analysis.views.charts import Chart, ChartCell, Measure, Spread
from flowernoise.analysis.views.histories import Histories, History
from flowernoise.analysis.views.matrices import Confusions, Transition
from flowernoise.analysis.views.pictures import Picture, PictureData
from flowernoise.analysis.views.sheets import ContactSheet
from flowernoise.catalogue.sources import label_words
from flowernoise.show import contact_sheet, plot
from flowernoise.show.document import Figure
from flowernoise.show.plot import subject
from flowernoise.store.records import CONTROL

FOLDER = "report"  # of the pictures, beside the report in Markdown
QUALITY = 70  # of JPEG
_MOST = 6  # figures in an alternative text


def of_picture(picture: Picture) -> Figure:
    """A plot, as SVG."""
    alt, caption = _described(picture.data)
    return Figure(f"{FOLDER}/{picture.name}.svg", "image/svg+xml", plot.draw(picture.data, "svg"), alt, caption)


def _described(data: PictureData) -> tuple[str, str]:
    """Alternative text and caption."""
    match data:
        case Chart():
            return _accuracy_alt(data), _accuracy_caption(data)
        case Histories():
            return _memorisation_alt(data), _memorisation_caption(data)
        case Confusions():
            return _confusion_alt(data), _confusion_caption(data)
        case Transition():
            return _transition_alt(data), _transition_caption(data)
        case Spread():
            return _seeds_alt(data.chart), _seeds_caption(data.chart)


def of_sheet(sheet: ContactSheet) -> Figure:
    """A contact sheet, as JPEG."""
    data = contact_sheet.jpeg(sheet, quality=QUALITY)
    return Figure(f"{FOLDER}/{sheet.name}.jpg", "image/jpeg", data, _sheet_alt(sheet), f"{contact_sheet.title(sheet)}.")


def _sheet_alt(sheet: ContactSheet) -> str:
    classes = sheet.classes
    if sheet.kind == "mistakes":
        shown = [
            f"{classes[photo.true]} taken for {classes[photo.predicted]} at {100 * photo.probability:.0f} %"
            for photo in sheet.photos[:3]
            if photo.predicted is not None and photo.probability is not None
        ]
        return f"Contact sheet of {len(sheet.photos)} misclassified test photos" + (
            f"; most confidently {', '.join(shown)}." if shown else "."
        )
    wrong, kind = sheet.wrong or "none", label_words(sheet.source).wrong
    mixed_up = dict.fromkeys((classes[p.true], classes[p.given]) for p in sheet.photos if p.true != p.given)
    examples = [f"{true} labelled {given}" for true, given in mixed_up][:3]
    return f"Contact sheet of {len(sheet.photos)} training photos with their labels, {wrong} of them {kind} ones" + (
        f", such as {', '.join(examples)}." if examples else "."
    )


def _accuracy_caption(chart: Chart) -> str:
    return f"{_measure(chart)} against the share of {label_words(chart.source).wrong} training labels; {_kind(chart)}."


def _accuracy_alt(chart: Chart) -> str:
    measure = chart.measures[0]
    controls = {cell.loss: cell for cell in measure.cells if cell.noise == CONTROL}
    sentences = []
    for noise in sorted({cell.noise for cell in measure.cells} - {CONTROL}):
        cells = [cell for cell in measure.cells if cell.noise == noise and cell.mean is not None]
        most = max((cell.rate for cell in cells), default=0.0)
        last = {cell.loss: cell for cell in cells if cell.rate == most}
        parts = [_from_to(measure, controls.get(loss), last[loss]) for loss in chart.highlighted if loss in last]
        sentences.append(f"{subject.condition_name(noise, most)}: {_listed(parts)}.")
    return " ".join([f"Lines of {subject.readable(measure.name)} as labels get noisier.", *sentences])


def _from_to(measure: Measure, control: ChartCell | None, last: ChartCell) -> str:
    before = f"from {subject.value(measure, control.mean)} " if control and control.mean is not None else ""
    return f"{last.loss} {before}to {subject.value(measure, last.mean or 0.0)}"


def _seeds_caption(chart: Chart) -> str:
    return f"{_measure(chart)} of every single seed; {_kind(chart)}."


def _seeds_alt(chart: Chart) -> str:
    measure = chart.measures[0]
    cells = [cell for cell in measure.cells if len(cell.values) > 1]
    if not cells:
        return "Points of single seeds."
    widest = max(cells, key=lambda cell: max(cell.values) - min(cell.values))
    return (
        f"A point for every seed of {len(cells)} cells; the widest spread is that of {widest.loss} under "
        f"{subject.condition_name(widest.noise, widest.rate)}, from {subject.value(measure, min(widest.values))} to "
        f"{subject.value(measure, max(widest.values))}."
    )


def _memorisation_caption(data: Histories) -> str:
    wrong = label_words(data.chart.source).wrong
    return f"What is learned epoch by epoch, and the share of {wrong} labels that are memorised; {_kind(data.chart)}."


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
    wrong = label_words(data.chart.source).wrong
    return f"Lines over epochs; {wrong} training labels memorised in the last one: {_listed(parts)}."


def _last(shares: Floats) -> float:
    """Mean over seeds of each one's last epoch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a seed without any epoch
        return float(np.nanmean([own[~np.isnan(own)][-1] if (~np.isnan(own)).any() else np.nan for own in shares]))


def _confusion_caption(data: Confusions) -> str:
    condition = subject.condition_name(data.noise, data.rate)
    true_class = label_words(data.chart.source).true_class
    return f"Test photos by {true_class} and predicted class; {condition}, seed {data.seed}; {_kind(data.chart)}."


def _confusion_alt(data: Confusions) -> str:
    parts = []
    for matrix in data.matrices:
        counts = np.array(matrix.counts)
        right, total = int(np.trace(counts)), int(counts.sum())
        off = counts - np.diag(np.diag(counts))
        true, predicted = divmod(int(off.argmax()), len(off))
        names = data.chart.classes
        most = f", most often {names[true]} taken for {names[predicted]} ({off.max()})" if off.max() else ""
        parts.append(f"{matrix.loss}: {right} of {total} right{most}")
    return f"Confusion matrices. {'; '.join(parts)}."


def _transition_caption(data: Transition) -> str:
    true_class = label_words(data.source).true_class
    condition = subject.condition_name(data.noise, data.rate)
    return f"Transition matrix, from {true_class} to observed class of training labels; {condition}, seed {data.seed}."


def _transition_alt(data: Transition) -> str:
    realised = np.nan_to_num(np.array(data.realised, dtype=float))
    off = realised - np.diag(np.diag(realised))
    true, observed = divmod(int(off.argmax()), len(off))
    names = data.classes
    most = f"; most often {names[true]} becomes {names[observed]} ({subject.percent(off.max())})" if off.max() else ""
    wrong = label_words(data.source).wrong
    return f"Transition matrix: {subject.percent(data.realised_rate)} {wrong} training labels{most}."


def _measure(chart: Chart) -> str:
    name = subject.readable(chart.measures[0].name)
    return name[0].upper() + name[1:]


def _kind(chart: Chart) -> str:
    return subject.kind(chart)


def _listed(parts: Sequence[str]) -> str:
    if not parts:
        return "nothing"
    more = [f"and {len(parts) - _MOST} more"] if len(parts) > _MOST else []
    return ", ".join([*parts[:_MOST], *more])
