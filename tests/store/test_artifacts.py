"""The artifacts directory as a whole: no folder of it is a link, and a failure leaves nothing behind."""

import os
from pathlib import Path

import pytest

from flowernoise.errors import BadRequestError, ExitCode, FlowernoiseError
from flowernoise.progress import Silent
from flowernoise.steps.prepare import PrepareSettings, prepare
from flowernoise.store import artifacts, claims, files
from flowernoise.store.layout import Layout

FOLDERS = [folder.name for folder in Layout(Path()).folders]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "artifacts")


# Links


def test_every_folder_of_the_layout_is_looked_at(layout: Layout) -> None:
    given = {value for name in dir(Layout) if isinstance(value := getattr(layout, name, None), Path)}
    of_files = {layout.root, layout.dataset, layout.evaluation, layout.preset}
    assert given - of_files <= set(layout.folders)


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("leads", ["to a folder", "nowhere", "in a circle", "within"])
def test_a_folder_that_is_a_link_is_refused_with_the_way_out(
    layout: Layout, tmp_path: Path, name: str, leads: str
) -> None:
    layout.root.mkdir()
    elsewhere = {"nowhere": tmp_path / "x", "in a circle": layout.root / name, "within": layout.root / "real"}
    target = elsewhere.get(leads, tmp_path / "elsewhere")
    if leads in ("to a folder", "within"):
        target.mkdir()
    (layout.root / name).symlink_to(target, target_is_directory=True)
    with pytest.raises(FlowernoiseError) as caught:
        artifacts.opened(layout.root)
    assert caught.value.exit_code is ExitCode.COULD_NOT
    assert str(caught.value).startswith(f"{layout.root / name} is a symbolic link, ")
    assert "move the directory as a whole" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("made", [True, False])
def test_a_root_may_be_a_link_and_need_not_be_there(layout: Layout, tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "big disk").mkdir()
    layout.root.symlink_to(tmp_path / "big disk")
    assert artifacts.opened(layout.root) == layout
    assert artifacts.opened(tmp_path / "none") == Layout(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", ["file", "pipe", "link to a file"])
def test_something_else_of_that_name_is_a_bad_request(layout: Layout, tmp_path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(layout.root)
    elif kind == "file":
        layout.root.touch()
    else:
        (tmp_path / "file").touch()
        layout.root.symlink_to(tmp_path / "file")
    with pytest.raises(BadRequestError, match=r"artifacts is not a directory; give another with --artifacts$"):
        artifacts.opened(layout.root)


def test_a_directory_that_cannot_be_looked_into_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(FlowernoiseError, match=r"cannot look into .*: File name too long"):
        artifacts.opened(tmp_path / ("x" * 300))


# What a failure leaves


def fail(layout: Layout, error: type[BaseException], *names: str) -> None:
    """A step that makes folders and files, works in the directory, and fails."""
    with artifacts.kept_empty_on_failure(layout):
        for name in names:
            files.write_plain(layout.root / name, b"x")
            if name.endswith("gone"):
                (layout.root / name).unlink()
        with claims.exclusive(layout, "prepare", Silent()):
            raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_folders_that_a_failure_leaves_empty_are_removed(layout: Layout, error: type[BaseException]) -> None:
    with pytest.raises(error):
        fail(layout, error, "photos/gone", "draws/gone")
    assert not layout.root.exists()


def test_a_directory_within_new_ones_is_removed(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "new" / "artifacts")
    with pytest.raises(KeyboardInterrupt):
        fail(layout, KeyboardInterrupt, "photos/gone")
    assert not layout.root.exists()


def test_what_was_there_before_a_failure_stays(layout: Layout) -> None:
    layout.draws.mkdir(parents=True)
    (layout.root / "notes.txt").write_text("mine")
    with pytest.raises(KeyboardInterrupt):
        fail(layout, KeyboardInterrupt, "photos/gone", "features/kept")
    there = {path.name for path in layout.root.iterdir()} - {"locks"}
    assert there == {"draws", "features", "notes.txt"}
    assert (layout.features / "kept").exists()


def test_success_leaves_everything(layout: Layout) -> None:
    with artifacts.kept_empty_on_failure(layout):
        layout.photos.mkdir(parents=True)
    assert layout.photos.is_dir()


@pytest.mark.parametrize("there", ["nothing", "an empty directory", "a directory with notes"])
@pytest.mark.parametrize("problem", ["too few photos", "the disk is full"])
def test_a_failed_first_prepare_leaves_what_was_there(
    layout: Layout, photo_folder: Path, monkeypatch: pytest.MonkeyPatch, there: str, problem: str
) -> None:
    if there != "nothing":
        layout.root.mkdir()
    if there == "a directory with notes":
        (layout.root / "notes.txt").write_text("mine")
    before = sorted(layout.root.parent.rglob("*"))
    size = 1000 if problem == "too few photos" else 20

    def full(*_: object) -> None:
        raise FlowernoiseError("cannot write x: No space left on device")

    if problem == "the disk is full":
        monkeypatch.setattr(files, "write_record", full)
    with pytest.raises(FlowernoiseError):
        prepare(layout.root, PrepareSettings(str(photo_folder), train=size, test=10, image_size=32), Silent())
    assert sorted(layout.root.parent.rglob("*")) == before
