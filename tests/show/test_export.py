"""Comparisons as JSON, CSV and Markdown: golden files (see conftest.py), and that they read back."""

import csv
import dataclasses
import io
import json

import pytest

from flowernoise.show import export
from flowernoise.show.export import as_csv, as_json, as_markdown

IDENTITY = ["noise", "rate", "realised_rate", "loss", "backbone", "mode"]
FIELDS = [*IDENTITY, "seeds", "values", "mean", "ci_low", "ci_high", "drop", "collapsed", "failed"]


@pytest.mark.parametrize(("export", "suffix"), [(as_json, "json"), (as_csv, "csv"), (as_markdown, "md")])
def test_export_is_as_in_the_golden_file(name, comparison, export, suffix, check_golden):
    check_golden(f"{name}.{suffix}", export(comparison))


def test_json_has_exactly_the_promised_keys_and_no_nan(name, comparison):
    plain = json.loads(as_json(comparison), parse_constant=pytest.fail)
    assert list(plain) == ["schema", "metric", "select", "majority", "rows"]
    expected = FIELDS + ["balanced_accuracy"] * (name == "first_experiment")
    assert [list(row) for row in plain["rows"]] == [expected] * len(comparison.rows)


def test_json_refuses_what_is_no_number(made):
    result = made("five_losses")
    spoiled = dataclasses.replace(result, rows=(dataclasses.replace(result.rows[0], mean=float("nan")),))
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json(spoiled)


def test_csv_reads_back_as_the_rows(comparison):
    read = list(csv.DictReader(io.StringIO(as_csv(comparison))))
    assert list(read[0]) == ["directory", "metric", "select", *FIELDS, "balanced_accuracy", "majority"]
    for got, row in zip(read, comparison.rows, strict=True):
        assert (got["noise"], got["loss"], got["directory"]) == (row.noise, row.loss, "artifacts")
        assert tuple(float(value) for value in got["values"].split()) == row.values
        for field in ("rate", "realised_rate", "mean", "ci_low", "ci_high", "drop"):
            assert (float(got[field]) if got[field] else None) == getattr(row, field)
        for field in ("seeds", "collapsed", "failed"):
            assert int(got[field]) == getattr(row, field)
        assert float(got["majority"]) == comparison.majority


def test_csv_holds_balanced_accuracy_of_binary_tasks(made):
    result = made("first_experiment")
    read = list(csv.DictReader(io.StringIO(as_csv(result))))
    assert [float(row["balanced_accuracy"]) for row in read] == [row.mean for row in result.balanced]
    assert {row["balanced_accuracy"] for row in csv.DictReader(io.StringIO(as_csv(made("five_losses"))))} == {""}


def test_every_line_of_the_markdown_table_has_as_many_cells(comparison):
    table = [line for line in as_markdown(comparison).splitlines() if line.startswith("|")]
    losses = {row.loss for row in comparison.rows}
    assert {line.count("|") for line in table} == {len(losses) + 2}


def test_many_losses_become_rows_with_the_same_cells(made, monkeypatch):
    result = made("five_losses")
    upright = [line.split(" | ") for line in as_markdown(result).splitlines() if line.startswith("| ")]
    monkeypatch.setattr(export, "MOST_COLUMNS", 2)
    turned = [line.split(" | ") for line in as_markdown(result).splitlines() if line.startswith("| ")]
    cells = [[cell.strip("| ") for cell in row[1:]] for row in upright[1:]]
    assert [[cell.strip("| ") for cell in row[1:]] for row in turned[1:]] == [
        list(row) for row in zip(*cells, strict=True)
    ]
    assert [row[0].strip("| ") for row in turned[1:]] == [head.strip("| ") for head in upright[0][1:]]


def test_markdown_shows_majority_and_best_and_never_hides_a_collapse(made):
    text = as_markdown(made("first_experiment"))
    assert "majority: 83.0, balanced 50.0" in text
    assert "**94.0** [92.0–96.0], balanced 84.0" in text
    assert "83.0 [81.0–85.0], balanced 50.0 (collapsed 1 of 1)" in text
    assert "majority" not in as_markdown(dataclasses.replace(made("five_losses"), metric="memorised"))
