"""What ``verify`` found wrong, and which runs ``remove`` took out."""

from __future__ import annotations

import dataclasses

from flowernoise.store.setups import Setup


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something that is not as it was written, or does not fit what it is said to be of.

    Args:
        path: the file that is wrong.
        stage: which made it.
        text: what is wrong, in a line.
        way_out: what to do about it; empty where the text says so.
        record: the record that names the file, or is it.
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
    """What was checked, what is wrong, and what was made again.

    ``repaired`` are problems that were there before and are no more; ``problems`` are those that are there now.
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
    """The runs, whether they are removed, and by how many bytes the runs' files have shrunk."""

    runs: tuple[Removed, ...]
    removed: bool
    bytes: int = 0
