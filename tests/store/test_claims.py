"""Claims of several processes in one directory: who waits, who is refused, and what the dead leave behind."""

import contextlib
import json
import os
import platform
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowernoise.errors import BadRequestError, ExitCode, FlowernoiseError
from flowernoise.progress import Silent
from flowernoise.safe import atomic
from flowernoise.store import claims, files
from flowernoise.store.claims import Claim, Held, Others
from flowernoise.store.layout import Layout
from tests.timing import assert_in_time, may_be_late

GATE = "directory.lock"
HOLD = """
import json, sys
from pathlib import Path
from flowernoise.progress import Silent
from flowernoise.store import claims
from flowernoise.store.layout import Layout

with claims.claimed(Layout(Path(sys.argv[1])), Silent(), lambda _: claims.Claim(**json.loads(sys.argv[2]))):
    print("held", flush=True)
    sys.stdin.readline()
print("released", flush=True)
"""

Holder = Callable[..., subprocess.Popen[str]]


class Notes(Silent):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "artifacts")


@pytest.fixture
def holder(layout: Layout) -> Iterator[Holder]:
    """Starts processes that hold a claim until they are told, or killed; returns once it is held."""
    started: list[subprocess.Popen[str]] = []

    def start(work: str, wait: bool = True, **claim: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(layout.root), json.dumps({"work": work, **claim})]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        if wait:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        with process:  # closes its pipes, waits for its end
            process.kill()


def release(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    process.wait(30)


def names(layout: Layout) -> set[str]:
    return {path.name for path in layout.locks.iterdir()}


def claim(
    layout: Layout, work: str, request: str = "", progress: Silent | None = None
) -> contextlib.AbstractContextManager[Held]:
    return claims.claimed(layout, progress or Silent(), lambda _: Claim(work, request))


def held_by(layout: Layout) -> list[Claim]:
    """The claims that a newcomer sees; it makes none."""
    seen: list[Claim] = []

    def look(others: Others) -> None:
        seen.extend(others.values())

    with claims.claimed(layout, Silent(), look):
        return seen


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fails where the block hangs, rather than with it."""

    def expired(*_: object) -> None:
        pytest.fail(f"still waiting after {seconds} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)  # again and again: a finaliser may swallow it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# One process


def test_a_claim_says_who_does_what_and_is_gone_afterwards(layout: Layout) -> None:
    with claim(layout, "features of resnet50", "digest"):
        [path] = layout.locks.glob("*.json")
        assert names(layout) == {GATE, path.name, path.with_suffix(".lock").name}
        assert path.name.startswith(f"features-{os.getpid()}-")
        plain = json.loads(path.read_bytes())
        assert (plain["work"], plain["request"], plain["process"]) == ("features of resnet50", "digest", os.getpid())
        assert plain["host"] == platform.node()
        assert held_by(layout)[0].work == "features of resnet50"
    assert names(layout) == {GATE}
    assert held_by(layout) == []


def test_a_claim_is_gone_after_an_exception_too(layout: Layout) -> None:
    with pytest.raises(KeyboardInterrupt), claim(layout, "train"):
        raise KeyboardInterrupt
    assert names(layout) == {GATE}


def test_who_chooses_nothing_claims_nothing(layout: Layout) -> None:
    with claims.claimed(layout, Silent(), lambda _: None):
        assert names(layout) == {GATE}


def test_an_error_while_choosing_is_raised_and_leaves_no_claim(layout: Layout) -> None:
    def choose(_: Others) -> Claim:
        raise BadRequestError("replaced meanwhile")

    with pytest.raises(BadRequestError, match="replaced meanwhile"), claims.claimed(layout, Silent(), choose):
        pytest.fail("claimed")
    assert names(layout) == {GATE}
    with claim(layout, "train"):  # nor is the gate shut
        pass


def test_other_work_of_the_same_process_is_beside_it(layout: Layout) -> None:
    """Training extracts features while it holds its own claim."""
    with claim(layout, "train"), at_most(20), claims.exclusive(layout, "features of resnet50", Silent()):
        assert {each.work for each in held_by(layout)} == {"train", "features of resnet50"}


# Two processes


@pytest.mark.parametrize("work", ["corrupt", "evaluate", "features of resnet50", "prepare"])
def test_the_same_work_waits_for_its_end_and_says_for_whom(layout: Layout, holder: Holder, work: str) -> None:
    process, notes = holder(work), Notes()
    timer = threading.Timer(1.0, release, (process,))
    timer.start()
    started = time.monotonic()
    with at_most(30), claim(layout, work, progress=notes):
        assert time.monotonic() - started >= 1.0
        assert [each.process for each in held_by(layout)] == [os.getpid()]
    timer.join()
    [note] = notes.lines  # once, however long it waits
    assert note.startswith(f"waiting for {work} (process {process.pid} on {platform.node()}, since ")
    assert note.endswith(f" in {layout.root}")
    assert names(layout) == {GATE}


def test_whoever_waited_chooses_anew(layout: Layout, holder: Holder) -> None:
    process = holder("corrupt")
    timer = threading.Timer(0.3, release, (process,))
    seen = []

    def choose(others: Others) -> Claim | None:
        seen.append([each.work for each in others.values()])
        if others:
            timer.start()
            return Claim("corrupt")
        return None

    with at_most(30), claims.claimed(layout, Silent(), choose):
        pass
    timer.join()
    assert seen == [["corrupt"], []]


@pytest.mark.parametrize(
    ("theirs", "ours", "verdict"),
    [
        (("train", ""), ("train", ""), "together"),
        (("train", ""), ("evaluate", ""), "together"),
        (("train", ""), ("corrupt", ""), "together"),
        (("evaluate", ""), ("train", ""), "together"),
        (("corrupt", ""), ("features of resnet50", ""), "together"),
        (("features of resnet50", ""), ("features of efficientnet_lite0", ""), "together"),
        (("prepare", "a"), ("prepare", "b"), "refuse"),
        (("train", ""), ("prepare", "a"), "refuse"),
        (("corrupt", ""), ("prepare", "a"), "refuse"),
        (("evaluate", ""), ("prepare", "a"), "refuse"),
        (("features of resnet50", ""), ("prepare", "a"), "refuse"),
        (("prepare", "a"), ("prepare", "a"), "wait"),
        (("prepare", "a"), ("train", ""), "wait"),
        (("prepare", "a"), ("corrupt", ""), "wait"),
        (("prepare", "a"), ("evaluate", ""), "wait"),
        (("evaluate", ""), ("evaluate", ""), "wait"),
    ],
)
def test_what_may_go_on_beside_what(theirs: tuple[str, str], ours: tuple[str, str], verdict: str) -> None:
    assert claims._verdict(Claim(*ours), Claim(*theirs)) == verdict


def test_training_goes_on_beside_training_and_sees_its_runs(layout: Layout, holder: Holder) -> None:
    holder("train", makes={"a": "1"})
    seen: list[dict[str, str]] = []

    def choose(others: Others) -> Claim:
        seen.extend(each.makes for each in others.values())
        return Claim("train", makes={"b": "2"})

    with at_most(20), claims.claimed(layout, Silent(), choose):
        assert seen == [{"a": "1"}]
        assert sorted(str(each.makes) for each in held_by(layout)) == ["{'a': '1'}", "{'b': '2'}"]


@pytest.mark.parametrize(("work", "request_"), [("prepare", "of other photos"), ("train", ""), ("evaluate", "")])
def test_photos_are_not_replaced_while_others_work_with_them(
    layout: Layout, holder: Holder, work: str, request_: str
) -> None:
    process = holder(work, request=request_)
    before = names(layout)
    with pytest.raises(BadRequestError) as caught, claim(layout, "prepare", "of these photos"):
        pytest.fail("claimed")
    assert caught.value.exit_code is ExitCode.BAD_REQUEST
    assert str(caught.value).startswith(f"{layout.root} is in use by {work} (process {process.pid} on ")
    assert "wait until it ends, or give another directory with --artifacts" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(layout) == before  # theirs holds on
    release(process)
    with claim(layout, "prepare", "of these photos"):
        pass


def test_of_many_processes_one_works_at_a_time(layout: Layout, holder: Holder) -> None:
    processes = [holder("corrupt", wait=False) for _ in range(4)]
    order: list[int] = []

    def follow(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        order.append(process.pid)
        claimed = [json.loads(path.read_bytes())["process"] for path in layout.locks.glob("*.json")]
        order.extend(pid for pid in claimed if pid != process.pid)  # nobody else
        release(process)

    threads = [threading.Thread(target=follow, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(order) == sorted(process.pid for process in processes)
    assert names(layout) == {GATE}


# Work that is shared out in units


def test_a_claim_that_is_held_can_change(layout: Layout) -> None:
    with claims.claimed(layout, Silent(), lambda _: Claim("train", makes={"a": "1"})) as held:
        seen: list[Others] = []
        held.change(lambda others: seen.append(others) or Claim("train", makes={"b": "1"}))  # type: ignore[func-returns-value]
        assert seen == [{}]  # one's own claim is not another's
        assert [each.makes for each in held_by(layout)] == [{"b": "1"}]
        held.change(lambda _: None)
        assert held_by(layout) == []
    assert names(layout) == {GATE}


def test_who_waits_for_a_unit_goes_on_when_its_process_is_at_another(layout: Layout) -> None:
    """A process holds its lock from its first unit to its last, which may take hours."""
    with claims.claimed(layout, Silent(), lambda _: Claim("train", makes={"a": "1"})) as held:
        [(lock, claim)] = claims._living(layout).items()
        timer = threading.Timer(0.3, held.change, (lambda _: Claim("train", makes={"b": "1"}),))
        timer.start()
        with at_most(20):
            claims.wait_for({lock: claim})
        timer.join()
        assert [each.makes for each in held_by(layout)] == [{"b": "1"}]


def test_of_several_claims_the_first_to_end_ends_the_wait(layout: Layout, holder: Holder) -> None:
    processes = [holder("train", makes={name: "1"}) for name in "ab"]
    others = claims._living(layout)
    timer = threading.Timer(0.3, release, (processes[1],))
    timer.start()
    with at_most(20):
        claims.wait_for(others)
    timer.join()
    assert len(held_by(layout)) == 1


def test_units_of_the_same_features_are_made_beside_each_other(layout: Layout, holder: Holder) -> None:
    holder("features of resnet50", makes={"00000000": ""})
    ours = Claim("features of resnet50", makes={"00000256": ""})
    with at_most(20), claims.claimed(layout, Silent(), lambda _: ours):
        assert len(held_by(layout)) == 2


# The dead


@may_be_late
@pytest.mark.parametrize("work", ["corrupt", "prepare", "train"])
def test_the_claim_of_the_dead_is_taken_over_at_once_and_its_files_are_removed(
    layout: Layout, holder: Holder, work: str
) -> None:
    process = holder(work)
    assert len(names(layout)) == 3
    process.kill()
    process.wait()
    assert len(names(layout)) == 3  # it had no time to clear up
    notes = Notes()
    started = time.monotonic()
    with at_most(20), claim(layout, "prepare", progress=notes):
        assert_in_time(time.monotonic() - started, 1)
        assert [each.process for each in held_by(layout)] == [os.getpid()]
        assert len(names(layout)) == 3
    assert notes.lines == []
    assert names(layout) == {GATE}


@may_be_late
def test_who_waits_for_a_process_that_is_killed_goes_on(layout: Layout, holder: Holder) -> None:
    process = holder("evaluate")
    killed: list[float] = []

    def kill() -> None:
        process.kill()
        killed.append(time.monotonic())

    timer = threading.Timer(0.5, kill)
    timer.start()
    with at_most(20), claim(layout, "evaluate"):
        assert_in_time(time.monotonic() - killed[0], 1)
    timer.join()
    assert names(layout) == {GATE}


def test_temporary_files_of_the_dead_are_removed_with_the_next_claim(layout: Layout, holder: Holder) -> None:
    process = holder("corrupt")
    process.kill()
    process.wait()
    machine = atomic.owner_mark().partition("-")[0]
    layout.draws.mkdir()
    dead = layout.draws / f".a.h5.{machine}-{process.pid}-0123456789ab.tmp"
    living = layout.draws / f".b.h5.{machine}-{os.getpid()}-0123456789ab.tmp"
    for path in (dead, living):
        path.write_bytes(b"half")
    with claim(layout, "corrupt"):
        assert list(layout.draws.iterdir()) == [living]


def test_waiting_for_a_claim_that_nobody_holds_ends_at_once(layout: Layout) -> None:
    layout.locks.mkdir(parents=True)
    lock = layout.locks / "train-1-0123abcd.lock"
    with at_most(20):
        claims.wait_for({lock: Claim("train")})  # not there
        lock.touch()
        lock.with_suffix(".json").touch()
        claims.wait_for({lock: Claim("train")})
    assert names(layout) == set()


# Where claims are of no use


def test_a_directory_that_cannot_be_locked_is_worked_in_without(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on file systems that do not know locks."""
    import filelock

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    seen: list[Others] = []
    with at_most(20), claims.claimed(layout, Silent(), lambda others: seen.append(others) or Claim("train")):
        assert list(layout.locks.glob("*.json")) == []
    assert seen == [{}]


def test_a_gate_that_stays_shut_is_passed_after_a_while(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    import filelock

    monkeypatch.setattr(claims, "PATIENCE", 0.2)
    layout.locks.mkdir(parents=True)
    with filelock.FileLock(layout.locks / GATE), at_most(20), claim(layout, "train"):
        assert names(layout) == {GATE}


def test_where_nothing_can_be_written_work_goes_on_without_claims(layout: Layout) -> None:
    layout.root.mkdir()
    layout.locks.write_text("a file in the place of the folder")
    with at_most(20), claim(layout, "evaluate"):
        pass
    assert layout.locks.read_text() == "a file in the place of the folder"


def test_a_read_only_directory_is_worked_in_without_claims(layout: Layout) -> None:
    layout.root.mkdir()
    layout.root.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        if os.access(layout.root, os.W_OK):
            pytest.skip("this user (root) may write to read-only directories")
        with at_most(20), claim(layout, "evaluate"):
            assert list(layout.root.iterdir()) == []
    finally:
        layout.root.chmod(0o755)


def test_a_claim_that_cannot_be_written_leaves_nothing(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, _: bytes) -> bool:
        raise FlowernoiseError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(files, "write_plain", full)
    with contextlib.suppress(FlowernoiseError), claim(layout, "train"):
        pass
    assert names(layout) == {GATE}


# Files in the folder that nobody has made by way of a claim

ODD = [
    b"",
    b"{}",
    b"null",
    b"\0" * 100,
    b"\xff\xfe",
    b'{"work": "\xff"}',
    b'{"work": 3}',
    b'{"work": "prepare"',
    b'{"work": "prepare", "more": 1}',
    b'{"work": ' + b"[" * 100_000,
    b'{"work": "prepare", "runs": ' + b'{"a":' * 100_000,
]


@pytest.mark.parametrize("data", ODD, ids=[str(data[:30]) for data in ODD])
def test_a_claim_that_cannot_be_read_is_as_none(layout: Layout, holder: Holder, data: bytes) -> None:
    process = holder("prepare")
    [path] = layout.locks.glob("*.json")
    path.write_bytes(data)
    with at_most(20), claim(layout, "corrupt"):
        assert [each.work for each in held_by(layout)] == ["corrupt"]
    release(process)


@pytest.mark.parametrize("kind", ["missing", "folder", "link", "pipe", "huge"])
def test_a_claim_that_is_no_file_of_its_own_is_as_none(layout: Layout, holder: Holder, kind: str) -> None:
    holder("prepare")
    [path] = layout.locks.glob("*.json")
    data = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        (layout.root / "elsewhere").write_bytes(data)
        path.symlink_to(layout.root / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        with path.open("wb") as stream:
            stream.truncate(2**40)
    with at_most(20), claim(layout, "corrupt"):
        assert [each.work for each in held_by(layout)] == ["corrupt"]


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):  # its name must be short
        made.bind(path.name)


@pytest.mark.parametrize("kind", ["file", "folder", "full folder", "link", "dangling link", "circle", "pipe", "socket"])
def test_whatever_lies_there_as_a_lock_holds_nobody_up(layout: Layout, tmp_path: Path, kind: str) -> None:
    """A directory from others may hold such things beside a claim that would have to be waited for."""
    layout.locks.mkdir(parents=True)
    lock = layout.locks / "x.lock"
    outside = tmp_path / "outside"
    outside.write_text("precious")
    makers: dict[str, Callable[[], object]] = {
        "file": lock.touch,
        "folder": lock.mkdir,
        "full folder": lambda: (lock / "x").mkdir(parents=True),
        "link": lambda: lock.symlink_to(outside),
        "dangling link": lambda: lock.symlink_to(tmp_path / "nowhere"),
        "circle": lambda: lock.symlink_to(lock),
        "pipe": lambda: os.mkfifo(lock),
        "socket": lambda: make_socket(lock),
    }
    makers[kind]()
    lock.with_suffix(".json").write_text(json.dumps({"work": "prepare", "process": 1, "host": "elsewhere"}))
    with at_most(4), claim(layout, "corrupt"):
        pass
    assert outside.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", ["folder", "link", "dangling link", "pipe"])
def test_a_gate_that_is_no_file_is_passed_by(
    layout: Layout, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "PATIENCE", 1.0)
    layout.locks.mkdir(parents=True)
    gate = layout.locks / GATE
    outside = tmp_path / "outside"
    outside.write_text("precious")
    if kind == "folder":
        gate.mkdir()
    elif kind == "pipe":
        os.mkfifo(gate)
    else:
        gate.symlink_to(outside if kind == "link" else tmp_path / "nowhere")
    with at_most(20), claim(layout, "corrupt"):
        pass
    assert outside.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()
