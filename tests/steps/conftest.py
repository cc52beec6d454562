"""Fixtures of the tests of steps."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowernoise.catalogue.backbones import backbones
from flowernoise.progress import Silent
from flowernoise.steps.corrupt import CorruptSettings, corrupt
from flowernoise.steps.prepare import PrepareSettings, prepare
from tests.reliability.fakes import add_tiny_backbone


@pytest.fixture(scope="module")
def tiny_backbone() -> Iterator[None]:
    """Registers a network called ``tiny``, which is built and compiled in a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "_entries", dict(backbones._entries))
        add_tiny_backbone()
        yield


@pytest.fixture
def prepared(tmp_path: Path, photo_folder: Path) -> Path:
    """Return an artifacts directory with 36 tiny photos of 3 classes and draws at one rate, one seed."""
    directory = tmp_path / "artifacts"
    prepare(directory, PrepareSettings(str(photo_folder), train=24, val=6, test=6, image_size=32), Silent())
    corrupt(directory, CorruptSettings(rates=(0.5,), seeds=1), Silent())
    return directory
