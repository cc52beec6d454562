"""``run``: prepares, corrupts, trains, evaluates and compares, in that order."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from flowernoise.analysis import where
from flowernoise.analysis.results.stages import RunResult
from flowernoise.catalogue import presets
from flowernoise.catalogue.backbones import backbones
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.noise import on_backbone
from flowernoise.errors import DamagedFileError
from flowernoise.progress import Progress
from flowernoise.registry import format_value
from flowernoise.steps import backbone
from flowernoise.steps.compare import compare_or_find
from flowernoise.steps.corrupt import corrupt
from flowernoise.steps.evaluate import evaluate
from flowernoise.steps.prepare import prepare
from flowernoise.steps.settings import CompareSettings, CorruptSettings, PrepareSettings, TrainSettings
from flowernoise.steps.train import matrices, train
from flowernoise.store import artifacts, files
from flowernoise.store.layout import Layout
from flowernoise.store.records import CONTROL, Dataset, Draw, PresetRecord


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """The settings of every stage, and their preset."""

    prepare: PrepareSettings
    corrupt: CorruptSettings
    train: TrainSettings
    compare: CompareSettings
    preset: str | None = None


def run(artifacts_directory: Path, settings: RunSettings, progress: Progress) -> RunResult:
    """Runs all stages; each skips work that is already done. Only what was requested is compared.

    Raises:
        FlowernoiseError: raised by a stage.
    """
    if settings.preset is not None:
        presets.named(settings.preset)
    prepared = prepare(artifacts_directory, settings.prepare, progress)
    _remember(artifacts.opened(artifacts_directory), settings.preset, prepared.dataset.id)
    corrupted = corrupt(artifacts_directory, _on_backbone(settings, prepared.dataset), progress)
    trained = train(artifacts_directory, settings.train, progress)
    evaluated = evaluate(artifacts_directory, progress)
    shown = dataclasses.replace(
        settings.compare,
        where=(where.of_setup(trained.setup),),
        rows=settings.compare.rows or _rows(corrupted.draws),
        columns=settings.compare.columns or _columns(settings.train),
    )
    compared, compared_before = compare_or_find([artifacts_directory], shown, progress)
    return RunResult(prepared, corrupted, trained, evaluated, compared, compared_before)


def _rows(drawn: Sequence[Draw]) -> str:
    """The ``--rows`` that show these draws and no others."""
    noisy = [draw.key for draw in drawn if draw.key.noise != CONTROL]
    names = dict.fromkeys([*(key.noise for key in noisy), *(format_value(key.rate) for key in noisy)])
    return ",".join(names) or "control"


def _columns(settings: TrainSettings) -> str:
    """The ``--columns`` that show these losses and no others."""
    return ",".join(dict.fromkeys(str(matrices.pinned(losses.parse(text))) for text in settings.losses))


def _on_backbone(settings: RunSettings, dataset: Dataset) -> CorruptSettings:
    """Settings for ``corrupt`` in which noise models that look at photos use the training backbone."""
    text = str(backbones.parse(backbone.name_of(dataset, settings.train.backbone)))
    noise = tuple(on_backbone(noise, text) for noise in settings.corrupt.noise)
    return dataclasses.replace(settings.corrupt, noise=noise)


def _remember(layout: Layout, preset: str | None, dataset: str) -> None:
    """Records the preset's name, so that ``compare`` can show its published results."""
    if preset is None:
        return
    record = PresetRecord(preset, dataset)
    with contextlib.suppress(DamagedFileError):
        if layout.preset.exists() and files.read_record(layout.preset, "preset", PresetRecord) == record:
            return
    files.write_record(layout.preset, "preset", record)
