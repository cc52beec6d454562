"""The kinds of records in an artifacts directory, and the result of reading one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from flowernoise.store import comparisons, datasets, draws, evaluations, feature_cache, first_stages, own_features, runs
from flowernoise.store.files import FileRef
from flowernoise.store.first_stages import FirstStageRecord
from flowernoise.store.layout import Layout
from flowernoise.store.records import (
    Dataset,
    DrawBatch,
    Evaluation,
    FeatureShard,
    KeptComparison,
    OwnFeatures,
    PresetRecord,
    RunBlock,
)

Body = TypeVar("Body")


@dataclasses.dataclass(frozen=True)
class Kind(Generic[Body]):
    """Records of one kind.

    Args:
        stage: the stage that makes them; if repairing them takes another stage, a name of their own.
        kind: the kind that the records themselves state.
        body: the type of their contents.
        place: the record, or the folder of the records.
        refs: the files that a record names.
    """

    stage: str
    kind: str
    body: type[Body]
    place: Callable[[Layout], Path]
    refs: Callable[[Body], tuple[FileRef, ...]]


DATASET = Kind("prepare", datasets.KIND, Dataset, lambda at: at.dataset, lambda it: it.files)
DRAWS = Kind("corrupt", draws.KIND, DrawBatch, lambda at: at.draws, lambda it: (it.arrays,))
FEATURES = Kind("features", feature_cache.KIND, FeatureShard, lambda at: at.features, lambda it: (it.array,))
OWN_FEATURES = Kind("own features", own_features.KIND, OwnFeatures, lambda at: at.own_features, lambda it: it.shards)
FIRST_STAGES = Kind("first stages", first_stages.KIND, FirstStageRecord, lambda at: at.first_stages, lambda _: ())
BLOCKS = Kind("train", runs.KIND, RunBlock, lambda at: at.runs, lambda it: tuple(filter(None, (it.arrays, it.weights))))
EVALUATION = Kind("evaluate", evaluations.KIND, Evaluation, lambda at: at.evaluation, lambda it: (it.arrays,))
COMPARISONS = Kind("compare", comparisons.KIND, KeptComparison, lambda at: at.comparisons, lambda _: ())
PRESET = Kind("preset", "preset", PresetRecord, lambda at: at.preset, lambda _: ())

NAMING: tuple[Kind[Any], ...] = (DATASET, DRAWS, FEATURES, OWN_FEATURES, BLOCKS, EVALUATION)  # these kinds name files
ALL: tuple[Kind[Any], ...] = (*NAMING, FIRST_STAGES, COMPARISONS, PRESET)


@dataclasses.dataclass(frozen=True)
class RecordEntry(Generic[Body]):
    """A readable record."""

    kind: Kind[Body]
    path: Path
    body: Body

    @property
    def refs(self) -> tuple[FileRef, ...]:
        """The files that it names."""
        return self.kind.refs(self.body)


@dataclasses.dataclass(frozen=True)
class Fault:
    """A damaged file or record.

    Args:
        path: the file that is wrong.
        stage: the stage of the record's :class:`Kind`.
        text: what is wrong, in one line.
        record: the record that names the file, or the file itself if it is a record.
        ours: whether this version can tell that it is wrong, and so may replace it.
    """

    path: Path
    stage: str
    text: str
    record: Path
    ours: bool = True
