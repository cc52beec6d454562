"""Student's distribution; importing scipy.special would take longer than everything that ``compare`` computes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from flowernoise.analysis.stats.common import FLOOR, LEVEL, Floats, Z


def student_quantile(freedom: Any) -> Floats:
    """Student's t for a 95 % interval, for degrees of freedom of at least one, to nine digits.

    Formula: with t = √ν sinh x, P(|T| ≤ t) = ∫ cosh^(−ν) over 0 … x, divided by that over 0 … ∞. This is concave in x,
    so Newton's method climbs to the root from the first terms of the expansion about the normal quantile.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7, 1964; the expansion is 26.7.5.

    >>> student_quantile([1, 4, np.inf]).round(3).tolist()
    [12.706, 2.776, 1.96]
    """
    degrees = _degrees(freedom)
    start = Z + (Z**3 + Z) / (4 * degrees) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * degrees**2)
    x, whole = np.arcsinh(start / np.sqrt(degrees)), _arc(np.inf, degrees)
    for _ in range(4):
        x = x + (LEVEL * whole - _arc(x, degrees)) * np.cosh(x) ** degrees
    return np.asarray(np.sqrt(degrees) * np.sinh(x))


def student_two_sided(t: Any, freedom: Any) -> Floats:
    """Two-sided p-values of Student's t, at least 1e-10.

    Formula, Source: as for :func:`student_quantile`.

    >>> student_two_sided([0, 12.706], [5, 1]).round(3).tolist()
    [1.0, 0.05]
    """
    degrees = _degrees(freedom)
    within = _arc(np.arcsinh(np.abs(t) / np.sqrt(degrees)), degrees) / _arc(np.inf, degrees)
    return np.asarray(np.clip(1 - within, FLOOR, 1))


def _degrees(freedom: Any) -> Floats:
    """As an array, at most 1e9; from there on, Student's distribution equals the normal one to nine digits."""
    return np.asarray(np.minimum(np.asarray(freedom, dtype=float), 1e9))


def _arc(x: Any, degrees: Floats) -> Floats:
    """∫ cosh^(−ν) over 0 … x by Gauss–Legendre quadrature, up to where the rest is below rounding."""
    nodes, weights = _quadrature()
    half = np.minimum(x, 39 / degrees + 9 / np.sqrt(degrees))[..., None] / 2
    sinh = np.sinh(half * (1 + nodes))
    return np.asarray((np.exp(-degrees[..., None] / 2 * np.log1p(sinh**2)) @ weights) * half[..., 0])


@functools.cache
def _quadrature() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(56)
    return nodes, weights
