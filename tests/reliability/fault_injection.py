"""Faults that a test injects into a command: called in the forked child before the command begins."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def useless_locks(seconds: float) -> None:
    """Locks as some network file systems have them: everybody gets every lock; and blocks so slow that some meet."""
    import fcntl

    slow_training(seconds)

    def granted(_descriptor: Any, _operation: int) -> None:
        return None

    fcntl.flock = granted


def slow_training(seconds: float) -> None:
    """Every block of heads takes some seconds more."""
    from flowernoise.training import heads

    plain = heads.train_heads

    def slowly(*arguments: Any, **more: Any) -> Iterator[Any]:
        time.sleep(seconds)
        yield from plain(*arguments, **more)

    heads.train_heads = slowly


def little_memory(megabytes: int, outside: str) -> None:
    """Fails what takes more memory than now by so much, and ends the process at once if it opens a file outside."""
    ctypes.CDLL(None).mallopt(-8, 1)  # M_ARENA_MAX: a thread's arena reserves 64 MB of addresses, and takes none
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + megabytes * 2**20,) * 2)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(arguments[0]).startswith(outside):
            os._exit(77)

    sys.addaudithook(watch)
