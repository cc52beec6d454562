"""The wait while libraries are loaded and a network is built: checked before, and shown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from flowernoise.progress import Progress
from flowernoise.safe import limits


@contextlib.contextmanager
def loading(what: str, progress: Progress) -> Iterator[None]:
    """Shows that something is being loaded while the block runs.

    Raises:
        FlowernoiseError: a limit leaves too little memory or too few threads for the libraries.
    """
    limits.check_room_for_libraries()
    with progress.task(f"loading {what}", None, ""):
        yield


def load_keras(progress: Progress) -> None:
    """Loads Keras now, so that its seconds are not counted as those of features or training.

    Raises:
        FlowernoiseError: as :func:`loading`.
    """
    with loading("Keras", progress):
        import keras  # noqa: F401 - what it takes seconds for
