"""docs/ci.md: the Makefile does what the page says, and the workflow is one."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PAGE = (Path(__file__).parent.parent / "docs" / "ci.md").read_text(encoding="utf-8")
SMALL = (
    "SOURCE=synthetic:photos=50,size=32",
    "BACKBONE=efficientnet_lite0:weights=none",
    "SWEEP=--noise symmetric --rates 0.4 --seeds 1",
    "LOSSES=--loss ce --loss gce --epochs 1 --learning-rate 0.001 --l2 0",
    "PREPARE=--image-size 32",
)


def block(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ci")
    (place / "Makefile").write_text(block("make"))
    return place


def make(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["make", *SMALL, *words], cwd=place, env=environment, capture_output=True, text=True)


def test_the_makefile_sweeps_stops_at_its_gate_and_does_nothing_twice(place: Path) -> None:
    missed = make(place, "GATE=--fail-under 1 --where loss=gce")
    assert missed.returncode != 0
    assert "which misses --fail-under 1;" in missed.stderr
    first = make(place, "GATE=--fail-under 0 --where loss=gce")
    assert first.returncode == 0, first.stderr
    assert {"report.html", "table.md"} <= {path.name for path in (place / "build").iterdir()}
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    second = make(place, "GATE=--fail-under 0 --where loss=gce")
    assert "Nothing to be done" in second.stdout
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before


def test_cached_features_are_all_that_another_job_needs(place: Path, tmp_path: Path) -> None:
    shutil.copy(place / "Makefile", tmp_path)
    shutil.copytree(place / "artifacts" / "features", tmp_path / "artifacts" / "features")
    assert make(tmp_path, "build/prepared").returncode == 0
    environment = os.environ | {"FLOWERNOISE_ARTIFACTS": str(tmp_path / "artifacts")}
    words = [
        sys.executable,
        "-m",
        "flowernoise",
        "features",
        "--backbone",
        SMALL[1].removeprefix("BACKBONE="),
        "--json",
    ]
    found = json.loads(subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout)
    assert (found["extracted"], found["cached"]) == (0, 50)


def test_the_workflow_caches_features_and_keeps_the_report() -> None:
    workflow = yaml.safe_load(block("yaml"))
    steps = workflow["jobs"]["sweep"]["steps"]
    uses = [step.get("uses", "").partition("@")[0] for step in steps]
    assert [each for each in uses if each] == [
        "actions/checkout", "actions/setup-python", "actions/cache", "actions/upload-artifact",
    ]  # fmt: skip
    cache = next(step["with"] for step in steps if "cache" in step.get("uses", ""))
    assert cache["path"] == "artifacts/features"
    assert [step["run"] for step in steps if "run" in step][1:] == [
        "make", "flowernoise status --check --artifacts artifacts",
    ]  # fmt: skip
