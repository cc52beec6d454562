"""Pictures: whatever can be drawn of results, under the name of its file."""

from __future__ import annotations

import dataclasses
import hashlib
import re

_MAX_NAME = 60  # characters of a spec in a file name


@dataclasses.dataclass(frozen=True)
class Picture:
    """The kind of a picture, its file's name without suffix, and what it shows: the view that its kind draws."""

    kind: str
    name: str
    data: object


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The pictures that can be drawn, and what their viewer should know."""

    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]


def slug(spec: str) -> str:
    """A spec as part of a file's name.

    >>> slug("gce:q=0.5")
    'gce-q-0.5'
    """
    plain = re.sub(r"[^\w.]+", "-", spec).strip("-")
    if len(plain) <= _MAX_NAME:
        return plain
    return f"{plain[: _MAX_NAME - 9]}-{hashlib.sha256(spec.encode()).hexdigest()[:8]}"
