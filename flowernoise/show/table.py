"""The tables that people read in a terminal or a pipe."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from flowernoise.catalogue.metrics import facts_of
from flowernoise.catalogue.sources import label_words
from flowernoise.show import compared, text_table
from flowernoise.show.compared import BETTER, COLLAPSED, ORACLE, Value
from flowernoise.show.text_table import BLANK, TextCell, TextLine, TextTable, TextTitle
from flowernoise.store.records import CONTROL, Column, Comparison, Condition, Row, TestPhotos, Tolerated
from flowernoise.store.setups import SETTINGS

READABLE_WIDTH = 100  # columns of running text, however wide the terminal
_UNLIMITED = 10_000  # columns
_LONG_NAME = 24  # columns
_PARTS = (
    True,
    False,
    True,
    False,
    False,
    False,
)  # mean, interval, drop, verdict, star, trouble: which end at the right
_NO_CELL = TextCell((("–", ""), *[("", "")] * (len(_PARTS) - 1)))


@dataclasses.dataclass(frozen=True)
class _Trimmed:
    """A table as wide as it takes, its lines without spaces at the end: nothing is cut, in a pipe or elsewhere."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(options.max_width, console.measure(self.table, options=options.update(width=_UNLIMITED)).maximum)
        for line in console.render_lines(self.table, options.update(width=width), pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                line.append(Segment(line[-1].text.rstrip(), line.pop().style))
            yield from line
            yield Segment.line()


def show(result: Comparison, console: Console) -> None:
    """Prints a comparison: a row a noise and rate, a column a loss.

    Where that is too wide, losses become rows if that is shorter (in a pipe: narrower), and a terminal gets the columns
    in blocks under one another.
    """
    _print_items(console, _subject(result), style="bold")
    _print_items(console, _measure(result))
    _print_items(console, compared.legend(result) + compared.troubles(result))
    for part in _fitting(result, console):
        console.print()
        console.print(part, soft_wrap=True)
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


def _fitting(result: Comparison, console: Console) -> list[Text]:
    """The tables in the form that reads best in the console's width."""
    cells = _Cells(result)
    upright, turned = _Laid([_upright(result, cells)], console), _Laid(_turned(result, cells), console)
    if upright.width <= console.width:
        return upright.texts
    if console.is_terminal:
        return min(upright, turned, key=lambda laid: sum(len(text.plain.splitlines()) for text in laid.texts)).texts
    return min(upright, turned, key=lambda laid: laid.width).texts


class _Laid:
    """Tables as text, in a terminal in blocks of columns that fit; ``width`` is what they would take without."""

    def __init__(self, tables: Sequence[TextTable], console: Console) -> None:
        measured = [(each, text_table.measure(each)) for each in tables]
        self._most = console.width if console.is_terminal else None
        self._measured = measured
        self.width = max(widths.whole for _, widths in measured)

    @functools.cached_property
    def texts(self) -> list[Text]:
        """A text for each block."""
        return [
            text_table.render(each, widths, block)
            for each, widths in self._measured
            for block in text_table.blocks(widths, self._most)
        ]


class _Cells:
    """The cells of a comparison by data set, condition and column, and how they are written."""

    def __init__(self, result: Comparison) -> None:
        self._unit = result.unit
        self.rows: dict[tuple[int, Condition, Column], Row] = {
            (row.dataset, row.condition, row.column): row for row in result.rows
        }
        self.tolerated: dict[tuple[int, str, Column], Tolerated] = {
            (line.dataset, line.noise, line.column): line for line in result.tolerated if line.tolerance
        }
        self.tolerated_noises = list(dict.fromkeys(noise for _, noise, _ in self.tolerated))
        self._oracles = {row.column for row in result.rows if row.oracle}
        self.has_balanced = {row.dataset for row in result.rows if row.balanced}

    def of(self, dataset: int, condition: Condition, column: Column) -> TextCell | None:
        """A cell of the metric."""
        row = self.rows.get((dataset, condition, column))
        if row is None:
            return None
        if row.mean is None:
            return TextCell(((f"{row.failed} failed", "red"),)) if row.failed else _NO_CELL
        verdict = compared.verdict(row)
        marks = (
            (verdict, "green" if verdict == BETTER else "red"),
            (compared.star(row), "bold green" if row.best else "green"),
            (_trouble(row), "bold red"),
        )
        return self._cell(row, row.noise, "bold" if row.best else "", marks)

    def balanced(self, dataset: int, condition: Condition, column: Column) -> TextCell | None:
        """The cell beneath, of balanced accuracy."""
        row = self.rows.get((dataset, condition, column))
        if row is None or row.balanced is None:
            return None
        return self._cell(row.balanced, row.noise, "", (("", ""),) * 3)

    def _cell(self, value: Value, noise: str, style: str, marks: Sequence[text_table.Part]) -> TextCell:
        mean = "–" if value.mean is None else compared.number(value.mean, self._unit)
        interval, drop = compared.interval(value, self._unit), compared.drop(value, noise, self._unit)
        return TextCell(((mean, style), (interval, ""), (drop, ""), *marks))

    def tolerance(self, dataset: int, noise: str, column: Column) -> TextCell | None:
        """What a loss tolerates of a noise model."""
        line = self.tolerated.get((dataset, noise, column))
        if line is None or line.tolerance is None:
            return None
        mark = COLLAPSED if line.collapsed else ORACLE if column in self._oracles else ""
        return TextCell((("".join([compared.rate(line.tolerance), f" {mark}" if mark else ""]), ""),))

    def chance(self, result: Comparison, dataset: int) -> Iterator[tuple[str, TextCell]]:
        """What answering one class always scores, where it is known."""
        photos = result.datasets[dataset]
        facts = facts_of(result.metric)
        if facts.chance:
            yield facts.chance.name, self._plain(facts.chance.of(photos.test_counts))
        if facts.beneath and (chance := facts_of(facts.beneath).chance) and dataset in self.has_balanced:
            yield "  balanced", self._plain(chance.of(photos.test_counts))

    def _plain(self, value: float) -> TextCell:
        return TextCell(((compared.number(value, self._unit), ""), *[("", "")] * (len(_PARTS) - 1)))


def _trouble(row: Row) -> str:
    collapsed = f"{COLLAPSED}" + ("" if row.seeds == 1 else f" {row.collapsed}/{row.seeds}") if row.collapsed else ""
    return " ".join(filter(None, (collapsed, f"{row.failed} failed" if row.failed else "")))


def _upright(result: Comparison, cells: _Cells) -> TextTable:
    """A line a condition, a column a loss."""
    columns = result.columns
    varying = compared.varying(columns)
    headings = [_column_heading(column, varying) for column in columns]
    lines: list[TextLine | TextTitle] = []
    for dataset, photos in enumerate(result.datasets):
        if len(result.datasets) > 1:
            lines.append(TextTitle(_section(result, photos)))
        lines += _conditions(result, cells, dataset)
        chance = [TextLine((label, "", ""), [cell] * len(columns)) for label, cell in cells.chance(result, dataset)]
        lines += [BLANK, *chance] if chance else []
        noises = dict.fromkeys(noise for noise, _ in result.conditions)
        tolerances = [
            TextLine((folded(noise), "", ""), [cells.tolerance(dataset, noise, column) for column in columns])
            for noise in noises
            if any((dataset, noise, column) in cells.tolerated for column in columns)
        ]
        lines += [TextTitle(_tolerance_title(result)), *tolerances] if tolerances else []
    wrong = "\n".join([*compared.words(result).wrong.split(), "labels"])
    return TextTable(("noise", "rate", wrong), (False, True, True), headings, _PARTS, lines)


def _column_heading(column: Column, varying: Sequence[str]) -> str:
    """A loss with what differs between columns: settings beside it where they fit, all else beneath."""
    lines = [folded(column.loss)]
    for name in varying:
        text = compared.part(column, name)
        beside = f"{lines[-1]} · {text}" if name in SETTINGS else ""
        if beside and cell_len(beside.rpartition("\n")[2]) <= _LONG_NAME:
            lines[-1] = beside
        elif text:
            lines.append(folded(text))
    return "\n".join(lines)


def _conditions(result: Comparison, cells: _Cells, dataset: int) -> Iterator[TextLine | TextTitle]:
    present = [
        condition
        for condition in result.conditions
        if any((dataset, condition, column) in cells.rows for column in result.columns)
    ]
    runs_of_one = len(list(itertools.groupby(present, key=lambda condition: condition[0])))
    gaps = runs_of_one == len({noise for noise, _ in present})
    before = None
    for condition in present:
        noise, rate = condition
        if before is not None and (before == CONTROL or (gaps and before != noise)):
            yield BLANK
        before = noise
        there = [row for c in result.columns if (row := cells.rows.get((dataset, condition, c)))]
        label, nominal = ("control", "") if noise == CONTROL else (folded(noise), f"{rate:g}")
        shown = [cells.of(dataset, condition, column) or _NO_CELL for column in result.columns]
        yield TextLine((label, nominal, compared.wrong_labels(there)), shown)
        if dataset in cells.has_balanced:
            yield TextLine(("  balanced", "", ""), [cells.balanced(dataset, condition, c) for c in result.columns])


def _turned(result: Comparison, cells: _Cells) -> list[TextTable]:
    """A line a loss, a column a condition; and the same of what is tolerated of each noise model."""
    names = compared.varying(result.columns)
    heads = ("loss", *names)
    tables = []
    for headings, lines_of in (
        ([_heading(result, condition, cells.rows) for condition in result.conditions], _losses),
        ([folded(noise) for noise in cells.tolerated_noises], _tolerances),
    ):
        lines: list[TextLine | TextTitle] = []
        for dataset, photos in enumerate(result.datasets):
            found = list(lines_of(result, cells, dataset, names))
            lines += [TextTitle(_section(result, photos))] if len(result.datasets) > 1 and found else []
            lines += found
        rights = (False,) * len(heads)
        title = "" if lines_of is _losses else _tolerance_title(result)
        tables += [TextTable(heads, rights, headings, _PARTS, lines, title)] if headings else []
    return tables


def _losses(result: Comparison, cells: _Cells, dataset: int, names: Sequence[str]) -> Iterator[TextLine | TextTitle]:
    nothing = [""] * len(names)
    for column in result.columns:
        shown = [cells.of(dataset, condition, column) for condition in result.conditions]
        if any(shown):
            yield TextLine(_labels(column, names), [cell or _NO_CELL for cell in shown])
            if dataset in cells.has_balanced:
                beneath = [cells.balanced(dataset, condition, column) for condition in result.conditions]
                yield TextLine(("  balanced", *nothing), beneath)
    chance = list(cells.chance(result, dataset))
    yield from [BLANK] * bool(chance)
    for label, cell in chance:
        yield TextLine((label, *nothing), [cell] * len(result.conditions))


def _tolerances(
    result: Comparison, cells: _Cells, dataset: int, names: Sequence[str]
) -> Iterator[TextLine | TextTitle]:
    for column in result.columns:
        shown = [cells.tolerance(dataset, noise, column) for noise in cells.tolerated_noises]
        if any(shown):
            yield TextLine(_labels(column, names), shown)


def _labels(column: Column, names: Sequence[str]) -> tuple[str, ...]:
    parts = [compared.part(column, name) for name in names]
    shown = [part.removeprefix(f"{name} ") for name, part in zip(names, parts, strict=True)]
    return folded(column.loss), *map(folded, shown)


def _heading(result: Comparison, condition: Condition, rows: Mapping[tuple[int, Condition, Column], Row]) -> str:
    noise, rate = condition
    there = [row for (_, of, _), row in rows.items() if of == condition]
    wrong = f"{compared.wrong_labels(there)} {compared.words(result).wrong}"
    return f"control\n{wrong}" if noise == CONTROL else f"{folded(noise)}\n{rate:g} · {wrong}"


def _tolerance_title(result: Comparison) -> str:
    return f"{compared.words(result).wrong} labels tolerated, {compared.tolerance(result)}"


def _section(result: Comparison, photos: TestPhotos) -> str:
    clean = "clean " if label_words(photos.source).are_clean else ""  # others are spoken of at the top
    items = [photos.name, f"{len(photos.classes)} classes", f"{sum(photos.test_counts):,} {clean}test photos"]
    return " · ".join(items if result.select else [*items, f"{photos.select} epoch"])


def folded(spec: str) -> str:
    """A spec on as many lines as its length takes, broken behind its signs."""
    lines = [""]
    for part in re.split(r"(?<=[:,+])", spec):
        if lines[-1] and cell_len(lines[-1] + part) > _LONG_NAME:
            lines.append("  ")
        lines[-1] += part
    return "\n".join(lines)


def _subject(result: Comparison) -> list[str]:
    kinds = ", ".join(compared.kinds(result))
    if len(result.datasets) > 1:
        return [f"{len(result.datasets)} data sets", kinds, *_as_given(result)]
    [photos] = result.datasets
    classes, tested = f"{len(photos.classes)} classes", compared.words(result).test_photos(sum(photos.test_counts))
    return [photos.source, classes, kinds, tested]


def _as_given(result: Comparison) -> Iterator[str]:
    """That labels are as given, if those of any data set are."""
    are_clean = {label_words(photos.source).are_clean for photos in result.datasets}
    if False in are_clean:
        labels = compared.words(result).labels
        yield f"{labels}, but where test photos are called clean" if True in are_clean else labels


def _measure(result: Comparison) -> list[str]:
    epoch = [f"{result.select} epoch"] if result.select else []
    return [compared.measure(result), *epoch, compared.seeds(result)]


def _beside(result: Comparison) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, header_style="bold")
    table.add_column("first experiment", no_wrap=True)
    table.add_column("published, %", justify="right", no_wrap=True)
    table.add_column("here, %", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in result.beside:
        mark = f"{COLLAPSED} {row.collapsed} of {row.runs} collapsed" if row.collapsed else ""
        table.add_row(row.label, _range(*row.published), _range(*row.ours), Text(mark, style="bold red"))
    return table


def _range(low: float, high: float) -> str:
    return f"{100 * low:.2f}" if low == high else f"{100 * low:.2f} to {100 * high:.2f}"
