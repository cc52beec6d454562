"""What flowers are drawn on, and how a head's own coordinates become the picture's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from flowernoise.catalogue.flowers.colours import Colour, ink

Floats = NDArray[np.float64]
UP = -math.pi / 2


@dataclass(frozen=True)
class Canvas:
    """What a layer is drawn on, its side in pixels, the picture's random generator and its direction of light."""

    draw: ImageDraw.ImageDraw
    side: int
    generator: np.random.Generator
    light: float

    def polygon(self, points: Floats, colour: Colour, opacity: float = 1.0) -> None:
        """Fill an outline."""
        self.draw.polygon((points * self.side).ravel().tolist(), fill=ink(colour, opacity))

    def line(self, points: Floats, colour: Colour, width: float, opacity: float = 1.0) -> None:
        """Draw a line, at least a pixel wide."""
        pixels = max(1, round(width * self.side))
        self.draw.line((points * self.side).ravel().tolist(), fill=ink(colour, opacity), width=pixels)

    def dots(self, centres: Floats, radius: float, colours: list[Colour]) -> None:
        """Draw a disc around each centre."""
        pixels = max(0.7, radius * self.side)
        for (x, y), colour in zip((centres * self.side).tolist(), colours, strict=True):
            self.draw.ellipse((x - pixels, y - pixels, x + pixels, y + pixels), fill=ink(colour, 1.0))


@dataclass(frozen=True)
class Pose:
    """A head's position and size, its turn in its own plane, and its tilt away from us towards ``lean``."""

    x: float
    y: float
    radius: float
    turn: float
    tilt: float
    lean: float

    def place(self, radii: Floats, angles: Floats, heights: Floats | float = 0.0) -> Floats:
        """Converts points in the head's cylindrical coordinates to picture coordinates, as seen from far away."""
        along = radii * self.facing(angles)
        shift = heights * math.sin(self.tilt) - (1 - math.cos(self.tilt)) * along
        x = radii * np.cos(angles + self.turn) + math.cos(self.lean) * shift
        y = radii * np.sin(angles + self.turn) + math.sin(self.lean) * shift
        return np.stack([self.x + self.radius * x, self.y + self.radius * y], axis=-1)

    def facing(self, angles: Floats) -> Floats:
        """From −1, on the side of the head nearest to us, to 1, on the farthest."""
        return np.asarray(np.cos(angles + self.turn - self.lean))
