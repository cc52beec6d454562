"""Limits on a process that large libraries do not survive, checked before these are loaded.

TensorFlow and OpenVINO end the process with a signal where they are refused memory or a thread, so that nothing can be
said any more. What they need was measured; it is a lower bound, as it grows with the processors and the work.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from flowernoise.errors import FlowernoiseError

ADDRESS_SPACE = 3328 * 2**20  # bytes, on two processors: 3.1 GiB measured beyond what the interpreter takes
THREADS, THREADS_A_PROCESSOR = 16, 8  # 28 measured on two processors
AT_LEAST = 384 * 2**20  # bytes of address space
_RAISE = "raise it, as with `ulimit -v unlimited`"
_PROCESSES = Path("/proc")


def check_room_at_all() -> None:
    """Refuses to begin where NumPy could not even be loaded, which ends the process without a word.

    Raises:
        FlowernoiseError: a limit on address space; says what it is and how much is needed.
    """
    space = _limit("RLIMIT_AS")
    if space is not None and space < AT_LEAST:
        raise FlowernoiseError(
            f"the limit on address space is {space / 2**20:.0f} MiB, but nothing works below {AT_LEAST / 2**20:.0f} "
            f"MiB; {_RAISE}"
        )


def check_room_for_libraries() -> None:
    """Refuses to load TensorFlow and its like where a limit leaves too little for them.

    Raises:
        FlowernoiseError: a limit on address space or threads; says how much is left and how much is needed.
    """
    if "keras" in sys.modules:  # they are there already
        return
    space = _limit("RLIMIT_AS")
    if space is not None and (left := space - _own("VmSize") * 1024) < ADDRESS_SPACE:
        raise FlowernoiseError(
            f"the limit on address space leaves {max(left, 0) / 2**30:.1f} GiB, but the libraries need about "
            f"{ADDRESS_SPACE / 2**30:.1f} GiB; {_RAISE}"
        )
    processes = _limit("RLIMIT_NPROC")
    needed = THREADS + THREADS_A_PROCESSOR * (os.cpu_count() or 1)
    # The limit does not hold for root. Some threads may be hidden from the count.
    if processes is not None and os.getuid() and (free := processes - _threads_of_user()) < needed:
        raise FlowernoiseError(
            f"the limit on processes leaves {max(free, 0):,} threads, but the libraries start about {needed:,}; raise "
            "it, as with `ulimit -u unlimited`, or end other processes"
        )


def _limit(name: str) -> int | None:
    """A limit of the system; None where there is none."""
    try:
        import resource
    except ImportError:
        return None
    limit, _ = resource.getrlimit(getattr(resource, name))
    return None if limit == resource.RLIM_INFINITY else limit


def _own(field: str) -> int:
    """A number in this process's status; 0 where the system does not tell."""
    return _number(_PROCESSES / "self", field)


def _threads_of_user() -> int:
    """Threads of all processes of this user that the system tells of."""
    user = os.getuid()
    return sum(_number(path, "Threads") for path in _PROCESSES.glob("[0-9]*") if _owner(path) == user)


def _owner(process: Path) -> int | None:
    try:
        return process.stat().st_uid
    except OSError:  # it has ended
        return None


def _number(process: Path, field: str) -> int:
    try:
        found = re.search(rf"^{field}:\s+(\d+)", (process / "status").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0
