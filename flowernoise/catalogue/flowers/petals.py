"""Parts of flower heads: rings of narrow petals, broad petals, discs and stamens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from flowernoise.catalogue.flowers.canvas import Canvas, Floats, Pose
from flowernoise.catalogue.flowers.colours import Colour, mixed, shaded

GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
RAY: Floats = np.array([0.0, 0.2, 0.45, 0.7, 0.88, 0.97])  # positions along a narrow petal
RIM: Floats = np.linspace(-1, 1, 11)  # positions across a broad petal
LEVELS: Floats = np.array([[1.0], [0.94], [0.8], [0.64], [0.46]])  # a broad petal is painted from rim to base
CIRCLE: Floats = np.linspace(0, 2 * math.pi, 37)


@dataclass(frozen=True)
class Ring:
    """Narrow petals all around a head.

    Attributes:
        count: number of petals.
        inner: where they start.
        outer: where they end.
        width: half of a petal's width.
        tip: from pointed (1) to square (9).
        bend: how far the tips rise above the head's plane.
        lift: how far the whole ring rises.
        near: draws only the half nearer to us, or only the other half; None draws both.
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
        angle: its position around the head.
        half_angle: half of the angle it covers.
        reach: distance of its rim from the axis.
        flare: from closing (−0.5) to spreading (0.3).
        height: height of its rim.
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


def draw_rays(canvas: Canvas, pose: Pose, colour: Colour, ring: Ring) -> None:
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
        canvas.polygon(outline, shaded(colour, shade))
        if ring.streak is not None:
            middle = (outline[[0, 4]] + outline[[-1, -5]]) / 2
            canvas.line(middle, shaded(colour, shade * ring.streak), 0.02 * pose.radius)


def draw_disc(canvas: Canvas, pose: Pose, radius: float, colour: Colour, speckle: Colour, height: float) -> None:
    """A domed centre with florets along the golden spiral."""
    for share in (1.0, 0.8, 0.5):
        rim = pose.place(np.full(CIRCLE.size, radius * share), CIRCLE, height * (1 - share**2))
        canvas.polygon(rim, shaded(colour, 0.82 + 0.25 * (1 - share)))
    count = round(180 * detail_of(canvas, pose) ** 1.5)
    shares = np.sqrt(np.arange(count) / count)
    florets = pose.place(radius * shares, np.arange(count) * GOLDEN_ANGLE, height * (1 - shares**2))
    tints = (canvas.generator.uniform(0, 1, count) * shares).tolist()
    canvas.dots(florets, 0.06 * pose.radius * radius, [mixed(shaded(colour, 0.8), speckle, tint) for tint in tints])


def draw_petal(canvas: Canvas, pose: Pose, colour: Colour, base: Colour, cup: Cup) -> None:
    """A broad petal, coloured ``base`` at the bottom and light at its rim."""
    generator = canvas.generator
    rise = 0.55 + 0.45 * (1 - np.abs(RIM) ** cup.point) + 0.03 * np.sin(3 * RIM + generator.uniform(0, 7))
    along = LEVELS * np.concatenate([[0.02, 0.25], rise, [0.25, 0.02]])
    across = cup.half_angle * np.concatenate([[-0.4, -0.85], RIM, [0.85, 0.4]]) * (0.6 + 0.4 * LEVELS)
    radii = cup.reach * np.sqrt(along) * (1 + cup.flare * along)
    outlines = pose.place(radii, cup.angle + across, cup.height * along)
    bright = 1 + 0.12 * math.cos(cup.angle + pose.turn - canvas.light) + generator.normal(0, 0.04)
    for outline, shade, blend in zip(outlines, (1.08, 1.0, 0.97, 0.94, 0.9), (0.0, 0.05, 0.15, 0.3, 0.5), strict=True):
        canvas.polygon(outline, shaded(mixed(colour, base, blend), bright * shade))
    for column in range(3, 12, 2) if cup.veins else ():
        canvas.line(outlines[:, column], shaded(colour, bright * 0.85), 0.02 * pose.radius, 0.5)


def draw_stamens(canvas: Canvas, pose: Pose, colour: Colour) -> None:
    """The dark heart of an open tulip with its anthers."""
    canvas.polygon(pose.place(np.full(CIRCLE.size, 0.3), CIRCLE, 0.15), shaded(colour, 0.5))
    canvas.dots(pose.place(np.full(6, 0.22), CIRCLE[:36:6], 0.35), 0.05 * pose.radius, [shaded(colour, 0.8)] * 6)
    canvas.dots(pose.place(np.zeros(1), np.zeros(1), 0.4), 0.09 * pose.radius, [(190, 195, 110)])


def detail_of(canvas: Canvas, pose: Pose) -> float:
    """How much fine detail is worth drawing, from 0.3 for a tiny head to 1."""
    return min(1.0, max(0.3, pose.radius * canvas.side / 90))
