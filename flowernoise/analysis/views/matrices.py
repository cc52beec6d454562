"""Confusion matrices of runs, and transition matrices of draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from flowernoise.analysis.views.arrays import Counts, Floats, Labels
from flowernoise.analysis.views.charts import Chart, ChartCell
from flowernoise.analysis.views.material import Material, NothingToDrawError
from flowernoise.analysis.views.pictures import slug
from flowernoise.catalogue.noise import shown_names
from flowernoise.catalogue.sources import without_path
from flowernoise.store import evaluations
from flowernoise.store.artifacts import Artifacts
from flowernoise.store.records import Dataset, Draw, DrawKey, Evaluation

MAX_MATRICES = 3  # confusion matrices side by side, unless more are requested


@dataclasses.dataclass(frozen=True, eq=False)
class Confusion:
    """Counts of a run's test photos by true and predicted class [true, predicted]."""

    loss: str
    counts: Counts
    collapsed: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Confusions:
    """Confusion matrices of runs that share a draw."""

    chart: Chart
    noise: str
    rate: float
    realised_rate: float
    seed: int
    matrices: tuple[Confusion, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Transition:
    """A draw's transition matrices [true, observed]; ``nominal`` is None if the noise model does not define one."""

    source: str
    classes: tuple[str, ...]
    train_counts: tuple[int, ...]
    noise: str
    rate: float
    realised_rate: float
    seed: int
    nominal: Floats | None
    realised: Floats
    trust: str = "all"


def confusion_of(loss: str, labels: Labels, predicted: Labels, num_classes: int, *, collapsed: bool) -> Confusion:
    """Counts a run's predictions [photo] by true and predicted class.

    >>> confusion_of("ce", np.array([0, 1, 1]), np.array([0, 0, 1]), 2, collapsed=False).counts.tolist()
    [[1, 0], [1, 1]]
    """
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return Confusion(loss, counts, collapsed)


def transition_of(dataset: Dataset, draw: Draw, nominal: Floats, realised: Floats) -> Transition:
    """A draw's matrices; a nominal matrix of NaN becomes None."""
    return Transition(
        source=without_path(dataset.request.source),
        classes=dataset.classes,
        train_counts=dataset.counts[0],
        noise=draw.key.noise,
        rate=draw.key.rate,
        realised_rate=draw.realised_rate,
        seed=draw.key.seed,
        nominal=None if np.isnan(nominal).any() else nominal,
        realised=realised,
        trust=dataset.request.trust,
    )


def confusions(material: Material) -> Iterator[tuple[str, Confusions]]:
    """The confusion matrices for one draw per noise model and setup.

    Raises:
        BadRequestError: no run has the wanted rate and seed.
        DamagedFileError: arrays are damaged.
    """
    charts = material.charts
    evaluation = evaluations.find(material.layout)
    if evaluation is None:
        raise NothingToDrawError(f"nothing is evaluated in {material.directory}; run `flowernoise evaluate` first")
    keys, arrays = evaluation.keys, evaluations.read(material.layout, evaluation)
    for ending, chart in charts.items():
        cells = {(cell.noise, cell.rate, cell.loss): cell for cell in chart.cells}
        evaluated = {
            key: position
            for position, (key, run) in enumerate(zip(keys, evaluation.runs, strict=True))
            if not run.failure and key.setup == chart.setup and (key.noise, key.rate, key.method) in cells
        }
        names = shown_names({key.noise for key in keys})
        for draw in material.chosen({key.draw for key in evaluated}, "run"):
            of_draw = {key.method: key for key in evaluated if key.draw == draw}
            there = [cells[draw.noise, draw.rate, loss] for loss in of_draw]
            shown = _losses_shown(chart, there, every=bool(material.wanted.losses))
            matrices = tuple(_matrix(chart, loss, evaluated[of_draw[loss]], evaluation, arrays) for loss in shown)
            realised = cells[draw.noise, draw.rate, shown[0]].realised_rate
            data = Confusions(chart, draw.noise, draw.rate, realised, draw.seed, matrices)
            yield f"confusion-{_draw_name(draw, names)}{ending}", data


def _losses_shown(chart: Chart, cells: Sequence[ChartCell], *, every: bool) -> list[str]:
    """Losses whose confusion is shown: all if requested or few, else the baseline and the best."""
    losses = sorted((cell.loss for cell in cells), key=lambda loss: (loss != chart.baseline, loss))
    if every or len(losses) <= MAX_MATRICES:
        return losses
    shown = [cell for cell in cells if cell.loss in chart.highlighted and cell.mean is not None]
    sign = 1 if chart.measures[0].better == "higher" else -1
    shown.sort(key=lambda cell: (cell.loss != chart.baseline, -sign * (cell.mean or 0.0)))
    return [cell.loss for cell in shown[:2]] or losses[:1]


def _matrix(chart: Chart, loss: str, position: int, evaluation: Evaluation, arrays: evaluations.Arrays) -> Confusion:
    column = evaluation.selections.index(chart.select)
    if not arrays["available"][position, column]:
        column = evaluation.selections.index("last")
    return confusion_of(
        loss,
        np.atleast_2d(arrays["test_labels"])[evaluation.runs[position].draw.seed % evaluation.splits],
        arrays["predicted"][position, column],
        len(evaluation.classes),
        collapsed=bool(arrays["collapsed"][position, column]),
    )


def transitions(material: Material) -> Iterator[tuple[str, Transition]]:
    """The transition matrices of one draw per noise model.

    Raises:
        NothingToDrawError: there are no draws.
        BadRequestError: no draw has the wanted rate and seed.
        DamagedFileError: arrays are damaged.
    """
    drawn = {draw.key: draw for draw in Artifacts(material.directory).draws()}
    if not drawn:
        raise NothingToDrawError(f"{material.directory} has no draws; run `flowernoise corrupt` first")
    names = shown_names({key.noise for key in drawn})
    for key in material.chosen(drawn, "draw"):
        own = drawn[key]
        matrices = own.transition_matrix, own.realised_transition_matrix
        yield f"transition-{_draw_name(key, names)}", transition_of(material.dataset, own.draw, *matrices)


def _draw_name(draw: DrawKey, names: Mapping[str, str]) -> str:
    return f"{slug(names[draw.noise])}-{draw.rate:g}-seed{draw.seed}"
