"""Results of ``verify`` and ``remove``."""

from __future__ import annotations

import dataclasses

from flowernoise.store.setups import Setup


@dataclasses.dataclass(frozen=True)
class Problem:
    """A file that is damaged, or does not fit its inputs.

    Args:
        path: the file that is wrong.
        stage: the stage that made it.
        text: what is wrong, in one line.
        way_out: what to do about it; empty if the text says so.
        record: the record that names the file, or the file itself if it is a record.
        ours: whether this version can tell that it is wrong, and so may replace it.
    """

    path: str
    stage: str
    text: str
    way_out: str
    record: str
    ours: bool = True


@dataclasses.dataclass(frozen=True)
class Checked:
    """How much of a stage was checked."""

    stage: str
    records: int
    files: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class VerifyResult:
    """What was checked, what is wrong, and what was repaired.

    ``problems`` are those that remain; ``repaired`` are those that the repairs have solved.
    """

    directory: str
    checked: tuple[Checked, ...]
    problems: tuple[Problem, ...]
    repaired: tuple[Problem, ...]
    notes: tuple[str, ...]
    mended: bool


@dataclasses.dataclass(frozen=True)
class Removed:
    """Runs of one loss, noise and setup."""

    noise: str
    rate: float
    loss: str
    setup: Setup
    runs: int


@dataclasses.dataclass(frozen=True)
class RemoveResult:
    """The runs, whether they were removed, and how many bytes that freed."""

    runs: tuple[Removed, ...]
    removed: bool
    bytes: int = 0
