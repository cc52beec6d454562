"""Mode ``features``: the backbone is frozen, its features are cached, the heads are trained together.

Heads start at zero: a linear head has no symmetry to break, and with random weights L1 keeps whatever they happen to
favour. So of a seed's three streams (draw, batch order, initialisation) only fine-tuning uses the last.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flowernoise.analysis.results.stages import TrainResult
from flowernoise.catalogue.losses import needs_of
from flowernoise.catalogue.transition_matrix import Matrix
from flowernoise.progress import Progress
from flowernoise.registry import Spec
from flowernoise.steps import features
from flowernoise.steps.train import matrices, plan
from flowernoise.steps.train.plan import Plan
from flowernoise.store import photos
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.feature_cache import FeatureArray
from flowernoise.store.records import SPLITS, Choice, DrawKey, Run, RunKey
from flowernoise.training import heads
from flowernoise.training.selection import Selector, Truth
from flowernoise.training.tasks import HeadsTask


@dataclasses.dataclass(frozen=True, eq=False)
class _Data:
    """What all blocks of a sweep share."""

    train: FeatureArray
    val: FeatureArray
    test: FeatureArray
    test_labels: np.ndarray[Any, np.dtype[np.int64]]
    labels: Mapping[DrawKey, DrawnLabels]
    matrices: Mapping[RunKey, Matrix]
    failures: Mapping[RunKey, str]


def train_heads(work: Plan, missing: Sequence[RunKey], progress: Progress) -> TrainResult:
    """Trains runs as linear heads on cached features, block by block; each finished block is kept."""
    started = time.perf_counter()
    extracted = features.cached(work.feature_work, progress)
    featured = time.perf_counter()
    data = _data(work, missing, extracted, progress)
    models = len(work.settings.grid)
    with progress.task(f"training heads · {work.engine.device}", len(missing) * models, "models") as advance:
        for block in blocks(missing, work.losses, _heads_a_block(work, extracted) // models):
            _train_block(work, block, data)
            advance(len(block) * models)
    return TrainResult(
        trained=len(missing),
        done_before=0,
        failed=(),
        setup=work.setup,
        engine=work.engine,
        extractor=work.extractor,
        feature_seconds=featured - started,
        training_seconds=time.perf_counter() - featured,
    )


def _data(work: Plan, missing: Sequence[RunKey], extracted: FeatureArray, progress: Progress) -> _Data:
    split = np.array([photo.split for photo in work.index])
    train, val, test = (extracted[split == name] for name in SPLITS)
    data = _Data(
        train=train,
        val=val,
        test=test,
        test_labels=photos.labels_of(work.index, "test"),
        labels=work.labels(missing),
        matrices={},
        failures={},
    )
    estimates = _estimates(work, matrices.to_estimate(work.losses, missing), data, progress)
    of_runs = matrices.of_runs(work.losses, data.labels, estimates, missing)
    failures = matrices.failures(work.losses, of_runs)
    identity = np.eye(work.num_classes)
    usable = {key: identity if key in failures else matrix for key, matrix in of_runs.items()}
    return dataclasses.replace(data, matrices=usable, failures=failures)


def _heads_a_block(work: Plan, extracted: FeatureArray) -> int:
    """What trains fastest, if the memory budget allows it."""
    train, val, test = work.dataset.sizes
    times = work.settings.epochs if val else 1
    a_head = heads.bytes_a_head(train, val + test, extracted.shape[1], work.num_classes, times)
    most = int(work.settings.memory * 2**30 / a_head)
    return min(heads.recommended_heads(extracted.shape[1], work.num_classes), most)


def _estimates(work: Plan, draws: Sequence[DrawKey], data: _Data, progress: Progress) -> dict[DrawKey, Matrix]:
    """Transition matrices estimated from cross-entropy heads, chosen on the noisy validation split as runs are."""
    estimates: dict[DrawKey, Matrix] = {}
    loss = str(matrices.FIRST_STAGE)
    keys = [RunKey(draw.noise, draw.rate, draw.seed, loss, work.setup) for draw in draws]
    first_stage = {loss: matrices.FIRST_STAGE}
    for block in blocks(keys, first_stage, _heads_a_block(work, data.train) // len(work.settings.grid)):
        # Asked about the training photos in place of the test photos.
        nothing = np.zeros(len(data.train), dtype=np.int64)
        asked = dataclasses.replace(data, test=data.train, test_labels=nothing)
        selector = _trained(dataclasses.replace(work, losses=first_stage), block, asked)
        answers = selector.arrays()["test_probabilities"][:, 0]
        for key, answered in zip(block, answers, strict=True):
            labels, classes = data.labels[key.draw].train_labels, work.dataset.classes
            estimates[key.draw] = matrices.estimate(key.draw, labels, answered, classes, progress)
    return estimates


def blocks(keys: Sequence[RunKey], losses: Mapping[str, Spec], most: int) -> Iterator[list[RunKey]]:
    """Runs to train together: of one seed, neighbours by loss, at most ``most``.

    Losses that need peers have blocks of their own, as all heads of such a block are asked about the peers.
    """
    names = list(losses)

    def company(key: RunKey) -> tuple[int, bool]:
        return key.seed, "peers" in needs_of(losses[key.method])

    ordered = sorted(keys, key=lambda key: (company(key), names.index(key.method)))
    for _, group in itertools.groupby(ordered, key=company):
        together = list(group)
        size = max(1, most)
        yield from (together[start : start + size] for start in range(0, len(together), size))


def _train_block(work: Plan, keys: Sequence[RunKey], data: _Data) -> None:
    selector, grid = _trained(work, keys, data), work.settings.grid
    trained = [
        Run(
            draw=key.draw,
            method=key.method,
            labels=work.drawn[key.draw].draw.labels,
            choices=tuple(
                Choice(grid[point][0], grid[point][1], int(epoch))
                for point, epoch in zip(selector.grid[row], selector.epoch[row], strict=True)
            ),
            failure=data.failures.get(key, plan.DIVERGED if selector.failed[row] else None),
        )
        for row, key in enumerate(keys)
    ]
    plan.write_block(work, trained, selector.arrays(), selector.selections)


def _trained(work: Plan, keys: Sequence[RunKey], data: _Data) -> Selector:
    drawn = [data.labels[key.draw] for key in keys]
    truth = Truth(
        val_labels=np.stack([each.val_labels for each in drawn]),
        test_labels=data.test_labels,
        train_labels=np.stack([each.train_labels for each in drawn]),
        flipped=np.stack([each.train_flipped for each in drawn]),
    )
    selector = Selector(truth, len(work.settings.grid), work.settings.epochs)
    for outputs in heads.train_heads(_heads_task(work, keys, data, truth), history=bool(work.dataset.sizes[1])):
        selector.update(outputs.epoch, outputs.probabilities, outputs.predicted, outputs.training_loss)
    return selector


def _heads_task(work: Plan, keys: Sequence[RunKey], data: _Data, truth: Truth) -> HeadsTask:
    grid, epochs, seed = work.settings.grid, work.settings.epochs, keys[0].seed
    count, identity = len(data.train), np.eye(work.num_classes)
    groups = [
        plan.loss_group(work.losses[loss], len(list(group)) * len(grid))
        for loss, group in itertools.groupby(keys, key=lambda key: key.method)
    ]
    transition_matrices = np.stack([data.matrices.get(key, identity) for key in keys])
    return HeadsTask(
        train_features=data.train,
        other_features=np.concatenate([data.val, data.test]),
        labels=truth.train_labels,
        labelling=np.repeat(np.arange(len(keys)), len(grid)),
        num_classes=work.num_classes,
        losses=groups,
        learning_rates=np.array([rate for _ in keys for rate, _ in grid]),
        l2=np.array([l2 for _ in keys for _, l2 in grid]),
        order=plan.batch_order(seed, epochs, count),
        batch_size=work.settings.batch_size,
        optimizer=work.settings.optimizer,
        transition_matrices=np.repeat(transition_matrices, len(grid), axis=0),
        peer_order=plan.peer_order(seed, epochs, count),
    )
