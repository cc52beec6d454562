"""The choices that ``list`` shows."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Listed:
    """One choice: its kind, name, parameters as ``key=default``, first line of help, and full help."""

    kind: str
    name: str
    parameters: tuple[str, ...]
    summary: str
    details: str
