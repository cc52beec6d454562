"""What a directory holds: entries and faults, what is stale, what is litter, and what may be removed at any time."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flowernoise.safe import atomic
from flowernoise.store import datasets, files, inventory
from flowernoise.store.inventory import Fault, Inventory, RecordEntry
from flowernoise.store.inventory.kinds import ALL, DATASET, DRAWS
from flowernoise.store.inventory.litter import stage_of
from flowernoise.store.layout import Layout
from flowernoise.store.records import Draw, DrawBatch, DrawKey
from tests.fabricated import a_dataset

NUMBER = "0123456789ab"
COUNTS = ((2, 2), (1, 1), (1, 1))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "artifacts")


@pytest.fixture
def drawn(layout: Layout) -> Layout:
    """Return a directory with a data set, a batch of draws of it, and one of other photos."""
    archive, table = (blob(layout.photos, "photos", suffix) for suffix in (".tar", ".csv"))
    datasets.write(layout, a_dataset("now", ("a", "b"), COUNTS, found=8, archive=archive, index=table))
    for name, dataset in (("own", "now"), ("stale", "before")):
        draw = Draw(DrawKey("symmetric", 0.2, 0), "labels", 0.2, 0.2, (0.2, 0.2))
        files.write_record(
            layout.draws / f"{name}.json", "draws", DrawBatch(dataset, (draw,), blob(layout.draws, name))
        )
    return layout


def blob(folder: Path, stem: str, suffix: str = ".h5") -> files.FileRef:
    return files.write_blob(folder, stem, suffix, lambda stream: stream.write(stem.encode()))


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def temporary(name: str, process: int, machine: str | None = None) -> str:
    """Name of a temporary file of a process of this machine, or of another."""
    return f".{name}.{machine or atomic.owner_mark().partition('-')[0]}-{process}-{NUMBER}.tmp"


# Entries and faults


def test_each_record_is_an_entry_with_what_it_says_and_names(drawn: Layout) -> None:
    found = Inventory(drawn)
    own, stale = found.records(DRAWS)
    assert isinstance(own, RecordEntry)
    assert isinstance(stale, RecordEntry)
    assert (own.path, own.body.dataset, own.refs) == (drawn.draws / "own.json", "now", (own.body.arrays,))
    assert found.only(DATASET) == datasets.find(drawn)
    assert [entry.body.dataset for entry in found.entries(DRAWS) if found.is_stale(entry.body)] == ["before"]
    assert (found.count(), found.faults(), found.litter(), found.unreadable) == (3, [], [], [])
    assert {kind: list(found.records(kind)) for kind in ALL if kind not in (DATASET, DRAWS)} == {
        kind: [] for kind in ALL if kind not in (DATASET, DRAWS)
    }


def test_sizes_are_of_all_files_but_locks_and_nothing_is_read(layout: Layout) -> None:
    written = {"draws/a.json": b"no record", "mine/deeper/b": b"xy", "c": b"", "locks/directory.lock": b"x"}
    for name, data in written.items():
        (layout.root / name).parent.mkdir(parents=True, exist_ok=True)
        (layout.root / name).write_bytes(data)
    (layout.root / "mine" / "again").symlink_to(layout.root)
    found = Inventory(layout)
    assert found.sizes == {"c": 0, "draws/a.json": 9, "mine/deeper/b": 2}
    assert found.by_stage() == {"corrupt": (1, 9), "other": (2, 2)}
    assert found.size(layout.draws / "a.json") == 9
    assert found.size(layout.draws / "b.json") == 0


def test_a_directory_that_is_not_there_holds_nothing(layout: Layout) -> None:
    found = Inventory(layout)
    assert (found.sizes, found.count(), found.faults(), found.litter()) == ({}, 0, [], [])
    assert not layout.root.exists()


@pytest.mark.parametrize("kind", ["link", "folder", "other bytes", "other version"])
def test_what_has_the_name_of_a_record_and_cannot_be_read_is_a_fault(drawn: Layout, kind: str) -> None:
    path = drawn.draws / "0.json"
    if kind == "link":
        path.symlink_to(drawn.draws / "own.json")
    elif kind == "folder":
        path.mkdir()
    else:
        data = (drawn.draws / "own.json").read_bytes()
        path.write_bytes(data[:-3] if kind == "other bytes" else data.replace(b'"schema": ', b'"schema": 9', 1))
    first, *others = Inventory(drawn).records(DRAWS)
    assert isinstance(first, Fault)
    assert (first.path, first.record, first.stage, first.ours) == (path, path, "corrupt", kind != "other version")
    assert str(path) in first.text
    assert all(isinstance(each, RecordEntry) for each in others)
    assert first in Inventory(drawn).faults()


def test_of_files_that_records_name_sizes_are_looked_at_and_digests_where_asked(drawn: Layout) -> None:
    own, _ = Inventory(drawn).entries(DRAWS)
    path = Inventory(drawn).blob(own, own.body.arrays)
    path.write_bytes(b"abc")  # as long as it was
    found = Inventory(drawn)
    assert found.size_faults(own) == []
    fault = found.digest_fault(own, own.body.arrays)
    assert fault is not None
    assert (fault.path, fault.record, fault.text) == (
        path,
        own.path,
        f"{path} is damaged: its SHA-256 is not the recorded one",
    )
    path.write_bytes(b"abcd")
    [fault] = Inventory(drawn).faults()
    assert fault.text == f"{path} holds 4 bytes, not the recorded 3"
    path.unlink()
    [fault] = Inventory(drawn).faults()
    assert fault.text == f"{path} is missing"


def test_files_of_stale_records_need_not_be_there(drawn: Layout) -> None:
    next(drawn.draws.glob("stale-*.h5")).unlink()
    assert Inventory(drawn).faults() == []


@pytest.mark.parametrize("name", ["../../precious", "/etc/hostname", "", ".."])
def test_a_name_that_leads_elsewhere_is_a_fault_of_the_record(drawn: Layout, name: str) -> None:
    record = drawn.draws / "own.json"
    batch = files.read_record(record, "draws", DrawBatch)
    files.write_record(record, "draws", DrawBatch(batch.dataset, batch.draws, files.FileRef(name, "0" * 64, 3)))
    found = Inventory(drawn)
    own, _ = found.entries(DRAWS)
    [quick], whole = found.size_faults(own), found.digest_fault(own, own.body.arrays)
    assert whole is not None
    assert {quick.path, whole.path} == {record}


# Litter


def test_what_no_record_names_is_litter_unless_its_record_cannot_be_read(drawn: Layout) -> None:
    [lost] = drawn.draws.glob("own-*.h5")
    (drawn.draws / "own.json").rename(drawn.root / "own.json")
    [litter] = Inventory(drawn).litter()
    assert (litter.path, litter.kind, litter.bytes) == (f"draws/{lost.name}", "unreferenced", 3)
    (drawn.draws / "own.json").write_bytes(b"")
    assert Inventory(drawn).litter() == []
    files.quarantine(drawn.draws / "own.json")
    assert [each.kind for each in Inventory(drawn).litter()] == ["unreferenced", "set aside"]


def test_every_folder_belongs_to_a_stage(layout: Layout) -> None:
    folders = [folder for folder in layout.folders if folder != layout.locks]
    assert "other" not in {stage_of(f"{folder.name}/x") for folder in folders}
    records = [layout.dataset, layout.preset, layout.evaluation]
    assert "other" not in {stage_of(path.name) for path in records}
    assert {stage_of(name) for name in ("train/x", "mine/a.json", "x.json", "locks/a.lock")} == {"other"}


# Temporary files


def test_abandoned_temporaries_are_removed_and_living_ones_stay(layout: Layout, dead: int) -> None:
    names = {
        temporary("dataset.json", dead): False,
        f"draws/{temporary('a.h5', dead)}": False,
        f"features/{temporary('a.00000000.h5', dead)}": False,
        f"locks/{temporary('train.json', dead)}": False,
        f"report/{temporary('a.png', dead)}": False,
        f"draws/{temporary('b.h5', os.getpid())}": True,
        f"runs/{temporary('b.h5', os.getppid())}": True,
        f"runs/{temporary('b.h5', 1, machine='0' * 8)}": True,  # of another machine, and young
        f"mine/{temporary('a.h5', dead)}": True,  # no folder of ours
        f"draws/deeper/{temporary('a.h5', dead)}": True,
        f"draws/{temporary('a.h5', dead)[1:]}": True,  # not hidden
        f"draws/.a.h5.{NUMBER}.tmp": True,  # names nobody
        "draws/.gitkeep": True,
        "dataset.json": True,
        "draws/a.json": True,
    }
    for name in names:
        (layout.root / name).parent.mkdir(parents=True, exist_ok=True)
        (layout.root / name).write_bytes(b"half")
    gone = {layout.root / name for name, stays in names.items() if not stays}
    assert set(inventory.abandoned(layout)) == gone
    inventory.clean(layout)
    there = {str(path.relative_to(layout.root)) for path in layout.root.rglob("*") if path.is_file()}
    assert there == {name for name, stays in names.items() if stays}
    inventory.clean(layout)  # nothing to do


def test_temporaries_of_another_machine_are_removed_after_a_day(layout: Layout) -> None:
    layout.draws.mkdir(parents=True)
    path = layout.draws / temporary("a.h5", os.getpid(), machine="0" * 8)
    path.touch()
    os.utime(path, (time.time() - atomic.ABANDONED + 600,) * 2)
    assert list(inventory.abandoned(layout)) == []
    os.utime(path, (time.time() - atomic.ABANDONED - 600,) * 2)
    assert list(inventory.abandoned(layout)) == [path]


def test_a_temporary_that_is_a_link_is_removed_and_not_what_it_leads_to(
    layout: Layout, tmp_path: Path, dead: int
) -> None:
    (tmp_path / "precious").write_text("mine")
    layout.draws.mkdir(parents=True)
    (layout.draws / temporary("a.h5", dead)).symlink_to(tmp_path / "precious")
    inventory.clean(layout)
    assert list(layout.draws.iterdir()) == []
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_folder_with_the_name_of_a_temporary_does_no_harm(layout: Layout, dead: int) -> None:
    (layout.draws / temporary("a.h5", dead)).mkdir(parents=True)
    inventory.clean(layout)
    assert len(list(layout.draws.iterdir())) == 1


def test_a_missing_directory_has_nothing_to_clean(layout: Layout) -> None:
    inventory.clean(layout)
    assert not layout.root.exists()
