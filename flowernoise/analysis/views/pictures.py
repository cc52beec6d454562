"""Pictures of results, with their file names."""

from __future__ import annotations

import dataclasses
import hashlib
import re

_MAX_NAME = 60  # most characters of a spec in a file name


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture: its kind, its file name without suffix, and the view that it draws."""

    kind: str
    name: str
    data: object


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The pictures that can be drawn, and notes for their viewer."""

    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]


def slug(spec: str) -> str:
    """A spec as part of a file name.

    >>> slug("gce:q=0.5")
    'gce-q-0.5'
    """
    plain = re.sub(r"[^\w.]+", "-", spec).strip("-")
    if len(plain) <= _MAX_NAME:
        return plain
    return f"{plain[: _MAX_NAME - 9]}-{hashlib.sha256(spec.encode()).hexdigest()[:8]}"
