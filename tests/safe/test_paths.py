"""Where files can be written, and why not; permissions are tested with the requests that they make fail."""

import os
from pathlib import Path

import pytest

from flowernoise.safe.paths import why_no_directory, why_no_file


def test_a_file_can_be_new_or_there_and_its_folders_need_not_be_there(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.touch()
    assert [why_no_file(path) for path in (there, tmp_path / "new", tmp_path / "a" / "b" / "new")] == [None] * 3
    assert [why_no_directory(path) for path in (tmp_path, tmp_path / "a" / "b")] == [None] * 2
    assert list(tmp_path.iterdir()) == [there]


def test_what_is_no_regular_file_is_not_written_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(os.devnull)
    for path in (tmp_path / "pipe", tmp_path / "link", Path(os.devnull)):
        assert why_no_file(path) == "it is not a regular file"
        assert why_no_directory(path) == "it is not a directory"
    assert why_no_file(tmp_path) == "it is a directory"


@pytest.mark.parametrize("why", [why_no_file, why_no_directory])
def test_what_is_in_the_way_is_named(tmp_path: Path, why: object) -> None:
    assert callable(why)
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert why(tmp_path / "file" / "below") in ("Not a directory", f"{tmp_path / 'file'} is not a directory")
    assert why(tmp_path / "dangling" / "below") == f"{tmp_path / 'dangling'} is a link that leads nowhere"
    assert why(tmp_path / ("x" * 300)) == "File name too long"
