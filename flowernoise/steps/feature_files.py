"""``features``: extracts the features of all photos, imports one's own, or writes them to a file."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

from flowernoise.analysis.results.stages import FeaturesResult
from flowernoise.catalogue import feature_tables
from flowernoise.catalogue.feature_tables import FeatureTable
from flowernoise.errors import BadRequestError, DamagedFileError, FlowernoiseError
from flowernoise.progress import Progress
from flowernoise.safe.atomic import reason, write_output
from flowernoise.steps import backbone
from flowernoise.steps.features import FeatureWork, cached, extractor_of, missing, settled
from flowernoise.steps.outputs import Inputs
from flowernoise.steps.settings import FeaturesSettings
from flowernoise.store import artifacts, claims, datasets, own_features
from flowernoise.store.feature_cache import FeatureArray
from flowernoise.store.labels import PhotoNames
from flowernoise.store.layout import Layout
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import Dataset, OwnFeatures
from flowernoise.training import engine


def features(artifacts_directory: Path, settings: FeaturesSettings, progress: Progress) -> FeaturesResult:
    """Makes sure that all photos have features, and reads or writes a file of them if asked to.

    Raises:
        BadRequestError: nothing is prepared, the backbone is unknown, the file to import is wrong, or its name is
            that of other features.
        DamagedFileError: photos or features are damaged.
        FlowernoiseError: the backbone's weights cannot be reached, or a file cannot be read or written.
    """
    settings.check()
    layout = artifacts.opened(artifacts_directory)
    dataset = datasets.need(layout)
    backbone.refuse_without_photos(dataset, "features")
    index = datasets.index(layout, dataset)
    if settings.import_ is not None and settings.name is not None:
        return _imported(layout, dataset, index, settings.import_, own_features.checked_name(settings.name), progress)
    if settings.export is not None:
        Inputs([artifacts_directory]).refuse(settings.export)
    spec, network = backbone.of(layout, dataset, settings.backbone, progress)
    work = FeatureWork(layout, dataset, index, spec, network, extractor_of(network, engine.describe()))
    work = settled(work, progress)
    extracted = 0 if backbone.is_own(spec) else missing(work, progress)
    array = cached(work, progress)
    written = settings.export is not None and _write(settings.export, index, array)
    return FeaturesResult(
        backbone=str(spec),
        photos=len(index),
        dimension=array.shape[1],
        extracted=extracted,
        file=settings.export,
        done_before=not extracted and not written,
    )


def _write(file: Path, index: Sequence[IndexedPhoto], array: FeatureArray) -> bool:
    ids, paths = [photo.id for photo in index], [photo.path for photo in index]
    return write_output(file, feature_tables.encoded(file, ids, paths, array))


# Importing ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _imported(
    layout: Layout, dataset: Dataset, index: Sequence[IndexedPhoto], file: Path, name: str, progress: Progress
) -> FeaturesResult:
    with progress.task(f"importing {file}", None, ""):
        table = feature_tables.read(file)
        ids, array = _by_id(file, table, index, datasets.dropped_paths(dataset))
        with claims.exclusive(layout, "importing features", progress):
            done_before = _is_there(layout, name, own_features.digest_of(ids, array), progress)
            if not done_before:
                own_features.write(layout, name, _digest(file), ids, array)
    return FeaturesResult(
        backbone=f"features:{name}",
        photos=len(ids),
        dimension=array.shape[1],
        file=file,
        imported=True,
        done_before=done_before,
    )


def _by_id(
    file: Path, table: FeatureTable, index: Sequence[IndexedPhoto], dropped: Collection[str]
) -> tuple[list[str], FeatureArray]:
    """Ids of all photos, sorted, and their rows.

    Raises:
        BadRequestError: a row is of an unknown photo, two are of one photo, or a photo has none.
    """
    if table.keys is None:
        if len(table.features) != len(index):
            raise BadRequestError(
                f"{file} holds {len(table.features):,} rows for {len(index):,} photos; without id or path, rows must "
                "be in the order of `flowernoise features --export`"
            )
        row_of = {photo.id: row for row, photo in enumerate(index)}
    else:
        row_of = _rows(file, table.keys, PhotoNames(index, dropped))
    missing = [photo for photo in index if photo.id not in row_of]
    if missing:
        raise BadRequestError(
            f"{file} has no row for {len(missing):,} of the {len(index):,} photos, such as {missing[0].path}; every "
            "photo needs its row"
        )
    ids = sorted(row_of)
    return ids, table.features[[row_of[id] for id in ids]]


def _rows(file: Path, keys: Sequence[str], names: PhotoNames) -> dict[str, int]:
    """The row of each photo, by its id; rows of photos that ``prepare`` dropped are left out."""
    row_of: dict[str, int] = {}
    for row, key in enumerate(keys):
        shown = key[:200] if key.isprintable() else ascii(key[:200])
        try:
            photo = names.photo(key)
        except LookupError as error:
            raise BadRequestError(f"{file}, row {row:,}: {error}") from error
        if photo is None:
            continue
        if photo.id in row_of:
            raise BadRequestError(f"{file}, row {row:,}: photo {shown} already has row {row_of[photo.id]:,}")
        row_of[photo.id] = row
    return row_of


def _is_there(layout: Layout, name: str, digest: str, progress: Progress) -> bool:
    """Whether these features are stored and intact.

    Raises:
        BadRequestError: others are.
    """
    try:
        found = own_features.find(layout, name)
        if found is not None and found.digest != digest:
            raise BadRequestError(f"--name {name}: {_described(found)} of this name are there; choose another name")
        return found is not None and own_features.read(layout, found) is not None
    except DamagedFileError as error:
        progress.note(f"{error}; storing the features again")
        return False


def _described(found: OwnFeatures) -> str:
    return f"other features ({len(found.ids):,} photos, {found.dimension:,} numbers each)"


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise FlowernoiseError(f"cannot read {file}: {reason(error)}") from error
