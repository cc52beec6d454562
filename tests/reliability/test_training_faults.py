"""Impossible trainings: either one run is marked as failed and the rest goes on, or all is refused at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.reliability import integrity
from tests.reliability.command_server import CommandServer
from tests.reliability.fakes import write_photos

SWEEP = ("--image-size", 16, "--backbone", "tiny", "--seeds", 1, "--epochs", 2, "--quiet")


def run(real_commands: CommandServer, work: Path, *words: object) -> Any:
    return real_commands.run("run", "photos", *SWEEP, *words, "-a", "artifacts", cwd=work)


@pytest.mark.parametrize(
    ("words", "failed", "of"),
    [
        (("--rates", 0.4, "--learning-rate", 1e38, "--l2", 0, "--optimizer", "sgd", "--loss", "ce"), 2, 2),
        (("--rates", 0.4, "--learning-rate", 1e-3, "--l2", 1e38, "--optimizer", "sgd", "--loss", "ce"), 2, 2),
        (("--rates", 0.4, "--learning-rate", "1e-3,1e38", "--l2", 0, "--optimizer", "sgd", "--loss", "ce"), 0, 2),
    ],
    ids=["learning rate", "l2", "one point of a grid"],
)
def test_a_run_that_diverges_is_marked_and_the_rest_goes_on(
    words: tuple[object, ...],
    failed: int,
    of: int,
    real_commands: CommandServer,
    tmp_path: Path,
    measured: Callable[[str], None],
) -> None:
    write_photos(tmp_path / "photos", 60)
    ended = run(real_commands, tmp_path, *words)
    assert ended.returncode == (3 if failed else 0), ended
    if failed:
        (line,) = (line for line in ended.stderr.splitlines() if line.startswith("error: "))
        assert f"{failed} of {of} runs failed, the others are kept" in line
        assert "diverged" in line
    assert "nan" not in ended.stdout.decode().lower()
    before = integrity.contents(tmp_path / "artifacts")
    again = run(real_commands, tmp_path, *words)
    assert again.returncode == ended.returncode
    assert integrity.contents(tmp_path / "artifacts") == before
    table = json.loads(real_commands.run("compare", "--json", "-a", "artifacts", cwd=tmp_path).stdout)
    assert sum(row["failed"] for row in table["rows"]) == failed
    assert not any(row["best"] for row in table["rows"] if row["failed"])
    measured(f"{failed} of {of} runs marked failed, exit {ended.returncode}, the same again")


@pytest.mark.slow
def test_a_diverging_loss_leaves_its_neighbours_as_they_are(real_commands: CommandServer, tmp_path: Path) -> None:
    """`rce` with a huge A diverges where cross-entropy does not."""
    write_photos(tmp_path / "photos", 60)
    common = ("--rates", 0.4, "--learning-rate", 1e-3, "--l2", 0)
    ended = run(real_commands, tmp_path, *common, "--loss", "ce", "--loss", "sce:alpha=1e+38,beta=1e+38")
    assert ended.returncode in (0, 3), ended
    table = json.loads(real_commands.run("compare", "--json", "-a", "artifacts", cwd=tmp_path).stdout)
    alone = tmp_path / "alone"
    write_photos(alone / "photos", 60)
    assert run(real_commands, alone, *common, "--loss", "ce").returncode == 0
    expected = json.loads(real_commands.run("compare", "--json", "-a", "artifacts", cwd=alone).stdout)
    values = {(row["noise"], row["rate"]): row["values"] for row in table["rows"] if row["loss"] == "ce"}
    assert values == {(row["noise"], row["rate"]): row["values"] for row in expected["rows"]}
    assert not any(row["failed"] for row in table["rows"] if row["loss"] == "ce")


def photos_of(folder: Path, **counts: int) -> None:
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for k in range(count):
            Image.new("RGB", (16, 16), (40 * number, k, 7)).save(folder / name / f"{k}.png")


@pytest.mark.parametrize(
    ("counts", "words", "says"),
    [
        ({"roses": 1}, (), "at least two folders"),
        ({"roses": 9}, (), "at least two folders"),
        ({"roses": 1, "tulips": 1}, (), "no photo of class"),
        ({"roses": 40, "tulips": 1}, (), "no photo of class 'tulips'"),
        ({"roses": 20, "tulips": 20}, ("--train", 20, "--val", 1, "--test", 10), "no photo of class"),
        ({"roses": 20, "tulips": 20}, ("--positive", "lilies"), "'lilies' is not a class"),
        ({"roses": 20, "tulips": 1, "daisies": 20}, ("--positive", "tulips"), "no photo of class 'tulips'"),
    ],
)
def test_photos_that_nothing_can_be_learned_from_are_refused_at_once(
    counts: dict[str, int], words: tuple[object, ...], says: str, real_commands: CommandServer, tmp_path: Path
) -> None:
    photos_of(tmp_path / "photos", **counts)
    ended = run(real_commands, tmp_path, *words)
    assert ended.returncode in (1, 2), ended
    (line,) = ended.lines
    assert line.startswith("error: ")
    assert says in line
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--noise", "symmetric", "--rates", 1),
        *(
            pytest.param(words, marks=pytest.mark.slow)
            for words in (
                ("--noise", "pairflip", "--rates", 1),
                ("--noise", "uniform", "--rates", 1),
                ("--noise", "instance:backbone=tiny", "--rates", "0.5,1"),
                ("--noise", "boundary:backbone=tiny", "--rates", 1),
            )
        ),
        ("--rates", 0.5, "--loss", "backward", "--loss", "forward:T=estimated"),
    ],
    ids=str,
)
def test_extremes_on_few_equal_photos_go_through_or_are_marked(
    words: tuple[object, ...], real_commands: CommandServer, tmp_path: Path
) -> None:
    photos_of(tmp_path / "photos", roses=12, tulips=12)
    ended = run(real_commands, tmp_path, *words)
    assert ended.returncode in (0, 3), ended
    assert "nan" not in ended.stdout.decode().lower()
    assert all(line.startswith("error: ") for line in ended.stderr.splitlines() if "failed" in line)
    assert real_commands.run("verify", "--quiet", "-a", "artifacts", cwd=tmp_path).returncode == 0
