"""The five kinds of flower that are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flowernoise.catalogue.flowers import heads, leaves
from flowernoise.catalogue.flowers.canvas import Canvas, Floats, Pose
from flowernoise.catalogue.flowers.colours import (
    CREAM,
    ORANGE,
    PALE_PINK,
    PINK,
    PURPLE,
    RED,
    WHITE,
    YELLOW,
    YELLOWS,
    Colour,
)
from flowernoise.catalogue.flowers.heads import Variety


@dataclass(frozen=True)
class Species:
    """How a kind looks: its head, leaves, colours, tilts, and size relative to the others."""

    head: Callable[[Canvas, Pose, Variety], None]
    leaves: Callable[[Canvas, Floats, float], None]
    petals: tuple[Colour, ...]
    centres: tuple[Colour, ...]
    tilts: tuple[float, float]
    size: float


SPECIES: dict[str, Species] = {
    "dandelion": Species(
        head=heads.dandelion,
        leaves=leaves.narrow_leaves,
        petals=YELLOWS,
        centres=((235, 165, 10), (245, 185, 20)),
        tilts=(0.0, 1.35),
        size=0.95,
    ),
    "daisy": Species(
        head=heads.daisy,
        leaves=leaves.narrow_leaves,
        petals=(WHITE, WHITE, (240, 238, 225), (240, 215, 225)),
        centres=YELLOWS,
        tilts=(0.0, 1.25),
        size=0.95,
    ),
    "tulips": Species(
        head=heads.tulip,
        leaves=leaves.clasping_leaves,
        petals=(RED, PINK, YELLOW, ORANGE, PURPLE, CREAM, PALE_PINK),
        centres=((60, 40, 40), (215, 190, 60), (230, 225, 170)),
        tilts=(0.55, 1.6),
        size=0.72,
    ),
    "sunflowers": Species(
        head=heads.sunflower,
        leaves=leaves.broad_leaves,
        petals=YELLOWS,
        centres=((70, 42, 22), (55, 35, 25), (65, 45, 20), (90, 60, 25), (150, 105, 30)),
        tilts=(0.0, 1.25),
        size=1.05,
    ),
    "roses": Species(
        head=heads.rose,
        leaves=leaves.oval_leaves,
        petals=(RED, RED, PINK, CREAM, YELLOW, ORANGE, PALE_PINK),
        centres=((170, 20, 40), (235, 190, 130), (220, 120, 120)),
        tilts=(0.0, 1.15),
        size=0.9,
    ),
}
KINDS: tuple[str, ...] = tuple(SPECIES)
