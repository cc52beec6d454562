"""Colours of flowers, leaves and backgrounds, and how they vary; red, green and blue are 0 … 255."""

from __future__ import annotations

import numpy as np

Colour = tuple[float, float, float]
WHITE: Colour = (246, 244, 240)
RED, PINK, YELLOW, ORANGE = (200, 28, 40), (225, 75, 112), (245, 202, 70), (240, 132, 55)
PURPLE, CREAM, PALE_PINK = (125, 50, 125), (240, 228, 220), (238, 162, 178)
YELLOWS: tuple[Colour, ...] = ((250, 205, 20), (245, 190, 10), (252, 215, 60), (240, 170, 15))
GREENS: tuple[Colour, ...] = ((70, 110, 45), (95, 135, 55), (50, 90, 50), (120, 150, 80), (80, 115, 80))
SEPALS: Colour = (78, 112, 50)


def ink(colour: Colour, opacity: float) -> tuple[int, int, int, int]:
    """The colour for Pillow, with an opacity from 0 to 1."""
    return int(colour[0]), int(colour[1]), int(colour[2]), int(255 * opacity)  # Pillow clips to 0 … 255


def shaded(colour: Colour, factor: float) -> Colour:
    """A darker colour, or a lighter one if the factor is above 1."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """The colour that is ``share`` of the way from one to the other."""
    rest = 1 - share
    return one[0] * rest + other[0] * share, one[1] * rest + other[1] * share, one[2] * rest + other[2] * share


def varied(generator: np.random.Generator, colour: Colour, spread: float) -> Colour:
    """A similar colour: mostly lighter or darker, with a slightly different hue."""
    lighter, *hues = (spread * generator.standard_normal(4)).tolist()
    red, green, blue = (value + lighter + 0.5 * hue for value, hue in zip(colour, hues, strict=True))
    return red, green, blue


def picked(generator: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """One of several colours."""
    return colours[generator.integers(len(colours))]
