"""Which stage a file belongs to, which files are litter, and the removal of litter that is safe to remove."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

from flowernoise.safe import atomic
from flowernoise.store import files
from flowernoise.store.inventory.kinds import NAMING
from flowernoise.store.layout import Layout
from flowernoise.store.stages import STAGES, counted_as

LitterKind = Literal["temporary", "set aside", "unreferenced"]  # the names in `status --json`

_FOLDERS = {folder: stage.name for stage in STAGES.values() for folder in stage.folders}
_ROOT_FILES = {file: stage.name for stage in STAGES.values() for file in stage.files}
_WITH_BLOBS = {counted_as(kind.stage) for kind in NAMING}
_BLOB = re.compile(r"(?P<stem>.+)-[0-9a-f]{16}\.\w+")


@dataclasses.dataclass(frozen=True)
class Litter:
    """A file that the program does not read."""

    path: str
    kind: LitterKind
    bytes: int


def stage_of(name: str) -> str:
    """The stage that a file belongs to, by its name in the artifacts directory.

    >>> stage_of("runs/a.json"), stage_of("dataset.json"), stage_of(".evaluation.json.0123456789ab.tmp")
    ('train', 'prepare', 'evaluate')
    """
    first, slash, _ = name.partition("/")
    if slash:
        return _FOLDERS.get(first, "other")
    return _ROOT_FILES.get(re.split(r"[.-]", first.removeprefix("."))[0], "other")


def kind_of(name: str, kept: Collection[str], unread: Collection[str]) -> LitterKind | None:
    """What kind of litter a file is, or None.

    Args:
        name: the file's name in the artifacts directory.
        kept: names of the files that are read.
        unread: names of unreadable records, of which it is unknown what files they name.
    """
    stage, (folder, _, file) = stage_of(name), name.rpartition("/")
    if stage == "other":
        return None
    if atomic.TEMPORARY.fullmatch(file):
        return "temporary"
    if file.endswith(files.QUARANTINED):
        return "set aside"
    blob = _BLOB.fullmatch(file)
    if stage not in _WITH_BLOBS or not blob or name in kept:
        return None
    stem, within = blob["stem"], f"{folder}/" if folder else ""
    owners = {f"{within}{stem}.json", f"{within}{stem.partition('.')[0]}.json"}
    return None if (owners if folder != "photos" else {"dataset.json"}) & set(unread) else "unreferenced"


def abandoned(layout: Layout) -> Iterator[Path]:
    """Temporary files of exited processes."""
    for folder in (layout.root, *layout.folders):
        with contextlib.suppress(OSError):
            yield from (path for entry in listed(folder) if atomic.is_abandoned(path := folder / entry.name))


def clean(layout: Layout) -> None:
    """Removes temporary files of exited processes, if the directory is writable.

    Other files stay: if a record does not name one yet, another process may be about to write that record.
    """
    for path in abandoned(layout):
        files.remove(path)


def listed(folder: Path) -> list[os.DirEntry[str]]:
    """The contents of a folder; empty if it does not exist.

    Raises:
        OSError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
