"""``kill -9`` at random moments of a sweep: finished work is kept, and the same command then ends as if undisturbed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.reliability import integrity
from tests.reliability.command_server import SAME_CODE, CommandServer, Ended, command_server
from tests.reliability.fakes import write_photos
from tests.reliability.real_command import flowernoise, short_and_full

SYNTHETIC = ("run", "synthetic:photos=60,size=32", "--image-size", 32)
ONE_BY_ONE = ("--epochs", 2, "--learning-rate", 0.001, "--l2", 0, "--memory", 0.00001)  # a block for every run
FEATURES = (
    *("--image-size", 16, "--rates", "0.2,0.4,0.6", "--seeds", 4, "--loss", "ce", *ONE_BY_ONE),  # 16 runs
    *("--backbone", "tiny", "--quiet"),
)
FINETUNE = (
    *("--image-size", 32, "--rates", 0.4, "--seeds", 2, "--loss", "ce", "--loss", "mae", "--epochs", 1),
    *("--mode", "finetune", "--backbone", "tiny", "--quiet"),
)
REAL = (
    *(*SYNTHETIC, "--rates", "0.2,0.4", "--seeds", 3, "--loss", "ce", "--loss", "mae", *ONE_BY_ONE),  # 18 runs
    *("--backbone", "efficientnet_lite0:weights=none", "--quiet"),
)
FEW = 20
Start = Callable[[Path], tuple[int, Callable[[], int]]]  # in a directory: its process's id, and what waits for its end


class Kills:
    """Kills a command again and again, and counts the outcomes."""

    def __init__(self, tmp_path: Path, command: Sequence[object], run: Callable[..., Ended]) -> None:
        self.tmp_path, self.command, self._run = tmp_path, command, run
        undisturbed = self._work("undisturbed")
        ended = run(*command, "-a", "artifacts", cwd=undisturbed)
        assert ended.returncode == 0, ended.stderr
        self.seconds = ended.seconds
        self._table = self._compare(undisturbed)
        self._expected = integrity.contents(undisturbed / "artifacts")
        self.files = len(self._expected)
        self.stages: Counter[str] = Counter()
        self._records = self._temporary = 0
        self.failures: list[str] = []

    def kill(self, number: int, start: Start, moment: Moment) -> None:
        """Starts the command afresh, kills it at a moment, looks at what is there, and runs it again."""
        work = self._work(str(number))
        artifacts = work / "artifacts"
        pid, end = start(work)
        moment.wait(artifacts)
        finished = _finished(artifacts)
        (os.killpg if moment.group else os.kill)(pid, signal.SIGKILL)
        code = end()
        if code == 0:
            shutil.rmtree(work)
            self.kill(number, start, moment.earlier())
            return
        assert code == -signal.SIGKILL, code
        self.stages[integrity.stage(artifacts)] += 1
        found = [f"{name} was there and is lost" for name in _lost(finished, _finished(artifacts))]
        found += integrity.problems(artifacts)
        kept = {
            name: mark for name, mark in _finished(artifacts).items() if Path(name).name in integrity.named(artifacts)
        }
        self._records += len(integrity.records(artifacts))
        again = self._run(*self.command, "-a", "artifacts", cwd=work)
        if again.returncode != 0:
            found.append(f"the same command again ends with {again.returncode}: {again.stderr}")
        found += [f"{name} was finished and was made again" for name in _lost(kept, _finished(artifacts))]
        if self._compare(work) != self._table:
            found.append("another table")
        differing = integrity.differences(integrity.contents(artifacts), self._expected)
        found += [f"{name} is not as in the undisturbed sweep" for name in differing]
        self.failures += [f"kill {number}, {moment}: {line}" for line in found]
        self._temporary += sum(name.endswith(".tmp") for name in integrity.litter(artifacts))
        shutil.rmtree(work)

    def summary(self) -> str:
        """The measured line."""
        stages = ", ".join(f"{count} in {stage}" for stage, count in sorted(self.stages.items()))
        return (
            f"{self.stages.total()} kills ({stages}), {self._records} records there when killed, "
            f"{len(self.failures)} lost, corrupt or different; {self._temporary} temporary files left over"
        )

    def _work(self, name: str) -> Path:
        work = self.tmp_path / name
        work.mkdir()
        return work

    def _compare(self, work: Path) -> bytes:
        ended = self._run("compare", "--json", "-a", "artifacts", cwd=work)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


class Moment:
    """When to kill: after some seconds, or some milliseconds after there are so many files."""

    def __init__(self, *, seconds: float, files: int = 0, group: bool = False) -> None:
        self._seconds, self._files, self.group = seconds, files, group

    def wait(self, artifacts: Path) -> None:
        """Waits until it has come."""
        deadline = time.monotonic() + 60
        while self._files and _count(artifacts) < self._files and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(self._seconds)

    def earlier(self) -> Moment:
        """A moment to try where this one came when all was done."""
        return Moment(seconds=0.7 * self._seconds, files=int(0.9 * self._files), group=self.group)

    def __str__(self) -> str:
        return f"{1000 * self._seconds:.1f} ms after the start or after {self._files} files"


def moments(count: int, seconds: float, files: int) -> Iterator[Moment]:
    """As many moments, spread evenly over the seconds of a sweep and, every other one, over its files."""
    chance = random.Random(count)
    for number in range(count):
        share = (number + chance.random()) / count
        group = number % 10 == 1
        if number % 2:
            yield Moment(seconds=chance.random() * 0.02, files=1 + int(share * (files - 1)), group=group)
        else:
            yield Moment(seconds=share * seconds, group=group)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of photos."""
    return write_photos(tmp_path_factory.mktemp("photos"), 60)


def kill_forked(kills: Kills, process: CommandServer, count: int) -> None:
    """Kills a command of the command server at ``count`` moments."""

    def start(work: Path) -> tuple[int, Callable[[], int]]:
        child = process.start(*kills.command, "-a", "artifacts", cwd=work)
        return child.pid, lambda: child.wait().returncode

    for number, moment in enumerate(moments(count, kills.seconds, kills.files)):
        kills.kill(number, start, moment)


@short_and_full(3, 200)
def test_a_sweep_of_heads(
    count: int, commands: CommandServer, tmp_path: Path, photos: Path, measured: Callable[[str], None]
) -> None:
    """In the short form stand-ins compute, in the full one TensorFlow."""
    with command_server("real") if count > FEW else contextlib.nullcontext(commands) as process:
        kills = Kills(tmp_path, ("run", photos, *FEATURES), process.run)
        kill_forked(kills, process, count)
    measured(kills.summary())
    assert not kills.failures, "\n".join(kills.failures)
    if count > FEW:
        assert kills.stages["train or evaluate"] >= 0.3 * count
        assert kills.stages.keys() >= {"prepare", "corrupt", "features or the first run", "compare"}


@pytest.mark.slow
def test_fine_tuning(tmp_path: Path, photos: Path, measured: Callable[[str], None]) -> None:
    with command_server("real") as process:
        kills = Kills(tmp_path, ("run", photos, *FINETUNE), process.run)
        kill_forked(kills, process, 10)
    measured(kills.summary())
    assert not kills.failures, "\n".join(kills.failures)


@pytest.mark.slow
def test_the_real_command(tmp_path: Path, measured: Callable[[str], None]) -> None:
    def run(*arguments: object, cwd: Path) -> Ended:
        started = time.monotonic()
        ended = flowernoise(*arguments, cwd=cwd, env=SAME_CODE)
        return Ended(ended.returncode, ended.stdout.encode(), ended.stderr, time.monotonic() - started)

    def start(work: Path) -> tuple[int, Callable[[], int]]:
        command = [sys.executable, "-m", "flowernoise", *map(str, REAL), "-a", "artifacts"]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(
            command, cwd=work, env={**os.environ, **SAME_CODE}, stdout=quiet, stderr=quiet, start_new_session=True
        )
        return process.pid, lambda: process.wait(timeout=60)

    kills = Kills(tmp_path, REAL, run)
    for number, moment in enumerate(moments(6, kills.seconds, kills.files)):
        kills.kill(number, start, moment)
    measured(kills.summary())
    assert not kills.failures, "\n".join(kills.failures)


def _count(artifacts: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(artifacts))


def _finished(artifacts: Path) -> dict[str, tuple[int, int, int]]:
    """Every file that is no temporary one, with what tells that it was written again."""
    found = {}
    for folder, _, names in os.walk(artifacts):
        for path in (Path(folder, name) for name in names if not integrity.TEMPORARY.fullmatch(name)):
            if "locks" not in path.parts:
                stat = path.stat()
                found[str(path.relative_to(artifacts))] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    return found


def _lost(before: dict[str, tuple[int, int, int]], after: dict[str, tuple[int, int, int]]) -> list[str]:
    return sorted(name for name, mark in before.items() if after.get(name) != mark)
