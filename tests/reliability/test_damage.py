"""Flipped bytes and truncated files anywhere in a directory: they are reported, noticed before use, and repaired."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowernoise.progress import Silent
from flowernoise.steps.verify import verify
from tests.reliability import integrity
from tests.reliability.command_server import CommandServer
from tests.reliability.fakes import swept
from tests.reliability.real_command import short_and_full

SMALL = 16 * 1024  # bytes up to which the full form flips every byte
SAMPLES = 2000  # of a larger file
SWEEP = (
    *("--image-size", 16, "--backbone", "tiny", "--rates", 0.4, "--seeds", 2, "--epochs", 2),
    *("--learning-rate", 0.001, "--l2", 0, "--loss", "ce", "--loss", "mae"),
)


@pytest.fixture(scope="module")
def sweep(commands: CommandServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished sweep: photos/ and artifacts/."""
    return swept(commands, tmp_path_factory.mktemp("sweep"), *SWEEP)


@pytest.fixture(scope="module")
def smallest(sweep: Path, commands: CommandServer) -> Path:
    """Return an artifacts directory of two draws and a run on each, which is verified in a moment."""
    words = [*SWEEP[: SWEEP.index("--loss")], "--seeds", 1, "--loss", "ce"]
    ended = commands.run("run", "photos", *words, "-a", "smallest", cwd=sweep)
    assert ended.returncode == 0, ended.stderr
    return sweep / "smallest"


def files_of(artifacts: Path) -> list[Path]:
    return [path for path in sorted(artifacts.rglob("*")) if path.is_file() and path.parent.name != "locks"]


def harms(data: bytes, flips: int, cuts: int, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Copies of a file's bytes with one byte other than it was, and cut short: all of them, or as many as said."""
    flipped = range(len(data)) if len(data) <= flips else sorted(chance.sample(range(len(data)), flips))
    for position in flipped:
        damaged = bytearray(data)
        damaged[position] ^= chance.choice((0x01, 0x04, 0x20, 0x80, 0xFF))
        yield f"byte {position}", bytes(damaged)
    lengths = range(len(data)) if len(data) <= cuts else sorted(chance.sample(range(len(data)), cuts))
    for length in lengths:
        yield f"cut to {length}", data[:length]


def test_verify_finds_an_intact_directory_intact(sweep: Path) -> None:
    found = verify(sweep / "artifacts", Silent())
    assert not found.problems
    assert sum(row.files for row in found.checked) == len(files_of(sweep / "artifacts"))


@pytest.mark.parametrize("form", ["short", pytest.param("full", marks=pytest.mark.slow)])
def test_verify_names_every_damaged_file(
    form: str, smallest: Path, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    artifacts = tmp_path / "artifacts"
    shutil.copytree(smallest, artifacts)
    chance, tried, unnamed = random.Random(3), 0, []
    for path in files_of(artifacts):
        data = path.read_bytes()
        every = form == "full" and len(data) <= SMALL
        most = len(data) if every else SAMPLES if form == "full" else 6
        for what, damaged in harms(data, most, most, chance):
            path.write_bytes(damaged)
            tried += 1
            if str(path) not in {problem.path for problem in verify(artifacts, Silent()).problems}:
                unnamed.append(f"{path.name}: {what}")
        path.write_bytes(data)
    measured(f"{tried} flips and truncations of {len(files_of(artifacts))} files, {len(unnamed)} not named by verify")
    assert not unnamed


@short_and_full(1, 12)
def test_damage_is_noticed_before_use_and_made_good(
    count: int, sweep: Path, commands: CommandServer, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """The same sweep over a damaged directory says what is wrong, makes it again, and ends with the same bytes."""
    expected = integrity.contents(sweep / "artifacts")
    chance, tried, wrong = random.Random(4), 0, []
    shutil.copytree(sweep / "photos", tmp_path / "photos", copy_function=shutil.copy2)
    for original in files_of(sweep / "artifacts"):
        name = original.relative_to(sweep / "artifacts")
        for what, damaged in harms(original.read_bytes(), count, count, chance):
            artifacts = tmp_path / "artifacts"
            shutil.copytree(sweep / "artifacts", artifacts)
            (artifacts / name).write_bytes(damaged)
            # Features are used only while something is trained: a further loss needs them.
            further = ("--loss", "gce") if name.parts[0] == "features" else ()
            ended = commands.run("run", "photos", *SWEEP, *further, "-a", "artifacts", cwd=tmp_path)
            found = {k: v for k, v in integrity.contents(artifacts).items() if not k.endswith(".damaged")}
            differing = [each for each in integrity.differences(found, expected) if not further or each == str(name)]
            tried += 1
            if ended.returncode or differing or str(name) not in ended.stderr:
                wrong.append(f"{name}, {what}: exit {ended.returncode}, other: {differing}, said: {ended.stderr[:300]}")
            shutil.rmtree(artifacts)
    measured(f"{tried} damaged directories, {len(wrong)} not named and rebuilt byte for byte by the same command")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("command", "pattern"),
    [
        ("corrupt", "dataset.json"),
        ("train --backbone tiny", "photos/*.csv"),
        ("train --backbone tiny", "draws/*.json"),
        ("train --backbone tiny --epochs 3", "draws/*.h5"),
        ("evaluate", "runs/*.json"),
        ("compare", "evaluation.json"),
        ("compare --metric nll", "runs/*.h5"),
        ("compare --metric mcc", "evaluation-*.h5"),
        ("compare", "preset.json"),
        ("plot memorisation", "runs/*.h5"),
        ("preview", "photos/*.tar"),
        ("preview", "draws/*.h5"),
    ],
)
def test_a_single_stage_refuses_what_it_cannot_make_again(
    command: str, pattern: str, sweep: Path, commands: CommandServer, tmp_path: Path
) -> None:
    artifacts = tmp_path / "artifacts"
    shutil.copytree(sweep / "artifacts", artifacts)
    path = next(iter(artifacts.glob(pattern)), artifacts / pattern)
    data = bytearray(path.read_bytes() if path.exists() else b"{}")
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    ended = commands.run(*command.split(), "-a", "artifacts", cwd=tmp_path)
    assert ended.returncode == 1, ended
    assert [path.name in line for line in ended.stderr.splitlines()] == [True]


@pytest.mark.parametrize(
    ("folder", "suffix"),
    [
        *((folder, suffix) for folder in ("draws", "features", "runs", "evaluation") for suffix in (".json", ".h5")),
        ("comparisons", ".json"),
    ],
)
def test_repair_makes_good_what_records_describe(
    folder: str, suffix: str, sweep: Path, commands: CommandServer, tmp_path: Path
) -> None:
    shutil.copytree(sweep / "artifacts", tmp_path / "artifacts")
    harmed = [
        p for p in files_of(tmp_path / "artifacts") if folder in str(p.relative_to(tmp_path)) and p.suffix == suffix
    ]
    harmed[0].write_bytes(harmed[0].read_bytes()[:-3])
    table = commands.run("compare", "--json", "-a", "artifacts", cwd=sweep).stdout
    ended = commands.run("verify", "--repair", "-a", "artifacts", cwd=tmp_path)
    assert ended.returncode == 0, ended
    assert f"repaired: {Path('artifacts') / harmed[0].relative_to(tmp_path / 'artifacts')}" in ended.stdout.decode()
    assert commands.run("verify", "-a", "artifacts", cwd=tmp_path).returncode == 0
    assert commands.run("compare", "--json", "-a", "artifacts", cwd=tmp_path).stdout == table


def test_repair_reads_no_photos_that_only_a_record_names(sweep: Path, commands: CommandServer, tmp_path: Path) -> None:
    shutil.copytree(sweep / "photos", tmp_path / "photos")
    shutil.copytree(sweep / "artifacts", tmp_path / "artifacts")
    next((tmp_path / "artifacts").glob("photos/*.tar")).unlink()
    ended = commands.run("verify", "--repair", "-a", "artifacts", cwd=tmp_path)
    assert ended.returncode == 1
    assert "photos are read only from places that you name; run `flowernoise prepare folder:photos" in ended.stderr
    assert not list((tmp_path / "artifacts").glob("photos/*.tar"))
