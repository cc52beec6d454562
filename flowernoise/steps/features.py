"""Features of all photos of a data set, in one cache that ``train`` and ``corrupt`` share."""

from __future__ import annotations

import contextlib
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
from flowernoise.store import claims, feature_cache, feature_rows, own_features
from flowernoise.store.claims import Claim, Held, Others
from flowernoise.store.feature_cache import FeatureArray
from flowernoise.store.layout import Layout
from flowernoise.store.photos import Archive, IndexedPhoto
from flowernoise.store.records import Dataset, Features, FeaturesKey
from flowernoise.training import engine, features, inference
from flowernoise.training.engine import BFLOAT16, FLOAT32, MIN_COSINE, Engine, Extractor

FeaturesOf = Callable[[int, Sequence[IndexedPhoto], Advance], FeatureArray]
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
            photos=feature_cache.digest_of_photos([photo.id for photo in self.index]),
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

    Other processes that need the same features share the extraction, shard by shard.

    Raises:
        BadRequestError: imported features lack a photo.
        DamagedFileError: photos or imported features are damaged.
    """
    if own := is_own(work.backbone_spec):
        return own_features.rows(work.layout, own, work.index)
    work = settled(work, progress)
    key = work.key
    found = _find(work, key, progress)
    if found is not None:
        return found
    extraction = _Shards(work, progress)
    while True:
        with claims.claimed(work.layout, progress, extraction.choose) as held:
            extraction.extract_units(held)
        if not extraction.holders:
            return feature_cache.read(work.layout, extraction.finished())
        claims.wait_for(extraction.holders)


def _find(work: FeatureWork, key: FeaturesKey, progress: Progress) -> FeatureArray | None:
    try:
        found = feature_cache.find(work.layout, key)
        return None if found is None else feature_cache.read(work.layout, found)
    except DamagedFileError as error:
        progress.note(f"{error}; extracting the damaged part again")
        return None


class _Shards:
    """The shards of an extraction, shared with other processes that make the same one.

    Attributes:
        start: first photo of the shard that this process has claimed; None if no shard is free.
        holders: other processes' claims on missing shards.
    """

    def __init__(self, work: FeatureWork, progress: Progress) -> None:
        self.start: int | None = None
        self.holders: dict[Path, Claim] = {}
        self._work, self._progress, self._key = work, progress, work.key
        self._extraction = feature_cache.Extraction(work.layout, self._key, len(work.index))
        found = {start: self._extraction.existing(start) for start in self._extraction.starts()}
        self._there = {start: shard for start, shard in found.items() if shard is not None}

    def choose(self, others: Others) -> Claim | None:
        """Claims the first missing shard that nobody else has claimed."""
        name = f"features {feature_cache.name_of(self._key)} of {self._work.backbone_spec}"
        holder_of = {shard: lock for lock, each in others.items() if each.work == name for shard in each.makes}
        self.start, self.holders = None, {}
        for start in self._extraction.starts():
            shard = f"{start:08}"
            if start in self._there:
                continue
            if shard in holder_of:
                self.holders[holder_of[shard]] = others[holder_of[shard]]
            elif (made := self._extraction.existing(start)) is not None:  # another process has made it meanwhile
                self._there[start] = made
            else:
                self.start = start
                return Claim(name, makes={shard: ""})
        return None

    def extract_units(self, held: Held) -> None:
        """Extracts the claimed shard, claims the next, and so on until no shard is free."""
        if self.start is None:
            return
        work, features_of = self._work, _features_of(self._work, self._progress)
        description = f"extracting features · {work.backbone_spec} · {work.extractor}"
        with self._progress.task(description, len(work.index), "photos") as advance:
            advance(sum(map(len, map(self._photos, self._there))))
            while self.start is not None:
                array = features_of(self.start, self._photos(self.start), advance)
                if not np.isfinite(array).all():
                    raise FlowernoiseError(
                        f"backbone {work.backbone_spec} gives features that are not finite; its weights may be "
                        "damaged; use other weights or another --backbone"
                    )
                self._there[self.start] = self._extraction.write(self.start, array)
                held.change(self.choose)

    def finished(self) -> Features:
        """The record of all shards; the first process that has them all writes it."""
        shards = tuple(self._there[start] for start in self._extraction.starts())
        with contextlib.suppress(DamagedFileError):
            found = feature_cache.find(self._work.layout, self._key)
            if found is not None and found.shards == shards:
                return found
        return self._extraction.finish(shards)

    def _photos(self, start: int) -> Sequence[IndexedPhoto]:
        return self._work.index[start : start + feature_cache.SHARD]


def _features_of(
    work: FeatureWork, progress: Progress
) -> Callable[[int, Sequence[IndexedPhoto], Advance], FeatureArray]:
    """Computes the features of a shard's photos, given the first one's number, or reads those that were given."""
    if work.dataset.given is not None:
        rows = feature_rows.read(work.layout, work.dataset)

        def given(start: int, photos: Sequence[IndexedPhoto], advance: Advance) -> FeatureArray:
            advance(len(photos))
            return rows[start : start + len(photos)]

        return given
    model, archive = _network(work, progress), Archive(work.layout.photos, work.dataset.archive)
    size = work.dataset.request.image_size
    return lambda _, photos, advance: features.extract(model, archive.read(photos), size, advance)


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
