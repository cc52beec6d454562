"""Claims on work in an artifacts directory, so that processes neither repeat nor undo each other's work.

A claim is a small file that says what a process is doing. Beside it is a lock that the process holds as long as it
lives; the system releases the locks of exited processes. Locks only save work and warn, as some network file systems
ignore them. Correctness rests on files that are written whole under unique names (:mod:`flowernoise.store.files`).
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

GATE = "directory.lock"  # held briefly, while claims are read and made
PATIENCE = 10.0  # seconds to wait at the gate before going on without it
POLL = 0.1  # seconds between checks while waiting for a claim

Verdict = Literal["together", "wait", "refuse"]


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a process is doing in a directory, and which process it is.

    Args:
        work: name of the work; ``train``, ``prepare`` and so on.
        request: digest of the request; equal requests are the same work.
        makes: for work that processes share in units, the current unit. For ``train``: digest of a run's key → digest
            of the labels that it is trained on. For ``features …``: the shard.
        setup: for ``train``, how the runs are trained.
        recency: for ``train``, the recency of the runs.
    """

    work: str
    request: str = ""
    makes: dict[str, str] = {}
    setup: Setup | None = None
    recency: int = 0
    process: int = msgspec.field(default_factory=os.getpid)
    host: str = msgspec.field(default_factory=platform.node)
    since: str = msgspec.field(default_factory=lambda: datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S"))

    def __str__(self) -> str:
        return f"{self.work} (process {self.process} on {self.host}, since {self.since})"


Others = Mapping[Path, Claim]
Choose = Callable[[Others], Claim | None]


@contextlib.contextmanager
def exclusive(layout: Layout, work: str, progress: Progress) -> Iterator[None]:
    """Does a piece of work alone; waits for another process that is doing the same.

    Raises:
        BadRequestError: it would spoil the work of another process.
    """
    with claimed(layout, progress, lambda _: Claim(work)):
        yield


@contextlib.contextmanager
def claimed(layout: Layout, progress: Progress, choose: Choose) -> Iterator[Held]:
    """Holds a claim during the block; first waits for the claims that must end before it.

    Args:
        choose: gets the claims of other living processes, by their locks, and returns what to claim, or None. Nobody
            else can make a claim during the call. It is called again after each wait.

    Raises:
        BadRequestError: it would spoil the work of another process.
    """
    held = _take(layout, progress, choose)
    try:
        yield held
    finally:
        held.release()


class Held:
    """A claim that this process holds; empty if it claims nothing, or if nothing can be locked."""

    def __init__(self, layout: Layout, lock: Path | None = None, held: BaseFileLock | None = None) -> None:
        self._layout, self._lock, self._held = layout, lock, held

    def change(self, choose: Choose) -> None:
        """Replaces the claim by what ``choose`` returns; gives it up if that is None."""
        with _gate(self._layout) as locked:
            claim = choose(_living(self._layout, but=self._lock) if locked else {})
            if claim is not None and self._lock is not None:
                files.write_plain(self._lock.with_suffix(".json"), msgspec.json.encode(claim))
        if claim is None:
            self.release()

    def release(self) -> None:
        """Gives up the claim."""
        if self._lock is not None and self._held is not None:
            _release(self._lock, self._held)
        self._lock = self._held = None


def wait_for(others: Others) -> None:
    """Waits until one of the claims changes or ends; it also ends when its process exits."""
    while others and all(_stands(lock, claim) for lock, claim in others.items()):
        time.sleep(POLL)


def _stands(lock: Path, claim: Claim) -> bool:
    if not lock.exists():
        return False
    probe = _try(lock)
    if probe is not None:
        _release(lock, probe)
        return False
    return _read(lock) == claim


def _take(layout: Layout, progress: Progress, choose: Choose) -> Held:
    told: set[Path] = set()
    while True:
        with _gate(layout) as locked:
            others = _living(layout) if locked else {}
            claim = choose(others)
            if claim is None or not locked:
                return Held(layout)
            before = _that_comes_first(layout, claim, others)
            if before is None:
                inventory.clean(layout)
                return _hold(layout, claim)
        if before not in told:
            progress.note(f"waiting for {others[before]} in {layout.root}")
            told.add(before)
        wait_for({before: others[before]})


@contextlib.contextmanager
def _gate(layout: Layout) -> Iterator[bool]:
    """Lets one process at a time read and make claims; yields False if files cannot be locked."""
    import filelock

    with contextlib.ExitStack() as stack:
        locked = False
        with contextlib.suppress(OSError, NotImplementedError, FlowernoiseError):
            atomic.ensure_directory(layout.locks)
            if _can_be_a_lock(layout.locks / GATE):
                stack.enter_context(filelock.FileLock(layout.locks / GATE, timeout=PATIENCE))
                locked = True
        yield locked


def _living(layout: Layout, but: Path | None = None) -> dict[Path, Claim]:
    """The claims of other living processes, by their locks; claims of exited processes are removed."""
    found = {}
    for lock in sorted(layout.locks.glob("*.lock")):
        if lock == but or lock.name == GATE or not _can_be_a_lock(lock):
            continue
        probe = _try(lock)
        if probe is not None:
            _release(lock, probe)
            continue
        if (claim := _read(lock)) is not None:
            found[lock] = claim
    return found


def _read(lock: Path) -> Claim | None:
    """The claim beside a lock; None if it was just released, or is not a claim of this program."""
    with contextlib.suppress(FlowernoiseError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(files.read_plain(lock.with_suffix(".json")), type=Claim)
    return None


def _can_be_a_lock(path: Path) -> bool:
    """Whether a path is a file or free; anything else under that name would only make us wait."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _try(lock: Path) -> BaseFileLock | None:
    """Acquires a lock; None if a living process holds it."""
    import filelock

    probe = filelock.FileLock(lock, timeout=0)
    try:
        probe.acquire()
    except (OSError, NotImplementedError):  # filelock's Timeout among them
        return None
    return probe


def _hold(layout: Layout, claim: Claim) -> Held:
    lock = layout.locks / f"{claim.work.partition(' ')[0]}-{claim.process}-{secrets.token_hex(4)}.lock"
    held = _try(lock)
    if held is None:
        return Held(layout)
    try:
        files.write_plain(lock.with_suffix(".json"), msgspec.json.encode(claim))
    except BaseException:
        _release(lock, held)
        raise
    return Held(layout, lock, held)


def _release(lock: Path, held: BaseFileLock) -> None:
    files.remove(lock.with_suffix(".json"))
    files.remove(lock)
    held.release()


def _that_comes_first(layout: Layout, ours: Claim, others: Others) -> Path | None:
    """The lock of a claim that must end before ours; None if there is no such claim.

    Raises:
        BadRequestError: our work would spoil that of another.
    """
    verdicts = {lock: _verdict(ours, theirs) for lock, theirs in others.items()}
    for lock, verdict in verdicts.items():
        if verdict == "refuse":
            raise BadRequestError(
                f"{layout.root} is in use by {others[lock]}, which needs other photos than this command, or "
                "photos that it would replace; wait until it ends, or give another directory with --artifacts"
            )
    return next((lock for lock, verdict in verdicts.items() if verdict == "wait"), None)


def _verdict(ours: Claim, theirs: Claim) -> Verdict:
    if ours.work == theirs.work == "train":
        return "together"
    if ours.work == theirs.work and ours.makes and theirs.makes:  # units of the same work
        return "together"
    if ours.work == theirs.work:
        return "wait" if ours.request == theirs.request else "refuse"
    if ours.work == "prepare":
        return "refuse"
    if "remove" in (ours.work, theirs.work):  # it may remove what the other reads or relies on
        return "wait"
    return "wait" if theirs.work == "prepare" else "together"
