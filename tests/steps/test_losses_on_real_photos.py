"""What the losses and the estimate of T do on real photos: minutes, so slow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flowernoise.progress import Silent
from flowernoise.steps.train import TrainSettings, matrices, train

PHOTOS = Path(os.environ.get("FLOWERNOISE_TEST_PHOTOS", Path(__file__).parents[3] / "shared" / "flowers"))
LOSSES = ("ce", "bootstrap_soft:beta=0.5", "peer")

pytestmark = pytest.mark.slow


def command(artifacts: Path, *words: str) -> str:
    call = [sys.executable, "-m", "flowernoise", *words, "--quiet", "--artifacts", str(artifacts)]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with draws of three seeds."""
    if not PHOTOS.is_dir():
        pytest.skip(f"no photos in {PHOTOS}; FLOWERNOISE_TEST_PHOTOS may name them")
    directory = tmp_path_factory.mktemp("real") / "artifacts"
    command(directory, "prepare", str(PHOTOS))
    command(directory, "corrupt", "--rates", "0.4,0.6", "--seeds", "3")
    return directory


def test_bootstrap_soft_is_robust_and_the_control_of_peer_is_no_worse_than_that_of_ce(artifacts: Path) -> None:
    photos = ("--backbone", "efficientnet_lite0", "--epochs", "15", "--batch-size", "64")
    optimiser = ("--learning-rate", "1e-3", "--l2", "1e-3")
    command(artifacts, "train", *photos, *optimiser, *(word for loss in LOSSES for word in ("--loss", loss)))
    command(artifacts, "evaluate")
    rows = json.loads(command(artifacts, "compare", "--select", "last", "--json"))["rows"]
    accuracy = {(row["loss"], row["rate"]): row["mean"] for row in rows}
    # Measured: .896 and .835 where cross-entropy has .825 and .657; controls of peer .913 and of ce .929.
    assert accuracy["bootstrap_soft:beta=0.5", 0.4] == pytest.approx(0.896, abs=0.015)
    assert accuracy["bootstrap_soft:beta=0.5", 0.6] == pytest.approx(0.835, abs=0.015)
    assert accuracy["ce", 0.4] < 0.85
    assert accuracy["ce", 0.6] < 0.7
    assert accuracy["ce", 0.0] - accuracy["peer", 0.0] < 0.03


def of_one_photo(answers: np.ndarray) -> np.ndarray:
    """T as it was estimated before: the answer to the photo at the 97th percentile of each class's probability."""
    thresholds = np.percentile(answers, 97, axis=0, method="nearest")
    return answers[np.abs(answers - thresholds).argmin(axis=0)]


def test_the_estimate_of_T_is_nearer_than_that_from_a_single_photo(  # noqa: N802 (T is the paper's letter)
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(artifacts, "corrupt", "--noise", "pairflip", "--noise", "uniform", "--rates", "0.2,0.4", "--seeds", "3")
    handed_on, found = matrices.handed_on, []

    def recorded(stage, draw, labels, answers, classes, progress):
        T = handed_on(stage, draw, labels, answers, classes, progress)
        found.append((draw, T, of_one_photo(answers)))
        return T

    monkeypatch.setattr(matrices, "handed_on", recorded)
    train(artifacts, TrainSettings(losses=("forward",), backbone="efficientnet_lite0", batch_size=64), Silent())
    errors = {}
    for draw, *estimates in found:
        true = nominal(draw.noise, draw.rate)
        errors.setdefault((draw.noise, draw.rate), []).append([np.abs(each - true).mean() for each in estimates])
    assert len(found) == 3 * 7
    for ours, before in (np.mean(each, axis=0) for each in errors.values()):
        assert ours <= before
    assert np.mean([each[0] for of_draws in errors.values() for each in of_draws]) < 0.035


def nominal(noise: str, rate: float) -> np.ndarray:
    """T of five classes."""
    others = {
        "none": np.eye(5),
        "symmetric": (1 - np.eye(5)) / 4,
        "pairflip": np.roll(np.eye(5), 1, axis=1),
        "uniform": np.full((5, 5), 1 / 5),
    }
    return (1 - rate) * np.eye(5) + rate * others[noise]
