"""The data set of an artifacts directory, as ``prepare`` recorded it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence

from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.store import files, photos
from flowernoise.store.layout import Layout
from flowernoise.store.photos import IndexedPhoto, Splits
from flowernoise.store.records import SPLITS, Dataset, GivenFeatures

KIND = "dataset"


def find(layout: Layout) -> Dataset | None:
    """The prepared data set, or None.

    Raises:
        DamagedFileError: the record is damaged.
    """
    return files.read_record(layout.dataset, KIND, Dataset) if layout.dataset.exists() else None


def need(layout: Layout) -> Dataset:
    """The prepared data set.

    Raises:
        BadRequestError: nothing is prepared yet.
        DamagedFileError: the record is damaged.
    """
    dataset = find(layout)
    if dataset is None:
        raise BadRequestError(f"nothing is prepared in {layout.root}; run `flowernoise prepare` first")
    return dataset


def write(layout: Layout, dataset: Dataset) -> None:
    """Records ``dataset`` as the directory's data set."""
    files.write_record(layout.dataset, KIND, dataset)


def index(layout: Layout, dataset: Dataset) -> tuple[IndexedPhoto, ...]:
    """The photos of train, val and test, in that order; where there are several splits, those of the first.

    Photos that are only in further splits come last.

    Raises:
        DamagedFileError: the index is damaged, or does not fit the record.
    """
    found = photos.read_index(layout.photos, dataset.index)
    where = layout.photos / dataset.index.name
    classes = range(len(dataset.classes))
    if any(photo.label not in classes or photo.offset + photo.size > dataset.archive.size for photo in found):
        raise DamagedFileError(f"{where} names a class that does not exist, or a place beyond the end of the archive")
    if any(len(photo.splits) != dataset.splits for photo in found):
        raise DamagedFileError(f"{where} does not hold as many splits as {layout.dataset} says")
    for number in range(dataset.splits):
        counts = Counter((photo.splits[number], photo.label) for photo in found)
        if any(
            tuple(counts[split, label] for label in classes) != row
            for split, row in zip(SPLITS, dataset.counts, strict=True)
        ):
            raise DamagedFileError(f"{where} does not hold as many photos of each class as {layout.dataset} says")
    return found


def splits(layout: Layout, dataset: Dataset) -> Splits:
    """The photos of each split.

    Raises:
        DamagedFileError: as for :func:`index`.
    """
    return Splits(index(layout, dataset), dataset.splits)


def dropped_paths(dataset: Dataset) -> frozenset[str]:
    """Paths in the source that ``prepare`` looked at, some of whose photos it left out."""
    groups = (*dataset.identical, *dataset.contradictory, tuple(each.path for each in dataset.unreadable))
    return frozenset(path for group in groups for path in group)


def identity(
    image_size: int, classes: Sequence[str], index: Iterable[IndexedPhoto], given: GivenFeatures | None = None
) -> str:
    """The id of a data set: digest of classes, image size, and every photo's id, split, label and further splits.

    Photos are known by their ids, but features that came without photos are not, so their digest is part of it.
    """
    features = [] if given is None else [given.digest]
    photos_in_splits = [(photo.id, photo.split, photo.label, *photo.further) for photo in index]
    return files.digest_of([image_size, tuple(classes), photos_in_splits, *features])


def damage(layout: Layout, dataset: Dataset) -> DamagedFileError | None:
    """Checks every byte of the photos' files; returns what is wrong, or None."""
    try:
        for ref in dataset.files:
            files.check_blob(layout.photos, ref)
    except DamagedFileError as error:
        return error
    return None


def remove_replaced(layout: Layout, before: Dataset, now: Dataset) -> None:
    """Removes the photos of the data set that was replaced."""
    for ref in set(before.files) - set(now.files):
        with contextlib.suppress(DamagedFileError):
            files.remove(files.checked_path(layout.photos, ref))


def made_from_another(layout: Layout) -> tuple[str, ...]:
    """Names of the later stages that hold something and go stale when the data set changes; features are of photos."""
    stages = (("draws", layout.draws), ("runs", layout.runs))
    found = tuple(name for name, directory in stages if directory.is_dir() and any(directory.glob("*.json")))
    return (*found, "evaluation") if layout.evaluation.exists() else found
