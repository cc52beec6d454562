"""The files of ``plot``, ``preview`` and ``report``, and whether they were already up to date."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from flowernoise.analysis.views.sheets import SheetKind
from flowernoise.store.records import Selection
from flowernoise.store.setups import Mode


@dataclasses.dataclass(frozen=True)
class PictureFile:
    """A picture's file, and whether it was already up to date."""

    kind: str
    path: Path
    done_before: bool


@dataclasses.dataclass(frozen=True)
class PlotResult:
    """The files, and notes about them."""

    files: tuple[PictureFile, ...]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ListedPhoto:
    """A photo on a sheet: its label in the source, the label that it was given, and a run's prediction."""

    path: str
    id: str
    split: str
    label: str
    given: str
    predicted: str | None
    probability: float | None


@dataclasses.dataclass(frozen=True)
class SheetFile:
    """A sheet on disk, without its photos, and whether it was written now."""

    file: Path
    written: bool
    kind: SheetKind
    photos: int
    wrong: int
    population: int
    mistakes: int
    noise: str | None
    rate: float
    seed: int
    realised_rate: float
    loss: str | None
    backbone: str | None
    mode: Mode | None
    settings: tuple[str, ...]
    selection: Selection | None
    listed: tuple[ListedPhoto, ...]


@dataclasses.dataclass(frozen=True)
class PreviewResult:
    """The sheets in viewing order, the folder they are in, whether the list of their photos was written now, and which
    labels were checked.
    """

    directory: Path
    source: str
    classes: tuple[str, ...]
    sheets: tuple[SheetFile, ...]
    is_list_new: bool
    trust: str = "all"

    @property
    def written(self) -> int:
        """How many sheets were written now."""
        return sum(sheet.written for sheet in self.sheets)

    @property
    def done_before(self) -> bool:
        """Whether every file was already up to date."""
        return not (self.written or self.is_list_new)


@dataclasses.dataclass(frozen=True)
class ReportFile:
    """A file of the report, and whether it was already up to date."""

    path: Path
    size: int
    done_before: bool


@dataclasses.dataclass(frozen=True)
class ReportResult:
    """The files, the page first."""

    files: tuple[ReportFile, ...]
