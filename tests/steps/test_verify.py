"""Verifying: what does not fit is found although every digest is right, and told from what is only of another time."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
import pytest

from flowernoise.analysis.results.upkeep import VerifyResult
from flowernoise.catalogue.metrics import metrics
from flowernoise.errors import BadRequestError
from flowernoise.progress import Silent
from flowernoise.steps.compare import compare
from flowernoise.steps.compare.step import compare_or_find
from flowernoise.steps.settings import CompareSettings
from flowernoise.steps.status import status
from flowernoise.steps.verify import verify
from flowernoise.store import datasets, evaluations, files, runs
from flowernoise.store.layout import Layout
from flowernoise.store.records import Comparison, KeptComparison, RunBlock
from tests.reliability.command_server import CommandServer
from tests.reliability.fakes import swept
from tests.reliability.real_command import state
from tests.reliability.tampering import TamperedDirectory

SWEEP = (
    *("--image-size", 16, "--backbone", "tiny", "--rates", 0.4, "--seeds", 1, "--epochs", 2),
    *("--learning-rate", 0.001, "--l2", 0, "--loss", "ce", "--quiet"),
)
STAGES = ["prepare", "corrupt", "features", "train", "evaluate", "compare"]


@pytest.fixture(scope="module")
def sweep(commands: CommandServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished sweep of two runs: photos/ and artifacts/."""
    return swept(commands, tmp_path_factory.mktemp("sweep"), *SWEEP)


@pytest.fixture
def tampered(sweep: Path, tmp_path: Path) -> TamperedDirectory:
    """A copy of it to be spoilt."""
    shutil.copytree(sweep / "photos", tmp_path / "photos")
    shutil.copytree(sweep / "artifacts", tmp_path / "artifacts")
    return TamperedDirectory(tmp_path / "artifacts", tmp_path)


def verified(tampered: TamperedDirectory, **settings: bool) -> VerifyResult:
    return verify(tampered.root, Silent(), **settings)


def test_every_file_of_an_intact_directory_is_checked(tampered: TamperedDirectory) -> None:
    before = state(tampered.root)
    found = verified(tampered)
    assert (found.problems, found.repaired, found.notes, found.mended) == ((), (), (), False)
    assert [row.stage for row in found.checked] == STAGES
    sizes = {name: len(data) for name, data in before.items() if not name.startswith("locks/")}
    assert sum(row.files for row in found.checked) == len(sizes)
    assert sum(row.bytes for row in found.checked) == sum(sizes.values())
    assert state(tampered.root) == before


def test_what_is_not_there_yet_is_no_problem(tampered: TamperedDirectory) -> None:
    for later in ("runs", "features", "comparisons"):
        shutil.rmtree(tampered.root / later)
    for path in tampered.root.glob("evaluation*"):
        path.unlink()
    found = verified(tampered)
    assert (found.problems, found.notes) == ((), ())
    assert [row.stage for row in found.checked] == STAGES[:2]


@pytest.mark.parametrize("mend", [False, True])
def test_a_directory_that_is_not_there_is_a_bad_request_and_not_made(tmp_path: Path, mend: bool) -> None:
    with pytest.raises(BadRequestError, match="nowhere does not exist"):
        verify(tmp_path / "nowhere", Silent(), mend=mend)
    assert list(tmp_path.iterdir()) == []


# What does not fit. Digests are right throughout, as of somebody who means it.


def swapped_labels(tampered: TamperedDirectory) -> None:
    """Two photos of one split change their classes in the index."""
    path = tampered.root / "photos" / tampered.body(tampered.root / "dataset.json")["index"]["name"]
    head, *rows = [line.split(",") for line in path.read_text().splitlines()]
    label, name = head.index("label"), head.index("class")
    first = rows[0]
    other = next(
        row for row in rows if row[head.index("split")] == first[head.index("split")] and row[label] != first[label]
    )
    for column in (label, name):
        first[column], other[column] = other[column], first[column]
    tampered.put("dataset.json", "".join(",".join(row) + "\n" for row in (head, *rows)).encode(), field="index")


def other_block(change: Callable[[RunBlock], RunBlock]) -> Callable[[TamperedDirectory], None]:
    """Changes the record of the runs, and its name, which depends on what they were trained on."""

    def spoil(tampered: TamperedDirectory) -> None:
        path = tampered.only("runs/*.json")
        block = change(files.read_record(path, runs.KIND, RunBlock))
        path.unlink()
        files.write_record(path.with_name(f"{runs.name_of(block)}.json"), runs.KIND, block)

    return spoil


def on_other_labels(block: RunBlock) -> RunBlock:
    first, *others = block.runs
    changed = (msgspec.structs.replace(first, labels="0" * 64), *others)
    return msgspec.structs.replace(block, runs=changed)


def on_another_size(block: RunBlock) -> RunBlock:
    return msgspec.structs.replace(block, setup=msgspec.structs.replace(block.setup, image_size=999))


def changed_array(
    record: str, name: str, change: Callable[[np.ndarray], np.ndarray]
) -> Callable[[TamperedDirectory], None]:
    def spoil(tampered: TamperedDirectory) -> None:
        path = tampered.only(record)
        with h5py.File(path.parent / tampered.body(path)["arrays"]["name"]) as file:
            values = change(file[name][()])
        tampered.arrays(record, **{name: lambda made: made.create_dataset(name, data=values)})

    return spoil


def first_run(**fields: Any) -> Callable[[TamperedDirectory], None]:
    """Changes what an evaluation says of its first run."""

    def spoil(tampered: TamperedDirectory) -> None:
        first, *others = tampered.body(tampered.root / "evaluation.json")["runs"]
        tampered.change("evaluation.json", runs=[first | fields, *others])

    return spoil


def first_draw(**fields: Any) -> Callable[[TamperedDirectory], None]:
    def spoil(tampered: TamperedDirectory) -> None:
        *others, last = tampered.body(tampered.only("draws/*.json"))["draws"]
        tampered.change("draws/*.json", draws=[*others, last | fields])

    return spoil


def better_table(tampered: TamperedDirectory) -> None:
    """A comparison, kept under the name of what it is of, that shows more than the evaluation holds."""
    path = tampered.only("comparisons/*.json")
    kept = files.read_record(path, "comparison", KeptComparison)
    rows = tuple(
        msgspec.structs.replace(row, values=tuple(min(1.0, v + 0.2) for v in row.values))
        for row in kept.comparison.rows
    )
    comparison: Comparison = msgspec.structs.replace(kept.comparison, rows=rows)
    files.write_record(path, "comparison", msgspec.structs.replace(kept, comparison=comparison))


def renamed(pattern: str) -> Callable[[TamperedDirectory], object]:
    return lambda tampered: tampered.only(pattern).rename(tampered.only(pattern).with_name("0123456789abcdef.json"))


MISFITS: dict[str, tuple[Callable[[TamperedDirectory], object], str, str]] = {
    "labels in the index": (swapped_labels, "photos/*.csv", "does not have the id of the photos"),
    "id of the data set": (lambda v: v.change("dataset.json", id="0" * 64), "photos/*.csv", "does not have the id"),
    "digest of a draw's labels": (first_draw(labels="0" * 64), "draws/*.h5", "not those that its record describes"),
    "rate of a draw": (first_draw(realised_rate=0.125), "draws/*.h5", "not those that its record describes"),
    "flips of a draw": (
        changed_array("draws/*.json", "train_flipped", np.zeros_like),
        "draws/*.h5",
        "not those that its record describes",
    ),
    "T of a draw": (
        changed_array("draws/*.json", "realised_transition_matrix", lambda T: T[:, ::-1]),
        "draws/*.h5",
        "not those that its record describes",
    ),
    "name of a draw": (renamed("draws/*.json"), "draws/*.h5", "does not have the name that its content"),
    "number of features": (
        lambda v: v.change("features/*.json", dimension=4),
        "features/*.h5",
        "which is not what its record says",
    ),
    "name of features": (renamed("features/*.json"), "features/*.json", "does not have the name that its content"),
    "labels trained on": (other_block(on_other_labels), "runs/*.json", "was trained on other labels than were drawn"),
    "size of the photos trained on": (other_block(on_another_size), "runs/*.json", "but they have another size"),
    "name of runs": (renamed("runs/*.json"), "runs/*.json", "does not have the name that its content"),
    "true classes of test photos": (
        changed_array("evaluation.json", "test_labels", lambda labels: labels[::-1].copy()),
        "evaluation-*.h5",
        "does not hold the labels of the test photos",
    ),
    "answers in the evaluation": (
        changed_array("evaluation.json", "predicted", lambda answers: (answers + 1) % 3),
        "evaluation-*.h5",
        "does not hold what ce on",
    ),
    "rate in the evaluation": (
        first_run(realised_rate=0.125),
        "evaluation-*.h5",
        "has a different rate of wrong",
    ),
    "failure in the evaluation": (first_run(failure="it diverged"), "evaluation-*.h5", "contradicts the record of ce"),
    "accuracies in the table": (better_table, "comparisons/*.json", "shows other accuracies for ce"),
}


@pytest.mark.parametrize("what", MISFITS)
def test_what_does_not_fit_is_found_although_digests_are_right(tampered: TamperedDirectory, what: str) -> None:
    spoil, pattern, says = MISFITS[what]
    spoil(tampered)
    problem = verified(tampered).problems[0]
    assert Path(problem.path).match(pattern)
    assert Path(problem.path).exists()
    assert says in problem.text
    assert problem.ours
    assert problem.way_out or "`flowernoise " in problem.text


def test_an_evaluation_that_leaves_out_a_run_is_found(tampered: TamperedDirectory) -> None:
    layout = Layout(tampered.root)
    evaluation = evaluations.find(layout)
    assert evaluation is not None
    arrays = evaluations.read(layout, evaluation)
    fewer = {name: array if name == "test_labels" else array[1:] for name, array in arrays.items()}
    for path in tampered.root.glob("evaluation*"):
        path.unlink()
    evaluations.write(layout, msgspec.structs.replace(evaluation, runs=evaluation.runs[1:]), fewer)
    assert "does not list the current runs" in verified(tampered).problems[0].text


# What is of another time


def test_what_is_of_other_photos_is_held_against_its_digests_only(
    tampered: TamperedDirectory, commands: CommandServer
) -> None:
    ended = commands.run("prepare", "photos", "--image-size", 16, "--seed", 1, "-a", "artifacts", cwd=tampered.outside)
    assert ended.returncode == 0, ended.stderr
    found = verified(tampered)
    assert found.problems == ()
    assert {note.partition(" of other photos")[0] for note in found.notes} == {"draws", "runs", "the evaluation"}
    blob = tampered.only("runs/*.h5")
    blob.write_bytes(blob.read_bytes()[:-1])
    assert [problem.path for problem in verified(tampered).problems] == [str(blob)]


def test_runs_that_were_not_evaluated_yet_are_a_note(tampered: TamperedDirectory, commands: CommandServer) -> None:
    more = ("--backbone", "tiny", "--epochs", 2, "--learning-rate", 0.001, "--l2", 0, "--loss", "mae")
    assert commands.run("train", *more, "-a", "artifacts", cwd=tampered.outside).returncode == 0
    found = verified(tampered)
    assert found.problems == ()
    assert ["since the last `flowernoise evaluate`" in note for note in found.notes] == [True]


def test_runs_whose_draw_is_gone_are_a_note(tampered: TamperedDirectory) -> None:
    for path in (tampered.root / "draws").iterdir():
        path.unlink()
    [note] = verified(tampered).notes
    assert "there are runs of missing draws (2)" in note
    assert "`flowernoise corrupt` draws them again" in note


def test_what_another_version_wrote_is_named_and_repair_leaves_it_alone(tampered: TamperedDirectory) -> None:
    path = tampered.only("draws/*.json")
    data = path.read_bytes()
    tampered.sign(path, data[data.index(b'"body": ') + 8 : -2], schema=99)
    strange = path.read_bytes()
    for mend in (False, True):
        [problem] = verified(tampered, mend=mend).problems
        assert (problem.path, problem.ours, problem.way_out) == (str(path), False, "")
        assert "has schema 99" in problem.text
        assert path.read_bytes() == strange


@pytest.mark.parametrize("pattern", ["evaluation.json", "features/*.json"])
def test_repair_touches_nothing_outside_whatever_a_record_names(tampered: TamperedDirectory, pattern: str) -> None:
    precious = tampered.outside / "precious"
    precious.write_text("mine")
    ref = {"name": str(precious), "sha256": "0" * 64, "size": 4}
    tampered.change(pattern, **({"array": ref} if "features" in pattern else {"arrays": ref}))
    record = tampered.only(pattern)
    assert str(record) in {problem.path for problem in verified(tampered).problems}
    verified(tampered, mend=True)
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("folder", ["runs", "mine"])
def test_a_folder_that_cannot_be_listed_is_named_if_it_is_ours(
    tampered: TamperedDirectory, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tampered.root / "mine").mkdir()
    whole = os.scandir

    def refused(path: Path) -> Any:
        if Path(path) == tampered.root / folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", refused)
    text = f"cannot read {tampered.root / folder}: Permission denied"
    assert (text in [problem.text for problem in verified(tampered).problems]) == (folder == "runs")
    assert text in status(tampered.root).problems


# Repair and what is shown


def test_nothing_is_touched_where_nothing_is_wrong(tampered: TamperedDirectory) -> None:
    before = {path: path.stat().st_mtime_ns for path in tampered.root.rglob("*")}
    found = verified(tampered, mend=True)
    assert (found.problems, found.repaired, found.mended) == ((), (), True)
    assert {path: path.stat().st_mtime_ns for path in tampered.root.rglob("*")} == before


def test_what_is_wrong_has_a_way_out_and_what_is_repaired_needs_none(
    tampered: TamperedDirectory, commands: CommandServer
) -> None:
    blob = tampered.only("draws/*.h5")
    good = blob.read_bytes()
    blob.write_bytes(good[:-1])
    name = f"artifacts/draws/{blob.name}"
    wrong = f"{name} is damaged: it holds {len(good) - 1:,} bytes, not the recorded {len(good):,}"

    ended = commands.run("verify", "-q", "-a", "artifacts", cwd=tampered.outside)
    assert ended.returncode == 1
    assert ended.stdout.decode().splitlines()[-1] == f"wrong: {wrong}; `flowernoise corrupt` draws it again"
    assert ended.stderr == (
        f"error: 1 file in artifacts cannot be trusted: {name}; `flowernoise verify --repair` mends what it can\n"
    )
    told = commands.run("verify", "-q", "--json", "-a", "artifacts", cwd=tampered.outside)
    assert (told.returncode, told.stderr) == (1, ended.stderr)
    [problem] = json.loads(told.stdout)["problems"]
    assert (problem["path"], problem["text"]) == (name, wrong)
    assert problem["way_out"] == "`flowernoise corrupt` draws it again"

    mended = commands.run("verify", "--repair", "-q", "-a", "artifacts", cwd=tampered.outside)
    assert (mended.returncode, mended.stderr) == (0, "")
    assert mended.stdout.decode().splitlines()[-1] == f"repaired: {wrong}"
    assert blob.read_bytes() == good
    assert (blob.parent / f"{blob.name}.damaged").read_bytes() == good[:-1]


def test_what_compare_keeps_for_every_metric_is_found_again_and_verified(
    tampered: TamperedDirectory,
) -> None:
    first_class = datasets.need(Layout(tampered.root)).classes[0]
    specs = [f"recall:{first_class}" if name == "recall" else name for name in metrics.names()]
    for spec in specs:
        compare([tampered.root], CompareSettings(metric=spec), Silent())
    assert len(list(Layout(tampered.root).comparisons.glob("*.json"))) >= len(specs)
    found = verified(tampered)
    assert (found.problems, found.notes) == ((), ())
    for spec in specs:
        _, was_there = compare_or_find([tampered.root], CompareSettings(metric=spec), Silent())
        assert was_there, spec
