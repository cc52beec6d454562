"""The real command: contract of options, streams, exit codes, and what it leaves on disk.

It runs in a process of its own: a fresh one, or, where what is imported does not matter, one that a server forks.
"""

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import typer

from flowernoise import cli
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.noise import noise_models
from flowernoise.steps.list import REGISTRIES
from flowernoise.steps.settings import CompareSettings, CorruptSettings, PrepareSettings, TrainSettings
from tests.reliability.command_server import Before, CommandServer
from tests.reliability.fakes import write_photos
from tests.timing import assert_in_time, may_be_late

COMMANDS = ("prepare", "corrupt", "train", "evaluate", "compare", "run", "plot", "preview", "status")
TINY = ("--train", "20", "--val", "10", "--test", "10", "--image-size", "32")
TRAINED = ("--backbone", "efficientnet_lite0:weights=none", "--epochs", "2")
KERAS = {"FLOWERNOISE_ENGINE": "keras"}  # OpenVINO would convert the network first, which takes seconds
SLOW: Before = ("fault_injection", "slow_finetuning", {"seconds": 1.0})
STAGES = (
    ("prepare", "synthetic:photos=40,size=32", *TINY),
    ("corrupt", "--rates", "0.4", "--seeds", "2"),
    ("train", *TRAINED),
    ("evaluate",),
)


def flowernoise(
    *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flowernoise", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})}, cwd=cwd)


def mtimes(directory: Path) -> dict[str, int]:
    """Of all but the lock, which says nothing of what is there."""
    every = (path for path in directory.rglob("*") if "locks" not in path.parts)
    return {str(path.relative_to(directory)): path.stat().st_mtime_ns for path in every}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifacts directory in which every stage was run by its command, one after another, on 40 drawn photos."""
    directory = tmp_path_factory.mktemp("finished")
    for stage in STAGES:
        done = flowernoise(*stage, "--artifacts", str(directory))
        assert done.returncode == 0, done.stderr
    return directory


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_has_help(command: str) -> None:
    shown = flowernoise(command, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert command in shown.stdout
    group = typer.main.get_command(cli.app)
    assert all(parameter.help for parameter in group.commands[command].params if parameter.name != "help")
    for option in ("--artifacts", "--quiet", "--json", "--debug"):
        assert option in shown.stdout


def test_help_lists_what_is_registered() -> None:
    shown = flowernoise("run", "--help").stdout.split()
    words = {word.strip(",.;()").partition(":")[0] for word in shown}
    assert {entry.name for entry in losses} | {entry.name for entry in noise_models} <= words
    assert "{names}" not in " ".join(shown)


def test_defaults_in_the_help_are_those_of_the_steps() -> None:
    shown = " ".join(flowernoise("run", "--help").stdout.split())
    for option, default in (
        ("--epochs", "5"),
        ("--batch-size", "32"),
        ("--learning-rate", "0.0003,0.001,0.003; 0.001 without val; 0.0001,0.0003 with finetune"),
        ("--rates", "0.2,0.4,0.6"),
        ("--artifacts", "artifacts"),
    ):
        help = shown.partition(f"{option} ")[2].partition(" --")[0]
        assert f"[default: {default}]" in help


def test_without_a_command_it_shows_help() -> None:
    shown = flowernoise()
    assert shown.returncode == 0
    assert all(command in shown.stdout for command in COMMANDS)


def test_a_chain_by_hand_equals_run_and_a_second_run_touches_nothing(
    finished: Path, real_commands: CommandServer, tmp_path: Path
) -> None:
    options = ("synthetic:photos=40,size=32", *TINY, "--rates", "0.4", "--seeds", "2", *TRAINED)
    first = real_commands.run("run", *options, "-a", tmp_path, "--json", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    by_hand = flowernoise("compare", str(finished), "--json")
    by_run = first.stdout.decode()
    assert str(tmp_path) in by_run  # each row names its directory
    assert json.loads(by_run.replace(str(tmp_path), str(finished))) == json.loads(by_hand.stdout)
    digests = {
        json.loads(flowernoise("evaluate", "-a", str(directory), "--json").stdout)["digest"]
        for directory in (finished, tmp_path)
    }
    assert len(digests) == 1
    before = mtimes(tmp_path)
    second = flowernoise("run", *options, "-a", str(tmp_path), "--json")
    assert second.stdout == by_run
    assert "done already" in second.stderr
    assert mtimes(tmp_path) == before


def test_each_stage_says_that_it_is_done_and_touches_nothing(finished: Path) -> None:
    before = mtimes(finished)
    for stage in STAGES:
        again = flowernoise(*stage, "-a", str(finished))
        assert (again.returncode, f"{stage[0]}: done already" in again.stderr) == (0, True)
    assert mtimes(finished) == before


SWEEP = f"""
source = "synthetic:photos=40,size=32"
train = 20
val = 10
test = 10
image-size = 32
rates = [0.4]
seeds = 2
backbone = "{TRAINED[1]}"
epochs = 2
"""


def test_a_file_of_options_is_the_sweep_and_each_stage_takes_its_own(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP)
    before = mtimes(finished / "runs")
    done = flowernoise("run", "--config", "sweep.toml", "-a", str(finished), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    stages = ("prepare", "corrupt", "train", "evaluate")
    assert done.stderr.splitlines()[:4] == [f"{stage}: done already" for stage in stages]
    assert mtimes(finished / "runs") == before
    (tmp_path / "train.toml").write_text(f'backbone = "{TRAINED[1]}"\nepochs = 3\nartifacts = "{finished}"\n')
    stage = flowernoise("train", "--config", "train.toml", "--epochs", "2", cwd=tmp_path)
    assert (stage.returncode, "train: done already" in stage.stderr) == (0, True)


def test_nothing_that_is_done_imports_tensorflow(finished: Path) -> None:
    for stage in (("corrupt", "--rates", "0.4", "--seeds", "2"), ("train", *TRAINED), ("evaluate",), ("compare",)):
        code = (
            "import sys\nfrom flowernoise.__main__ import run\n"
            f"sys.argv = ['flowernoise', *{[*stage, '-a', str(finished), '-q']!r}]\n"
            "assert not run()\n"
            "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("stage", ["prepare", "corrupt", "train", "evaluate", "compare"])
def test_json_is_all_there_is_on_stdout(finished: Path, stage: str) -> None:
    options = {
        "prepare": ("synthetic:photos=40,size=32", *TINY),
        "corrupt": ("--rates", "0.4", "--seeds", "2"),
        "train": TRAINED,
    }
    shown = flowernoise(stage, *options.get(stage, ()), "-a", str(finished), "--json")
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["schema"] == 1


def test_the_comparison_keeps_the_contract(finished: Path) -> None:
    by_flag = flowernoise("compare", "-a", str(finished), "--json").stdout
    assert by_flag == flowernoise("compare", "-a", str(finished), "--format", "json").stdout
    shown = json.loads(by_flag)
    assert (shown["metric"], shown["select"], shown["majority"]) == ("accuracy", "selected", 0.2)
    assert {(row["noise"], row["rate"], row["loss"]) for row in shown["rows"]} == {
        (noise, rate, loss) for noise, rate in (("none", 0.0), ("symmetric", 0.4)) for loss in ("ce", "mae")
    }
    contract = {"noise", "rate", "realised_rate", "loss", "backbone", "mode", "seeds", "values", "mean", "ci_low"}
    contract |= {"ci_high", "drop", "collapsed"}
    for row in shown["rows"]:
        assert contract <= row.keys()
        assert (row["seeds"], len(row["values"])) == (2, 2)
        assert (row["backbone"], row["mode"]) == ("efficientnet_lite0:weights=none", "features")


def test_the_artifacts_directory_comes_from_the_environment(finished: Path) -> None:
    shown = flowernoise("compare", "--json", env={"FLOWERNOISE_ARTIFACTS": str(finished)})
    assert json.loads(shown.stdout)["rows"]


def test_the_default_directory_is_artifacts(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "FLOWERNOISE_ARTIFACTS"}
    command = [sys.executable, "-m", "flowernoise", "prepare", "synthetic:photos=40,size=16", "-q"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (tmp_path / "artifacts" / "dataset.json").is_file()


def test_output_goes_to_a_file(finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "table.csv"
    shown = flowernoise("compare", "-a", str(finished), "--format", "csv", "--output", str(target))
    assert (shown.returncode, shown.stdout) == (0, "")
    assert target.read_text().startswith("directory,metric,")


def test_a_missed_gate_is_one_line_after_the_table_and_exits_4(finished: Path) -> None:
    table = flowernoise("compare", "-a", str(finished)).stdout
    held = flowernoise("compare", "-a", str(finished), "--fail-under", "0", "--fail-under-low", "0")
    assert (held.returncode, held.stdout, held.stderr) == (0, table, "")
    missed = flowernoise("compare", "-a", str(finished), "--fail-under", "1")
    assert (missed.returncode, missed.stdout, missed.stderr.count("\n")) == (4, table, 1)
    assert "which misses --fail-under 1; 4 of the 4 matching cells miss it" in missed.stderr


def test_a_pipe_gets_no_escape_codes_and_no_progress(finished: Path) -> None:
    shown = flowernoise("compare", "-a", str(finished))
    assert "\x1b" not in shown.stdout + shown.stderr
    assert shown.stderr == ""


def test_quiet_keeps_stderr_empty(finished: Path) -> None:
    shown = flowernoise("evaluate", "-a", str(finished), "--quiet")
    assert (shown.returncode, shown.stderr) == (0, "")


BAD = [
    (("train", "--loss", "cee"), "unknown loss 'cee'"),
    (("train", "--backbone", "resnet51"), "unknown backbone 'resnet51'"),
    (("train", "--learning-rate", "fast"), "'fast' is not a number"),
    (("train", "--l2", "0,,1"), "'' is not a number"),
    (("train", "--epochs", "0"), "--epochs 0"),
    (("train", "--epochs", "many"), "many"),
    (("train", "--mode", "finetuned"), "finetuned"),
    (("corrupt", "--noise", "symetric"), "did you mean symmetric?"),
    (("corrupt", "--rates", "1.5"), "1.5"),
    (("corrupt", "--noise", "matrix"), "file"),
    (("corrupt", "--noise", "matrix:no-such.csv"), "no-such.csv"),
    (("corrupt", "--noise", "matrix:{not_stochastic}"), "row 1 sums to 1.1"),
    (("corrupt", "--noise", "matrix:{two_classes}"), "2 × 2"),
    (("corrupt", "--noise", "symmetric:count=some"), "count=some"),
    (("corrupt", "--noise", "instance:temperature=0"), "temperature=0"),
    (("corrupt", "--noise", "asymmetric:pairs=roses/tulpis"), "did you mean tulips?"),
    (("corrupt", "--import", "no-such.csv"), "no-such.csv"),
    (("train", "--loss", "gce:q=2"), "q=2"),
    (("train", "--loss", "gce:p=1"), "has no parameter 'p'"),
    (("train", "--loss", "forward:T={two_classes}"), "2 × 2"),
    (("train", "--loss", "forward:T=no-such.csv"), "no-such.csv"),
    (("list", "lossses"), "did you mean losses?"),
    (("corrupt", "--rates", "a"), "'a' is not a number"),
    (("corrupt", "--seeds", "0"), "--seeds 0"),
    (("prepare", "no-such-source"), "unknown source 'no-such-source'"),
    (("prepare", "./no-such-folder"), "no-such-folder"),
    (("prepare", "synthetic", "--positive", "sunflower"), "did you mean sunflowers?"),
    (("prepare", "synthetic:photos=20,size=16", "--train", "10"), "--test"),
    (("prepare", "synthetic:photos=20,size=16", "--train", "19", "--test", "9"), "more than the 20 there are"),
    (("prepare", "synthetic:photos=3"), "photos=3"),
    (("prepare", "tfds:../../etc"), "tfds:../../etc"),
    (("compare", "--metric", "acuracy"), "did you mean accuracy?"),
    (("compare", "--metric", "recall:roze"), "did you mean roses?"),
    (("compare", "--select", "best"), "best"),
    (("compare", "--sort-by", "luck"), "luck"),
    (("compare", "--baseline", "xe"), "unknown loss 'xe'"),
    (("compare", "--fail-under", "85"), "--fail-under 85: accuracy lies between 0 and 1; 85 % is 0.85"),
    (("compare", "--fail-under", "nan"), "'nan' is not a finite number"),
    (("compare", "--fail-under", "0.5", "--where", "rate=0.3"), "no run has rate=0.3; there are: 0, 0.4"),
    (("plot", "acuracy"), "did you mean accuracy?"),
    (("plot", "--loss", "maee"), "did you mean mae?"),
    (("plot", "--loss", "gce"), "there are: ce, mae"),
    (("plot", "--noise", "pairflip"), "there are: none, symmetric"),
    (("plot", "confusion", "--rate", "0.3"), "symmetric at 0.4, seeds 0 1"),
    (("plot", "accuracy", "--rate", "0.4"), "it is for confusion, transition"),
    (("compare", "--output", "table.xlsx"), "no format has files called *.xlsx"),
    (("compare", "--output", "{artifacts}/dataset.json"), "is among the records of the artifacts directory"),
    (("plot", "--output", "all.png"), "name a directory"),
    (("plot", "--output", "all.gif"), "pictures are png, svg, pdf, not gif"),
    (("plot", "--format", "jpeg"), "jpeg"),
    (("run", "--preset", "sed"), "did you mean seed?"),
    (("run", "--no-such-option"), "--no-such-option"),
    (("run", "--config", "no-such.toml"), "no-such.toml"),
    (("run", "--config", "{unknown_key}"), "'rate' is not an option of run (did you mean rates?)"),
    (("train", "--config", "{wrong_type}"), 'epochs = "2" is not a whole number'),
    (("no-such-command",), "no-such-command"),
]


@pytest.mark.parametrize(("arguments", "names"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_a_bad_request_is_one_line_that_names_it_and_exits_2(
    finished: Path, commands: CommandServer, tmp_path: Path, arguments: tuple[str, ...], names: str
) -> None:
    directory = tmp_path if arguments[0] == "prepare" else finished
    files = {
        "not_stochastic": "0.3,0.2,0.2,0.2,0.2\n" + 4 * "0.2,0.2,0.2,0.2,0.2\n",
        "two_classes": "0.9,0.1\n0.2,0.8\n",
    }
    files |= {"unknown_key": "rate = [0.4]\n", "wrong_type": 'epochs = "2"\n'}
    for name, content in files.items():
        (tmp_path / f"{name}.csv").write_text(content)
    paths = {name: str(tmp_path / f"{name}.csv") for name in files} | {"artifacts": str(finished)}
    arguments = tuple(argument.format(**paths) for argument in arguments)
    before = mtimes(finished)
    shown = commands.run(*arguments, cwd=tmp_path, env={"FLOWERNOISE_ARTIFACTS": str(directory)})
    assert shown.returncode == 2
    assert shown.stdout == b""
    assert shown.stderr.count("\n") == 1
    assert shown.stderr.startswith("error: ")
    assert names in shown.stderr
    assert mtimes(finished) == before


@pytest.mark.parametrize(
    ("stage", "first"),
    [(stage, "prepare") for stage in ("corrupt", "train", "evaluate", "compare", "plot")],
)
def test_a_missing_stage_is_named(commands: CommandServer, tmp_path: Path, stage: str, first: str) -> None:
    shown = commands.run(stage, "-a", tmp_path / "nothing", cwd=tmp_path)
    assert (shown.returncode, shown.stderr.count("\n")) == (2, 1)
    assert f"run `flowernoise {first}` first" in shown.stderr


def test_weights_that_cannot_be_reached_name_the_ways_on(finished: Path, tmp_path: Path) -> None:
    nowhere = {"KERAS_HOME": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    shown = flowernoise("train", "--backbone", "resnet50", "-a", str(finished), env=nowhere)
    assert (shown.returncode, shown.stderr.count("\n")) == (1, 1)
    assert "efficientnet_lite0" in shown.stderr
    assert "weights=PATH" in shown.stderr


@may_be_late
def test_tf_flowers_without_a_network_says_so_within_ten_seconds(tmp_path: Path) -> None:
    nowhere = {"TFDS_DATA_DIR": str(tmp_path / "none"), "HTTP_PROXY": "http://127.0.0.1:9"}
    nowhere |= {"http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    started = time.monotonic()
    shown = flowernoise("prepare", "tf_flowers", "-a", str(tmp_path / "a"), env=nowhere)
    assert_in_time(time.monotonic() - started, 10)
    assert (shown.returncode, shown.stderr.count("\n")) == (1, 1)
    assert "--data-dir" in shown.stderr
    assert "folder of photos" in shown.stderr


def test_runs_that_fail_exit_3_and_keep_the_rest(real_commands: CommandServer, tmp_path: Path) -> None:
    options = ("synthetic:photos=40,size=32", *TINY, "--rates", "0.4", "--seeds", "1", *TRAINED, "--loss", "ce")
    diverging = ("--optimizer", "sgd", "--learning-rate", "1e30", "--l2", "0.1")
    shown = real_commands.run("run", *options, *diverging, "-a", tmp_path, cwd=tmp_path, env=KERAS)
    assert shown.returncode == 3
    assert shown.stderr.splitlines()[-1].startswith("error: 2 of 2 runs failed")
    assert b"failed" in shown.stdout


def test_the_traceback_is_shown_with_debug_only(tmp_path: Path) -> None:
    plain = flowernoise("evaluate", "-a", str(tmp_path))
    debug = flowernoise("evaluate", "-a", str(tmp_path), "--debug")
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert plain.returncode == debug.returncode == 2


def test_a_reader_that_leaves_is_no_error(finished: Path) -> None:
    command = f"{sys.executable} -m flowernoise compare -a {finished} | head -n 1"
    shown = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "")


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        pytest.param(signal.SIGTERM, 143, "terminated", marks=pytest.mark.slow),  # test_stopping has it at once
    ],
)
def test_a_signal_stops_it_and_the_same_command_goes_on(
    real_commands: CommandServer, tmp_path: Path, number: signal.Signals, code: int, word: str
) -> None:
    directory = ("-a", tmp_path / "artifacts")
    for stage in (STAGES[0], ("corrupt", "--rates", "0.4", "--seeds", "1")):
        assert real_commands.run(*stage, *directory, cwd=tmp_path).returncode == 0
    train = ("train", "--mode", "finetune", "--loss", "ce", "--epochs", "1", "--backbone", "tiny", *directory)
    child = real_commands.start(*train, cwd=tmp_path, before=SLOW)
    runs = tmp_path / "artifacts" / "runs"
    deadline = time.monotonic() + 120
    while not list(runs.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, number)
    stopped = child.wait()
    assert stopped.returncode == code
    assert "run 1 of 2" in stopped.stderr
    assert stopped.stderr.splitlines()[-1].startswith(f"error: {word}")
    kept = mtimes(runs)
    resumed = real_commands.run(*train, "--json", cwd=tmp_path)
    result = json.loads(resumed.stdout)
    assert (result["trained"], result["done_before"]) == (1, 1)
    assert kept.items() <= mtimes(runs).items()


def test_labels_go_out_and_come_back(tmp_path: Path) -> None:
    environment = {"FLOWERNOISE_ARTIFACTS": str(tmp_path / "artifacts")}
    file = tmp_path / "labels.csv"
    flowernoise("prepare", "synthetic:photos=40,size=32", *TINY, env=environment)
    out = flowernoise("corrupt", "--rates", "0.4", "--seeds", "1", "--export", str(file), "--json", env=environment)
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert len(rows) == 40
    for row in rows:
        assert (row["flipped"] == "true") == (row["clean_label"] != row["observed_label"])
    wrong = Counter(row["split"] for row in rows if row["flipped"] == "true")
    assert wrong == {"train": 8, "val": 4}
    back = flowernoise("corrupt", "--import", str(file), "--seeds", "1", "--json", env=environment)
    sent, received = (json.loads(done.stdout)["draws"][-1] for done in (out, back))
    assert (sent["labels"], sent["realised_rate"]) == (received["labels"], received["realised_rate"])
    assert received["key"]["noise"].startswith(f"observed:{file}")


def test_noise_that_needs_features_takes_them_from_the_cache_of_train(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    before = mtimes(tmp_path / "copy" / "features")
    noise = f"instance:backbone={TRAINED[1]}"
    shown = flowernoise("corrupt", "--noise", noise, "--rates", "0.4", "--seeds", "1", "-a", str(tmp_path / "copy"))
    assert shown.returncode == 0, shown.stderr
    assert mtimes(tmp_path / "copy" / "features") == before


def test_noise_that_needs_features_takes_the_backbone_of_the_run_and_says_so(
    real_commands: CommandServer, tmp_path: Path
) -> None:
    noise = ("--noise", "instance", "--noise", "symmetric", "--rates", "0.4", "--seeds", "1", "--loss", "ce")
    sweep = ("run", "synthetic:photos=40,size=32", *TINY, *TRAINED, *noise, "--json", "--artifacts", tmp_path)
    done = real_commands.run(*sweep, cwd=tmp_path, env=KERAS)
    assert done.returncode == 0, done.stderr
    assert {row["noise"] for row in json.loads(done.stdout)["rows"]} == {
        "none",
        "symmetric",
        "instance:backbone=efficientnet_lite0:weights=none",
    }


def test_list_shows_everything_and_one_thing_in_full() -> None:
    everything = flowernoise("list").stdout
    assert all(entry.name in everything for registry in REGISTRIES.values() for entry in registry)
    gce = flowernoise("list", "losses", "gce").stdout
    assert all(word in gce for word in ("(1 − p_y^q) / q", "q=0.7", "Zhang, Sabuncu", ">>>"))
    shown = json.loads(flowernoise("list", "noise", "--json").stdout)
    assert [thing["name"] for thing in shown["things"]] == list(REGISTRIES["noise"].names())


def test_plots_are_written_whole_once_and_listed(finished: Path, tmp_path: Path) -> None:
    artifacts = tmp_path / "copy"
    shutil.copytree(finished, artifacts)
    first = flowernoise("plot", "-a", str(artifacts))
    assert first.returncode == 0, first.stderr
    names = {"accuracy", "memorisation", "confusion-symmetric-0.4-seed0", "transition-symmetric-0.4-seed0", "seeds"}
    paths = [Path(line) for line in first.stdout.splitlines()]
    assert {path.stem for path in paths} == names
    assert {path.name for path in (artifacts / "plots").iterdir()} == {f"{name}.png" for name in names}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    before = mtimes(artifacts)
    again = flowernoise("plot", "-a", str(artifacts), "--json")
    assert json.loads(again.stdout) == {
        "schema": 1,
        "files": [{"kind": path.stem.split("-")[0], "path": str(path), "done_before": True} for path in paths],
    }
    assert "plot: done already, nothing touched" in again.stderr
    assert mtimes(artifacts) == before
    one = flowernoise("plot", "transition", "-q", "-a", str(artifacts), "--output", str(tmp_path / "new" / "t.svg"))
    assert (one.returncode, one.stderr) == (0, "")
    assert (tmp_path / "new" / "t.svg").read_text().startswith("<?xml")


def test_the_preset_is_the_first_experiment(real_commands: CommandServer, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 700)
    (photos / "tulips").rename(photos / "sunflowers")
    options = (photos, "--image-size", "32", "--backbone", "tiny", "-a", tmp_path)
    shown = real_commands.run("run", *options, "--preset", "seed", "--json", cwd=tmp_path, env=KERAS)
    assert shown.returncode == 0, shown.stderr
    rows = json.loads(shown.stdout)["rows"]
    assert sum(row["seeds"] for row in rows) == 11
    assert {row["loss"] for row in rows if row["noise"] == "none"} == {"ce"}
    assert {row["rate"] for row in rows if row["noise"] == "uniform"} == {0.1, 0.3, 0.5, 0.7, 0.9}
    dataset = json.loads((tmp_path / "dataset.json").read_text())["body"]
    assert dataset["classes"] == ["not sunflowers", "sunflowers"]
    assert [sum(row) for row in dataset["counts"]] == [600, 0, 100]
    table = flowernoise("compare", "-a", str(tmp_path)).stdout
    for published in ("94.79", "0.00 to 66.66", "59.38 to 79.17"):
        assert published in table


def test_settings_of_the_steps_are_all_options_of_run() -> None:
    group = typer.main.get_command(cli.app)
    options = {parameter.name for parameter in group.commands["run"].params}
    for settings in (PrepareSettings, CorruptSettings, TrainSettings, CompareSettings):
        # control_losses belongs to presets alone, and run shows the settings that it is asked for.
        assert {field.name for field in dataclasses.fields(settings)} - options <= {"control_losses", "where"}
