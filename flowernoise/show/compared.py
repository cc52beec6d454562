"""What tables and exports know of a comparison, and how they write its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

CONTROL = "none"
BEST, TIED, BETTER, WORSE, COLLAPSED, DROP, RISE = "★", "☆", "+", "−", "✗", "↓", "↑"
Condition = tuple[str, float]
Column = tuple[str, str, str, str]


class ValueLike(Protocol):
    """A mean with its interval and its distance from the control."""

    @property
    def mean(self) -> float | None: ...
    @property
    def ci_low(self) -> float | None: ...
    @property
    def ci_high(self) -> float | None: ...
    @property
    def drop(self) -> float | None: ...


class DifferenceLike(Protocol):
    """How a cell differs from the baseline's."""

    mean: float
    low: float | None
    high: float | None
    p: float
    p_holm: float
    test: str
    seeds: int
    verdict: str | None


class CellLike(ValueLike, Protocol):
    """One loss under one noise, as :mod:`flowernoise.steps.compare` makes it."""

    noise: str
    rate: float
    realised_rate: float
    loss: str
    backbone: str
    mode: str
    variant: str
    seeds: int
    values: Sequence[float]
    collapsed: int
    failed: int
    best: bool
    tied: bool
    dataset: int
    directory: int

    @property
    def difference(self) -> DifferenceLike | None: ...
    @property
    def balanced(self) -> ValueLike | None: ...


class RateLike(Protocol):
    """A noise rate, or what is known of it."""

    censoring: str
    rate: float | None


class EstimateLike(Protocol):
    """A noise rate with its interval."""

    @property
    def point(self) -> RateLike: ...
    @property
    def low(self) -> RateLike: ...
    @property
    def high(self) -> RateLike: ...


class ToleratedLike(Protocol):
    """What one loss stands of one noise model."""

    noise: str
    loss: str
    backbone: str
    mode: str
    variant: str
    collapsed: bool
    dataset: int
    directory: int

    @property
    def tolerance(self) -> EstimateLike | None: ...
    @property
    def crossover(self) -> EstimateLike | None: ...


class PhotosLike(Protocol):
    """Test photos that some directories share."""

    name: str
    source: str
    classes: tuple[str, ...]
    test_counts: tuple[int, ...]
    majority: float
    select: str


class PublishedLike(Protocol):
    """A published range."""

    label: str
    low: float
    high: float


class BesideLike(Protocol):
    """A published range and ours."""

    @property
    def published(self) -> PublishedLike: ...

    low: float
    high: float
    runs: int
    collapsed: int


class ComparisonLike(Protocol):
    """A comparison as :mod:`flowernoise.steps.compare` makes it."""

    directories: Sequence[str]
    metric: str
    unit: str
    better: str
    baseline: str
    delta: float
    why: str
    notes: Sequence[str]

    @property
    def datasets(self) -> Sequence[PhotosLike]: ...
    @property
    def conditions(self) -> Sequence[Condition]: ...
    @property
    def columns(self) -> Sequence[Column]: ...
    @property
    def rows(self) -> Sequence[CellLike]: ...
    @property
    def tolerated(self) -> Sequence[ToleratedLike]: ...
    @property
    def beside(self) -> Sequence[BesideLike]: ...
    @property
    def majority(self) -> float | None: ...
    @property
    def select(self) -> str | None: ...


def column_of(row: CellLike | ToleratedLike) -> Column:
    """The column that a cell stands in."""
    return row.loss, row.backbone, row.mode, row.variant


def number(value: float, unit: str) -> str:
    """A share in %, anything else as it is."""
    return f"{100 * value:.1f}" if unit == "share" else f"{value:.3f}"


def interval(value: ValueLike, unit: str) -> str:
    """``[low–high]``, or nothing."""
    if value.ci_low is None or value.ci_high is None:
        return ""
    low, high = number(value.ci_low, unit), number(value.ci_high, unit)
    return f"[{low} to {high}]" if value.ci_low < 0 else f"[{low}–{high}]"


def drop(value: ValueLike, noise: str, unit: str) -> str:
    """How far below or above the loss's control, in points if it is a share; nothing for a control."""
    if value.drop is None or noise == CONTROL:
        return ""
    shown = round(100 * value.drop, 1) if unit == "share" else round(value.drop, 3)
    return (DROP if shown >= 0 else RISE) + (f"{abs(shown):.1f}" if unit == "share" else f"{abs(shown):.3f}")


def verdict(row: CellLike) -> str:
    """The sign of a significant difference from the baseline, or nothing."""
    found = row.difference.verdict if row.difference else None
    return {"better": BETTER, "worse": WORSE}.get(found or "", "")


def star(row: CellLike) -> str:
    """The sign of the best, of what is not significantly worse, or nothing."""
    return BEST if row.best else TIED if row.tied else ""


def rate(estimate: EstimateLike) -> str:
    """``20.4 % [<20.0–34.0]``: a rate of wrong labels with its interval, bounds where no more is known."""
    point, low, high = (_rate(each) for each in (estimate.point, estimate.low, estimate.high))
    percent = "" if estimate.point.rate is None else " %"
    return f"{point}{percent}" if low == high else f"{point}{percent} [{low}–{high}]"


def _rate(each: RateLike) -> str:
    if each.rate is None:
        return each.censoring
    return {"below": "<", "at_least": "≥"}.get(each.censoring, "") + f"{100 * each.rate:.1f}"


def wrong_labels(rows: Sequence[CellLike]) -> str:
    """The realised rates of cells, in %."""
    low, high = min(row.realised_rate for row in rows), max(row.realised_rate for row in rows)
    lowest, highest = f"{100 * low:.1f}", f"{100 * high:.1f}"
    return f"{lowest} %" if lowest == highest else f"{lowest}–{highest} %"


def one_answer(photos: PhotosLike) -> float:
    """Balanced accuracy of always answering one class."""
    return 1 / sum(count > 0 for count in photos.test_counts)


def kinds(result: ComparisonLike) -> list[str]:
    """Backbones with modes, those of the first columns first."""
    return list(dict.fromkeys(f"{backbone} {mode}" for _, backbone, mode, _ in result.columns))


def varying(columns: Sequence[Column]) -> list[int]:
    """Which of backbone, mode and variant (1, 2, 3) differ between columns."""
    return [part for part in (1, 2, 3) if len({column[part] for column in columns}) > 1]


def seeds(result: ComparisonLike) -> str:
    """What the numbers are over how many seeds, and what stands in brackets."""
    counts = sorted({row.seeds for row in result.rows if row.seeds})
    if counts == [1]:
        return "one seed [95 % interval]"
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}" if counts else "no"
    return f"mean of {many} seeds [95 % interval]"


def measure(result: ComparisonLike) -> str:
    """The metric, its unit and its direction."""
    direction = f"{RISE} higher" if result.better == "higher" else f"{DROP} lower"
    return f"{result.metric}{' in %' if result.unit == 'share' else ''}, {direction} is better"


def legend(result: ComparisonLike) -> list[str]:
    """What the signs mean, of those that the cells hold."""
    drops = {
        drop(value, row.noise, result.unit)[:1]
        for row in result.rows
        for value in (row, row.balanced)
        if value and value.mean is not None
    }
    points = "points " if result.unit == "share" else ""
    items = []
    if drops & {DROP, RISE}:
        both = f"{DROP} {points}below, {RISE} above the loss's control"
        items.append(both if RISE in drops else f"{DROP} {points}below the loss's control")
    if any(row.best for row in result.rows):
        tied = any(row.tied for row in result.rows)
        items.append(f"{BEST} best" + (f", {TIED} not significantly worse" if tied else ""))
    return items + _against(result) + _troubles(result)


def _against(result: ComparisonLike) -> list[str]:
    signs = {verdict(row) for row in result.rows}
    words = [f"{sign} {word}" for sign, word in ((BETTER, "better"), (WORSE, "worse")) if sign in signs]
    if not words:
        return []
    alike = {1: "backbone", 2: "mode", 3: "directory"}
    same = " and ".join(alike[part] for part in varying(result.columns))
    than = f"{result.baseline} of the same {same}, it than the first" if same else result.baseline
    return [f"{', '.join(words)} than {than}, significantly"]


def _troubles(result: ComparisonLike) -> list[str]:
    collapsed = [row for row in result.rows if row.collapsed]
    if not collapsed:
        return []
    several = any(row.seeds > 1 for row in collapsed)
    return [f"{COLLAPSED} 1/3 collapsed in 1 of 3 seeds" if several else f"{COLLAPSED} collapsed"]


def tolerance(result: ComparisonLike) -> str:
    """What is tolerated."""
    return f"at most {100 * result.delta:g} points below {result.baseline}'s control"
