"""``plot``: pictures of what was compared, trained and drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from flowernoise.analysis import where
from flowernoise.analysis.results.written import PictureFile, PlotResult
from flowernoise.analysis.views.material import Material, NothingToDrawError, Wanted
from flowernoise.analysis.views.pictures import Gallery, Picture
from flowernoise.errors import BadRequestError
from flowernoise.progress import Progress
from flowernoise.registry import Entry
from flowernoise.show import formats
from flowernoise.show import plot as show_plot
from flowernoise.show.plot import kinds
from flowernoise.steps.compare import compare
from flowernoise.steps.outputs import Inputs
from flowernoise.steps.settings import CompareSettings, PlotSettings
from flowernoise.store import artifacts, datasets, evaluations, files
from flowernoise.store.layout import Layout
from flowernoise.store.records import RunKey


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
    if settings.kind is None and _is_file(settings.output, form):
        kinds_asked = ", ".join(kind.name for kind in _asked(settings))
        raise BadRequestError(
            f"--output {settings.output} is one file for pictures of several kinds ({kinds_asked}); name a directory, "
            "or one kind of picture"
        )
    gallery = pictures(artifacts_directory, settings, progress)
    paths = _paths(gallery.pictures, settings, form, artifacts.opened(artifacts_directory).plots)
    inputs = Inputs([artifacts_directory])
    for path in paths:
        inputs.refuse(path)
    drawn = []
    with progress.task("drawing", len(paths), "pictures") as advance:
        for picture, path in zip(gallery.pictures, paths, strict=True):
            written = files.write_plain(path, show_plot.draw(picture, form))
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
    asked = _asked(settings)
    material = _material(artifacts_directory, settings, asked, progress)
    notes = material.compared.notes if material.compared else ()
    if settings.kind:
        return Gallery(tuple(_found(asked[0], material)), notes)
    made: list[Picture] = []
    missing: list[str] = []
    for kind in asked:
        try:
            made += _found(kind, material)
        except NothingToDrawError as error:
            missing.append(f"no picture of {kind.name}: {error}")
    if not made:
        raise BadRequestError(missing[0])
    return Gallery(tuple(made), (*notes, *missing))


def _asked(settings: PlotSettings) -> list[Entry]:
    """The kind of picture that is asked for, or else the usual ones."""
    if settings.kind:
        return [kinds.pictures[settings.kind]]
    return [kind for kind in kinds.pictures if kind.properties["usual"]]


def _material(
    artifacts_directory: Path, settings: PlotSettings, asked: Sequence[Entry], progress: Progress
) -> Material:
    """What these kinds of pictures are made from; names are refused before anything is compared and kept for them."""
    wanted = Wanted(settings.losses, settings.noise, settings.rate, settings.seed)
    layout = artifacts.opened(artifacts_directory)
    material = Material(layout, datasets.need(layout), wanted, None)
    if not layout.evaluation.exists() or not any(kind.properties["compared"] for kind in asked):
        return material
    if wanted != Wanted():
        material.check(_evaluated(layout, settings.where))
    question = CompareSettings(metric=settings.metric, select=settings.select, where=settings.where)
    return dataclasses.replace(material, compared=compare([artifacts_directory], question, progress))


def _evaluated(layout: Layout, texts: Sequence[str]) -> list[RunKey]:
    """The evaluated runs that any ``--where`` picks; all if there is none."""
    evaluation = evaluations.find(layout)
    keys = list(evaluation.keys) if evaluation else []
    if not texts:
        return keys
    picked = where.matching(texts, [key.identity for key in keys])
    return [key for key in keys if key.identity in picked]


def _found(kind: Entry, material: Material) -> list[Picture]:
    """The pictures of a kind."""
    return [Picture(kind.name, name, data) for name, data in kind.properties["view"](material)]


def _format(settings: PlotSettings) -> str:
    """The format asked for, by name or by the output's suffix."""
    output = settings.output
    suffix = output.suffix.removeprefix(".").lower() if output and not output.is_dir() else ""
    if not suffix[:1].isalpha():  # as in v1.2, a directory
        return settings.format or formats.PICTURES[0]
    if suffix not in formats.PICTURES:
        raise BadRequestError(
            f"--output {output}: pictures are {', '.join(formats.PICTURES)}, not {suffix}; a directory with such a "
            "name has to be made first"
        )
    if settings.format not in (None, suffix):
        raise BadRequestError(f"--output {output} is not a file of --format {settings.format}")
    return suffix


def _paths(made: Sequence[Picture], settings: PlotSettings, form: str, plots: Path) -> list[Path]:
    """Where each picture goes."""
    output = settings.output or plots
    if not _is_file(output, form):
        return [output / f"{picture.name}.{form}" for picture in made]
    if len(made) > 1:
        names = ", ".join(picture.name for picture in made)
        raise BadRequestError(f"--output {output} is one file for {len(made)} pictures ({names}); name a directory")
    return [output]


def _is_file(output: Path | None, form: str) -> bool:
    """Whether pictures are asked for as one file, not in a directory."""
    return output is not None and not output.is_dir() and output.suffix.lower() == f".{form}"
