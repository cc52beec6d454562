"""The step itself: find what is missing, train it, tell what failed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from flowernoise.progress import Progress
from flowernoise.steps.train import by_finetuning, on_features, plan
from flowernoise.steps.train.settings import TrainResult, TrainSettings
from flowernoise.store import runs
from flowernoise.store.layout import Layout


def train(artifacts_directory: Path, settings: TrainSettings, progress: Progress) -> TrainResult:
    """Trains the runs (draws × losses) that are asked for and not there with the same settings.

    Raises:
        BadRequestError: nothing prepared or drawn, an unknown loss or backbone, settings out of range.
        FlowernoiseError: weights that cannot be reached, results that cannot be written.
    """
    layout = Layout(artifacts_directory)
    work = plan.make(layout, settings)
    asked = plan.asked(work)
    there = runs.live(runs.blocks(layout, work.dataset.id))
    missing = [key for key in asked if not plan.is_done(work, there.get(key))]
    superseded = [there[key].block.generation for key in missing if key in there]
    work = dataclasses.replace(work, generation=max(superseded, default=0) + 1)
    if missing:
        trainer = {"features": on_features.train_heads, "finetune": by_finetuning.finetune_runs}[settings.mode]
        result = trainer(work, missing, progress)
        runs.remove_superseded(layout, work.dataset.id)
        there = runs.live(runs.blocks(layout, work.dataset.id))
    else:
        result = TrainResult(0, 0, (), work.engine)
    failed = tuple((key, failure) for key in asked if (failure := there[key].run.failure))
    return dataclasses.replace(result, done_before=len(asked) - len(missing), failed=failed)
