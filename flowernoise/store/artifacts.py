"""The artifacts directory as a whole: refused where it would lead elsewhere, and left as it was by what fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.safe import atomic
from flowernoise.store import files
from flowernoise.store.layout import Layout


def opened(root: Path) -> Layout:
    """The layout of an artifacts directory, which need not be there yet.

    Raises:
        BadRequestError: there is something of that name, but no directory.
        FlowernoiseError: it cannot be looked into, or one of its folders is a link: what others send us could lead
            anywhere.
    """
    layout = Layout(root)
    try:
        if root.exists() and not root.is_dir():
            raise BadRequestError(f"{root} is not a directory; give another with --artifacts")
        linked = [folder for folder in layout.folders if folder.is_symlink()]
    except OSError as error:
        raise FlowernoiseError(f"cannot look into {root}: {atomic.reason(error)}") from error
    if linked:
        raise FlowernoiseError(
            f"{linked[0]} is a symbolic link, and an artifacts directory holds its folders itself; move the "
            "directory as a whole and link to that, or remove the link"
        )
    return layout


@contextlib.contextmanager
def kept_empty_on_failure(layout: Layout) -> Iterator[None]:
    """Leaves no trace of a block that fails before anything is kept: folders that it has made and left empty."""
    had = {folder for folder in (layout.root, *layout.folders) if folder.exists()}
    try:
        yield
    except BaseException:
        if layout.locks not in had and not layout.dataset.exists():
            for path in layout.locks.glob("*.lock"):
                files.remove(path)
        for folder in (*layout.folders, layout.root):
            if folder not in had:
                with contextlib.suppress(OSError):  # not there, or not empty
                    folder.rmdir()
        raise
