"""Pictures of results: data in, the bytes of a PNG or SVG out.

The data are what ``flowernoise.steps.plot.pictures`` makes; equal data give equal bytes. Every picture says what was
measured, of how many photos and seeds, and in which unit, and can be read without colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from flowernoise.show.plot import lines, matrices, sheet, strips

DRAWERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "accuracy": lines.accuracy,
        "memorisation": lines.memorisation,
        "confusion": matrices.confusion,
        "transition": matrices.transition,
        "seeds": strips.seeds,
    }
)


def draw(kind: str, data: Any, form: str = "png") -> bytes:
    """The picture of some data.

    Args:
        kind: a key of ``DRAWERS``.
        data: what that kind takes (the ``…Like`` of :mod:`flowernoise.show.plot.subject`).
        form: ``png`` or ``svg``.
    """
    with sheet.style():
        return sheet.render(DRAWERS[kind](data), form)
