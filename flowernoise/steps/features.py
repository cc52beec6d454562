"""Features of all photos of a data set: the one cache that ``train`` and ``corrupt`` share."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from flowernoise import images
from flowernoise.catalogue.backbones import Backbone
from flowernoise.errors import DamagedFileError, FlowernoiseError
from flowernoise.progress import Progress
from flowernoise.registry import Spec
from flowernoise.store import feature_cache, files
from flowernoise.store.feature_cache import FeatureArray
from flowernoise.store.layout import Layout
from flowernoise.store.photos import Archive, IndexedPhoto
from flowernoise.store.records import Dataset, Features, FeaturesKey
from flowernoise.training import features, inference
from flowernoise.training.engine import BFLOAT16, LEAST_COSINE, Extractor

SAMPLE = 32  # photos on which bfloat16 is tried


@dataclasses.dataclass(frozen=True)
class FeatureWork:
    """Which photos' features, of which backbone, extracted by what."""

    layout: Layout
    dataset: Dataset
    index: tuple[IndexedPhoto, ...]
    backbone_spec: Spec
    backbone: Backbone
    extractor: Extractor

    @property
    def key(self) -> FeaturesKey:
        """What the photos' features depend on."""
        return FeaturesKey(
            photos=files.digest_of([photo.id for photo in self.index]),
            image_size=self.dataset.request.image_size,
            decoding=images.DECODING,
            backbone=str(self.backbone_spec),
            weights=self.backbone.weights_digest,
            engine=self.extractor.name,
            device=self.extractor.device,
            precision=self.extractor.precision,
        )


def cached(work: FeatureWork, progress: Progress) -> FeatureArray:
    """Features of all photos [photo, dimension], from the cache or extracted now; what is damaged is made again.

    Raises:
        DamagedFileError: photos that are not what was prepared.
    """
    key = work.key
    try:
        found = feature_cache.find(work.layout, key)
        if found is not None:
            return feature_cache.read(work.layout, found)
    except DamagedFileError as error:
        progress.note(f"{error}; extracting it again")
    return feature_cache.read(work.layout, _extract(work, key, progress))


def _extract(work: FeatureWork, key: FeaturesKey, progress: Progress) -> Features:
    extraction = feature_cache.Extraction(work.layout, key, len(work.index))
    shards = {start: extraction.existing(start) for start in extraction.starts()}
    archive = Archive(work.layout.photos, work.dataset.archive)
    description = f"extracting features · {work.backbone_spec} · {work.extractor}"
    model = _network(work, archive, progress) if None in shards.values() else None
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


def _network(work: FeatureWork, archive: Archive, progress: Progress) -> Any:
    """The backbone as the extractor runs it; in bfloat16 only if the first photos' features bear it out."""
    size, precision = work.dataset.request.image_size, work.extractor.precision
    model = work.backbone.build(size)
    if not work.extractor.is_openvino:
        return model
    converted = inference.convert(model)
    network = inference.Network(converted, "bf16" if precision == BFLOAT16 else precision)
    if precision == BFLOAT16:
        exact = inference.Network(converted, "f32")
        of_sample = [
            features.extract(each, archive.read(work.index[:SAMPLE]), size, lambda _: None) for each in (network, exact)
        ]
        cosine = inference.least_cosine(*of_sample)
        if cosine < LEAST_COSINE:
            progress.note(f"bfloat16 features of {work.backbone_spec} have cosine {cosine:.5f}: float32 instead")
            return exact
    return network
