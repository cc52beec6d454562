"""Where results may be written: never onto a file that a record names, or that a command reads."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from flowernoise.catalogue.backbones import backbones
from flowernoise.catalogue.noise import noise_models
from flowernoise.catalogue.photo_folders import is_artifacts_directory
from flowernoise.catalogue.sources import path_of
from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.registry import Spec
from flowernoise.store import datasets, draws
from flowernoise.store.layout import Layout
from flowernoise.store.records import CONTROL


class Inputs:
    """The files that results must not be written onto.

    Args:
        directories: artifacts directories. The photos and files that their data come from are kept.
        reading: files that the command itself reads.
    """

    def __init__(self, directories: Sequence[Path], *, reading: Iterable[Path] = ()) -> None:
        self._layouts = [Layout(path) for path in directories]
        self._reading = {file.resolve() for file in reading}

    def refuse(self, output: Path) -> None:
        """Refuses to write a file where something lies that is needed.

        Raises:
            BadRequestError: the file is read, or belongs to the records of some artifacts directory.
        """
        final = output.resolve()
        for folder in final.parents:
            if is_artifacts_directory(folder) and _is_recorded(Layout(folder), final):
                raise BadRequestError(
                    f"{output} is among the records of the artifacts directory {folder}; {_ELSEWHERE}"
                )
        if final in self._reading:
            raise BadRequestError(f"{output} is read by this command; {_ELSEWHERE}")
        if final in self._label_files:
            raise BadRequestError(f"{output} is a file that photos or labels were taken from; {_ELSEWHERE}")
        for root, photos in self._sources:
            if root in final.parents and final.relative_to(root).as_posix() in photos:
                raise BadRequestError(f"{output} is one of the photos; {_ELSEWHERE}")

    @functools.cached_property
    def _label_files(self) -> set[Path]:
        return {file.resolve() for layout in self._layouts for file in _label_files(layout)}

    @functools.cached_property
    def _sources(self) -> list[tuple[Path, frozenset[str]]]:
        return [source for layout in self._layouts for source in _source(layout)]


_ELSEWHERE = "write to another file"


def files_of(spec: Spec) -> Iterator[str]:
    """Paths of the files that a spec names, and of those that the backbone within it names."""
    yield from spec.files.values()
    if inner := spec.values.get("backbone"):
        yield from files_of(backbones.parse(inner))


def _is_recorded(layout: Layout, file: Path) -> bool:
    if any(folder in file.parents for folder in layout.recorded):
        return True
    is_evaluation = file.parent == layout.root and file.name.startswith(f"{layout.evaluation.stem}-")
    return file in (layout.dataset, layout.preset, layout.evaluation) or is_evaluation


def _label_files(layout: Layout) -> Iterator[Path]:
    """Files that photos and their labels were taken from, and those that noise was drawn from."""
    try:
        dataset = datasets.find(layout)
        drawn = draws.index(layout, dataset.id) if dataset else {}
    except DamagedFileError:
        return  # the step that reads it says so
    if dataset and (source := path_of(dataset.request.source)):
        yield source
    if dataset and dataset.request.labels:
        yield Path(dataset.request.labels)
    for noise in {key.noise for key in drawn} - {CONTROL}:
        yield from map(Path, files_of(noise_models.parse(noise)))


def _source(layout: Layout) -> Iterator[tuple[Path, frozenset[str]]]:
    """The folder that photos were taken from, if it was a folder, and their paths in it."""
    try:
        dataset = datasets.find(layout)
        if dataset and (folder := path_of(dataset.request.source)):
            yield folder.resolve(), frozenset(photo.path for photo in datasets.index(layout, dataset))
    except DamagedFileError:
        return
