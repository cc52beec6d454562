"""An inventory of an artifacts directory: one walk over its files; each record is read once, on first use."""

from __future__ import annotations

import contextlib
import functools
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from flowernoise.errors import DamagedFileError, FlowernoiseError, OtherVersionError
from flowernoise.safe import atomic
from flowernoise.store import datasets, files
from flowernoise.store.files import FileRef
from flowernoise.store.inventory.kinds import (
    ALL,
    BLOCKS,
    DATASET,
    DRAWS,
    FEATURES,
    NAMING,
    PRESET,
    Body,
    Fault,
    Kind,
    RecordEntry,
)
from flowernoise.store.inventory.litter import Litter, kind_of, listed, stage_of
from flowernoise.store.layout import Layout
from flowernoise.store.records import DrawBatch, Evaluation, FeatureShard, OwnFeatures, RunBlock

OfPhotos: TypeAlias = DrawBatch | FeatureShard | OwnFeatures | RunBlock | Evaluation


class Inventory:
    """What a directory holds at one moment. For files that records name, only the size is checked, except by
    :meth:`digest_fault`.

    Attributes:
        layout: the directory's layout.
        sizes: bytes of each regular file, by its name in the directory, with slashes; locks are left out.
        unreadable: folders that cannot be listed.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.unreadable: list[Fault] = []
        self.sizes: dict[str, int] = {}
        self._records_in: dict[str, list[Path]] = {}
        self._read: dict[Path, Any] = {}
        for name, size in sorted(self._walk(), key=lambda found: found[0]):
            if size is not None:
                self.sizes[name] = size
            if name.endswith(".json"):  # a link or a folder under a record's name is an unreadable record
                self._records_in.setdefault(name.rpartition("/")[0], []).append(layout.root / name)

    def _walk(self) -> Iterator[tuple[str, int | None]]:
        """Yields every name, with the size if it is a regular file; files that vanish during the walk are skipped."""
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                entries = listed(self.layout.root / folder)
            except OSError as error:
                path = self.layout.root / folder
                text = f"cannot read {path}: {atomic.reason(error)}"
                self.unreadable.append(Fault(path, stage_of(f"{folder}/"), text, path, ours=False))
                continue
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                with contextlib.suppress(OSError):
                    # Links are not followed, as they might lead anywhere or form cycles.
                    if entry.is_dir(follow_symlinks=False) and self.layout.root / name != self.layout.locks:
                        waiting.append(name)
                    status = entry.stat(follow_symlinks=False)
                    yield name, status.st_size if stat.S_ISREG(status.st_mode) else None

    def by_stage(self) -> dict[str, tuple[int, int]]:
        """Number of files and bytes of every stage that has files."""
        counts: dict[str, tuple[int, int]] = {}
        for name, size in self.sizes.items():
            count, total = counts.get(stage_of(name), (0, 0))
            counts[stage_of(name)] = (count + 1, total + size)
        return counts

    def size(self, path: Path) -> int:
        """Size of a file in bytes; 0 if it does not exist."""
        return self.sizes.get(path.relative_to(self.layout.root).as_posix(), 0)

    # Records

    def paths(self, kind: Kind[Any]) -> list[Path]:
        """Sorted paths of the records of a kind."""
        place = kind.place(self.layout)
        if place.parent == self.layout.root and place.suffix == ".json":
            return [path for path in self._records_in.get("", ()) if path == place]
        return list(self._records_in.get(place.name, ()))

    def count(self) -> int:
        """How many records there are."""
        return sum(len(self.paths(kind)) for kind in ALL)

    def records(self, kind: Kind[Body]) -> Iterator[RecordEntry[Body] | Fault]:
        """The records of a kind, ordered by path: the contents of each, or what is wrong with it."""
        for path in self.paths(kind):
            if path not in self._read:
                self._read[path] = _read(kind, path)
            yield self._read[path]

    def entries(self, kind: Kind[Body]) -> list[RecordEntry[Body]]:
        """The readable records of a kind."""
        return [each for each in self.records(kind) if isinstance(each, RecordEntry)]

    def only(self, kind: Kind[Body]) -> Body | None:
        """The one record of a kind; None if it is missing or unreadable."""
        return next((entry.body for entry in self.entries(kind)), None)

    def is_stale(self, body: OfPhotos) -> bool:
        """Whether a record belongs to other photos than those prepared last, or the latter are unknown."""
        dataset = self.only(DATASET)
        if dataset is None:
            return True
        if isinstance(body, FeatureShard):
            return not self.covered(body)
        if isinstance(body, OwnFeatures):
            return self._ids is None or not set(self._ids) <= set(body.ids)
        return body.dataset != dataset.id

    def covered(self, shard: FeatureShard) -> frozenset[str]:
        """Those of the photos prepared last whose features a shard holds."""
        dataset = self.only(DATASET)
        if dataset is None or shard.key.image_size != dataset.request.image_size:
            return frozenset()
        if dataset.given is not None and shard.key.weights != dataset.given.digest:
            return frozenset()  # other features under the same ids
        return self._present.intersection(shard.ids)

    @property
    def photos(self) -> int:
        """How many photos were prepared last, in any split; 0 if these are unknown."""
        return len(self._present)

    @functools.cached_property
    def _present(self) -> frozenset[str]:
        """The ids of the photos prepared last; none if these are unknown."""
        return frozenset(self._ids or ())

    @functools.cached_property
    def _ids(self) -> tuple[str, ...] | None:
        """The ids of the photos prepared last; None if these are unknown."""
        dataset = self.only(DATASET)
        if dataset is not None:
            with contextlib.suppress(FlowernoiseError):
                return tuple(photo.id for photo in datasets.index(self.layout, dataset))
        return None

    # Files that records name

    def blob(self, entry: RecordEntry[Any], ref: FileRef) -> Path:
        """Path of a file that a record names; the record's own path if the name leads elsewhere."""
        with contextlib.suppress(DamagedFileError):
            return files.checked_path(self._folder(entry), ref)
        return entry.path

    def size_faults(self, entry: RecordEntry[Any]) -> list[Fault]:
        """The files named by a record that are missing or have another size; files are not opened."""
        faults = []
        for ref in entry.refs:
            name = self._name(entry, ref)
            size = self.sizes.get(name)
            if size != ref.size:
                what = "is missing" if size is None else f"holds {size:,} bytes, not the recorded {ref.size:,}"
                text = f"{self.layout.root / name} {what}"
                faults.append(Fault(self.blob(entry, ref), entry.kind.stage, text, entry.path))
        return faults

    def digest_fault(self, entry: RecordEntry[Any], ref: FileRef) -> Fault | None:
        """Checks every byte of a file that a record names; returns what is wrong."""
        try:
            files.check_blob(self._folder(entry), ref)
        except FlowernoiseError as error:
            return Fault(self.blob(entry, ref), entry.kind.stage, str(error), entry.path)
        return None

    def faults(self) -> list[Fault]:
        """Unreadable records, and files of other sizes than recorded, except those of stale records."""
        found: list[Fault] = []
        for kind in (*NAMING, PRESET):
            found += [each for each in self.records(kind) if isinstance(each, Fault)]
            for entry in self.entries(kind):
                stale = kind in (DRAWS, FEATURES, BLOCKS) and self.is_stale(entry.body)
                found += [] if stale else self.size_faults(entry)
        return found

    def _folder(self, entry: RecordEntry[Any]) -> Path:
        return self.layout.photos if entry.kind is DATASET else entry.path.parent

    def _name(self, entry: RecordEntry[Any], ref: FileRef) -> str:
        """Name in the artifacts directory of a file that a record names."""
        folder = self._folder(entry).relative_to(self.layout.root).as_posix()
        return ref.name if folder == "." else f"{folder}/{ref.name}"

    # Litter

    def litter(self) -> list[Litter]:
        """The files that the program does not read."""
        kept: set[str] = set()
        unread: set[str] = set()
        for kind in NAMING:
            for each in self.records(kind):
                if isinstance(each, RecordEntry):
                    kept |= {self._name(each, ref) for ref in each.refs}
                else:
                    unread.add(each.path.relative_to(self.layout.root).as_posix())
        kinds = ((name, size, kind_of(name, kept, unread)) for name, size in self.sizes.items())
        return [Litter(name, kind, size) for name, size, kind in kinds if kind]


def _read(kind: Kind[Body], path: Path) -> RecordEntry[Body] | Fault:
    try:
        return RecordEntry(kind, path, files.read_record(path, kind.kind, kind.body))
    except FlowernoiseError as error:
        return Fault(path, kind.stage, str(error), path, ours=not isinstance(error, OtherVersionError))
