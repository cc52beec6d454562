"""What runs learn, epoch by epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np

from flowernoise.analysis.views.arrays import Floats
from flowernoise.analysis.views.charts import Chart

FOLLOWED = ("memorised", "test_accuracy", "val_accuracy")  # in each epoch


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
    """The histories of a chart's runs, each with the hyper-parameters selected for it on noisy val."""

    kind: ClassVar[Literal["memorisation"]] = "memorisation"

    chart: Chart
    train_photos: int
    val_photos: int
    histories: tuple[History, ...]


def history_of(noise: str, rate: float, loss: str, seeds: Sequence[Mapping[str, Floats]]) -> History:
    """A loss under a noise, from what was followed in each seed's run; shorter runs are filled up with NaN.

    >>> short, long = ({name: np.full(epochs, 0.5) for name in FOLLOWED} for epochs in (1, 2))
    >>> history_of("symmetric", 0.2, "ce", [short, long]).memorised
    array([[0.5, nan],
           [0.5, 0.5]])
    """
    memorised, test_accuracy, val_accuracy = (_stacked([own[name] for own in seeds]) for name in FOLLOWED)
    return History(noise, rate, loss, memorised, test_accuracy, val_accuracy)


def _stacked(histories: Sequence[Floats]) -> Floats:
    longest = max(len(history) for history in histories)
    return np.stack([np.pad(each, (0, longest - len(each)), constant_values=np.nan) for each in histories])
