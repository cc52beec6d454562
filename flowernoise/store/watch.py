"""A folder of records that grows while one works: each is read once, however often one looks."""

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
        folder: need not be there yet.
        is_record: tells the names of the records' files from those of others.
        read: reads one.
        on_damage: called with each that is not what was written, which is then passed over.
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
        """The records that are new since the last look; all of them, and True, if one that was there is gone."""
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
                if os.path.lexists(path):  # else another process has removed it in this moment
                    self._on_damage(path, error)
                continue
            self._seen.add(name)
        return new, is_anew
