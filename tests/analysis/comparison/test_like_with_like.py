"""The real command, trained in several ways in one directory: what is set side by side is alike, and said to be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.command_server import CommandServer, Ended
from tests.reliability.fakes import write_photos

POINT = ("--backbone", "tiny", "--l2", "0")
SHORT = (*POINT, "--epochs", "1", "--learning-rate", "1e-5")
LONG = (*POINT, "--epochs", "30", "--learning-rate", "1e-2")
Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def drawn(real_commands: CommandServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos and an artifacts directory in which they are prepared and their labels drawn."""
    work = tmp_path_factory.mktemp("drawn")
    write_photos(work / "photos", 60)
    for words in (("prepare", "photos", "--image-size", "16"), ("corrupt", "--rates", "0.3,0.5", "--seeds", "3")):
        assert real_commands.run(*words, "-a", "artifacts", cwd=work).returncode == 0
    return work


@pytest.fixture
def work(drawn: Path, tmp_path: Path) -> Path:
    return shutil.copytree(drawn, tmp_path / "work")


@pytest.fixture
def call(real_commands: CommandServer, work: Path) -> Command:
    """A command in the directory, its exit code checked."""

    def run(*words: object, code: int = 0) -> Ended:
        ended = real_commands.run(*words, "-a", "artifacts", cwd=work)
        assert ended.returncode == code, ended.stderr
        return ended

    return run


def table(call: Command, *words: object) -> dict[str, Any]:
    return json.loads(call("compare", "--json", *words).stdout)


def contents(work: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (work / "artifacts" / "runs").iterdir()}


def trained_both_ways(call: Command) -> None:
    call("train", "--loss", "ce", *SHORT)
    call("train", "--loss", "mae", *LONG)
    call("evaluate")


def test_what_was_trained_differently_takes_no_mark(call, work):
    call("train", "--loss", "ce", *SHORT)
    before = contents(work)
    call("train", "--loss", "mae", *LONG)
    call("evaluate")
    assert before.items() <= contents(work).items()
    rows = table(call)["rows"]
    assert {(row["loss"], row["epochs"], tuple(row["learning_rate"])) for row in rows} == {
        ("ce", 1, (1e-5,)),
        ("mae", 30, (1e-2,)),
    }
    assert not any(row["best"] or row["tied"] or row["p_value"] for row in rows)
    text = call("compare").stdout.decode()
    assert "ce · epochs 1" in text
    assert "mae · epochs 30" in text
    assert not any(mark in text for mark in "★☆+−")
    call("verify")


def test_a_longer_training_adds_runs_and_is_compared_on_purpose(call, work):
    trained_both_ways(call)
    call("train", "--loss", "ce", *LONG)
    call("evaluate")
    assert {row["epochs"] for row in table(call)["rows"]} == {30}
    assert "Not shown: ce trained with epochs 1" in call("compare").stdout.decode()
    both = table(call, "--where", "epochs=1", "--where", "epochs=30")["rows"]
    assert {(row["loss"], row["epochs"]) for row in both} == {("ce", 1), ("ce", 30), ("mae", 30)}
    tested = {(row["loss"], row["epochs"]) for row in both if row["p_value"] is not None}
    assert tested == {("ce", 30), ("mae", 30)}, "the group's baseline against the first one's"
    by_grid = table(call, "--where", "learning_rate=0.00001,loss=ce")["rows"]
    assert {row["epochs"] for row in by_grid} == {1}
    after = contents(work)
    for words in (SHORT, LONG):
        assert b"0 runs trained" in call("train", "--loss", "ce", *words).stdout
    assert contents(work) == after
    assert {row["epochs"] for row in table(call)["rows"]} == {30}, "asking for what is there moves nothing"


def test_a_retraining_that_is_half_done_never_shares_a_cell_with_what_was_there(call, work):
    call("corrupt", "--rates", "0.3", "--seeds", "4")
    call("train", "--loss", "ce", *SHORT)
    shutil.copytree(work / "artifacts" / "runs", work / "whole")
    call("train", "--loss", "ce", *LONG)
    blocks = sorted((work / "artifacts" / "runs").glob("*.json"))
    for path in [path for path in blocks if not (work / "whole" / path.name).exists()][1:]:
        path.unlink()  # as if it had been interrupted after the first block
    call("evaluate")
    seeds = {
        (row["epochs"], row["seeds"]) for row in table(call, "--where", "epochs=1", "--where", "epochs=30")["rows"]
    }
    assert {(epochs, count) for epochs, count in seeds if epochs == 30} == {(30, 1)}
    assert {count for epochs, count in seeds if epochs == 1} == {3, 4}


def test_a_where_without_a_match_is_a_wrong_request(call):
    trained_both_ways(call)
    for name in ("compare", "plot", "report", "preview", "remove"):
        ended = call(name, "--where", "epochs=7", code=2)
        assert ended.stderr.strip().startswith("error: --where epochs=7: no run has epochs=7; there are: 1, 30")
        assert not ended.stdout


def test_pictures_report_and_preview_show_what_where_picks(call, work):
    trained_both_ways(call)
    call("train", "--loss", "ce", *LONG)
    call("evaluate")
    files = json.loads(call("plot", "accuracy", "--where", "epochs=1", "--json").stdout)["files"]
    assert [Path(each["path"]).name for each in files] == ["accuracy.png"]
    files = json.loads(call("plot", "accuracy", "--where", "epochs=1", "--where", "epochs=30", "--json").stdout)[
        "files"
    ]
    assert len({each["path"] for each in files}) == 2
    assert all("epochs" in each["path"] for each in files)
    assert "--where does not apply to transition" in call("plot", "transition", "--where", "epochs=1", code=2).stderr
    sheets = json.loads(call("preview", "--where", "epochs=1", "--json").stdout)["sheets"]
    assert {sheet["loss"] for sheet in sheets if sheet["kind"] == "mistakes"} == {"ce"}
    call("report", "--where", "epochs=1")
    text = (work / "artifacts" / "report.md").read_text()
    assert "--epochs 1 " in text
    assert "--epochs 30 " not in text
    assert "report --metric accuracy --where epochs=1" in text


def test_run_shows_the_settings_it_was_asked_for(real_commands, work):
    def run(epochs: int) -> list[dict[str, Any]]:
        words = ("run", "photos", "--image-size", 16, "--rates", 0.3, "--seeds", 3, "--loss", "ce", *POINT)
        ended = real_commands.run(*words, "--epochs", epochs, "--json", "-a", "artifacts", cwd=work)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)["rows"]

    for epochs in (1, 2, 1):
        assert {row["epochs"] for row in run(epochs)} == {epochs}


def test_published_figures_stand_beside_the_settings_of_the_preset_only(real_commands, tmp_path):
    write_photos(tmp_path / "photos", 90)
    sizes = ("--positive", "roses", "--train", 60, "--val", 0, "--test", 30, "--image-size", 16)

    def call(*words: object) -> str:
        ended = real_commands.run(*words, "-a", "artifacts", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.decode()

    assert "published, %" in call("run", "photos", "--preset", "seed", *sizes, "--backbone", "tiny")
    call("train", "--backbone", "tiny", "--epochs", 6)
    call("evaluate")
    assert "published, %" not in call("compare")
    assert "published, %" in call("compare", "--where", "epochs=5")


def test_remove_lists_and_then_removes_what_where_picks_and_nothing_else(call, work):
    trained_both_ways(call)
    before = contents(work)
    ended = call("remove", "--where", "noise=symmetric,rate=0.3,epochs=1")
    assert "nothing has been removed; add --yes to remove these runs" in ended.stderr
    assert contents(work) == before
    removed = json.loads(call("remove", "--where", "noise=symmetric,rate=0.3,epochs=1", "--yes", "--json").stdout)
    assert (removed["removed"], removed["bytes"] > 0) == (True, True)
    [of] = removed["runs"]
    assert (of["loss"], of["rate"], of["epochs"], of["runs"]) == ("ce", 0.3, 1, 3)
    call("evaluate")
    call("verify")
    left = {(row["loss"], row["rate"]): row["values"] for row in table(call)["rows"]}
    assert set(left) == {("ce", 0.0), ("ce", 0.5), ("mae", 0.0), ("mae", 0.3), ("mae", 0.5)}
    call("train", "--loss", "ce", *SHORT)
    call("evaluate")
    again = {(row["loss"], row["rate"]): row["values"] for row in table(call)["rows"]}
    assert left.items() <= again.items()
    call("remove", "--where", "loss=ce", "--where", "loss=mae", "--yes")
    assert contents(work) == {}
    assert "artifacts has no runs" in call("remove", "--where", "loss=ce", "--yes", code=2).stderr


def test_remove_wants_to_be_told_what(call):
    assert "say which runs with --where" in call("remove", "--yes", code=2).stderr


def test_status_shows_what_each_set_of_settings_takes(call, work):
    trained_both_ways(call)
    plain = json.loads(call("status", "--json").stdout)
    assert [(each["epochs"], each["runs"]) for each in plain["setups"]] == [(1, 9), (30, 9)]
    assert sum(each["bytes"] for each in plain["setups"]) == sum(map(len, contents(work).values()))
    assert {(each["loss"], each["epochs"]) for each in plain["runs"]} == {("ce", 1), ("mae", 30)}
    text = call("status").stdout.decode()
    assert "9 runs: tiny, features, epochs 1, learning_rate 1e-05" in text


def test_a_loss_that_is_given_the_true_matrix_is_marked(call):
    call("train", "--loss", "ce", "--loss", "mae", "--loss", "forward:T=true", *LONG)
    call("evaluate")
    rows = table(call)["rows"]
    assert {row["loss"] for row in rows if row["oracle"]} == {"forward:T=true"}
    assert not any(row["best"] or row["tied"] for row in rows if row["oracle"])
    text = call("compare").stdout.decode()
    assert "† given the true transition matrix, which nobody has, so never marked as best" in text
    assert "†" in call("compare", "--format", "markdown").stdout.decode()
    call("report")


def test_an_oracle_that_is_not_there_is_a_wrong_request(call):
    call("prepare", "photos", "--image-size", "16", "--train", "40", "--test", "12")
    call("corrupt", "--rates", "0.3", "--seeds", "1")
    call("train", "--loss", "ce", *SHORT)
    call("evaluate")
    ended = call("compare", "--select", "oracle", code=2)
    assert ended.stderr.strip() == "error: --select oracle: no run has it (without val); use --select last"
    plain = table(call, "--select", "selected")
    assert plain["select"] == "last"
    assert any("Without a validation split nothing can be selected" in note for note in plain["notes"])


def test_records_of_the_schema_before_are_refused_and_left_as_they_are(call, work):
    path = work / "artifacts" / "dataset.json"
    old = path.read_bytes().replace(b'"schema": 4', b'"schema": 2')
    path.write_bytes(old)
    for name in ("corrupt", "train", "evaluate", "compare"):
        ended = call(name, code=1)
        assert "dataset.json has schema 2, but this flowernoise reads 4; use the version that wrote it" in ended.stderr
        assert len(ended.stderr.strip().splitlines()) == 1
    assert path.read_bytes() == old


def test_run_shows_and_tests_what_it_was_asked_for_alone(commands, work):
    def run(*words: object) -> list[dict[str, Any]]:
        usual = ("run", "photos", "--image-size", 16, "--seeds", 3, *POINT, "--epochs", 1, "--json", "-a", "artifacts")
        ended = commands.run(*usual, *words, cwd=work)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)["rows"]

    first = run("--rates", 0.3, "--loss", "ce", "--loss", "mae")
    everything = run("--rates", "0.3,0.4", "--loss", "ce", "--loss", "gce", "--loss", "elr", "--loss", "mae")
    assert len(everything) == 12
    assert run("--rates", 0.3, "--loss", "ce", "--loss", "mae") == first, "the same tests, with the same p"
    assert {row["loss"] for row in run("--rates", 0.4, "--loss", "gce", "--loss", "elr")} == {"gce", "elr"}
    assert {row["noise"] for row in run("--rates", 0, "--loss", "ce")} == {"none"}
    assert {row["rate"] for row in run("--rates", 0.4, "--loss", "ce", "--rows", 0.3)} == {0.0, 0.3}
