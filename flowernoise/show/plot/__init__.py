"""Pictures of results: data in, the bytes of a PNG or SVG out.

The data are those of :mod:`flowernoise.analysis.views`; equal data give equal bytes. Every picture says what was
measured, of how many photos and seeds, and in which unit, and can be read without colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowernoise.analysis.views.charts import Chart, Spread
from flowernoise.analysis.views.histories import Histories
from flowernoise.analysis.views.matrices import Confusions, Transition
from flowernoise.analysis.views.pictures import PictureData
from flowernoise.show.plot import lines, matrices, sheet, strips

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(data: PictureData, form: str = "png") -> bytes:
    """The picture of some data, as ``png`` or ``svg``."""
    with sheet.style():
        return sheet.render(figure_of(data), form)


def figure_of(data: PictureData) -> Figure:
    """The picture of some data, to be rendered in :func:`flowernoise.show.plot.sheet.style`."""
    match data:
        case Chart():
            return lines.accuracy(data)
        case Histories():
            return lines.memorisation(data)
        case Confusions():
            return matrices.confusion(data)
        case Transition():
            return matrices.transition(data)
        case Spread():
            return strips.seeds(data.chart)
