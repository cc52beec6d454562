"""What ``train`` is asked for, and what it answers."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from flowernoise.errors import BadRequestError
from flowernoise.store.records import Mode, RunKey, TrainingSettings
from flowernoise.training.engine import Engine, Extractor


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """What ``train`` is asked for.

    ``control_losses`` restricts which of the losses the control is trained with; None for all.
    """

    losses: tuple[str, ...] = ("ce", "mae")
    backbone: str = "resnet50"
    mode: Mode = "features"
    epochs: int = 5
    batch_size: int = 32
    learning_rates: tuple[float, ...] = (1e-3,)
    l2: tuple[float, ...] = (0.0,)
    optimizer: Literal["adam", "sgd"] = "adam"
    control_losses: tuple[str, ...] | None = None

    @property
    def recorded(self) -> TrainingSettings:
        """The part that is kept with every run."""
        return TrainingSettings(self.epochs, self.batch_size, self.optimizer, self.learning_rates, self.l2)

    @property
    def grid(self) -> list[tuple[float, float]]:
        """Learning rate and L2 of each point of the tuning grid."""
        return [(rate, l2) for rate in self.learning_rates for l2 in self.l2]

    def check(self) -> None:
        """Refuses numbers out of range.

        Raises:
            BadRequestError: names the option and what it takes.
        """
        for option, count in (("--epochs", self.epochs), ("--batch-size", self.batch_size)):
            if count < 1:
                raise BadRequestError(f"{option} {count} is too few; at least 1")
        for rate in self.learning_rates:
            if not (rate > 0 and math.isfinite(rate)):
                raise BadRequestError(f"--learning-rate {rate:g} must be a finite number above 0")
        for strength in self.l2:
            if not (strength >= 0 and math.isfinite(strength)):
                raise BadRequestError(f"--l2 {strength:g} must be a finite number, at least 0")
        if not self.learning_rates or not self.l2 or not self.losses:
            raise BadRequestError("--learning-rate, --l2 and --loss each need at least one value")
        if self.mode == "finetune" and len(self.grid) > 1:
            raise BadRequestError(
                "--mode finetune takes one --learning-rate and one --l2; lists are for --mode features"
            )


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What was trained: counts of runs, the engines, and the seconds that features and training took."""

    trained: int
    done_before: int
    failed: tuple[tuple[RunKey, str], ...]
    engine: Engine
    extractor: Extractor | None = None
    feature_seconds: float = 0.0
    training_seconds: float = 0.0
    photos_trained: int = 0
