"""Several sweeps at once in one directory: they make the union, train each run once, and report conflicts."""

from __future__ import annotations

import collections
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flowernoise.progress import Silent
from flowernoise.store import claims
from flowernoise.store.artifacts import Artifacts
from flowernoise.store.layout import Layout
from tests.reliability import integrity
from tests.reliability.command_server import SAME_CODE, Before, CommandServer
from tests.reliability.fakes import write_photos
from tests.reliability.real_command import flowernoise, short_and_full
from tests.timing import assert_in_time, may_be_late

LOSSES = ("mae", "gce", "sce", "focal", "taylor", "js", "agce", "rce")
SWEEP = (
    *("--image-size", 16, "--backbone", "tiny", "--rates", "0.2,0.4", "--seeds", 2, "--epochs", 2),
    *("--learning-rate", 0.001, "--l2", 0, "--memory", 0.00001),  # a block for every run
)
DRAWS = 6
USELESS: Before = ("fault_injection", "useless_locks", {"seconds": 0.1})
SLOW: Before = ("fault_injection", "slow_training", {"seconds": 0.3})


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("source") / "photos", 60)


def together(
    commands: CommandServer, photos: Path, work: Path, number: int, before: Before | None
) -> tuple[list[str], int]:
    """Runs ``number`` sweeps at once; each has a loss of its own and one that all share.

    Returns:
        what ended badly, and how many runs were trained by all of them.
    """
    chance = random.Random(str(work))
    children = []
    for loss in LOSSES[:number]:
        sweep = ("run", photos, *SWEEP, "--loss", "ce", "--loss", loss, "-a", "artifacts")
        children.append(commands.start(*sweep, cwd=work, before=before))
        time.sleep(chance.uniform(0, 0.2))
    ended = [child.wait() for child in children]
    trained = sum(
        int(number) for each in ended for number in re.findall(r"^(?:train: )?(\d+) runs trained", each.stderr, re.M)
    )
    return [f"exit {each.returncode}: {each.stderr}" for each in ended if each.returncode != 0], trained


def there(artifacts: Path) -> int:
    """How many runs exist."""
    return len(Artifacts(artifacts).runs())


@pytest.mark.parametrize("locks", ["working", "useless"])
@pytest.mark.parametrize("number", [2, 8])
@short_and_full(1, 13)
def test_simultaneous_sweeps_make_the_union(
    count: int,
    number: int,
    locks: str,
    commands: CommandServer,
    photos: Path,
    tmp_path: Path,
    measured: Callable[[str], None],
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    every = [argument for loss in ("ce", *LOSSES[:number]) for argument in ("--loss", loss)]
    assert commands.run("run", photos, *SWEEP, *every, "-a", "artifacts", cwd=alone).returncode == 0
    expected = commands.run("compare", "--json", "-a", "artifacts", cwd=alone).stdout
    wrong, twice = [], 0
    for attempt in range(count):
        work = tmp_path / str(attempt)
        work.mkdir()
        ended, trained = together(commands, photos, work, number, USELESS if locks == "useless" else None)
        wrong += ended
        twice += trained - DRAWS * (1 + number)
        if there(work / "artifacts") != DRAWS * (1 + number):
            wrong.append(f"{there(work / 'artifacts')} runs, not {DRAWS * (1 + number)}")
        wrong += integrity.problems(work / "artifacts")
        for command in ("evaluate", "verify"):
            ended = commands.run(command, "-a", "artifacts", cwd=work)
            wrong += [f"{command}: {ended.stderr}"] if ended.returncode else []
        if commands.run("compare", "--json", "-a", "artifacts", cwd=work).stdout != expected:
            wrong.append("another table than of one sweep with all losses")
        if locks == "working":
            wrong += [f"left over: {name}" for name in integrity.litter(work / "artifacts")]
            left = [path.name for path in (work / "artifacts" / "locks").iterdir()]
            wrong += [f"locks left over: {left}"] if left != ["directory.lock"] else []
    measured(f"{count} times {number} sweeps, locks {locks}: {len(wrong)} not whole, {twice} runs trained twice")
    assert not wrong
    assert (twice == 0) == (locks == "working")


FOUR = 4
SHARED = ("--backbone", "tiny", "--epochs", 2, "--learning-rate", 0.001, "--l2", 0, "--memory", 0.00001)
UNITS = 3 * 5 * 2 + 5 * 2  # losses, rates with the control, seeds; the first stages of `forward`


def prepared(commands: CommandServer, photos: Path, work: Path) -> Path:
    """An artifacts directory with draws at five rates, the control among them, for two seeds."""
    base = work / "artifacts"
    for words in (("prepare", photos, "--image-size", 16), ("corrupt", "--rates", "0.1,0.2,0.3,0.4", "--seeds", 2)):
        assert commands.run(*words, "-q", "-a", base, cwd=work).returncode == 0
    return base


def units_in(log: Path) -> dict[str, list[str]]:
    """The processes that trained each unit, from the log of :func:`fault_injection.logged_training`."""
    found: dict[str, list[str]] = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        process, unit = line.split()
        found.setdefault(unit, []).append(process)
    return found


@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "one is killed"])
@short_and_full(1, 20)
def test_the_same_command_four_times_shares_the_units(
    count: int, killed: bool, commands: CommandServer, photos: Path, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """Includes first stages. Byte for byte, a shared sweep gives the same result as a single one."""
    base = prepared(commands, photos, tmp_path)
    train = ("train", *SHARED, "--loss", "ce", "--loss", "mae", "--loss", "forward", "-a", "artifacts")

    def place(name: str, log: Path) -> tuple[Path, Before]:
        shutil.copytree(base, tmp_path / name / "artifacts")
        return tmp_path / name, ("fault_injection", "logged_training", {"seconds": 0.1, "log": str(log)})

    alone, before = place("alone", tmp_path / "alone.log")
    lone = commands.run(*train, cwd=alone, before=before)
    assert lone.returncode == 0, lone.stderr
    expected, made = integrity.contents(alone / "artifacts"), units_in(tmp_path / "alone.log")
    assert len(made) == UNITS
    wrong, seconds, most = [], 0.0, 0
    for attempt in range(count):
        log = tmp_path / f"{attempt}.log"
        work, before = place(str(attempt), log)
        started = time.monotonic()
        children = [commands.start(*train, cwd=work, before=before) for _ in range(FOUR)]
        if killed:
            _until(lambda log=log: len(units_in(log)) > UNITS // 3)
            _kill(children[0].pid)
        ended = [child.wait() for child in children]
        seconds += time.monotonic() - started
        wrong += [f"exit {each.returncode}: {each.stderr}" for each in ended[killed:] if each.returncode != 0]
        units = units_in(log)
        twice = sum(len(processes) - 1 for processes in units.values())
        most = max(most, *collections.Counter(p for each in units.values() for p in each).values())
        wrong += ["other units than alone"] if units.keys() != made.keys() else []
        wrong += [f"{twice} units trained twice"] if twice > killed else []
        wrong += ["a process trained nothing"] if len({p for each in units.values() for p in each}) < FOUR else []
        wrong += integrity.differences(integrity.contents(work / "artifacts"), expected)
        wrong += integrity.litter(work / "artifacts") if not killed else []
    measured(
        f"{count} times {FOUR} processes, {UNITS} units: {seconds / count:.1f} s, alone {lone.seconds:.1f} s; "
        f"one process had {most} at most; {len(wrong)} not as alone"
    )
    assert not wrong


def test_the_same_command_four_times_shares_the_shards_of_an_extraction(
    commands: CommandServer, photos: Path, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    base = prepared(commands, photos, tmp_path)
    shutil.copytree(base, tmp_path / "alone" / "artifacts")
    log, train = tmp_path / "shared.log", ("train", *SHARED, "--loss", "ce", "-a", "artifacts")

    def before(log: Path) -> Before:
        return ("fault_injection", "logged_extraction", {"seconds": 0.2, "photos": 6, "log": str(log)})

    assert commands.run(*train, cwd=tmp_path / "alone", before=before(tmp_path / "alone.log")).returncode == 0
    children = [commands.start(*train, cwd=tmp_path, before=before(log)) for _ in range(FOUR)]
    ended = [child.wait() for child in children]
    assert [each.returncode for each in ended] == [0] * FOUR, ended
    shards = units_in(log)
    measured(f"{len(shards)} shards by {len({p for each in shards.values() for p in each})} processes")
    assert shards.keys() == units_in(tmp_path / "alone.log").keys()
    assert len(shards) == 10
    assert all(len(processes) == 1 for processes in shards.values())
    assert len({p for each in shards.values() for p in each}) == FOUR
    assert not integrity.differences(integrity.contents(base), integrity.contents(tmp_path / "alone" / "artifacts"))


def test_the_real_command_four_times_shares_a_sweep(tmp_path: Path, measured: Callable[[str], None]) -> None:
    """Twelve runs, six of them with a first stage; all four processes are made to begin at one moment."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    train = (
        *("train", "--backbone", "efficientnet_lite0:weights=none", "--epochs", 20, "--memory", 0.00001),
        *("--learning-rate", 0.001, "--l2", 0, "--loss", "ce", "--loss", "forward"),
    )
    started = 0.0
    for words in (
        ("prepare", "synthetic:photos=60,size=32", "--image-size", 32, "-q"),
        ("corrupt", "--rates", "0.1,0.2,0.3,0.4,0.5", "--seeds", 1, "-q"),
        train,
    ):
        started = time.monotonic()
        ended = flowernoise(*words, "-a", alone, cwd=tmp_path, env=SAME_CODE, timeout=300)
        assert ended.returncode == 0, ended.stderr
    seconds_alone = time.monotonic() - started
    shutil.copytree(alone, shared)
    for folder in ("runs", "first_stages"):  # the features stay
        shutil.rmtree(shared / folder)
    outputs = [tmp_path / f"{number}.txt" for number in range(FOUR)]
    with claims.exclusive(Layout(shared), "remove", Silent()):  # which everybody waits for
        processes = [real_command(*train, "-a", shared, said=path) for path in outputs]
        _until(lambda: all("waiting for remove" in path.read_text() for path in outputs))
        started = time.monotonic()
    assert [process.wait(timeout=300) for process in processes] == [0] * FOUR
    seconds = time.monotonic() - started
    trained = [int(re.findall(r"^(?:train: )?(\d+) runs trained", path.read_text(), re.M)[0]) for path in outputs]
    measured(f"{sum(trained)} runs by {FOUR} processes in {seconds:.1f} s: {trained}; alone {seconds_alone:.1f} s")
    assert sum(trained) == 12
    assert min(trained) >= 1
    assert not integrity.differences(integrity.contents(shared), integrity.contents(alone))


def real_command(*arguments: object, said: Path) -> subprocess.Popen[bytes]:
    """Starts the real command; all that it says goes to a file."""
    command = [sys.executable, "-m", "flowernoise", *map(str, arguments)]
    with said.open("wb") as file:
        return subprocess.Popen(command, env={**os.environ, **SAME_CODE}, stdout=file, stderr=file)


@short_and_full(1, 10)
def test_the_second_of_two_conflicting_sweeps_is_refused(
    count: int, commands: CommandServer, photos: Path, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    base = tmp_path / "artifacts"
    assert commands.run("prepare", photos, "--image-size", 16, "-a", base, cwd=tmp_path).returncode == 0
    assert commands.run("corrupt", "--rates", 0.2, "--seeds", 2, "-a", base, cwd=tmp_path).returncode == 0
    told = []
    for attempt in range(count):
        training = ("train", "--backbone", "tiny", "--memory", 0.00001, "-a", base)
        first = commands.start(*training, "--epochs", 2 + 2 * attempt, cwd=tmp_path, before=SLOW)
        _until(lambda: any((base / "locks").glob("train-*.json")))
        ended = commands.run("prepare", photos, "--image-size", 16, "--seed", 1, "-a", base, cwd=tmp_path)
        lines = ended.stderr.splitlines()
        right = ended.returncode == 2 and len(lines) == 1 and f"(process {first.pid} on " in lines[0]
        told += [] if right else [f"prepare: {ended}"]
        ended = commands.run(*training, "--epochs", 3 + 2 * attempt, cwd=tmp_path)  # other runs, so no conflict
        told += [] if ended.returncode == 0 else [f"other settings: {ended}"]
        ended = first.wait()
        told += [] if ended.returncode == 0 else [f"the first: {ended}"]
        trained = {run.settings["epochs"] for run in Artifacts(base).runs()}
        told += [] if trained >= {2 + 2 * attempt, 3 + 2 * attempt} else [f"runs are missing: {trained}"]
    measured(f"{count} conflicting requests, {len(told)} not told with exit 2, or another one disturbed")
    assert not told


@may_be_late
@short_and_full(2, 50)
def test_claims_of_killed_processes_are_taken_over_at_once(
    count: int, commands: CommandServer, photos: Path, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    base, slowest = tmp_path / "artifacts", 0.0
    assert commands.run("prepare", photos, "--image-size", 16, "-a", base, cwd=tmp_path).returncode == 0
    assert commands.run("corrupt", "--rates", 0.2, "--seeds", 2, "-a", base, cwd=tmp_path).returncode == 0
    for attempt in range(count):
        training = ("train", "--backbone", "tiny", "--memory", 0.00001, "--epochs", 2 + attempt, "-a", base)
        child = commands.start(*training, cwd=tmp_path, before=SLOW)
        _until(lambda: any((base / "locks").glob("train-*.json")))
        _kill(child.pid)
        assert child.wait().returncode == -signal.SIGKILL
        assert any((base / "locks").glob("train-*.json"))
        started = time.monotonic()
        with claims.claimed(Layout(base), Silent(), lambda others: claims.Claim("prepare") if not others else None):
            slowest = max(slowest, time.monotonic() - started)
            assert [path.name for path in (base / "locks").glob("train-*")] == []
        assert commands.run(*training, cwd=tmp_path).returncode == 0
    measured(f"{count} claims of killed processes, taken over after {slowest:.3f} s at most")
    assert_in_time(slowest, 1)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "nothing happened within a minute"
        time.sleep(0.01)
