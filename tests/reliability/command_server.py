"""A server that imports everything once and forks a child for every command, so that hundreds are affordable.

Nothing has computed with TensorFlow when it forks (importing it is safe to fork, using it is not), so a child differs
from the real command only in what was imported before: the same `main`, the same exit codes, byte for byte the same
results. It knows one more backbone, ``tiny``, which is built in a moment.

Run as a program it is the process itself: a line of JSON in, a line of JSON out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import flowernoise

Before = tuple[str, str, dict[str, Any]]  # module beside this file, function in it, keyword arguments
SAME_CODE = {"PYTHONPATH": str(Path(flowernoise.__file__).parents[1])}  # whatever directory a process starts in
LIMIT = 120.0  # seconds that a command may take


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended; a return code below 0 is a signal, as in ``subprocess``."""

    returncode: int
    stdout: bytes
    stderr: str
    seconds: float

    @property
    def lines(self) -> list[str]:
        """What it wrote to stderr, without the line with which a quiet command says that it takes long."""
        return without_wait(self.stderr).splitlines()


def without_wait(stderr: str) -> str:
    """What a quiet command wrote, but for the line that it takes long, as anything does on a busy machine."""
    return "".join(line for line in stderr.splitlines(keepends=True) if not line.startswith("still working after "))


@dataclasses.dataclass
class Child:
    """A running command."""

    pid: int
    _server: CommandServer
    _outputs: tuple[Path, Path]
    _started: float

    def wait(self) -> Ended:
        """Waits until it ends."""
        answer = self._server.ask({"wait": self.pid})
        seconds = time.monotonic() - self._started
        stdout, stderr = (path.read_bytes() if path.exists() else b"" for path in self._outputs)
        for path in self._outputs:
            path.unlink(missing_ok=True)
        if "late" in answer:
            raise TimeoutError(f"no end within {LIMIT:g} s: {stderr.decode(errors='replace')}")
        return Ended(answer["returncode"], stdout, stderr.decode("utf-8", "surrogateescape"), seconds)


class CommandServer:
    """The command server, as tests use it."""

    def __init__(self, kind: Literal["real", "stand-ins"]) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        self._said = Path(self._scratch.name) / "said"
        with self._said.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, __file__, kind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, **SAME_CODE, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
        self._count = 0

    def start(
        self, *arguments: object, cwd: Path, env: dict[str, str] | None = None, before: Before | None = None
    ) -> Child:
        """Starts a command in a session of its own.

        Args:
            arguments: of ``flowernoise``.
            cwd: where it runs.
            env: what is other in its environment.
            before: a function that the child calls first.
        """
        self._count += 1
        outputs = tuple(Path(self._scratch.name) / f"{self._count}.{name}" for name in ("out", "err"))
        started = time.monotonic()
        request = {
            "argv": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "env": env or {},
            "outputs": [str(path) for path in outputs],
            "before": before,
        }
        return Child(self.ask(request)["pid"], self, (outputs[0], outputs[1]), started)

    def run(
        self, *arguments: object, cwd: Path, env: dict[str, str] | None = None, before: Before | None = None
    ) -> Ended:
        """Runs a command to its end."""
        return self.start(*arguments, cwd=cwd, env=env, before=before).wait()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The process's answer to a request."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        line = stdout.readline()
        assert line, f"the command server has ended: {self._said.read_text()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()
        self._scratch.cleanup()


@contextlib.contextmanager
def command_server(kind: Literal["real", "stand-ins"]) -> Iterator[CommandServer]:
    """A command server for the length of a block, with TensorFlow or with stand-ins for all computation."""
    process = CommandServer(kind)
    try:
        yield process
    finally:
        process.close()


# From here on, code runs in the process itself.


def _serve(requests: IO[str], answers: IO[str]) -> None:
    for line in requests:
        request = json.loads(line)
        answer = _reap(request["wait"]) if "wait" in request else {"pid": _fork(request)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _fork(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            _be_the_command(request)
        finally:
            os._exit(99)  # only where the harness itself is wrong
    return pid


def _be_the_command(request: dict[str, Any]) -> None:
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    tempfile.tempdir = None  # TMPDIR may be another now
    descriptors = [os.open(os.devnull, os.O_RDONLY)]
    descriptors += [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) for path in request["outputs"]]
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.argv = ["flowernoise", *request["argv"]]
    from flowernoise.__main__ import main

    if request["before"]:
        module, function, arguments = request["before"]
        getattr(importlib.import_module(module), function)(**arguments)
    try:
        main()
    except SystemExit as stop:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(int(stop.code or 0))


def _reap(pid: int) -> dict[str, Any]:
    deadline = time.monotonic() + LIMIT
    late = False
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return {"late": True} if late else {"returncode": os.waitstatus_to_exitcode(status)}
        if time.monotonic() > deadline and not late:
            late = True
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def _import_everything(kind: str) -> None:
    import fakes
    import h5py  # noqa: F401
    import PIL.Image  # noqa: F401
    import scipy.stats  # noqa: F401

    import flowernoise.cli
    import flowernoise.steps.run  # noqa: F401

    if kind == "real":
        import keras  # noqa: F401
        import matplotlib.figure  # noqa: F401
        import tensorflow  # noqa: F401

        with contextlib.suppress(ImportError):
            import openvino  # noqa: F401
        fakes.add_tiny_backbone()
    else:
        fakes.replace_all_that_computes()


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    _import_everything(sys.argv[1])
    _serve(sys.stdin, answers)
