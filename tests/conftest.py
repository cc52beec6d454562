"""Fixtures for all tests."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from tests.fabricated_sweeps import five_thousand_runs, hundred_thousand_runs, sweep  # noqa: F401 (fixtures)
from tests.reliability.command_server import CommandServer, command_server

# Examples have no time limit, so that other work on the machine cannot make a test fail.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("unhurried"), max_examples=10)  # for `make quick`
settings.load_profile("unhurried")


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """Return a folder of 3 classes × 12 tiny JPEGs, all different, as a user would have it."""
    folder = tmp_path / "photos"
    for number, name in enumerate(("daisy", "roses", "tulips")):
        (folder / name).mkdir(parents=True)
        for k in range(12):
            pixels = np.random.default_rng([number, k]).integers(0, 256, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((32, 24)).save(folder / name / f"{k:02}.jpg", quality=90)
    return folder


@pytest.fixture(scope="session")
def commands() -> Iterator[CommandServer]:
    """Return a command server in which stand-ins compute; starting one takes seconds, so tests share it."""
    with command_server("stand-ins") as server:
        yield server


@pytest.fixture(scope="session")
def real_commands() -> Iterator[CommandServer]:
    """Return a command server that has TensorFlow loaded."""
    with command_server("real") as server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the figures that reliability tests have measured."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    figures = [figure for report in reports for name, figure in report.user_properties if name == "measured"]
    if figures:
        terminalreporter.section("measured")
        for figure in figures:
            terminalreporter.line(figure)
