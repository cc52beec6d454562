"""The tables that people read in a terminal or a pipe."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_UNLIMITED = 10_000  # columns
_SPACES_AT_END = re.compile(r"[ ]+((?:\x1b\[[0-9;]*m)*)$")
BEST, COLLAPSED, DROP, RISE = "★", "✗", "↓", "↑"


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

    conditions: list[tuple[str, float]]
    columns: list[tuple[str, str, str]]
    cells: dict[tuple[tuple[str, float], tuple[str, str, str]], tuple[CellLike, CellLike | None]]


def show(result: ComparisonLike, console: Console) -> None:
    """Prints the table of a comparison, in parts under one another where a terminal is too narrow for all losses."""
    grid = _grid(result)
    console.print(_title(result))
    for columns in _fitting(result, grid, console):
        print_whole(console, _part(result, grid, columns))
    for renderable in (*_beside(result), *_notes(result)):
        print_whole(console, renderable)


def print_whole(console: Console, renderable: RenderableType) -> None:
    """Prints without cutting words: where no terminal limits the width, as wide as it takes; no spaces at line ends."""
    width = console.width
    if isinstance(renderable, Table) and not console.is_terminal:
        console.width = max(width, _needed(console, renderable))
    with console.capture() as captured:
        console.print(renderable)
    console.width = width
    lines = (_SPACES_AT_END.sub(r"\1", line) for line in captured.get().splitlines())
    console.file.write("".join(f"{line}\n" for line in lines))


def _needed(console: Console, table: Table) -> int:
    """Columns that a table takes uncut."""
    return console.measure(table, options=console.options.update(width=_UNLIMITED)).maximum


def _grid(result: ComparisonLike) -> _Grid:
    cells = {}
    for position, row in enumerate(result.rows):
        balanced = result.balanced[position] if result.balanced else None
        cells[_condition(row), _column(row)] = (row, balanced)
    conditions = list(dict.fromkeys(condition for condition, _ in cells))
    conditions.sort(key=lambda condition: condition[0] != "none")
    return _Grid(conditions, sorted({column for _, column in cells}, key=lambda c: (c[1:], c[0] != "ce", c[0])), cells)


def _condition(row: CellLike) -> tuple[str, float]:
    return row.noise, row.rate


def _column(row: CellLike) -> tuple[str, str, str]:
    return row.loss, row.backbone, row.mode


def _fitting(result: ComparisonLike, grid: _Grid, console: Console) -> list[list[tuple[str, str, str]]]:
    """The columns in groups that are each no wider than the console."""
    groups: list[list[tuple[str, str, str]]] = []
    for column in grid.columns:
        wider = [*groups[-1], column] if groups else [column]
        fits = not console.is_terminal or _needed(console, _part(result, grid, wider)) <= console.width
        if groups and fits:
            groups[-1].append(column)
        else:
            groups.append([column])
    return groups


def _part(result: ComparisonLike, grid: _Grid, columns: Sequence[tuple[str, str, str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=False)
    table.add_column("noise", no_wrap=True)
    table.add_column("rate", justify="right", no_wrap=True)
    table.add_column("wrong", justify="right", no_wrap=True)
    one_kind = len({column[1:] for column in grid.columns}) == 1
    for loss, backbone, mode in columns:
        header = loss if one_kind else f"{loss}\n{backbone}\n{mode}"
        table.add_column(Text(header, style="bold"), no_wrap=True)
    for condition in grid.conditions:
        found = [grid.cells.get((condition, column)) for column in columns]
        present = [pair[0] for pair in found if pair is not None]
        if not present:
            continue
        noise, rate = condition
        label = "control" if noise == "none" else noise
        wrong = f"{100 * present[0].realised_rate:.1f} %"
        table.add_row(label, "" if noise == "none" else f"{rate:g}", wrong, *[_cell(pair) for pair in found])
        if noise == "none":
            table.add_section()
    if result.metric in ("accuracy", "balanced_accuracy"):
        table.add_section()
        score = result.majority if result.metric == "accuracy" else 1 / len(result.classes)
        label = "majority" if result.metric == "accuracy" else "one answer"
        table.add_row(label, "", "", *[f"{100 * score:.1f}" for _ in columns], style="dim")
    return table


def _cell(pair: tuple[CellLike, CellLike | None] | None) -> Text:
    if pair is None:
        return Text("–", style="dim")
    row, balanced = pair
    text = _value(row)
    if balanced is not None:
        text.append("\nbal. ").append_text(_value(dataclasses.replace(balanced, best=False, collapsed=0)))  # type: ignore[type-var]
    return text


def _value(row: CellLike) -> Text:
    if row.mean is None:
        return Text(f"failed ({row.failed})" if row.failed else "–", style="red" if row.failed else "dim")
    text = Text(f"{100 * row.mean:.1f}", style="bold green" if row.best else "")
    if row.ci_low is not None and row.ci_high is not None:
        text.append(f" [{100 * row.ci_low:.1f}–{100 * row.ci_high:.1f}]", style="dim")
    if row.drop is not None and row.noise != "none":
        text.append(f" {DROP if row.drop >= 0 else RISE}{abs(100 * row.drop):.1f}")
    if row.best:
        text.append(f" {BEST}", style="bold green")
    if row.collapsed:
        of = "" if row.seeds == 1 else f" {row.collapsed}/{row.seeds}"
        text.append(f" {COLLAPSED}{of}", style="bold red")
    if row.failed:
        text.append(f" {row.failed} failed", style="red")
    return text


def _title(result: ComparisonLike) -> Text:
    photos = sum(result.test_counts)
    seeds = sorted({row.seeds for row in result.rows})
    many = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    kinds = sorted({(row.backbone, row.mode) for row in result.rows})
    what = ", ".join(f"{backbone} {mode}" for backbone, mode in kinds)
    title = Text(f"{result.source} · {len(result.classes)} classes · {what}\n", style="bold")
    title.append(
        f"{result.metric} in %, {result.select} epoch; mean over {many} seed{'' if many == '1' else 's'} [95 % interval] "
        f"on {photos} clean test photos\n",
        style="not bold",
    )
    title.append(
        f"{DROP} points below the loss's control · {BEST} best of row · {COLLAPSED} collapsed · wrong: of training labels",
        style="not bold dim",
    )
    return title


def _beside(result: ComparisonLike) -> list[RenderableType]:
    if not result.beside:
        return []
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("the first experiment", no_wrap=True)
    table.add_column("published, %", justify="right", no_wrap=True)
    table.add_column("here, %", justify="right", no_wrap=True)
    table.add_column("")
    for row in result.beside:
        mark = f"{COLLAPSED} {row.collapsed} of {row.runs} collapsed" if row.collapsed else ""
        published, here = _range(row.published.low, row.published.high), _range(row.low, row.high)
        table.add_row(row.published.label, published, here, Text(mark, style="red"))
    return [table, Text(result.why, style="dim"), Text()]


def _range(low: float, high: float) -> str:
    return f"{100 * low:.2f}" if low == high else f"{100 * low:.2f} to {100 * high:.2f}"


def _notes(result: ComparisonLike) -> list[RenderableType]:
    return [
        Text(f"note: {note}", style="yellow" if "collapsed" in note or "failed" in note else "dim")
        for note in result.notes
    ]
