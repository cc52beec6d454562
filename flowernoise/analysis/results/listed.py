"""What there is to pick, as ``list`` tells it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Listed:
    """One thing: its kind, name, parameters as ``key=default``, first line of help, and all of it."""

    kind: str
    name: str
    parameters: tuple[str, ...]
    summary: str
    details: str
