"""``remove``: removes runs from an artifacts directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from flowernoise.analysis import where
from flowernoise.analysis.results.upkeep import Removed, RemoveResult
from flowernoise.errors import BadRequestError
from flowernoise.progress import Progress
from flowernoise.steps.settings import RemoveSettings
from flowernoise.store import artifacts, claims, datasets, runs
from flowernoise.store.inventory import Inventory
from flowernoise.store.layout import Layout
from flowernoise.store.records import Dataset, RunBlock, RunKey


def remove(artifacts_directory: Path, settings: RemoveSettings, progress: Progress) -> RemoveResult:
    """Lists the matching runs and, on request, removes them; draws, features and photos stay.

    Raises:
        BadRequestError: nothing is prepared or trained, or no run matches.
        DamagedFileError: runs are damaged.
    """
    settings.check()
    layout = artifacts.opened(artifacts_directory)
    if not settings.yes:
        blocks = runs.blocks(layout, datasets.need(layout).id)
        return RemoveResult(_counted(_picked(layout, blocks, settings)), removed=False)
    with claims.exclusive(layout, "remove", progress):
        dataset = datasets.need(layout)
        blocks = runs.blocks(layout, dataset.id)
        picked = _picked(layout, blocks, settings)
        before = _size(layout)
        _remove(layout, dataset, blocks, picked, progress)
        return RemoveResult(_counted(picked), removed=True, bytes=before - _size(layout))


def _picked(layout: Layout, blocks: Mapping[str, RunBlock], settings: RemoveSettings) -> set[RunKey]:
    keys = {key for block in blocks.values() for key in block.keys}
    if not keys:
        raise BadRequestError(f"{layout.root} has no runs for its data set")
    identities = where.matching(settings.where, {key.identity for key in keys})
    return {key for key in keys if key.identity in identities}


def _counted(picked: Iterable[RunKey]) -> tuple[Removed, ...]:
    counts = Counter(key.identity for key in picked)
    return tuple(Removed(*identity, runs=count) for identity, count in sorted(counts.items()))


def _remove(
    layout: Layout, dataset: Dataset, blocks: Mapping[str, RunBlock], picked: set[RunKey], progress: Progress
) -> None:
    concerned = {name: block for name, block in blocks.items() if not picked.isdisjoint(block.keys)}
    with progress.task("removing", len(concerned), "blocks") as advance:
        for name, block in concerned.items():
            runs.remove_runs(layout, dataset, name, block, picked)
            advance(1)


def _size(layout: Layout) -> int:
    return Inventory(layout).by_stage().get("train", (0, 0))[1]
