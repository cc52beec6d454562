"""Mode ``finetune``: the full network, one run after another, each kept as soon as it is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from flowernoise.progress import Progress
from flowernoise.steps.train import plan
from flowernoise.steps.train.plan import Plan
from flowernoise.steps.train.settings import TrainResult
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.records import Choice, Run, RunKey
from flowernoise.training import finetune
from flowernoise.training.selection import ONLY_LAST

LONG = 120.0  # seconds; fine-tuning that will take longer is announced


def finetune_runs(work: Plan, missing: Sequence[RunKey], progress: Progress) -> TrainResult:
    """Fine-tunes runs, in the order of their seeds."""
    started = time.perf_counter()
    encoded = list(work.archive.read(work.split("train")))
    photos_a_run = work.settings.epochs * len(encoded)
    labels = work.labels(missing)
    announce = _announcer(work, len(missing) * photos_a_run, progress)
    for number, key in enumerate(sorted(missing, key=lambda key: (key.seed, key)), start=1):
        name = f"run {number} of {len(missing)}, {key.loss} on {key.draw}"
        with progress.task(f"fine-tuning · {name} · {work.engine.device}", photos_a_run, "photos") as advance:

            def on_batch(count: int, seconds: float, advance: Callable[[int], None] = advance) -> None:
                advance(count)
                announce(count, seconds)

            def on_epoch(epoch: int, loss: float, name: str = name) -> None:
                progress.note(f"{name}: epoch {epoch} of {work.settings.epochs}, training loss {loss:.4f}")

            with finetune.precision(work.engine.training_precision):
                trained = finetune.finetune(_task(work, key, encoded, labels[key.draw]), on_batch, on_epoch)
        _keep(work, key, trained)
    return TrainResult(
        trained=len(missing),
        done_before=0,
        failed=(),
        engine=work.engine,
        training_seconds=time.perf_counter() - started,
        photos_trained=len(missing) * photos_a_run,
    )


def _task(work: Plan, key: RunKey, encoded: Sequence[bytes], drawn: DrawnLabels) -> finetune.FinetuneTask:
    seed, settings = key.seed, work.settings
    return finetune.FinetuneTask(
        build=work.backbone.build,
        image_size=work.dataset.request.image_size,
        num_classes=work.num_classes,
        encoded=encoded,
        labels=drawn.train_labels,
        loss=plan.loss_group(work.losses[key.loss], 1),
        order=plan.batch_order(seed, settings.epochs, len(encoded)),
        initial_kernel=plan.initial_kernel(seed, work.backbone.num_features, work.num_classes),
        batch_size=settings.batch_size,
        optimizer=settings.optimizer,
        learning_rate=settings.learning_rates[0],
        l2=settings.l2[0],
        transition_matrix=plan.transition_matrix(drawn),
        peer_order=plan.peer_order(seed, settings.epochs, len(encoded)),
    )


def _keep(work: Plan, key: RunKey, trained: finetune.Trained) -> None:
    finite = all(np.isfinite(weights).all() for weights in trained.weights)
    run = Run(
        key=key,
        labels=work.drawn[key.draw].draw.labels,
        choices=(Choice(*work.settings.grid[0], work.settings.epochs),),
        failure=None if finite else plan.DIVERGED,
    )
    plan.write_block(work, [run], finetune.named(trained.weights), ONLY_LAST)


def _announcer(work: Plan, photos_in_all: int, progress: Progress) -> Callable[[int, float], None]:
    """Says once, from the second batch (the first holds the compilation), how long a long fine-tuning will take."""
    batches = 0

    def announce(count: int, seconds: float) -> None:
        nonlocal batches
        batches += 1
        expected = photos_in_all * seconds / count
        if batches == 2 and expected > LONG and not work.engine.has_gpu:
            progress.note(
                f"fine-tuning on {work.engine.device} will take about {duration(expected)}; "
                "`--mode features` takes seconds, a GPU minutes"
            )

    return announce


def duration(seconds: float) -> str:
    """A length of time as people say it.

    >>> duration(150), duration(9000)
    ('2 min', '2.5 h')
    """
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
