"""Versions of the packages that made a result."""

from __future__ import annotations

import importlib.metadata

from flowernoise import __version__


def of(*packages: str) -> dict[str, str]:
    """Versions of flowernoise and of packages, by name.

    >>> list(of("numpy"))
    ['flowernoise', 'numpy']
    """
    return {"flowernoise": __version__, **{name: importlib.metadata.version(name) for name in packages}}
