"""Watches a folder of records that grows during work: each record is read once, however often we look."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from flowernoise.errors import DamagedFileError

Record = TypeVar("Record")


class Watch(Generic[Record]):
    """The records in a folder, by name.

    Args:
        folder: the folder, which need not exist yet.
        is_record: whether a file name is that of a record.
        read: reads one record.
        on_damage: called with each damaged record, which is then skipped.
    """

    def __init__(
        self,
        folder: Path,
        is_record: Callable[[str], bool],
        read: Callable[[Path], Record],
        on_damage: Callable[[Path, DamagedFileError], None],
    ) -> None:
        self._folder, self._is_record, self._read, self._on_damage = folder, is_record, read, on_damage
        self._seen: set[str] = set()

    def look(self) -> tuple[dict[str, Record], bool]:
        """The records added since the last look and False; or all records and True, if one has disappeared."""
        try:
            with os.scandir(self._folder) as entries:
                names = {entry.name for entry in entries if self._is_record(entry.name)}
        except FileNotFoundError:
            names = set()
        is_anew = not self._seen <= names
        if is_anew:
            self._seen = set()
        new = {}
        for name in sorted(names - self._seen):
            path = self._folder / name
            try:
                new[path.stem] = self._read(path)
            except DamagedFileError as error:
                if os.path.lexists(path):  # else another process has just removed it
                    self._on_damage(path, error)
                continue
            self._seen.add(name)
        return new, is_anew
