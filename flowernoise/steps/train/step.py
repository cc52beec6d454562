"""The step itself: claims, trains and writes one missing unit after another; reports what failed."""

from __future__ import annotations

import time
from pathlib import Path

from flowernoise.analysis.results.stages import TrainResult
from flowernoise.catalogue.methods import FirstStage
from flowernoise.progress import Progress
from flowernoise.steps import loading
from flowernoise.steps.settings import TrainSettings
from flowernoise.steps.train import matrices, plan
from flowernoise.steps.train.by_finetuning import ByFinetuning
from flowernoise.steps.train.on_features import OnFeatures
from flowernoise.steps.train.plan import Plan
from flowernoise.steps.train.restored import Restored
from flowernoise.steps.train.sweep import Sweep
from flowernoise.steps.train.units import Given, TrainedRuns, Unit, UnitTrainer
from flowernoise.store import artifacts, claims, files, first_stages, runs
from flowernoise.store.claims import Held
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.first_stages import FirstStageRecord, Outcome
from flowernoise.store.records import DrawKey, RunBlock, RunKey
from flowernoise.training.blocks import Array


def train(
    artifacts_directory: Path, settings: TrainSettings, progress: Progress, restored: Restored | None = None
) -> TrainResult:
    """Trains the requested runs (draws × losses) that do not exist yet; other settings make other runs.

    Processes with the same request share the work, unit by unit. Each leaves units that others have begun to them, and
    waits for them.

    Args:
        restored: limits the work to these requested runs; None means all.

    Raises:
        BadRequestError: nothing is prepared or drawn, a loss or backbone is unknown, a setting is out of range, or
            another process is training the same runs on other labels.
        FlowernoiseError: weights that cannot be reached, results that cannot be written.
    """
    started = time.perf_counter()
    work = plan.make(artifacts.opened(artifacts_directory), settings, progress)
    asked = [key for key in plan.asked(work) if restored is None or key in restored.keys]
    sweep = Sweep(work, asked, restored.recency if restored else None, progress)
    training = _Training(work, sweep, progress)
    while sweep.missing():
        with claims.claimed(work.layout, progress, sweep.choose) as held:
            if sweep.unit is not None:
                training.train_units(held)
        if sweep.holders:
            claims.wait_for(sweep.holders)
            sweep.look()
    return training.result(asked, time.perf_counter() - started)


class _Training:
    """This process's share of a sweep."""

    def __init__(self, work: Plan, sweep: Sweep, progress: Progress) -> None:
        self._work, self._sweep, self._progress = work, sweep, progress
        self._trainer: UnitTrainer | None = None
        self._labels: dict[DrawKey, DrawnLabels] = {}
        self._trained = self._photos_trained = 0
        self._feature_seconds = self._training_seconds = 0.0

    def train_units(self, held: Held) -> None:
        """Trains the claimed unit, claims the next, and so on until no unit is free."""
        trainer, sweep = self._made(), self._sweep
        with trainer.showing(len(sweep.missing())) as advance:
            while (unit := sweep.unit) is not None:
                started, done = time.perf_counter(), sweep.done
                if unit.stage is None:
                    self._train_runs(trainer, unit)
                else:
                    self._train_stage(trainer, unit, unit.stage)
                self._training_seconds += time.perf_counter() - started
                sweep.note_written(unit)
                held.change(sweep.choose)
                advance(sweep.done - done)
        if sweep.has_superseded:
            runs.remove_superseded(self._work.layout, self._work.dataset.id)

    def result(self, asked: list[RunKey], seconds: float) -> TrainResult:
        """What this process trained, and which of all requested runs failed."""
        work = self._work
        on_features = self._trainer is not None and work.settings.mode == "features"
        return TrainResult(
            trained=self._trained,
            done_before=len(asked) - self._trained,
            failed=self._sweep.failures(),
            setup=work.setup,
            engine=work.engine,
            extractor=work.extractor if on_features else None,
            feature_seconds=self._feature_seconds,
            training_seconds=self._training_seconds,
            photos_trained=self._photos_trained if work.settings.mode == "finetune" else 0,
            seconds=seconds,
        )

    def _made(self) -> UnitTrainer:
        if self._trainer is None:
            work, missing = self._work, self._sweep.missing()
            self._labels = work.labels(missing)
            loading.load_keras(self._progress)
            started = time.perf_counter()
            if work.settings.mode == "finetune":
                self._trainer = ByFinetuning(work, missing, self._sweep.missing_stages(), self._progress)
            else:
                self._trainer = OnFeatures(work, self._progress)
                self._feature_seconds = time.perf_counter() - started
        return self._trainer

    def _train_runs(self, trainer: UnitTrainer, unit: Unit) -> None:
        work, labels = self._work, self._labels_of(unit)
        of_runs = matrices.of_runs(work.methods, labels, self._sweep.handed, unit.keys, work.dataset.classes)
        failures = matrices.failures(work.methods, of_runs)
        trained = trainer.train(unit.keys, Given(labels, of_runs, failures))
        block = _block(work, trained, self._sweep.generation(unit), self._sweep.recency)
        runs.write(work.layout, block, trained.arrays, trained.weights)
        self._trained += len(unit.keys)
        self._count_photos(len(unit.keys) - len(failures))

    def _train_stage(self, trainer: UnitTrainer, unit: Unit, stage: FirstStage) -> None:
        work, labels = self._work, self._labels_of(unit)
        predictions = trainer.predictions(stage.loss, [key.draw for key in unit.keys], labels)
        outcomes = [
            self._outcome(stage, key.draw, labels[key.draw], predicted)
            for key, predicted in zip(unit.keys, predictions, strict=True)
        ]
        record = FirstStageRecord(work.dataset.id, work.setup, stage.name, tuple(outcomes), work.provenance)
        first_stages.write(work.layout, record)
        self._count_photos(len(unit.keys))

    def _outcome(self, stage: FirstStage, draw: DrawKey, drawn: DrawnLabels, predictions: Array) -> Outcome:
        work = self._work
        classes = work.dataset.classes
        matrix = matrices.handed_on(stage, draw, drawn.train_labels, predictions, classes, self._progress)
        return Outcome(draw, work.drawn[draw].draw.labels, first_stages.rows(matrix))

    def _labels_of(self, unit: Unit) -> dict[DrawKey, DrawnLabels]:
        """The labels of a unit's draws; reads those of all missing runs at once, because a file holds many draws."""
        if any(key.draw not in self._labels for key in unit.keys):
            self._labels |= self._work.labels(unit.keys)
        return self._labels

    def _count_photos(self, models: int) -> None:
        self._photos_trained += models * self._work.settings.epochs * self._work.dataset.sizes[0]


def _block(work: Plan, trained: TrainedRuns, generation: int, recency: int) -> RunBlock:
    return RunBlock(
        dataset=work.dataset.id,
        setup=work.setup,
        selections=trained.selections,
        runs=trained.runs,
        arrays=files.NOT_WRITTEN,
        generation=generation,
        recency=recency,
        provenance=work.provenance,
    )
