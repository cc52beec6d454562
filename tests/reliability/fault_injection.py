"""Faults to inject into a command; a function here is called in the forked child before the command begins."""

from __future__ import annotations

import ctypes
import hashlib
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from flowernoise.training.tasks import HeadsTask


def useless_locks(seconds: float) -> None:
    """Locks that everybody gets, as on some network file systems, and blocks slow enough to overlap."""
    import fcntl

    slow_training(seconds)

    def granted(_descriptor: Any, _operation: int) -> None:
        return None

    fcntl.flock = granted


def slow_training(seconds: float) -> None:
    """Makes every block of heads take some seconds more."""
    from flowernoise.training import heads

    plain = heads.train_heads

    def slowly(*arguments: Any, **more: Any) -> Iterator[Any]:
        time.sleep(seconds)
        yield from plain(*arguments, **more)

    heads.train_heads = slowly


def slow_finetuning(seconds: float) -> None:
    """Every fine-tuned epoch takes some seconds more."""
    from flowernoise.training.finetune import Finetuner

    plain = Finetuner.train

    def slowly(self: Any, task: Any, on_part: Any) -> Iterator[Any]:
        for answers in plain(self, task, on_part):
            yield answers
            time.sleep(seconds)

    Finetuner.train = slowly  # type: ignore[method-assign]


def logged_training(seconds: float, log: str) -> None:
    """Makes every block of heads take longer, and logs its process and a digest of its task as a line in a file."""
    from flowernoise.training import heads

    slow_training(seconds)
    slow = heads.train_heads

    def logged(task: HeadsTask, **more: Any) -> Iterator[Any]:
        parts = (task.labels, task.other_features, task.learning_rates, task.order, task.transition_matrices)
        names = [(group.function.__name__, group.heads, group.parameters) for group in task.losses]
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts) + repr(names).encode())
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()} {digest.hexdigest()}\n")
        return slow(task, **more)

    heads.train_heads = logged  # type: ignore[assignment]


def logged_extraction(seconds: float, photos: int, log: str) -> None:
    """Every shard holds a few photos, takes some seconds more, and is a line in a file as in ``logged_training``."""
    from flowernoise.store import feature_cache
    from flowernoise.training import features

    feature_cache.SHARD = photos
    plain = features.extract

    def logged(model: Any, encoded: Iterable[bytes], *more: Any) -> Any:
        data = list(encoded)
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()} {hashlib.sha256(b''.join(data)).hexdigest()}\n")
        time.sleep(seconds)
        return plain(model, data, *more)

    features.extract = logged


def little_memory(megabytes: int, outside: str) -> None:
    """Limits further memory to some megabytes, and ends the process at once if it opens a file outside."""
    ctypes.CDLL(None).mallopt(-8, 1)  # M_ARENA_MAX: a thread's arena reserves 64 MB of addresses, and takes none
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + megabytes * 2**20,) * 2)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(arguments[0]).startswith(outside):
            os._exit(77)

    sys.addaudithook(watch)
