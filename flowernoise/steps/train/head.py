"""Trains one head again, exactly as before, because its weights are not stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from flowernoise.catalogue.backbones import Backbone
from flowernoise.catalogue.transition_matrix import Matrix
from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.progress import Progress
from flowernoise.steps import features
from flowernoise.steps.settings import TrainSettings
from flowernoise.steps.train import matrices, plan
from flowernoise.steps.train.on_features import OnFeatures
from flowernoise.steps.train.plan import Plan
from flowernoise.store.artifacts import Artifacts
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.handles import RunHandle
from flowernoise.store.records import Choice, DrawKey, RunKey
from flowernoise.training import heads
from flowernoise.training.tasks import HeadsTask

Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclasses.dataclass(frozen=True, eq=False)
class Head:
    """Kernel [d, c] and bias [c], their backbone, and the probabilities for the test photos [n, c]."""

    kernel: Array
    bias: Array
    backbone: Backbone
    probabilities: Array


def train_again(held: Artifacts, run: RunHandle, choice: Choice, progress: Progress) -> Head:
    """Trains a run's head with the learning rate, L2 and epochs of a choice, on the same labels in the same order.

    Features come from the cache, or are extracted with the current installation.

    Raises:
        BadRequestError: the run's labels no longer exist.
        FlowernoiseError: the backbone's weights have changed.
    """
    work = plan.make(held.layout, _settings(run), progress)
    _refuse_others(work, run)
    extracted = features.cached(work.feature_work, progress)
    labels = work.labels([run.key])
    observed = labels[run.key.draw].train_labels
    group = plan.loss_group(work.methods[run.loss].loss, 1)
    epochs, count = run.block.setup.epochs, len(observed)
    # A loss that is told the training's progress depends on the number of epochs; else those after the chosen one are
    # left out.
    trained = epochs if "progress" in group.needs else choice.epoch
    task = HeadsTask(
        train_features=extracted[work.splits.rows(run.seed, "train")],
        other_features=extracted[work.splits.rows(run.seed, "test")],
        labels=observed[None],
        labelling=np.array([0]),
        num_classes=work.num_classes,
        losses=[group],
        learning_rates=np.array([choice.learning_rate]),
        l2=np.array([choice.l2]),
        order=plan.batch_order(run.seed, epochs, count)[:trained],
        batch_size=work.settings.batch_size,
        optimizer=work.settings.optimizer,
        transition_matrices=_matrix(work, run.key, labels, progress)[None],
        peer_order=plan.peer_order(run.seed, epochs, count)[:trained],
    )
    *_, outputs = (
        each
        for each in heads.train_heads(task, history=trained > choice.epoch, weights=True)
        if each.epoch <= choice.epoch
    )
    assert outputs.kernels is not None
    assert outputs.biases is not None
    return Head(outputs.kernels[0], outputs.biases[0], work.backbone, outputs.probabilities[0])


def _settings(run: RunHandle) -> TrainSettings:
    setup = run.block.setup
    return TrainSettings(
        losses=(run.loss,),
        backbone=setup.backbone,
        mode=setup.mode,
        epochs=setup.epochs,
        batch_size=setup.batch_size,
        learning_rates=setup.learning_rates,
        l2=setup.l2,
        optimizer="sgd" if setup.optimizer == "sgd" else "adam",
    )


def _refuse_others(work: Plan, run: RunHandle) -> None:
    drawn = work.drawn.get(run.key.draw)
    if drawn is None or drawn.draw.labels != run.run.labels:
        raise BadRequestError(
            f"the labels that {run.loss} on {run.run.draw} was trained on no longer exist; "
            "`flowernoise corrupt` and `train` make them and the run again"
        )
    if work.backbone.weights_digest != run.block.setup.weights:
        raise FlowernoiseError(
            f"the weights of {run.block.setup.backbone} are not those that {run.loss} on {run.run.draw} was trained "
            "with; restore the former file, or train again"
        )


def _matrix(work: Plan, key: RunKey, labels: Mapping[DrawKey, DrawnLabels], progress: Progress) -> Matrix:
    """The transition matrix that the loss is given; first stages are trained again if it needs them."""
    handed: dict[tuple[str, DrawKey], Matrix] = {}
    for stage in work.methods[key.method].stages:
        [predictions] = OnFeatures(work, progress).predictions(stage.loss, [key.draw], labels)
        observed, classes = labels[key.draw].train_labels, work.dataset.classes
        handed[stage.name, key.draw] = matrices.handed_on(stage, key.draw, observed, predictions, classes, progress)
    return matrices.of_runs(work.methods, labels, handed, [key], work.dataset.classes)[key]
