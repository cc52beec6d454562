"""``report``: all that an experiment shows, gathered for one page that can be passed on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from flowernoise.analysis.results.written import ReportFile, ReportResult
from flowernoise.analysis.views.reports import Report, conditions_of
from flowernoise.analysis.views.sheets import ContactSheet
from flowernoise.catalogue.noise import is_rated, noise_models
from flowernoise.catalogue.sources import path_of, without_path
from flowernoise.progress import Progress
from flowernoise.registry import format_value
from flowernoise.show.report import render
from flowernoise.steps import commands, plot, preview
from flowernoise.steps.compare import compare
from flowernoise.steps.outputs import Inputs
from flowernoise.steps.settings import CompareSettings, PlotSettings, PreviewSettings, ReportSettings
from flowernoise.store import evaluations, files
from flowernoise.store.artifacts import Artifacts
from flowernoise.store.layout import Layout
from flowernoise.store.records import (
    CONTROL,
    Comparison,
    Dataset,
    DatasetRequest,
    Draw,
    DrawKey,
    PresetRecord,
    Provenance,
)
from flowernoise.store.runs import StoredRun
from flowernoise.store.setups import Setup


def report(artifacts_directory: Path, settings: ReportSettings, progress: Progress) -> ReportResult:
    """Writes the report's files; one that holds the same bytes already is not touched.

    Raises:
        BadRequestError: nothing prepared or evaluated, or an unknown metric.
        DamagedFileError: files that are not what was written.
        FlowernoiseError: a file cannot be written.
    """
    settings.check()
    directory = settings.output or artifacts_directory
    made = render(gather(artifacts_directory, settings, progress))
    inputs = Inputs([artifacts_directory])
    for name in made:
        inputs.refuse(directory / name)
    written = [
        ReportFile(path := directory / name, len(data), done_before=not files.write_plain(path, data))
        for name, data in made.items()
    ]
    return ReportResult(tuple(written))


def gather(artifacts_directory: Path, settings: ReportSettings, progress: Progress) -> Report:
    """What a report is written from.

    Raises:
        BadRequestError: nothing prepared or evaluated, or an unknown metric.
        DamagedFileError: files that are not what was written.
    """
    held = Artifacts(artifacts_directory)
    layout, dataset = held.layout, held.dataset
    wanted = CompareSettings(metric=settings.metric, select=settings.select, where=settings.where)
    comparison = compare([artifacts_directory], wanted, progress)
    pictured = PlotSettings(metric=settings.metric, select=settings.select, where=settings.where)
    gallery = plot.pictures(artifacts_directory, pictured, progress)
    drawn = {draw.key: draw.draw for draw in held.draws()}
    shown = {row.identity for row in comparison.rows}
    live = [run for run in held.runs() if run.key.identity in shown]
    return Report(
        dataset=msgspec.structs.replace(dataset, request=_without_paths(dataset.request)),
        comparison=msgspec.structs.replace(comparison, directories=()),  # the same wherever the directory lies
        drawn=tuple(conditions_of(drawn.values())),
        pictures=gallery.pictures,
        sheets=tuple(_sheets(artifacts_directory, comparison, drawn, settings.where, progress))
        if dataset.given is None
        else (),
        passed_over=tuple(note for note in gallery.notes if note not in comparison.notes),
        commands=tuple(_commands(layout, dataset, drawn, live, settings)),
        provenance=tuple(_once({run.name: run.block.provenance for run in live}.values())),
        digests=tuple(_digests(layout, dataset, drawn)),
        sweep=_sweep(layout, dataset, drawn, live, settings),
    )


def _without_paths(request: DatasetRequest) -> DatasetRequest:
    labels = request.labels and Path(request.labels).name
    return msgspec.structs.replace(request, source=without_path(request.source), data_dir=None, labels=labels)


def _sheets(
    artifacts_directory: Path,
    comparison: Comparison,
    drawn: Iterable[DrawKey],
    where: tuple[str, ...],
    progress: Progress,
) -> Iterator[ContactSheet]:
    """A few contact sheets: the source's labels, one or two draws, and the baseline's mistakes under the first."""
    there = {row.loss for row in comparison.rows}
    losses = (comparison.baseline,) if comparison.baseline in there else ()
    shown: set[str] = set()
    conditions = _two_conditions(drawn)
    mistakes = []
    wishes = [PreviewSettings(noise=(noise,), rates=(rate,), losses=losses, where=where) for noise, rate in conditions]
    for wanted in wishes or [PreviewSettings(losses=losses, where=where)]:
        for sheet in preview.sheets(artifacts_directory, wanted, progress):
            if sheet.kind == "mistakes":
                mistakes.append(sheet)
            elif sheet.name not in shown:
                shown.add(sheet.name)
                yield sheet
    noisy = [sheet for sheet in mistakes if sheet.noise != CONTROL]
    yield from (noisy or mistakes)[:1]


def _two_conditions(drawn: Iterable[DrawKey]) -> list[tuple[str, float]]:
    """Highest rates of the first two noise models, or highest and lowest of the only one.

    >>> _two_conditions([DrawKey("symmetric", rate, 0) for rate in (0.2, 0.4, 0.6)])
    [('symmetric', 0.6), ('symmetric', 0.2)]
    """
    rates: dict[str, list[float]] = {}
    for key in sorted(drawn):
        if key.noise != CONTROL:
            rates.setdefault(key.noise, []).append(key.rate)
    highest = [(noise, max(own)) for noise, own in rates.items()]
    lowest = [(noise, min(own)) for noise, own in rates.items()]
    return list(dict.fromkeys(highest[:2] if len(highest) > 1 else highest + lowest))


def _commands(
    layout: Layout,
    dataset: Dataset,
    drawn: Iterable[DrawKey],
    live: Sequence[StoredRun],
    settings: ReportSettings,
) -> Iterator[str]:
    """The commands that make the same again, as options are recorded: none is left to its default."""
    prepared, drawings, trainings = commands.preparation(dataset.request), list(_drawings(drawn)), _trainings(live)
    preset, folder = _preset(layout, dataset), path_of(dataset.request.source)
    if folder is not None:
        kind, them = ("photos", "them") if dataset.given is None else ("file of features", "it")
        yield f"SOURCE={shlex.quote(folder.name or 'photos')}  # the {kind}, wherever you have {them}"
        prepared[0] = _SOURCE
    if dataset.request.labels:
        yield f"LABELS={shlex.quote(Path(dataset.request.labels).name)}  # the table of labels, wherever you have it"
        prepared[prepared.index("--labels") + 1] = _LABELS
    if dataset.request.data_dir:
        yield "DATA_DIR=tensorflow_datasets  # where you keep the data sets of TFDS"
        prepared[-1] = _DATA_DIR
    if preset and len(drawings) == len(trainings) == 1:
        [(how, _)] = trainings
        yield _command("run", *prepared, "--preset", preset, *drawings[0], *how)
    else:
        yield _command("prepare", *prepared)
        yield from (_command("corrupt", *words) for words in drawings)
        for how, losses in trainings:
            yield _command("train", *(word for loss in losses for word in ("--loss", loss)), *how)
        yield _command("evaluate")
    chosen = ["--select", settings.select] if settings.select else []
    chosen += [word for text in settings.where for word in ("--where", text)]
    yield _command("report", "--metric", settings.metric, *chosen)


def _sweep(
    layout: Layout, dataset: Dataset, drawn: Iterable[DrawKey], live: Sequence[StoredRun], settings: ReportSettings
) -> str:
    """The options of the one ``run`` that makes the same again, as a TOML file; empty where it takes several."""
    drawings, trainings, preset = list(_drawings(drawn)), _trainings(live), _preset(layout, dataset)
    if len(drawings) != 1 or len(trainings) != 1:
        return ""
    [(how, losses)] = trainings
    words = [*commands.preparation(dataset.request), *drawings[0], *how, "--metric", settings.metric]
    words += ["--select", settings.select] if settings.select else []
    # The losses are the preset's, and so are those of its control.
    words += [] if preset else [word for loss in losses for word in ("--loss", loss)]
    return (f"preset = {json.dumps(preset)}\n" if preset else "") + commands.as_file(words)


def _preset(layout: Layout, dataset: Dataset) -> str | None:
    """The preset that the data set was prepared for."""
    preset = files.read_record(layout.preset, "preset", PresetRecord) if layout.preset.exists() else None
    return preset.name if preset and preset.dataset == dataset.id else None


_SOURCE, _LABELS, _DATA_DIR = '"$SOURCE"', '"$LABELS"', '"$DATA_DIR"'  # set by whoever repeats it, as paths differ


def _command(*words: str) -> str:
    quoted = (word if word in (_SOURCE, _LABELS, _DATA_DIR) else shlex.quote(word) for word in words)
    return " ".join(["flowernoise", *quoted])


def _drawings(drawn: Iterable[DrawKey]) -> Iterator[list[str]]:
    """Options of ``corrupt``, noise models with the same rates and seeds together."""
    by_noise: dict[str, list[DrawKey]] = {}
    for key in sorted(drawn):
        by_noise.setdefault(key.noise, []).append(key)
    controls = by_noise.pop(CONTROL, [])
    together: dict[tuple[tuple[float, ...], int], list[str]] = {}
    for noise, keys in by_noise.items():
        rated = is_rated(noise_models.parse(noise))
        rates = tuple(dict.fromkeys(key.rate for key in keys)) if rated else ()
        together.setdefault((rates, 1 + max(key.seed for key in keys)), []).append(noise)
    seeds = [count for _, count in together]
    for (rates, count), noises in together.items():
        words = [word for noise in noises for word in ("--noise", noise)]
        words += ["--rates", ",".join(map(format_value, rates))] if rates else []
        yield [*words, "--seeds", str(count)]
    if len(controls) > max(seeds, default=0):
        yield ["--rates", "0", "--seeds", str(len(controls))]


def _trainings(live: Iterable[StoredRun]) -> list[tuple[list[str], list[str]]]:
    """Options of ``train`` without the losses, and the losses that were trained with them; those of last in the end."""
    kinds: dict[tuple[int, Setup], set[str]] = {}
    for stored in live:
        kinds.setdefault((stored.block.recency, stored.block.setup), set()).add(stored.run.method)
    return [(commands.training_options(setup), sorted(kinds[recency, setup])) for recency, setup in sorted(kinds)]


def _once(provenance: Iterable[Provenance]) -> list[Provenance]:
    """Each once, in an order that does not depend on which run came first."""
    by_digest = {files.digest_of(each): each for each in provenance}
    return [by_digest[name] for name in sorted(by_digest)]


def _digests(layout: Layout, dataset: Dataset, drawn: Mapping[DrawKey, Draw]) -> Iterator[tuple[str, str]]:
    yield "data set (classes, photos, labels, splits)", dataset.id
    yield ("photos, as a TAR archive" if dataset.given is None else "rows, as HDF5"), dataset.archive.sha256
    yield "labels of all draws", files.digest_of([(key, drawn[key].labels) for key in sorted(drawn)])
    evaluation = evaluations.find(layout)
    if evaluation:
        yield "predictions of all runs for the test photos", evaluation.arrays.sha256
