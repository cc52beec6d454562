"""Contact sheets: their photos, labels, and a run's predictions."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Literal

import numpy as np

from flowernoise.analysis.views.arrays import Floats, Labels, Pixels
from flowernoise.catalogue.label_words import label_words
from flowernoise.registry import format_value
from flowernoise.store import files
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import CONTROL, Selection
from flowernoise.store.setups import Mode

SheetKind = Literal["clean", "draw", "mistakes"]
_LONGEST_NAME = 120  # most characters of a file name, before its suffix


@dataclasses.dataclass(frozen=True, eq=False)
class SheetPhoto:
    """A photo on a sheet: its true class, the label that it was given, and a run's prediction with its probability.

    ``path`` is its path in the source.
    """

    id: str
    pixels: Pixels
    true: int
    given: int
    predicted: int | None = None
    probability: float | None = None
    path: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class ContactSheet:
    """The contents of a contact sheet.

    ``population`` counts the photos of the split, and ``mistakes`` those that the run misclassifies. ``inputs`` is the
    digest of the source of the labels: data set, draw, or the arrays of the run's block. ``noise_name`` is what people
    call the noise model.
    """

    kind: SheetKind
    source: str
    split: str
    population: int
    classes: tuple[str, ...]
    photos: tuple[SheetPhoto, ...]
    inputs: str
    noise: str | None = None
    noise_name: str = ""
    rate: float = 0.0
    seed: int = 0
    realised_rate: float = 0.0
    loss: str | None = None
    backbone: str | None = None
    mode: Mode | None = None
    settings: tuple[str, ...] = ()
    selection: Selection | None = None
    mistakes: int = 0
    trust: str = "all"

    @property
    def wrong(self) -> int:
        """Number of photos shown with a wrong label, or on a sheet of mistakes, with a wrong prediction."""
        return sum(photo.true != (photo.given if photo.predicted is None else photo.predicted) for photo in self.photos)

    @property
    def name(self) -> str:
        """File name, without its suffix."""
        if self.kind == "clean" or self.noise is None:
            return "clean" if label_words(self).are_clean else "given"
        draw = f"control-seed{self.seed}"
        if self.noise != CONTROL:
            draw = f"{self.noise_name or self.noise}-{format_value(self.rate)}-seed{self.seed}"
        parts = [self.kind, draw, *(part for part in (self.loss, self.backbone, self.mode) if part)]
        parts += [setting.replace(" ", "-") for setting in self.settings]
        return _file_name("-".join(parts))


def sample(index: Iterable[IndexedPhoto], count: int, seed: int) -> list[IndexedPhoto]:
    """Picks photos in proportion to their classes, at least one per class; depends only on ids and seed.

    A larger sample with the same seed contains the smaller one. The photos are ordered by class.

    >>> roses = [IndexedPhoto(f"r{k}", "train", 0, "") for k in range(6)]
    >>> tulips = [IndexedPhoto(f"t{k}", "train", 1, "") for k in range(3)]
    >>> [photo.label for photo in sample(roses + tulips, 6, seed=0)]
    [0, 0, 0, 0, 1, 1]
    """
    by_class: dict[int, list[IndexedPhoto]] = {}
    for photo in index:
        by_class.setdefault(photo.label, []).append(photo)
    # Sainte-Laguë's method: unlike the largest remainder, a larger sample never drops a photo.
    queue: list[tuple[bool, float, int, int, IndexedPhoto]] = []
    for label, members in by_class.items():
        members.sort(key=lambda photo: files.digest(f"preview:{seed}:{photo.id}".encode()))
        queue += [(place > 0, (place + 0.5) / len(members), label, place, p) for place, p in enumerate(members)]
    picked = sorted(queue, key=lambda entry: entry[:4])[:count]
    return [photo for *_, photo in sorted(picked, key=lambda entry: entry[2:4])]


def most_confident(probabilities: Floats, labels: Labels, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Rows of the photos misclassified with the highest probability; ties keep their order.

    Args:
        probabilities: predicted [photo, class].
        labels: true labels [photo].

    >>> most_confident(np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]]), np.array([0, 0, 0, 1]), 2).tolist()
    [1, 3]
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:count]


def _file_name(text: str) -> str:
    """A file name that every system accepts; a name that had to be changed gets a digest.

    >>> _file_name("draw-symmetric-0.2-seed0"), _file_name("draw-matrix:T.csv-0.2-seed0")
    ('draw-symmetric-0.2-seed0', 'draw-matrix_T.csv-0.2-seed0-97759650')
    """
    plain = re.sub(r"[^A-Za-z0-9._=+,-]", "_", text)[:_LONGEST_NAME]
    return plain if plain == text else f"{plain}-{files.digest(text.encode())[:8]}"
