"""A document as text for a terminal or a pipe: nothing is cut, and what is too wide comes in blocks or turned."""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import textwrap
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from flowernoise.show import text_table
from flowernoise.show.compared import BETTER
from flowernoise.show.document import (
    Block,
    Bullets,
    Cell,
    Document,
    Facts,
    Figure,
    Grid,
    Grids,
    Heading,
    Notes,
    Paragraph,
    Table,
    Verbatim,
)
from flowernoise.show.text_table import BLANK, TextCell, TextLine, TextTable, TextTitle
from flowernoise.show.writers import writer

PIPE_WIDTH = 100  # columns where there is no terminal; tables that need more get more
READABLE_WIDTH = 100  # columns of running text, however wide the terminal
_FOLDED_WIDTH = 10  # columns that a folded column of a table has at least
_UNLIMITED = 10_000  # columns
_PART_RIGHTS = (True, False, True, False, False, False)  # text, interval, drop, verdict, star, trouble


@writer(".txt")
def table(document: Document) -> str:
    """The document as a pipe would get it, without colours."""
    console = Console(file=io.StringIO(), width=PIPE_WIDTH, no_color=True)
    with console.capture() as captured:
        show(document, console)
    return captured.get()


def show(document: Document, console: Console) -> None:
    """Prints a document, a blank line between its blocks, as wide as the console."""
    before: Block | None = None
    for block in document.blocks:
        if before is not None and not (isinstance(before, Facts) and isinstance(block, Facts)):
            console.print()
        _print(block, console)
        before = block


def _print(block: Block, console: Console) -> None:
    match block:
        case Heading():
            _print_line(block.text, console, style="bold")
        case Paragraph():
            _print_wrapped(block.text, console)
        case Facts():
            _print_facts(block, console)
        case Bullets():
            for item in block.items:
                _print_line(item, console)
        case Notes():
            for item in block.items:
                _print_wrapped(item, console, first=f"{block.label}: ")
        case Verbatim():
            _print_line("\n".join(block.lines), console)
        case Figure():
            _print_line(block.caption, console)
        case Table():
            _print_table(block, console)
        case Grids():
            _print_grids(block, console)


def _print_line(text: str, console: Console, *, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)


def _print_facts(facts: Facts, console: Console) -> None:
    """Prints facts with dots between them, on as many lines as they take."""
    lines: list[str] = []
    for item in (*facts.items, *facts.signs):
        longer = f"{lines[-1]} · {item}" if lines else item
        if lines and cell_len(longer) <= console.width:
            lines[-1] = longer
        else:
            lines.append(item)
    for line in lines:
        _print_line(line, console, style="bold" if facts.strong else "")


def _print_wrapped(text: str, console: Console, *, first: str = "") -> None:
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
        _print_line(line, console)


# Tables


@dataclasses.dataclass(frozen=True)
class _Trimmed:
    """A table whose lines have no spaces at their ends: folded to the console's width, or else as wide as it takes."""

    table: RichTable
    folded: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        if not self.folded:
            width = max(width, console.measure(self.table, options=options.update(width=_UNLIMITED)).maximum)
        for line in console.render_lines(self.table, options.update(width=width), pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                line.append(Segment(line[-1].text.rstrip(), line.pop().style))
            yield from line
            yield Segment.line()


def _print_table(table: Table, console: Console) -> None:
    """Prints a table, folded where a terminal has little room, and as a list where it has none."""
    if table.title:
        _print_line(table.title, console, style="bold")
    if console.is_terminal and _narrowest(table) > console.width:
        _print_listed(table, console)
    else:
        _print_columns(table, console)
    for note in table.notes:
        _print_line(note, console)


def _print_listed(table: Table, console: Console) -> None:
    """Prints each row as a list: its first cell, and below it the others with the names of their columns."""
    for row in [*table.rows, table.total] if table.total else table.rows:
        _print_line(row[0].text, console, style="bold")
        for column, cell in zip(table.columns[1:], row[1:], strict=True):
            name = f"{column.name}: " if column.name else ""
            for line in cell.text.split("\n") if cell.text else ():
                _print_wrapped(f"{name}{line.strip()}", console, first="  ")
                name = ""


def _print_columns(table: Table, console: Console) -> None:
    """Prints a table in columns, those that fold in lines no longer than a terminal has room for."""
    shown = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, header_style="bold")
    for column in table.columns:
        shown.add_column(
            Text(column.name),
            justify="right" if column.numeric else "left",
            no_wrap=not column.folds,
            overflow="fold",
        )
    for row in table.rows:
        shown.add_row(*(Text(cell.text, style=_style(cell)) for cell in row))
    if table.total:
        shown.add_section()
        shown.add_row(*(Text(cell.text, style=_style(cell)) for cell in table.total))
    console.print(_Trimmed(shown, folded=console.is_terminal), end="", crop=False, no_wrap=True)


def _narrowest(table: Table) -> int:
    """The width of a table whose columns that fold are as narrow as can still be read."""
    rows = [table.total, *table.rows] if table.total else table.rows
    widths = []
    for place, column in enumerate(table.columns):
        texts = [column.name, *(row[place].text for row in rows)]
        width = max(cell_len(line) for text in texts for line in text.split("\n"))
        widths.append(min(width, _FOLDED_WIDTH) if column.folds else width)
    return sum(widths) + len(text_table.GAP) * (len(widths) - 1)


def _style(cell: Cell) -> str:
    return " ".join(filter(None, ("bold" if cell.strong else "", {"warn": "yellow", "bad": "red"}.get(cell.tone, ""))))


# Grids


def _print_grids(block: Grids, console: Console) -> None:
    """Prints grids as they are.

    Where that is too wide, they are turned if that is shorter (in a pipe: narrower), and a terminal gets the columns in
    blocks under one another.
    """
    for place, text in enumerate(_fitting(block.grids, console)):
        if place:
            console.print()
        console.print(text, soft_wrap=True)


def _fitting(grids: Sequence[Grid], console: Console) -> list[Text]:
    """The tables in the form that reads best in the console's width."""
    upright, turned = _Laid([_upright(grids)], console), _Laid(list(_turned(grids)), console)
    if upright.width <= console.width:
        return upright.texts
    if console.is_terminal:
        return min(upright, turned, key=lambda laid: sum(len(text.plain.splitlines()) for text in laid.texts)).texts
    return min(upright, turned, key=lambda laid: laid.width).texts


class _Laid:
    """Tables as text, in a terminal in blocks of columns that fit; ``width`` is what they would take without."""

    def __init__(self, tables: Sequence[TextTable], console: Console) -> None:
        self._measured = [(each, text_table.measure(each)) for each in tables]
        self._most = console.width if console.is_terminal else None
        self.width = max(widths.whole for _, widths in self._measured)

    @functools.cached_property
    def texts(self) -> list[Text]:
        """A text for each block."""
        return [
            text_table.render(each, widths, block)
            for each, widths in self._measured
            for block in text_table.blocks(widths, self._most)
        ]


def _upright(grids: Sequence[Grid]) -> TextTable:
    """All grids in one table, as their columns are the same."""
    lines: list[TextLine | TextTitle] = []
    for subject, members in itertools.groupby(grids, key=lambda grid: grid.subject):
        lines += [TextTitle(subject)] if subject else []
        for grid in members:
            lines += [TextTitle(grid.title)] if grid.title else []
            lines += _lines(grid)
    return _text_table(grids[0], lines)


def _turned(grids: Sequence[Grid]) -> Iterator[TextTable]:
    """A table for all grids of a title, as their rows are the same."""
    by_title: dict[str, list[Grid]] = {}
    for grid in grids:
        by_title.setdefault(grid.title, []).append(grid.turned())
    for title, members in by_title.items():
        lines: list[TextLine | TextTitle] = []
        for grid in members:
            lines += [TextTitle(grid.subject)] if grid.subject else []
            lines += _lines(grid)
        yield _text_table(members[0], lines, title)


def _text_table(grid: Grid, lines: Sequence[TextLine | TextTitle], title: str = "") -> TextTable:
    labels, headings = grid.rows.labels, [header.heading for header in grid.columns.headers]
    names, rights = (tuple(getattr(each, field) for each in labels) for field in ("name", "numeric"))
    return TextTable(names, rights, headings, _PART_RIGHTS, lines, title)


def _lines(grid: Grid) -> Iterator[TextLine | TextTitle]:
    group = None
    for header, cells in grid.lines():
        if group not in (None, header.group):
            yield BLANK
        group = header.group
        yield from _row(header.labels, cells)
    if grid.chance:
        yield BLANK
    for name, cell in grid.chance:
        yield from _row((name, *[""] * (len(grid.rows.labels) - 1)), [cell] * len(grid.columns.headers))


def _row(labels: tuple[str, ...], cells: Sequence[Cell | None]) -> Iterator[TextLine]:
    yield TextLine(labels, [_text_cell(cell) if cell else None for cell in cells])
    beneath = [cell.beneath if cell else None for cell in cells]
    name = next((cell.label for cell in beneath if cell), None)
    if name is not None:
        blanks = [""] * (len(labels) - 1)
        yield TextLine((f"  {name}", *blanks), [_text_cell(cell) if cell else None for cell in beneath])


def _text_cell(cell: Cell) -> TextCell:
    if cell.prose:
        return TextCell(((" ".join(filter(None, (cell.text, cell.interval, cell.star, cell.trouble))), _style(cell)),))
    parts = (
        (cell.text, _style(cell)),
        (cell.interval, ""),
        (cell.drop, ""),
        (cell.verdict, "green" if cell.verdict == BETTER else "red"),
        (cell.star, "bold green" if cell.strong else "green"),
        (cell.trouble, "bold red"),
    )
    return TextCell(tuple((text, style if text else "") for text, style in parts))
