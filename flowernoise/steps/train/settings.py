"""What ``train`` is asked for."""

from __future__ import annotations

import dataclasses
from typing import Literal

from flowernoise.catalogue.backbones import backbones
from flowernoise.catalogue.losses import losses
from flowernoise.errors import BadRequestError
from flowernoise.registry import Between, format_value
from flowernoise.store.records import RunKey
from flowernoise.store.setups import Mode

LEARNING_RATES = (3e-4, 1e-3, 3e-3)  # faster ones make losses like mae chaotic: tests/benchmarks/selection.py
L2 = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
FIXED_LEARNING_RATE = 1e-3
LEAST, MOST = 1e-37, 3e38  # beyond, single precision has 0 or infinity
MOST_POINTS = 1000  # of a tuning grid


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """What ``train`` is asked for.

    ``learning_rates`` and ``l2`` None mean the tuning grid where heads can be chosen between on a validation split, and
    one fixed value where not. ``control_losses`` restricts which of the losses the control is trained with; None for
    all. ``memory`` is the budget in GiB of the heads that are trained together; results do not depend on it.
    """

    losses: tuple[str, ...] = ("ce", "mae")
    backbone: str = "resnet50"
    mode: Mode = "features"
    epochs: int = 5
    batch_size: int = 32
    learning_rates: tuple[float, ...] | None = None
    l2: tuple[float, ...] | None = None
    optimizer: Literal["adam", "sgd"] = "adam"
    control_losses: tuple[str, ...] | None = None
    memory: float = 1.0

    def resolved(self, *, validated: bool) -> TrainSettings:
        """The same with learning rates and L2 filled in.

        Args:
            validated: whether there is a validation split.
        """
        tuned = validated and self.mode == "features"
        rates, strengths = (LEARNING_RATES, L2) if tuned else ((FIXED_LEARNING_RATE,), (0.0,))
        return dataclasses.replace(self, learning_rates=self.learning_rates or rates, l2=self.l2 or strengths)

    @property
    def grid(self) -> list[tuple[float, float]]:
        """Learning rate and L2 of each point of the tuning grid, in ascending order: that in which they are asked for
        makes no difference.
        """
        rates, strengths = self.learning_rates or (FIXED_LEARNING_RATE,), self.l2 or (0.0,)
        return [(rate, l2) for rate in sorted(set(rates)) for l2 in sorted(set(strengths))]

    def check(self) -> None:
        """Refuses unknown names, and numbers out of range.

        Raises:
            BadRequestError: names the option and what it takes.
        """
        for text in self.losses:
            losses.parse(text)
        backbones.parse(self.backbone)
        for option, values, range in (
            ("--epochs", (self.epochs,), Between(1, 10_000)),
            ("--batch-size", (self.batch_size,), Between(1, 1_000_000)),
            ("--learning-rate", self.learning_rates or (), Between(LEAST, MOST)),
            ("--l2", self.l2 or (), Between(0, MOST)),
            ("--memory", (self.memory,), Between(0, 1_000_000, open="low")),
        ):
            for value in values:
                if not range.admits(value):
                    raise BadRequestError(f"{option} {format_value(value)} must be {range}")
        if () in (self.learning_rates, self.l2, self.losses):
            raise BadRequestError("--learning-rate, --l2 and --loss each need at least one value")
        if len(self.grid) > MOST_POINTS:
            raise BadRequestError(
                f"--learning-rate and --l2 make {len(self.grid):,} pairs to choose between; at most {MOST_POINTS:,}"
            )
        if self.mode == "finetune" and len(self.grid) > 1:
            raise BadRequestError(
                "--mode finetune takes one --learning-rate and one --l2; lists are for --mode features"
            )


@dataclasses.dataclass(frozen=True)
class Restored:
    """Runs that were there before and are made again: nothing else is trained, and their recency stays."""

    keys: frozenset[RunKey]
    recency: int
