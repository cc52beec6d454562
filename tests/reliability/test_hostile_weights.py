"""Weight files from strangers, as ``--backbone resnet50:weights=PATH`` meets them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.hostile_weights import h5, lambda_config
from tests.reliability.real_command import flowernoise

SECONDS, MEGABYTES = 2, 200
SLACK = 5  # other work on the machine


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak of memory cannot be set back")
def test_each_kind_is_refused_in_time_and_memory_and_nothing_is_run(
    tmp_path: Path, measured: Callable[[str], None]
) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.reliability.hostile_weights", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
    )
    outcomes = [json.loads(line) for line in finished.stdout.splitlines()]
    assert len(outcomes) == len({name for name, *_ in outcomes}) >= 40
    for name, seconds, megabytes, outcome, has_run in outcomes:
        assert not has_run, name
        assert outcome != "loaded", name
        assert len(outcome.splitlines()) == 1, name
        assert seconds < SECONDS * SLACK, name
        assert megabytes < MEGABYTES, name
    slowest, largest = (max(outcome[k] for outcome in outcomes) for k in (1, 2))
    measured(
        f"{len(outcomes)} kinds of weight files refused, none run; at most {slowest:.1f} s and {largest:.0f} MB more"
    )


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/dev/zero", "pipe", "model.h5", "model.keras"])
def test_the_command_refuses_them_in_one_line(path: str, photo_folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    marker = tmp_path / "ran"
    (tmp_path / "model.h5").write_bytes(h5(lambda file: file.attrs.update(model_config=lambda_config(marker))))
    (tmp_path / "model.keras").write_bytes(b"PK\x03\x04" + bytes(100))
    artifacts = tmp_path / "artifacts"
    assert flowernoise("prepare", photo_folder, "--image-size", 32, "-a", artifacts).returncode == 0
    assert flowernoise("corrupt", "-a", artifacts).returncode == 0
    finished = flowernoise("train", "--backbone", f"resnet50:weights={path}", "-a", artifacts, cwd=tmp_path)
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.splitlines()[-1].startswith("error: ")
    assert not marker.exists()
