"""Units of work: what one process claims, trains and writes at a time.

How a sweep is cut depends only on the request, not on how much of it is done. So a sweep that is interrupted and
continued, or shared among processes, consists of the same units.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from flowernoise.catalogue.methods import FirstStage, Method
from flowernoise.catalogue.transition_matrix import Matrix
from flowernoise.progress import Advance
from flowernoise.registry import Spec
from flowernoise.steps.train.plan import Plan
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.records import DrawKey, Run, RunKey, Selection
from flowernoise.training import heads

Array = np.ndarray[Any, np.dtype[Any]]


@dataclasses.dataclass(frozen=True)
class Unit:
    """Runs to train together, or first stages of runs on the draws of ``keys``."""

    keys: tuple[RunKey, ...]
    stage: FirstStage | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """Inputs of a training: labels by draw, transition matrices, and why some runs cannot be trained."""

    labels: Mapping[DrawKey, DrawnLabels]
    matrices: Mapping[RunKey, Matrix]
    failures: Mapping[RunKey, str]


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedRuns:
    """The runs of a unit: records, arrays as in :class:`flowernoise.store.records.RunBlock`, and weights if kept."""

    runs: tuple[Run, ...]
    arrays: dict[str, Array]
    selections: tuple[Selection, ...]
    weights: dict[str, Array] | None = None


class UnitTrainer(Protocol):
    """Trains the units of a mode; writes nothing."""

    def train(self, keys: Sequence[RunKey], given: Given) -> TrainedRuns:
        """Trains a unit's runs."""

    def predictions(self, loss: Spec, draws: Sequence[DrawKey], labels: Mapping[DrawKey, DrawnLabels]) -> Array:
        """Probabilities [draw, photo, class] for the training photos, from models trained with a loss."""

    def showing(self, runs: int) -> AbstractContextManager[Advance]:
        """Shows progress while units are trained; what it yields is called with the number of runs just done."""


def stage_key(stage: FirstStage, draw: DrawKey, plan: Plan) -> RunKey:
    """The key that stands for a stage on a draw among the keys of runs."""
    return RunKey(draw.noise, draw.rate, draw.seed, f"first stage {stage.name}", plan.setup)


def cut(plan: Plan, asked: Sequence[RunKey]) -> list[Unit]:
    """The units of the requested runs, first stages first."""
    stages: dict[FirstStage, set[DrawKey]] = {}
    for key in asked:
        for stage in plan.methods[key.method].stages:
            stages.setdefault(stage, set()).add(key.draw)
    size = _runs_a_unit(plan)
    units = []
    for stage, draws in stages.items():
        for _, of_seed in itertools.groupby(sorted(draws, key=_seed_first), key=lambda draw: draw.seed):
            keys = [stage_key(stage, draw, plan) for draw in of_seed]
            units += [Unit(tuple(together), stage) for together in _chunks(keys, size)]
    in_order = _by_loss if plan.settings.mode == "finetune" else by_company
    return units + [Unit(tuple(together)) for together in in_order(asked, plan.methods, size)]


def by_company(keys: Sequence[RunKey], methods: Mapping[str, Method], size: int) -> Iterator[Sequence[RunKey]]:
    """Groups of runs to train together as heads: one seed, ordered by loss, at most ``size`` runs.

    Losses that need peers get units of their own, because all heads in such a unit also process the peers.
    """
    names = list(methods)

    def company(key: RunKey) -> tuple[int, bool]:
        return key.seed, "peers" in methods[key.method].needs

    ordered = sorted(keys, key=lambda key: (company(key), names.index(key.method)))
    for _, group in itertools.groupby(ordered, key=company):
        yield from _chunks(list(group), size)


def _by_loss(keys: Sequence[RunKey], methods: Mapping[str, Method], size: int) -> Iterator[Sequence[RunKey]]:
    """Runs to fine-tune, loss by loss because each needs its own compiled network, ordered by seed."""
    names = list(methods)
    yield from _chunks(sorted(keys, key=lambda key: (names.index(key.method), key.seed, key)), size)


def _runs_a_unit(plan: Plan) -> int:
    """How many heads to train together: the fastest number that the memory budget allows."""
    if plan.settings.mode == "finetune":
        return 1
    (train, val, test), dimension = plan.dataset.sizes, plan.backbone.num_features
    times = plan.settings.epochs if val else 1
    a_head = heads.bytes_a_head(train, val + test, dimension, plan.num_classes, times)
    most = int(plan.settings.memory * 2**30 / a_head)
    return max(1, min(heads.recommended_heads(dimension, plan.num_classes), most) // len(plan.settings.grid))


def _chunks(keys: Sequence[RunKey], size: int) -> Iterator[Sequence[RunKey]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))


def _seed_first(draw: DrawKey) -> tuple[int, DrawKey]:
    return draw.seed, draw
