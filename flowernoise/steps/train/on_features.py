"""Mode ``features``: the backbone is frozen, its features are cached, the heads are trained together.

Heads start at zero: a linear head has no symmetry to break, and with random weights L1 keeps whatever they happen to
favour. So of a seed's three streams (draw, batch order, initialisation) only fine-tuning uses the last.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flowernoise.progress import Progress
from flowernoise.steps import features
from flowernoise.steps.train import plan
from flowernoise.steps.train.plan import Plan
from flowernoise.steps.train.settings import TrainResult
from flowernoise.store import photos
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.feature_cache import FeatureArray
from flowernoise.store.records import SPLITS, Choice, DrawKey, Run, RunKey
from flowernoise.training import heads
from flowernoise.training.heads import HeadsTask
from flowernoise.training.selection import Selector, Truth


def cached_features(work: Plan, progress: Progress) -> FeatureArray:
    """Features of all photos [photo, dimension], from the cache or extracted now; what is damaged is made again.

    Raises:
        DamagedFileError: photos that are not what was prepared.
    """
    return features.cached(work.feature_work, progress)


def train_heads(work: Plan, missing: Sequence[RunKey], progress: Progress) -> TrainResult:
    """Trains runs as linear heads on cached features, block by block; each finished block is kept."""
    started = time.perf_counter()
    extracted = cached_features(work, progress)
    featured = time.perf_counter()
    rows = {name: [row for row, photo in enumerate(work.index) if photo.split == name] for name in SPLITS}
    train_features, other_features = extracted[rows["train"]], extracted[rows["val"] + rows["test"]]
    labels = work.labels(missing)
    models = len(work.settings.grid)
    most = max(1, heads.recommended_heads(extracted.shape[1], work.num_classes) // models)
    with progress.task(f"training heads · {work.engine.device}", len(missing) * models, "models") as advance:
        for block in blocks(missing, list(work.losses), most):
            _train_block(work, block, labels, train_features, other_features)
            advance(len(block) * models)
    return TrainResult(
        trained=len(missing),
        done_before=0,
        failed=(),
        engine=work.engine,
        feature_seconds=featured - started,
        training_seconds=time.perf_counter() - featured,
    )


def blocks(keys: Sequence[RunKey], loss_order: Sequence[str], most: int) -> Iterator[list[RunKey]]:
    """Runs to train together: of one seed, neighbours by loss, at most ``most``."""
    by_seed: dict[int, list[RunKey]] = {}
    for key in keys:
        by_seed.setdefault(key.seed, []).append(key)
    for seed in sorted(by_seed):
        ordered = sorted(by_seed[seed], key=lambda key: loss_order.index(key.loss))
        for start in range(0, len(ordered), most):
            yield ordered[start : start + most]


def _train_block(
    work: Plan,
    keys: Sequence[RunKey],
    labels: Mapping[DrawKey, DrawnLabels],
    train_features: FeatureArray,
    other_features: FeatureArray,
) -> None:
    drawn = [labels[key.draw] for key in keys]
    truth = Truth(
        val_labels=np.stack([each.val_labels for each in drawn]),
        test_labels=photos.labels_of(work.index, "test"),
        train_labels=np.stack([each.train_labels for each in drawn]),
        flipped=np.stack([each.train_flipped for each in drawn]),
    )
    grid, epochs = work.settings.grid, work.settings.epochs
    failures = plan.untrainable(work, keys, labels)
    selector = Selector(truth, len(grid), epochs)
    identity = np.eye(work.num_classes)
    matrices = [identity if key in failures else plan.transition_matrix(labels[key.draw]) for key in keys]
    task = _heads_task(work, keys, matrices, truth, train_features, other_features)
    for outputs in heads.train_heads(task, history=bool(work.dataset.sizes[1])):
        selector.update(outputs.epoch, outputs.probabilities, outputs.predicted, outputs.training_loss)
    trained = [
        Run(
            key=key,
            labels=work.drawn[key.draw].draw.labels,
            choices=tuple(
                Choice(grid[point][0], grid[point][1], int(epoch))
                for point, epoch in zip(selector.grid[row], selector.epoch[row], strict=True)
            ),
            failure=failures.get(key, plan.DIVERGED if selector.failed[row] else None),
        )
        for row, key in enumerate(keys)
    ]
    plan.write_block(work, trained, selector.arrays(), selector.selections)


def _heads_task(
    work: Plan,
    keys: Sequence[RunKey],
    matrices: Sequence[np.ndarray[Any, Any]],
    truth: Truth,
    train_features: FeatureArray,
    other_features: FeatureArray,
) -> HeadsTask:
    grid, epochs, seed = work.settings.grid, work.settings.epochs, keys[0].seed
    count = len(train_features)
    groups = [
        plan.loss_group(work.losses[loss], len(list(group)) * len(grid))
        for loss, group in itertools.groupby(keys, key=lambda key: key.loss)
    ]
    return HeadsTask(
        train_features=train_features,
        other_features=other_features,
        labels=truth.train_labels,
        labelling=np.repeat(np.arange(len(keys)), len(grid)),
        num_classes=work.num_classes,
        losses=groups,
        learning_rates=np.array([rate for _ in keys for rate, _ in grid]),
        l2=np.array([l2 for _ in keys for _, l2 in grid]),
        order=plan.batch_order(seed, epochs, count),
        batch_size=work.settings.batch_size,
        optimizer=work.settings.optimizer,
        transition_matrices=np.repeat(np.stack(matrices), len(grid), axis=0),
        peer_order=plan.peer_order(seed, epochs, count),
    )
