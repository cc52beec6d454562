"""A document as LaTeX for a paper: tables in booktabs, whose captions say what they are of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

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

MAX_COLUMNS = 4  # of a grid; one with more is turned
_PREAMBLE = (
    "% needs \\usepackage{booktabs}",
    "\\providecommand{\\stacked}[4]{\\begin{tabular}[#1]{@{}#2@{}}#3\\\\{\\footnotesize #4}\\end{tabular}}",
)
# What LaTeX reads as a command, and signs that its usual fonts lack.
_SIGNS = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{sign: f"\\{sign}" for sign in "{}$&#%_"},
        **{sign: f"${sign}$" for sign in "<>+|"},
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        '"': "''",
        "−": "$-$",
        "–": "--",
        "±": r"$\pm$",
        "×": r"$\times$",
        "·": r"$\cdot$",
        "≤": r"$\leq$",
        "≥": r"$\geq$",
        "→": r"$\to$",
        "↓": r"$\downarrow$",
        "↑": r"$\uparrow$",
        "★": r"$\star$",
        "☆": r"$\circ$",
        "†": r"\dag{}",
        "✗": r"$\times$",
        "…": r"\dots{}",
        "η": r"$\eta$",
        "ρ": r"$\rho$",
    }
)


@writer(".tex")
def latex(document: Document) -> str:
    """The document as a part of another; facts before a table are its caption, notes are comments for the author."""
    lines, facts = list(_PREAMBLE), list[str]()
    for block in document.blocks:
        if isinstance(block, Facts):
            facts += block.items
            continue
        lines += ["", *_block(block, facts)]
        facts = []
    return "\n".join([*lines, *_paragraph(facts)]) + "\n"


def escaped(text: str) -> str:
    r"""Text that LaTeX sets as it is, on one line.

    >>> escaped("50 % of a_b {±}")
    '50 \\% of a\\_b \\{$\\pm$\\}'
    """
    return " ".join(text.split()).translate(_SIGNS)


def _block(block: Block, facts: list[str]) -> Iterator[str]:
    if not isinstance(block, (Table, Grids)):
        yield from _paragraph(facts)
    match block:
        case Heading():
            yield f"\\section{{{escaped(block.text)}}}"
        case Paragraph():
            yield escaped(block.text)
        case Bullets():
            yield from (
                "\\begin{itemize}",
                *(f"  \\item {{}}{escaped(item)}" for item in block.items),
                "\\end{itemize}",
            )
        case Notes():
            yield from (f"% note: {' '.join(item.split())}" for item in block.items)
        case Verbatim():
            yield from (f"\\noindent\\texttt{{{escaped(line)}}}\\par" for line in block.lines)
        case Figure():
            yield from ("\\begin{figure}", f"  \\includegraphics[width=\\linewidth]{{{block.path}}}")
            yield from (f"  \\caption{{{escaped(block.caption)}}}", "\\end{figure}")
        case Table():
            yield from _table(block, facts)
        case Grids():
            for table in block.tables(MAX_COLUMNS):
                yield from _table(table, facts)


def _paragraph(facts: Iterable[str]) -> list[str]:
    text = escaped("; ".join(facts))
    return [text, ""] if text else []


def _table(table: Table, facts: list[str]) -> Iterator[str]:
    caption = "; ".join(filter(None, (table.title.rstrip("."), *facts, *table.notes)))
    yield "\\begin{table}"
    yield "  \\centering"
    if caption:
        yield f"  \\caption{{{escaped(caption)}.}}\\medskip"
    yield f"  \\begin{{tabular}}{{{''.join('r' if column.numeric else 'l' for column in table.columns)}}}"
    yield "    \\toprule"
    yield _row(map(_head, table.columns))
    yield "    \\midrule"
    yield from (_row(map(_cell, row, table.columns)) for row in table.rows)
    if table.total:
        yield from ("    \\midrule", _row(map(_cell, table.total, table.columns)))
    yield from ("    \\bottomrule", "  \\end{tabular}", "\\end{table}")


def _row(cells: Iterable[str]) -> str:
    # What follows the end of a row is read as its argument if it begins with a bracket or a star.
    return re.sub(r"^(?=[\[*])", "{}", " & ".join(cells)).join(("    ", " \\\\"))


def _head(column: TableColumn) -> str:
    return _stacked(escaped(column.name), column.below, "b", column)


def _cell(cell: Cell, column: TableColumn) -> str:
    text = escaped(cell.text)
    signs = "".join(f" {escaped(sign)}" for sign in (cell.drop, cell.verdict, cell.star) if sign)
    return _stacked((f"\\textbf{{{text}}}" if cell.strong and text else text) + signs, cell.below, "t", column)


def _stacked(shown: str, below: str, side: str, column: TableColumn) -> str:
    if not below:
        return shown
    return f"\\stacked{{{side}}}{{{'r' if column.numeric else 'l'}}}{{{shown}}}{{{escaped(below)}}}"
