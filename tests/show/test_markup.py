"""Names that look like Rich's markup are shown as they are, by every command, at a terminal and in a pipe."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("[red]x[red]", "[link=example.org]y", "[bold]z\\")
SOURCE = "[blink]photos"
TRAINED = ("--backbone", "efficientnet_lite0:weights=none", "--learning-rate", "1e-3", "--l2", "0", "--epochs", "1")
COLOUR = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")


def at_terminal(work: Path, *words: str) -> str:
    """What a command writes to a terminal of 400 columns, without colours."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "flowernoise", *words]
    env = {**os.environ, "COLUMNS": "400", "TERM": "xterm-256color"}
    with subprocess.Popen(command, cwd=work, stdout=slave, stderr=slave, env=env) as process:
        os.close(slave)
        written = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # the terminal is gone with the last that wrote to it
                break
            if not piece:
                break
            written += piece
    os.close(master)
    text = written.decode()
    assert process.returncode == 0, text
    assert "\x1b]8;" not in text, "a link"
    assert "\x1b[5m" not in text, "blinking"
    return COLOUR.sub("", text)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos in folders that are called like markup."""
    work = tmp_path_factory.mktemp("markup")
    for number, name in enumerate(CLASSES):
        (work / SOURCE / name).mkdir(parents=True)
        for k in range(12):
            pixels = np.random.default_rng([number, k]).integers(0, 256, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((24, 16)).save(work / SOURCE / name / f"[b]{k:02}[b].png")
    return work


def test_every_command_shows_names_like_markup_as_they_are(work: Path) -> None:
    shown = {
        "prepare": at_terminal(work, "prepare", SOURCE, "--image-size", "16"),
        "corrupt": at_terminal(work, "corrupt", "--rates", "0.4", "--seeds", "1"),
        "train": at_terminal(work, "train", *TRAINED),
        "evaluate": at_terminal(work, "evaluate"),
        "compare": at_terminal(work, "compare"),
        "recall": at_terminal(work, "compare", "--metric", f"recall:{CLASSES[0]}"),
        "preview": at_terminal(work, "preview", "--photos", "6"),
        "status": at_terminal(work, "status"),
        "verify": at_terminal(work, "verify"),
        "plot": at_terminal(work, "plot", "transition", "--output", "[u]pictures[u]"),
        "report": at_terminal(work, "report"),
        "remove": at_terminal(work, "remove", "--where", "loss=mae"),
    }
    for command, following in (("prepare", "corrupt"), ("corrupt", "train"), ("train", "evaluate")):
        assert f"next: flowernoise {following}" in shown[command]
    assert "next: flowernoise report" in shown["compare"]
    for command in ("prepare", "evaluate"):
        assert all(name in shown[command] for name in CLASSES), shown[command]
    assert "folder:" in shown["compare"]
    for command in ("compare", "recall", "status"):
        assert SOURCE in shown[command], shown[command]
    assert f"recall:{CLASSES[0]}" in shown["recall"]
    assert "[u]pictures[u]" in shown["plot"]
    report = (work / "artifacts" / "report.md").read_text()
    assert all(name.replace("\\", "\\\\") in report for name in CLASSES)


def test_an_error_shows_names_like_markup_as_they_are(work: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "flowernoise", "prepare", SOURCE, "--positive", "[red]q[/red]", "-a", "[red]a[red]"],
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "[red]q[/red]" in ended.stderr
    assert all(name in ended.stderr for name in CLASSES)
