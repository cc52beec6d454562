"""Records a command's operations on files below a directory, makes them fail, or ends the process in the middle.

In a forked child (see :mod:`command_server`) one of ``record``, ``crash``, ``fail`` and ``slow`` is called before the
command. They wrap everything in ``os`` and ``io`` that changes a file or makes it durable. They ignore
reading, files without a name, locks, and files elsewhere.
"""

from __future__ import annotations

import base64
import builtins
import dataclasses
import functools
import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITING = set("wax+")
STORE = ("flowernoise.store.files.", "flowernoise.safe.atomic.")


@dataclasses.dataclass(frozen=True)
class Operation:
    """One change of a file, or one sync.

    Args:
        kind: create, write, truncate, sync, rename, unlink, mkdir, rmdir or link; of a directory ``sync`` is of its
            names.
        path: below the directory looked at.
        other: the path that ``rename`` and ``link`` lead to.
        data: what ``write`` wrote.
        offset: where.
        by: the function that did it, as ``module.function``: one of :data:`STORE` if there is one on the stack.
    """

    kind: str
    path: str
    other: str = ""
    data: bytes = b""
    offset: int = 0
    by: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.path}" + (f" → {self.other}" if self.other else "")


def read(log: Path) -> list[Operation]:
    """The operations that :func:`record` recorded."""
    rows = (json.loads(line) for line in log.read_text().splitlines())
    return [Operation(**{**row, "data": base64.b64decode(row["data"])}) for row in rows]


def record(root: str, log: str) -> None:
    """Records every operation below ``root`` that succeeds."""
    stream = io.FileIO(log, "w")

    def after(operation: Operation) -> None:
        row = dataclasses.asdict(operation)
        row["data"] = base64.b64encode(operation.data).decode()
        row["by"] = _by()
        io.FileIO.write(stream, (json.dumps(row) + "\n").encode())

    _look(root, lambda operation: None, after)


def crash(root: str, at: int, when: str) -> None:
    """Ends the process ``before``, ``within`` (half of a write is done) or ``after`` the operation number ``at``."""
    count = -1

    def before(operation: Operation) -> bytes | None:
        nonlocal count
        count += 1
        if count == at and when == "before":
            os._exit(9)
        if count == at and when == "within":
            return operation.data[: len(operation.data) // 2]
        return None

    def after(_: Operation) -> None:
        if count == at and when != "before":
            os._exit(9)

    _look(root, before, after)


def fail(root: str, kind: str, number: int, errno: int, path: str = "") -> None:
    """Makes operations of a kind fail, from number ``number`` on, on paths that contain ``path``."""
    count = -1

    def before(operation: Operation) -> None:
        nonlocal count
        if operation.kind == kind and path in operation.path:
            count += 1
            if count >= number:
                raise OSError(errno, os.strerror(errno), operation.path)

    _look(root, before, lambda operation: None)


def slow(root: str, seconds: float) -> None:
    """Waits before every new file, while no file is open."""
    _look(root, lambda operation: time.sleep(seconds * (operation.kind == "create")), lambda operation: None)


def _by() -> str:
    """The innermost function on the stack that is the store's own writing, or else of flowernoise."""
    frame, found = sys._getframe(1), []
    while frame is not None:
        found.append(f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_name}")
        frame = frame.f_back  # type: ignore[assignment]
    for prefix in (*STORE, "flowernoise."):
        own = [name for name in found if name.startswith(prefix)]
        if own:
            return own[0]
    return ""


def _look(
    root: str,
    before: Callable[[Operation], bytes | None],
    after: Callable[[Operation], None],
) -> None:
    """Puts ``before`` and ``after`` around every operation below ``root``.

    What ``before`` returns is written in place of the data.
    """

    def below(path: Any, directory: int | None = None) -> str | None:
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        elif directory is not None:
            path = Path(f"/proc/self/fd/{directory}").readlink() / os.fspath(path)
        full = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
        if full != root and not full.startswith(root + "/"):
            return None
        relative = os.path.relpath(full, root)
        unnamed = relative.startswith("#") or "/#" in relative or relative.endswith(" (deleted)")
        return None if unnamed or "locks" in relative.split("/") else relative

    def there(where: str) -> bool:
        return os.path.lexists(os.path.join(root, where))  # noqa: PTH118

    def around(operation: Operation | None, call: Callable[[], Any]) -> Any:
        if operation is None:
            return call()
        before(operation)
        result = call()
        after(operation)
        return result

    def of_path(name: str, kind: str) -> None:
        real = getattr(os, name)

        @functools.wraps(real)
        def looked_at(path: Any, *arguments: Any, dir_fd: int | None = None, **named: Any) -> Any:
            where = below(path, dir_fd)
            if dir_fd is not None:
                named["dir_fd"] = dir_fd
            in_vain = where and {"unlink": not there(where), "mkdir": there(where)}.get(kind, False)
            operation = Operation(kind, where) if where and not in_vain else None
            return around(operation, lambda: real(path, *arguments, **named))

        setattr(os, name, looked_at)

    def of_two_paths(name: str, kind: str) -> None:
        real = getattr(os, name)

        @functools.wraps(real)
        def looked_at(path: Any, other: Any, **named: Any) -> Any:
            source, target = below(path, named.get("src_dir_fd")), below(other, named.get("dst_dir_fd"))
            operation = Operation(kind, source or "", target or "") if source or target else None
            return around(operation, lambda: real(path, other, **named))

        setattr(os, name, looked_at)

    for name, kind in (("unlink", "unlink"), ("remove", "unlink"), ("mkdir", "mkdir"), ("rmdir", "rmdir")):
        of_path(name, kind)
    for name, kind in (("replace", "rename"), ("rename", "rename"), ("link", "link")):
        of_two_paths(name, kind)
    for name in ("fsync", "fdatasync"):
        of_path(name, "sync")
    real_open, real_write = os.open, os.write

    def written(path: str | None, data: Any, offset: Callable[[], int], write: Callable[[Any], int]) -> int:
        if path is None:
            return write(data)
        operation = Operation("write", path, data=bytes(data), offset=offset())
        instead = before(operation)
        count = write(data if instead is None else instead)
        after(operation)
        return count

    @functools.wraps(real_open)
    def looked_at_open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        where = None if flags & os.O_TMPFILE == os.O_TMPFILE else below(path, dir_fd)
        named = {} if dir_fd is None else {"dir_fd": dir_fd}
        makes = where and flags & os.O_CREAT and not there(where)
        kind = "create" if makes else "truncate" if flags & os.O_TRUNC else None
        operation = Operation(kind, where) if where and kind else None
        return int(around(operation, lambda: real_open(path, flags, mode, **named)))

    @functools.wraps(real_write)
    def looked_at_write(descriptor: int, data: Any) -> int:
        place = lambda: os.lseek(descriptor, 0, os.SEEK_CUR)  # noqa: E731
        return written(below(descriptor), data, place, lambda chunk: real_write(descriptor, chunk))

    class Raw(io.FileIO):
        """A file whose writes are looked at."""

        def __init__(self, file: Any, mode: str, path: str) -> None:
            super().__init__(file, mode)
            self._path = path

        def write(self, data: Any) -> int:  # type: ignore[override]
            return written(self._path, data, self.tell, super().write)

        def truncate(self, size: int | None = None) -> int:
            result = super().truncate(size)
            after(Operation("truncate", self._path, offset=result))
            return result

    real_io_open = io.open

    @functools.wraps(real_io_open)
    def looked_at_io_open(file: Any, mode: str = "r", buffering: int = -1, *arguments: Any, **named: Any) -> Any:
        where = below(file) if set(mode) & WRITING and not named.get("opener") else None
        if where is None:
            return real_io_open(file, mode, buffering, *arguments, **named)
        raw_mode = mode.replace("b", "").replace("t", "")
        if isinstance(file, int):
            raw = Raw(file, raw_mode, where)
        else:
            kind = "create" if not there(where) else "truncate" if "w" in mode else None
            operation = Operation(kind, where) if kind else None
            raw = around(operation, lambda: Raw(os.fspath(file), raw_mode, where))
        if buffering == 0:
            return raw
        buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        for not_of_text in ("closefd", "opener"):
            named.pop(not_of_text, None)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *arguments, **named)

    os.open, os.write = looked_at_open, looked_at_write
    io.open = builtins.open = looked_at_io_open  # type: ignore[assignment]
