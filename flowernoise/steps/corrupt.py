"""``corrupt``: draw noisy labels for train and val, once, before any training."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.catalogue.noise import NoiseRequest, NoisyLabels, noise_models, realised_transition_matrix
from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.progress import Progress
from flowernoise.randomness import generator
from flowernoise.registry import Spec
from flowernoise.store import datasets, draws, files, photos
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.layout import Layout
from flowernoise.store.records import CONTROL, Dataset, Draw, DrawBatch, DrawKey

DEFAULT_RATES = (0.2, 0.4, 0.6)


@dataclasses.dataclass(frozen=True)
class CorruptSettings:
    """Which draws are asked for; the control (rate 0) of each seed always is."""

    noise: tuple[str, ...] = ("symmetric",)
    rates: tuple[float, ...] = DEFAULT_RATES
    seeds: int = 3


@dataclasses.dataclass(frozen=True)
class CorruptResult:
    """The draws that were asked for, and how many of them were there already."""

    draws: tuple[Draw, ...]
    done_before: int

    @property
    def made(self) -> int:
        """How many draws were made now."""
        return len(self.draws) - self.done_before


def corrupt(artifacts_directory: Path, settings: CorruptSettings, progress: Progress) -> CorruptResult:
    """Draws the noisy labellings that are asked for and not there yet.

    Raises:
        BadRequestError: nothing prepared, an unknown noise model, a rate outside 0 … 1.
    """
    keys = requested(settings)
    layout = Layout(artifacts_directory)
    dataset = datasets.need(layout)
    there = _intact(layout, dataset, progress)
    missing = [key for key in keys if key not in there]
    if missing:
        index = photos.read_index(layout.photos, dataset.index)
        truth = {split: photos.labels_of(index, split) for split in ("train", "val")}
        draws.write(layout, dataset.id, [_draw(key, truth, len(dataset.classes)) for key in missing])
        there = {key: stored.draw for key, stored in draws.index(layout, dataset.id).items()}
    return CorruptResult(tuple(there[key] for key in keys), len(keys) - len(missing))


def requested(settings: CorruptSettings) -> list[DrawKey]:
    """Keys of the draws that are asked for, the controls first.

    Raises:
        BadRequestError: an unknown noise model, a rate outside 0 … 1, fewer than one seed.

    >>> [str(key) for key in requested(CorruptSettings(rates=(0.2,), seeds=1))]
    ['none at 0, seed 0', 'symmetric at 0.2, seed 0']
    """
    if settings.seeds < 1:
        raise BadRequestError(f"--seeds {settings.seeds} is too few; at least 1")
    for rate in settings.rates:
        if not 0 <= rate <= 1:
            raise BadRequestError(f"--rates: {rate:g} is not between 0 and 1")
    specs: Sequence[Spec] = [noise_models.parse(text) for text in settings.noise]
    rates = [rate for rate in settings.rates if rate > 0]
    controls = [DrawKey(CONTROL, 0.0, seed) for seed in range(settings.seeds)]
    noisy = [DrawKey(str(s), rate, seed) for s, rate, seed in itertools.product(specs, rates, range(settings.seeds))]
    return list(dict.fromkeys(controls + noisy))


def _intact(layout: Layout, dataset: Dataset, progress: Progress) -> dict[DrawKey, Draw]:
    """The draws that are there, damaged ones named and set aside."""

    def set_aside(path: Path, error: DamagedFileError) -> None:
        progress.note(f"{error}; set aside as {path.name}.damaged and drawn again")
        files.set_aside(path)

    there = draws.index(layout, dataset.id, on_damage=set_aside)
    intact: dict[DrawKey, Draw] = {}
    for batch in {stored.batch.arrays.name: stored.batch for stored in there.values()}.values():
        try:
            files.check_blob(layout.draws, batch.arrays)
        except DamagedFileError as error:
            set_aside(layout.draws / batch.arrays.name, error)
            files.set_aside(_record_of(layout, batch))
            continue
        intact.update((draw.key, draw) for draw in batch.draws)
    return intact


def _record_of(layout: Layout, batch: DrawBatch) -> Path:
    """Path of a batch's record; its arrays carry the same name, followed by their digest."""
    return layout.draws / f"{batch.arrays.name.rpartition('-')[0]}.json"


def _draw(
    key: DrawKey, truth: dict[str, np.ndarray[Any, np.dtype[np.int64]]], num_classes: int
) -> tuple[Draw, DrawnLabels]:
    train, val = (_corrupt_split(key, split, truth[split], num_classes) for split in ("train", "val"))
    compact = np.min_scalar_type(num_classes - 1)
    flipped = {split: noisy.labels != truth[split] for split, noisy in (("train", train), ("val", val))}
    realised = realised_transition_matrix(truth["train"], train.labels, num_classes)
    nominal = (
        np.full((num_classes, num_classes), np.nan) if train.transition_matrix is None else train.transition_matrix
    )
    labels = DrawnLabels(
        train_labels=train.labels.astype(compact),
        train_flipped=flipped["train"],
        val_labels=val.labels.astype(compact),
        val_flipped=flipped["val"],
        transition_matrix=nominal,
        realised_transition_matrix=realised,
    )
    by_class = [None if np.isnan(stay) else float(1 - stay) for stay in np.diag(realised)]
    draw = Draw(
        key=key,
        labels=files.digest(labels.train_labels.astype("<u4").tobytes() + labels.val_labels.astype("<u4").tobytes()),
        realised_rate=float(flipped["train"].mean()),
        realised_rate_val=float(flipped["val"].mean()) if len(truth["val"]) else None,
        realised_rate_by_class=tuple(by_class),
    )
    return draw, labels


def _corrupt_split(
    key: DrawKey, split: str, labels: np.ndarray[Any, np.dtype[np.int64]], num_classes: int
) -> NoisyLabels:
    if key.noise == CONTROL:
        return NoisyLabels(labels, np.eye(num_classes))
    stream = generator(key.seed, "draw", key.noise, split)
    result: NoisyLabels = noise_models.parse(key.noise)(NoiseRequest(labels, num_classes, key.rate, stream))
    return result
