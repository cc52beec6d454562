"""Tables that give the photos of a directory their labels, whatever the folders that they lie in."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from flowernoise.catalogue import class_names, given_splits, photo_folders
from flowernoise.catalogue.photo_folders import PassedOver, PhotoFile
from flowernoise.catalogue.transition_matrix import read_bytes
from flowernoise.errors import BadRequestError
from flowernoise.registry import did_you_mean
from flowernoise.safe import tables
from flowernoise.safe.paths import PathsByName, name_of
from flowernoise.safe.streams import printable

LABEL, SPLIT, ID = "label", "split", "id"
PATHS = ("path", "file", "filename", "file_name")
_METADATA = tuple(f"metadata{suffix}" for suffix in (".csv", ".jsonl", ".parquet"))


@dataclasses.dataclass(frozen=True)
class LabelFile:
    """A table of labels: its paths are relative to a folder of the source, whose photos may all be of one split."""

    path: Path
    folder: str = ""
    split: str | None = None

    @property
    def data(self) -> bytes:
        """Its content."""
        return read_bytes(str(self.path), "--labels")


@dataclasses.dataclass(frozen=True)
class LabelRequest:
    """The tables that give labels, and the column that has them."""

    files: tuple[LabelFile, ...]
    column: str = LABEL


@dataclasses.dataclass(frozen=True)
class LabelledPhotos:
    """The photos that tables name.

    Args:
        classes: names of the classes.
        photos: the photos that have a label, by path.
        columns: names of the further columns.
        passed_over: what is no photo.
        without_label: how many photos no row names.
        without_photo: what the rows name whose photo is not there.
        classes_without_photo: labels that only such rows have; they are no classes.
    """

    classes: tuple[str, ...]
    photos: tuple[PhotoFile, ...]
    columns: tuple[str, ...]
    passed_over: tuple[PassedOver, ...]
    without_label: int
    without_photo: tuple[str, ...]
    classes_without_photo: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Row:
    where: str
    photo: str
    label: str
    split: str | None
    columns: Mapping[str, str]


def in_folder(root: Path) -> LabelRequest | None:
    """The tables that a directory brings, as for ImageFolder: ``metadata.csv`` with ``file_name`` and ``label``.

    There may be one in the directory itself, or one in each of its splits. Files without these columns are none.
    """
    top = _metadata_in(root, "", None)
    if top is not None:
        return LabelRequest((top,))
    folders = sorted(each.name for each in root.iterdir() if each.is_dir())
    found = [_metadata_in(root, f"{name}/", given_splits.named(name)) for name in folders if given_splits.named(name)]
    files = tuple(file for file in found if file is not None)
    return LabelRequest(files) if files else None


def _metadata_in(root: Path, folder: str, split: str | None) -> LabelFile | None:
    for name in _METADATA:
        file = LabelFile(root / folder / name, folder, split)
        if not file.path.is_file() or b"file_name" not in (data := file.data):  # another kind of file, maybe no table
            continue
        if {"file_name", LABEL} <= set(tables.read(data, name_of(file.path)).columns):
            return file
    return None


def labelled(root: Path, request: LabelRequest) -> LabelledPhotos:
    """The photos of a directory that tables name, with their labels.

    A photo goes by its path in the source (or a longer one, or its file name, if no other photo has that), or by the
    SHA-256 of its file.

    Raises:
        BadRequestError: a column is missing, a label or a split is wrong, a photo has two rows, or no row has a photo.
        OSError: the directory cannot be listed.
    """
    there, passed_over = photo_folders.all_photos(root, [file.path for file in request.files])
    names = ", ".join(name_of(file.path) for file in request.files)
    by_path: dict[str, _Row] = {}
    columns: dict[str, None] = {}
    without_photo: list[str] = []
    lost_labels: set[str] = set()
    for file in request.files:
        further, by_id, rows = _read(file, request.column)
        columns |= dict.fromkeys(further)
        find = _ids(there).get if by_id else PathsByName(there).find
        for row in rows:
            name = row.photo if by_id else file.folder + row.photo.removeprefix("./")
            try:
                path = find(name)
            except LookupError as error:
                raise BadRequestError(f"{row.where}: {error}") from error
            if path is None:
                without_photo.append(printable(name))
                lost_labels.add(row.label)
            elif path in by_path:
                raise BadRequestError(f"{row.where}: {path} already has a label, in {by_path[path].where}")
            else:
                by_path[path] = row
    if not by_path:
        such = f", such as {without_photo[0]}" if without_photo else ""
        raise BadRequestError(
            f"{names} names none of the {len(there):,} photos in {root}; it has {len(without_photo):,} rows{such}; "
            "paths are relative to that directory"
        )
    paths = [path for path in there if path in by_path]
    classes, labels = class_names.numbered(names, [by_path[path].label for path in paths])
    photos = tuple(
        PhotoFile(path, label, by_path[path].split, there[path], by_path[path].columns)
        for path, label in zip(paths, labels, strict=True)
    )
    lost = tuple(printable(label) for label in class_names.in_order(lost_labels - set(classes)))
    return LabelledPhotos(
        classes, photos, tuple(columns), passed_over, len(there) - len(paths), tuple(without_photo), lost
    )


def _read(file: LabelFile, label: str) -> tuple[tuple[str, ...], bool, Iterator[_Row]]:
    """The further columns of a table, whether it goes by ids, and its rows."""
    name = name_of(file.path)
    table = tables.read(file.data, name)
    key = next((column for column in (*PATHS, ID) if column in table.columns), None)
    if key is None:
        raise BadRequestError(
            f"{name} has no column that names photos ({', '.join((*PATHS, ID))}); it has {_listed(table.columns)}"
        )
    if label not in table.columns:
        raise BadRequestError(
            f"{name} has no column {label!r}{did_you_mean(label, table.columns)}; it has {_listed(table.columns)}; "
            "say which has the labels with --label-column"
        )
    further = tuple(column for column in table.columns if column not in (*PATHS, ID, label, SPLIT))

    def rows() -> Iterator[_Row]:
        for place, cells in table.rows:
            where = f"{name}, {place}"
            if not cells[key]:
                raise BadRequestError(f"{where}: {key} is empty")
            if not cells[label].strip():
                raise BadRequestError(f"{where}: the label of {cells[key]} is empty; give it one, or leave its row out")
            split = given_splits.required(cells[SPLIT], where) if SPLIT in cells else file.split
            columns = {column: printable(cells[column].strip()) for column in further}
            yield _Row(where, cells[key], cells[label].strip(), split, columns)

    return further, key == ID, rows()


def _listed(columns: Sequence[str]) -> str:
    return printable(", ".join(columns)[:200]) or "none"


def _ids(photos: Mapping[str, Path]) -> dict[str, str]:
    """The photos' paths by the SHA-256 of their files; the first path of equal ones, and none of unreadable ones."""
    ids: dict[str, str] = {}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for path, id in zip(photos, pool.map(_id, photos.values()), strict=True):
            if id is not None:
                ids.setdefault(id, path)
    return ids


def _id(file: Path) -> str | None:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
