"""Results of ``export`` and ``predict``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from flowernoise.store.records import RunKey, Selection


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How a model's probabilities differ from its run's on the same test photos.

    ``difference`` is the largest over photos and classes; ``alike`` counts photos with the same predicted class.
    """

    photos: int
    alike: int
    difference: float


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """An exported model.

    Args:
        model, about: the files, and whether they existed already.
        extractor: what computed the features that the run was trained on, and in which precision.
        on_features: largest difference between the head's and the run's probabilities, on the features of the test
            photos; None for a fine-tuned network, whose weights are stored.
        agreement: for the whole model, starting from photos; None where there are none.
    """

    model: Path
    about: Path
    done_before: bool
    key: RunKey
    select: Selection
    classes: tuple[str, ...]
    extractor: str
    on_features: float | None
    agreement: Agreement | None


@dataclasses.dataclass(frozen=True)
class Predicted:
    """A model's prediction for a photo."""

    path: str
    predicted: str
    probability: float
    probabilities: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class PredictResult:
    """Predictions in the order of the photos; ``unreadable`` has paths and reasons."""

    classes: tuple[str, ...]
    photos: tuple[Predicted, ...]
    unreadable: tuple[tuple[str, str], ...]
    all_probabilities: bool
