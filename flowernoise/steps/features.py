"""Features of all photos of a data set, in one cache that ``train`` and ``corrupt`` share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.catalogue.backbones import GIVEN, Backbone
from flowernoise.errors import DamagedFileError, FlowernoiseError
from flowernoise.progress import Advance, Progress
from flowernoise.registry import Spec
from flowernoise.safe import images
from flowernoise.steps.backbone import is_own
from flowernoise.steps.loading import loading
from flowernoise.store import claims, feature_cache, feature_rows, files, own_features
from flowernoise.store.claims import Claim, Held, Others
from flowernoise.store.feature_cache import FeatureArray
from flowernoise.store.layout import Layout
from flowernoise.store.photos import Archive, IndexedPhoto
from flowernoise.store.records import Dataset, FeatureShard, FeaturesKey
from flowernoise.training import engine, features, inference
from flowernoise.training.engine import BFLOAT16, FLOAT32, MIN_COSINE, Engine, Extractor

FeaturesOf = Callable[[Sequence[IndexedPhoto], Advance], FeatureArray]
SAMPLE = 32  # number of photos on which bfloat16 is tried


@dataclasses.dataclass(frozen=True)
class FeatureWork:
    """Which photos need features, from which backbone, by which extractor; ``converted`` caches a converted network."""

    layout: Layout
    dataset: Dataset
    index: tuple[IndexedPhoto, ...]
    backbone_spec: Spec
    backbone: Backbone
    extractor: Extractor
    converted: list[Any] = dataclasses.field(default_factory=list, compare=False)

    @property
    def key(self) -> FeaturesKey:
        """Everything on which the features depend."""
        return FeaturesKey(
            image_size=self.dataset.request.image_size,
            decoding=images.DECODING,
            backbone=str(self.backbone_spec),
            weights=self.backbone.weights_digest,
            engine=self.extractor.name,
            device=self.extractor.device,
            precision=self.extractor.precision,
        )

    def in_precision(self, precision: str) -> FeatureWork:
        """The same work in another precision."""
        return dataclasses.replace(self, extractor=dataclasses.replace(self.extractor, precision=precision))


def extractor_of(backbone: Backbone, described: Engine) -> Extractor:
    """What extracts the features of a backbone; nothing does where they were given."""
    if backbone.name == GIVEN:
        return Extractor("given", "file", FLOAT32)
    if backbone.openvino is not None:
        return engine.extractor_of_files(described)
    return engine.extractor(described, backbone.bfloat16)


def settled(work: FeatureWork, progress: Progress) -> FeatureWork:
    """The same work with its final precision: bfloat16 is only kept if it does well on the first photos.

    Raises:
        DamagedFileError: photos are damaged.
    """
    if work.extractor.precision != BFLOAT16:
        return work
    for there in (work, work.in_precision(FLOAT32)):
        if feature_cache.is_there(work.layout, there.key):
            return there
    size, sample = work.dataset.request.image_size, work.index[:SAMPLE]
    archive = Archive(work.layout.photos, work.dataset.archive)
    networks = [_network(work.in_precision(each), progress) for each in (BFLOAT16, FLOAT32)]
    with progress.task("trying features in bfloat16", 2 * len(sample), "photos") as advance:
        of_sample = [features.extract(network, archive.read(sample), size, advance) for network in networks]
    cosine = inference.least_cosine(*of_sample)
    if cosine >= MIN_COSINE:
        return work
    progress.note(f"bfloat16 features of {work.backbone_spec} have cosine {cosine:.5f}; using float32 instead")
    return work.in_precision(FLOAT32)


def cached(work: FeatureWork, progress: Progress) -> FeatureArray:
    """Features of all photos [photo, dimension], from the cache or extracted now; damaged shards are made again.

    Only photos without features are extracted. Other processes that need the same ones share that, shard by shard.

    Raises:
        BadRequestError: imported features lack a photo.
        DamagedFileError: photos or imported features are damaged.
    """
    if own := is_own(work.backbone_spec):
        return own_features.rows(work.layout, own, work.index)
    extraction = _Extraction(settled(work, progress), progress)
    while (found := extraction.read()) is None:
        with claims.claimed(work.layout, progress, extraction.choose) as held:
            extraction.extract_units(held)
        if extraction.holders:
            claims.wait_for(extraction.holders)
    return found


def missing(work: FeatureWork, progress: Progress) -> int:
    """How many photos have no features yet."""
    return len(_Extraction(work, progress).missing())


class _Extraction:
    """The features of a data set's photos; those that are missing are extracted in units that processes share.

    Attributes:
        unit: the photos that this process has claimed; none if no unit is free.
        holders: other processes' claims on missing units.
    """

    def __init__(self, work: FeatureWork, progress: Progress) -> None:
        self.unit: tuple[IndexedPhoto, ...] = ()
        self.holders: dict[Path, Claim] = {}
        self._work, self._progress, self._key = work, progress, work.key
        self._ids = [photo.id for photo in work.index]
        self._shards: dict[str, FeatureShard] = {}  # by the name of their record
        self._units: list[tuple[IndexedPhoto, ...]] = []

    def missing(self) -> list[str]:
        """The photos without features; looks at what other processes have written meanwhile."""
        layout, names = self._work.layout, feature_cache.names(self._work.layout, self._key)
        for name in set(names) - self._shards.keys():
            try:
                self._shards[name] = feature_cache.read_record(layout, name)
            except DamagedFileError as error:
                self._progress.note(f"{error}; its photos are extracted again")
                files.quarantine(layout.features / name)
        self._shards = {name: self._shards[name] for name in names if name in self._shards}
        return feature_cache.missing(self._shards.values(), self._ids)

    def read(self) -> FeatureArray | None:
        """Features of all photos [photo, dimension], or None if some are missing; sets damaged shards aside."""
        without = self.missing()
        if not without:
            found = list(self._shards.values())
            try:
                return feature_cache.read(self._work.layout, found, self._ids)
            except DamagedFileError as error:
                self._progress.note(f"{error}; extracting the damaged part again")
                self._set_aside_damaged(found)
            without = self.missing()
        photos = {photo.id: photo for photo in self._work.index}
        left = [photos[id] for id in without]
        size = feature_cache.SHARD
        self._units = [tuple(left[start : start + size]) for start in range(0, len(left), size)]
        return None

    def choose(self, others: Others) -> Claim | None:
        """Claims the first unit with a missing photo that nobody else has claimed."""
        name = f"features {feature_cache.name_of(self._key)} of {self._work.backbone_spec}"
        holder_of = {unit: lock for lock, each in others.items() if each.work == name for unit in each.makes}
        self.unit, self.holders = (), {}
        without = set(self.missing())
        for unit in self._units:
            if without.isdisjoint(photo.id for photo in unit):
                continue
            digest = feature_cache.name_of_shard(self._key, [photo.id for photo in unit])
            if digest not in holder_of:
                self.unit = unit
                return Claim(name, makes={digest: ""})
            self.holders[holder_of[digest]] = others[holder_of[digest]]
        return None

    def extract_units(self, held: Held) -> None:
        """Extracts the claimed unit, claims the next, and so on until no unit is free."""
        if not self.unit:
            return
        work, features_of = self._work, _features_of(self._work, self._progress)
        description = f"extracting features · {work.backbone_spec} · {work.extractor}"
        with self._progress.task(description, len(work.index), "photos") as advance:
            advance(len(work.index) - sum(map(len, self._units)))
            while self.unit:
                array = features_of(self.unit, advance)
                if not np.isfinite(array).all():
                    raise FlowernoiseError(
                        f"backbone {work.backbone_spec} gives features that are not finite; its weights may be "
                        "damaged; use other weights or another --backbone"
                    )
                feature_cache.write(work.layout, self._key, [photo.id for photo in self.unit], array)
                held.change(self.choose)

    def _set_aside_damaged(self, found: Sequence[FeatureShard]) -> None:
        for shard in found:
            try:
                feature_cache.read_shard(self._work.layout, shard)
            except DamagedFileError:
                feature_cache.quarantine(self._work.layout, shard)


def _features_of(work: FeatureWork, progress: Progress) -> FeaturesOf:
    """Computes the features of a unit's photos, or reads those that were given."""
    if work.dataset.given is not None:
        rows = feature_rows.read(work.layout, work.dataset)
        places = {photo.id: place for place, photo in enumerate(work.index)}

        def given(photos: Sequence[IndexedPhoto], advance: Advance) -> FeatureArray:
            advance(len(photos))
            found: FeatureArray = rows[[places[photo.id] for photo in photos]]
            return found

        return given
    model, archive = _network(work, progress), Archive(work.layout.photos, work.dataset.archive)
    size = work.dataset.request.image_size
    return lambda photos, advance: features.extract(model, archive.read(photos), size, advance)


def _network(work: FeatureWork, progress: Progress) -> Any:
    """The backbone in the form that the extractor runs."""
    size = work.dataset.request.image_size
    if work.converted:
        return inference.Network(work.converted[0], inference.HINTS[work.extractor.precision])
    if work.backbone.openvino is not None:
        with loading(f"{work.backbone_spec}", progress):
            work.converted.append(work.backbone.openvino(size, inference.REQUEST))
        return inference.Network(work.converted[0], inference.HINTS[work.extractor.precision])
    with loading(f"Keras and {work.backbone_spec}", progress):
        built = work.backbone.build(size)
    if not work.extractor.is_openvino:
        return built
    with progress.task(f"converting {work.backbone_spec} for OpenVINO", None, ""):
        work.converted.append(inference.convert(built))
        return inference.Network(work.converted[0], inference.HINTS[work.extractor.precision])
