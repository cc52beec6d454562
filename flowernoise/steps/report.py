"""``report``: all that an experiment shows, gathered for one page that can be passed on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from flowernoise.analysis.results.written import ReportFile, ReportResult
from flowernoise.analysis.views.reports import Report, conditions_of, renamed
from flowernoise.analysis.views.sheets import ContactSheet
from flowernoise.catalogue.backbones import backbones
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.noise import is_rated, noise_models
from flowernoise.catalogue.sources import path_of, without_path
from flowernoise.progress import Progress
from flowernoise.registry import Spec, format_value
from flowernoise.show.report import render
from flowernoise.show.report.content import SWEEP
from flowernoise.steps import commands, plot, preview
from flowernoise.steps.compare import compare
from flowernoise.steps.outputs import Inputs, files_of
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
    specs = [
        *(noise_models.parse(noise) for noise in {key.noise for key in drawn} - {CONTROL}),
        *(losses.parse(loss) for loss in {run.run.method for run in live}),
        *(backbones.parse(backbone) for backbone in {run.block.setup.backbone for run in live}),
    ]
    places = _Places(dataset, specs)
    sweep, sweep_command = _sweep(places, layout, dataset, drawn, live, settings)
    made = Report(
        dataset=msgspec.structs.replace(dataset, request=_without_paths(dataset.request)),
        comparison=msgspec.structs.replace(comparison, directories=()),  # the same wherever the directory lies
        drawn=tuple(conditions_of(drawn.values())),
        pictures=gallery.pictures,
        sheets=tuple(_sheets(artifacts_directory, comparison, drawn, settings.where, progress))
        if dataset.given is None
        else (),
        passed_over=tuple(note for note in gallery.notes if note not in comparison.notes),
        commands=tuple(_commands(places, layout, dataset, drawn, live, settings)),
        provenance=tuple(_once({run.name: run.block.provenance for run in live}.values())),
        digests=tuple(_digests(layout, dataset, drawn)),
        sweep=sweep,
        sweep_command=sweep_command,
    )
    return renamed(made, places.names)


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
    places: _Places,
    layout: Layout,
    dataset: Dataset,
    drawn: Iterable[DrawKey],
    live: Sequence[StoredRun],
    settings: ReportSettings,
) -> Iterator[str]:
    """The commands that make the same again, as options are recorded: none is left to its default."""
    prepared, drawings, trainings = commands.preparation(dataset.request), list(_drawings(drawn)), _trainings(live)
    preset = _preset(layout, dataset)
    yield from places.lines
    if preset and len(drawings) == len(trainings) == 1:
        [(how, _)] = trainings
        yield places.command("run", *prepared, "--preset", preset, *drawings[0], *how)
    else:
        yield places.command("prepare", *prepared)
        yield from (places.command("corrupt", *words) for words in drawings)
        for how, trained in trainings:
            yield places.command("train", *(word for loss in trained for word in ("--loss", loss)), *how)
        yield places.command("evaluate")
    chosen = ["--select", settings.select] if settings.select else []
    chosen += [word for text in settings.where for word in ("--where", text)]
    yield places.command("report", "--metric", settings.metric, *chosen)


def _sweep(
    places: _Places,
    layout: Layout,
    dataset: Dataset,
    drawn: Iterable[DrawKey],
    live: Sequence[StoredRun],
    settings: ReportSettings,
) -> tuple[str, str]:
    """The options of the one ``run`` that makes the same again, as a TOML file, and that command.

    Options with a path are in the command, as paths differ. Both are empty where it takes several runs.
    """
    drawings, trainings, preset = list(_drawings(drawn)), _trainings(live), _preset(layout, dataset)
    if len(drawings) != 1 or len(trainings) != 1:
        return "", ""
    [(how, trained)] = trainings
    words = [*commands.preparation(dataset.request), *drawings[0], *how, "--metric", settings.metric]
    words += ["--select", settings.select] if settings.select else []
    # The losses are the preset's, and so are those of its control.
    words += [] if preset else [word for loss in trained for word in ("--loss", loss)]
    options = _by_option(words)
    with_paths = {option[0] for option in options if any(map(places.has_path, option))}
    own = [word for option in options if option[0] in with_paths for word in option]
    shared = [word for option in options if option[0] not in with_paths for word in option]
    file = (f"preset = {json.dumps(preset)}\n" if preset else "") + commands.as_file(shared)
    return file, places.command("run", *own, "--config", SWEEP)


def _by_option(words: Iterable[str]) -> list[list[str]]:
    """Each option with its value; the source comes first, alone.

    >>> _by_option(["synthetic", "--resplit", "--seed", "0"])
    [['synthetic'], ['--resplit'], ['--seed', '0']]
    """
    found: list[list[str]] = []
    for word in words:
        if word.startswith("--") or not found:
            found.append([word])
        else:
            found[-1].append(word)
    return found


def _preset(layout: Layout, dataset: Dataset) -> str | None:
    """The preset that the data set was prepared for."""
    preset = files.read_record(layout.preset, "preset", PresetRecord) if layout.preset.exists() else None
    return preset.name if preset and preset.dataset == dataset.id else None


class _Places:
    """Variables of the shell for the paths in commands, as these differ for whoever repeats them.

    Args:
        dataset: the data set; its source and where else it came from.
        specs: noise models, losses and backbones, whose absolute paths are replaced.
    """

    def __init__(self, dataset: Dataset, specs: Iterable[Spec]) -> None:
        request, self.lines = dataset.request, list[str]()
        self._variables: dict[str, str] = {}  # a whole word, or a path in a spec
        self.names: dict[str, str] = {}  # the files' names, for paths in specs
        source = path_of(request.source)
        if source is not None:
            kind, them = ("photos", "them") if dataset.given is None else ("file of features", "it")
            self._add(request.source, "SOURCE", source.name or "photos", f"the {kind}, wherever you have {them}")
        if request.labels:
            self._add(request.labels, "LABELS", Path(request.labels).name, "the table of labels, wherever you have it")
        if request.data_dir:
            what = "where you keep the data sets of TFDS"
            self._add(request.data_dir, "DATA_DIR", "tensorflow_datasets", what)
        paths = sorted({path for spec in specs for path in files_of(spec) if Path(path).expanduser().is_absolute()})
        for number, path in enumerate(paths, start=1):
            self.names[path] = Path(path).name
            self._add(path, f"FILE_{number}", self.names[path], "a file, wherever you have it")

    def _add(self, path: str, variable: str, name: str, what: str) -> None:
        self._variables[path] = variable
        self.lines.append(f"{variable}={shlex.quote(name)}  # {what}")

    def has_path(self, word: str) -> bool:
        """Whether a word of a command needs a variable."""
        return word in self._variables or any(path in word for path in self.names)

    def command(self, *words: str) -> str:
        """A command for the shell."""
        return " ".join(["flowernoise", *map(self._word, words)])

    def _word(self, word: str) -> str:
        if word in self._variables:
            return f'"${self._variables[word]}"'
        for path in sorted(self.names, key=len, reverse=True):
            before, found, after = word.partition(path)
            if found:
                return "".join([self._word(before), f'"${self._variables[path]}"', self._word(after)])
        return shlex.quote(word) if word else ""


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
