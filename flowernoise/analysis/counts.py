"""Counts of draws and runs, and of those with problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from flowernoise.analysis import where
from flowernoise.analysis.results.status import DrawCount, RunCount
from flowernoise.store.records import CONTROL, Draw, DrawKey, RunBlock, RunKey
from flowernoise.store.runs import StoredRun
from flowernoise.store.setups import Setup

Group = tuple[str, Setup]


def of_draws(drawn: Iterable[DrawKey]) -> tuple[DrawCount, ...]:
    """Counts draws by noise model and rate."""
    counts = Counter((key.noise, key.rate) for key in drawn)
    return tuple(DrawCount(noise, rate, count) for (noise, rate), count in sorted(counts.items()))


def of_runs(
    blocks: Mapping[str, RunBlock],
    live: Mapping[RunKey, StoredRun],
    drawn: Mapping[DrawKey, Draw],
    evaluated: set[RunKey],
) -> tuple[RunCount, ...]:
    """Counts runs by loss and setup.

    Args:
        blocks: all blocks with runs of the data set.
        live: the valid version of every run among them.
        drawn: the draws with usable labels.
        evaluated: the runs in the evaluation.
    """
    every = Counter(_group(key) for block in blocks.values() for key in block.keys)
    recency = {key.identity: stored.block.recency for key, stored in live.items()}
    latest = {(identity.method, identity.setup) for identity in where.shown((), [recency])[0]}
    alive, failed, unevaluated, stale, noisy = (Counter[Group]() for _ in range(5))
    for key, stored in live.items():
        group = _group(key)
        draw = drawn.get(key.draw)
        current = draw is not None and draw.labels == stored.run.labels
        alive[group] += 1
        failed[group] += stored.run.failure is not None
        unevaluated[group] += key not in evaluated
        stale[group] += not current
        noisy[group] += current and key.noise != CONTROL
    draws_noisy = sum(key.noise != CONTROL for key in drawn)
    return tuple(
        RunCount(
            *group,
            runs=alive[group],
            failed=failed[group],
            unevaluated=unevaluated[group],
            superseded=every[group] - alive[group],
            stale=stale[group],
            lacking=draws_noisy - noisy[group] if group in latest else 0,
        )
        for group in sorted(alive, key=lambda group: (group[1], group[0] != "ce", group[0]))
    )


def _group(key: RunKey) -> Group:
    return key.method, key.setup
