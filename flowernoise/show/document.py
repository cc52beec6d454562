"""What is shown, before it takes a form: plain data that every writer can turn into its own format.

Texts are plain; each writer escapes them. A :class:`Grid` is a table that may be turned: its rows become columns.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

Tone = Literal["", "warn", "bad"]


@dataclasses.dataclass(frozen=True)
class Heading:
    """The beginning of a section."""

    text: str
    anchor: str


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclasses.dataclass(frozen=True)
class Facts:
    """Short facts on a line, with dots between them; ``signs`` are explained where cells have no room for words."""

    items: tuple[str, ...]
    signs: tuple[str, ...] = ()
    strong: bool = False


@dataclasses.dataclass(frozen=True)
class Bullets:
    """A list; in a terminal one unbroken line per item."""

    items: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Notes:
    """A list of what a reader of the results should know; in a terminal each begins with the label."""

    items: tuple[str, ...]
    label: str = "note"


@dataclasses.dataclass(frozen=True)
class Verbatim:
    """Lines that stay as they are; ``shell`` says that they are commands."""

    lines: tuple[str, ...]
    shell: bool = False


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture as a file, with text for people who cannot see it, and its caption.

    ``path`` is relative to the document, for formats whose pictures lie beside it.
    """

    path: str
    media: str
    data: bytes
    alt: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Cell:
    """A value, what belongs to it, and whether it is highlighted.

    Args:
        text: the value.
        interval: in brackets.
        drop: how far it is from what it is measured against, with an arrow.
        verdict: the sign of a significant difference.
        star: the sign of its rank.
        trouble: signs of what went wrong, for where there is little room.
        notes: the same and more in words.
        beneath: another value of the same thing, smaller.
        label: what a value beneath is called.
        prose: whether the text is words rather than a number, so that it starts at the left.
    """

    text: str
    interval: str = ""
    drop: str = ""
    verdict: str = ""
    star: str = ""
    trouble: str = ""
    notes: tuple[str, ...] = ()
    beneath: Cell | None = None
    label: str = ""
    strong: bool = False
    tone: Tone = ""
    prose: bool = False

    @property
    def signed(self) -> str:
        """The value with its signs."""
        return " ".join(filter(None, (self.text, self.drop, self.verdict, self.star)))

    @property
    def below(self) -> str:
        """What else is known, for a smaller second line."""
        beneath = f"{self.beneath.label} {self.beneath.text}" if self.beneath else ""
        return " · ".join(filter(None, (self.interval, beneath, *self.notes)))


MISSING = Cell("–")


@dataclasses.dataclass(frozen=True)
class TableColumn:
    """The head of a column, the smaller text below it, and how its cells are aligned.

    ``numeric`` ones end at the right; those that ``folds`` are broken over lines where room is short.
    """

    name: str
    below: str = ""
    numeric: bool = False
    folds: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows that begin with their heading; ``total`` is the last of them, ``notes`` are printed below."""

    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    total: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Header:
    """What a row or column of a grid is called: in one line, in columns of labels, or on several short lines.

    ``below`` is more about it; a row is set apart from rows of another ``group``.
    """

    name: str
    labels: tuple[str, ...]
    heading: str
    below: str = ""
    group: str = ""


@dataclasses.dataclass(frozen=True)
class Axis:
    """The rows or the columns of a grid; ``labels`` are the heads of their labels, ``corner`` one head for all."""

    headers: tuple[Header, ...]
    labels: tuple[TableColumn, ...]
    corner: str


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table that may be turned.

    Args:
        cells: a tuple per row; None where there is nothing.
        subject: what it is of, where there are several.
        title: printed above.
        prefix: tells its rows from those of the grid above, where both come as one table.
        chance: what is scored without looking, with its name: the same in every column.
        missing: what empty cells show.
    """

    rows: Axis
    columns: Axis
    cells: tuple[tuple[Cell | None, ...], ...]
    subject: str = ""
    title: str = ""
    prefix: str = ""
    chance: tuple[tuple[str, Cell], ...] = ()
    missing: Cell | None = None

    def turned(self) -> Grid:
        """The same with rows as columns."""
        cells = tuple(zip(*self.cells, strict=True))
        return dataclasses.replace(self, rows=self.columns, columns=self.rows, cells=cells)

    def lines(self) -> Iterator[tuple[Header, list[Cell | None]]]:
        """The rows that hold something, their empty cells filled."""
        for header, cells in zip(self.rows.headers, self.cells, strict=True):
            if any(cells):
                yield header, [cell or self.missing for cell in cells]


@dataclasses.dataclass(frozen=True)
class Grids:
    """Grids of the same columns: one table, or several where that is easier to read."""

    grids: tuple[Grid, ...]

    def tables(self, max_columns: int) -> Iterator[Table]:
        """A table per subject; one with more columns than that is turned, unless that makes it wider still."""
        for subject, members in itertools.groupby(self.grids, key=lambda grid: grid.subject):
            yield _table(subject, list(members), max_columns)


Block = Heading | Paragraph | Facts | Bullets | Notes | Verbatim | Figure | Table | Grids


@dataclasses.dataclass(frozen=True)
class Records:
    """Rows of plain values, for programs that read tables."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()


@dataclasses.dataclass(frozen=True)
class Document:
    """The blocks that people read, and the same as plain data for programs."""

    blocks: tuple[Block, ...]
    title: str = ""
    subtitle: str = ""
    data: Mapping[str, object] = dataclasses.field(default_factory=dict)
    records: Records = Records()


def cells(*texts: str, strong: bool = False) -> tuple[Cell, ...]:
    """Cells of nothing but text.

    >>> [cell.text for cell in cells("a", "b")]
    ['a', 'b']
    """
    return tuple(Cell(text, strong=strong) for text in texts)


def columns(*names: str, numeric: bool = False) -> tuple[TableColumn, ...]:
    """Columns of one kind."""
    return tuple(TableColumn(name, numeric=numeric) for name in names)


def _table(subject: str, grids: Sequence[Grid], max_columns: int) -> Table:
    first, *others = grids
    lines = [(TableColumn(head.name, head.below, numeric=True), found) for head, found in first.lines()]
    for grid in others:
        lines += [
            (TableColumn(f"{grid.prefix}: {head.name}", head.below, numeric=True), cells)
            for head, cells in grid.lines()
        ]
    filled = [any(row[place] for grid in grids for row in grid.cells) for place in range(len(first.columns.headers))]
    kept = itertools.compress(first.columns.headers, filled)
    heads = [TableColumn(header.name, header.below, numeric=True) for header in kept]
    shown = [[cell or MISSING for cell in itertools.compress(cells, filled)] for _, cells in lines]
    rows, corner = [head for head, _ in lines], first.rows.corner
    if len(heads) > max_columns and len(heads) >= len(lines):
        rows, heads, shown = heads, rows, [list(column) for column in zip(*shown, strict=True)]
        corner = first.columns.corner
    return Table(
        (TableColumn(corner), *heads),
        tuple((_heading(head), *line) for head, line in zip(rows, shown, strict=True)),
        " · ".join(filter(None, (subject, first.title))),
        notes=(*(grid.title for grid in others), *_chance(grids)),
    )


def _heading(head: TableColumn) -> Cell:
    return Cell(head.name, notes=(head.below,) if head.below else ())


def _chance(grids: Sequence[Grid]) -> Iterator[str]:
    for grid in grids:
        for name, cell in grid.chance:
            beneath = f", {cell.beneath.label} {cell.beneath.text}" if cell.beneath else ""
            yield f"{name}: {cell.text}{beneath}"
