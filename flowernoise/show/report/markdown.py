"""A document as Markdown, its pictures as files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

from flowernoise.show.report.blocks import (
    Block,
    Bullets,
    Commands,
    Document,
    Figure,
    Heading,
    Paragraph,
    Table,
    TableCell,
)


def page(document: Document, pictures: str) -> str:
    """The document as Markdown.

    Args:
        pictures: folder of the pictures, relative to the file.
    """
    parts = [f"# {escaped(document.title)}", escaped(document.subtitle)]
    parts += [text for block in document.blocks for text in _block(block, pictures)]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    r"""Text that Markdown and the HTML in it leave as it is, on one line.

    >>> escaped("a_b | <script>")
    'a\\_b \\| &lt;script&gt;'
    """
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", plain)


def _block(block: Block, pictures: str) -> Iterator[str]:
    match block:
        case Heading():
            yield f"## {escaped(block.text)}"
        case Paragraph():
            yield escaped(block.text)
        case Bullets():
            yield "\n".join(f"- {escaped(item)}" for item in block.items)
        case Table():
            yield escaped(block.caption)
            yield _table(block)
        case Commands():
            yield _fenced(block.lines)
        case Figure():
            yield f"![{escaped(block.alt)}]({pictures}/{quote(block.name)})"
            yield escaped(block.caption)


def _fenced(lines: tuple[str, ...]) -> str:
    """Code between more backticks than it holds in a row."""
    text = "\n".join(lines)
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}sh\n{text}\n{fence}"


def _table(table: Table) -> str:
    ruler = "|---|" + ("---:|" if table.numeric else "---|") * (len(table.head) - 1)
    lines = ["| " + " | ".join(map(_cell, table.head)) + " |", ruler]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in table.rows]
    return "\n".join(lines)


def _cell(cell: TableCell) -> str:
    text = f"**{escaped(cell.text)}**" if cell.strong else escaped(cell.text)
    return f"{text} {escaped(cell.below)}".strip()
