"""Comparisons as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence

import msgspec

from flowernoise.catalogue.metrics import facts_of
from flowernoise.catalogue.sources import label_words
from flowernoise.show import compared
from flowernoise.show.compared import Value
from flowernoise.store.records import CONTROL, Column, Comparison, Condition, RateInterval, Row, Tolerated
from flowernoise.store.setups import SETTINGS, settings

SCHEMA = 1
MOST_COLUMNS = 6  # losses side by side in Markdown
FIELDS = (
    "noise",
    "rate",
    "realised_rate",
    "loss",
    "seeds",
    "values",
    "mean",
    "ci_low",
    "ci_high",
    "drop",
    "collapsed",
    "failed",
    "best",
    "tied",
    "oracle",
)
DIFFERENCE = ("difference", "difference_low", "difference_high", "p_value", "p_holm", "test", "common_seeds", "verdict")


def as_json(result: Comparison) -> str:
    """The object of ``compare --json``; shares are fractions, what is not there is null.

    It is the same for one directory and for several: rows and tolerated rates name their directory and data set, and
    ``majority`` and ``select`` are null where data sets have different ones.
    """
    plain: dict[str, object] = {
        "schema": SCHEMA,
        "metric": result.metric,
        "select": result.select,
        "majority": result.majority,
        "rows": [_row(result, row) for row in result.rows],
        "unit": result.unit,
        "better": result.better,
        "baseline": result.baseline,
        "delta": result.delta,
        "tolerated": [_tolerated(result, line) for line in result.tolerated],
        "datasets": [
            {
                "name": photos.name,
                "source": photos.source,
                "classes": photos.classes,
                "test_photos": photos.test_counts,
                "majority": photos.majority,
                "select": photos.select,
            }
            for photos in result.datasets
        ],
        "notes": result.notes,
    }
    text = json.dumps(plain, allow_nan=False, ensure_ascii=False)
    return msgspec.json.format(text, indent=1) + "\n"  # json's own indenting is many times slower


def _row(result: Comparison, row: Row) -> dict[str, object]:
    fields = _fields(row) | _difference(row)
    if row.balanced:
        fields["balanced_accuracy"] = row.balanced.mean
    return fields | {"directory": result.directories[row.directory], "dataset": result.datasets[row.dataset].name}


def _fields(row: Row) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name in FIELDS:
        fields[name] = getattr(row, name)
        if name == "loss":
            fields |= settings(row.setup)
    fields["values"] = list(row.values)
    return fields


def _difference(row: Row) -> dict[str, object]:
    """How a row differs from the baseline; null where it was not tested."""
    found = row.difference
    if found is None:
        return dict.fromkeys(DIFFERENCE)
    values = (found.mean, found.low, found.high, found.p, found.p_holm, found.test, found.seeds, found.verdict)
    return dict(zip(DIFFERENCE, values, strict=True))


def _tolerated(result: Comparison, line: Tolerated) -> dict[str, object]:
    return {
        "noise": line.noise,
        "loss": line.loss,
        **settings(line.setup),
        "tolerance": _rate(line.tolerance),
        "crossover": _rate(line.crossover),
        "collapsed": line.collapsed,
        "directory": result.directories[line.directory],
        "dataset": result.datasets[line.dataset].name,
    }


def _rate(estimate: RateInterval | None) -> dict[str, object] | None:
    if estimate is None:
        return None
    plain: dict[str, object] = {"rate": estimate.point.rate, "censoring": estimate.point.censoring}
    for name, bound in (("low", estimate.low), ("high", estimate.high)):
        plain[name] = {"rate": bound.rate, "censoring": bound.censoring}
    return plain


def as_csv(result: Comparison) -> str:
    """A row a cell, with a header; lists (the values of the seeds, grids) in one field, separated by spaces.

    Beside the fields of a row: which directory, metric and epoch it is of, how it differs from the baseline, the
    majority score, and balanced accuracy where the task is binary and the metric accuracy.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    place = FIELDS.index("loss") + 1
    fields_of_rows = (*FIELDS[:place], "backbone", "mode", *SETTINGS, *FIELDS[place:])
    header = ("directory", "metric", "select", *fields_of_rows, *DIFFERENCE, "balanced_accuracy", "majority", "dataset")
    writer.writerow(header)
    for row in result.rows:
        photos = result.datasets[row.dataset]
        fields = _row(result, row) | {
            "metric": result.metric,
            "select": photos.select,
            "majority": photos.majority,
            "values": " ".join(repr(value) for value in row.values),
            "learning_rate": " ".join(map(repr, row.setup.learning_rates)),
            "l2": " ".join(map(repr, row.setup.l2)),
        }
        writer.writerow(["" if (value := fields.get(name)) is None else value for name in header])
    return text.getvalue()


def as_markdown(result: Comparison) -> str:
    """A Markdown table, a row a noise and rate, a column a loss; best in bold, the majority score below.

    Where there are more losses than a page has room for side by side, a row a loss. Data sets come one after another.
    """
    parts = [part for dataset in range(len(result.datasets)) for part in _section(result, dataset)]
    signs = compared.legend(result)
    return "\n\n".join([*parts, *([" · ".join(signs)] if signs else []), *result.notes]) + "\n"


def _section(result: Comparison, dataset: int) -> Iterator[str]:
    photos = result.datasets[dataset]
    words = label_words(photos.source)
    cells = {(row.condition, row.column): row for row in result.rows if row.dataset == dataset}
    columns = [column for column in result.columns if any(column == of for _, of in cells)]
    conditions = [condition for condition in result.conditions if any(condition == of for of, _ in cells)]
    lines = {(line.noise, line.column): line for line in result.tolerated if line.dataset == dataset and line.tolerance}
    noises = list(dict.fromkeys(noise for noise, _ in lines))
    yield (
        f"{photos.name}: {compared.measure(result)}, {photos.select} epoch, {compared.seeds(result)} on "
        f"{words.test_photos(sum(photos.test_counts))}"
    )
    varying = compared.varying(columns)
    losses = [compared.column_name(column, varying) for column in columns]
    heads = [_condition(condition, cells) for condition in conditions] + [f"tolerated: {noise}" for noise in noises]
    shown = [[_cell(result, cells.get((condition, column))) for column in columns] for condition in conditions]
    shown += [[_tolerance(lines.get((noise, column))) for column in columns] for noise in noises]
    if len(losses) > MOST_COLUMNS:
        yield _table("loss", heads, losses, list(zip(*shown, strict=True)))
    else:
        yield _table(f"noise, rate, {words.wrong} labels", losses, heads, shown)
    if noises:
        yield f"tolerated: share of {words.wrong} labels, {compared.tolerance(result)}"
    facts = facts_of(result.metric)
    if facts.chance:
        balanced = ""
        if facts.beneath and (chance := facts_of(facts.beneath).chance) and _has_balanced(result, dataset):
            balanced = f", balanced {compared.number(chance.of(photos.test_counts), result.unit)}"
        yield f"{facts.chance.name}: {compared.number(facts.chance.of(photos.test_counts), result.unit)}{balanced}"


def _has_balanced(result: Comparison, dataset: int) -> bool:
    return any(row.balanced for row in result.rows if row.dataset == dataset)


def _condition(condition: Condition, cells: dict[tuple[Condition, Column], Row]) -> str:
    noise, rate = condition
    wrong = compared.wrong_labels([row for (of, _), row in cells.items() if of == condition])
    return "control" if noise == CONTROL else f"{noise} {rate:g} ({wrong})"


def _table(corner: str, heads: Sequence[str], names: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [f"| {corner} | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    lines += [f"| {name} | " + " | ".join(row) + " |" for name, row in zip(names, cells, strict=True)]
    return "\n".join(lines)


def _cell(result: Comparison, row: Row | None) -> str:
    if row is None:
        return "–"
    if row.mean is None:
        return "failed" if row.failed else "–"
    mean = compared.number(row.mean, result.unit)
    parts = [f"**{mean}**" if row.best else mean, *_around(row, row.noise, result.unit)]
    parts += [compared.verdict(row), compared.star(row)]
    text = " ".join(filter(None, parts))
    if row.balanced is not None and row.balanced.mean is not None:
        text += f", balanced {compared.number(row.balanced.mean, result.unit)}"
    text += f" (collapsed {row.collapsed} of {row.seeds})" if row.collapsed else ""
    return text + (f" ({row.failed} failed)" if row.failed else "")


def _around(value: Value, noise: str, unit: str) -> tuple[str, str]:
    return compared.interval(value, unit), compared.drop(value, noise, unit)


def _tolerance(line: Tolerated | None) -> str:
    if line is None or line.tolerance is None:
        return "–"
    return compared.rate(line.tolerance) + (" (collapsed)" if line.collapsed else "")
