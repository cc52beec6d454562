"""SIGINT and SIGTERM at any moment: exit code, one line, a quick end, nothing left behind, and the sweep goes on."""

import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.reliability.command_server import CommandServer, without_wait
from tests.reliability.real_command import short_and_full, state
from tests.timing import assert_in_time, may_be_late

SWEEP = (
    *("run", "synthetic:photos=60,size=32", "--image-size", "32", "--train", "30", "--val", "15", "--test", "15"),
    *("--backbone", "efficientnet_lite0:weights=none", "--rates", "0.4", "--seeds", "1", "--epochs", "2", "--quiet"),
)
WORDS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}
IN_TIME = 2.0  # seconds from the signal to the end
A_SWEEP = 5  # signals to one sweep at most, each to the command that goes on where the last was stopped
START = 2.5  # seconds: imports, photos, draws; the moments of the short form
KEPT = ("runs", "draws", "features", "photos")


def kept(artifacts: Path) -> dict[str, bytes]:
    """The files that must come out the same, however often it was interrupted."""
    return {path: data for path, data in state(artifacts).items() if path.split("/")[0] in KEPT}


def shown(commands: CommandServer, artifacts: Path) -> bytes:
    """The comparison, without the directory's name."""
    compared = commands.run("compare", "--json", "-a", artifacts, cwd=artifacts)
    return compared.stdout.replace(str(artifacts).encode(), b"ARTIFACTS")


def wait_for_main(process: subprocess.Popen[str]) -> None:
    """Returns once the process handles SIGTERM, which shows that ``main()`` has begun."""
    heeds = 1 << (signal.SIGTERM - 1)
    while process.poll() is None:
        caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
        if caught and int(caught[1], 16) & heeds:
            return
        time.sleep(0.001)


def stopped_after(artifacts: Path, number: signal.Signals, moment: float, environment: dict[str, str]) -> float | None:
    """Sends a signal to a sweep, checks how it ends, and returns in how many seconds; None if it was done before."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flowernoise", *SWEEP, "-a", str(artifacts)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_main(process)
    time.sleep(moment)
    sent = time.monotonic()
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    stderr = without_wait(stderr)
    took = time.monotonic() - sent
    if process.returncode == 0:
        assert (stderr, "majority" in stdout) == ("", True)
        return None
    code, word = WORDS[number]
    line = f"error: {word}; finished work is kept, the same command goes on from there\n"
    assert (process.returncode, stderr) == (code, line), stderr
    assert_in_time(took, IN_TIME)
    assert [path for path in state(artifacts) if path.endswith(".tmp")] == []
    return took


@may_be_late
@short_and_full(2, 50)
def test_a_signal_at_any_moment_ends_it_in_time_and_the_same_command_goes_on(
    count: int, real_commands: CommandServer, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    short = count < A_SWEEP
    environment = {"FLOWERNOISE_ENGINE": "keras"} if short else {}  # OpenVINO's conversion takes 5 s
    whole = real_commands.run(*SWEEP, "-a", tmp_path / "whole", cwd=tmp_path, env=environment)
    assert whole.returncode == 0, whole.stderr
    whole_sweep = START if short else START + whole.seconds
    latest = {True: whole_sweep, False: whole_sweep}  # of a fresh sweep, and of one that goes on
    files, table = kept(tmp_path / "whole"), shown(real_commands, tmp_path / "whole")
    chance, artifacts, words = random.Random(count), tmp_path / "again and again", itertools.cycle(WORDS)
    in_time: list[float] = []
    too_late = 0
    while len(in_time) < count:
        is_fresh = not artifacts.exists()
        took = stopped_after(artifacts, next(words), chance.uniform(0, latest[is_fresh]), environment)
        if took is None:
            too_late += 1
            latest[is_fresh] *= 0.9
        else:
            in_time.append(took)
        if took is None or len(in_time) % A_SWEEP == 0 or len(in_time) == count:
            assert real_commands.run(*SWEEP, "-a", artifacts, cwd=tmp_path, env=environment).returncode == 0
            assert kept(artifacts) == files
            assert shown(real_commands, artifacts) == table
            shutil.rmtree(artifacts)
    measured(
        f"{count} signals before the end, {too_late} more after it: at most {max(in_time):.2f} s to the end, each "
        "with its code and one line, and the sweeps went on to the same bytes"
    )
