"""How losses are drawn: colours for the colour-blind, and markers and dashes for print without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

COLLAPSED = "✗"  # as in tables
Dashes = Literal["-"] | tuple[float, tuple[float, ...]]  # as matplotlib takes them
# Okabe and Ito's colours; yellow is left out, as it is no line on white.
_COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "<", ">")
_DASHES: tuple[Dashes, ...] = ("-", (0, (5, 2)), (0, (8, 2, 1.5, 2)), (0, (1.5, 1.5)), (0, (9, 2, 1.5, 2, 1.5, 2)))


class Style(NamedTuple):
    """Of one loss."""

    colour: str
    marker: str
    dashes: Dashes


OTHER = Style("#c4c4c4", ".", "-")
REFERENCE = "#5a5a5a"  # of lines that are no loss


def of_losses(highlighted: Sequence[str]) -> Mapping[str, Style]:
    """A style for each loss, no two alike; the first is black and solid."""
    return {
        loss: Style(_COLOURS[k % len(_COLOURS)], _MARKERS[k % len(_MARKERS)], _DASHES[k % len(_DASHES)])
        for k, loss in enumerate(highlighted)
    }
