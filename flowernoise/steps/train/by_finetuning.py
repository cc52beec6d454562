"""Mode ``finetune``: trains the full network, one run after another, and stores each run once it is trained."""

from __future__ import annotations

import contextlib
import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np

from flowernoise.catalogue.transition_matrix import Matrix
from flowernoise.progress import Advance, Progress
from flowernoise.registry import Spec
from flowernoise.steps.loading import loading
from flowernoise.steps.train import plan
from flowernoise.steps.train.plan import Plan
from flowernoise.steps.train.units import Array, Given, TrainedRuns
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.records import Choice, DrawKey, Run, RunKey
from flowernoise.training import finetune
from flowernoise.training.selection import ONLY_LAST

OnBatch = Callable[[int, float], None]
NOTHING = finetune.Trained([], np.zeros(0, dtype=np.float32))
LONG = 120.0  # seconds; fine-tuning expected to take longer is announced
SKIPPED, ENOUGH_BATCHES, ENOUGH_SECONDS = 2, 9, 10.0  # batches and seconds of a forecast


class ByFinetuning:
    """Fine-tunes units of one run each; a network is built and compiled anew for each loss.

    Args:
        todo: the runs that are missing at the start.
        stages: how many first stages are missing.
    """

    def __init__(self, work: Plan, todo: Sequence[RunKey], stages: int, progress: Progress) -> None:
        self._work, self._progress = work, progress
        self._split, self._encoded = 0, self._read(0)
        self._number = {key: number for number, key in enumerate(todo, 1)}
        photos_in_all = (len(todo) + stages) * work.settings.epochs * work.dataset.sizes[0]
        self._announce = _announcer(work, photos_in_all, progress)
        self._built: tuple[Spec, finetune.Finetuner] | None = None

    def showing(self, runs: int) -> AbstractContextManager[Advance]:  # noqa: ARG002 - each run has a bar of its own
        """Shows nothing, because each run has its own bar."""
        return contextlib.nullcontext(lambda _: None)

    def train(self, keys: Sequence[RunKey], given: Given) -> TrainedRuns:
        """Fine-tunes the unit's run, unless it cannot be trained."""
        [key] = keys
        failure, trained = given.failures.get(key), NOTHING
        if failure is None:
            name = f"run {self._number.get(key, 1)} of {len(self._number)}, {key.method} on {key.draw}"
            loss = self._work.methods[key.method].loss
            _, trained = self._finetuned(loss, key.draw, given.labels[key.draw], given.matrices[key], name)
        run = Run(
            draw=key.draw,
            method=key.method,
            labels=self._work.drawn[key.draw].draw.labels,
            choices=(Choice(*self._work.settings.grid[0], self._work.settings.epochs),),
            failure=failure or (plan.DIVERGED if trained.diverged else None),
        )
        return TrainedRuns((run,), finetune.named(trained.weights), ONLY_LAST)

    def predictions(self, loss: Spec, draws: Sequence[DrawKey], labels: Mapping[DrawKey, DrawnLabels]) -> Array:
        """Probabilities [draw, photo, class] for the training photos, from one fine-tuned network per draw."""
        identity, predictions = np.eye(self._work.num_classes), []
        with finetune.precision(self._work.engine.training_precision):
            for draw in draws:
                finetuner, _ = self._finetuned(loss, draw, labels[draw], identity, f"first stage on {draw}")
                predictions.append(finetuner.predictions(self._photos_of(draw.seed)))
        return np.stack(predictions)

    def _finetuned(
        self, loss: Spec, draw: DrawKey, drawn: DrawnLabels, matrix: Matrix, name: str
    ) -> tuple[finetune.Finetuner, finetune.Trained]:
        work, epochs, count = self._work, self._work.settings.epochs, self._work.dataset.sizes[0]
        task = finetune.FinetuneTask(
            encoded=self._photos_of(draw.seed),
            labels=drawn.train_labels,
            order=plan.batch_order(draw.seed, epochs, count),
            initial_kernel=plan.initial_kernel(draw.seed, work.backbone.num_features, work.num_classes),
            transition_matrix=matrix,
            peer_order=plan.peer_order(draw.seed, epochs, count),
        )
        with finetune.precision(work.engine.training_precision):
            finetuner = self._finetuner(loss)
            description = f"fine-tuning · {name} · {work.engine.device}"
            with self._progress.task(description, task.order.size, "photos") as advance:
                on_epoch = functools.partial(_tell_epoch, self._progress, name, epochs)
                return finetuner, finetuner.train(task, _both(advance, self._announce), on_epoch)

    def _photos_of(self, seed: int) -> list[bytes]:
        """The encoded training photos of a seed's split; those of one split are in memory at a time."""
        number = self._work.splits.number(seed)
        if number != self._split:
            self._split, self._encoded = number, self._read(number)
        return self._encoded

    def _read(self, number: int) -> list[bytes]:
        return list(self._work.archive.read(self._work.split("train", number)))

    def _finetuner(self, loss: Spec) -> finetune.Finetuner:
        if self._built is None or self._built[0] != loss:
            with loading(f"Keras and {self._work.backbone_spec}", self._progress):
                self._built = (loss, finetune.Finetuner(_network(self._work, loss)))
        return self._built[1]


def _both(advance: Callable[[int], None], announce: OnBatch) -> OnBatch:
    def on_batch(count: int, seconds: float) -> None:
        advance(count)
        announce(count, seconds)

    return on_batch


def _tell_epoch(progress: Progress, name: str, epochs: int, epoch: int, loss: float) -> None:
    progress.note(f"{name}: epoch {epoch} of {epochs}, training loss {loss:.4f}")


def _network(work: Plan, loss: Spec) -> finetune.FinetuneSetup:
    settings = work.settings
    return finetune.FinetuneSetup(
        build=work.backbone.build,
        image_size=work.dataset.request.image_size,
        num_classes=work.num_classes,
        loss=plan.loss_group(loss, 1),
        count=work.dataset.sizes[0],
        batch_size=settings.batch_size,
        optimizer=settings.optimizer,
        learning_rate=settings.grid[0][0],
        l2=settings.grid[0][1],
    )


class Forecast:
    """Predicts how long fine-tuning will take, from the batches trained so far.

    The first batches are left out because they include compilation and the decoding of the first photos. The median of
    the others counts, because a batch that had to wait says nothing about the rest.
    """

    def __init__(self, photos_in_all: int) -> None:
        self._photos_in_all = photos_in_all
        self._batches = 0
        self._seconds_a_photo: list[float] = []
        self._measured = 0.0

    def seconds(self, count: int, seconds: float) -> float | None:
        """Adds a batch of photos and its seconds; returns the forecast once, when enough batches are known."""
        self._batches += 1
        if self._batches <= SKIPPED or self._measured >= ENOUGH_SECONDS or len(self._seconds_a_photo) >= ENOUGH_BATCHES:
            return None
        self._measured += seconds
        self._seconds_a_photo.append(seconds / count)
        if self._measured < ENOUGH_SECONDS and len(self._seconds_a_photo) < ENOUGH_BATCHES:
            return None
        return self._photos_in_all * statistics.median(self._seconds_a_photo)


def _announcer(work: Plan, photos_in_all: int, progress: Progress) -> OnBatch:
    """Announces, once, how long a long fine-tuning will take."""
    forecast = Forecast(photos_in_all)

    def announce(count: int, seconds: float) -> None:
        expected = forecast.seconds(count, seconds)
        if expected is not None and expected > LONG and not work.engine.has_gpu:
            progress.note(
                f"fine-tuning on {work.engine.device} will take about {duration(expected)}; "
                "`--mode features` takes seconds, a GPU minutes"
            )

    return announce


def duration(seconds: float) -> str:
    """A length of time in words.

    >>> duration(150), duration(9000)
    ('2 min', '2.5 h')
    """
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
