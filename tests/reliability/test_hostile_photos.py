"""Photos from strangers: bombs, files that are not photos, and strange names and files in a folder of photos."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowernoise.safe.images import MAX_BYTES
from tests.reliability.hostile_photos import BOMBS, ODDITIES, REAL, all_kinds, saved, small
from tests.reliability.privileges import drop_privileges, heeds_permissions
from tests.reliability.real_command import short_and_full, state

SECONDS, MEGABYTES = 2, 200
SLACK = 5  # other work on the machine


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak of memory cannot be set back here"
)
def test_each_kind_is_refused_or_read_in_time_and_memory(measured: Callable[[str], None]) -> None:
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.reliability.decode_hostile_photos"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = {name: rest for name, *rest in map(json.loads, finished.stdout.splitlines())}
    assert set(found) == {name for name, _, _ in all_kinds()}
    for name, readable, _ in all_kinds():
        seconds, megabytes, reason = found[name]
        assert megabytes < MEGABYTES, name
        assert seconds < SECONDS * SLACK, name
        assert readable is None or (reason is None) is readable, (name, reason)
        assert reason is None or (reason and len(reason.splitlines()) == 1), name
    slowest, largest = (max(outcome[k] for outcome in found.values()) for k in (0, 1))
    measured(
        f"{len(BOMBS)} kinds of bombs and false photos refused, {len(ODDITIES)} odd ones read or refused, {len(REAL)} "
        f"large real ones read; at most {slowest:.1f} s and {largest:.0f} MB more"
    )


# The command


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every kind as a file, under names of photos."""
    folder = tmp_path_factory.mktemp("hostile")
    for number, (name, _, make) in enumerate(all_kinds()):
        (folder / f"{number:03} {re.sub('[^a-z0-9]+', ' ', name.lower())}.jpg").write_bytes(make())
    yield folder
    shutil.rmtree(folder)


def good_photos(folder: Path, classes: tuple[str, ...] = ("daisy", "roses")) -> Path:
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for k in range(10):
            image = small().rotate(20 * k + 7 * label, expand=True)
            (folder / name / f"{k}.png").write_bytes(saved(image, "PNG"))
    return folder


def prepared(source: Path, artifacts: Path, **settings: object) -> tuple[int, dict, str, float, float]:
    """Exit code, result, stderr, seconds, and the peak of memory in MB, of ``prepare``."""
    command = ["prepare", str(source), "--image-size", "64", "--artifacts", str(artifacts), "--json", "-q"]
    script = (
        "import resource, subprocess, sys\n"
        "code = subprocess.run([sys.executable, '-m', 'flowernoise', *sys.argv[1:]]).returncode\n"
        "sys.stderr.write(f'\\n{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}')\n"
        "sys.exit(code)\n"
    )
    start = time.monotonic()
    finished = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, timeout=300, check=False, **settings
    )
    stderr, _, peak = finished.stderr.rpartition("\n")
    result = json.loads(finished.stdout) if finished.returncode == 0 else {}
    return finished.returncode, result, stderr, time.monotonic() - start, int(peak) / 1000


def unreadable(artifacts: Path) -> dict[str, str]:
    body = json.loads((artifacts / "dataset.json").read_text())["body"]
    return {problem["path"]: problem["reason"] for problem in body["unreadable"]}


def test_hostile_photos_in_a_folder_are_set_apart(
    hostile: Path, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    plain = good_photos(tmp_path / "plain")
    code, _, stderr, seconds, peak = prepared(plain, tmp_path / "a")
    assert (code, stderr) == (0, "")
    mixed = good_photos(tmp_path / "mixed")
    for file in hostile.iterdir():
        (mixed / "daisy" / file.name).hardlink_to(file)
    code, result, _, more_seconds, more_peak = prepared(mixed, tmp_path / "b")
    assert code == 0
    apart = unreadable(tmp_path / "b")
    kinds = dict(zip(sorted(hostile.iterdir()), all_kinds(), strict=True))
    for file, (name, readable, _) in kinds.items():
        if readable is not None:
            assert (f"daisy/{file.name}" not in apart) is readable, name
    assert result["found"] == 20 + len(kinds)
    own_bytes = sorted(file.stat().st_size for file in hostile.iterdir())[-4:]  # several are held at once
    assert more_peak - peak < MEGABYTES + sum(own_bytes) / 1e6
    assert more_seconds - seconds < SECONDS * len(kinds)
    measured(
        f"{len(kinds)} kinds in one folder: {more_seconds - seconds:.0f} s and {more_peak - peak:.0f} MB more, "
        f"with the files' own bytes (the largest: {own_bytes[-1] / 1e6:.0f} MB)"
    )


def test_a_class_of_only_hostile_photos_is_a_one_line_error(hostile: Path, tmp_path: Path) -> None:
    source = good_photos(tmp_path / "photos", ("daisy",))
    (source / "roses").mkdir()
    for file, (_, readable, _) in zip(sorted(hostile.iterdir()), all_kinds(), strict=True):
        if readable is False:
            (source / "roses" / file.name).hardlink_to(file)
    code, _, stderr, _, _ = prepared(source, tmp_path / "artifacts")
    assert code == 1
    assert re.fullmatch(r"error: no photo of class 'roses' can be read \(\d+ unreadable, such as .*\n?", stderr)
    assert "dataset.json" not in state(tmp_path / "artifacts")


@pytest.mark.parametrize("text", ["EPS", "SVG", "pickle"])
def test_nothing_in_a_photo_is_run(text: str, tmp_path: Path) -> None:
    source = good_photos(tmp_path / "photos")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("gs", "djpeg", "convert", "magick", "rsvg-convert"):
        (tools / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (tools / name).chmod(0o755)
    for suffix in ("jpg", "png", "bmp"):
        (source / "daisy" / f"x.{suffix}").write_bytes(BOMBS[text]())
    code, *_ = prepared(
        source, tmp_path / "artifacts", cwd=tmp_path, env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    )
    assert code == 0
    assert len(unreadable(tmp_path / "artifacts")) == 3
    assert not (tmp_path / "ran").exists()


# Files that are none


def test_other_than_regular_files_are_unreadable_and_never_waited_for(tmp_path: Path) -> None:
    source = good_photos(tmp_path / "photos")
    daisy = source / "daisy"
    os.mkfifo(daisy / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(daisy)  # the names of sockets are short
        listener.bind("socket.jpg")
        os.chdir(here)
        for name, target in {
            "zero": "/dev/zero",
            "random": "/dev/urandom",
            "tty": "/dev/tty",
            "memory": "/proc/self/mem",
        }.items():
            (daisy / f"{name}.jpg").symlink_to(target)
        for name, target in {"nowhere": "nothing.jpg", "circle": "circle.jpg"}.items():
            (daisy / f"{name}.jpg").symlink_to(target)
        (daisy / "folder.jpg").mkdir()
        shutil.copy(daisy / "0.png", daisy / "folder.jpg" / "inside.png")
        (daisy / "linked.png").symlink_to("1.png")
        code, result, stderr, seconds, _ = prepared(source, tmp_path / "artifacts")
    assert code == 0, stderr
    assert seconds < 60
    reasons = unreadable(tmp_path / "artifacts")
    assert set(reasons) == {f"daisy/{name}.jpg" for name in ("pipe", "socket", "nowhere", "circle")}
    assert {(each["path"], each["reason"]) for each in result["passed_over"]} == {
        (f"daisy/{name}.jpg", "a link out of the source") for name in ("zero", "random", "tty", "memory")
    }
    for name in ("pipe", "socket"):
        assert reasons[f"daisy/{name}.jpg"] == "not a regular file"
    # Links to photos in a folder of one's own are read; here both hold what another photo holds.
    assert result["found"] == 20 + 4 + 2


def test_a_file_too_large_for_a_photo_is_not_read(tmp_path: Path) -> None:
    source = good_photos(tmp_path / "photos")
    with (source / "daisy" / "large.jpg").open("wb") as file:
        file.truncate(1 << 40)
    code, _, _, seconds, _ = prepared(source, tmp_path / "artifacts")
    assert code == 0
    assert seconds < 60
    assert unreadable(tmp_path / "artifacts") == {"daisy/large.jpg": "1,099,511,627,776 bytes are over 150,000,000"}


@heeds_permissions
def test_photos_that_may_not_be_read_are_unreadable(tmp_path: Path) -> None:
    source = good_photos(tmp_path / "photos")
    (source / "daisy" / "0.png").chmod(0)
    code, _, stderr, *_ = prepared(source, tmp_path / "artifacts", preexec_fn=drop_privileges)
    assert code == 0, stderr
    assert unreadable(tmp_path / "artifacts") == {"daisy/0.png": "Permission denied"}


@heeds_permissions
def test_a_class_that_may_not_be_listed_is_an_error(tmp_path: Path) -> None:
    source = good_photos(tmp_path / "photos")
    (source / "daisy").chmod(0)
    code, _, stderr, *_ = prepared(source, tmp_path / "artifacts", preexec_fn=drop_privileges)
    (source / "daisy").chmod(0o755)
    assert (code, stderr) == (1, f"error: cannot read {source}: Permission denied\n")


def test_names_that_are_not_utf8_are_kept_as_escapes(tmp_path: Path) -> None:
    source = good_photos(tmp_path / "photos")
    for name in (
        b"\xff\xfe.png",
        b"caf\xe9.jpg",
        b"a\nb.png",
        b"\x1b[31mred.png",
        b"=cmd|x.png",
        b"-rf.png",
        b"\xe2\x80\xae.png",
    ):
        (source / "daisy" / os.fsdecode(name)).write_bytes(b"no photo")
    code, _, stderr, *_ = prepared(source, tmp_path / "artifacts")
    assert code == 0, stderr
    paths = unreadable(tmp_path / "artifacts")
    assert len(paths) == 7
    assert all(path.isprintable() for path in paths)


@short_and_full(1_000, 100_000)
def test_many_empty_files_are_listed(count: int, tmp_path: Path, measured: Callable[[str], None]) -> None:
    source = good_photos(tmp_path / "photos")
    for number in range(count):
        (source / "daisy" / f"{number}.jpg").touch()
    code, result, stderr, seconds, peak = prepared(source, tmp_path / "artifacts")
    assert code == 0, stderr
    assert result["found"] == 20 + count
    assert len(unreadable(tmp_path / "artifacts")) == count
    measured(f"{count:,} empty files: {seconds:.0f} s, peak {peak:.0f} MB")


@pytest.mark.slow
def test_large_photos_are_decoded_one_at_a_time(tmp_path: Path) -> None:
    source = good_photos(tmp_path / "photos")
    baseline = prepared(source, tmp_path / "a")[-1]
    for k in range(8):
        (source / "daisy" / f"large{k}.png").write_bytes(REAL["PNG of 45 megapixels"]())
    code, *_, peak = prepared(source, tmp_path / "b")
    assert code == 0
    assert peak - baseline < 1.2 * MAX_BYTES / 1e6
