"""The results of an experiment's stages."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from flowernoise.catalogue.metrics import RunPredictions, accuracy, balanced_accuracy, recalls
from flowernoise.catalogue.photo_folders import PassedOver
from flowernoise.store.evaluations import Arrays
from flowernoise.store.records import Comparison, Dataset, Draw, Evaluation, RunKey, Selection
from flowernoise.store.setups import Setup
from flowernoise.training.engine import Engine, Extractor


@dataclasses.dataclass(frozen=True)
class PrepareResult:
    """The prepared data set, whether it existed already, and what was left out of its source."""

    dataset: Dataset
    done_before: bool
    stale: tuple[str, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()


@dataclasses.dataclass(frozen=True)
class CorruptResult:
    """The requested draws, how many of them existed already, where the labels come from, whether a file was exported,
    and which labels were checked.
    """

    source: str
    draws: tuple[Draw, ...]
    done_before: int
    exported: bool = False
    trust: str = "all"

    @property
    def made(self) -> int:
        """How many draws are new."""
        return len(self.draws) - self.done_before


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What was trained: numbers of runs, the setup, the engines, and the seconds that it took.

    ``seconds`` is the time of the whole step; features and training are parts of it.
    """

    trained: int
    done_before: int
    failed: tuple[tuple[RunKey, str], ...]
    setup: Setup
    engine: Engine
    extractor: Extractor | None = None
    feature_seconds: float = 0.0
    training_seconds: float = 0.0
    photos_trained: int = 0
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class FeaturesResult:
    """Features of all photos.

    Args:
        backbone: its spec; ``features:NAME`` where they were imported.
        photos: how many photos have features.
        dimension: numbers per photo.
        extracted: photos whose features were extracted now; the others were there.
        file: what was imported or exported; None where neither was asked for.
        imported: whether ``file`` was read, not written.
        done_before: whether nothing was stored or written.
    """

    backbone: str
    photos: int
    dimension: int
    extracted: int = 0
    file: Path | None = None
    imported: bool = False
    done_before: bool = False


@dataclasses.dataclass(frozen=True)
class RunMetrics:
    """One run's metrics under one selection."""

    selection: Selection
    accuracy: float
    balanced_accuracy: float
    recall: dict[str, float | None]
    memorised: float | None
    recovered: float | None
    collapsed: bool


@dataclasses.dataclass(frozen=True)
class EvaluateResult:
    """The evaluation, whether it existed already, and which labels were checked."""

    evaluation: Evaluation
    arrays: Arrays
    done_before: bool
    trust: str = "all"

    @property
    def source(self) -> str:
        """Where the labels come from."""
        return self.evaluation.source

    def of_run(self, row: int) -> list[RunMetrics]:
        """A run's metrics under each selection that it has."""
        return [
            self._metrics(row, column, selection)
            for column, selection in enumerate(self.evaluation.selections)
            if self.arrays["available"][row, column]
        ]

    def _metrics(self, row: int, column: int, selection: Selection) -> RunMetrics:
        classes, evaluation = self.evaluation.classes, self.evaluation
        labels = np.atleast_2d(self.arrays["test_labels"])[evaluation.runs[row].draw.seed % evaluation.splits]
        predicted = self.arrays["predicted"][row : row + 1, column]
        share, recovered = (float(self.arrays[name][row, column]) for name in ("memorised", "recovered"))
        predictions = RunPredictions(predicted, labels, classes, np.array([share]))
        by_class = recalls(predicted, labels, len(classes))[0]
        return RunMetrics(
            selection=selection,
            accuracy=float(accuracy(predictions).values[0]),
            balanced_accuracy=float(balanced_accuracy(predictions).values[0]),
            recall={n: None if np.isnan(v) else float(v) for n, v in zip(classes, by_class, strict=True)},
            memorised=None if np.isnan(share) else share,
            recovered=None if np.isnan(recovered) else recovered,
            collapsed=bool(self.arrays["collapsed"][row, column]),
        )


@dataclasses.dataclass(frozen=True)
class RunResult:
    """The result of every stage; ``compared_before`` says whether the comparison existed already."""

    prepare: PrepareResult
    corrupt: CorruptResult
    train: TrainResult
    evaluate: EvaluateResult
    compare: Comparison
    compared_before: bool

    @property
    def done_before(self) -> bool:
        """Whether all stages found their work already done."""
        made = self.corrupt.made or self.corrupt.exported or self.train.trained
        return self.prepare.done_before and self.evaluate.done_before and self.compared_before and not made
