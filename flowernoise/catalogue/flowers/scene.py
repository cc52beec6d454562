"""Whole pictures: a background, distant plants, near plants, sometimes leaves in front, and camera effects."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from flowernoise.catalogue.flowers.canvas import UP, Canvas, Pose
from flowernoise.catalogue.flowers.colours import GREENS, Colour, picked, shaded, varied
from flowernoise.catalogue.flowers.heads import Variety
from flowernoise.catalogue.flowers.leaves import draw_leaf, draw_stem
from flowernoise.catalogue.flowers.species import KINDS, SPECIES, Species
from flowernoise.errors import BadRequestError

# How hard the pictures are. A linear head on frozen ImageNet features does about as well with these as on real photos.
SMALL = 0.18  # share of pictures with only one or two small heads
COMPANY = 0.2  # share with a few flowers of any kind in the background
OCCLUDED = 0.25  # share with leaves in front
BLURRED = 0.45  # share out of focus or shaken
GREY = 0.04  # share without colour
SUPERSAMPLING = 2  # drawn this much larger, then scaled down for smooth edges
# colours, their brightness, blades of grass, leaves or clods: meadow, shrubs, hedge, soil, sky, wall, night
BACKGROUNDS: tuple[tuple[tuple[Colour, ...], float, int, int], ...] = (
    (GREENS, 0.7, 130, 0),
    (GREENS, 0.7, 40, 20),
    ((*GREENS, (150, 160, 110), (110, 100, 80)), 0.9, 0, 25),
    (((110, 85, 65), (85, 65, 50), (135, 115, 90)), 0.9, 0, 35),
    (((120, 165, 220), (170, 200, 235), (215, 225, 235)), 1.0, 0, 0),
    (((200, 190, 175), (170, 175, 180), (150, 130, 115)), 1.0, 0, 0),
    (((25, 30, 22), (15, 15, 15), (35, 45, 30)), 1.0, 0, 8),
)


def paint(kind: str, generator: np.random.Generator, size: int = 224) -> Image.Image:
    """A picture of flowers of one kind.

    Args:
        kind: one of ``KINDS``.
        generator: the only source of variation: the same state gives the same pixels.
        size: side of the picture in pixels.

    Returns:
        An RGB image, ``size`` × ``size``.

    Raises:
        BadRequestError: ``kind`` is not one of ``KINDS``.

    >>> paint("daisy", np.random.default_rng(0), size=64).size
    (64, 64)
    """
    if kind not in SPECIES:
        raise BadRequestError(f"unknown kind of flower {kind!r}; choose one of {', '.join(KINDS)}")
    species = SPECIES[kind]
    variety = _variety(generator, species)
    light = generator.uniform(-math.pi, 0)
    image = _background(generator, size)
    _far_plants(Canvas(ImageDraw.Draw(image, "RGBA"), size, generator, light), species, variety)
    image = image.filter(ImageFilter.BoxBlur(size / 224 * float(generator.choice([0.0, 1.5, 4.0, 8.0]))))
    image = image.resize((size * SUPERSAMPLING, size * SUPERSAMPLING), Image.Resampling.BILINEAR)
    canvas = Canvas(ImageDraw.Draw(image, "RGBA"), size * SUPERSAMPLING, generator, light)
    _plants(canvas, species, variety, _composition(generator, species))
    if generator.random() < OCCLUDED:
        _foreground(canvas)
    return _photograph(image.reduce(SUPERSAMPLING), generator)


def _variety(generator: np.random.Generator, species: Species) -> Variety:
    petal = varied(generator, picked(generator, species.petals), 9)
    return Variety(petal, varied(generator, picked(generator, species.centres), 9), generator.random())


def _composition(generator: np.random.Generator, species: Species) -> list[Pose]:
    """The near heads: one or two small ones, a close-up, a few, or many."""
    choice = generator.random()
    if choice < SMALL:
        return _crowd(generator, species, int(generator.integers(1, 3)), 0.06, 0.1)
    if choice < 0.53:
        return _crowd(generator, species, 1, 0.22, 0.5)
    if choice < 0.8:
        return _crowd(generator, species, int(generator.integers(2, 5)), 0.12, 0.25)
    return _crowd(generator, species, int(generator.integers(5, 12)), 0.05, 0.15)


def _crowd(generator: np.random.Generator, species: Species, count: int, least: float, most: float) -> list[Pose]:
    """Heads of similar size; small ones come first and higher up, as they are farther away."""
    poses = []
    for rank, radius in enumerate(np.sort(generator.uniform(least, most, count) * species.size).tolist()):
        x = generator.normal(0.5, 0.18 if count == 1 else 0.28)
        y = generator.normal(0.46 + 0.25 * ((rank + 0.5) / count - 0.5), 0.15)
        turn, tilt = generator.uniform(0, 2 * math.pi), generator.uniform(*species.tilts)
        place = min(0.95, max(0.05, x)), min(0.9, max(0.8 * radius, y))
        poses.append(Pose(*place, radius, turn, tilt, lean=UP + generator.normal(0, 0.7)))
    return poses


def _plants(canvas: Canvas, species: Species, variety: Variety, poses: list[Pose]) -> None:
    """Whole plants, one in front of the other."""
    for pose in poses:
        course = draw_stem(canvas, pose)
        if canvas.generator.random() < 0.7:
            species.leaves(canvas, course, pose.radius)
        species.head(canvas, pose, replace(variety, petal=varied(canvas.generator, variety.petal, 7)))


def _far_plants(canvas: Canvas, species: Species, variety: Variety) -> None:
    """More flowers of the same kind, and sometimes of another."""
    generator = canvas.generator
    if generator.random() < 0.5:
        _plants(canvas, species, variety, _crowd(generator, species, int(generator.integers(2, 9)), 0.04, 0.12))
    if generator.random() < COMPANY:
        other = SPECIES[KINDS[generator.integers(len(KINDS))]]
        poses = _crowd(generator, other, int(generator.integers(1, 4)), 0.03, 0.06)
        _plants(canvas, other, _variety(generator, other), poses)


def _foreground(canvas: Canvas) -> None:
    """Leaves or blades of grass that come into the picture from below."""
    generator = canvas.generator
    for _ in range(generator.integers(1, 5)):
        root, lean, length = generator.uniform(-0.1, 1.1), generator.normal(0, 0.5), generator.uniform(0.4, 1.0)
        width = float(generator.choice([0.012, 0.025, 0.06]))
        draw_leaf(canvas, np.array([root, 1.05]), UP + lean, length, width, picked(generator, GREENS))


def _background(generator: np.random.Generator, size: int) -> Image.Image:
    """The background: patches of colour, with grass, leaves or clods."""
    colours, brightness, blades, clods = BACKGROUNDS[generator.integers(len(BACKGROUNDS))]
    columns = 6 if blades or clods else 2  # sky and walls lie in bands
    tints = [varied(generator, shaded(picked(generator, colours), brightness), 14) for _ in range(6 * columns)]
    patches = Image.fromarray(np.clip(tints, 0, 255).reshape(6, columns, 3).astype(np.uint8))
    image = patches.resize((size, size), Image.Resampling.BICUBIC)
    canvas = Canvas(ImageDraw.Draw(image, "RGBA"), size, generator, light=0.0)
    for x, y, lean, length in generator.uniform((0, 0.1, -0.6, 0.06), (1, 1.2, 0.6, 0.3), (blades, 4)).tolist():
        blade = np.array([[x, y], [x + length * math.sin(lean), y - length]])
        canvas.line(blade, shaded(picked(generator, GREENS), generator.uniform(0.4, 1.2)), 0.008)
    for x, y, turn, length in generator.uniform((0, 0, -math.pi, 0.05), (1, 1, math.pi, 0.3), (clods, 4)).tolist():
        colour = shaded(picked(generator, colours), generator.uniform(0.4, 1.3))
        draw_leaf(canvas, np.array([x, y]), turn, length, 0.25 * length, colour)
    return image


def _photograph(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Effects of light and camera: blur, dappled light, white balance, exposure, grain."""
    size = image.width
    if generator.random() < BLURRED:
        image = image.filter(ImageFilter.BoxBlur(size / 224 * generator.uniform(0.3, 2.5)))
    pixels = np.asarray(image, dtype=np.float32)
    if generator.random() < GREY:
        pixels = pixels.mean(axis=2, keepdims=True)
    cells = generator.integers(3, 9)
    dapple = Image.fromarray(generator.normal(1, generator.uniform(0.05, 0.22), (cells, cells)).astype(np.float32))
    light = np.asarray(dapple.resize((size, size), Image.Resampling.BICUBIC))[:, :, None]
    balance = (generator.normal(1, 0.06, 3) * generator.uniform(0.7, 1.15)).astype(np.float32)
    grain = generator.standard_normal((size, size, 1), dtype=np.float32) * np.float32(generator.uniform(1, 9))
    pixels = pixels * light * balance + (grain + np.float32(generator.uniform(-8, 14)))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
