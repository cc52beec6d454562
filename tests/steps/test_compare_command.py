"""`compare` as it is run: its forms, its errors, and how long it takes over thousands of runs, start-up included."""

import csv
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

MEASURED = 0.5  # seconds for 5,000 runs compared before, 2 cores of an AMD EPYC; tests allow three times as much
MEASURED_OF_MANY = 1.0  # seconds for 102,500


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command with these arguments, in a pipe."""
    called = [sys.executable, "-m", "flowernoise", "compare", *map(str, arguments)]
    return subprocess.run(called, capture_output=True, text=True, timeout=120, check=False)


def printed(*arguments: str | Path) -> str:
    finished = command(*arguments)
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


def timed(*arguments: str | Path) -> tuple[float, str]:
    """Seconds that the command takes, and what it prints."""
    started = time.perf_counter()
    text = printed(*arguments)
    return time.perf_counter() - started, text


def test_json_by_either_option_is_the_same_object_and_the_same_again(sweep, tmp_path):
    root = sweep(tmp_path / "sweep")
    first = printed(root, "--json")
    assert first == printed(root, "--format", "json") == printed("-a", root, "--json")
    assert [row["loss"] for row in json.loads(first)["rows"]] == ["ce", "mae"] * 3


def test_several_directories_are_one_object_and_one_table(sweep, tmp_path):
    roots = [sweep(tmp_path / "heads"), sweep(tmp_path / "tuned", mode="finetune", losses=("ce", "gce"))]
    plain = json.loads(printed(*roots, "--json"))
    assert [(row["directory"], row["mode"]) for row in plain["rows"][:4]] == [
        (str(roots[0]), "features"),
        (str(roots[0]), "features"),
        (str(roots[1]), "finetune"),
        (str(roots[1]), "finetune"),
    ]
    table = printed(*roots)
    assert table.count("majority") == 1
    assert "resnet50 features, resnet50 finetune" in table
    assert "\x1b" not in table


def test_rows_columns_and_order_are_as_asked(sweep, tmp_path):
    root = sweep(tmp_path / "sweep", noises=("pairflip", "symmetric"), losses=("ce", "gce", "gce:q=0.5", "mae"))
    text = printed(root, "--rows", "symmetric,0.4", "--columns", "mae,gce:q=0.5", "--format", "csv")
    cells = [(row["noise"], row["rate"], row["loss"]) for row in csv.DictReader(io.StringIO(text))]
    assert cells == [
        ("none", "0.0", "mae"),
        ("none", "0.0", "gce:q=0.5"),
        ("symmetric", "0.4", "mae"),
        ("symmetric", "0.4", "gce:q=0.5"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rows", "pairflip"), "error: --rows: no run has 'pairflip'; there are: 0, 0.2, 0.4, none, symmetric\n"),
        (("--columns", "m"), "error: --columns: no run has 'm'"),
        (("--delta", "-2"), "error: --delta -2 must be at least 0 and below 100\n"),
        (("--delta", "few"), "error: --delta 'few' is not a number\n"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(sweep, tmp_path, arguments, message):
    finished = command(sweep(tmp_path / "sweep"), *arguments)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith(message)
    assert finished.stderr.count("\n") == 1


def test_five_thousand_runs_are_compared_at_once(five_thousand_runs):
    first, text = timed(five_thousand_runs, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert sum(int(row["seeds"]) for row in rows) == 5000
    assert all(float(row["ci_low"]) < float(row["mean"]) < float(row["ci_high"]) for row in rows)
    assert sum(row["p_holm"] != "" for row in rows) == 4 * 50
    again, same = min(timed(five_thousand_runs, "--format", "csv") for _ in range(3))
    table, _ = min(timed(five_thousand_runs) for _ in range(2))
    print(f"first {first:.2f} s, again {again:.2f} s, as a table {table:.2f} s")  # noqa: T201 (shown by pytest -s)
    assert same == text
    assert again < 3 * MEASURED
    assert table < 3 * MEASURED
    assert first < 10, "nothing kept yet: statistics of 250 cells"


@pytest.mark.slow
def test_a_hundred_thousand_runs_are_compared_at_once(hundred_thousand_runs):
    first, text = timed(hundred_thousand_runs, "--json")
    assert sum(row["seeds"] for row in json.loads(text)["rows"]) == 102_500
    again, same = min(timed(hundred_thousand_runs, "--json") for _ in range(3))
    print(f"first {first:.2f} s, again {again:.2f} s")  # noqa: T201 (shown by pytest -s)
    assert same == text
    assert again < 3 * MEASURED_OF_MANY
