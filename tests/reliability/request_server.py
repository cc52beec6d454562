"""A server that runs command lines in forked children of one loaded process, TensorFlow excepted: dozens a second.

Reads one JSON object per line (``arguments``, ``cwd``, ``env``, ``user``) and answers each with one (``code``,
``stdout``, ``stderr``). A child that does not end in time is killed and has the code None.
"""

import contextlib
import functools
import importlib
import json
import os
import pkgutil
import signal
import sys
import tempfile
import time
from typing import IO, Any

import flowernoise

TIME = 20  # seconds


def load() -> None:
    """Imports the package and what its commands import when they run, but for TensorFlow and the like."""
    for module in pkgutil.walk_packages(flowernoise.__path__, "flowernoise."):
        importlib.import_module(module.name)
    for name in ("h5py", "matplotlib.figure", "PIL.JpegImagePlugin", "logging", "difflib", "email.parser"):
        importlib.import_module(name)
    typer = importlib.import_module("typer.main")
    typer.get_command = functools.cache(typer.get_command)  # most of the time that a request would take
    command = typer.get_command(importlib.import_module("flowernoise.cli").app)
    for number in ("1", "x"):  # Typer and Rich import what they need when they first need it
        with contextlib.suppress(Exception):
            command.main(["list", "losses", "ce", "--quiet", "--epochs", number], standalone_mode=False)
        with contextlib.suppress(Exception):
            command.main(["preview", "--photos", number, "-a", os.devnull], standalone_mode=False)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Runs one request."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if not child:
            become(request, stdout, stderr)
        return {"code": code_of(child), "stdout": text_of(stdout), "stderr": text_of(stderr)}


def become(request: dict[str, Any], stdout: IO[bytes], stderr: IO[bytes]) -> None:
    """Makes this process the command."""
    from flowernoise.__main__ import main

    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    os.dup2(stdout.fileno(), 1)
    os.dup2(stderr.fileno(), 2)
    if request["user"] is not None:
        os.setgroups([])
        os.setresgid(*[request["user"]] * 3)
        os.setresuid(*[request["user"]] * 3)
    sys.argv = ["flowernoise", *request["arguments"]]
    main()


def code_of(child: int) -> int | None:
    """Exit code of a child."""
    deadline = time.monotonic() + TIME
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def text_of(file: IO[bytes]) -> str:
    """What a child wrote."""
    file.seek(0)
    return file.read().decode(errors="surrogateescape")


if __name__ == "__main__":
    load()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
