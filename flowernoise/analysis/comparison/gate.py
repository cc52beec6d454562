"""Whether a comparison's cells are as good as asked: a gate for CI."""

from __future__ import annotations

from collections.abc import Sequence

from flowernoise.analysis import where
from flowernoise.catalogue.metrics import facts_of
from flowernoise.errors import BadRequestError
from flowernoise.store.records import Comparison, Row
from flowernoise.store.setups import differing, named, setting

_ROUNDING = 1e-9  # the mean of equal values may differ from them by that much


def missed(
    comparison: Comparison, wheres: Sequence[str], *, fail_under: float | None, fail_under_low: float | None
) -> str | None:
    """Why the gate is missed: the worst of the matching cells that are not as good as asked; None if all are.

    Where lower is better, a cell misses the gate above the limit, and the interval's upper end counts. A cell misses
    it, too, if all of its runs failed, or if it has no interval and one is asked for. Without ``wheres`` all match.

    Args:
        fail_under: what the mean must reach.
        fail_under_low: what the worse end of the 95 % interval must reach.

    Raises:
        BadRequestError: no matching cell, or none in which the metric is defined.
    """
    limits = {"--fail-under": fail_under, "--fail-under-low": fail_under_low}
    wanted = {option: limit for option, limit in limits.items() if limit is not None}
    if not wanted:
        return None
    rows = _matching(comparison, wheres)
    for option, limit in wanted.items():
        low = option == "--fail-under-low"
        shortfalls = [(_shortfall(row, limit, comparison.better, low=low), row) for row in rows]
        short = [(shortfall, row) for shortfall, row in shortfalls if shortfall > _ROUNDING]
        if short:
            _, worst = max(short, key=lambda pair: pair[0])
            miss = "misses" if len(short) == 1 else "miss"
            of = f"; {len(short)} of the {len(rows)} matching cells {miss} it" if len(rows) > 1 else ""
            return f"{_described(comparison, worst)}, which misses {option} {limit:g}{of}"
    return None


def check_limits(metric: str, *, fail_under: float | None, fail_under_low: float | None) -> None:
    """Refuses a limit that the metric cannot have.

    Raises:
        BadRequestError: which one, and between what the metric lies.
    """
    low, high = facts_of(metric).range
    for option, limit in (("--fail-under", fail_under), ("--fail-under-low", fail_under_low)):
        if limit is not None and not low <= limit <= high:
            share = f"; {limit:g} % is {limit / 100:g}" if high == 1 and 1 < limit <= 100 else ""
            raise BadRequestError(f"{option} {limit:g}: {metric} lies between {low:g} and {high:g}{share}")


def _matching(comparison: Comparison, wheres: Sequence[str]) -> list[Row]:
    rows = list(comparison.rows)
    if wheres:
        picked = where.matching(wheres, (row.identity for row in rows))
        rows = [row for row in rows if row.identity in picked]
    defined = [row for row in rows if row.mean is not None or row.failed]  # memorised is not, of a control
    if not defined:
        raise BadRequestError(f"--fail-under: {comparison.metric} is not defined for any of the matching cells")
    return defined


def _shortfall(row: Row, limit: float, better: str, *, low: bool) -> float:
    """How far a cell is on the wrong side of a limit; infinite if it has no value."""
    value = row.mean if not low else row.ci_low if better == "higher" else row.ci_high
    if value is None:
        return float("inf")
    return limit - value if better == "higher" else value - limit


def _described(comparison: Comparison, row: Row) -> str:
    cell = f"{row.loss} under {row.noise} at {row.rate:g}" if row.rate else f"the control of {row.loss}"
    setups = {each.setup for each in comparison.rows}
    telling = [key for key in ("backbone", "mode") if len({setting(key, each) for each in setups}) > 1]
    if telling := [*telling, *differing(setups)]:
        cell += f" ({', '.join(named(key, row.setup) for key in telling)})"
    if len(comparison.directories) > 1:
        cell += f" in {comparison.directories[row.directory]}"
    if row.mean is None:
        return f"{cell} has no {comparison.metric}, as its runs failed"
    interval = "no interval" if row.ci_low is None else f"95 % interval {row.ci_low:.4f} to {row.ci_high:.4f}"
    return f"{cell} has {comparison.metric} {row.mean:.4f} ({interval})"
