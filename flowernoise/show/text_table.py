"""Text in columns: the parts of cells are aligned, nothing is cut, and what is too wide comes in blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.text import Span, Text

GAP = "  "  # between columns
Part = tuple[str, str]  # text and style


@dataclasses.dataclass(frozen=True)
class TextCell:
    """Parts, aligned with those of the column's other cells; a single part may be as wide as all of them."""

    parts: tuple[Part, ...]


@dataclasses.dataclass(frozen=True)
class TextLine:
    """A row: its labels, and a cell for each column or None; a label of several lines makes the row as high."""

    labels: tuple[str, ...]
    cells: Sequence[TextCell | None]


@dataclasses.dataclass(frozen=True)
class TextTitle:
    """A line of text across the columns, with a blank one above."""

    text: str


BLANK = TextTitle("")


@dataclasses.dataclass(frozen=True)
class TextTable:
    """Columns of labels, columns of cells with headings of several lines, and the lines below.

    ``rights`` says of each column of labels, ``part_rights`` of each part of a cell, whether it ends at the right;
    ``title`` is printed above. Lines without any cell in a block of columns are left out there.
    """

    label_headings: tuple[str, ...]
    rights: tuple[bool, ...]
    headings: Sequence[str]
    part_rights: tuple[bool, ...]
    lines: Sequence[TextLine | TextTitle]
    title: str = ""


@dataclasses.dataclass(frozen=True)
class Widths:
    """Columns of text that a table takes: each column of labels, the parts of each column of cells, and its whole."""

    labels: tuple[int, ...]
    parts: tuple[tuple[int, ...], ...]
    columns: tuple[int, ...]

    @property
    def whole(self) -> int:
        """The table uncut."""
        return self.of(range(len(self.columns)))

    def of(self, columns: Sequence[int]) -> int:
        """A block of columns with the labels."""
        widths = (*self.labels, *(self.columns[column] for column in columns))
        return sum(widths) + len(GAP) * (len(widths) - 1)


def measure(table: TextTable) -> Widths:
    """The widths of a table's columns."""
    lines = [line for line in table.lines if isinstance(line, TextLine)]
    labels = tuple(
        max(map(_width, [heading, *(line.labels[column] for line in lines)]))
        for column, heading in enumerate(table.label_headings)
    )
    parts, columns = [], []
    for column, heading in enumerate(table.headings):
        cells = [cell for line in lines if (cell := line.cells[column]) is not None]
        whole = [cell.parts for cell in cells if len(cell.parts) > 1]
        widths = tuple(max(map(_width, texts)) for texts in zip(*([text for text, _ in p] for p in whole), strict=True))
        alone = max((_width(cell.parts[0][0]) for cell in cells if len(cell.parts) == 1), default=0)
        parts.append(widths)
        columns.append(max(_width(heading), alone, sum(widths) + sum(width > 0 for width in widths) - 1))
    return Widths(labels, tuple(parts), tuple(columns))


def blocks(widths: Widths, most: int | None) -> list[list[int]]:
    """The columns in groups that are each, with the labels, no wider than ``most``; all in one where it is None."""
    groups: list[list[int]] = [[]]
    for column in range(len(widths.columns)):
        if most is not None and groups[-1] and widths.of([*groups[-1], column]) > most:
            groups.append([])
        groups[-1].append(column)
    return groups


def render(table: TextTable, widths: Widths, columns: Sequence[int]) -> Text:
    """A block of columns as text, its lines without spaces at the end."""
    lines = [Text(table.title, style="bold")] if table.title else []
    lines += [*_headings(table, widths, columns), Text("─" * widths.of(columns))]
    kept = [line for line in table.lines if isinstance(line, TextTitle) or any(line.cells[c] for c in columns)]
    for position, line in enumerate(kept):
        if isinstance(line, TextLine):
            lines += _line(table, widths, columns, line)
            continue
        if lines[-1].plain and position:
            lines.append(Text())
        lines += [Text(line.text, style="bold")] if line.text else []
    while not lines[-1].plain:
        lines.pop()
    return Text("\n").join(lines)


def _headings(table: TextTable, widths: Widths, columns: Sequence[int]) -> Iterator[Text]:
    texts = [heading.split("\n") for heading in (*table.label_headings, *(table.headings[c] for c in columns))]
    rights = (*table.rights, *(False for _ in columns))
    room = (*widths.labels, *(widths.columns[column] for column in columns))
    height = max(map(len, texts))
    for row in range(height):
        shown = [text[row - height] if row >= height - len(text) else "" for text in texts]
        padded = [_padded(*each) for each in zip(shown, room, rights, strict=True)]
        yield Text(GAP.join(padded).rstrip(), style="bold")


def _line(table: TextTable, widths: Widths, columns: Sequence[int], line: TextLine) -> Iterator[Text]:
    labels = [label.split("\n") for label in line.labels]
    for row in range(max(map(len, labels))):
        shown = [label[row] if row < len(label) else "" for label in labels]
        written = _Writer(GAP.join(_padded(*each) for each in zip(shown, widths.labels, table.rights, strict=True)))
        for column in columns if row == 0 else ():
            cell = line.cells[column]
            written.pad(GAP, "")
            start = written.width
            if cell is not None and len(cell.parts) == 1:
                written.pad(*cell.parts[0])
            elif cell is not None:
                each = zip(cell.parts, widths.parts[column], table.part_rights, strict=True)
                for (text, style), width, right in [(part, w, r) for part, w, r in each if w]:
                    written.pad(" " if written.width > start else "", "")
                    written.pad(_padded(text, width, right), style)
            written.pad(" " * (start + widths.columns[column] - written.width), "")
        yield written.text()


class _Writer:
    """A line that grows at its end."""

    def __init__(self, start: str) -> None:
        self._parts, self.width = [(start, "")], _width(start)

    def pad(self, text: str, style: str) -> None:
        self._parts.append((text, style))
        self.width += _width(text)

    def text(self) -> Text:
        plain = "".join(text for text, _ in self._parts)
        spans, at = [], 0
        for text, style in self._parts:
            if style:
                spans.append(Span(at, at + len(text), style))
            at += len(text)
        written = Text(plain, spans=spans)
        written.rstrip()
        return written


def _padded(text: str, width: int, right: bool) -> str:
    missing = " " * (width - _width(text))
    return missing + text if right else text + missing


def _width(text: str) -> int:
    return max(map(cell_len, text.split("\n"))) if "\n" in text else cell_len(text)
