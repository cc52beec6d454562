"""The course of training, epoch by epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from flowernoise.analysis.views.arrays import Floats
from flowernoise.analysis.views.charts import Chart
from flowernoise.analysis.views.material import Material, NothingToDrawError
from flowernoise.catalogue.label_words import label_words
from flowernoise.store import runs
from flowernoise.store.records import Identity

FOLLOWED = ("memorised", "test_accuracy", "val_accuracy")  # recorded in each epoch


@dataclasses.dataclass(frozen=True, eq=False)
class History:
    """One loss under one noise, epoch by epoch: shares [seeds, epochs], NaN where a seed has fewer epochs."""

    noise: str
    rate: float
    loss: str
    memorised: Floats
    test_accuracy: Floats
    val_accuracy: Floats


@dataclasses.dataclass(frozen=True, eq=False)
class Histories:
    """The histories of a chart's runs, each for the hyper-parameters selected on noisy val."""

    chart: Chart
    train_photos: int
    val_photos: int
    histories: tuple[History, ...]


def history_of(noise: str, rate: float, loss: str, seeds: Sequence[Mapping[str, Floats]]) -> History:
    """The history of a loss under a noise, from each seed's run; shorter runs are padded with NaN.

    >>> short, long = ({name: np.full(epochs, 0.5) for name in FOLLOWED} for epochs in (1, 2))
    >>> history_of("symmetric", 0.2, "ce", [short, long]).memorised
    array([[0.5, nan],
           [0.5, 0.5]])
    """
    memorised, test_accuracy, val_accuracy = (_stacked([own[name] for own in seeds]) for name in FOLLOWED)
    return History(noise, rate, loss, memorised, test_accuracy, val_accuracy)


def histories_of(material: Material) -> Iterator[tuple[str, Histories]]:
    """The histories of each setup that has any.

    Raises:
        NothingToDrawError: no setup has a history, or training labels were not checked.
        DamagedFileError: arrays are damaged.
    """
    if label_words(material.dataset.request).training_is_doubted:
        raise NothingToDrawError(
            "nobody knows which training labels are wrong, so not which are memorised: they were not checked (prepared "
            "with --trust test or none)"
        )
    train, val, _ = material.dataset.sizes
    if not val:
        raise NothingToDrawError("without a validation split (val 0) no history of epochs is kept")
    found = False
    for ending, chart in material.charts.items():
        histories = _kept(material, chart)
        if histories:
            found = True
            yield f"memorisation{ending}", Histories(chart, train, val, histories)
    if not found:
        raise NothingToDrawError("no history of runs on noisy labels: the control has no noise")


def _kept(material: Material, chart: Chart) -> tuple[History, ...]:
    """Histories of those runs of a chart that have wrong labels and a history; each block is read once."""
    layout, dataset = material.layout, material.dataset
    cells = {Identity(cell.noise, cell.rate, cell.loss, chart.setup) for cell in chart.cells if cell.realised_rate > 0}
    found: dict[tuple[str, float, str], list[dict[str, Floats]]] = {}
    arrays: dict[str, runs.Arrays] = {}
    for key, stored in runs.live(runs.blocks(layout, dataset.id)).items():
        if key.identity not in cells or stored.run.failure:
            continue
        if stored.name not in arrays:
            every = runs.read_predictions(layout, dataset, stored.block)
            arrays[stored.name] = {name: every[f"history_{name}"] for name in FOLLOWED}
        own = {name: values[stored.row].astype(float) for name, values in arrays[stored.name].items()}
        found.setdefault((key.noise, key.rate, key.method), []).append(own)
    return tuple(history_of(*cell, seeds) for cell, seeds in found.items())


def _stacked(histories: Sequence[Floats]) -> Floats:
    longest = max(len(history) for history in histories)
    return np.stack([np.pad(each, (0, longest - len(each)), constant_values=np.nan) for each in histories])
