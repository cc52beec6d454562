"""``corrupt``: draws noisy labels for train and val, once, before any training."""

from __future__ import annotations

import dataclasses
import itertools
import math
import types
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from flowernoise.analysis.results.stages import CorruptResult
from flowernoise.catalogue import transition_matrix
from flowernoise.catalogue.labelling import NoisyLabels
from flowernoise.catalogue.noise import expected_rate, is_rated, noise_models
from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.progress import Progress
from flowernoise.registry import Spec, format_value
from flowernoise.steps import default_backbone
from flowernoise.steps.noise_inputs import NoiseInputs, settled
from flowernoise.steps.outputs import Inputs, files_of
from flowernoise.steps.settings import DEFAULT_RATES, CorruptSettings
from flowernoise.store import artifacts, claims, datasets, draws, files
from flowernoise.store import labels as labels_csv
from flowernoise.store.artifacts import Artifacts
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.layout import Layout
from flowernoise.store.records import CONTROL, Dataset, Draw, DrawKey


def corrupt(artifacts_directory: Path, settings: CorruptSettings, progress: Progress) -> CorruptResult:
    """Makes the requested draws that do not exist yet.

    Raises:
        BadRequestError: nothing is prepared, a noise model is unknown, a rate is outside 0 … 1, or a file is not valid.
        FlowernoiseError: the weights of a noise model's backbone cannot be reached; a file cannot be written.
    """
    specs = _specs(settings)
    layout = artifacts.opened(artifacts_directory)
    dataset = datasets.need(layout)
    filled_in = default_backbone.filled_in(settings.noise, None, layout, progress)
    specs = _specs(dataclasses.replace(settings, noise=filled_in))
    if settings.export is not None:
        Inputs([artifacts_directory], reading=(Path(file) for spec in specs for file in files_of(spec))).refuse(
            settings.export
        )
    inputs = NoiseInputs(layout, dataset, progress)
    asked = requested(settings, [settled(spec, dataset) for spec in specs], lambda spec: _own_rate(spec, inputs))
    there = _intact(layout, dataset, lambda _batch, _error: None)
    _refuse_alike([*there, *asked])
    missing = [key for key in asked if key not in there]
    if missing:
        with claims.exclusive(layout, "corrupt", progress):
            there = _intact(layout, dataset, _quarantine(progress))
            missing = [key for key in asked if key not in there]
            if missing:
                drawn = [_draw(key, asked[key], inputs) for key in missing]
                draws.write(layout, dataset.id, drawn)
                _note_break_even(drawn, dataset, progress)
                there |= {draw.key: draw for draw, _ in drawn}
    if settings.export is not None:
        _export(settings.export, list(asked), layout, inputs, progress)
    made, request = tuple(there[key] for key in asked), dataset.request
    done_before, exported = len(asked) - len(missing), settings.export is not None
    return CorruptResult(request.source, made, done_before, exported, request.trust)


def draw_again(
    artifacts_directory: Path, keys: Sequence[DrawKey], progress: Progress, may_redraw: Callable[[DrawKey], bool]
) -> None:
    """Makes damaged batches again, exactly as they were, and missing draws by their keys.

    Args:
        keys: keys of missing draws.
        may_redraw: whether a draw may be made; a batch with others is left as it is.

    Raises:
        BadRequestError: nothing is prepared, or a noise model is unknown.
        FlowernoiseError: the weights of a noise model's backbone cannot be reached; a file cannot be written.
    """
    layout = artifacts.opened(artifacts_directory)
    dataset = datasets.need(layout)
    inputs = NoiseInputs(layout, dataset, progress)
    quarantine = _quarantine(progress)
    lost: list[list[DrawKey]] = []

    def on_damage(paths: Sequence[Path], error: DamagedFileError) -> None:
        batch = batches.get(paths[-1])
        if batch is None or all(may_redraw(draw.key) for draw in batch.draws):
            quarantine(paths, error)
            lost.append([draw.key for draw in batch.draws] if batch else [])

    with claims.exclusive(layout, "corrupt", progress):
        readable = draws.index(layout, dataset.id, on_damage=lambda _path, _error: None)
        batches = {draws.record_of(layout, stored.batch): stored.batch for stored in readable.values()}
        there = _intact(layout, dataset, on_damage)
        again = {key for batch in lost for key in batch}
        for batch in (*lost, [key for key in keys if key not in there and key not in again]):
            specs = {key: None if key.noise == CONTROL else noise_models.parse(key.noise) for key in batch}
            if batch:
                draws.write(layout, dataset.id, [_draw(key, spec, inputs) for key, spec in specs.items()])


def _specs(settings: CorruptSettings) -> list[Spec]:
    """The requested noise models, after all checks that do not need the data set."""
    settings.check()
    specs = [noise_models.parse(text) for text in settings.noise]
    if settings.import_ is not None:
        given = {
            "file": str(settings.import_),
            "column": "",
            "field": "",
            "name": "",
            "sha256": "",
            "partial": settings.partial,
        }
        specs.append(Spec(noise_models["observed"], types.MappingProxyType(given)))
    wants_rates = settings.rates != DEFAULT_RATES and any(rate > 0 for rate in settings.rates)
    if specs and wants_rates and not any(is_rated(spec) for spec in specs):
        raise BadRequestError(
            f"--rates: noise model {specs[0].name} takes none, as it sets the rate itself; leave the option out"
        )
    return specs


def requested(
    settings: CorruptSettings, specs: Sequence[Spec], own_rate: Callable[[Spec], float]
) -> dict[DrawKey, Spec | None]:
    """Keys of the requested draws with their noise models, controls first.

    >>> specs = [noise_models.parse("symmetric")]
    >>> [str(key) for key in requested(CorruptSettings(rates=(0.2,), seeds=1), specs, own_rate=lambda spec: 0.0)]
    ['labels without noise, seed 0', 'symmetric at 0.2, seed 0']
    """
    seeds = range(settings.seeds)
    asked: dict[DrawKey, Spec | None] = {DrawKey(CONTROL, 0.0, seed): None for seed in seeds}
    for spec in specs:
        rates = [rate for rate in settings.rates if rate > 0] if is_rated(spec) else [own_rate(spec)]
        asked.update((DrawKey(str(spec), rate, seed), spec) for rate, seed in itertools.product(rates, seeds))
    return asked


def _refuse_alike(keys: Sequence[DrawKey]) -> None:
    """Refuses two rates of the same noise that tables would print alike."""
    printed: dict[tuple[str, str], float] = {}
    for key in keys:
        before = printed.setdefault((key.noise, f"{key.rate:g}"), key.rate)
        if before != key.rate:
            raise BadRequestError(
                f"--rates {format_value(key.rate)}: tables print it as {key.rate:g}, like the rate "
                f"{format_value(before)} of the same noise; leave one out"
            )


def _own_rate(spec: Spec, inputs: NoiseInputs) -> float:
    """The rate that a model without ``--rates`` gives the training labels, to 4 digits; the mean over splits."""
    rates = [
        expected_rate(inputs.splits.labels(seed, "train"), spec(inputs.request(spec, 0.0, seed, "train")))
        for seed in range(inputs.splits.count)
    ]
    return round(math.fsum(rates) / len(rates), 4)


def _intact(
    layout: Layout, dataset: Dataset, on_damage: Callable[[Sequence[Path], DamagedFileError], None]
) -> dict[DrawKey, Draw]:
    """The intact draws.

    Args:
        on_damage: called with the files of a damaged batch, the damaged file first.
    """
    there = draws.index(layout, dataset.id, on_damage=lambda path, error: on_damage([path], error))
    intact: dict[DrawKey, Draw] = {}
    for batch in {stored.batch.arrays.name: stored.batch for stored in there.values()}.values():
        try:
            draws.read_batch(layout, dataset, batch)
        except DamagedFileError as error:
            on_damage([layout.draws / batch.arrays.name, draws.record_of(layout, batch)], error)
            continue
        intact.update((draw.key, draw) for draw in batch.draws)
    return intact


def _quarantine(progress: Progress) -> Callable[[Sequence[Path], DamagedFileError], None]:
    def quarantine(paths: Sequence[Path], error: DamagedFileError) -> None:
        progress.note(f"{error}; set aside as {paths[0].name}.damaged and drawn again")
        for path in paths:
            files.quarantine(path)

    return quarantine


def _draw(key: DrawKey, spec: Spec | None, inputs: NoiseInputs) -> tuple[Draw, DrawnLabels]:
    truth, num_classes = inputs.truth(key.seed), len(inputs.dataset.classes)
    train, val = (_corrupt_split(key, spec, inputs, split) for split in ("train", "val"))
    compact = np.min_scalar_type(num_classes - 1)
    flipped = {split: noisy.labels != truth[split] for split, noisy in (("train", train), ("val", val))}
    realised = transition_matrix.realised(truth["train"], train.labels, num_classes)
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


def _corrupt_split(key: DrawKey, spec: Spec | None, inputs: NoiseInputs, split: str) -> NoisyLabels:
    if spec is None:
        return NoisyLabels(inputs.splits.labels(key.seed, split), np.eye(len(inputs.dataset.classes)))
    result: NoisyLabels = spec(inputs.request(spec, key.rate, key.seed, split))
    return result


def _note_break_even(drawn: Sequence[tuple[Draw, DrawnLabels]], dataset: Dataset, progress: Progress) -> None:
    """Notes, once per noise model and rate, where a wrong label is as likely as the right one."""
    meanings = {
        (draw.key.noise, draw.key.rate): transition_matrix.break_even(labels.transition_matrix, dataset.classes)
        for draw, labels in drawn
        if not np.isnan(labels.transition_matrix).any()
    }
    for (noise, rate), meaning in meanings.items():
        if meaning:
            progress.note(f"{noise} at {rate:g}: {meaning}")


def _export(path: Path, asked: Sequence[DrawKey], layout: Layout, inputs: NoiseInputs, progress: Progress) -> None:
    """Writes the noisy draws, or the controls if there are no others."""
    keys = [key for key in asked if key.noise != CONTROL] or list(asked)
    there = {draw.key: draw for draw in Artifacts(layout.root).draws()}
    drawn = {key: there[key].labels for key in keys}
    if labels_csv.write(path, labels_csv.written(inputs.splits.of, inputs.dataset.classes, drawn)):
        progress.note(f"labels of {len(keys)} {'draw' if len(keys) == 1 else 'draws'} written to {path}")
