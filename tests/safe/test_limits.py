"""Limits that libraries do not survive are found out before these are loaded, and said in one line."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from flowernoise.errors import FlowernoiseError
from flowernoise.safe import limits

GIB = 2**30


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch):
    """Sets limits, in the view of a process of somebody who is not root and has loaded nothing yet."""
    found = dict.fromkeys((resource.RLIMIT_AS, resource.RLIMIT_NPROC), resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (found[which], resource.RLIM_INFINITY))
    monkeypatch.setattr(os, "getuid", lambda: Path("/proc/self").stat().st_uid or 1)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    return found


@pytest.mark.usefixtures("limited")
def test_without_limits_nothing_is_refused() -> None:
    limits.check_room_at_all()
    limits.check_room_for_libraries()


def test_too_little_address_space_is_refused_with_what_is_left_and_needed(limited) -> None:
    limited[resource.RLIMIT_AS] = 3 * GIB
    with pytest.raises(FlowernoiseError, match=r"leaves \d\.\d GiB, but the libraries need about 3\.2 GiB; raise it"):
        limits.check_room_for_libraries()
    limited[resource.RLIMIT_AS] = 64 * GIB
    limits.check_room_for_libraries()


def test_too_few_threads_are_refused_with_how_many_are_left_and_needed(limited, monkeypatch) -> None:
    needed = limits.THREADS + limits.THREADS_A_PROCESSOR * os.cpu_count()
    monkeypatch.setattr(limits, "_threads_of_user", lambda: 10)
    limited[resource.RLIMIT_NPROC] = 9 + needed
    with pytest.raises(FlowernoiseError, match=rf"leaves {needed - 1} threads, but the libraries start about {needed}"):
        limits.check_room_for_libraries()
    limited[resource.RLIMIT_NPROC] = 10 + needed
    limits.check_room_for_libraries()


def test_the_threads_of_a_user_are_counted() -> None:
    assert limits._threads_of_user() >= 1


def test_libraries_that_are_loaded_are_not_refused(limited, monkeypatch) -> None:
    limited[resource.RLIMIT_AS] = GIB
    monkeypatch.setitem(sys.modules, "keras", object())
    limits.check_room_for_libraries()


@pytest.mark.parametrize(("mebibytes", "says"), [(200, "is 200 MiB, but nothing"), (1200, "but the libraries need")])
def test_a_command_under_a_limit_ends_in_one_line(tmp_path: Path, mebibytes: int, says: str) -> None:
    words = ("run", "synthetic:photos=40,size=32", "--image-size", "32", "--rates", "0.4", "--seeds", "1", "-q")
    ended = subprocess.run(
        [sys.executable, "-m", "flowernoise", *words, "--backbone", "efficientnet_lite0:weights=none"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (mebibytes * 2**20,) * 2),
    )
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("error: the limit on address space ")
    assert says in line
