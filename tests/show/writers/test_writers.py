"""Comparisons in every format: golden files (see conftest.py), and that they read back."""

import csv
import io
import json
import re
from pathlib import Path

import msgspec
import pytest

from flowernoise.options import fields_of
from flowernoise.show import writers
from flowernoise.show.comparison import document
from flowernoise.show.document import (
    Bullets,
    Cell,
    Document,
    Facts,
    Figure,
    Heading,
    Notes,
    Paragraph,
    Records,
    Table,
    TableColumn,
    Verbatim,
)
from flowernoise.show.writers import json_, markdown
from flowernoise.steps.settings import TableSettings
from flowernoise.store.setups import SETTINGS

IDENTITY = ["noise", "rate", "realised_rate", "loss", "backbone", "mode", *SETTINGS]
OF_DESIGN = [*IDENTITY, "seeds", "values", "mean", "ci_low", "ci_high", "drop", "collapsed"]
MARKS = ["failed", "best", "tied", "oracle", "value_seeds"]
TOLERATED = ["tolerated", "tolerated_low", "tolerated_high", "tolerated_censoring"]
DIFFERENCE = ["difference", "difference_low", "difference_high", "p_value", "p_holm", "test", "common_seeds", "verdict"]


def written(comparison, form: str) -> str:
    return writers.named(form).write(document(comparison))


def as_json(comparison) -> str:
    return written(comparison, "json")


def as_csv(comparison) -> str:
    return written(comparison, "csv")


def as_markdown(comparison) -> str:
    return written(comparison, "markdown")


@pytest.mark.parametrize("form", sorted({*writers.FORMATS} - {"table"}))  # a table has widths, see test_table.py
def test_a_comparison_is_as_in_the_golden_file(name, comparison, form, check_golden):
    text = re.sub(r"(?s)<style>.*</style>\n", "", written(comparison, form))
    check_golden(f"{name}{writers.named(form).suffixes[0]}", text)


@pytest.mark.parametrize("form", writers.FORMATS)
def test_a_format_is_a_choice_of_the_command_line_and_writes_every_block(form):
    [choices] = [field.choices for field in fields_of(TableSettings) if field.name == "format"]
    assert form in choices
    writer = writers.named(form)
    assert writer.name == form
    assert all(Path(f"x{suffix}").suffix == suffix for suffix in writer.suffixes)
    table = Table(
        (TableColumn("h1"), TableColumn("h2", "h3")),
        ((Cell("c1"), Cell("c2")),),
        "t1",
        (Cell("c3"), Cell("c4")),
        ("n1",),
    )
    blocks = (Heading("b1", "b1"), Paragraph("b2"), Facts(("b3",), strong=True), Bullets(("b4",)), Notes(("b5",)))
    more = (Verbatim(("b6",)), Figure("b.svg", "image/svg+xml", b"", "alt", "b7"), table)
    records = Records(("r1",), (("r2",),))
    text = writer.write(Document((*blocks, *more), "title", "subtitle", {"r1": "r2"}, records))
    tokens = {"csv": ("r1", "r2"), "json": ("r1", "r2")}
    blocks_and_table = [*(f"b{k}" for k in range(1, 8)), "h1", "h2", "t1", "c1", "c2", "c3", "c4", "n1"]
    assert [token for token in tokens.get(form, blocks_and_table) if token not in text] == []


def test_names_of_the_standard_library_are_left_alone():
    assert "csv" in writers.FORMATS
    assert writers.named("csv").write.__name__ == "csv_"


def test_json_has_the_promised_keys_first_and_no_nan(comparison):
    plain = json.loads(as_json(comparison), parse_constant=pytest.fail)
    added = ["unit", "better", "baseline", "delta", "tolerated", "datasets", "notes"]
    assert list(plain) == ["schema", "metric", "select", "majority", "rows", *added]
    for got, row in zip(plain["rows"], comparison.rows, strict=True):
        balanced = ["balanced_accuracy"] * (row.balanced is not None)
        assert list(got) == [*OF_DESIGN, *MARKS, *DIFFERENCE, *balanced, "directory", "dataset"]


def test_json_tells_how_a_loss_differs_from_the_baseline(made):
    rows = json.loads(as_json(made("five_losses")))["rows"]
    [better] = [row for row in rows if row["verdict"] == "better"]
    assert (better["loss"], better["rate"], better["difference"], better["p_holm"]) == ("mae", 0.6, 0.235, 0.0001)
    assert {tuple(row[name] for name in DIFFERENCE) for row in rows if row["loss"] == "ce"} == {(None,) * 8}


def test_json_keeps_what_is_known_of_rates(made):
    tolerated = {line["loss"]: line for line in json.loads(as_json(made("five_losses")))["tolerated"]}
    assert tolerated["mae"]["tolerance"] == {
        "rate": 0.444,
        "censoring": "exact",
        "low": {"rate": 0.2512, "censoring": "exact"},
        "high": {"rate": 0.6, "censoring": "at_least"},
    }
    assert tolerated["elr"]["tolerance"]["censoring"] == "none"
    assert (tolerated["ce"]["crossover"], tolerated["mae"]["crossover"]["rate"]) == (None, 0.2)


def test_json_of_several_directories_names_the_directory_and_data_set_of_each_row(made):
    plain = json.loads(as_json(made("two_data_sets")))
    assert (plain["majority"], plain["select"]) == (None, None)
    assert [(each["name"], each["majority"], each["select"]) for each in plain["datasets"]] == [
        ("tf_flowers", 125 / 510, "selected"),
        ("tf_flowers, sunflowers or not", 0.83, "last"),
    ]
    assert [(row["directory"], row["dataset"]) for row in plain["rows"][4:6]] == [
        ("heads", "tf_flowers"),
        ("binary", "tf_flowers, sunflowers or not"),
    ]


def test_json_refuses_what_is_no_number(made):
    result = made("five_losses")
    spoiled_row = msgspec.structs.replace(result.rows[0], mean=float("nan"))
    spoiled = msgspec.structs.replace(result, rows=(spoiled_row, *result.rows[1:]))
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json(spoiled)


def test_csv_reads_back_as_the_rows(comparison):
    read = list(csv.DictReader(io.StringIO(as_csv(comparison))))
    around = ["directory", "metric", "select"]
    assert list(read[0]) == [
        *around, *OF_DESIGN, *MARKS, *DIFFERENCE, "balanced_accuracy", "majority", "dataset", *TOLERATED,
    ]  # fmt: skip
    for got, row in zip(read, comparison.rows, strict=True):
        photos = comparison.datasets[row.dataset]
        place = (got["noise"], got["loss"], got["directory"], got["dataset"])
        assert place == (row.noise, row.loss, comparison.directories[row.directory], photos.name)
        assert tuple(float(value) for value in got["values"].split()) == row.values
        for field in ("rate", "realised_rate", "mean", "ci_low", "ci_high", "drop"):
            assert (float(got[field]) if got[field] else None) == getattr(row, field)
        for field in ("seeds", "collapsed", "failed"):
            assert int(got[field]) == getattr(row, field)
        assert (got["best"], got["verdict"]) == (str(row.best), (row.difference and row.difference.verdict) or "")
        assert (float(got["majority"]), got["select"]) == (photos.majority, photos.select)


def test_csv_holds_what_is_tolerated_as_numbers(made):
    comparison = made("five_losses")
    lines = {(line.noise, line.loss): line.tolerance for line in comparison.tolerated if line.tolerance}
    assert lines
    for got in csv.DictReader(io.StringIO(as_csv(comparison))):
        known = lines.get((got["noise"], got["loss"]))
        bounds = [float(got[name]) if got[name] else None for name in TOLERATED[:3]]
        expected = [known.point.rate, known.low.rate, known.high.rate] if known else [None] * 3
        assert (bounds, got["tolerated_censoring"]) == (expected, known.point.censoring if known else "")


def test_csv_per_seed_has_a_row_for_each_run_and_numbers_alone(comparison):
    text = writers.named("csv").write(document(comparison, per_seed=True))
    read = list(csv.DictReader(io.StringIO(text)))
    assert len(read) == sum(len(row.values) for row in comparison.rows)
    expected = [(row.loss, seed, value) for row in comparison.rows for seed, value in enumerate(row.values)]
    assert [(got["loss"], int(got["seed"]), float(got["value"])) for got in read] == expected


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_json_is_json_under_every_encoding(encoding):
    text = json_.json_(Document((), data={"name": "gänseblümchen ∅ 🌻 \\ x"}))
    read = json.loads(json_.fitting(text, encoding).encode(encoding).decode(encoding))
    assert read == {"name": "gänseblümchen ∅ 🌻 \\ x"}


def test_csv_holds_balanced_accuracy_of_binary_tasks(made):
    result = made("first_experiment")
    read = list(csv.DictReader(io.StringIO(as_csv(result))))
    assert [float(row["balanced_accuracy"]) for row in read] == [row.balanced.mean for row in result.rows]
    assert {row["balanced_accuracy"] for row in csv.DictReader(io.StringIO(as_csv(made("five_losses"))))} == {""}


def test_every_line_of_a_markdown_table_has_as_many_cells(comparison):
    tables = [part.splitlines() for part in as_markdown(comparison).split("\n\n") if part.startswith("|")]
    assert len(tables) == len(comparison.datasets) + bool(comparison.beside)
    for table in tables:
        assert len({line.count("|") for line in table}) == 1


def test_many_losses_become_rows_with_the_same_cells(made, monkeypatch):
    result = made("five_losses")
    upright = [line.split(" | ") for line in as_markdown(result).splitlines() if line.startswith("| ")]
    monkeypatch.setattr(markdown, "MAX_COLUMNS", 2)
    turned = [line.split(" | ") for line in as_markdown(result).splitlines() if line.startswith("| ")]
    cells = [[cell.strip("| ") for cell in row[1:]] for row in upright[1:]]
    assert [[cell.strip("| ") for cell in row[1:]] for row in turned[1:]] == [
        list(row) for row in zip(*cells, strict=True)
    ]
    assert [row[0].strip("| ") for row in turned[1:]] == [head.strip("| ") for head in upright[0][1:]]


def test_markdown_shows_majority_and_marks_and_never_hides_a_collapse(made):
    text = as_markdown(made("first_experiment"))
    assert "majority: 83.0, balanced 50.0" in text
    assert "**94.0** [92.0–96.0] ↑1.0 ★, balanced 84.0" in text
    assert "83.0 [81.0–85.0] −, balanced 50.0 (✗ collapsed 1 of 1)" in text
    assert "majority" not in as_markdown(msgspec.structs.replace(made("five_losses"), metric="memorised"))


def test_markdown_shows_what_is_tolerated(made):
    text = as_markdown(made("five_losses"))
    cells = ["<20.0 % [<20.0–31.0]", "none", "44.4 % [25.1–≥60.0] (✗ collapsed)", "≥60.0 %", "–"]
    assert f"| tolerated: symmetric | {' | '.join(cells)} |" in text
    assert "\n\nadded wrong labels tolerated (at most 2 points below ce's control)\n\n" in text


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("a.csv", "csv"),
        ("a.b/c.MD", "markdown"),
        ("x.htm", "html"),
        ("t.txt", "table"),
        ("t.csv.gz", None),
        ("csv", None),
    ],
)
def test_the_suffix_of_a_file_names_its_format(path, form):
    assert writers.of_file(Path(path)) == form
