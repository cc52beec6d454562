"""Names of data sets and directories, as short as possible but unique."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from flowernoise.analysis.comparison.evaluated import Directory, Group
from flowernoise.catalogue.sources import without_path
from flowernoise.store.records import TestPhotos, Trust


def variants_of(groups: Sequence[Group], directories: Sequence[Directory]) -> list[str]:
    """For each directory, the label that its columns need: its name if another has equal columns, else empty."""
    names = _short([directory.path for directory in directories])
    clashing: set[int] = set()
    for group in groups:
        holders: dict[tuple[Any, ...], set[int]] = {}
        for cell in group.cells:
            holders.setdefault(cell[1:], set()).add(cell.directory)
        clashing |= {position for those in holders.values() if len(those) > 1 for position in those}
    return [name if position in clashing else "" for position, name in enumerate(names)]


def datasets_of(groups: Sequence[Group], directories: Sequence[Directory]) -> tuple[TestPhotos, ...]:
    """The data sets, each with the shortest unique name."""
    short = _short([directory.path for directory in directories])
    namings: list[Callable[[Group], str]] = [
        lambda group: without_path(group.dataset.request.source),
        lambda group: group.dataset.request.source,
        _source_and_task,
        lambda group: f"{_source_and_task(group)}, in {' and '.join(short[d] for d in group.directories)}",
    ]
    names = next(n for naming in namings if len(set(n := [naming(group) for group in groups])) == len(groups))
    return tuple(
        TestPhotos(
            name=name,
            source=group.dataset.request.source,
            classes=group.dataset.classes,
            test_counts=group.dataset.counts[2],
            majority=group.dataset.majority,
            select=group.selected,
            splits=group.dataset.splits,
            trust=_trust(directories[place].dataset.request.trust for place in group.directories),
        )
        for name, group in zip(names, groups, strict=True)
    )


def _trust(each: Iterable[Trust]) -> Trust:
    """What can be said of test photos that directories share: that fewer labels were checked."""
    return max(each, key=("test", "all", "none").index)


def _short(paths: Sequence[Path]) -> list[str]:
    """The last parts of paths, as many as make them unique."""
    resolved = [path.resolve().parts for path in paths]
    for count in range(1, max(map(len, resolved)) + 1):
        names = ["/".join(parts[-count:]) for parts in resolved]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _source_and_task(group: Group) -> str:
    request = group.dataset.request
    return f"{request.source}, {request.positive} or not" if request.positive else request.source
