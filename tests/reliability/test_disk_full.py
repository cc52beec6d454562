"""A disk that fills up, runs out of inodes, becomes read-only or breaks: one error line, nothing lost, no litter.

The disk is a small tmpfs, of a size at which just one file of one stage no longer fits. Where this may not be mounted,
only what is injected is tested.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.reliability import file_operations, integrity
from tests.reliability.command_server import SAME_CODE, CommandServer, Ended, command_server
from tests.reliability.fakes import write_photos
from tests.reliability.real_command import short_and_full

PAGE = 4096
ROOM = 16 << 20
SWEEP = (
    *("--image-size", 16, "--backbone", "tiny", "--rates", "0.2,0.4", "--seeds", 2, "--loss", "ce", "--loss", "mae"),
    *("--epochs", 2, "--learning-rate", 0.001, "--l2", 0, "--memory", 0.00001, "-a", "artifacts", "--quiet"),
)
STAGES = ("prepare", "corrupt", "features", "train", "evaluate")
FOLDERS = {"photos": "prepare", "dataset": "prepare", "draws": "corrupt", "features": "features", "runs": "train"}
NO_SPACE, READ_ONLY = os.strerror(errno.ENOSPC), os.strerror(errno.EROFS)


class TemporaryDisk:
    """A tmpfs at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def mount(self, **options: object) -> None:
        """Mounts it.

        Args:
            options: such as ``size`` in bytes or ``nr_inodes``.
        """
        self._mount("-t", "tmpfs", "-o", _written(options), "tmpfs")

    def change(self, *flags: str, **options: object) -> None:
        """Gives it another size or other flags, such as ``ro``; waits until nobody writes."""
        deadline = time.monotonic() + 30
        while True:
            try:
                return self._mount("-o", ",".join(["remount", *flags, *([_written(options)] if options else [])]))
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise

    def _mount(self, *arguments: str) -> None:
        subprocess.run(["mount", *arguments, str(self.path)], check=True, capture_output=True)

    def unmount(self) -> None:
        """Takes it away, whoever is using it."""
        subprocess.run(["umount", "-l", str(self.path)], check=False, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[TemporaryDisk]:
    """Return a disk to be mounted; skips the test where that is not allowed."""
    temporary_disk = TemporaryDisk(tmp_path / "disk")
    try:
        temporary_disk.mount(size=ROOM)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no tmpfs can be mounted here: {getattr(error, 'stderr', error)!r}")
    temporary_disk.unmount()
    try:
        yield temporary_disk
    finally:
        temporary_disk.unmount()


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a sweep, in the order in which they appear."""

    name: str
    data: bytes

    @property
    def stage(self) -> str:
        """The stage that wrote it."""
        return FOLDERS.get(self.name.replace(".", "/").split("/")[0], "evaluate")

    @property
    def pages(self) -> int:
        """The room that it takes."""
        return -(-len(self.data) // PAGE)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep on an ordinary disk: its command, its files in their order, and its table."""

    command: Sequence[object]
    files: Sequence[File]
    expected: dict[str, bytes]
    stdout: bytes

    def before(self, stage: str) -> list[File]:
        """The files of earlier stages."""
        return [file for file in self.files if STAGES.index(file.stage) < STAGES.index(stage)]


def make_sweep(process: CommandServer, scratch: Path) -> Sweep:
    """Runs the sweep undisturbed."""
    command = ("run", write_photos(scratch / "photos", 36), *SWEEP)
    work = scratch / "undisturbed"
    work.mkdir(parents=True)
    ended = process.run(*command, cwd=work)
    assert ended.returncode == 0, ended.stderr
    expected = integrity.contents(work / "artifacts")
    paths = sorted((work / "artifacts" / name for name in expected), key=lambda path: path.stat().st_mtime_ns)
    names = [str(path.relative_to(work / "artifacts")) for path in paths]
    files = [File(name, expected[name]) for name in names if not name.startswith("comparisons/")]
    return Sweep(command, files, expected, ended.stdout)


@dataclasses.dataclass(frozen=True, eq=False)
class Full:
    """A disk on which the file number ``last`` of a sweep lacks ``missing`` pages; earlier stages are there."""

    sweep: Sweep
    last: int
    missing: int

    @property
    def stage(self) -> str:
        """The stage that cannot end."""
        return self.sweep.files[self.last].stage

    @property
    def there(self) -> list[File]:
        """What is there before."""
        return self.sweep.before(self.stage)

    @property
    def size(self) -> int:
        """Bytes of the disk."""
        return PAGE * (sum(file.pages for file in self.sweep.files[: self.last + 1]) - self.missing)

    def __str__(self) -> str:
        return f"{self.size >> 10} KiB, where {self.sweep.files[self.last].name} lacks {self.missing * PAGE >> 10}"


def full_disks(sweep: Sweep, count: int) -> list[Full]:
    """So many different disks, by chance, taken in turn from the stages as long as they have some."""
    every = [Full(sweep, last, m) for last, file in enumerate(sweep.files) for m in range(1, file.pages + 1)]
    every = [full for full in every if full.size]  # 0 would mean that there is no limit
    random.Random(0).shuffle(every)
    by_stage = [[full for full in every if full.stage == stage] for stage in ("train", "prepare", *STAGES[1:])]
    in_turn = [full for row in itertools.zip_longest(*by_stage) for full in row if full is not None]
    return list(dict.fromkeys(in_turn))[:count]


@pytest.fixture(scope="module")
def sweep(commands: CommandServer, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Return a sweep in which stand-ins have computed."""
    return make_sweep(commands, tmp_path_factory.mktemp("sweep"))


FEW = 5
REFUSED = ("sync", "rename", "create", "write", "mkdir")


@short_and_full(3, 20)
def test_a_full_disk(
    count: int, commands: CommandServer, tmp_path: Path, disk: TemporaryDisk, measured: Callable[[str], None]
) -> None:
    """In the short form stand-ins compute, in the full one TensorFlow."""
    with command_server("real") if count > FEW else contextlib.nullcontext(commands) as process:
        sweep = make_sweep(process, tmp_path)
        stages: Counter[str] = Counter()
        failures: list[str] = []
        for full in full_disks(sweep, count):
            disk.mount(size=full.size)
            put(disk.path / "artifacts", full.there)
            before = state_of(disk.path / "artifacts")
            found = refused(process.run(*sweep.command, cwd=disk.path), NO_SPACE, str(Path("artifacts")))
            found += spoilt(disk.path / "artifacts", before)
            stages[full.stage] += 1
            disk.change(size=ROOM)
            found += gone_on(process.run(*sweep.command, cwd=disk.path), disk.path / "artifacts", sweep)
            disk.unmount()
            failures += [f"{full}: {line}" for line in found]
    in_stages = ", ".join(f"{number} in {stage}" for stage, number in stages.items())
    measured(f"{count} sizes ({in_stages}), {len(failures)} not as they should be")
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize(
    "full",
    [pytest.param(0, id="nothing there"), pytest.param(-2, id="all but the evaluation there", marks=pytest.mark.slow)],
)
def test_no_inodes(full: int, sweep: Sweep, commands: CommandServer, disk: TemporaryDisk) -> None:
    there = list(sweep.files)[:full] if full else []
    folders = {Path(file.name).parent for file in there} - {Path()}
    disk.mount(size=ROOM, nr_inodes=2 + len(there) + len(folders))
    put(disk.path / "artifacts", there)
    before = state_of(disk.path / "artifacts")
    failures = refused(commands.run(*sweep.command, cwd=disk.path), NO_SPACE, "artifacts")
    failures += spoilt(disk.path / "artifacts", before)
    disk.change(nr_inodes=1000)
    failures += gone_on(commands.run(*sweep.command, cwd=disk.path), disk.path / "artifacts", sweep)
    assert not failures, "\n".join(failures)


@pytest.mark.slow
@pytest.mark.parametrize("there", [3, 7, 20])
def test_read_only_in_the_middle(there: int, sweep: Sweep, commands: CommandServer, disk: TemporaryDisk) -> None:
    for seconds in (0.05, 0.2, 0.8):  # on a busy machine the sweep may end before the disk can be changed
        disk.mount(size=ROOM)
        slowly = ("file_operations", "slow", {"root": str(disk.path), "seconds": seconds})
        child = commands.start(*sweep.command, cwd=disk.path, before=slowly)
        while len(state_of(disk.path)) < there:
            time.sleep(0.001)
        disk.change("ro")
        before = state_of(disk.path / "artifacts")
        ended = child.wait()
        disk.change("rw")
        if ended.returncode:
            break
        disk.unmount()
    failures = refused(ended, READ_ONLY, "artifacts")
    # A temporary file that was there at that moment cannot be removed.
    failures += [line for line in spoilt(disk.path / "artifacts", before) if not line.endswith(".tmp is litter")]
    failures += gone_on(commands.run(*sweep.command, cwd=disk.path), disk.path / "artifacts", sweep)
    assert not failures, "\n".join(failures)


@short_and_full(1, 12)
def test_an_error_from_the_disk(
    count: int, sweep: Sweep, commands: CommandServer, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """Of each kind of operation so many are refused, spread over the sweep, with an error of input and output or quota.

    Once an operation is refused, all later ones of its kind are.
    """
    log = tmp_path / "operations"
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    recording = ("file_operations", "record", {"root": str(undisturbed), "log": str(log)})
    assert commands.run(*sweep.command, cwd=undisturbed, before=recording).returncode == 0
    kinds = Counter(each.kind for each in file_operations.read(log) if "comparisons" not in each.path)
    failures: list[str] = []
    chosen = [
        (kind, number)
        for kind in (REFUSED if count > 1 else REFUSED[:2])
        for number in sorted({(2 * k + 1) * kinds[kind] // (2 * count) for k in range(count)})
    ]
    for which, (kind, number) in enumerate(chosen):
        error = (errno.EIO, errno.EDQUOT)[which % 2]
        work = tmp_path / f"{kind} {number}"
        work.mkdir()
        where = {"root": str(work), "kind": kind, "number": number, "errno": error}
        ended = commands.run(*sweep.command, cwd=work, before=("file_operations", "fail", where))
        found = refused(ended, os.strerror(error), "artifacts")
        found += spoilt(work / "artifacts", {})
        found += gone_on(commands.run(*sweep.command, cwd=work), work / "artifacts", sweep)
        failures += [f"{kind} {number}, {os.strerror(error)}: {line}" for line in found]
        shutil.rmtree(work)
    measured(f"{len(chosen)} refused operations, {len(failures)} not as they should be")
    assert not failures, "\n".join(failures)


OUTPUTS: dict[str, tuple[object, ...]] = {
    "compare": ("compare", "--format", "json", "--output"),
    "export": ("corrupt", "--rates", "0.2,0.4", "--seeds", 2, "--export"),
    "preview": ("preview", "--output"),
    "plot": ("plot", "accuracy", "--output"),
    "report": ("report", "--output"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ("compare", "export") else [pytest.mark.slow]) for name in OUTPUTS]
)
def test_an_output_onto_a_full_disk(
    name: str, sweep: Sweep, commands: CommandServer, tmp_path: Path, disk: TemporaryDisk
) -> None:
    put(tmp_path / "artifacts", sweep.files)
    disk.mount(size=3 * PAGE)
    (disk.path / "filler").write_bytes(bytes(2 * PAGE))
    target = disk.path / ("file.json" if name in ("compare", "export") else "folder")
    if target.suffix:
        target.write_bytes(b"what was there")
    before = state_of(disk.path)
    ended = commands.run(*OUTPUTS[name], target, "-a", "artifacts", "--quiet", cwd=tmp_path)
    assert not refused(ended, NO_SPACE, str(target))
    assert state_of(disk.path) == before


@pytest.mark.parametrize("command", ["list", pytest.param("compare --json", marks=pytest.mark.slow)])
def test_stdout_onto_a_full_disk(command: str, sweep: Sweep, tmp_path: Path) -> None:
    put(tmp_path / "artifacts", sweep.files)
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "flowernoise", *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **SAME_CODE},
            check=False,
            timeout=120,
        )
    assert not refused(Ended(ended.returncode, b"", ended.stderr, 0.0), NO_SPACE, "standard output")


@pytest.mark.slow
def test_no_room_for_temporary_files_while_features_are_extracted(tmp_path: Path, disk: TemporaryDisk) -> None:
    """OpenVINO converts a network through files in TMPDIR, if through any."""
    disk.mount(size=PAGE)
    (disk.path / "filler").write_bytes(bytes(PAGE))
    with command_server("real") as process:
        sweep = make_sweep(process, tmp_path / "sweep")
        put(tmp_path / "artifacts", sweep.before("features"))
        ended = process.run(*sweep.command, cwd=tmp_path, env={"TMPDIR": str(disk.path)})
        if ended.returncode != 0:
            assert not refused(ended, NO_SPACE, str(disk.path))
            ended = process.run(*sweep.command, cwd=tmp_path)
        assert not gone_on(ended, tmp_path / "artifacts", sweep)


def put(root: Path, files: Sequence[File]) -> None:
    """Writes files of a sweep where they belong."""
    root.mkdir()
    for file in files:
        (root / file.name).parent.mkdir(exist_ok=True)
        (root / file.name).write_bytes(file.data)


def state_of(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every file that is no temporary one, with its content and the time of its last change."""
    found = {}
    for path in sorted(root.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and not integrity.TEMPORARY.fullmatch(path.name):
                found[str(path.relative_to(root))] = (path.read_bytes(), path.stat().st_mtime_ns)
    return found


def refused(ended: Ended, reason: str, path: str) -> list[str]:
    """What is wrong with how a command has refused: 1, and one line with a path and the system's reason."""
    found = []
    if ended.returncode != 1:
        found.append(f"ended with {ended.returncode}")
    lines = ended.lines
    if len(lines) != 1 or not lines[0].startswith("error: "):
        return [*found, f"not one line that begins with error: {ended.stderr!r}"]
    found += [f"no {part!r} in {lines[0]!r}" for part in (reason, path) if part not in lines[0]]
    return found


def spoilt(artifacts: Path, before: dict[str, tuple[bytes, int]]) -> list[str]:
    """What a refusal has spoilt: files there before, records, and litter other than unfinished features."""
    if not artifacts.exists():
        return []
    after = state_of(artifacts)
    found = [f"{name} was there and has changed" for name, was in before.items() if after.get(name) != was]
    found += integrity.problems(artifacts)
    return found + [f"{name} is litter" for name in integrity.litter(artifacts) if not name.startswith("features/")]


def gone_on(ended: Ended, artifacts: Path, sweep: Sweep) -> list[str]:
    """In what the same command, with room again, leads elsewhere than on an ordinary disk."""
    if ended.returncode != 0:
        return [f"with room again it ends with {ended.returncode}: {ended.stderr!r}"]
    found = [f"{name} is other" for name in integrity.differences(integrity.contents(artifacts), sweep.expected)]
    return found if ended.stdout == sweep.stdout else [*found, "another table"]


def _written(options: dict[str, object]) -> str:
    return ",".join(f"{name}={value}" for name, value in options.items())
