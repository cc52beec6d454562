"""Comparisons that were computed before, kept so that showing one again is instant.

A comparison's key covers everything that it depends on. If a record has another key or is damaged, the comparison is
computed again. The records may be removed at any time.
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
    """The comparison that was kept for an evaluation under a key, or None.

    Args:
        layout: the directory that keeps it.
        evaluation: digest of that directory's evaluation.
        key: digest of everything that the comparison depends on, including the evaluation.

    Raises:
        DamagedFileError: the record is damaged, or belongs to another key.
    """
    path = _path(layout, evaluation, key)
    if not path.exists():
        return None
    kept = files.read_record(path, KIND, KeptComparison)
    if kept.key != key:
        raise DamagedFileError(f"{path} belongs to another comparison")
    return kept


def keep(layout: Layout, evaluation: str, kept: KeptComparison) -> None:
    """Keeps a comparison if the directory is writable, and removes those of other evaluations."""
    path = _path(layout, evaluation, kept.key)
    with contextlib.suppress(FlowernoiseError, OSError):
        files.write_record(path, KIND, kept)
        for other in layout.comparisons.glob("*.json"):
            if other.name.partition("-")[0] != path.name.partition("-")[0]:
                files.remove(other)


def file_name(evaluation: str, key: str) -> str:
    """File name of a comparison's record."""
    return f"{evaluation[:16]}-{key[:16]}.json"


def _path(layout: Layout, evaluation: str, key: str) -> Path:
    return layout.comparisons / file_name(evaluation, key)
