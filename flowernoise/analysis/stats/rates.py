"""Finds tolerated noise rates, and the rate from which a loss beats the baseline."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from flowernoise.analysis.stats.common import SAME, Floats
from flowernoise.analysis.stats.resampling import middle

DELTA = 0.02  # how much accuracy a tolerated rate may cost
_BELOW = -1.0  # stands for a rate below the first; ±∞ stand for rates beyond all others


@dataclasses.dataclass(frozen=True)
class CensoredRate:
    """A noise rate, or a bound on it.

    Args:
        censoring: ``exact``; ``below`` and ``at_least`` bound it by ``rate``; ``none``: such a rate does not exist.
        rate: None for ``none``.
    """

    censoring: Literal["exact", "below", "at_least", "none"]
    rate: float | None


@dataclasses.dataclass(frozen=True)
class RateEstimate:
    """A noise rate with its 95 % interval."""

    point: CensoredRate
    low: CensoredRate
    high: CensoredRate


def tolerance(
    means: Floats,
    rates: Sequence[float] | Floats,
    baseline_control: Floats,
    own_control: Floats | None = None,
    delta: float = DELTA,
) -> RateEstimate:
    """The largest rate up to which a loss stays within ``delta`` of the baseline without noise.

    Formula: the first downward crossing of the baseline's control − δ, interpolated linearly between neighbouring
    rates. ``below`` the first rate, if the loss is already lower there; ``at_least`` the last rate, if it never gets
    lower; ``none`` if its own control is already lower. This is computed on the observed means and on every resample.
    The interval holds 95 % of the resamples, ordered ``none`` < ``below`` < rates < ``at_least``, and the point.

    Args:
        means: from :func:`resampled_means`, at each rate [rates, 1 + B]; negated if lower is better.
        rates: realised rates, above 0, in any order.
        baseline_control: the baseline's mean without noise, in the same resamples [1 + B].
        own_control: the loss's own mean without noise, if it has one.
        delta: in the unit of the means.

    >>> means, control = np.array([[0.92], [0.88], [0.70]]), np.array([0.92])
    >>> tolerance(np.repeat(means, 11, axis=1), [0.2, 0.4, 0.6], np.repeat(control, 11)).point.censoring
    'exact'
    """
    sorted_rates, sorted_means = _by_rate(rates, means)
    margin = sorted_means - (np.asarray(baseline_control, dtype=float) - delta)
    found = _first_crossing(sorted_rates, margin, margin < -SAME, at_once=_BELOW, never=math.inf)
    if own_control is not None:
        found[own_control < baseline_control - delta - SAME] = -math.inf
    return _estimate(found, sorted_rates, {-math.inf: "none", math.inf: "at_least"})


def crossover(means: Floats, baseline: Floats, rates: Sequence[float] | Floats) -> RateEstimate:
    """The rate from which a loss beats the baseline and keeps beating it up to the last rate.

    Formula: going down from the last rate, the first crossing at which the loss is no longer ahead, interpolated
    linearly between neighbouring rates. ``below`` the first rate, if the loss is ahead at all rates, whatever the
    controls say; ``none`` if it is not ahead at the last rate. The interval holds 95 % of the resamples, ordered
    ``below`` < rates < ``none``, and the point.

    Args:
        means, baseline: from :func:`resampled_means`, at each rate [rates, 1 + B]; negated if lower is better.
        rates: realised rates, above 0, in any order.

    >>> means, baseline = np.array([[0.90], [0.88]]), np.array([[0.92], [0.84]])
    >>> crossover(np.repeat(means, 11, axis=1), np.repeat(baseline, 11, axis=1), [0.2, 0.5]).point.censoring
    'exact'
    """
    sorted_rates, lead = _by_rate(rates, np.asarray(means, dtype=float) - baseline)
    backwards = lead[::-1]
    found = _first_crossing(sorted_rates[::-1], backwards, backwards <= SAME, at_once=math.inf, never=_BELOW)
    return _estimate(found, sorted_rates, {math.inf: "none"})


def _by_rate(rates: Sequence[float] | Floats, means: Floats) -> tuple[Floats, Floats]:
    """Rates in rising order, and the means in the same order."""
    order = np.argsort(rates, kind="stable")
    return np.asarray(rates, dtype=float)[order], np.asarray(means, dtype=float)[order]


def _first_crossing(rates: Floats, margin: Floats, beneath: Any, *, at_once: float, never: float) -> Floats:
    """The rate at which each column of ``margin`` [rates, 1 + B] first falls below zero, or the code for a bound."""
    first = np.where(beneath.any(axis=0), beneath.argmax(axis=0), len(rates))
    inside = np.flatnonzero((first > 0) & (first < len(rates)))
    after = first[inside]
    before = after - 1
    share = margin[before, inside] / (margin[before, inside] - margin[after, inside])
    found = np.where(first == 0, at_once, never)
    found[inside] = rates[before] + np.clip(share, 0, 1) * (rates[after] - rates[before])
    return found


def _estimate(found: Floats, rates: Floats, names: dict[float, Literal["none", "at_least"]]) -> RateEstimate:
    """The point (first of ``found``) and the interval of the others, extended to contain the point."""
    point = float(found[0])
    low, high = (float(bound) for bound in middle(found[1:]))

    def known(code: float) -> CensoredRate:
        if code == _BELOW:
            return CensoredRate("below", float(rates[0]))
        if code in names:
            return CensoredRate(names[code], float(rates[-1]) if names[code] == "at_least" else None)
        return CensoredRate("exact", code)

    return RateEstimate(known(point), known(min(point, low)), known(max(point, high)))
