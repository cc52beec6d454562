"""Stems, and the leaves of each kind."""

from __future__ import annotations

import math

import numpy as np

from flowernoise.catalogue.flowers.canvas import UP, Canvas, Floats, Pose
from flowernoise.catalogue.flowers.colours import GREENS, Colour, picked, shaded, varied


def draw_stem(canvas: Canvas, pose: Pose) -> Floats:
    """A stem from behind the head down and out of the picture; returns its path."""
    length = max(1.1 - pose.y, 3 * pose.radius)
    t = np.linspace(0, 1, 9)[:, None] ** 2
    start = np.array([pose.x, pose.y])
    behind = -pose.radius * math.sin(pose.tilt) * np.array([math.cos(pose.lean), math.sin(pose.lean)])
    way = length * np.array([canvas.generator.normal(0, 0.25), 1.0])
    course: Floats = start + 2 * t * (1 - t) * (behind + 0.3 * way) + t**2 * way
    colour, width = picked(canvas.generator, GREENS), max(0.006, 0.09 * pose.radius)
    canvas.line(course, shaded(colour, 0.75), width)
    canvas.line(course - np.array([0.2 * width, 0.0]), shaded(colour, 1.1), 0.45 * width)
    return course


def _below(course: Floats, distance: float) -> Floats:
    """The point on a stem at a distance below its head."""
    y = course[0, 1] + distance
    return np.array([np.interp(y, course[:, 1], course[:, 0]), y])


def draw_leaf(canvas: Canvas, root: Floats, direction: float, length: float, width: float, colour: Colour) -> None:
    """A curved leaf with two halves, one of them in the light."""
    t = np.linspace(0, 1, 9)
    headings = direction + canvas.generator.normal(0, 0.5) * t
    rib = root + length / 9 * np.cumsum(np.stack([np.cos(headings), np.sin(headings)], axis=-1), axis=0)
    normals = np.stack([-np.sin(headings), np.cos(headings)], axis=-1)
    half = (width * np.sin(math.pi * t**0.8) ** 0.8)[:, None] * normals
    for side, shade in ((half, 1.0), (-half, 0.8)):
        canvas.polygon(np.concatenate([rib, (rib + side)[::-1]]), shaded(colour, shade))
    canvas.line(rib, shaded(colour, 1.25), 0.04 * width)


def narrow_leaves(canvas: Canvas, course: Floats, radius: float) -> None:
    """A few narrow leaves low on the stem."""
    for lean in canvas.generator.normal(0, 0.8, 3).tolist():
        colour = picked(canvas.generator, GREENS)
        draw_leaf(canvas, _below(course, 3 * radius), UP + lean, 1.6 * radius, 0.16 * radius, colour)


def clasping_leaves(canvas: Canvas, course: Floats, radius: float) -> None:
    """The long bluish leaves around a tulip's stem."""
    for lean in canvas.generator.normal((-0.35, 0.35), 0.15).tolist():
        colour = varied(canvas.generator, (95, 135, 95), 14)
        draw_leaf(canvas, _below(course, 4.5 * radius), UP + lean, 4 * radius, 0.3 * radius, colour)


def broad_leaves(canvas: Canvas, course: Floats, radius: float) -> None:
    """The broad leaves along a sunflower's stem."""
    for distance, lean in ((1.3, -1.2), (1.8, 1.2), (2.6, -1.0), (3.2, 1.0)):
        colour, direction = picked(canvas.generator, GREENS), UP + canvas.generator.normal(lean, 0.4)
        draw_leaf(canvas, _below(course, distance * radius), direction, 1.3 * radius, 0.36 * radius, colour)


def oval_leaves(canvas: Canvas, course: Floats, radius: float) -> None:
    """Dark oval leaves around a rose."""
    for distance, lean in canvas.generator.uniform((0.3, -2.0), (2.2, 2.0), (6, 2)).tolist():
        colour = shaded(picked(canvas.generator, GREENS), 0.75)
        draw_leaf(canvas, _below(course, distance * radius), UP + lean, 1.2 * radius, 0.26 * radius, colour)
