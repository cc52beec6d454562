"""A comparison as a document: the table, what is tolerated, published figures beside it, the answer and notes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from flowernoise.catalogue.label_words import label_words
from flowernoise.catalogue.metrics import facts_of
from flowernoise.catalogue.sources import without_path
from flowernoise.show import compared, plain, sentences
from flowernoise.show.compared import COLLAPSED, ORACLE, Value
from flowernoise.show.document import (
    MISSING,
    Axis,
    Block,
    Cell,
    Document,
    Facts,
    Grid,
    Grids,
    Header,
    Notes,
    Paragraph,
    Table,
    TableColumn,
    columns,
)
from flowernoise.store import records
from flowernoise.store.records import CONTROL, Comparison, Condition, PublishedResult, Row, Tolerated
from flowernoise.store.setups import SETTINGS

_LONG_NAME = 24  # columns of text


def document(result: Comparison, *, per_seed: bool = False) -> Document:
    """A comparison as people and programs read it; its records are cells, or with ``per_seed`` the runs in them."""
    return Document(
        blocks=tuple(_blocks(compared.with_names(result))),
        title=f"Label noise: {', '.join(dict.fromkeys(photos.name for photos in result.datasets))}",
        data=plain.data(result),
        records=plain.per_seed(result) if per_seed else plain.records(result),
    )


def _blocks(result: Comparison) -> Iterator[Block]:
    yield Facts(tuple(_subject(result)), strong=True)
    yield Facts(tuple(_measure(result)))
    legend = (*compared.legend(result), *compared.rate_signs(result))
    troubles = tuple(compared.troubles(result))
    if legend or troubles:
        yield Facts(legend, signs=troubles)
    every = range(len(result.datasets))
    yield Grids(tuple(grid for place in every for grid in (measured(result, place), *tolerated(result, place))))
    if result.beside:
        yield beside(result)
        yield Paragraph(result.why)
    yield Notes((sentences.answer(result),), label="in short")
    if result.notes:
        yield Notes(result.notes)


def _subject(result: Comparison) -> Iterator[str]:
    kinds = ", ".join(compared.kinds(result))
    if len(result.datasets) > 1:
        yield from (f"{len(result.datasets)} data sets", kinds)
        yield from _labels_of_several(result)
        return
    [photos] = result.datasets
    tested = compared.words(result).test_photos(sum(photos.test_counts))
    yield from (without_path(photos.source), f"{len(photos.classes)} classes", kinds, tested)


def _labels_of_several(result: Comparison) -> Iterator[str]:
    """Which labels the data sets have, but for those whose own headings say it."""
    words = [label_words(photos) for photos in result.datasets]
    others = dict.fromkeys(each.of_test for each in words if not each.are_clean)
    if others:
        labels = " or ".join(others)
        yield f"{labels}, except where test photos are called clean" if any(w.are_clean for w in words) else labels


def _measure(result: Comparison) -> list[str]:
    epoch = [f"{result.select} epoch"] if result.select else []
    return [compared.measure(result), *epoch, compared.seeds(result)]


def measured(result: Comparison, dataset: int = 0) -> Grid:
    """The metric on a data set: one row per noise model and rate, one column per loss."""
    rows = {(row.condition, row.column): row for row in result.rows if row.dataset == dataset}
    return Grid(
        _conditions(result, dataset),
        _losses(result),
        tuple(
            tuple(_cell(result, rows.get((condition, column))) for column in result.columns)
            for condition in result.conditions
        ),
        subject=_section(result, dataset),
        chance=tuple(_chance(result, dataset)),
        missing=MISSING,
    )


def tolerated(result: Comparison, dataset: int = 0) -> Iterator[Grid]:
    """What is tolerated on a data set, if that is known: one row per noise model, one column per loss."""
    every = {(line.noise, line.column): line for line in result.tolerated if line.tolerance}
    own = {(line.noise, line.column): line for line in result.tolerated if line.tolerance and line.dataset == dataset}
    noises = [
        noise for noise in dict.fromkeys(noise for noise, _ in result.conditions) if any(noise == n for n, _ in every)
    ]
    headers = tuple(Header(noise, (folded(noise), "", ""), folded(noise)) for noise in noises)
    oracles = {row.column for row in result.rows if row.oracle}
    if own:
        yield Grid(
            Axis(headers, columns("noise", "", ""), "noise"),
            _losses(result),
            tuple(tuple(_tolerance(own.get((noise, c)), c in oracles) for c in result.columns) for noise in noises),
            subject=_section(result, dataset),
            title=f"{compared.words(result).wrong} labels tolerated ({compared.tolerance(result)})",
            prefix="tolerated",
        )


def _section(result: Comparison, dataset: int) -> str:
    """A data set, where there are several."""
    if len(result.datasets) == 1:
        return ""
    photos = result.datasets[dataset]
    items = [photos.name, f"{len(photos.classes)} classes", _test_photos(result, photos)]
    return " · ".join(items if result.select else [*items, f"{photos.select} epoch"])


def _test_photos(result: Comparison, photos: records.TestPhotos) -> str:
    """With the kind of their labels, unless that is the same of all and spoken of at the top."""
    words, count = label_words(photos), sum(photos.test_counts)
    others = {label_words(each).of_test for each in result.datasets if not label_words(each).are_clean}
    return words.test_photos(count) if words.are_clean or len(others) > 1 else f"{count:,} test {words.things}"


# Rows and columns


def _conditions(result: Comparison, dataset: int) -> Axis:
    words = compared.words(result)
    every: dict[Condition, list[Row]] = {}
    for row in result.rows:
        every.setdefault(row.condition, []).append(row)
    noises = [noise for noise, _ in result.conditions]
    are_together = len(list(itertools.groupby(noises))) == len(set(noises))
    headers = []
    for condition in result.conditions:
        rows, (noise, rate) = every[condition], condition
        own = [row for row in rows if row.dataset == dataset]
        wrong, here = compared.wrong_labels(rows), compared.wrong_labels(own) if own else ""
        below = words.share(wrong, is_control=noise == CONTROL)
        if noise == CONTROL:
            here = words.share("", is_control=True) if words.training_is_doubted and own else here
            headers.append(Header("control", ("control", "", here), f"control\n{below}", words.labels, CONTROL))
            continue
        heading, group = f"{folded(noise)}\n{rate:g} · {below}", noise if are_together else ""
        headers.append(Header(f"{noise} {rate:g}", (folded(noise), f"{rate:g}", here), heading, below, group))
    wrong_labels = "\n".join([*words.wrong.split(), "labels"])
    labels = (TableColumn("noise"), *columns("rate", wrong_labels, numeric=True))
    return Axis(tuple(headers), labels, f"noise, {words.wrong} labels")


def _losses(result: Comparison) -> Axis:
    varying = compared.varying(result.columns)
    headers = []
    for column in result.columns:
        parts = [compared.part(column, name) for name in varying]
        shown = [part.removeprefix(f"{name} ") for name, part in zip(varying, parts, strict=True)]
        labels = tuple(map(folded, (column.loss, *shown)))
        headers.append(Header(compared.column_name(column, varying), labels, _heading(column, varying)))
    return Axis(tuple(headers), columns("loss", *varying), "loss")


def _heading(column: records.Column, varying: Sequence[str]) -> str:
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


def folded(spec: str) -> str:
    """A spec on as many lines as its length takes, broken behind its signs."""
    lines = [""]
    for part in re.split(r"(?<=[:,+])", spec):
        if lines[-1] and cell_len(lines[-1] + part) > _LONG_NAME:
            lines.append("  ")
        lines[-1] += part
    return "\n".join(lines)


# Cells


def _cell(result: Comparison, row: Row | None) -> Cell | None:
    if row is None:
        return None
    failed = f"{row.failed} failed" if row.failed else ""
    if row.mean is None:
        return Cell(failed, tone="bad", prose=True) if failed else MISSING
    collapsed = COLLAPSED + ("" if row.seeds == 1 else f" {row.collapsed}/{row.seeds}") if row.collapsed else ""
    notes = (f"{COLLAPSED} collapsed {row.collapsed} of {row.seeds}" if row.collapsed else "", failed)
    return Cell(
        *_value(row, row.noise, result.unit),
        compared.verdict(row),
        compared.star(row),
        " ".join(filter(None, (collapsed, failed))),
        tuple(filter(None, notes)),
        Cell(*_value(row.balanced, row.noise, result.unit), label="balanced") if row.balanced else None,
        strong=row.best,
    )


def _value(value: Value, noise: str, unit: str) -> tuple[str, str, str]:
    """The mean, its interval and its drop."""
    mean = "–" if value.mean is None else compared.number(value.mean, unit)
    return mean, compared.interval(value, unit), compared.drop(value, noise, unit)


def _chance(result: Comparison, dataset: int) -> Iterator[tuple[str, Cell]]:
    """What answering one class always scores, where it is known."""
    photos = result.datasets[dataset]
    facts, beneath = facts_of(result.metric), None
    if facts.chance is None:
        return
    has_balanced = any(row.balanced for row in result.rows if row.dataset == dataset)
    if has_balanced and facts.beneath and (balanced := facts_of(facts.beneath).chance):
        beneath = Cell(compared.number(balanced.of(photos.test_counts), result.unit), label="balanced")
    yield facts.chance.name, Cell(compared.number(facts.chance.of(photos.test_counts), result.unit), beneath=beneath)


def _tolerance(line: Tolerated | None, is_oracle: bool) -> Cell | None:
    if line is None or line.tolerance is None:
        return None
    rate, interval = compared.rate(line.tolerance)
    if line.collapsed:
        return Cell(rate, interval, trouble=COLLAPSED, notes=(f"{COLLAPSED} collapsed",), prose=True)
    return Cell(rate, interval, star=ORACLE if is_oracle else "", prose=True)


# Published figures


def beside(result: Comparison) -> Table:
    """What the first experiment published, and what is found here."""
    return Table(
        (TableColumn("first experiment"), *columns("published, %", "here, %", numeric=True), TableColumn("")),
        tuple(
            (Cell(row.label), Cell(_range(row.published)), Cell(_range(row.ours)), _collapsed(row))
            for row in result.beside
        ),
    )


def _collapsed(row: PublishedResult) -> Cell:
    if not row.collapsed:
        return Cell("")
    return Cell(f"{COLLAPSED} {row.collapsed} of {row.runs} collapsed", strong=True, tone="bad")


def _range(shares: tuple[float, float]) -> str:
    low, high = (f"{100 * share:.2f}" for share in shares)
    return low if low == high else f"{low} to {high}"
