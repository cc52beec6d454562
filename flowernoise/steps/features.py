"""Features of all photos of a data set: the one cache that ``train`` and ``corrupt`` share."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from flowernoise.catalogue.backbones import Backbone
from flowernoise.errors import DamagedFileError, FlowernoiseError
from flowernoise.progress import Progress
from flowernoise.registry import Spec
from flowernoise.safe import images
from flowernoise.store import claims, feature_cache
from flowernoise.store.feature_cache import FeatureArray
from flowernoise.store.layout import Layout
from flowernoise.store.photos import Archive, IndexedPhoto
from flowernoise.store.records import Dataset, Features, FeaturesKey
from flowernoise.training import features, inference
from flowernoise.training.engine import BFLOAT16, FLOAT32, MIN_COSINE, Extractor

SAMPLE = 32  # photos on which bfloat16 is tried


@dataclasses.dataclass(frozen=True)
class FeatureWork:
    """Which photos' features, of which backbone, extracted by what; ``converted`` keeps a converted network."""

    layout: Layout
    dataset: Dataset
    index: tuple[IndexedPhoto, ...]
    backbone_spec: Spec
    backbone: Backbone
    extractor: Extractor
    converted: list[Any] = dataclasses.field(default_factory=list, compare=False)

    @property
    def key(self) -> FeaturesKey:
        """What the photos' features depend on."""
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
        """The same in another precision."""
        return dataclasses.replace(self, extractor=dataclasses.replace(self.extractor, precision=precision))


def settled(work: FeatureWork, progress: Progress) -> FeatureWork:
    """The same in the precision that is used: bfloat16, where it is to be tried, only if the first photos bear it out.

    Raises:
        DamagedFileError: photos that are not what was prepared.
    """
    if work.extractor.precision != BFLOAT16:
        return work
    for there in (work, work.in_precision(FLOAT32)):
        if feature_cache.is_there(work.layout, there.key):
            return there
    size, sample = work.dataset.request.image_size, work.index[:SAMPLE]
    archive = Archive(work.layout.photos, work.dataset.archive)
    of_sample = [
        features.extract(_openvino(work.in_precision(each)), archive.read(sample), size, lambda _: None)
        for each in (BFLOAT16, FLOAT32)
    ]
    cosine = inference.least_cosine(*of_sample)
    if cosine >= MIN_COSINE:
        return work
    progress.note(f"bfloat16 features of {work.backbone_spec} have cosine {cosine:.5f}: float32 instead")
    return work.in_precision(FLOAT32)


def cached(work: FeatureWork, progress: Progress) -> FeatureArray:
    """Features of all photos [photo, dimension], from the cache or extracted now; what is damaged is made again.

    Raises:
        DamagedFileError: photos that are not what was prepared.
    """
    work = settled(work, progress)
    key = work.key
    found = _find(work, key, progress)
    if found is not None:
        return found
    with claims.exclusive(work.layout, f"features {feature_cache.name_of(key)} of {work.backbone_spec}", progress):
        found = _find(work, key, progress)
        return feature_cache.read(work.layout, _extract(work, key, progress)) if found is None else found


def _find(work: FeatureWork, key: FeaturesKey, progress: Progress) -> FeatureArray | None:
    try:
        found = feature_cache.find(work.layout, key)
        return None if found is None else feature_cache.read(work.layout, found)
    except DamagedFileError as error:
        progress.note(f"{error}; what is damaged is extracted again")
        return None


def _extract(work: FeatureWork, key: FeaturesKey, progress: Progress) -> Features:
    extraction = feature_cache.Extraction(work.layout, key, len(work.index))
    shards = {start: extraction.existing(start) for start in extraction.starts()}
    archive = Archive(work.layout.photos, work.dataset.archive)
    description = f"extracting features · {work.backbone_spec} · {work.extractor}"
    model = _network(work) if None in shards.values() else None
    with progress.task(description, len(work.index), "photos") as advance:
        for start, shard in shards.items():
            chunk = work.index[start : start + feature_cache.SHARD]
            if shard is not None:
                advance(len(chunk))
                continue
            array = features.extract(model, archive.read(chunk), key.image_size, advance)
            if not np.isfinite(array).all():
                raise FlowernoiseError(
                    f"backbone {work.backbone_spec} gives features that are not finite; its weights may be damaged, "
                    "use others or another --backbone"
                )
            shards[start] = extraction.write(start, array)
    return extraction.finish(tuple(shard for shard in shards.values() if shard is not None))


def _network(work: FeatureWork) -> Any:
    """The backbone as the extractor runs it."""
    return _openvino(work) if work.extractor.is_openvino else work.backbone.build(work.dataset.request.image_size)


def _openvino(work: FeatureWork) -> inference.Network:
    if not work.converted:
        work.converted.append(inference.convert(work.backbone.build(work.dataset.request.image_size)))
    return inference.Network(work.converted[0], inference.HINTS[work.extractor.precision])
