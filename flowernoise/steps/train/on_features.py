"""Mode ``features``: the backbone is frozen, its features are cached, and heads are trained together.

Heads start at zero. A linear head has no symmetry to break, and from random weights L1 would keep whatever they happen
to favour. So the last of a seed's three streams (draw, batch order, initialisation) is used only for fine-tuning.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from flowernoise.catalogue.transition_matrix import Matrix
from flowernoise.progress import Advance, Progress
from flowernoise.registry import Spec
from flowernoise.steps import features
from flowernoise.steps.train import plan
from flowernoise.steps.train.plan import Plan
from flowernoise.steps.train.units import Array, Given, TrainedRuns
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.records import SPLITS, Choice, DrawKey, Run, RunKey
from flowernoise.training.blocks import (
    Block,
    SplitFeatures,
    StartingHead,
    best_head,
    predictions_for_training_photos,
    train_block,
)
from flowernoise.training.selection import Selector, Truth
from flowernoise.training.tasks import LossGroup


class OnFeatures:
    """Trains units as linear heads on cached features; extracts the features first."""

    def __init__(self, work: Plan, progress: Progress) -> None:
        self._work, self._progress = work, progress
        self._number, self._features = 0, self._read(0)

    @contextlib.contextmanager
    def showing(self, runs: int) -> Iterator[Advance]:
        """A bar that counts heads."""
        models = len(self._work.settings.grid)
        with self._progress.task(f"training heads · {self._work.engine.device}", runs * models, "models") as advance:
            yield lambda done: advance(done * models)

    def train(self, keys: Sequence[RunKey], given: Given) -> TrainedRuns:
        """Trains a unit's runs; one that cannot be trained gets the identity as its matrix, and is marked as failed."""
        identity = np.eye(self._work.num_classes)
        matrices = [identity if key in given.failures else given.matrices[key] for key in keys]
        groups = [
            plan.loss_group(self._work.methods[name].loss, len(list(group)))
            for name, group in itertools.groupby(keys, key=lambda key: key.method)
        ]
        block = self._block([key.draw for key in keys], given.labels, groups, np.stack(matrices))
        selector = train_block(self._features_of(keys[0].seed), block)
        trained = tuple(self._run(key, row, selector, given) for row, key in enumerate(keys))
        return TrainedRuns(trained, selector.arrays(), selector.selections)

    def predictions(self, loss: Spec, draws: Sequence[DrawKey], labels: Mapping[DrawKey, DrawnLabels]) -> Array:
        """Probabilities [draw, photo, class] for the training photos, selected on noisy validation as for runs."""
        groups = [plan.loss_group(loss, len(draws))]
        matrices = np.tile(np.eye(self._work.num_classes), (len(draws), 1, 1))
        block = self._block(draws, labels, groups, matrices)
        return predictions_for_training_photos(self._features_of(draws[0].seed), block)

    def _features_of(self, seed: int) -> SplitFeatures:
        """Features of a seed's photos; units come seed by seed, and those of one split are in memory at a time."""
        number = self._work.splits.number(seed)
        if number != self._number:
            self._number, self._features = number, self._read(number)
        return self._features

    def _read(self, number: int) -> SplitFeatures:
        extracted = features.cached(self._work.feature_work, self._progress)
        return SplitFeatures(*(extracted[self._work.splits.rows(number, name)] for name in SPLITS))

    def best_head(self, loss: Spec, draw: DrawKey, drawn: DrawnLabels, matrix: Matrix) -> StartingHead:
        """The head that is selected for a run, to start fine-tuning from."""
        block = self._block([draw], {draw: drawn}, [plan.loss_group(loss, 1)], matrix[None])
        return best_head(self._features_of(draw.seed), block)

    def _block(
        self,
        draws: Sequence[DrawKey],
        labels: Mapping[DrawKey, DrawnLabels],
        groups: Sequence[LossGroup],
        matrices: Array,
    ) -> Block:
        settings, drawn, seed = self._work.settings, [labels[draw] for draw in draws], draws[0].seed
        count = self._work.dataset.sizes[0]
        return Block(
            truth=Truth(
                val_labels=np.stack([each.val_labels for each in drawn]),
                test_labels=self._work.splits.labels(seed, "test"),
                train_labels=np.stack([each.train_labels for each in drawn]),
                flipped=np.stack([each.train_flipped for each in drawn]),
            ),
            num_classes=self._work.num_classes,
            losses=groups,
            grid=settings.grid,
            order=plan.batch_order(seed, settings.epochs, count),
            batch_size=settings.batch_size,
            optimizer=settings.optimizer,
            transition_matrices=matrices,
            peer_order=plan.peer_order(seed, settings.epochs, count),
        )

    def _run(self, key: RunKey, row: int, selector: Selector, given: Given) -> Run:
        grid = self._work.settings.grid
        return Run(
            draw=key.draw,
            method=key.method,
            labels=self._work.drawn[key.draw].draw.labels,
            choices=tuple(
                Choice(grid[point][0], grid[point][1], int(epoch))
                for point, epoch in zip(selector.grid[row], selector.epoch[row], strict=True)
            ),
            failure=given.failures.get(key, plan.DIVERGED if selector.failed[row] else None),
        )
