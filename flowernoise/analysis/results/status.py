"""What is in an artifacts directory, as ``status`` says it."""

from __future__ import annotations

import dataclasses
from typing import Literal

from flowernoise.store.inventory import Litter
from flowernoise.store.setups import Setup

State = Literal["done", "partly", "there", "stale", "damaged", "unknown", "missing"]

_NEEDED = ("prepare", "corrupt", "train", "evaluate")
_STATES = {"partly": "partly done", "unknown": "not known"}


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage: ``missing`` if nothing is there, ``stale`` if all of it belongs to something that was replaced.

    ``partly`` if some of it is missing or stale, ``damaged`` if some of it cannot be used, ``unknown`` if what it
    belongs to cannot be read; ``there`` is said of files that tell nothing of what they were made from.
    """

    name: str
    state: State
    files: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class DrawCount:
    """Draws of a noise model at a rate: one a seed."""

    noise: str
    rate: float
    draws: int


@dataclasses.dataclass(frozen=True)
class FeatureCount:
    """Complete features of a backbone; stale if they are of other photos or of another size."""

    backbone: str
    photos: int
    state: State


@dataclasses.dataclass(frozen=True)
class RunCount:
    """Runs of a loss and setup.

    ``failed`` and ``unevaluated`` are among ``runs``; ``superseded`` were replaced, ``stale`` are of labels that are
    drawn no more; ``lacking`` counts noisy draws without a run, where no other setup was trained since.
    """

    loss: str
    setup: Setup
    runs: int
    failed: int
    unevaluated: int
    superseded: int
    stale: int
    lacking: int


@dataclasses.dataclass(frozen=True)
class SetupSize:
    """What the runs of a setup take: their number, and bytes of all their files."""

    setup: Setup
    runs: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Status:
    """What is in an artifacts directory.

    ``photos`` counts those of train, val and test; ``stale_draws`` and ``stale_runs`` belong to other photos;
    ``unfinished`` counts shards of features that a next attempt goes on from; ``problems`` are files that are not what
    was written; ``inside`` are artifacts directories within this one; ``next`` is None where nothing is left to do.
    """

    directory: str
    source: str | None
    classes: tuple[str, ...]
    photos: tuple[int, int, int] | None
    stages: tuple[Stage, ...]
    draws: tuple[DrawCount, ...]
    stale_draws: int
    features: tuple[FeatureCount, ...]
    unfinished: int
    runs: tuple[RunCount, ...]
    setups: tuple[SetupSize, ...]
    stale_runs: int
    evaluated: int
    litter: tuple[Litter, ...]
    problems: tuple[str, ...]
    inside: tuple[str, ...]
    next: str | None

    @property
    def bytes(self) -> int:
        """Size of everything."""
        return sum(stage.bytes for stage in self.stages)

    @property
    def shortcomings(self) -> tuple[str, ...]:
        """What keeps it from being sound and done, up to the evaluation of what ``compare`` shows by default.

        Pictures, reports, litter, and what belongs to replaced photos do not count.
        """
        states = {stage.name: stage.state for stage in self.stages}
        sufficient = {name: ("done", "partly") if name == "train" else ("done",) for name in _NEEDED}
        undone = [
            f"{name} is {_STATES.get(states[name], states[name])}"
            for name in _NEEDED
            if states[name] not in sufficient[name]
        ]
        # Training is partly done where runs that are shown are missing, and where some that are not shown are stale.
        lacking = [f"{count.loss} lacks {count.lacking} of its runs" for count in self.runs if count.lacking]
        return (*self.problems, *undone, *lacking)
