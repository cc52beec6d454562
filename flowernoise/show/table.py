"""The tables that people read in a terminal or a pipe."""

from __future__ import annotations

import dataclasses
import itertools
import re
import textwrap
from collections.abc import Sequence
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

READABLE_WIDTH = 100  # columns of running text, however wide the terminal
CONTROL = "none"
BEST, COLLAPSED, DROP, RISE = "★", "✗", "↓", "↑"
_UNLIMITED = 10_000  # columns
_LONG_NAME = 24  # columns
Condition = tuple[str, float]
Column = tuple[str, str, str]


class CellLike(Protocol):
    """One loss under one noise, as :mod:`flowernoise.steps.compare` makes it."""

    noise: str
    rate: float
    realised_rate: float
    loss: str
    backbone: str
    mode: str
    seeds: int
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    drop: float | None
    collapsed: int
    failed: int
    best: bool


class PublishedLike(Protocol):
    """A published range."""

    label: str
    low: float
    high: float


class BesideLike(Protocol):
    """A published range and ours."""

    published: PublishedLike
    low: float
    high: float
    runs: int
    collapsed: int


class ComparisonLike(Protocol):
    """A comparison as :mod:`flowernoise.steps.compare` makes it."""

    directory: str
    source: str
    classes: tuple[str, ...]
    test_counts: tuple[int, ...]
    metric: str
    better: str
    select: str
    majority: float
    rows: Sequence[CellLike]
    balanced: Sequence[CellLike]
    beside: Sequence[BesideLike]
    why: str
    notes: Sequence[str]


@dataclasses.dataclass(frozen=True)
class _Grid:
    """The cells by condition (printed rows) and column."""

    conditions: list[Condition]
    columns: list[Column]
    cells: dict[tuple[Condition, Column], tuple[CellLike, CellLike | None]]


@dataclasses.dataclass(frozen=True)
class _Trimmed:
    """A table as wide as it takes, its lines without spaces at the end: nothing is cut, in a pipe or elsewhere."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(options.max_width, _needed(console, self.table))
        for line in console.render_lines(self.table, options.update(width=width), pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                line.append(Segment(line[-1].text.rstrip(), line.pop().style))
            yield from line
            yield Segment.line()


def show(result: ComparisonLike, console: Console) -> None:
    """Prints a comparison; its table in parts under one another where a terminal is too narrow for all losses."""
    grid = _grid(result)
    _print_items(console, _subject(result), style="bold")
    _print_items(console, _measure(result))
    _print_items(console, _legend(result))
    for columns in _fitting(result, grid, console):
        console.print()
        print_whole(console, _part(result, grid, columns))
    if result.beside:
        console.print()
        print_whole(console, _beside(result))
        console.print()
        _print_text(console, result.why)
    if result.notes:
        console.print()
    for note in result.notes:
        _print_text(console, note, first="note: ")


def print_whole(console: Console, renderable: RenderableType) -> None:
    """Prints without cutting words: tables as wide as they take, no spaces at line ends."""
    if isinstance(renderable, Table):
        console.print(_Trimmed(renderable), end="", crop=False, no_wrap=True)
    else:
        console.print(renderable)


def _print_items(console: Console, items: Sequence[str], *, style: str = "") -> None:
    """Prints items with dots between them, on as many lines as they take."""
    lines: list[str] = []
    for item in items:
        longer = f"{lines[-1]} · {item}" if lines else item
        if lines and cell_len(longer) <= console.width:
            lines[-1] = longer
        else:
            lines.append(item)
    for line in lines:
        console.print(Text(line, style=style), soft_wrap=True)


def _print_text(console: Console, text: str, *, first: str = "") -> None:
    """Prints a paragraph, its lines no longer than is good to read and indented below ``first``."""
    lines = textwrap.wrap(
        text,
        min(console.width, READABLE_WIDTH),
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _needed(console: Console, table: Table) -> int:
    """Columns that a table takes uncut."""
    return console.measure(table, options=console.options.update(width=_UNLIMITED)).maximum


def _grid(result: ComparisonLike) -> _Grid:
    cells = {}
    for position, row in enumerate(result.rows):
        balanced = result.balanced[position] if result.balanced else None
        cells[(row.noise, row.rate), (row.loss, row.backbone, row.mode)] = (row, balanced)
    conditions = list(dict.fromkeys(condition for condition, _ in cells))
    conditions.sort(key=lambda condition: condition[0] != CONTROL)
    return _Grid(conditions, sorted({column for _, column in cells}, key=lambda c: (c[1:], c[0] != "ce", c[0])), cells)


def _fitting(result: ComparisonLike, grid: _Grid, console: Console) -> list[list[Column]]:
    """The columns in groups that are each no wider than the console."""
    groups: list[list[Column]] = []
    for column in grid.columns:
        wider = [*groups[-1], column] if groups else [column]
        fits = not console.is_terminal or _needed(console, _part(result, grid, wider)) <= console.width
        if groups and fits:
            groups[-1].append(column)
        else:
            groups.append([column])
    return groups


def _plain_table() -> Table:
    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, header_style="bold")


def _part(result: ComparisonLike, grid: _Grid, columns: Sequence[Column]) -> Table:
    table = _plain_table()
    table.add_column("noise", no_wrap=True)
    table.add_column("rate", justify="right", no_wrap=True)
    table.add_column("wrong\nlabels", justify="right", no_wrap=True)
    one_kind = len({column[1:] for column in grid.columns}) == 1
    for loss, *kind in columns:
        table.add_column("\n".join([_folded(loss), *([] if one_kind else kind)]), no_wrap=True)
    conditions = [c for c in grid.conditions if any((c, column) in grid.cells for column in columns)]
    blocks = [list(block) for _, block in itertools.groupby(conditions, key=lambda condition: condition[0])]
    gaps = len(blocks) == len({noise for noise, _ in conditions})
    shown = [_aligned([grid.cells.get((condition, column)) for condition in conditions]) for column in columns]
    for condition, cells in zip(conditions, zip(*shown, strict=True), strict=True):
        noise, rate = condition
        present = next(grid.cells[condition, column][0] for column in columns if (condition, column) in grid.cells)
        label, nominal = ("control", "") if noise == CONTROL else (_folded(noise), f"{rate:g}")
        table.add_row(label, nominal, f"{100 * present.realised_rate:.1f} %", *[cell[0] for cell in cells])
        if result.balanced:
            table.add_row("  balanced", "", "", *[cell[1] for cell in cells])
        if noise == CONTROL or (gaps and any(condition == block[-1] for block in blocks)):
            table.add_section()
    _add_chance(table, result, len(columns))
    return table


def _add_chance(table: Table, result: ComparisonLike, columns: int) -> None:
    """What answering one class always scores, where it is known."""
    balanced = 1 / sum(count > 0 for count in result.test_counts)
    if result.metric == "accuracy":
        table.add_section()
        table.add_row("majority", "", "", *[_percent(result.majority)] * columns)
        if result.balanced:
            table.add_row("  balanced", "", "", *[_percent(balanced)] * columns)
    elif result.metric == "balanced_accuracy":
        table.add_section()
        table.add_row("one answer", "", "", *[_percent(balanced)] * columns)


def _folded(spec: str) -> str:
    """A spec on as many lines as its length takes, broken behind its signs."""
    lines = [""]
    for part in re.split(r"(?<=[:,+])", spec):
        if lines[-1] and cell_len(lines[-1] + part) > _LONG_NAME:
            lines.append("  ")
        lines[-1] += part
    return "\n".join(lines)


def _aligned(pairs: Sequence[tuple[CellLike, CellLike | None] | None]) -> list[tuple[Text, Text]]:
    """A column's cells, each with that of balanced accuracy; means, intervals and drops stand under one another."""
    rows = [row for pair in pairs for row in pair or () if row is not None and row.mean is not None]
    intervals, drops = max((len(_interval(row)) for row in rows), default=0), [len(_drop(row)) for row in rows]

    def text(row: CellLike | None, *, marked: bool) -> Text:
        if row is None:
            return Text()
        if row.mean is None:
            return Text(f"{row.failed} failed", style="red") if row.failed else Text(" –")
        cell = Text().append(_percent(row.mean), style="bold" if marked and row.best else "")
        cell.append(f" {_interval(row):<{intervals}}" if intervals else "")
        cell.append(f" {_drop(row):>{max(drops)}}" if max(drops) else "")
        return cell.append_text(_marks(row)) if marked else cell

    return [
        (Text(" –"), Text()) if pair is None else (text(pair[0], marked=True), text(pair[1], marked=False))
        for pair in pairs
    ]


def _percent(share: float) -> str:
    """A share in %, as wide as most of them are; only 100.0 is wider."""
    return f"{100 * share:4.1f}"


def _interval(row: CellLike) -> str:
    if row.ci_low is None or row.ci_high is None:
        return ""
    return f"[{100 * row.ci_low:.1f}–{100 * row.ci_high:.1f}]"


def _drop(row: CellLike) -> str:
    if row.drop is None or row.noise == CONTROL:
        return ""
    points = round(100 * row.drop, 1)
    return f"{DROP if points >= 0 else RISE}{abs(points):.1f}"


def _marks(row: CellLike) -> Text:
    marks = Text()
    if row.best:
        marks.append(f" {BEST}", style="bold green")
    if row.collapsed:
        marks.append(f" {COLLAPSED}" + ("" if row.seeds == 1 else f" {row.collapsed}/{row.seeds}"), style="bold red")
    if row.failed:
        marks.append(f" {row.failed} failed", style="red")
    return marks


def _subject(result: ComparisonLike) -> list[str]:
    kinds = sorted({(row.backbone, row.mode) for row in result.rows})
    return [
        result.source,
        f"{len(result.classes)} classes",
        ", ".join(f"{backbone} {mode}" for backbone, mode in kinds),
        f"{sum(result.test_counts):,} clean test photos",
    ]


def _measure(result: ComparisonLike) -> list[str]:
    direction = ", lower is better" if result.better == "lower" else ""
    seeds = sorted({row.seeds for row in result.rows if row.seeds})
    items = [f"{result.metric} in %{direction}", f"{result.select} epoch"]
    if seeds == [1]:
        items.append("one seed [95 % interval]")
    elif seeds:
        many = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        items.append(f"mean of {many} seeds [95 % interval]")
    return items


def _legend(result: ComparisonLike) -> list[str]:
    """What the signs mean, of those that the table holds."""
    rows = [*result.rows, *result.balanced]
    drops = {_drop(row)[:1] for row in rows if row.mean is not None}
    items = []
    if drops & {DROP, RISE}:
        both = f"{DROP} points below, {RISE} above the loss's control"
        items.append(both if RISE in drops else f"{DROP} points below the loss's control")
    if any(row.best for row in rows):
        items.append(f"{BEST} best of row")
    if any(row.collapsed for row in rows):
        several = any(row.collapsed and row.seeds > 1 for row in rows)
        items.append(f"{COLLAPSED} 1/3 collapsed in 1 of 3 seeds" if several else f"{COLLAPSED} collapsed")
    return items


def _beside(result: ComparisonLike) -> Table:
    table = _plain_table()
    table.add_column("first experiment", no_wrap=True)
    table.add_column("published, %", justify="right", no_wrap=True)
    table.add_column("here, %", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in result.beside:
        mark = f"{COLLAPSED} {row.collapsed} of {row.runs} collapsed" if row.collapsed else ""
        published, here = _range(row.published.low, row.published.high), _range(row.low, row.high)
        table.add_row(row.published.label, published, here, Text(mark, style="bold red"))
    return table


def _range(low: float, high: float) -> str:
    return f"{100 * low:.2f}" if low == high else f"{100 * low:.2f} to {100 * high:.2f}"
