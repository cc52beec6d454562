"""A crash before, within and after every write, sync, rename, unlink and mkdir leaves the old state or the new one.

Two ways. The operations of a sweep are recorded, and from them follows what can be on the disk if the power fails
after any of them (see :mod:`disk_model`): each such state is made and looked at. And the process really ends there,
before and within each operation (after one is before the next). From both, the same command must lead to where it leads
undisturbed.

What computes is replaced by stand-ins; all that writes is real.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from tests.reliability import file_operations, integrity
from tests.reliability.command_server import CommandServer
from tests.reliability.disk_model import Disk, Tree, read_tree, write_tree
from tests.reliability.fakes import write_photos
from tests.reliability.file_operations import Operation
from tests.reliability.real_command import short_and_full

ALWAYS = ("--image-size", 16, "--backbone", "tiny", "-a", "artifacts", "--quiet")
SWEEP = (*ALWAYS, "--rates", 0.4, "--seeds", 2, "--loss", "ce", "--loss", "mae")
EVERY = 1_000_000
LOOKED_AT = 30  # states for each that is also gone on from
Thing = TypeVar("Thing")
CHANGES: dict[str, tuple[Sequence[object], Sequence[object]]] = {
    "fresh": ((), SWEEP),
    "other photos": (SWEEP, (*SWEEP, "--seed", 1)),
    "other settings": (SWEEP, (*ALWAYS, "--rates", "0.2,0.4", "--seeds", 2, "--loss", "ce", "--epochs", 2)),
}


@dataclasses.dataclass(frozen=True)
class Change:
    """A directory before, a command, and what it did to it."""

    name: str
    command: Sequence[object]
    before: Tree
    after: Tree
    operations: Sequence[Operation]

    def versions(self) -> dict[str, set[bytes]]:
        """Every content that each name has ever had, except temporary files."""
        found: dict[str, set[bytes]] = {}
        for tree in (self.before, self.after):
            for name, data in tree.items():
                if data is not None:
                    found.setdefault(name, set()).add(data)
        disk = Disk(self.before)
        for operation in self.operations:
            disk.apply(operation)
            if operation.kind == "rename":
                data = disk.seen()[operation.other]
                assert data is not None
                found.setdefault(operation.other, set()).add(data)
        return found


@pytest.fixture(scope="module", params=CHANGES)
def change(request: pytest.FixtureRequest, commands: CommandServer, tmp_path_factory: pytest.TempPathFactory) -> Change:
    """Return a change of a directory, recorded."""
    first, then = CHANGES[request.param]
    folder = write_photos(tmp_path_factory.mktemp("photos"), 36)
    work, log = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("log") / "operations"
    command = ("run", folder, *then)
    if first:
        ended = commands.run("run", folder, *first, cwd=work)
        assert ended.returncode == 0, ended.stderr
    before = read_tree(work)
    recording = ("file_operations", "record", {"root": str(work), "log": str(log)})
    ended = commands.run(*command, cwd=work, before=recording)
    assert ended.returncode == 0, ended.stderr
    return Change(request.param, command, before, read_tree(work), file_operations.read(log))


def test_every_operation_was_seen(change: Change) -> None:
    disk = Disk(change.before)
    for operation in change.operations:
        disk.apply(operation)
    assert _without_locks(disk.seen()) == _without_locks(change.after)


def test_only_the_store_writes(change: Change) -> None:
    others = {f"{each.by}: {each}" for each in change.operations if not each.by.startswith(file_operations.STORE)}
    assert not others


def test_names_appear_whole(change: Change) -> None:
    in_place = {
        str(each)
        for each in change.operations
        if each.kind in ("create", "write", "truncate") and not _is_temporary(each.path)
    }
    assert not in_place


def test_what_was_made_safe_stays(change: Change, measured: Callable[[str], None]) -> None:
    """Whatever lies in a directory that was synced is there after any crash; so its directories are synced, too."""
    lost: dict[str, str] = {}
    disk = Disk(change.before)
    for operation in change.operations:
        disk.apply(operation)
        promised = disk.promised().items()
        for tree in disk.after_a_crash():
            lost.update({name: f"{name} after {operation}" for name, data in promised if tree.get(name) != data})
    measured(f"{len(change.operations)} points, {len(lost)} finished files can be lost")
    assert not lost, "\n".join(lost.values())


@short_and_full(2, EVERY)
def test_a_power_failure_at_every_point(
    count: int, change: Change, commands: CommandServer, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    states = _sample(_states(change), LOOKED_AT * count)
    versions = change.versions()
    failures: list[str] = []
    outcome = Outcome()
    resumed = _sample([index for index, state in enumerate(states) if not state.seen], count)
    for index, state in enumerate(states):
        work = tmp_path / str(index)
        write_tree(work, state.tree)
        failures += [f"{state}: {line}" for line in _looked_at(work, versions)]
        if index in resumed:
            outcome.run_again(change, commands, work, str(state))
        shutil.rmtree(work)
    measured(
        f"{len(change.operations)} points, {len(states)} states, {len(failures)} damaged, "
        f"{len(resumed)} gone on from, {outcome}"
    )
    failures += outcome.different
    assert not failures, "\n".join(failures[:20])


@short_and_full(2, EVERY)
def test_a_crash_at_every_point(
    count: int, change: Change, commands: CommandServer, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    every = [
        (number, when)
        for number, operation in enumerate(change.operations)
        for when in (("before", "within") if operation.kind == "write" else ("before",))
    ]
    points = _sample(every, count)
    versions = change.versions()
    failures: list[str] = []
    outcome = Outcome()
    for number, when in points:
        where = f"{when} {number}, {change.operations[number]}"
        work = tmp_path / f"{when} {number}"
        write_tree(work, change.before)
        crash = ("file_operations", "crash", {"root": str(work), "at": number, "when": when})
        ended = commands.run(*change.command, cwd=work, before=crash)
        assert ended.returncode == 9, f"{where}: ended with {ended.returncode}"
        failures += [f"{where}: {line}" for line in _looked_at(work, versions)]
        outcome.run_again(change, commands, work, where)
        shutil.rmtree(work)
    measured(f"{len(points)} crashes, {len(failures)} damaged, {outcome}")
    failures += outcome.different
    assert not failures, "\n".join(failures[:20])


def _sample(things: Sequence[Thing], count: int) -> Sequence[Thing]:
    """A number of the things, spread evenly."""
    if count >= len(things):
        return things
    return [things[(2 * number + 1) * len(things) // (2 * count)] for number in range(count)]


@dataclasses.dataclass
class Outcome:
    """The result of running the command again.

    A file that the change had removed, and that no record names, may be there still: it is left over, as ``status``
    says, and nothing reads it. Everything else must be as if undisturbed.
    """

    different: list[str] = dataclasses.field(default_factory=list)
    left_over: set[str] = dataclasses.field(default_factory=set)

    def run_again(self, change: Change, commands: CommandServer, work: Path, where: str) -> None:
        """Runs a change's command again, and compares with what it did undisturbed."""
        ended = commands.run(*change.command, cwd=work)
        if ended.returncode != 0:
            self.different.append(f"{where}: the same command ends with {ended.returncode}: {ended.stderr.strip()}")
            return
        expected = _contents(change.after)
        found = _contents(read_tree(work))
        removed = {name: data for name, data in _contents(change.before).items() if name not in expected}
        named = integrity.named(work / "artifacts")
        for name in integrity.differences(found, expected):
            superseded = found.get(name) == removed.get(name, b"") and "/comparisons/" in name
            unnamed = found.get(name) == removed.get(name, b"") and Path(name).name not in named
            if superseded or unnamed:
                self.left_over.add(name)
            else:
                self.different.append(f"{where}: {name} is other")

    def __str__(self) -> str:
        return f"{len(self.different)} different after the same command again, {len(self.left_over)} files left over"


def _contents(tree: Tree) -> dict[str, bytes]:
    return {name: data for name, data in tree.items() if data is not None and not _is_temporary(name)}


@dataclasses.dataclass(frozen=True)
class State:
    """What may be on the disk after a crash; ``seen`` if it is just what programs saw."""

    operation: str
    tree: Tree
    seen: bool

    def __str__(self) -> str:
        return f"after {self.operation}"


def _states(change: Change) -> list[State]:
    """Every state once, at the first point at which it can be."""
    disk, known, states = Disk(change.before), set(), []
    for number, operation in itertools.chain([(-1, None)], enumerate(change.operations)):
        if operation is not None:
            disk.apply(operation)
        for tree in disk.after_a_crash():
            mark = hashlib.sha256(repr(sorted(tree.items())).encode()).digest()
            if mark not in known:
                known.add(mark)
                states.append(State(f"{number}, {operation}", tree, tree == disk.seen()))
    return states


def _looked_at(work: Path, versions: dict[str, set[bytes]]) -> list[str]:
    """Problems of a directory after a crash."""
    found = integrity.problems(work / "artifacts")
    for name, data in read_tree(work).items():
        if data is not None and not _is_temporary(name) and data not in versions.get(name, ()):
            found.append(f"{name} is neither old nor new")
    return found


def _without_locks(tree: Tree) -> Tree:
    return {name: data for name, data in tree.items() if integrity.LOCKS not in name.split("/")}


def _is_temporary(name: str) -> bool:
    return integrity.TEMPORARY.fullmatch(name.rpartition("/")[2]) is not None or integrity.LOCKS in name.split("/")
