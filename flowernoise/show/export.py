"""Comparisons as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from flowernoise.show.table import CellLike, ComparisonLike

SCHEMA = 1
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
    """A row a cell, with a header; the values of the seeds in one field, separated by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in result.rows:
        fields = _fields(row) | {"values": " ".join(repr(value) for value in _fields(row)["values"])}
        writer.writerow(["" if fields[name] is None else fields[name] for name in FIELDS])
    return text.getvalue()


def as_markdown(result: ComparisonLike) -> str:
    """A Markdown table, a row a noise and rate, a column a loss; best in bold."""
    columns = sorted({(r.loss, r.backbone, r.mode) for r in result.rows}, key=lambda c: (c[1:], c[0] != "ce", c[0]))
    cells = {((row.noise, row.rate), (row.loss, row.backbone, row.mode)): row for row in result.rows}
    conditions = sorted(
        dict.fromkeys(condition for condition, _ in cells), key=lambda condition: condition[0] != "none"
    )
    one_kind = len({column[1:] for column in columns}) == 1
    heads = [loss if one_kind else f"{loss} ({backbone}, {mode})" for loss, backbone, mode in columns]
    lines = [
        f"{result.metric} in %, mean [95 % interval] on {sum(result.test_counts)} test photos, {result.select}; "
        f"majority {100 * result.majority:.1f}",
        "",
        "| noise | rate | wrong labels | " + " | ".join(heads) + " |",
        "|---|---:|---:|" + "---|" * len(heads),
    ]
    for condition in conditions:
        found = [cells.get((condition, column)) for column in columns]
        realised = next(row.realised_rate for row in found if row is not None)
        noise, rate = condition
        name = "control" if noise == "none" else noise
        shown = " | ".join("–" if row is None else _markdown_cell(row) for row in found)
        lines.append(f"| {name} | {rate:g} | {100 * realised:.1f} % | {shown} |")
    return "\n".join([*lines, *(f"\n{note}" for note in result.notes)]) + "\n"


def _markdown_cell(row: CellLike) -> str:
    if row.mean is None:
        return "failed" if row.failed else "–"
    text = f"{100 * row.mean:.1f}"
    text = f"**{text}**" if row.best else text
    if row.ci_low is not None and row.ci_high is not None:
        text += f" [{100 * row.ci_low:.1f}–{100 * row.ci_high:.1f}]"
    return text + (" (collapsed)" if row.collapsed else "")


def _fields(row: CellLike) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in FIELDS}
    fields["values"] = list(fields["values"])
    return fields
