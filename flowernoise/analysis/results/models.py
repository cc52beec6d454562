"""What ``export`` wrote, and what ``predict`` answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from flowernoise.store.records import RunKey, Selection


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How a model's probabilities differ from those that its run gave to the same test photos.

    ``difference`` is the largest of any photo and class, ``alike`` counts photos with the same predicted class.
    """

    photos: int
    alike: int
    difference: float


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """An exported model.

    Args:
        model, about: the files, and whether they were there already.
        extractor: what computed the features that the run was trained on, and in which precision.
        on_features: largest difference of the head's probabilities from the run's, on the features of its test photos;
            None for a fine-tuned network, whose weights are kept.
        agreement: of the whole model, from photos on; None where it is not known what the run answered.
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
    """What a model answers to a photo."""

    path: str
    predicted: str
    probability: float
    probabilities: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class PredictResult:
    """Answers in the order in which photos were given; ``unreadable`` has paths and reasons."""

    classes: tuple[str, ...]
    photos: tuple[Predicted, ...]
    unreadable: tuple[tuple[str, str], ...]
    all_probabilities: bool
