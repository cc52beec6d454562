"""Photos of five kinds of flower, drawn by the program itself, so that demos and CI need no download.

A picture is a background, far plants out of focus, near ones, sometimes leaves in front, and a camera. A flower head is
a small solid: its petals rise above or droop below the head's plane, so that one model gives front, oblique and side
views. Lengths are in picture sides, or in head radii within a head; angles in radians; y points down.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from flowernoise.errors import BadRequestError

Colour = tuple[float, float, float]
Floats = NDArray[np.float64]

# How hard the pictures are. With these, a linear head on frozen ImageNet features does about as well as on real photos.
SMALL = 0.18  # share of pictures with only one or two small heads
COMPANY = 0.2  # share with a few flowers of any kind in the background
OCCLUDED = 0.25  # share with leaves in front
BLURRED = 0.45  # share out of focus or shaken
GREY = 0.04  # share without colour

SUPERSAMPLING = 2  # drawn this much larger, then averaged down: smooth edges
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
UP = -math.pi / 2
RAY: Floats = np.array([0.0, 0.2, 0.45, 0.7, 0.88, 0.97])  # places along a narrow petal
RIM: Floats = np.linspace(-1, 1, 11)  # places across a broad petal
LEVELS: Floats = np.array([[1.0], [0.94], [0.8], [0.64], [0.46]])  # a broad petal is painted from rim to base
CIRCLE: Floats = np.linspace(0, 2 * math.pi, 37)

WHITE: Colour = (246, 244, 240)
RED, PINK, YELLOW, ORANGE = (200, 28, 40), (225, 75, 112), (245, 202, 70), (240, 132, 55)
PURPLE, CREAM, PALE_PINK = (125, 50, 125), (240, 228, 220), (238, 162, 178)
YELLOWS: tuple[Colour, ...] = ((250, 205, 20), (245, 190, 10), (252, 215, 60), (240, 170, 15))
GREENS: tuple[Colour, ...] = ((70, 110, 45), (95, 135, 55), (50, 90, 50), (120, 150, 80), (80, 115, 80))
SEPALS: Colour = (78, 112, 50)
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


@dataclass(frozen=True)
class Canvas:
    """What a layer is drawn on, its side in pixels, and the picture's randomness and direction of light."""

    draw: ImageDraw.ImageDraw
    side: int
    generator: np.random.Generator
    light: float

    def polygon(self, points: Floats, colour: Colour, opacity: float = 1.0) -> None:
        """Fill an outline."""
        self.draw.polygon((points * self.side).ravel().tolist(), fill=_ink(colour, opacity))

    def line(self, points: Floats, colour: Colour, width: float, opacity: float = 1.0) -> None:
        """Draw a line, at least a pixel wide."""
        pixels = max(1, round(width * self.side))
        self.draw.line((points * self.side).ravel().tolist(), fill=_ink(colour, opacity), width=pixels)

    def dots(self, centres: Floats, radius: float, colours: list[Colour]) -> None:
        """Draw a disc about each centre."""
        pixels = max(0.7, radius * self.side)
        for (x, y), colour in zip((centres * self.side).tolist(), colours, strict=True):
            self.draw.ellipse((x - pixels, y - pixels, x + pixels, y + pixels), fill=_ink(colour, 1.0))


@dataclass(frozen=True)
class Pose:
    """Where a head is, how large, how far turned in its own plane, and how far it tilts from us towards ``lean``."""

    x: float
    y: float
    radius: float
    turn: float
    tilt: float
    lean: float

    def place(self, radii: Floats, angles: Floats, heights: Floats | float = 0.0) -> Floats:
        """Picture coordinates, seen from far away, of points in the head's cylindrical coordinates."""
        along = radii * self.facing(angles)
        shift = heights * math.sin(self.tilt) - (1 - math.cos(self.tilt)) * along
        x = radii * np.cos(angles + self.turn) + math.cos(self.lean) * shift
        y = radii * np.sin(angles + self.turn) + math.sin(self.lean) * shift
        return np.stack([self.x + self.radius * x, self.y + self.radius * y], axis=-1)

    def facing(self, angles: Floats) -> Floats:
        """From −1, the side of the head nearest to us, to 1, the farthest."""
        return np.asarray(np.cos(angles + self.turn - self.lean))


@dataclass(frozen=True)
class Ring:
    """Narrow petals all round a head.

    Attributes:
        count: how many.
        inner: where they start.
        outer: where they end.
        width: half of a petal's width.
        tip: from pointed (1) to square (9).
        bend: how far the tips rise above the head's plane.
        lift: how far the whole ring does.
        near: only the half that is nearer to us, or only the other.
        streak: brightness of a line along each petal.
    """

    count: int
    inner: float
    outer: float
    width: float
    tip: float
    bend: float
    lift: float = 0.0
    near: bool | None = None
    streak: float | None = None


@dataclass(frozen=True)
class Cup:
    """A broad petal that rises from the base of a head.

    Attributes:
        angle: where around the head.
        half_angle: half of how much of the circle it takes.
        reach: distance of its rim from the axis.
        flare: from closing (−0.5) to spreading (0.3).
        height: of its rim.
        point: from pointed (1) to round (4).
        veins: whether lines run along it.
    """

    angle: float
    half_angle: float
    reach: float
    flare: float
    height: float
    point: float
    veins: bool


@dataclass(frozen=True)
class Variety:
    """What the flowers of one picture share: colours of petals and centre, and a form from 0 to 1."""

    petal: Colour
    centre: Colour
    form: float


@dataclass(frozen=True)
class Species:
    """How a kind looks: head, leaves, colours, the tilts it is seen at, and its size beside the others."""

    head: Callable[[Canvas, Pose, Variety], None]
    leaves: Callable[[Canvas, Floats, float], None]
    petals: tuple[Colour, ...]
    centres: tuple[Colour, ...]
    tilts: tuple[float, float]
    size: float


def paint(kind: str, generator: np.random.Generator, size: int = 224) -> Image.Image:
    """A picture of flowers of one kind.

    Args:
        kind: one of ``KINDS``.
        generator: all that varies comes from it: the same state gives the same pixels.
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


# Heads ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _dandelion(canvas: Canvas, pose: Pose, variety: Variety) -> None:
    """A dense head of narrow yellow rays, or the white seed clock."""
    if variety.form < 0.2:
        _seed_clock(canvas, pose)
        return
    detail = _detail(canvas, pose)
    _rays(canvas, pose, SEPALS, Ring(count=10, inner=0.0, outer=0.6, width=0.12, tip=2, bend=-0.5))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        colour = _shade(_mix(variety.petal, variety.centre, 0.8 * share**1.5), 0.86 + 0.14 * share)
        count, width = round((46 - 24 * share) * detail), 0.045 / math.sqrt(detail)
        bend = 0.1 + 0.35 * share - 0.6 * variety.form * (1 - share)
        _rays(canvas, pose, colour, Ring(count, 0.02, 1.0 - 0.8 * share, width, tip=9, bend=bend, lift=0.3 * share))


def _seed_clock(canvas: Canvas, pose: Pose) -> None:
    """A ball of white parachutes on fine stalks around a brown heart."""
    generator, count = canvas.generator, round(150 * _detail(canvas, pose))
    ball = replace(pose, tilt=0.0)  # looks the same from everywhere
    for reach in (0.98, 0.85, 0.6):
        canvas.polygon(ball.place(reach * generator.normal(1, 0.03, CIRCLE.size), CIRCLE), (225, 225, 215), 0.22)
    reaches = np.sqrt(generator.uniform(0.02, 1, count)) * generator.normal(0.92, 0.05, count)
    tips = ball.place(reaches, generator.uniform(0, 2 * math.pi, count))
    heart = ball.place(np.zeros(1), np.zeros(1))
    spokes = generator.uniform(0, 2 * math.pi, (count, 1)) + np.arange(6) * math.pi / 3
    ends = tips[:, None] + 0.14 * pose.radius * np.stack([np.cos(spokes), np.sin(spokes)], axis=-1)
    stars = np.stack([ends, np.broadcast_to(tips[:, None], ends.shape)], axis=2).reshape(count, 12, 2)
    for tip, star, shade in zip(tips, stars, generator.uniform(0.75, 1.05, count).tolist(), strict=True):
        canvas.line(np.concatenate([heart, tip[None]]), _shade((195, 185, 165), shade), 0.01 * pose.radius, 0.5)
        canvas.line(star, _shade(WHITE, shade), 0.012 * pose.radius, 0.6)
    canvas.dots(heart, 0.15 * pose.radius, [(110, 85, 60)])


def _daisy(canvas: Canvas, pose: Pose, variety: Variety) -> None:
    """White rays, sometimes pinkish, around a yellow disc."""
    count = round((13 + 16 * variety.form) * max(0.6, _detail(canvas, pose)))
    bend = canvas.generator.uniform(-0.35, 0.3)
    disc = 0.26 + 0.12 * variety.form
    for near in (False, True):
        for outer in (0.93, 1.0):
            inner = (0.97 if near else 0.7) * disc
            ring = Ring(count, inner, outer, 2 / count, tip=5, bend=bend, near=near, streak=0.9)
            _rays(canvas, pose, _shade(variety.petal, outer), ring)
        if not near:
            _disc(canvas, pose, disc, variety.centre, _shade(variety.centre, 0.75), height=0.22)


def _sunflower(canvas: Canvas, pose: Pose, variety: Variety) -> None:
    """Pointed yellow rays around a large disc of spiralling seeds; double varieties have more rays and less disc."""
    double = variety.form > 0.9
    count = round((16 + 10 * variety.form) * max(0.6, _detail(canvas, pose)))
    bend = canvas.generator.uniform(-0.25, 0.35)
    disc = 0.24 if double else canvas.generator.uniform(0.4, 0.58)
    _rays(canvas, pose, SEPALS, Ring(count=12, inner=0.2, outer=0.85, width=0.12, tip=1.3, bend=bend - 0.2))
    for near in (False, True):
        for outer in (1.0, 0.8, 0.65, 0.5) if double else (0.9, 1.0):
            inner = (0.97 if near else 0.7) * disc
            ring = Ring(count, inner, outer, 2.6 / count, tip=1.6, bend=bend, near=near, streak=0.86)
            _rays(canvas, pose, _shade(variety.petal, math.sqrt(outer)), ring)
        if not near:
            _disc(canvas, pose, disc, variety.centre, _mix(variety.centre, variety.petal, 0.35), height=0.12)


def _tulip(canvas: Canvas, pose: Pose, variety: Variety) -> None:
    """A cup of six broad pointed petals, closed or opening; double varieties have more."""
    count = 15 if variety.form > 0.91 else 6
    angles = canvas.generator.uniform(0, 2 * math.pi) + np.arange(count, dtype=np.float64) * (math.pi / 3.1)
    facing = pose.facing(angles)
    cup = Cup(0.0, 0.75, 0.95, -0.52 + 0.75 * variety.form**2, 1.5 - 0.4 * variety.form, point=1.7, veins=True)
    base = _mix(variety.petal, variety.centre, 0.25)
    for rank, index in enumerate(np.argsort(-facing)):
        if rank == count // 2 and pose.tilt < 1.2:
            _stamens(canvas, pose, variety.centre)
        inside = _shade(variety.petal, 0.72 if facing[index] > 0 else 1.0)
        reach = 0.95 - 0.03 * max(0, int(index) - 6)
        _cup_petal(canvas, pose, inside, base, replace(cup, angle=float(angles[index]), reach=reach))


def _rose(canvas: Canvas, pose: Pose, variety: Variety) -> None:
    """Many round petals in a spiral, the outer ones flat, the inner ones upright and close; or a slender bud."""
    generator, bud = canvas.generator, variety.form < 0.14
    count = 9 if bud else round((16 + 14 * variety.form) * max(0.5, _detail(canvas, pose)))
    width, height, rise = (0.5, 1.3, 0.1) if bud else (1.0, 0.35, 0.55)
    base = _shade(_mix(variety.petal, variety.centre, 0.4), 0.55)
    _rays(canvas, pose, SEPALS, Ring(5, 0.1, outer=0.95 * width, width=0.13, tip=1.4, bend=height - 0.45))
    shares = np.arange(count) / count
    angles = generator.uniform(0, 2 * math.pi) + np.arange(count) * GOLDEN_ANGLE + generator.normal(0, 0.2, count)
    in_front = (pose.facing(angles) < 0) & (pose.tilt > 0.9)  # from the side, near outer petals hide the inner ones
    for index in np.argsort(np.where(in_front, 2 - shares, shares)):
        share = float(shares[index])
        colour = _mix(variety.petal, variety.centre, 0.6 * share)
        reach, half_angle = width * (1.0 - 0.86 * share), 0.75 + 0.5 * share
        cup = Cup(float(angles[index]), half_angle, reach, 0.0, height + rise * share, point=3.5, veins=False)
        _cup_petal(canvas, pose, colour, base, cup)


# Parts of a head ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _rays(canvas: Canvas, pose: Pose, colour: Colour, ring: Ring) -> None:
    """A ring of narrow petals, each a little different."""
    generator, count = canvas.generator, ring.count
    angles = np.arange(count) * 2 * math.pi / count + generator.normal(0, 0.5 / count, count) + generator.uniform(0, 7)
    if ring.near is not None:
        angles = angles[(pose.facing(angles) < 0) == ring.near]
    half = ring.width * (0.45 + 0.55 * np.minimum(1, 2.5 * RAY)) * (1 - RAY**ring.tip) ** 0.6
    lengths = ring.outer * generator.normal(1, 0.06, (angles.size, 1))
    radii = ring.inner + (lengths - ring.inner) * np.concatenate([RAY, RAY[::-1]])
    across = np.concatenate([half, -half[::-1]]) / np.maximum(radii, 0.08)
    heights = ring.lift + radii**2 * generator.normal(ring.bend, 0.12, (angles.size, 1))
    outlines = pose.place(radii, angles[:, None] + across, heights)
    shades = 1 + 0.1 * np.cos(angles + pose.turn - canvas.light) + generator.normal(0, 0.05, angles.size)
    for outline, shade in zip(outlines, shades.tolist(), strict=True):
        canvas.polygon(outline, _shade(colour, shade))
        if ring.streak is not None:
            middle = (outline[[0, 4]] + outline[[-1, -5]]) / 2
            canvas.line(middle, _shade(colour, shade * ring.streak), 0.02 * pose.radius)


def _disc(canvas: Canvas, pose: Pose, radius: float, colour: Colour, speckle: Colour, height: float) -> None:
    """A domed centre with florets along the golden spiral."""
    for share in (1.0, 0.8, 0.5):
        rim = pose.place(np.full(CIRCLE.size, radius * share), CIRCLE, height * (1 - share**2))
        canvas.polygon(rim, _shade(colour, 0.82 + 0.25 * (1 - share)))
    count = round(180 * _detail(canvas, pose) ** 1.5)
    shares = np.sqrt(np.arange(count) / count)
    florets = pose.place(radius * shares, np.arange(count) * GOLDEN_ANGLE, height * (1 - shares**2))
    tints = (canvas.generator.uniform(0, 1, count) * shares).tolist()
    canvas.dots(florets, 0.06 * pose.radius * radius, [_mix(_shade(colour, 0.8), speckle, tint) for tint in tints])


def _cup_petal(canvas: Canvas, pose: Pose, colour: Colour, base: Colour, cup: Cup) -> None:
    """A broad petal, ``base`` coloured below and light at its rim."""
    generator = canvas.generator
    rise = 0.55 + 0.45 * (1 - np.abs(RIM) ** cup.point) + 0.03 * np.sin(3 * RIM + generator.uniform(0, 7))
    along = LEVELS * np.concatenate([[0.02, 0.25], rise, [0.25, 0.02]])
    across = cup.half_angle * np.concatenate([[-0.4, -0.85], RIM, [0.85, 0.4]]) * (0.6 + 0.4 * LEVELS)
    radii = cup.reach * np.sqrt(along) * (1 + cup.flare * along)
    outlines = pose.place(radii, cup.angle + across, cup.height * along)
    bright = 1 + 0.12 * math.cos(cup.angle + pose.turn - canvas.light) + generator.normal(0, 0.04)
    for outline, shade, blend in zip(outlines, (1.08, 1.0, 0.97, 0.94, 0.9), (0.0, 0.05, 0.15, 0.3, 0.5), strict=True):
        canvas.polygon(outline, _shade(_mix(colour, base, blend), bright * shade))
    for column in range(3, 12, 2) if cup.veins else ():
        canvas.line(outlines[:, column], _shade(colour, bright * 0.85), 0.02 * pose.radius, 0.5)


def _stamens(canvas: Canvas, pose: Pose, colour: Colour) -> None:
    """The dark heart of an open tulip with its anthers."""
    canvas.polygon(pose.place(np.full(CIRCLE.size, 0.3), CIRCLE, 0.15), _shade(colour, 0.5))
    canvas.dots(pose.place(np.full(6, 0.22), CIRCLE[:36:6], 0.35), 0.05 * pose.radius, [_shade(colour, 0.8)] * 6)
    canvas.dots(pose.place(np.zeros(1), np.zeros(1), 0.4), 0.09 * pose.radius, [(190, 195, 110)])


# Stems and leaves ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _stem(canvas: Canvas, pose: Pose) -> Floats:
    """A stem from behind the head down and out of the picture; returns its course."""
    length = max(1.1 - pose.y, 3 * pose.radius)
    t = np.linspace(0, 1, 9)[:, None] ** 2
    start = np.array([pose.x, pose.y])
    behind = -pose.radius * math.sin(pose.tilt) * np.array([math.cos(pose.lean), math.sin(pose.lean)])
    way = length * np.array([canvas.generator.normal(0, 0.25), 1.0])
    course: Floats = start + 2 * t * (1 - t) * (behind + 0.3 * way) + t**2 * way
    colour, width = _pick(canvas.generator, GREENS), max(0.006, 0.09 * pose.radius)
    canvas.line(course, _shade(colour, 0.75), width)
    canvas.line(course - np.array([0.2 * width, 0.0]), _shade(colour, 1.1), 0.45 * width)
    return course


def _below(course: Floats, distance: float) -> Floats:
    """The point of a stem so far below its head."""
    y = course[0, 1] + distance
    return np.array([np.interp(y, course[:, 1], course[:, 0]), y])


def _leaf(canvas: Canvas, root: Floats, direction: float, length: float, width: float, colour: Colour) -> None:
    """A curved leaf of two halves, one of them in the light."""
    t = np.linspace(0, 1, 9)
    headings = direction + canvas.generator.normal(0, 0.5) * t
    rib = root + length / 9 * np.cumsum(np.stack([np.cos(headings), np.sin(headings)], axis=-1), axis=0)
    normals = np.stack([-np.sin(headings), np.cos(headings)], axis=-1)
    half = (width * np.sin(math.pi * t**0.8) ** 0.8)[:, None] * normals
    for side, shade in ((half, 1.0), (-half, 0.8)):
        canvas.polygon(np.concatenate([rib, (rib + side)[::-1]]), _shade(colour, shade))
    canvas.line(rib, _shade(colour, 1.25), 0.04 * width)


def _narrow_leaves(canvas: Canvas, course: Floats, radius: float) -> None:
    """A few narrow leaves low on the stem."""
    for lean in canvas.generator.normal(0, 0.8, 3).tolist():
        colour = _pick(canvas.generator, GREENS)
        _leaf(canvas, _below(course, 3 * radius), UP + lean, 1.6 * radius, 0.16 * radius, colour)


def _clasping_leaves(canvas: Canvas, course: Floats, radius: float) -> None:
    """The long bluish leaves about a tulip's stem."""
    for lean in canvas.generator.normal((-0.35, 0.35), 0.15).tolist():
        colour = _vary(canvas.generator, (95, 135, 95), 14)
        _leaf(canvas, _below(course, 4.5 * radius), UP + lean, 4 * radius, 0.3 * radius, colour)


def _broad_leaves(canvas: Canvas, course: Floats, radius: float) -> None:
    """The broad leaves along a sunflower's stem."""
    for distance, lean in ((1.3, -1.2), (1.8, 1.2), (2.6, -1.0), (3.2, 1.0)):
        colour, direction = _pick(canvas.generator, GREENS), UP + canvas.generator.normal(lean, 0.4)
        _leaf(canvas, _below(course, distance * radius), direction, 1.3 * radius, 0.36 * radius, colour)


def _oval_leaves(canvas: Canvas, course: Floats, radius: float) -> None:
    """Dark oval leaves around a rose."""
    for distance, lean in canvas.generator.uniform((0.3, -2.0), (2.2, 2.0), (6, 2)).tolist():
        colour = _shade(_pick(canvas.generator, GREENS), 0.75)
        _leaf(canvas, _below(course, distance * radius), UP + lean, 1.2 * radius, 0.26 * radius, colour)


# Scene ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _variety(generator: np.random.Generator, species: Species) -> Variety:
    petal = _vary(generator, _pick(generator, species.petals), 9)
    return Variety(petal, _vary(generator, _pick(generator, species.centres), 9), generator.random())


def _composition(generator: np.random.Generator, species: Species) -> list[Pose]:
    """The near heads: a small one or two, a close-up, a few, or many."""
    choice = generator.random()
    if choice < SMALL:
        return _crowd(generator, species, int(generator.integers(1, 3)), 0.06, 0.1)
    if choice < 0.53:
        return _crowd(generator, species, 1, 0.22, 0.5)
    if choice < 0.8:
        return _crowd(generator, species, int(generator.integers(2, 5)), 0.12, 0.25)
    return _crowd(generator, species, int(generator.integers(5, 12)), 0.05, 0.15)


def _crowd(generator: np.random.Generator, species: Species, count: int, least: float, most: float) -> list[Pose]:
    """Heads of similar size, the small ones first and higher up: they are farther away."""
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
        course = _stem(canvas, pose)
        if canvas.generator.random() < 0.7:
            species.leaves(canvas, course, pose.radius)
        species.head(canvas, pose, replace(variety, petal=_vary(canvas.generator, variety.petal, 7)))


def _far_plants(canvas: Canvas, species: Species, variety: Variety) -> None:
    """More flowers of the same kind, sometimes of another."""
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
        _leaf(canvas, np.array([root, 1.05]), UP + lean, length, width, _pick(generator, GREENS))


def _background(generator: np.random.Generator, size: int) -> Image.Image:
    """What is behind all flowers: patches of colour, with grass, leaves or clods."""
    colours, brightness, blades, clods = BACKGROUNDS[generator.integers(len(BACKGROUNDS))]
    columns = 6 if blades or clods else 2  # sky and walls lie in bands
    tints = [_vary(generator, _shade(_pick(generator, colours), brightness), 14) for _ in range(6 * columns)]
    patches = Image.fromarray(np.clip(tints, 0, 255).reshape(6, columns, 3).astype(np.uint8))
    image = patches.resize((size, size), Image.Resampling.BICUBIC)
    canvas = Canvas(ImageDraw.Draw(image, "RGBA"), size, generator, light=0.0)
    for x, y, lean, length in generator.uniform((0, 0.1, -0.6, 0.06), (1, 1.2, 0.6, 0.3), (blades, 4)).tolist():
        blade = np.array([[x, y], [x + length * math.sin(lean), y - length]])
        canvas.line(blade, _shade(_pick(generator, GREENS), generator.uniform(0.4, 1.2)), 0.008)
    for x, y, turn, length in generator.uniform((0, 0, -math.pi, 0.05), (1, 1, math.pi, 0.3), (clods, 4)).tolist():
        colour = _shade(_pick(generator, colours), generator.uniform(0.4, 1.3))
        _leaf(canvas, np.array([x, y]), turn, length, 0.25 * length, colour)
    return image


# Camera and colours ───────────────────────────────────────────────────────────────────────────────────────────────────


def _photograph(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """What light and camera do: blur, dappled light, white balance, exposure, grain."""
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


def _detail(canvas: Canvas, pose: Pose) -> float:
    """How much of the fine structure is worth drawing, from 0.3 for a tiny head to 1."""
    return min(1.0, max(0.3, pose.radius * canvas.side / 90))


def _ink(colour: Colour, opacity: float) -> tuple[int, int, int, int]:
    return int(colour[0]), int(colour[1]), int(colour[2]), int(255 * opacity)  # Pillow clips to 0 … 255


def _shade(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    rest = 1 - share
    return one[0] * rest + other[0] * share, one[1] * rest + other[1] * share, one[2] * rest + other[2] * share


def _vary(generator: np.random.Generator, colour: Colour, spread: float) -> Colour:
    """A colour near this one: mostly lighter or darker, a little of another hue."""
    lighter, *hues = (spread * generator.standard_normal(4)).tolist()
    red, green, blue = (value + lighter + 0.5 * hue for value, hue in zip(colour, hues, strict=True))
    return red, green, blue


def _pick(generator: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[generator.integers(len(colours))]


SPECIES: dict[str, Species] = {
    "dandelion": Species(
        head=_dandelion,
        leaves=_narrow_leaves,
        petals=YELLOWS,
        centres=((235, 165, 10), (245, 185, 20)),
        tilts=(0.0, 1.35),
        size=0.95,
    ),
    "daisy": Species(
        head=_daisy,
        leaves=_narrow_leaves,
        petals=(WHITE, WHITE, (240, 238, 225), (240, 215, 225)),
        centres=YELLOWS,
        tilts=(0.0, 1.25),
        size=0.95,
    ),
    "tulips": Species(
        head=_tulip,
        leaves=_clasping_leaves,
        petals=(RED, PINK, YELLOW, ORANGE, PURPLE, CREAM, PALE_PINK),
        centres=((60, 40, 40), (215, 190, 60), (230, 225, 170)),
        tilts=(0.55, 1.6),
        size=0.72,
    ),
    "sunflowers": Species(
        head=_sunflower,
        leaves=_broad_leaves,
        petals=YELLOWS,
        centres=((70, 42, 22), (55, 35, 25), (65, 45, 20), (90, 60, 25), (150, 105, 30)),
        tilts=(0.0, 1.25),
        size=1.05,
    ),
    "roses": Species(
        head=_rose,
        leaves=_oval_leaves,
        petals=(RED, RED, PINK, CREAM, YELLOW, ORANGE, PALE_PINK),
        centres=((170, 20, 40), (235, 190, 130), (220, 120, 120)),
        tilts=(0.0, 1.15),
        size=0.9,
    ),
}
KINDS: tuple[str, ...] = tuple(SPECIES)
