"""Flower heads of the five kinds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from flowernoise.catalogue.flowers.canvas import Canvas, Pose
from flowernoise.catalogue.flowers.colours import SEPALS, WHITE, Colour, mixed, shaded
from flowernoise.catalogue.flowers.petals import (
    CIRCLE,
    GOLDEN_ANGLE,
    Cup,
    Ring,
    detail_of,
    draw_disc,
    draw_petal,
    draw_rays,
    draw_stamens,
)


@dataclass(frozen=True)
class Variety:
    """What the flowers of one picture share: colours of petals and centre, and a form from 0 to 1."""

    petal: Colour
    centre: Colour
    form: float


def dandelion(canvas: Canvas, pose: Pose, variety: Variety) -> None:
    """A dense head of narrow yellow rays, or the white seed clock."""
    if variety.form < 0.2:
        _seed_clock(canvas, pose)
        return
    detail = detail_of(canvas, pose)
    draw_rays(canvas, pose, SEPALS, Ring(count=10, inner=0.0, outer=0.6, width=0.12, tip=2, bend=-0.5))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        colour = shaded(mixed(variety.petal, variety.centre, 0.8 * share**1.5), 0.86 + 0.14 * share)
        count, width = round((46 - 24 * share) * detail), 0.045 / math.sqrt(detail)
        bend = 0.1 + 0.35 * share - 0.6 * variety.form * (1 - share)
        draw_rays(canvas, pose, colour, Ring(count, 0.02, 1.0 - 0.8 * share, width, tip=9, bend=bend, lift=0.3 * share))


def _seed_clock(canvas: Canvas, pose: Pose) -> None:
    """A ball of white parachutes on fine stalks around a brown heart."""
    generator, count = canvas.generator, round(150 * detail_of(canvas, pose))
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
        canvas.line(np.concatenate([heart, tip[None]]), shaded((195, 185, 165), shade), 0.01 * pose.radius, 0.5)
        canvas.line(star, shaded(WHITE, shade), 0.012 * pose.radius, 0.6)
    canvas.dots(heart, 0.15 * pose.radius, [(110, 85, 60)])


def daisy(canvas: Canvas, pose: Pose, variety: Variety) -> None:
    """White rays, sometimes pinkish, around a yellow disc."""
    count = round((13 + 16 * variety.form) * max(0.6, detail_of(canvas, pose)))
    bend = canvas.generator.uniform(-0.35, 0.3)
    disc = 0.26 + 0.12 * variety.form
    for near in (False, True):
        for outer in (0.93, 1.0):
            inner = (0.97 if near else 0.7) * disc
            ring = Ring(count, inner, outer, 2 / count, tip=5, bend=bend, near=near, streak=0.9)
            draw_rays(canvas, pose, shaded(variety.petal, outer), ring)
        if not near:
            draw_disc(canvas, pose, disc, variety.centre, shaded(variety.centre, 0.75), height=0.22)


def sunflower(canvas: Canvas, pose: Pose, variety: Variety) -> None:
    """Pointed yellow rays around a large disc of spiralling seeds; double varieties have more rays and less disc."""
    double = variety.form > 0.9
    count = round((16 + 10 * variety.form) * max(0.6, detail_of(canvas, pose)))
    bend = canvas.generator.uniform(-0.25, 0.35)
    disc = 0.24 if double else canvas.generator.uniform(0.4, 0.58)
    draw_rays(canvas, pose, SEPALS, Ring(count=12, inner=0.2, outer=0.85, width=0.12, tip=1.3, bend=bend - 0.2))
    for near in (False, True):
        for outer in (1.0, 0.8, 0.65, 0.5) if double else (0.9, 1.0):
            inner = (0.97 if near else 0.7) * disc
            ring = Ring(count, inner, outer, 2.6 / count, tip=1.6, bend=bend, near=near, streak=0.86)
            draw_rays(canvas, pose, shaded(variety.petal, math.sqrt(outer)), ring)
        if not near:
            draw_disc(canvas, pose, disc, variety.centre, mixed(variety.centre, variety.petal, 0.35), height=0.12)


def tulip(canvas: Canvas, pose: Pose, variety: Variety) -> None:
    """A cup of six broad pointed petals, closed or opening; double varieties have more."""
    count = 15 if variety.form > 0.91 else 6
    angles = canvas.generator.uniform(0, 2 * math.pi) + np.arange(count, dtype=np.float64) * (math.pi / 3.1)
    facing = pose.facing(angles)
    cup = Cup(0.0, 0.75, 0.95, -0.52 + 0.75 * variety.form**2, 1.5 - 0.4 * variety.form, point=1.7, veins=True)
    base = mixed(variety.petal, variety.centre, 0.25)
    for rank, index in enumerate(np.argsort(-facing)):
        if rank == count // 2 and pose.tilt < 1.2:
            draw_stamens(canvas, pose, variety.centre)
        inside = shaded(variety.petal, 0.72 if facing[index] > 0 else 1.0)
        reach = 0.95 - 0.03 * max(0, int(index) - 6)
        draw_petal(canvas, pose, inside, base, replace(cup, angle=float(angles[index]), reach=reach))


def rose(canvas: Canvas, pose: Pose, variety: Variety) -> None:
    """Many round petals in a spiral, the outer ones flat, the inner ones upright and close; or a slender bud."""
    generator, bud = canvas.generator, variety.form < 0.14
    count = 9 if bud else round((16 + 14 * variety.form) * max(0.5, detail_of(canvas, pose)))
    width, height, rise = (0.5, 1.3, 0.1) if bud else (1.0, 0.35, 0.55)
    base = shaded(mixed(variety.petal, variety.centre, 0.4), 0.55)
    draw_rays(canvas, pose, SEPALS, Ring(5, 0.1, outer=0.95 * width, width=0.13, tip=1.4, bend=height - 0.45))
    shares = np.arange(count) / count
    angles = generator.uniform(0, 2 * math.pi) + np.arange(count) * GOLDEN_ANGLE + generator.normal(0, 0.2, count)
    in_front = (pose.facing(angles) < 0) & (pose.tilt > 0.9)  # from the side, near outer petals hide the inner ones
    for index in np.argsort(np.where(in_front, 2 - shares, shares)):
        share = float(shares[index])
        colour = mixed(variety.petal, variety.centre, 0.6 * share)
        reach, half_angle = width * (1.0 - 0.86 * share), 0.75 + 0.5 * share
        cup = Cup(float(angles[index]), half_angle, reach, 0.0, height + rise * share, point=3.5, veins=False)
        draw_petal(canvas, pose, colour, base, cup)
