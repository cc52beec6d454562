"""What ``train`` is asked for, and what it answers."""

from __future__ import annotations

import dataclasses

from flowernoise.steps.settings import TrainSettings
from flowernoise.store.records import RunKey
from flowernoise.store.setups import Setup
from flowernoise.training.engine import Engine, Extractor

__all__ = ["Restored", "TrainResult", "TrainSettings"]


@dataclasses.dataclass(frozen=True)
class Restored:
    """Runs that were there before and are made again: nothing else is trained, and their recency stays."""

    keys: frozenset[RunKey]
    recency: int


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What was trained: counts of runs, how, the engines, and the seconds that features and training took."""

    trained: int
    done_before: int
    failed: tuple[tuple[RunKey, str], ...]
    setup: Setup
    engine: Engine
    extractor: Extractor | None = None
    feature_seconds: float = 0.0
    training_seconds: float = 0.0
    photos_trained: int = 0

    def with_more(self, other: TrainResult) -> TrainResult:
        """This and what was trained after it."""
        return dataclasses.replace(
            other,
            trained=self.trained + other.trained,
            feature_seconds=self.feature_seconds + other.feature_seconds,
            training_seconds=self.training_seconds + other.training_seconds,
            photos_trained=self.photos_trained + other.photos_trained,
        )
