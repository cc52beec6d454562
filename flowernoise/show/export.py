"""Comparisons as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Sequence
from typing import Any

from flowernoise.show.table import CellLike, ComparisonLike

SCHEMA = 1
MOST_COLUMNS = 6  # losses side by side in Markdown
FIELDS = (
    "noise",
    "rate",
    "realised_rate",
    "loss",
    "backbone",
    "mode",
    "seeds",
    "values",
    "mean",
    "ci_low",
    "ci_high",
    "drop",
    "collapsed",
    "failed",
)


def as_json(result: ComparisonLike) -> str:
    """The object of ``compare --json``; shares are fractions, what is not there is null."""
    plain: dict[str, Any] = {
        "schema": SCHEMA,
        "metric": result.metric,
        "select": result.select,
        "majority": result.majority,
        "rows": [_fields(row) for row in result.rows],
    }
    if result.balanced:
        for row, balanced in zip(plain["rows"], result.balanced, strict=True):
            row["balanced_accuracy"] = balanced.mean
    return json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def as_csv(result: ComparisonLike) -> str:
    """A row a cell, with a header; the values of the seeds in one field, separated by spaces.

    Beside the fields of a row: which directory, metric and epoch it is of, the majority score, and balanced accuracy
    where the task is binary and the metric accuracy.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("directory", "metric", "select", *FIELDS, "balanced_accuracy", "majority"))
    for position, row in enumerate(result.rows):
        fields = _fields(row) | {"values": " ".join(repr(value) for value in _fields(row)["values"])}
        balanced = result.balanced[position].mean if result.balanced else None
        around = (result.directory, result.metric, result.select)
        values = (*around, *(fields[name] for name in FIELDS), balanced, result.majority)
        writer.writerow(["" if value is None else value for value in values])
    return text.getvalue()


def as_markdown(result: ComparisonLike) -> str:
    """A Markdown table, a row a noise and rate, a column a loss; best in bold, the majority score below.

    Where there are more losses than a page has room for side by side, a row a loss.
    """
    columns = sorted({(r.loss, r.backbone, r.mode) for r in result.rows}, key=lambda c: (c[1:], c[0] != "ce", c[0]))
    cells = {
        ((row.noise, row.rate), (row.loss, row.backbone, row.mode)): (row, balanced)
        for row, balanced in itertools.zip_longest(result.rows, result.balanced)
    }
    conditions = sorted(
        dict.fromkeys(condition for condition, _ in cells), key=lambda condition: condition[0] != "none"
    )
    one_kind = len({column[1:] for column in columns}) == 1
    losses = [loss if one_kind else f"{loss} ({backbone}, {mode})" for loss, backbone, mode in columns]
    realised = {condition: row.realised_rate for (condition, _), (row, _) in cells.items()}
    noises = [_condition(*condition, realised[condition]) for condition in conditions]
    shown = [
        [_markdown_cell(*cells[condition, column]) if (condition, column) in cells else "–" for column in columns]
        for condition in conditions
    ]
    title = (
        f"{result.source}: {result.metric} in %, {result.select} epoch, mean [95 % interval] on "
        f"{sum(result.test_counts)} clean test photos"
    )
    if len(losses) > MOST_COLUMNS:
        table = _markdown_table("loss", noises, losses, list(zip(*shown, strict=True)))
    else:
        table = _markdown_table("noise, rate, wrong labels", losses, noises, shown)
    return "\n".join([title, "", *table, *(f"\n{note}" for note in (*_majority(result), *result.notes))]) + "\n"


def _condition(noise: str, rate: float, realised: float) -> str:
    return "control" if noise == "none" else f"{noise} {rate:g} ({100 * realised:.1f} %)"


def _markdown_table(
    corner: str, heads: Sequence[str], names: Sequence[str], cells: Sequence[Sequence[str]]
) -> list[str]:
    lines = [f"| {corner} | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    return lines + [f"| {name} | " + " | ".join(row) + " |" for name, row in zip(names, cells, strict=True)]


def _majority(result: ComparisonLike) -> list[str]:
    if result.metric != "accuracy":
        return []
    balanced = f", balanced {_one_answer(result):.1f}" if result.balanced else ""
    return [f"majority: {100 * result.majority:.1f}{balanced}"]


def _markdown_cell(row: CellLike, balanced: CellLike | None) -> str:
    if row.mean is None:
        return "failed" if row.failed else "–"
    text = f"{100 * row.mean:.1f}"
    text = f"**{text}**" if row.best else text
    if row.ci_low is not None and row.ci_high is not None:
        text += f" [{100 * row.ci_low:.1f}–{100 * row.ci_high:.1f}]"
    if balanced is not None and balanced.mean is not None:
        text += f", balanced {100 * balanced.mean:.1f}"
    text += f" (collapsed {row.collapsed} of {row.seeds})" if row.collapsed else ""
    return text + (f" ({row.failed} failed)" if row.failed else "")


def _fields(row: CellLike) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in FIELDS}
    fields["values"] = list(fields["values"])
    return fields


def _one_answer(result: ComparisonLike) -> float:
    """Balanced accuracy, in %, of always answering one class."""
    return 100 / sum(count > 0 for count in result.test_counts)
