"""Inputs for noise models, computed lazily."""

from __future__ import annotations

import dataclasses
import functools
import types
from typing import Any

import numpy as np

from flowernoise.catalogue import transition_matrix
from flowernoise.catalogue.backbones import backbones
from flowernoise.catalogue.labelling import NoiseRequest
from flowernoise.catalogue.losses import ce
from flowernoise.catalogue.noise import needs_of, stream_name
from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.progress import Progress
from flowernoise.randomness import generator
from flowernoise.registry import Spec
from flowernoise.steps import features, source_fields
from flowernoise.steps.backbone import of
from flowernoise.steps.features import FeatureWork, extractor_of
from flowernoise.steps.loading import loading
from flowernoise.store import datasets, table_columns
from flowernoise.store import labels as labels_csv
from flowernoise.store.labels import NOISY_SPLITS
from flowernoise.store.layout import Layout
from flowernoise.store.photos import Splits
from flowernoise.store.records import Dataset
from flowernoise.training import engine, out_of_fold
from flowernoise.training.tasks import LossGroup

Array = np.ndarray[Any, Any]


def settled(spec: Spec, dataset: Dataset) -> Spec:
    """The spec pinned to what it refers to, so that a changed file is a different spec.

    A ``backbone`` gets its canonical form, a ``file`` or a ``column`` the start of its SHA-256.

    Raises:
        BadRequestError: a backbone or column is unknown, a file is unreadable, or one does not have the given SHA-256.
    """
    values = dict(spec.values)
    owner = f"{spec.entry.kind} {spec.name}"
    if "backbone" in values:
        values["backbone"] = str(backbones.parse(values["backbone"]))
    if values.get("file"):
        transition_matrix.read_bytes(values["file"], owner, values["sha256"])
        values["sha256"] = transition_matrix.file_digest(values["file"], owner)
    elif values.get("column"):
        values["sha256"] = table_columns.digest(dataset, values["column"], values["sha256"])
    return dataclasses.replace(spec, values=types.MappingProxyType(values))


class NoiseInputs:
    """Labels and other inputs for train and val; what takes time to compute is kept for the next draw."""

    def __init__(self, layout: Layout, dataset: Dataset, progress: Progress) -> None:
        self.dataset = dataset
        self._layout, self._progress = layout, progress
        self._made: dict[tuple[str, str, int], Any] = {}

    @functools.cached_property
    def splits(self) -> Splits:
        """The photos of each split."""
        return datasets.splits(self._layout, self.dataset)

    def truth(self, seed: int) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
        """True labels of a seed's train and val."""
        return {split: self.splits.labels(seed, split) for split in NOISY_SPLITS}

    def request(self, spec: Spec, rate: float, seed: int, split: str) -> NoiseRequest:
        """The request to a noise model: a split, the seed's random streams, and what else the model needs."""
        return NoiseRequest(
            labels=self.splits.labels(seed, split),
            num_classes=len(self.dataset.classes),
            rate=rate,
            generator=generator(seed, "draw", stream_name(spec), split),
            shared=generator(seed, "draw", stream_name(spec), "shared"),
            class_names=self.dataset.classes,
            **{need: self._supply(need, spec, seed, split) for need in needs_of(spec)},
        )

    def _supply(self, need: str, spec: Spec, seed: int, split: str) -> Array:
        makers = {
            "features": self._features,
            "probabilities": self._probabilities,
            "confusion": self._confusion,
            "observed": self._observed,
        }
        key = need, spec.values.get("backbone", str(spec)), self.splits.number(seed)
        if key not in self._made:
            self._made[key] = makers[need](spec, seed)
        made = self._made[key]
        supplied: Array = made if need == "confusion" else made[split]  # confusion is computed on both splits together
        return supplied

    def _by_split(self, of_both: Array) -> dict[str, Array]:
        """Splits an array of both into the rows of train and val."""
        train = self.dataset.sizes[0]
        return {"train": of_both[:train], "val": of_both[train:]}

    def _features(self, spec: Spec, seed: int) -> dict[str, Array]:
        try:
            backbone_spec, backbone = of(self._layout, self.dataset, spec.values["backbone"], self._progress)
        except FlowernoiseError as error:
            way_out = f"in its spec as {spec.name}:backbone=…"
            raise type(error)(f"noise model {spec.name}: {error}, {way_out}") from error
        extractor = extractor_of(backbone, engine.describe())
        work = FeatureWork(self._layout, self.dataset, self.splits.photos, backbone_spec, backbone, extractor)
        of_all = features.cached(work, self._progress)
        return {split: of_all[self.splits.rows(seed, split)] for split in NOISY_SPLITS}

    def _probabilities(self, spec: Spec, seed: int) -> dict[str, Array]:
        by_split = [self._supply("features", spec, seed, split) for split in NOISY_SPLITS]
        labels = np.concatenate([self.splits.labels(seed, split) for split in NOISY_SPLITS])
        # one clean model for all seeds of a split: it represents the photos, not chance
        stream = generator(0, "out of fold", spec.values["backbone"])
        loss = LossGroup(ce, heads=1)
        with loading(f"Keras, and training a clean model for {spec.name} noise", self._progress):
            predictions = out_of_fold.probabilities(
                np.concatenate(by_split), labels, len(self.dataset.classes), loss, stream
            )
        return self._by_split(predictions)

    def _confusion(self, spec: Spec, seed: int) -> Array:
        predictions = np.concatenate([self._supply("probabilities", spec, seed, split) for split in NOISY_SPLITS])
        truth = self.truth(seed)
        return out_of_fold.confusion(predictions, np.concatenate([truth[split] for split in NOISY_SPLITS]))

    def _observed(self, spec: Spec, seed: int) -> dict[str, Array]:
        file, field, column = (spec.values[name] for name in ("file", "field", "column"))
        partial, dataset = spec.values["partial"], self.dataset
        if sum(map(bool, (file, field, column))) != 1:
            raise BadRequestError(
                "noise model observed needs a file, a column of the --labels of prepare, or a field of a TFDS source; "
                "write observed:labels.csv, observed:column=worse_label or observed:field=worse_label"
            )
        if field and partial:
            raise BadRequestError("noise model observed: partial works with a file or a column, not with a field")
        if field:
            return dict(source_fields.read(dataset, self.splits.of(seed), field))
        if column:
            table_columns.digest(dataset, column, spec.values["sha256"])
            kept = table_columns.cells_of(self._layout, dataset, self.splits.photos, column)
            return dict(table_columns.labels_of(kept, dataset, self.splits.of(seed), column, partial=partial))
        data = transition_matrix.read_bytes(file, f"{spec.entry.kind} {spec.name}", spec.values["sha256"])
        dropped = datasets.dropped_paths(dataset)
        return dict(labels_csv.read(data, file, self.splits.everyone(seed), dataset.classes, dropped, partial=partial))
