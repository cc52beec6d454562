"""Names of the splits that a source may come with."""

from __future__ import annotations

from collections.abc import Collection

from flowernoise.errors import BadRequestError

_NAMES = {"train": "train", "val": "val", "validation": "val", "valid": "val", "dev": "val", "test": "test"}
_SPELLINGS = ", ".join(_NAMES)


def named(name: str) -> str | None:
    """The split that a name stands for, whatever its case; None if it is not the name of a split.

    >>> named("Validation"), named("train"), named("roses")
    ('val', 'train', None)
    """
    return _NAMES.get(name.strip().casefold())


def required(name: str, where: str) -> str:
    """The split that a name stands for.

    Raises:
        BadRequestError: it is not the name of a split; ``where`` says whose it is.
    """
    split = named(name)
    if split is None:
        raise BadRequestError(f"{where}: {name[:80]!r} is not a split; there are {_SPELLINGS}")
    return split


def are_all(names: Collection[str]) -> bool:
    """Whether all names, and at least one, are those of splits.

    >>> are_all(["train", "test"]), are_all(["train", "roses"]), are_all([])
    (True, False, False)
    """
    return bool(names) and all(named(name) for name in names)
