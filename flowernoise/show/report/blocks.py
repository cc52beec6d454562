"""What a report is made of, whatever form it takes: text is plain, each form escapes it."""

from __future__ import annotations

import dataclasses


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
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class TableCell:
    """What stands in a cell, what stands smaller below it, and whether it stands out."""

    text: str
    below: str = ""
    strong: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table whose rows begin with their heading; ``numeric`` ones are set to the right."""

    caption: str
    head: tuple[TableCell, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    numeric: bool = True


@dataclasses.dataclass(frozen=True)
class Commands:
    """Lines for a shell."""

    lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture as a file, what it tells those who cannot see it, and what stands below it."""

    name: str
    media: str
    data: bytes
    alt: str
    caption: str


Block = Heading | Paragraph | Bullets | Table | Commands | Figure


@dataclasses.dataclass(frozen=True)
class Document:
    """A title, what is said below it, and the blocks."""

    title: str
    subtitle: str
    blocks: tuple[Block, ...]
