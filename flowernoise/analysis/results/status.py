"""The contents of an artifacts directory, as ``status`` reports them."""

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
    """A stage and its state.

    It is ``missing`` if there is nothing, ``stale`` if all of it belongs to something that was replaced, ``partly`` if
    some of it is missing or stale, ``damaged`` if some of it cannot be used, and ``unknown`` if what it belongs to
    cannot be read. ``there`` is for files that do not say what they were made from.
    """

    name: str
    state: State
    files: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class DrawCount:
    """Draws of a noise model at a rate, one per seed."""

    noise: str
    rate: float
    draws: int


@dataclasses.dataclass(frozen=True)
class FeatureCount:
    """Features of a backbone: done or partly for the photos prepared last; stale if they are of others alone."""

    backbone: str
    photos: int
    state: State


@dataclasses.dataclass(frozen=True)
class RunCount:
    """Runs of a loss and setup.

    ``failed`` and ``unevaluated`` are included in ``runs``. ``superseded`` runs were replaced; ``stale`` runs belong to
    labels that no longer exist. ``lacking`` counts noisy draws without a run, unless another setup was trained since.
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
    """The number of a setup's runs, and the bytes of all their files."""

    setup: Setup
    runs: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Status:
    """The contents of an artifacts directory.

    ``photos`` counts train, val and test photos of each of the ``splits``; ``given_splits`` are those the source came
    with. ``stale_draws`` and ``stale_runs`` belong to other photos. ``problems`` are damaged files; ``inside`` are
    artifacts directories inside this one; ``next`` is None if nothing is left to do.
    """

    directory: str
    source: str | None
    classes: tuple[str, ...]
    photos: tuple[int, int, int] | None
    given_splits: tuple[str, ...]
    stages: tuple[Stage, ...]
    draws: tuple[DrawCount, ...]
    stale_draws: int
    features: tuple[FeatureCount, ...]
    runs: tuple[RunCount, ...]
    setups: tuple[SetupSize, ...]
    stale_runs: int
    evaluated: int
    litter: tuple[Litter, ...]
    problems: tuple[str, ...]
    inside: tuple[str, ...]
    next: str | None
    splits: int = 1

    @property
    def bytes(self) -> int:
        """Total size in bytes."""
        return sum(stage.bytes for stage in self.stages)

    @property
    def shortcomings(self) -> tuple[str, ...]:
        """Reasons why it is not intact and complete, up to the evaluation of what ``compare`` shows by default.

        Pictures, reports, litter, and anything of replaced photos do not count.
        """
        states = {stage.name: stage.state for stage in self.stages}
        sufficient = {name: ("done", "partly") if name == "train" else ("done",) for name in _NEEDED}
        undone = [
            f"{name} is {_STATES.get(states[name], states[name])}"
            for name in _NEEDED
            if states[name] not in sufficient[name]
        ]
        # Training is "partly done" if shown runs are missing, but also if only runs that are not shown are stale.
        lacking = [f"{count.loss} lacks {count.lacking} of its runs" for count in self.runs if count.lacking]
        return (*self.problems, *undone, *lacking)
