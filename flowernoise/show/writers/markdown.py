"""A document as Markdown, its pictures as files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

from flowernoise.show.document import (
    Block,
    Bullets,
    Cell,
    Document,
    Facts,
    Figure,
    Grids,
    Heading,
    Notes,
    Paragraph,
    Table,
    TableColumn,
    Verbatim,
)
from flowernoise.show.writers import writer

MAX_COLUMNS = 6  # of a grid; one with more is turned
# Signs that could be read as markup: an underscore within a word, or a bracket without a link, could not.
_MARKUP = re.compile(r"[\\`*|~#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|](?=[(\[:])")


@writer(".md")
def markdown(document: Document) -> str:
    """The document as Markdown; one without sections has no title either, as it is a part of another text."""
    has_sections = any(isinstance(block, Heading) for block in document.blocks)
    parts = [f"# {escaped(document.title)}", escaped(document.subtitle)] if has_sections else []
    return "\n\n".join([*parts, *(text for block in document.blocks for text in _block(block))]) + "\n"


def escaped(text: str) -> str:
    r"""Text that Markdown and the HTML in it leave as it is, on one line.

    >>> escaped("a_b | <script> [<20.0]")
    'a_b \\| &lt;script> [<20.0]'
    """
    plain = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", " ".join(text.split()).replace("&", "&amp;"))
    return _MARKUP.sub(r"\\\g<0>", plain)


def _line(text: str) -> str:
    """Text that begins a line, where some signs begin a list or a quotation."""
    return re.sub(r"^([-+](?=\s)|>)", r"\\\1", escaped(text))


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading():
            yield f"## {escaped(block.text)}"
        case Paragraph():
            yield _line(block.text)
        case Facts():
            if text := _line(" · ".join(block.items)):
                yield f"**{text}**" if block.strong else text
        case Bullets() | Notes():
            yield "\n".join(f"- {_line(item)}" for item in block.items)
        case Verbatim():
            yield _fenced(block)
        case Figure():
            yield f"![{escaped(block.alt)}]({quote(block.path)})"
            yield _line(block.caption)
        case Table():
            yield from _table(block)
        case Grids():
            for table in block.tables(MAX_COLUMNS):
                yield from _table(table)


def _fenced(block: Verbatim) -> str:
    """Lines between more backticks than they hold in a row."""
    text = "\n".join(block.lines)
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}{'sh' if block.shell else ''}\n{text}\n{fence}"


def _table(table: Table) -> Iterator[str]:
    if table.title:
        yield _line(table.title)
    ruler = "|" + "".join("---:|" if column.numeric else "---|" for column in table.columns)
    rows = [*table.rows, table.total] if table.total else table.rows
    yield "\n".join([_row(map(_head, table.columns)), ruler, *(_row(map(_cell, row)) for row in rows)])
    yield from map(_line, table.notes)


def _row(texts: Iterator[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _head(column: TableColumn) -> str:
    return escaped(column.name) + (f" ({escaped(column.below)})" if column.below else "")


def _cell(cell: Cell) -> str:
    text = f"**{escaped(cell.text)}**" if cell.strong else escaped(cell.text)
    around = (cell.interval, cell.drop, cell.verdict, cell.star)
    text = " ".join([text, *(escaped(each) for each in around if each)])
    beneath = f", {escaped(f'{cell.beneath.label} {cell.beneath.text}')}" if cell.beneath else ""
    return text + beneath + "".join(f" ({escaped(note)})" for note in cell.notes)
