"""Several sweeps at once in one directory: the union of all, each run trained once, conflicts told."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowernoise.store import datasets, runs
from flowernoise.store.layout import Layout
from tests.reliability import integrity
from tests.reliability.command_server import Before, Warm, warm
from tests.reliability.fakes import write_photos
from tests.reliability.real_command import short_and_full
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
def commands() -> Iterator[Warm]:
    with warm("stand-ins") as process:
        yield process


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("source") / "photos", 60)


def together(commands: Warm, photos: Path, work: Path, number: int, before: Before | None) -> tuple[list[str], int]:
    """Runs ``number`` sweeps at once, each with a loss of its own and one that all have.

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
    trained = sum(int(number) for each in ended for number in re.findall(r"^(\d+) runs trained", each.stderr, re.M))
    return [f"exit {each.returncode}: {each.stderr}" for each in ended if each.returncode != 0], trained


def there(artifacts: Path) -> int:
    """How many runs are there."""
    layout = Layout(artifacts)
    return len(runs.live(runs.blocks(layout, datasets.need(layout).id)))


@pytest.mark.parametrize("locks", ["working", "useless"])
@pytest.mark.parametrize("number", [2, 8])
@short_and_full(1, 13)
def test_sweeps_at_once_make_the_union(
    count: int,
    number: int,
    locks: str,
    commands: Warm,
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


@short_and_full(1, 10)
def test_of_two_that_conflict_the_second_is_told(
    count: int, commands: Warm, photos: Path, tmp_path: Path, measured: Callable[[str], None]
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
        trained = {key.setup.epochs for key in runs.live(runs.blocks(Layout(base), datasets.need(Layout(base)).id))}
        told += [] if trained >= {2 + 2 * attempt, 3 + 2 * attempt} else [f"runs are missing: {trained}"]
    measured(f"{count} conflicting requests, {len(told)} not told with exit 2, or another one disturbed")
    assert not told


@may_be_late
@short_and_full(2, 50)
def test_what_the_dead_have_claimed_is_taken_over_at_once(
    count: int, commands: Warm, photos: Path, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    from flowernoise.progress import Silent
    from flowernoise.store import claims

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
    import os

    os.kill(pid, signal.SIGKILL)


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "nothing happened within a minute"
        time.sleep(0.01)
