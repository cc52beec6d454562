"""Mode ``finetune``: the full network, one run after another, each kept as soon as it is trained."""

from __future__ import annotations

import functools
import itertools
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

OnBatch = Callable[[int, float], None]
NOTHING = finetune.Trained([], np.zeros(0, dtype=np.float32))
LONG = 120.0  # seconds; fine-tuning that will take longer is announced


def finetune_runs(work: Plan, missing: Sequence[RunKey], progress: Progress) -> TrainResult:
    """Fine-tunes runs, loss by loss (a network is built and compiled once for each), in the order of seeds."""
    started = time.perf_counter()
    encoded = list(work.archive.read(work.split("train")))
    photos_a_run = work.settings.epochs * len(encoded)
    labels = work.labels(missing)
    failures = plan.untrainable(work, missing, labels)
    for key, failure in failures.items():
        _keep(work, key, NOTHING, failure)
    announce = _announcer(work, len(missing) * photos_a_run, progress)
    order = sorted(set(missing) - set(failures), key=lambda key: (list(work.losses).index(key.loss), key.seed, key))
    number = itertools.count(1)
    for loss, keys in itertools.groupby(order, key=lambda key: key.loss):
        with finetune.precision(work.engine.training_precision):
            finetuner = finetune.Finetuner(_network(work, loss, len(encoded)))
            for key in keys:
                name = f"run {next(number)} of {len(missing)}, {key.loss} on {key.draw}"
                with progress.task(f"fine-tuning · {name} · {work.engine.device}", photos_a_run, "photos") as advance:
                    on_batch = _both(advance, announce)
                    on_epoch = functools.partial(_tell_epoch, progress, name, work.settings.epochs)
                    task = _task(work, key, encoded, labels[key.draw])
                    _keep(work, key, finetuner.train(task, on_batch, on_epoch))
    return TrainResult(
        trained=len(missing),
        done_before=0,
        failed=(),
        engine=work.engine,
        training_seconds=time.perf_counter() - started,
        photos_trained=len(missing) * photos_a_run,
    )


def _both(advance: Callable[[int], None], announce: OnBatch) -> OnBatch:
    def on_batch(count: int, seconds: float) -> None:
        advance(count)
        announce(count, seconds)

    return on_batch


def _tell_epoch(progress: Progress, name: str, epochs: int, epoch: int, loss: float) -> None:
    progress.note(f"{name}: epoch {epoch} of {epochs}, training loss {loss:.4f}")


def _network(work: Plan, loss: str, count: int) -> finetune.Network:
    settings = work.settings
    return finetune.Network(
        build=work.backbone.build,
        image_size=work.dataset.request.image_size,
        num_classes=work.num_classes,
        loss=plan.loss_group(work.losses[loss], 1),
        count=count,
        batch_size=settings.batch_size,
        optimizer=settings.optimizer,
        learning_rate=settings.learning_rates[0],
        l2=settings.l2[0],
    )


def _task(work: Plan, key: RunKey, encoded: Sequence[bytes], drawn: DrawnLabels) -> finetune.FinetuneTask:
    return finetune.FinetuneTask(
        encoded=encoded,
        labels=drawn.train_labels,
        order=plan.batch_order(key.seed, work.settings.epochs, len(encoded)),
        initial_kernel=plan.initial_kernel(key.seed, work.backbone.num_features, work.num_classes),
        transition_matrix=plan.transition_matrix(drawn),
        peer_order=plan.peer_order(key.seed, work.settings.epochs, len(encoded)),
    )


def _keep(work: Plan, key: RunKey, trained: finetune.Trained, failure: str | None = None) -> None:
    finite = all(np.isfinite(weights).all() for weights in trained.weights)
    run = Run(
        key=key,
        labels=work.drawn[key.draw].draw.labels,
        choices=(Choice(*work.settings.grid[0], work.settings.epochs),),
        failure=failure or (None if finite else plan.DIVERGED),
    )
    plan.write_block(work, [run], finetune.named(trained.weights), ONLY_LAST)


def _announcer(work: Plan, photos_in_all: int, progress: Progress) -> OnBatch:
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
