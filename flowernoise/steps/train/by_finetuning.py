"""Mode ``finetune``: the full network, one run after another, each kept as soon as it is trained."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from flowernoise.analysis.results.stages import TrainResult
from flowernoise.catalogue.transition_matrix import Matrix
from flowernoise.progress import Progress
from flowernoise.registry import Spec
from flowernoise.steps.train import matrices, plan
from flowernoise.steps.train.plan import Plan
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.records import Choice, DrawKey, Run, RunKey
from flowernoise.training import finetune
from flowernoise.training.selection import ONLY_LAST

OnBatch = Callable[[int, float], None]
NOTHING = finetune.Trained([], np.zeros(0, dtype=np.float32))
LONG = 120.0  # seconds; fine-tuning that will take longer is announced


def finetune_runs(work: Plan, missing: Sequence[RunKey], progress: Progress) -> TrainResult:
    """Fine-tunes runs, loss by loss (a network is built and compiled once for each), in the order of seeds."""
    started = time.perf_counter()
    encoded = list(work.archive.read(work.split("train")))
    labels = work.labels(missing)
    to_estimate = matrices.to_estimate(work.losses, missing)
    photos_in_all = (len(missing) + len(to_estimate)) * work.settings.epochs * len(encoded)
    announce = _announcer(work, photos_in_all, progress)
    with finetune.precision(work.engine.training_precision):
        estimates = _estimates(work, to_estimate, encoded, labels, announce, progress)
        of_runs = matrices.of_runs(work.losses, labels, estimates, missing)
        failures = matrices.failures(work.losses, of_runs)
        for key, failure in failures.items():
            _keep(work, key, NOTHING, failure)
        order = sorted(of_runs.keys() - failures, key=lambda key: (list(work.losses).index(key.method), key.seed, key))
        number = itertools.count(1)
        for loss, keys in itertools.groupby(order, key=lambda key: key.method):
            finetuner = finetune.Finetuner(_network(work, work.losses[loss], len(encoded)))
            for key in keys:
                name = f"run {next(number)} of {len(order)}, {key.method} on {key.draw}"
                task = _task(work, key.draw, encoded, labels[key.draw], of_runs[key])
                _keep(work, key, _train(work, finetuner, task, name, announce, progress))
    return TrainResult(
        trained=len(missing),
        done_before=0,
        failed=(),
        setup=work.setup,
        engine=work.engine,
        training_seconds=time.perf_counter() - started,
        photos_trained=photos_in_all - len(failures) * work.settings.epochs * len(encoded),
    )


def _estimates(
    work: Plan,
    to_estimate: Sequence[DrawKey],
    encoded: Sequence[bytes],
    labels: Mapping[DrawKey, DrawnLabels],
    announce: OnBatch,
    progress: Progress,
) -> dict[DrawKey, Matrix]:
    """Transition matrices estimated from networks that were fine-tuned with cross-entropy first."""
    if not to_estimate:
        return {}
    finetuner = finetune.Finetuner(_network(work, matrices.FIRST_STAGE, len(encoded)))
    estimates = {}
    for draw in to_estimate:
        task = _task(work, draw, encoded, labels[draw], np.eye(work.num_classes))
        _train(work, finetuner, task, f"first stage on {draw}", announce, progress)
        predictions, classes = finetuner.predictions(encoded), work.dataset.classes
        estimates[draw] = matrices.estimate(draw, labels[draw].train_labels, predictions, classes, progress)
    return estimates


def _train(
    work: Plan,
    finetuner: finetune.Finetuner,
    task: finetune.FinetuneTask,
    name: str,
    announce: OnBatch,
    progress: Progress,
) -> finetune.Trained:
    description = f"fine-tuning · {name} · {work.engine.device}"
    with progress.task(description, task.order.size, "photos") as advance:
        on_epoch = functools.partial(_tell_epoch, progress, name, work.settings.epochs)
        return finetuner.train(task, _both(advance, announce), on_epoch)


def _both(advance: Callable[[int], None], announce: OnBatch) -> OnBatch:
    def on_batch(count: int, seconds: float) -> None:
        advance(count)
        announce(count, seconds)

    return on_batch


def _tell_epoch(progress: Progress, name: str, epochs: int, epoch: int, loss: float) -> None:
    progress.note(f"{name}: epoch {epoch} of {epochs}, training loss {loss:.4f}")


def _network(work: Plan, loss: Spec, count: int) -> finetune.FinetuneSetup:
    settings = work.settings
    return finetune.FinetuneSetup(
        build=work.backbone.build,
        image_size=work.dataset.request.image_size,
        num_classes=work.num_classes,
        loss=plan.loss_group(loss, 1),
        count=count,
        batch_size=settings.batch_size,
        optimizer=settings.optimizer,
        learning_rate=settings.grid[0][0],
        l2=settings.grid[0][1],
    )


def _task(
    work: Plan, draw: DrawKey, encoded: Sequence[bytes], drawn: DrawnLabels, matrix: Matrix
) -> finetune.FinetuneTask:
    return finetune.FinetuneTask(
        encoded=encoded,
        labels=drawn.train_labels,
        order=plan.batch_order(draw.seed, work.settings.epochs, len(encoded)),
        initial_kernel=plan.initial_kernel(draw.seed, work.backbone.num_features, work.num_classes),
        transition_matrix=matrix,
        peer_order=plan.peer_order(draw.seed, work.settings.epochs, len(encoded)),
    )


def _keep(work: Plan, key: RunKey, trained: finetune.Trained, failure: str | None = None) -> None:
    run = Run(
        draw=key.draw,
        method=key.method,
        labels=work.drawn[key.draw].draw.labels,
        choices=(Choice(*work.settings.grid[0], work.settings.epochs),),
        failure=failure or (plan.DIVERGED if trained.diverged else None),
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
