"""Pictures: whatever can be drawn of results, under the name of its file."""

from __future__ import annotations

import dataclasses
from typing import Literal

from flowernoise.analysis.views.charts import Chart, Spread
from flowernoise.analysis.views.histories import Histories
from flowernoise.analysis.views.matrices import Confusions, Transition

PictureKind = Literal["accuracy", "memorisation", "confusion", "transition", "seeds"]
PictureData = Chart | Histories | Confusions | Transition | Spread


@dataclasses.dataclass(frozen=True)
class Picture:
    """What one picture shows, and its file's name without suffix."""

    name: str
    data: PictureData

    @property
    def kind(self) -> PictureKind:
        """What kind of picture it is."""
        return self.data.kind


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The pictures that can be drawn, and what their viewer should know."""

    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]
