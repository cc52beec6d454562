"""``plot``: pictures of what was compared, trained and drawn."""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from flowernoise.analysis.results.written import PictureFile, PlotResult
from flowernoise.analysis.views.arrays import Floats
from flowernoise.analysis.views.charts import Chart, ChartCell, Spread, charts_of
from flowernoise.analysis.views.histories import FOLLOWED, Histories, History, history_of
from flowernoise.analysis.views.matrices import Confusion, Confusions, confusion_of, transition_of
from flowernoise.analysis.views.pictures import Gallery, Picture
from flowernoise.catalogue.losses import losses as loss_registry
from flowernoise.catalogue.noise import noise_models
from flowernoise.errors import BadRequestError
from flowernoise.progress import Progress
from flowernoise.registry import Registry
from flowernoise.show import plot as show_plot
from flowernoise.steps.compare import compare
from flowernoise.steps.settings import PICTURES, CompareSettings, PlotSettings
from flowernoise.store import artifacts, datasets, draws, evaluations, files, runs
from flowernoise.store.layout import Layout
from flowernoise.store.records import (
    CONTROL,
    Comparison,
    Dataset,
    DrawKey,
    Evaluation,
    Identity,
    RunKey,
)

# The kinds of pictures, and the options that say something to each.
FORMATS = ("png", "svg")
FEW_MATRICES = 3  # confusion matrices side by side unless more are asked for
_LONGEST_NAME = 60  # characters of a spec in a file name


class _NothingToDrawError(BadRequestError):
    """The data do not allow a kind of picture."""


def plot(artifacts_directory: Path, settings: PlotSettings, progress: Progress) -> PlotResult:
    """Draws pictures into files; a file that holds the same bytes already is not touched.

    Args:
        artifacts_directory: what the pictures are of.
        settings: which pictures.
        progress: told of each picture.

    Raises:
        BadRequestError: nothing prepared, drawn or evaluated, a kind that the data do not allow, or an unknown name.
        FlowernoiseError: a file cannot be written.
    """
    form = _format(settings)
    gallery = pictures(artifacts_directory, settings, progress)
    paths = _paths(gallery.pictures, settings, form, artifacts.opened(artifacts_directory).plots)
    drawn = []
    with progress.task("drawing", len(paths), "pictures") as advance:
        for picture, path in zip(gallery.pictures, paths, strict=True):
            written = files.write_plain(path, show_plot.draw(picture.data, form))
            drawn.append(PictureFile(picture.kind, path, done_before=not written))
            advance(1)
    return PlotResult(tuple(drawn), gallery.notes)


def pictures(artifacts_directory: Path, settings: PlotSettings, progress: Progress) -> Gallery:
    """The data of the pictures that are asked for.

    Raises:
        BadRequestError: as :func:`plot`.
        DamagedFileError: files that are not what was written.
    """
    settings.check()
    _refuse_unknown(settings)
    maker = _Maker(artifacts_directory, settings, progress)
    if settings.kind is not None:
        return Gallery(tuple(maker.make(settings.kind)), maker.notes)
    made: list[Picture] = []
    missing: list[str] = []
    for kind in PICTURES:
        try:
            made += maker.make(kind)
        except _NothingToDrawError as error:
            missing.append(f"no picture of {kind}: {error}")
    if not made:
        raise BadRequestError(missing[0])
    return Gallery(tuple(made), (*maker.notes, *missing))


def _refuse_unknown(settings: PlotSettings) -> None:
    """Refuses names that nothing has, before anything is compared and kept for them."""
    for registry, texts in ((loss_registry, settings.losses), (noise_models, settings.noise)):
        for text in texts:
            if text != CONTROL:
                registry[text.partition(":")[0]]


class _Maker:
    """Makes the data of pictures; what several kinds need is read once."""

    def __init__(self, artifacts_directory: Path, settings: PlotSettings, progress: Progress) -> None:
        self._directory = artifacts_directory
        self._layout = artifacts.opened(artifacts_directory)
        self._settings = settings
        self._progress = progress
        self._dataset = datasets.need(self._layout)
        self._makers: Mapping[str, Callable[[], Iterator[Picture]]] = {
            "accuracy": self._accuracy,
            "memorisation": self._memorisation,
            "confusion": self._confusion,
            "transition": self._transition,
            "seeds": self._seeds,
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What the comparison says of itself, if there was need of one."""
        return self._comparison.notes if "_comparison" in self.__dict__ else ()

    def make(self, kind: str) -> tuple[Picture, ...]:
        """The pictures of a kind."""
        return tuple(self._makers[kind]())

    @functools.cached_property
    def _comparison(self) -> Comparison:
        if not self._layout.evaluation.exists():
            raise _NothingToDrawError(f"nothing is evaluated in {self._directory}; run `flowernoise evaluate` first")
        settings = self._settings
        wanted = CompareSettings(metric=settings.metric, select=settings.select, where=settings.where)
        return compare([self._directory], wanted, self._progress)

    @functools.cached_property
    def _charts(self) -> Mapping[str, Chart]:
        """Charts by what their file names end in: nothing, if there is only one setup."""
        result, settings = self._comparison, self._settings
        losses = _picked(settings.losses, {row.loss for row in result.rows}, loss_registry, "run", str(self._directory))
        noises = _picked(settings.noise, {row.noise for row in result.rows}, noise_models, "run", str(self._directory))
        kinds = {(row.setup.backbone, row.setup.mode) for row in result.rows}
        charts = {}
        for chart in charts_of(result, losses, noises):
            ending = [chart.backbone, chart.mode] if len(kinds) > 1 else []
            charts["".join(f"-{slug(part)}" for part in (*ending, *chart.settings))] = chart
        if not charts:
            raise _NothingToDrawError(f"no run has {result.metric}: all failed, or the test photos do not allow it")
        return charts

    def _accuracy(self) -> Iterator[Picture]:
        for ending, chart in self._charts.items():
            if not _noises(chart.cells):
                raise _NothingToDrawError(
                    "only the control is there; `flowernoise corrupt` and `train` add noise to it"
                )
            yield Picture(slug(chart.measures[0].name) + ending, chart)

    def _seeds(self) -> Iterator[Picture]:
        for ending, chart in self._charts.items():
            if max(cell.seeds for cell in chart.cells) < 2:
                raise _NothingToDrawError("one seed has no spread; `flowernoise corrupt --seeds N` draws more")
            metric = chart.measures[0].name
            name = "seeds" if metric == "accuracy" else f"seeds-{slug(metric)}"
            yield Picture(name + ending, Spread(chart))

    def _memorisation(self) -> Iterator[Picture]:
        train, val, _ = self._dataset.sizes
        if not val:
            raise _NothingToDrawError("without a validation split (val 0) no history of epochs is kept")
        found = False
        for ending, chart in self._charts.items():
            histories = _histories(self._layout, self._dataset, chart)
            if histories:
                found = True
                yield Picture(f"memorisation{ending}", Histories(chart, train, val, histories))
        if not found:
            raise _NothingToDrawError(
                "no history of runs on noisy labels: only heads on features keep one, and the control has no noise"
            )

    def _confusion(self) -> Iterator[Picture]:
        for ending, chart in self._charts.items():
            cells = {(cell.noise, cell.rate, cell.loss): cell for cell in chart.cells}
            evaluated = {
                key: position
                for position, (key, run) in enumerate(zip(self._keys, self._evaluation.runs, strict=True))
                if not run.failure and key.setup == chart.setup and (key.noise, key.rate, key.method) in cells
            }
            for draw in self._chosen({key.draw for key in evaluated}, "run"):
                of_draw = {key.method: key for key in evaluated if key.draw == draw}
                losses = self._mixed_up(chart, [cells[draw.noise, draw.rate, loss] for loss in of_draw])
                matrices = tuple(self._matrix(chart, loss, evaluated[of_draw[loss]]) for loss in losses)
                realised = cells[draw.noise, draw.rate, losses[0]].realised_rate
                data = Confusions(chart, draw.noise, draw.rate, realised, draw.seed, matrices)
                yield Picture(f"confusion-{_draw_name(draw)}{ending}", data)

    def _mixed_up(self, chart: Chart, cells: Sequence[ChartCell]) -> list[str]:
        """Losses whose confusion is shown: those asked for, or all if they are few, or the baseline and the best."""
        losses = sorted((cell.loss for cell in cells), key=lambda loss: (loss != chart.baseline, loss))
        if self._settings.losses or len(losses) <= FEW_MATRICES:
            return losses
        shown = [cell for cell in cells if cell.loss in chart.highlighted and cell.mean is not None]
        sign = 1 if chart.measures[0].better == "higher" else -1
        shown.sort(key=lambda cell: (cell.loss != chart.baseline, -sign * (cell.mean or 0.0)))
        return [cell.loss for cell in shown[:2]] or losses[:1]

    def _matrix(self, chart: Chart, loss: str, position: int) -> Confusion:
        arrays, selections = self._arrays, self._evaluation.selections
        column = selections.index(chart.select)
        if not arrays["available"][position, column]:
            column = selections.index("last")
        return confusion_of(
            loss,
            arrays["test_labels"],
            arrays["predicted"][position, column],
            len(self._evaluation.classes),
            collapsed=bool(arrays["collapsed"][position, column]),
        )

    @functools.cached_property
    def _evaluation(self) -> Evaluation:
        evaluation = evaluations.find(self._layout)
        if evaluation is None:
            raise _NothingToDrawError(f"nothing is evaluated in {self._directory}; run `flowernoise evaluate` first")
        return evaluation

    @functools.cached_property
    def _keys(self) -> list[RunKey]:
        return self._evaluation.keys

    @functools.cached_property
    def _arrays(self) -> evaluations.Arrays:
        return evaluations.read(self._layout, self._evaluation)

    def _transition(self) -> Iterator[Picture]:
        drawn = draws.index(self._layout, self._dataset.id)
        if not drawn:
            raise _NothingToDrawError(f"no draws in {self._directory}; run `flowernoise corrupt` first")
        chosen = self._chosen(drawn, "draw")
        labels = draws.read(self._layout, self._dataset, [drawn[key] for key in chosen])
        for key in chosen:
            own = labels[key]
            matrices = own.transition_matrix, own.realised_transition_matrix
            data = transition_of(self._dataset, drawn[key].draw, *matrices)
            yield Picture(f"transition-{_draw_name(key)}", data)

    def _chosen(self, available: Collection[DrawKey], what: str) -> list[DrawKey]:
        """A draw of each noise model asked for: at the rate and of the seed asked for, or highest and lowest."""
        settings = self._settings
        noises = {key.noise for key in available}
        wanted = set(_picked(settings.noise, noises, noise_models, what, str(self._directory)))
        if not settings.noise and len(noises) > 1:
            wanted.discard(CONTROL)
        fitting = [
            key
            for key in sorted(available)
            if key.noise in wanted
            and (settings.rate is None or math.isclose(key.rate, settings.rate))
            and settings.seed in (None, key.seed)
        ]
        if not fitting:
            near = [key for key in sorted(available) if key.noise in wanted]
            raise BadRequestError(f"no {what} with {_asked(settings)} in {self._directory}; there are: {_listed(near)}")
        highest = {key.noise: key.rate for key in fitting}
        return [next(k for k in fitting if (k.noise, k.rate) == condition) for condition in highest.items()]


def slug(spec: str) -> str:
    """A spec as part of a file's name.

    >>> slug("gce:q=0.5")
    'gce-q-0.5'
    """
    plain = re.sub(r"[^\w.]+", "-", spec).strip("-")
    if len(plain) <= _LONGEST_NAME:
        return plain
    return f"{plain[: _LONGEST_NAME - 9]}-{hashlib.sha256(spec.encode()).hexdigest()[:8]}"


def _histories(layout: Layout, dataset: Dataset, chart: Chart) -> tuple[History, ...]:
    """Of a chart's runs that have wrong labels and kept a history; each block is read once."""
    cells = {Identity(cell.noise, cell.rate, cell.loss, chart.setup) for cell in chart.cells if cell.realised_rate > 0}
    found: dict[tuple[str, float, str], list[dict[str, Floats]]] = {}
    arrays: dict[str, runs.Arrays] = {}
    for key, stored in runs.live(runs.blocks(layout, dataset.id)).items():
        if key.identity not in cells or chart.mode != "features" or stored.run.failure:
            continue
        if stored.name not in arrays:
            every = runs.read_answers(layout, dataset, stored.block)
            arrays[stored.name] = {name: every[f"history_{name}"] for name in FOLLOWED}
        own = {name: values[stored.row].astype(float) for name, values in arrays[stored.name].items()}
        found.setdefault((key.noise, key.rate, key.method), []).append(own)
    return tuple(history_of(*cell, seeds) for cell, seeds in found.items())


def _noises(cells: Iterable[ChartCell]) -> set[str]:
    return {cell.noise for cell in cells} - {CONTROL}


def _picked(
    texts: Sequence[str], available: Collection[str], registry: Registry, what: str, where: str
) -> Collection[str]:
    """The specs that are meant among those that there are; a name alone means all specs of that name.

    Raises:
        BadRequestError: an unknown name, or one that there is nothing of.
    """
    picked: list[str] = []
    for text in texts:
        meant = {text} & set(available) or {spec for spec in available if spec.partition(":")[0] == text}
        meant = meant or {str(registry.parse(text))} & set(available)
        if not meant:
            there = ", ".join(sorted(available))
            raise BadRequestError(f"no {what} with {registry.kind} {text} in {where}; there are: {there}")
        picked += meant
    return picked if texts else available


def _asked(settings: PlotSettings) -> str:
    asked = [*settings.noise, *([] if settings.rate is None else [f"rate {settings.rate:g}"])]
    return ", ".join([*asked, *([] if settings.seed is None else [f"seed {settings.seed}"])])


def _listed(keys: Sequence[DrawKey]) -> str:
    """Rates and seeds of each noise model."""
    by_noise: dict[str, list[DrawKey]] = {}
    for key in keys:
        by_noise.setdefault(key.noise, []).append(key)
    return "; ".join(
        f"{noise} at {_numbers(key.rate for key in own)}, seeds {_numbers(key.seed for key in own)}"
        for noise, own in by_noise.items()
    )


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:g}" for value in sorted(set(values)))


def _draw_name(draw: DrawKey) -> str:
    return f"{slug(draw.noise)}-{draw.rate:g}-seed{draw.seed}"


def _format(settings: PlotSettings) -> str:
    """The format asked for, by name or by the output's suffix."""
    suffix = settings.output.suffix.removeprefix(".").lower() if settings.output else ""
    if suffix not in FORMATS:
        return settings.format or FORMATS[0]
    if settings.format not in (None, suffix):
        raise BadRequestError(f"--output {settings.output} is no file of --format {settings.format}")
    return suffix


def _paths(made: Sequence[Picture], settings: PlotSettings, form: str, plots: Path) -> list[Path]:
    """Where each picture goes."""
    output = settings.output or plots
    if output.suffix.lower() != f".{form}":
        return [output / f"{picture.name}.{form}" for picture in made]
    if len(made) > 1:
        names = ", ".join(picture.name for picture in made)
        raise BadRequestError(f"--output {output} is one file for {len(made)} pictures ({names}); name a directory")
    return [output]
