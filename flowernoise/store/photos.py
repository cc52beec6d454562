"""The photos of an artifacts directory: a TAR archive of the encoded photos and a CSV index of it."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from flowernoise.errors import DamagedFileError
from flowernoise.store import files
from flowernoise.store.files import FileRef
from flowernoise.store.records import SPLITS

COLUMNS = ("id", "split", "label", "class", "path", "offset", "size")
_SUFFIXES = ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"RIFF", ".webp"), (b"BM", ".bmp"))


@dataclasses.dataclass(frozen=True)
class IndexedPhoto:
    """A photo in a split, and where its bytes are in the archive.

    Where there are several splits, ``split`` is that of the first, and ``further`` holds the others. A photo that is
    not in a split has an empty name there.
    """

    id: str
    split: str
    label: int
    path: str
    offset: int = 0
    size: int = 0
    further: tuple[str, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """Its place in every split."""
        return (self.split, *self.further)


def write_archive(
    directory: Path, photos: Sequence[IndexedPhoto], encoded: Callable[[IndexedPhoto], bytes]
) -> tuple[FileRef, tuple[IndexedPhoto, ...]]:
    """Writes the photos as a TAR archive and returns them with their offsets and sizes in it."""
    placed: list[IndexedPhoto] = []

    def write(stream: IO[bytes]) -> None:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for photo in photos:
                data = encoded(photo)
                header = tarfile.TarInfo(photo.id + _suffix(data))
                header.size = len(data)
                placed.append(dataclasses.replace(photo, offset=stream.tell() + tarfile.BLOCKSIZE, size=len(data)))
                archive.addfile(header, io.BytesIO(data))

    return files.write_blob(directory, "photos", ".tar", write), tuple(placed)


def write_index(directory: Path, photos: Sequence[IndexedPhoto], classes: Sequence[str]) -> FileRef:
    """Writes a CSV file with one row per photo; further splits have the columns ``split_1``, ``split_2`` and so on."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    further = max((len(photo.further) for photo in photos), default=0)
    writer.writerow((*COLUMNS, *map(_column, range(1, 1 + further))))
    for photo in photos:
        row = (photo.id, photo.split, photo.label, classes[photo.label], photo.path, photo.offset, photo.size)
        writer.writerow((*row, *photo.further))
    return files.write_blob(directory, "photos", ".csv", lambda stream: stream.write(text.getvalue().encode()))


def read_index(directory: Path, ref: FileRef) -> tuple[IndexedPhoto, ...]:
    """Reads what :func:`write_index` wrote.

    Raises:
        DamagedFileError: it is not the recorded file, or a row does not have the expected form.
    """
    data = files.read_blob(directory, ref)
    try:
        return tuple(_indexed(row) for row in csv.DictReader(io.StringIO(data.decode()), strict=True))
    except (csv.Error, KeyError, ValueError, TypeError) as error:
        raise DamagedFileError(f"{directory / ref.name} is not an index of photos: {error}") from error


def _indexed(row: Mapping[str, str]) -> IndexedPhoto:
    further = tuple(row[_column(number)] for number in range(1, 1 + len(row) - len(COLUMNS)))
    offset, size = int(row["offset"]), int(row["size"])
    photo = IndexedPhoto(row["id"], row["split"], int(row["label"]), row["path"], offset, size, further)
    is_placed = any(photo.splits) and {*SPLITS, ""}.issuperset(photo.splits)
    if not is_placed or min(photo.label, offset, size) < 0 or not photo.path.isprintable():
        raise ValueError(f"the row of {photo.id!r} does not have the expected form")
    return photo


def _column(number: int) -> str:
    """The column of a further split."""
    return f"split_{number}"


class Archive:
    """Random access to the encoded photos; each is checked against its id before it is returned."""

    def __init__(self, directory: Path, ref: FileRef) -> None:
        self._directory, self._ref = directory, ref
        self._path = files.checked_path(directory, ref)

    def read(self, photos: Iterable[IndexedPhoto]) -> Iterator[bytes]:
        """The encoded photos, in the order given.

        Raises:
            DamagedFileError: the archive is missing or of another size, or a photo's SHA-256 is not its id.
        """
        way_out = "run `flowernoise prepare` again"
        with contextlib.ExitStack() as stack:
            try:
                stream = stack.enter_context(files.open_blob(self._directory, self._ref))
            except DamagedFileError as error:
                raise DamagedFileError(f"{error}; {way_out}") from error
            for photo in photos:
                stream.seek(photo.offset)
                data = stream.read(photo.size)
                if files.digest(data) != photo.id:
                    raise DamagedFileError(f"{self._path} is damaged at photo {photo.path}; {way_out}")
                yield data


def labels_of(photos: Sequence[IndexedPhoto], split: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """True labels of the photos of a split, in index order."""
    return np.array([photo.label for photo in photos if photo.split == split], dtype=np.int64)


def in_order(photos: Iterable[IndexedPhoto]) -> list[IndexedPhoto]:
    """Train, val, test, and by id within each: the order that everything downstream uses; those in no split last."""
    order = (*SPLITS, "")
    return sorted(photos, key=lambda photo: (order.index(photo.split), photo.id))


class Splits:
    """The photos of a data set, and where they are in each of its splits; seed s uses split s mod N.

    Attributes:
        photos: every photo, in the order of features.
        count: number of splits N.
    """

    def __init__(self, photos: Sequence[IndexedPhoto], count: int) -> None:
        self.photos, self.count = tuple(photos), count
        self._made: dict[int, tuple[list[int], tuple[IndexedPhoto, ...]]] = {}

    def number(self, seed: int) -> int:
        """Which split a seed uses, counted from 0."""
        return seed % self.count

    def of(self, seed: int) -> tuple[IndexedPhoto, ...]:
        """The photos of a seed's split, in the order of :func:`in_order`; ``split`` is their place in it."""
        return self._placed(seed)[1]

    def rows(self, seed: int, split: str) -> list[int]:
        """Positions in :attr:`photos` of a seed's photos of train, val or test."""
        places, placed = self._placed(seed)
        return [place for place, photo in zip(places, placed, strict=True) if photo.split == split]

    def labels(self, seed: int, split: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """True labels of a seed's photos of train, val or test."""
        return labels_of(self.of(seed), split)

    def everyone(self, seed: int) -> tuple[IndexedPhoto, ...]:
        """The photos of a seed's split as :meth:`of` gives them, then those that are not in it, without a split."""
        placed = self.of(seed)
        there = {photo.id for photo in placed}
        others = (photo for photo in self.photos if photo.id not in there)
        return (*placed, *(dataclasses.replace(photo, split="", further=()) for photo in others))

    def _placed(self, seed: int) -> tuple[list[int], tuple[IndexedPhoto, ...]]:
        number = self.number(seed)
        if number not in self._made:
            there = {photo.id: place for place, photo in enumerate(self.photos)}
            own = (dataclasses.replace(photo, split=photo.splits[number], further=()) for photo in self.photos)
            placed = tuple(in_order(photo for photo in (own if number else self.photos) if photo.split))
            self._made[number] = [there[photo.id] for photo in placed], placed
        return self._made[number]


def _suffix(encoded: bytes) -> str:
    if encoded[4:8] == b"ftyp":
        return ".heic"
    return next((suffix for magic, suffix in _SUFFIXES if encoded.startswith(magic)), "")
