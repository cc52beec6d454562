"""Fixtures of tests and of the examples in docstrings and README."""

from pathlib import Path

import pytest

from tests.fabricated import finished_directory


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an artifacts directory in which all is done; not to be written to."""
    return finished_directory(tmp_path_factory.mktemp("finished") / "artifacts")


@pytest.fixture(autouse=True)
def _beside_an_artifacts_directory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the examples that open ``artifacts`` beside one."""
    example = getattr(request.node, "dtest", None)
    if example is not None and example.globs["__name__"] == "flowernoise.store.artifacts":
        monkeypatch.chdir(request.getfixturevalue("finished").parent)
