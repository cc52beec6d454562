"""Pictures of results: data in, the bytes of a PNG, SVG or PDF out.

The data come from :mod:`flowernoise.analysis.views`; equal data give equal bytes. Every picture says what was
measured, on how many photos and seeds, and in which unit, and can be read without colour.
"""

from __future__ import annotations

import importlib
import pkgutil

from flowernoise.analysis.views.pictures import Picture
from flowernoise.show.plot import sheet
from flowernoise.show.plot.kinds import pictures

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):  # those that draw register what they draw
    importlib.import_module(_module.name)


def draw(picture: Picture, form: str = "png") -> bytes:
    """A picture as ``png``, ``svg`` or ``pdf``."""
    with sheet.style():
        return sheet.render(pictures[picture.kind].function(picture.data), form)


def caption(picture: Picture) -> str:
    """The caption of a picture in a report."""
    text: str = pictures[picture.kind].properties["caption"](picture.data)
    return text


def alt(picture: Picture) -> str:
    """The text of a picture for people who cannot see it."""
    text: str = pictures[picture.kind].properties["alt"](picture.data)
    return text
