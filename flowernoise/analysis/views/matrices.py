"""Which classes a run mixes up, and which labels a draw has changed into which."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import numpy as np

from flowernoise.analysis.views.arrays import Counts, Floats, Labels
from flowernoise.analysis.views.charts import Chart
from flowernoise.store.records import Dataset, Draw


@dataclasses.dataclass(frozen=True, eq=False)
class Confusion:
    """One run's test photos by true and predicted class [true, predicted]."""

    loss: str
    counts: Counts
    collapsed: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Confusions:
    """Confusion matrices of runs that share a draw."""

    kind: ClassVar[Literal["confusion"]] = "confusion"

    chart: Chart
    noise: str
    rate: float
    realised_rate: float
    seed: int
    matrices: tuple[Confusion, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Transition:
    """A draw's transition matrices [true, observed]; ``nominal`` is None where the noise model has none."""

    kind: ClassVar[Literal["transition"]] = "transition"

    source: str
    classes: tuple[str, ...]
    train_counts: tuple[int, ...]
    noise: str
    rate: float
    realised_rate: float
    seed: int
    nominal: Floats | None
    realised: Floats


def confusion_of(loss: str, labels: Labels, predicted: Labels, num_classes: int, *, collapsed: bool) -> Confusion:
    """Counts a run's predictions [photo] by the labels of the photos.

    >>> confusion_of("ce", np.array([0, 1, 1]), np.array([0, 0, 1]), 2, collapsed=False).counts.tolist()
    [[1, 0], [1, 1]]
    """
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return Confusion(loss, counts, collapsed)


def transition_of(dataset: Dataset, draw: Draw, nominal: Floats, realised: Floats) -> Transition:
    """A draw's matrices; a nominal one of NaN is none."""
    return Transition(
        source=dataset.request.source,
        classes=dataset.classes,
        train_counts=dataset.counts[0],
        noise=draw.key.noise,
        rate=draw.key.rate,
        realised_rate=draw.realised_rate,
        seed=draw.key.seed,
        nominal=None if np.isnan(nominal).any() else nominal,
        realised=realised,
    )
