"""Comparisons that were computed before, kept so that looking again takes no time.

Whatever a comparison depends on is in its key; a record with another key, or one that is not what was written, is
computed anew. The records may be removed at any time.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from flowernoise.errors import DamagedFileError, FlowernoiseError
from flowernoise.store import files
from flowernoise.store.layout import Layout
from flowernoise.store.records import KeptComparison

KIND = "comparison"


def find(layout: Layout, evaluation: str, key: str) -> KeptComparison | None:
    """What was kept of an evaluation under a key, or None.

    Args:
        layout: of the directory that keeps it.
        evaluation: digest of that directory's evaluation.
        key: digest of all that the comparison depends on, the evaluation included.

    Raises:
        DamagedFileError: there is a record, but it is not what was written, or belongs to another key.
    """
    path = _path(layout, evaluation, key)
    if not path.exists():
        return None
    kept = files.read_record(path, KIND, KeptComparison)
    if kept.key != key:
        raise DamagedFileError(f"{path} belongs to another comparison")
    return kept


def keep(layout: Layout, evaluation: str, kept: KeptComparison) -> None:
    """Keeps a comparison where the directory can be written, and removes those of other evaluations."""
    path = _path(layout, evaluation, kept.key)
    with contextlib.suppress(FlowernoiseError, OSError):
        files.write_record(path, KIND, kept)
        for other in layout.comparisons.glob("*.json"):
            if other.name.partition("-")[0] != path.name.partition("-")[0]:
                files.remove(other)


def file_name(evaluation: str, key: str) -> str:
    """Name of the record of a comparison."""
    return f"{evaluation[:16]}-{key[:16]}.json"


def _path(layout: Layout, evaluation: str, key: str) -> Path:
    return layout.comparisons / file_name(evaluation, key)
