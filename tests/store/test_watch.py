"""A folder that is looked at again and again: each record is read once, what is gone or damaged is noticed."""

import shutil
from pathlib import Path

import pytest

from flowernoise.errors import DamagedFileError
from flowernoise.store.watch import Watch


class Folder:
    """A folder of text files that is watched; ``read`` and ``damaged`` tell what was asked of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read: list[str] = []
        self.damaged: list[str] = []
        self.watch: Watch[str] = Watch(path, lambda name: name.endswith(".json"), self._read, self._on_damage)

    def _read(self, path: Path) -> str:
        self.read.append(path.name)
        text = path.read_text() if path.exists() else "broken"
        if text == "broken":
            raise DamagedFileError(f"{path} is damaged")
        return text

    def _on_damage(self, path: Path, _error: DamagedFileError) -> None:
        self.damaged.append(path.name)

    def write(self, name: str, text: str) -> None:
        self.path.mkdir(exist_ok=True)
        (self.path / name).write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "runs")


def test_a_folder_need_not_be_there(folder: Folder) -> None:
    assert folder.watch.look() == ({}, False)


def test_a_look_gives_what_is_new_and_reads_nothing_twice(folder: Folder) -> None:
    folder.write("a.json", "1")
    folder.write("a.h5", "arrays")
    assert folder.watch.look() == ({"a": "1"}, False)
    folder.write("b.json", "2")
    assert folder.watch.look() == ({"b": "2"}, False)
    assert folder.watch.look() == ({}, False)
    assert folder.read == ["a.json", "b.json"]


@pytest.mark.parametrize("whole", [False, True])
def test_where_one_is_gone_all_that_are_left_come_anew(folder: Folder, whole: bool) -> None:
    folder.write("a.json", "1")
    folder.write("b.json", "2")
    folder.watch.look()
    if whole:
        shutil.rmtree(folder.path)
    else:
        (folder.path / "a.json").unlink()
    assert folder.watch.look() == ({} if whole else {"b": "2"}, True)
    assert folder.watch.look() == ({}, False)


def test_what_is_damaged_is_passed_over_until_it_is_whole(folder: Folder) -> None:
    folder.write("a.json", "broken")
    folder.write("b.json", "2")
    assert folder.watch.look() == ({"b": "2"}, False)
    assert folder.damaged == ["a.json"]
    folder.write("a.json", "1")
    assert folder.watch.look() == ({"a": "1"}, False)


def test_what_goes_while_it_is_read_is_not_damaged(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("a.json", "1")
    plain = folder._read

    def read_late(path: Path) -> str:
        path.unlink()
        return plain(path)

    monkeypatch.setattr(folder.watch, "_read", read_late)
    assert folder.watch.look() == ({}, False)
    assert folder.damaged == []
