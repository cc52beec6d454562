"""The same command gives the same bytes; other block sizes and numbers of threads give the same predictions."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flowernoise.store.artifacts import Artifacts
from tests.reliability import integrity
from tests.reliability.command_server import CommandServer
from tests.reliability.fakes import write_photos
from tests.reliability.real_command import short_and_full

LOSSES = ("ce", "mae", "gce", "elr", "peer", "forward:T=estimated", "bootstrap_soft")
ONE_POINT = ("--learning-rate", 0.003, "--l2", 0.001)
COMMON = ("--image-size", 16, "--backbone", "tiny", "--rates", "0.2,0.4", "--seeds", 2, "--epochs", 3, "--quiet")
SWEEP = (*COMMON, *(word for loss in LOSSES for word in ("--loss", loss)))
CLOSE = 1e-5  # in probability


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("source") / "photos", 60)


@short_and_full(2, 10)
def test_the_same_command_gives_the_same_bytes(
    count: int, real_commands: CommandServer, photos: Path, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    found, tables = [], []
    sweep = SWEEP if count > 2 else (*COMMON, "--loss", "ce", "--loss", "peer")  # each loss takes seconds to compile
    for attempt in range(count):
        work = tmp_path / f"{attempt} of them"
        work.mkdir()
        surroundings = {"PYTHONHASHSEED": str(attempt), "TZ": ("UTC", "Asia/Tokyo")[attempt % 2], "LC_ALL": "C"}
        for words in (("run", photos, *sweep), ("preview", "--quiet"), ("plot", "--quiet"), ("report", "--quiet")):
            ended = real_commands.run(*words, "-a", "artifacts", cwd=work, env=surroundings)
            assert ended.returncode == 0, ended.stderr
        forms = [
            real_commands.run("compare", "--format", form, "-a", "artifacts", cwd=work, env=surroundings).stdout
            for form in ("table", "json", "csv", "markdown")
        ]
        found.append(integrity.contents(work / "artifacts"))
        tables.append(forms)
    differing = {name for each in found[1:] for name in integrity.differences(each, found[0])}
    measured(
        f"{count} times {len(found[0])} files and 4 forms of the table, {len(differing)} of them not the same bytes"
    )
    assert not differing
    assert all(each == tables[0] for each in tables)


def answers(artifacts: Path) -> dict[str, np.ndarray]:
    """What each run answers to the test photos after its last epoch."""
    return {str(run.key): run.probabilities("test", select="last") for run in Artifacts(artifacts).runs()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "environment"),
    [
        (("--memory", 0.00001), {}),
        (("--memory", 0.0003), {}),
        ((), {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}),
    ],
    ids=["a head a block", "a few heads a block", "one thread"],
)
def test_other_blocks_and_threads_give_the_same_answers(
    other: tuple[object, ...],
    environment: dict[str, str],
    real_commands: CommandServer,
    photos: Path,
    tmp_path: Path,
    measured: Callable[[str], None],
) -> None:
    """Of single grid points: between near ties of a grid the smallest difference may decide."""
    plain, changed = tmp_path / "plain", tmp_path / "changed"
    assert real_commands.run("run", photos, *SWEEP, *ONE_POINT, "-a", plain, cwd=tmp_path).returncode == 0
    shutil.copytree(plain, changed)
    shutil.rmtree(changed / "runs")  # the features stay
    train = ("train", *SWEEP[SWEEP.index("--backbone") : SWEEP.index("--rates")], *SWEEP[SWEEP.index("--epochs") :])
    ended = real_commands.run(*train, *ONE_POINT, *other, "-a", changed, cwd=tmp_path, env=environment)
    assert ended.returncode == 0, ended.stderr
    before, after = answers(plain), answers(changed)
    assert before.keys() == after.keys()
    largest = max(float(np.abs(before[key] - after[key]).max()) for key in before)
    measured(f"{len(before)} heads, at most {largest:.1e} apart in probability")
    assert largest <= CLOSE
