"""Runs that are made again as they were."""

from __future__ import annotations

import dataclasses

from flowernoise.store.records import RunKey


@dataclasses.dataclass(frozen=True)
class Restored:
    """Runs that were there before and are made again: nothing else is trained, and their recency stays."""

    keys: frozenset[RunKey]
    recency: int
