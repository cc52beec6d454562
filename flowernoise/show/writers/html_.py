"""A document as one HTML file that loads nothing and runs nothing."""

from __future__ import annotations

import base64
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from html import escape as _escape

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

MAX_COLUMNS = 5  # beside the first: what fits on paper. A grid with more is turned; what is still wider is split
# Nothing but what is in the file may be shown, and nothing may run, whatever a class or a path is called.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
*{box-sizing:border-box}
body{margin:0;color:#1b1b1b;background:#fff;font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:64rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .25rem}
h2{font-size:1.3rem;line-height:1.3;margin:2.75rem 0 .75rem;padding-top:.75rem;border-top:1px solid #c8c8c8}
h1,h2,p,li,td,th,figcaption,caption{overflow-wrap:anywhere}
p,ul,figcaption,caption{max-width:46rem}
.sub,figcaption,caption,small{color:#505050}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;list-style:none;padding:0;max-width:none}
a{color:#0b57a4}
li{margin:.3rem 0}
.scroll{overflow-x:auto;margin:1rem 0}
.scroll{background:linear-gradient(90deg,#fff 40%,transparent) 0 0/2rem 100%,
linear-gradient(270deg,#fff 40%,transparent) 100% 0/2rem 100%,linear-gradient(90deg,#0004,transparent) 0 0/.7rem 100%,
linear-gradient(270deg,#0004,transparent) 100% 0/.7rem 100%;background-repeat:no-repeat;
background-attachment:local,local,scroll,scroll}
.scroll:focus-visible,a:focus-visible{outline:3px solid #0b57a4;outline-offset:2px}
table{min-width:min(100%,30rem);border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:0 0 .5rem;font-size:.92rem}
caption span{display:block;max-width:min(46rem,calc(100vw - 2rem))}
th,td{padding:.4rem .8rem;text-align:left;vertical-align:top;border-bottom:1px solid #dedede;overflow-wrap:normal}
thead th{border-bottom:2px solid #6b6b6b;vertical-align:bottom}
tbody th{font-weight:500;position:sticky;left:0;background:#fff}
tbody th{min-width:min(12rem,30vw)}
.number{text-align:right}
td.number{white-space:nowrap}
thead th{max-width:11rem}
td small,th small{display:block;font-size:.82rem;white-space:normal}
small span{white-space:nowrap}
figure{margin:1.75rem 0}
figcaption{font-size:.92rem;margin-top:.4rem}
img{display:block;max-width:100%;height:auto;min-width:34rem;border:1px solid #dedede}
pre{overflow-x:auto;background:#f4f4f4;padding:.8rem 1rem;font-size:.88rem;line-height:1.5}
@media(max-width:40rem){th,td{padding:.35rem .45rem}ul{padding-left:1.25rem}}
@media print{nav{display:none}main{max-width:none;padding:0}.scroll{overflow:visible;background:none}img{min-width:0}
table{font-size:.85rem}th,td{padding:.3rem .45rem}tbody th{position:static}
pre{white-space:pre-wrap}h2{break-after:avoid}figure,tr{break-inside:avoid}}
""".strip()


@writer(".html", ".htm")
def html_(document: Document) -> str:
    """The document as a page, pictures within."""
    body = "\n".join(line for number, block in enumerate(document.blocks) for line in _block(block, number))
    subtitle = f'<p class="sub">{text(document.subtitle)}</p>\n' if document.subtitle else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_escape(document.title)}</title>
<style>
{_STYLE}
</style>
</head>
<body>
<main>
<h1>{text(document.title)}</h1>
{subtitle}{_contents(document)}{body}
</main>
</body>
</html>
"""


def _contents(document: Document) -> str:
    headings = [block for block in document.blocks if isinstance(block, Heading)]
    links = "\n".join(f'<li><a href="#{_escape(each.anchor)}">{text(each.text)}</a></li>' for each in headings)
    return f'<nav aria-label="Sections">\n<ul>\n{links}\n</ul>\n</nav>\n' if headings else ""


def text(plain: str) -> str:
    r"""Text as HTML: no line break between a number and its unit, but one behind the signs of a path or a spec.

    >>> text("5 % of a:b=<c>")
    '5\xa0% of a:<wbr>b=&lt;c&gt;'
    """
    return re.sub(r"(?<=\w)([/:=,_])(?=[A-Za-z_.])", r"\1<wbr>", _escape(plain).replace(" %", "\u00a0%"))


def _block(block: Block, number: int) -> Iterator[str]:
    match block:
        case Heading():
            yield f'<h2 id="{_escape(block.anchor)}">{text(block.text)}</h2>'
        case Paragraph():
            yield f"<p>{text(block.text)}</p>"
        case Facts():
            if facts := text(" · ".join(block.items)):
                yield f"<p><strong>{facts}</strong></p>" if block.strong else f"<p>{facts}</p>"
        case Bullets() | Notes():
            yield "<ul>"
            yield from (f"<li>{text(item)}</li>" for item in block.items)
            yield "</ul>"
        case Verbatim():
            lines, label = "\n".join(block.lines), "Commands" if block.shell else "Text"
            yield f'<pre tabindex="0" role="region" aria-label="{label}"><code>{_escape(lines)}</code></pre>'
        case Figure():
            yield from _figure(block)
        case Table():
            yield from _tables([block], number)
        case Grids():
            yield from _tables(block.tables(MAX_COLUMNS), number)


def _tables(tables: Iterable[Table], number: int) -> Iterator[str]:
    for place, part in enumerate(part for table in tables for part in _parts(table)):
        yield from _table(part, f"table-{number}-{place}")


def _parts(table: Table) -> Iterator[Table]:
    """The table in parts that fit on paper, with about as many columns each; every part has the first column."""
    count = max(1, math.ceil((len(table.columns) - 1) / MAX_COLUMNS))
    ends = [1 + round(part * (len(table.columns) - 1) / count) for part in range(count + 1)]
    for part, (start, end) in enumerate(itertools.pairwise(ends)):
        title = table.title if part == 0 or not table.title else f"{table.title} (continued)"
        yield Table(
            (table.columns[0], *table.columns[start:end]),
            tuple((row[0], *row[start:end]) for row in table.rows),
            title,
            (table.total[0], *table.total[start:end]) if table.total else table.total,
            table.notes if end == len(table.columns) else (),
        )


def _table(table: Table, name: str) -> Iterator[str]:
    # Wide tables scroll by themselves; whoever has no mouse gets there by the Tab key.
    labelled = f'aria-labelledby="{name}"' if table.title else 'aria-label="Table"'
    yield f'<div class="scroll" tabindex="0" role="region" {labelled}>'
    yield "<table>"
    if table.title:
        yield f'<caption id="{name}"><span>{text(table.title)}</span></caption>'
    yield f"<thead><tr>{''.join(map(_head, table.columns))}</tr></thead>"
    yield "<tbody>"
    for first, *others in [*table.rows, table.total] if table.total else table.rows:
        cells = zip(table.columns[1:], others, strict=True)
        yield (
            f'<tr><th scope="row">{_cell(first)}</th>'
            + "".join(f"<td{_set(c)}>{_cell(v)}</td>" for c, v in cells)
            + "</tr>"
        )
    yield "</tbody>"
    yield "</table>"
    yield "</div>"
    yield from (f'<p class="sub">{text(note)}</p>' for note in table.notes)


def _set(column: TableColumn) -> str:
    return ' class="number"' if column.numeric else ""


def _head(column: TableColumn) -> str:
    return f'<th scope="col"{_set(column)}>{text(column.name)}{_small(column.below)}</th>'


def _cell(cell: Cell) -> str:
    shown = f"<strong>{text(cell.signed)}</strong>" if cell.strong else text(cell.signed)
    return shown + _small(cell.below)


def _small(below: str) -> str:
    """Smaller text on lines of its own; an interval is not broken over them."""
    shown = re.sub(r"\[[^\]]{1,24}\]", r"<span>\g<0></span>", text(below))
    return f" <small>{shown}</small>" if below else ""


def _figure(figure: Figure) -> Iterator[str]:
    data = base64.b64encode(figure.data).decode("ascii")
    yield "<figure>"
    yield f'<div class="scroll" tabindex="0" role="region" aria-label="{_escape(figure.caption)}">'
    yield f'<img alt="{_escape(figure.alt)}" src="data:{figure.media};base64,{data}">'
    yield "</div>"
    yield f"<figcaption>{text(figure.caption)}</figcaption>"
    yield "</figure>"
