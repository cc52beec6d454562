"""``predict``: applies an exported model to photos."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.analysis.results.models import Predicted, PredictResult
from flowernoise.catalogue.backbones import unweighted
from flowernoise.errors import BadRequestError
from flowernoise.progress import Progress
from flowernoise.safe import images, keras_file
from flowernoise.safe.atomic import reason
from flowernoise.safe.images import UnreadablePhotoError
from flowernoise.safe.keras_file import KerasFile
from flowernoise.steps.loading import loading
from flowernoise.steps.settings import PredictSettings
from flowernoise.store import exported
from flowernoise.store.exported import About
from flowernoise.training import classifier
from flowernoise.training.features import BATCH

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def predict(settings: PredictSettings, progress: Progress) -> PredictResult:
    """Classifies photos, resized as ``prepare`` resizes them; photos that cannot be read are skipped and named.

    Our own code builds the model and fills it with the arrays from the file; nothing in the file is run.

    Raises:
        BadRequestError: no model or photos, or a model that ``export`` did not write.
    """
    settings.check()
    assert settings.model is not None
    file = keras_file.read(settings.model)
    about = exported.read_about(settings.model)
    model = _model(settings.model, file, about, progress)
    found: list[Predicted] = []
    unreadable: list[tuple[str, str]] = []
    with (
        concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,
        progress.task("predicting", len(settings.photos), "photos") as advance,
    ):
        for batch in _batches(settings.photos):
            decoded = list(
                zip(map(str, batch), pool.map(_decoded, batch, itertools.repeat(about.image_size)), strict=True)
            )
            unreadable += [(path, each) for path, each in decoded if isinstance(each, str)]
            readable = [(path, each) for path, each in decoded if not isinstance(each, str)]
            if readable:
                predictions = classifier.predictions(model, np.stack([pixels for _, pixels in readable]))
                found += [_predicted(path, row, about) for (path, _), row in zip(readable, predictions, strict=True)]
            advance(len(batch))
    return PredictResult(about.classes, tuple(found), tuple(unreadable), settings.probabilities)


def _batches(photos: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    iterator = iter(photos)
    while batch := tuple(itertools.islice(iterator, BATCH)):
        yield batch


def _decoded(path: Path, size: int) -> Pixels | str:
    """The pixels of a photo, or why it cannot be read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return "is a directory; give its photos" if stat.S_ISDIR(status.st_mode) else "is not a regular file"
        if status.st_size > images.MAX_BYTES:
            return f"is larger than {images.MAX_BYTES:,} bytes"
        return images.decode(path.read_bytes(), size)
    except OSError as error:
        return f"cannot be read: {reason(error)}"
    except UnreadablePhotoError as error:
        return f"is not a photo that can be read: {error}"
    except ValueError as error:  # a null character in the path
        return f"cannot be read: {error}"


def _predicted(path: str, predictions: np.ndarray[Any, np.dtype[np.float32]], about: About) -> Predicted:
    best = int(predictions.argmax())
    probabilities = tuple(float(str(value)) for value in predictions)  # the shortest decimals of float32
    return Predicted(path, about.classes[best], probabilities[best], probabilities)


def _model(path: Path, file: KerasFile, about: About, progress: Progress) -> Any:
    """The model, rebuilt from code, with the arrays from the file.

    Raises:
        BadRequestError: `flowernoise export` did not write it, or its classes do not match.
    """
    problem = f"{path} is not a model that `flowernoise export` wrote"
    try:
        backbone = unweighted(about.backbone)
    except BadRequestError as error:
        raise BadRequestError(f"{exported.about_path(path)}: {error}") from None
    with loading(f"Keras and {about.backbone}", progress):
        model = classifier.build(backbone.build, about.image_size, len(about.classes))
    if not classifier.has_layers(model, file.layers):
        raise BadRequestError(f"{problem}: it has other layers than {backbone.name} with a softmax head")
    biases = file.arrays.get(classifier.HEAD, [])[1:]
    if biases and biases[0].shape != (len(about.classes),):
        beside = exported.about_path(path).name
        raise BadRequestError(
            f"{path} has {biases[0].size} classes, but {beside} names {len(about.classes)}; their exports differ"
        )
    try:
        classifier.fill(model, file.arrays)
    except ValueError as error:
        raise BadRequestError(f"{problem}: {error}") from None
    return model
