"""Runs that are trained again exactly as before."""

from __future__ import annotations

import dataclasses

from flowernoise.store.records import RunKey


@dataclasses.dataclass(frozen=True)
class Restored:
    """Runs to train again: only these are trained, and they keep their recency."""

    keys: frozenset[RunKey]
    recency: int
