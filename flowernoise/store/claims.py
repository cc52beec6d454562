"""Who works in an artifacts directory: claims, so that two processes do not do the same work, nor undo each other's.

A claim is a small file that says what a process is doing, beside a lock that the process holds as long as it lives;
the system takes the lock back from the dead. Locks only save work and warn: some network file systems do not honour
them, and what is right rests on files that are written whole under names of their own (:mod:`flowernoise.store.files`).
"""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.progress import Progress
from flowernoise.safe import atomic
from flowernoise.store import files, inventory
from flowernoise.store.layout import Layout
from flowernoise.store.setups import Setup

if TYPE_CHECKING:
    from filelock import BaseFileLock

GATE = "directory.lock"  # held for moments, while claims are read and made
PATIENCE = 10.0  # seconds to wait at the gate before going on without
POLL = 0.1  # seconds between looks at a claim that is waited for

Verdict = Literal["beside", "wait", "refuse"]


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a process does in a directory, and which process that is.

    Args:
        work: name of the work; ``train``, ``prepare`` and so on.
        request: digest of what is asked for; equal requests are the same work.
        runs: of ``train``, the runs that it makes: digest of the run's key → digest of the labels it is trained on.
        setup: of ``train``, how they are trained.
        recency: of ``train``, that of the runs.
    """

    work: str
    request: str = ""
    runs: dict[str, str] = {}
    setup: Setup | None = None
    recency: int = 0
    process: int = msgspec.field(default_factory=os.getpid)
    host: str = msgspec.field(default_factory=platform.node)
    since: str = msgspec.field(default_factory=lambda: datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S"))

    def __str__(self) -> str:
        return f"{self.work} (process {self.process} on {self.host}, since {self.since})"


Others = Mapping[Path, Claim]


@contextlib.contextmanager
def exclusive(layout: Layout, work: str, progress: Progress) -> Iterator[None]:
    """Does a piece of work while no other process does it; waits for one that does.

    Raises:
        BadRequestError: another process is at work that this one would spoil.
    """
    with claimed(layout, progress, lambda _: Claim(work)):
        yield


@contextlib.contextmanager
def claimed(layout: Layout, progress: Progress, choose: Callable[[Others], Claim | None]) -> Iterator[None]:
    """Holds a claim for the block; waits first for those that must end before.

    Args:
        choose: what to claim beside the claims of other living processes, by their files; nothing if None. Nobody else
            makes a claim while it is asked; it is asked again after a wait.

    Raises:
        BadRequestError: another process is at work that this one would spoil.
    """
    held = _take(layout, progress, choose)
    try:
        yield
    finally:
        if held is not None:
            _release(*held)


def wait_for(lock: Path) -> None:
    """Waits until the process that holds a claim's lock has released it or is gone."""
    while lock.exists():
        probe = _try(lock)
        if probe is not None:
            _release(lock, probe)
            return
        time.sleep(POLL)


def _take(
    layout: Layout, progress: Progress, choose: Callable[[Others], Claim | None]
) -> tuple[Path, BaseFileLock] | None:
    told: set[Path] = set()
    while True:
        with _gate(layout) as locked:
            others = _living(layout) if locked else {}
            claim = choose(others)
            if claim is None or not locked:
                return None
            before = _that_comes_first(layout, claim, others)
            if before is None:
                inventory.clean(layout)
                return _hold(layout, claim)
        if before not in told:
            progress.note(f"waiting for {others[before]} in {layout.root}")
            told.add(before)
        wait_for(before)


@contextlib.contextmanager
def _gate(layout: Layout) -> Iterator[bool]:
    """Lets one process at a time look and claim; False where nothing can be locked, so that claims are of no use."""
    import filelock

    with contextlib.ExitStack() as stack:
        locked = False
        with contextlib.suppress(OSError, NotImplementedError, FlowernoiseError):
            atomic.ensure_directory(layout.locks)
            if _can_be_a_lock(layout.locks / GATE):
                stack.enter_context(filelock.FileLock(layout.locks / GATE, timeout=PATIENCE))
                locked = True
        yield locked


def _living(layout: Layout) -> dict[Path, Claim]:
    """Claims of living processes, by their locks; what the dead have left is removed."""
    found = {}
    for lock in sorted(layout.locks.glob("*.lock")):
        if lock.name == GATE or not _can_be_a_lock(lock):
            continue
        probe = _try(lock)
        if probe is not None:
            _release(lock, probe)
            continue
        # Released in this moment, or none of ours.
        with contextlib.suppress(FlowernoiseError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            found[lock] = msgspec.json.decode(files.read_plain(lock.with_suffix(".json")), type=Claim)
    return found


def _can_be_a_lock(path: Path) -> bool:
    """Whether a file is there to be locked, or could be; whatever else has its name would only make us wait."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _try(lock: Path) -> BaseFileLock | None:
    """A lock that no living process holds, held now by this one."""
    import filelock

    probe = filelock.FileLock(lock, timeout=0)
    try:
        probe.acquire()
    except (OSError, NotImplementedError):  # filelock's Timeout among them
        return None
    return probe


def _hold(layout: Layout, claim: Claim) -> tuple[Path, BaseFileLock] | None:
    lock = layout.locks / f"{claim.work.partition(' ')[0]}-{claim.process}-{secrets.token_hex(4)}.lock"
    held = _try(lock)
    if held is None:
        return None
    try:
        files.write_plain(lock.with_suffix(".json"), msgspec.json.encode(claim))
    except BaseException:
        _release(lock, held)
        raise
    return lock, held


def _release(lock: Path, held: BaseFileLock) -> None:
    files.remove(lock.with_suffix(".json"))
    files.remove(lock)
    held.release()


def _that_comes_first(layout: Layout, ours: Claim, others: Others) -> Path | None:
    """The lock of a claim that must end before ours; None where there is none.

    Raises:
        BadRequestError: ours would spoil another.
    """
    verdicts = {lock: _verdict(ours, theirs) for lock, theirs in others.items()}
    for lock, verdict in verdicts.items():
        if verdict == "refuse":
            raise BadRequestError(
                f"{layout.root} is in use by {others[lock]}, which works with other photos or with those that this "
                "would replace; wait for its end, or give another directory with --artifacts"
            )
    return next((lock for lock, verdict in verdicts.items() if verdict == "wait"), None)


def _verdict(ours: Claim, theirs: Claim) -> Verdict:
    if ours.work == theirs.work == "train":  # they share out their runs
        return "beside"
    if ours.work == theirs.work:
        return "wait" if ours.request == theirs.request else "refuse"
    if ours.work == "prepare":
        return "refuse"
    if "remove" in (ours.work, theirs.work):  # what the other reads or counts on may go
        return "wait"
    return "wait" if theirs.work == "prepare" else "beside"
