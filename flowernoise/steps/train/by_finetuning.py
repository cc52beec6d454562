"""Mode ``finetune``: trains the full network, one run after another.

A network is built once for all runs, and compiled once for each loss. All runs share the decoded photos. A run is
trained once for each point of the grid, and what is kept is selected as for heads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np

from flowernoise.catalogue.transition_matrix import Matrix
from flowernoise.progress import Advance, Progress
from flowernoise.registry import Spec, format_value
from flowernoise.steps.loading import loading
from flowernoise.steps.settings import TrainSettings
from flowernoise.steps.train import plan
from flowernoise.steps.train.on_features import OnFeatures
from flowernoise.steps.train.plan import Plan
from flowernoise.steps.train.units import Array, Given, TrainedRuns
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.records import SPLITS, Choice, DrawKey, Run, RunKey
from flowernoise.training import engine, finetune
from flowernoise.training.blocks import StartingHead
from flowernoise.training.finetune import Tuned
from flowernoise.training.selection import Truth

OnPart = Callable[[int, float], None]
LONG = 120.0  # seconds; fine-tuning expected to take longer is announced
SKIPPED, ENOUGH_PARTS, ENOUGH_SECONDS = 2, 9, 10.0  # parts and seconds of a forecast
A_PREDICTION = 1 / 3  # of the work of a training step, for a photo


class ByFinetuning:
    """Fine-tunes units of one run each.

    Args:
        todo: the runs that are missing at the start.
        stages: how many first stages are missing.
    """

    def __init__(self, work: Plan, todo: Sequence[RunKey], stages: int, progress: Progress) -> None:
        self._work, self._progress = work, progress
        self._split: tuple[int, finetune.Photos] | None = None
        self._number = {key: number for number, key in enumerate(todo, 1)}
        models = (len(todo) + stages) * len(work.settings.grid)
        self._announce = _announcer(work, models * work.settings.epochs, progress)
        if not work.engine.has_gpu:
            engine.repeat_to_the_bit()
        self._probes = _probes(work, progress) if work.needs_features else None

    def showing(self, runs: int) -> AbstractContextManager[Advance]:  # noqa: ARG002 - each run has a bar of its own
        """Shows nothing, because each run has its own bar."""
        return contextlib.nullcontext(lambda _: None)

    def train(self, keys: Sequence[RunKey], given: Given) -> TrainedRuns:
        """Fine-tunes the unit's run; one that cannot be trained gets the identity as T and is marked as failed."""
        [key] = keys
        name = f"run {self._number.get(key, 1)} of {len(self._number)}, {key.method} on {key.draw}"
        loss, matrix = self._work.methods[key.method].loss, given.matrices[key]
        if key in given.failures:
            matrix = np.eye(self._work.num_classes)
        tuned = self._tuned(loss, key.draw, given.labels[key.draw], matrix, name)
        selector, grid = tuned.selector, self._work.settings.grid
        run = Run(
            draw=key.draw,
            method=key.method,
            labels=self._work.drawn[key.draw].draw.labels,
            choices=tuple(
                Choice(grid[point][0], grid[point][1], int(epoch))
                for point, epoch in zip(selector.grid[0], selector.epoch[0], strict=True)
            ),
            failure=given.failures.get(key, plan.DIVERGED if selector.failed[0] else None),
        )
        weights = None if tuned.weights is None else finetune.named(tuned.weights)
        return TrainedRuns((run,), selector.arrays(), selector.selections, weights)

    def predictions(self, loss: Spec, draws: Sequence[DrawKey], labels: Mapping[DrawKey, DrawnLabels]) -> Array:
        """Probabilities [draw, photo, class] for the training photos, selected on noisy validation as for runs."""
        identity = np.eye(self._work.num_classes)
        found = []
        for draw in draws:
            tuned = self._tuned(loss, draw, labels[draw], identity, f"first stage on {draw}", for_training_photos=True)
            found.append(tuned.selector.arrays()["test_probabilities"][0, 0])
        return np.stack(found)

    def _tuned(
        self,
        loss: Spec,
        draw: DrawKey,
        drawn: DrawnLabels,
        matrix: Matrix,
        name: str,
        *,
        for_training_photos: bool = False,
    ) -> Tuned:
        """A run on its grid.

        Args:
            for_training_photos: whether the training photos take the place of the test photos, so that the selection
                does not see true labels.
        """
        work, settings = self._work, self._work.settings
        count, epochs = len(drawn.train_labels), settings.epochs
        photos = self._photos(draw.seed)
        start = self._start(loss, draw, drawn, matrix)
        steps = epochs * -(-count // settings.batch_size)
        task = finetune.FinetuneTask(
            photos=photos,
            labels=drawn.train_labels,
            loss=plan.loss_group(loss, 1),
            order=plan.batch_order(draw.seed, epochs, count),
            batch_size=settings.batch_size,
            kernel=start.kernel,
            bias=start.bias,
            schedule=plan.schedule(steps),
            weight_decay=settings.weight_decay,
            momentum=settings.ema,
            moves=plan.moves(settings.augment, draw.seed, epochs, count, work.dataset.request.image_size),
            transition_matrix=matrix,
            peer_order=plan.peer_order(draw.seed, epochs, count),
        )
        test_labels, judged = work.splits.labels(draw.seed, "test"), np.arange(count, photos.count)
        if for_training_photos:
            test_labels = np.zeros(count, dtype=np.int64)
            judged = np.concatenate([judged[: len(drawn.val_labels)], np.arange(count)])
        truth = Truth(drawn.val_labels[None], test_labels, drawn.train_labels[None], drawn.train_flipped[None])
        with finetune.precision(work.engine.training_precision):
            description = f"fine-tuning · {name} · {work.engine.device}"
            photos_in_all = len(settings.grid) * task.order.size
            with self._progress.task(description, photos_in_all, "photos") as advance:
                return finetune.tune(
                    self._finetuner,
                    task,
                    settings.grid,
                    truth,
                    _both(advance, self._announce),
                    functools.partial(_tell_epoch, self._progress, name, epochs),
                    keep_weights=settings.keep_weights and not for_training_photos,
                    judged=judged,
                )

    def _start(self, loss: Spec, draw: DrawKey, drawn: DrawnLabels, matrix: Matrix) -> StartingHead:
        """The head to start from."""
        work = self._work
        if self._probes is not None:
            return self._probes.best_head(loss, draw, drawn, matrix)
        kernel = plan.initial_kernel(draw.seed, work.backbone.num_features, work.num_classes)
        return StartingHead(kernel, np.zeros(work.num_classes))

    def _photos(self, seed: int) -> finetune.Photos:
        """The photos of train, val and test of a seed, in this order; those of one split are in memory at a time."""
        work = self._work
        number = work.splits.number(seed)
        if self._split is None or self._split[0] != number:
            index = [photo for name in SPLITS for photo in work.split(name, seed)]
            archive = work.archive
            kept = finetune.Photos(
                lambda positions: archive.read(index[position] for position in positions),
                len(index),
                work.dataset.request.image_size,
            )
            self._split = number, kept
        return self._split[1]

    @functools.cached_property
    def _finetuner(self) -> finetune.Finetuner:
        work, settings = self._work, self._work.settings
        with loading(f"Keras and {work.backbone_spec}", self._progress):
            return finetune.Finetuner(
                finetune.FinetuneSetup(
                    build=work.backbone.build,
                    image_size=work.dataset.request.image_size,
                    num_classes=work.num_classes,
                    optimizer=settings.optimizer,
                    tune=settings.tune,
                    average=settings.ema > 0,
                )
            )


def _probes(work: Plan, progress: Progress) -> OnFeatures:
    """Trains the linear heads that fine-tuning starts from, on the grid of mode ``features``."""
    settings = TrainSettings(epochs=work.settings.epochs, batch_size=work.settings.batch_size)
    resolved = settings.resolved(validated=bool(work.dataset.sizes[1]))
    return OnFeatures(dataclasses.replace(work, settings=resolved), progress)


def _both(advance: Callable[[int], None], announce: OnPart) -> OnPart:
    def on_part(count: int, seconds: float) -> None:
        advance(count)
        announce(count, seconds)

    return on_part


def _tell_epoch(progress: Progress, name: str, epochs: int, learning_rate: float, epoch: int, loss: float) -> None:
    rate = format_value(learning_rate)
    progress.note(f"{name}, learning rate {rate}: epoch {epoch} of {epochs}, training loss {loss:.4f}")


class Forecast:
    """Predicts how long fine-tuning will take, from the parts of epochs trained so far.

    The first parts are left out because they include compilation. The median of the others counts, because a part that
    had to wait says nothing about the rest.
    """

    def __init__(self, photos_in_all: float) -> None:
        self._photos_in_all = photos_in_all
        self._parts = 0
        self._seconds_a_photo: list[float] = []
        self._measured = 0.0

    def seconds(self, count: int, seconds: float) -> float | None:
        """Adds a part's photos and seconds; returns the forecast once, when enough parts are known."""
        self._parts += 1
        if self._parts <= SKIPPED or self._measured >= ENOUGH_SECONDS or len(self._seconds_a_photo) >= ENOUGH_PARTS:
            return None
        self._measured += seconds
        self._seconds_a_photo.append(seconds / count)
        if self._measured < ENOUGH_SECONDS and len(self._seconds_a_photo) < ENOUGH_PARTS:
            return None
        return self._photos_in_all * statistics.median(self._seconds_a_photo)


def _announcer(work: Plan, epochs_in_all: int, progress: Progress) -> OnPart:
    """Announces, once, how long a long fine-tuning will take; predictions for all photos after each epoch count too."""
    forecast = Forecast(epochs_in_all * (work.dataset.sizes[0] + A_PREDICTION * sum(work.dataset.sizes)))

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
