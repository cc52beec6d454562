"""A directory of photos, with a folder per class or per split and class: what is used, what is left out, and why."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import stat
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from flowernoise.catalogue import class_names, given_splits
from flowernoise.errors import BadRequestError
from flowernoise.safe import images
from flowernoise.safe.paths import as_utf8, name_of

MAX_BYTES = 150_000_000  # in a photo's file; a BMP of 47 megapixels takes 141 million
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
# How the record of `prepare` begins; a folder that holds one is an artifacts directory.
_RECORD, _RECORD_START = "dataset.json", re.compile(rb'\{"schema": \d+, "kind": "dataset"')
_START = 64  # bytes at the start of a file that show what it is

_HIDDEN = ("hidden", "rename it without the dot if it belongs to the photos")
_ARTIFACTS = ("an artifacts directory of flowernoise", "keep it beside the photos, with --artifacts")
_BESIDE = ("beside the class folders", "move it into one if it is a photo to use")
_EMPTY = ("an empty folder", "put photos into it, or remove it")
_NO_PHOTOS = ("a folder without photos, so not a class", "put photos into it, or remove it")
_NO_LABELS = ("a split without class folders, so its photos have no labels", "sort its photos into class folders")
_NO_PHOTO = ("not a photo", "leave it, or save it as JPEG or PNG if it is one")
_LEADS_OUT = ("a link out of the source", "put a copy in its place")
_LEADS_NOWHERE = ("a link that leads nowhere", "remove it, or put the photo in its place")
_LINKED_FOLDER = ("a link to a folder of the source, whose photos are taken where they are", "remove it")


@dataclasses.dataclass(frozen=True)
class PassedOver:
    """A file or folder that was left out, why, and what to do about it; folder paths end in a slash."""

    path: str
    reason: str
    way_out: str


@dataclasses.dataclass(frozen=True)
class PhotoFile:
    """A photo: its path in the source, its class, its split if one is given, its file, and further cells of a table."""

    path: str
    label: int
    split: str | None
    file: Path
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PhotoFolder:
    """What a directory holds.

    Args:
        classes: names of the classes.
        photos: the photos, by split, class and path.
        passed_over: everything else, by path.
    """

    classes: tuple[str, ...]
    photos: tuple[PhotoFile, ...]
    passed_over: tuple[PassedOver, ...]


def scan(root: Path) -> PhotoFolder:
    """Looks through a directory. Files without a usual suffix are recognised as photos by their content.

    Raises:
        BadRequestError: it is an artifacts directory, or two of its classes have names that could be confused.
        OSError: its contents cannot be listed.
    """
    if is_artifacts_directory(root):
        raise BadRequestError(f"{root} is an artifacts directory of flowernoise; give the folder with your photos")
    look = _Look(root)
    found = look.folders()
    by_split = look.splits(found) if given_splits.are_all(found) else {None: found}
    names = sorted({name for of_classes in by_split.values() for name in of_classes}, key=as_utf8)
    class_names.refuse_confusable(str(root), "class folders", names)
    photos = [
        PhotoFile(look.name(file), names.index(name), split, file)
        for split, of_classes in by_split.items()
        for name in sorted(of_classes, key=as_utf8)
        for file in sorted(of_classes[name], key=lambda file: as_utf8(str(file)).split("/"))
    ]
    passed_over = sorted(look.passed_over, key=lambda each: each.path)
    return PhotoFolder(tuple(map(name_of, names)), tuple(photos), tuple(passed_over))


def read_photo(file: Path) -> bytes:
    """A regular file's bytes; reading a pipe or a device could block or never end.

    Raises:
        OSError: it cannot be read, is no regular file, or has too many bytes.
    """
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ENOTSUP, "not a regular file")
    if status.st_size > MAX_BYTES:
        raise OSError(errno.EFBIG, f"{status.st_size:,} bytes are over {MAX_BYTES:,}")
    with file.open("rb") as stream:
        return stream.read(MAX_BYTES)


def all_photos(root: Path, tables: Collection[Path]) -> tuple[dict[str, Path], tuple[PassedOver, ...]]:
    """Every photo below a directory, by path in the source, whatever its folder; and everything else but ``tables``.

    Raises:
        BadRequestError: it is an artifacts directory.
        OSError: its contents cannot be listed.
    """
    if is_artifacts_directory(root):
        raise BadRequestError(f"{root} is an artifacts directory of flowernoise; give the folder with your photos")
    look = _Look(root, by_class=False)
    photos = {look.name(file): file for file in look.photos(root)}
    apart = {look.name(table) for table in tables if table.is_relative_to(root)}
    passed_over = sorted((each for each in look.passed_over if each.path not in apart), key=lambda each: each.path)
    return dict(sorted(photos.items())), tuple(passed_over)


class _Look:
    """Goes through everything below a directory; ``by_class`` if photos must lie in folders of classes."""

    def __init__(self, root: Path, *, by_class: bool = True) -> None:
        self._root, self._real, self._by_class = root, os.path.realpath(root), by_class
        self.passed_over: list[PassedOver] = []

    def name(self, path: Path) -> str:
        """A path relative to the source, as it is shown and stored."""
        return name_of(path.relative_to(self._root))

    def folders(self) -> dict[str, list[Path]]:
        """The photos of each folder that has any."""
        found: dict[str, list[Path]] = {}
        for entry in _listed(self._root):
            why = self._why_not(entry)
            if why is None and not _is_folder(entry):
                why = _BESIDE
            if why is not None:
                self._pass_over(entry, why)
            elif files := self.photos(Path(entry.path)):
                found[entry.name] = files
            else:
                self._pass_over(entry, _NO_PHOTOS if _listed(Path(entry.path)) else _EMPTY)
        return found

    def splits(self, found: Mapping[str, Sequence[Path]]) -> dict[str | None, dict[str, list[Path]]]:
        """The photos by split and class folder, where the folders of the source are splits.

        Raises:
            BadRequestError: none of them has class folders, or two are the same split.
        """
        by_split: dict[str | None, dict[str, list[Path]]] = {}
        folders: dict[str | None, str] = {}
        for folder, files in sorted(found.items()):
            of_classes: dict[str, list[Path]] = {}
            loose: list[Path] = []
            for file in files:
                name, *rest = file.relative_to(self._root / folder).parts
                (of_classes.setdefault(name, []) if rest else loose).append(file)
            if not of_classes:
                self.passed_over.append(PassedOver(f"{folder}/", *_NO_LABELS))
                continue
            self.passed_over += [PassedOver(self.name(file), *_BESIDE) for file in loose]
            split = given_splits.named(folder)
            if split in by_split:
                raise BadRequestError(
                    f"{self._root}: {folders[split]} and {folder} are both {split}; merge them, or rename one"
                )
            by_split[split], folders[split] = of_classes, folder
        if not by_split:
            raise BadRequestError(
                f"{self._root}: {' and '.join(sorted(found))} have the names of splits, but no class folders in them; "
                "sort the photos into class folders, or rename the folders if they are classes"
            )
        return by_split

    def photos(self, folder: Path) -> list[Path]:
        """The photos below a folder."""
        photos: list[Path] = []
        for entry in _listed(folder):
            why = self._why_not(entry)
            if why is not None:
                self._pass_over(entry, why)
            elif not _is_folder(entry):
                photos.append(Path(entry.path))
            elif _listed(Path(entry.path)):
                photos += self.photos(Path(entry.path))
            else:
                self._pass_over(entry, _EMPTY)
        return photos

    def _why_not(self, entry: os.DirEntry[str]) -> tuple[str, str] | None:
        """Why an entry is left out, and what to do about it; None for folders to look into, and for photos."""
        if entry.name.startswith("."):
            return _HIDDEN
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if os.path.commonpath([target, self._real]) != self._real:
                return _LEADS_OUT
            if _is_folder(entry):
                return _LINKED_FOLDER
        if _is_folder(entry):
            return _ARTIFACTS if is_artifacts_directory(Path(entry.path)) else None
        if entry.name.lower().endswith(SUFFIXES):
            return None
        if entry.is_symlink() and not Path(entry.path).exists():
            return _LEADS_NOWHERE
        beside = self._by_class and Path(entry.path).parent == self._root
        return _BESIDE if beside else _why_no_photo(entry)

    def _pass_over(self, entry: os.DirEntry[str], why: tuple[str, str]) -> None:
        is_folder = entry.is_dir(follow_symlinks=False)
        self.passed_over.append(PassedOver(self.name(Path(entry.path)) + "/" * is_folder, *why))


def _why_no_photo(entry: os.DirEntry[str]) -> tuple[str, str] | None:
    """Why a file's content is not that of a photo; None if it is a photo."""
    form = images.format_of(_start(Path(entry.path))) if entry.is_file() else None
    if form is None:
        return _NO_PHOTO
    if form in images.readable_formats():
        return None
    return f"a photo in {form}, which is not read", images.way_out_of(form)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _start(file: Path) -> bytes:
    """The first bytes of a file; empty if it cannot be read."""
    try:
        with file.open("rb") as stream:
            return stream.read(_START)
    except OSError:
        return b""


def is_artifacts_directory(folder: Path) -> bool:
    """Whether `prepare` has made a data set in a folder."""
    return _RECORD_START.match(_start(folder / _RECORD)) is not None
