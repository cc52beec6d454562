"""The data set of an artifacts directory: the record of ``prepare``."""

from __future__ import annotations

import contextlib

from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.store import files
from flowernoise.store.layout import Layout
from flowernoise.store.records import Dataset

KIND = "dataset"


def find(layout: Layout) -> Dataset | None:
    """The prepared data set, or None.

    Raises:
        DamagedFileError: there is a record, but it is not what was written.
    """
    return files.read_record(layout.dataset, KIND, Dataset) if layout.dataset.exists() else None


def need(layout: Layout) -> Dataset:
    """The prepared data set.

    Raises:
        BadRequestError: nothing is prepared yet.
        DamagedFileError: there is a record, but it is not what was written.
    """
    dataset = find(layout)
    if dataset is None:
        raise BadRequestError(f"nothing is prepared in {layout.root}; run `flowernoise prepare` first")
    return dataset


def write(layout: Layout, dataset: Dataset) -> None:
    """Makes ``dataset`` the one of the directory."""
    files.write_record(layout.dataset, KIND, dataset)


def damage(layout: Layout, dataset: Dataset) -> DamagedFileError | None:
    """What is wrong with the photos' files, every byte checked; None where they are whole."""
    try:
        for ref in (dataset.archive, dataset.index):
            files.check_blob(layout.photos, ref)
    except DamagedFileError as error:
        return error
    return None


def remove_replaced(layout: Layout, before: Dataset, now: Dataset) -> None:
    """Removes the photos of a data set that was replaced."""
    for ref in {before.archive, before.index} - {now.archive, now.index}:
        with contextlib.suppress(DamagedFileError, OSError):
            files.checked_path(layout.photos, ref).unlink()


def made_from_another(layout: Layout) -> tuple[str, ...]:
    """Names of the later stages that hold something, all stale once the data set changes."""
    stages = (("draws", layout.draws), ("features", layout.features), ("runs", layout.runs))
    found = tuple(name for name, directory in stages if directory.is_dir() and any(directory.glob("*.json")))
    return (*found, "evaluation") if layout.evaluation.exists() else found
