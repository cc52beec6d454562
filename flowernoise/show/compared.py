"""How the numbers, names and signs of a comparison are written, wherever they are shown."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flowernoise.catalogue.label_words import LabelWords, label_words
from flowernoise.catalogue.metrics import facts_of
from flowernoise.catalogue.noise import shown_names
from flowernoise.store.records import (
    CONTROL,
    BalancedAccuracy,
    Column,
    Comparison,
    Condition,
    Rate,
    RateInterval,
    Row,
)
from flowernoise.store.setups import differing, named

BEST, TIED, ORACLE, BETTER, WORSE, COLLAPSED, DROP, RISE = "★", "☆", "†", "+", "−", "✗", "↓", "↑"
Value = Row | BalancedAccuracy


def with_names(result: Comparison) -> Comparison:
    """The comparison with noise models called as people read them; data keep the specs, with digests of files."""
    names = shown_names(list(dict.fromkeys(noise for noise, _ in result.conditions)))
    replace = msgspec.structs.replace
    return replace(
        result,
        conditions=tuple(Condition(names[noise], rate) for noise, rate in result.conditions),
        rows=tuple(replace(row, noise=names.get(row.noise, row.noise)) for row in result.rows),
        tolerated=tuple(replace(line, noise=names.get(line.noise, line.noise)) for line in result.tolerated),
    )


def number(value: float, unit: str) -> str:
    """A share in %, anything else as it is."""
    return f"{100 * value:.1f}" if unit == "share" else f"{value:.3f}"


def interval(value: Value, unit: str) -> str:
    """``[low–high]``, or nothing."""
    if value.ci_low is None or value.ci_high is None:
        return ""
    low, high = number(value.ci_low, unit), number(value.ci_high, unit)
    return f"[{low} to {high}]" if value.ci_low < 0 else f"[{low}–{high}]"


def drop(value: Value, noise: str, unit: str) -> str:
    """How far below or above the loss's control, in points if it is a share; nothing for a control."""
    if value.drop is None or noise == CONTROL:
        return ""
    shown = round(100 * value.drop, 1) if unit == "share" else round(value.drop, 3)
    return (DROP if shown >= 0 else RISE) + (f"{abs(shown):.1f}" if unit == "share" else f"{abs(shown):.3f}")


def verdict(row: Row) -> str:
    """The sign of a significant difference from the baseline, or nothing."""
    found = row.difference.verdict if row.difference else None
    return {"better": BETTER, "worse": WORSE}.get(found or "", "")


def star(row: Row) -> str:
    """The sign of the best, of what is not significantly worse, of what is out of competition, or nothing."""
    return BEST if row.best else TIED if row.tied else ORACLE if row.oracle else ""


def rate(estimate: RateInterval) -> tuple[str, str]:
    """``20.4 %``, ``[<20.0–34.0]``: a rate of wrong labels, and its interval; bounds where no more is known."""
    point, low, high = (_rate(each) for each in (estimate.point, estimate.low, estimate.high))
    percent = "" if estimate.point.rate is None else " %"
    return f"{point}{percent}", "" if point == low == high else f"[{low}–{high}]"


def _rate(each: Rate) -> str:
    if each.rate is None:
        return each.censoring
    return {"below": "<", "at_least": "≥"}.get(each.censoring, "") + f"{100 * each.rate:.1f}"


def words(result: Comparison) -> LabelWords:
    """What to call the labels of all data sets together."""
    return label_words(*result.datasets)


def against(result: Comparison) -> str:
    """Follows the name of the metric where the test labels that it is measured against may be wrong."""
    return words(result).against if facts_of(result.metric).of == "test" else ""


def wrong_labels(rows: Sequence[Row]) -> str:
    """The realised rates of cells, in %."""
    low, high = min(row.realised_rate for row in rows), max(row.realised_rate for row in rows)
    lowest, highest = f"{100 * low:.1f}", f"{100 * high:.1f}"
    return f"{lowest} %" if lowest == highest else f"{lowest}–{highest} %"


def kinds(result: Comparison) -> list[str]:
    """Backbones with modes, those of the first columns first."""
    return list(dict.fromkeys(column.setup.kind for column in result.columns))


def varying(columns: Sequence[Column]) -> list[str]:
    """What differs between columns beside the loss: backbone, mode, directory, and the keys of settings."""
    names = [name for name in ("backbone", "mode") if len({getattr(column.setup, name) for column in columns}) > 1]
    names += ["directory"] if len({column.variant for column in columns}) > 1 else []
    return names + differing({column.setup for column in columns})


def telling(columns: Sequence[Column]) -> list[str]:
    """As many of those that :func:`varying` names as it takes to tell columns apart."""
    names: list[str] = []
    ways = len({(column.setup, column.variant) for column in columns})
    for name in varying(columns):
        if len({tuple(part(column, each) for each in names) for column in columns}) == ways:
            break
        names.append(name)
    return names


def part(column: Column, name: str) -> str:
    """What a column has of that which :func:`varying` names."""
    if name == "directory":
        return column.variant
    return str(getattr(column.setup, name)) if name in ("backbone", "mode") else named(name, column.setup)


def column_name(column: Column, varying: Sequence[str]) -> str:
    """A loss, with what else differs between columns: ``ce · epochs 3``."""
    return " · ".join(filter(None, [column.loss, *(part(column, name) for name in varying)]))


def seeds(result: Comparison) -> str:
    """How many seeds the numbers are means of, and what the brackets hold."""
    counts = sorted({row.seeds for row in result.rows if row.seeds})
    if counts == [1]:
        return "one seed [95 % interval]"
    if not counts:
        return "no run to show"
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    splits = sorted({min(photos.splits, counts[-1]) for photos in result.datasets})
    on = f" on {splits[-1]} splits" if splits[0] > 1 else ""
    return f"mean of {many} seeds{on} [95 % interval]"


def measure(result: Comparison) -> str:
    """The metric, its unit and its direction."""
    direction = f"{RISE} higher" if result.better == "higher" else f"{DROP} lower"
    unit = " in %" if result.unit == "share" else ""
    return f"{result.metric}{unit}{against(result)}, {direction} is better"


def legend(result: Comparison) -> list[str]:
    """What the signs in the cells mean; signs that no cell holds are left out."""
    drops = {
        drop(value, row.noise, result.unit)[:1]
        for row in result.rows
        for value in (row, row.balanced)
        if value and value.mean is not None
    }
    points = "points " if result.unit == "share" else ""
    items = []
    if drops & {DROP, RISE}:
        below = f"{DROP} {points}below the same loss's control"
        items.append(f"{below}, {RISE} above it" if RISE in drops else below)
    if any(row.best for row in result.rows):
        tied = any(row.tied for row in result.rows)
        among = " of those trained alike" if _several_setups(result) else ""
        items.append(f"{BEST} best{among}" + (f", {TIED} not significantly worse" if tied else ""))
    if any(row.oracle for row in result.rows):
        items.append(f"{ORACLE} given the true transition matrix, which nobody has, so never marked as best")
    return items + _against(result)


def _against(result: Comparison) -> list[str]:
    signs = {verdict(row) for row in result.rows}
    words = [f"{sign} significantly {word}" for sign, word in ((BETTER, "better"), (WORSE, "worse")) if sign in signs]
    if not words:
        return []
    than = result.baseline + (" trained alike" if _several_setups(result) else "")
    than += " in the same directory" if "directory" in varying(result.columns) else ""
    first = "" if than == result.baseline else f" ({result.baseline} itself: than the first {result.baseline})"
    return [f"{', '.join(words)} than {than}{first}"]


def _several_setups(result: Comparison) -> bool:
    return len({column.setup for column in result.columns}) > 1


def troubles(result: Comparison) -> list[str]:
    """What the sign of a collapse means, if there is one."""
    collapsed = [row for row in result.rows if row.collapsed]
    several = next((row for row in collapsed if row.seeds > 1), None)
    if several:
        share = several.collapsed, several.seeds
        return ["{} {}/{}: collapsed in {} of {} seeds".format(COLLAPSED, *share, *share)]
    return [f"{COLLAPSED}: collapsed"] if collapsed else []


def rate_signs(result: Comparison) -> list[str]:
    """What the signs of tolerated rates mean; signs that no rate has are left out."""
    estimates = [line.tolerance for line in result.tolerated if line.tolerance]
    found = {each.censoring for estimate in estimates for each in (estimate.point, estimate.low, estimate.high)}
    meanings = {
        "below": "tolerated <: not even the lowest rate tried",
        "at_least": "tolerated ≥: every rate tried",
        "none": "tolerated none: worse even without noise",
    }
    return [meaning for censoring, meaning in meanings.items() if censoring in found]


def tolerance(result: Comparison) -> str:
    """What is tolerated."""
    return f"at most {100 * result.delta:g} points below {result.baseline}'s control"
