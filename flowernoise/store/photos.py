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
    """A photo in a split, and where its bytes are in the archive."""

    id: str
    split: str
    label: int
    path: str
    offset: int = 0
    size: int = 0


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


def write_index(directory: Path, photos: Iterable[IndexedPhoto], classes: Sequence[str]) -> FileRef:
    """Writes a CSV file with one row per photo."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for photo in photos:
        row = (photo.id, photo.split, photo.label, classes[photo.label], photo.path, photo.offset, photo.size)
        writer.writerow(row)
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
    photo = IndexedPhoto(row["id"], row["split"], int(row["label"]), row["path"], int(row["offset"]), int(row["size"]))
    if photo.split not in SPLITS or min(photo.label, photo.offset, photo.size) < 0 or not photo.path.isprintable():
        raise ValueError(f"the row of {photo.id!r} does not have the expected form")
    return photo


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
    """Train, val, test, and by id within each: the order that everything downstream uses."""
    return sorted(photos, key=lambda photo: (SPLITS.index(photo.split), photo.id))


def _suffix(encoded: bytes) -> str:
    if encoded[4:8] == b"ftyp":
        return ".heic"
    return next((suffix for magic, suffix in _SUFFIXES if encoded.startswith(magic)), "")
