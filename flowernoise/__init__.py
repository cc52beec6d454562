"""Measure what mislabelling does to an image classifier, and which loss to train with.

In Python, :class:`Artifacts` opens an artifacts directory, :func:`corrupt_labels` draws noisy labels, :func:`loss`
makes a robust loss for ``model.compile``, and :func:`estimate_transition_matrix` estimates from noisy labels which
classes are mistaken for which. :func:`find_label_issues` says which labels look wrong, and :func:`estimate_noise` how
many are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowernoise.api import Artifacts as Artifacts
    from flowernoise.api import corrupt_labels as corrupt_labels
    from flowernoise.api import estimate_noise as estimate_noise
    from flowernoise.api import estimate_transition_matrix as estimate_transition_matrix
    from flowernoise.api import find_label_issues as find_label_issues
    from flowernoise.api import loss as loss

__version__ = "0.1.0"

_PUBLIC = (
    "Artifacts",
    "corrupt_labels",
    "estimate_noise",
    "estimate_transition_matrix",
    "find_label_issues",
    "loss",
)


def __getattr__(name: str) -> Any:
    """Imports public names when they are first used, so that importing the package costs nothing."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flowernoise import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*_PUBLIC, "__doc__", "__version__"])
