"""A model of a disk that tells what may be on it after a power failure.

It promises what POSIX promises, and nothing else. Data is safe once its file is synced, and a name is safe once its
directory is synced. Until then, each change of a name may be lost, and data may be complete, cut short or missing.
Renames are atomic.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.reliability.file_operations import Operation

Tree = dict[str, bytes | None]  # every file's data; None for a directory
ALL_COMBINATIONS = 4  # of so many changes that may be lost; of more, none, all, each alone, and all but each


@dataclasses.dataclass(eq=False)
class _Node:
    """A file or directory, as programs see it and as it is guaranteed to be on the disk."""

    is_directory: bool
    data: bytes = b""
    synced: bytes = b""
    names: dict[str, _Node] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(eq=False)
class _Change:
    """Names that change together, and that may be lost until the directory is synced."""

    directory: _Node
    removed: tuple[str, ...]
    added: dict[str, _Node]


class Disk:
    """The disk: a root directory whose content is safe to begin with."""

    def __init__(self, tree: Tree) -> None:
        self._root = _Node(is_directory=True)
        for name, data in sorted(tree.items()):
            directory, last = self._parent(name)
            directory.names[last] = _Node(data is None, data or b"", data or b"")
        self._safe: dict[_Node, dict[str, _Node]] = {}
        self._remember(self._root)
        self._pending: list[_Change] = []

    def apply(self, operation: Operation) -> None:
        """Applies an operation of a program."""
        getattr(self, f"_{operation.kind}")(operation)

    def seen(self) -> Tree:
        """What programs see."""
        return _tree({node: node.names for node in self._nodes()}, self._root, {})

    def after_a_crash(self) -> list[Tree]:
        """All possible states of the disk; what programs see comes first."""
        unsynced = [node for node in self._nodes() if not node.is_directory and node.data != node.synced]
        variants: list[dict[_Node, bytes]] = [{}]
        if unsynced:
            variants.append({node: node.synced for node in unsynced})
            variants.append({node: node.data[: len(node.data) // 2] for node in unsynced})
        found: list[Tree] = []
        for kept, data in itertools.product(_choices(self._pending), variants):
            names = {node: dict(safe) for node, safe in self._safe.items()}
            for change in kept:
                entries = names.setdefault(change.directory, {})
                for name in change.removed:
                    entries.pop(name, None)
                entries.update(change.added)
            tree = _tree(names, self._root, data)
            if tree not in found:
                found.append(tree)
        return found

    def promised(self) -> Tree:
        """The files whose names and data were synced and not changed since."""
        unsafe = {(change.directory, name) for change in self._pending for name in (*change.removed, *change.added)}
        found: Tree = {}
        for path, node, directory in self._walk(self._root, ""):
            name = path.rpartition("/")[2]
            if not node.is_directory and node.data == node.synced and (directory, name) not in unsafe:
                found[path] = node.data
        return found

    def _parent(self, path: str) -> tuple[_Node, str]:
        *folders, last = path.split("/")
        node = self._root
        for folder in folders:
            node = node.names[folder]
        return node, last

    def _node(self, path: str) -> _Node:
        if path == ".":
            return self._root
        directory, last = self._parent(path)
        return directory.names[last]

    def _change(self, path: str, node: _Node | None, *removed: str) -> None:
        directory, last = self._parent(path)
        change = _Change(directory, removed, {} if node is None else {last: node})
        for name in removed:
            directory.names.pop(name)
        directory.names.update(change.added)
        self._pending.append(change)

    def _create(self, operation: Operation) -> None:
        self._change(operation.path, _Node(is_directory=False))

    def _mkdir(self, operation: Operation) -> None:
        self._change(operation.path, _Node(is_directory=True))

    def _unlink(self, operation: Operation) -> None:
        self._change(operation.path, None, self._parent(operation.path)[1])

    _rmdir = _unlink

    def _rename(self, operation: Operation) -> None:
        (source, name), (target, _) = self._parent(operation.path), self._parent(operation.other)
        if source is not target:
            raise NotImplementedError(f"{operation}: from one directory into another")
        self._change(operation.other, source.names[name], name)

    def _link(self, operation: Operation) -> None:
        self._change(operation.other, self._node(operation.path))

    def _write(self, operation: Operation) -> None:
        node, end = self._node(operation.path), operation.offset + len(operation.data)
        node.data = node.data[: operation.offset].ljust(operation.offset, b"\0") + operation.data + node.data[end:]

    def _truncate(self, operation: Operation) -> None:
        node = self._node(operation.path)
        node.data = node.data[: operation.offset].ljust(operation.offset, b"\0")

    def _sync(self, operation: Operation) -> None:
        node = self._node(operation.path)
        node.synced = node.data
        if node.is_directory:
            self._safe[node] = dict(node.names)
            self._pending = [change for change in self._pending if change.directory is not node]

    def _remember(self, node: _Node) -> None:
        self._safe[node] = dict(node.names)
        for below in node.names.values():
            if below.is_directory:
                self._remember(below)

    def _nodes(self) -> Iterator[_Node]:
        yield self._root
        yield from (node for _, node, _ in self._walk(self._root, ""))

    def _walk(self, directory: _Node, prefix: str) -> Iterator[tuple[str, _Node, _Node]]:
        for name, node in directory.names.items():
            yield prefix + name, node, directory
            if node.is_directory:
                yield from self._walk(node, f"{prefix}{name}/")


def read_tree(root: Path) -> Tree:
    """The contents of a directory."""
    paths = sorted(root.rglob("*"))
    return {str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in paths}


def write_tree(root: Path, tree: Tree) -> None:
    """Makes a directory that holds a tree."""
    root.mkdir()
    for name, data in sorted(tree.items()):
        if data is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(data)


def _tree(names: dict[_Node, dict[str, _Node]], root: _Node, data: dict[_Node, bytes]) -> Tree:
    found: Tree = {}

    def walk(directory: _Node, prefix: str) -> None:
        for name, node in names.get(directory, {}).items():
            found[prefix + name] = None if node.is_directory else data.get(node, node.data)
            if node.is_directory:
                walk(node, f"{prefix}{name}/")

    walk(root, "")
    return found


def _choices(changes: Sequence[_Change]) -> Iterable[Sequence[_Change]]:
    """Which of the changes have reached the disk."""
    if len(changes) <= ALL_COMBINATIONS:
        return [
            [change for change, kept in zip(changes, chosen, strict=True) if kept]
            for chosen in itertools.product((True, False), repeat=len(changes))
        ]
    rows: list[Sequence[_Change]] = [changes, []]
    for change in changes:
        rows += [[change], [other for other in changes if other is not change]]
    return rows
