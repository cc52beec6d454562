"""Additional labels in a TensorFlow Datasets source, such as those that people really gave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.catalogue.sources import parse_source
from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.registry import did_you_mean
from flowernoise.store.labels import NOISY_SPLITS, Labels
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import Dataset


def read(dataset: Dataset, index: Sequence[IndexedPhoto], field: str) -> dict[str, Labels]:
    """Labels of train and val from a field of the source, in index order. Imports TensorFlow.

    Raises:
        BadRequestError: the source is not from TensorFlow Datasets, lacks this field of class labels, names other
            classes, or lacks a label for a photo.
        FlowernoiseError: the source is no longer on this machine.
    """
    source, data_dir = dataset.request.source, dataset.request.data_dir
    name = parse_source(source).values.get("name")
    if name is None:
        raise BadRequestError(
            f"noise model observed: {source} has no fields, only tfds:NAME has; give a file, as in observed:labels.csv"
        )
    given, names = _field(name, None if data_dir is None else Path(data_dir), field)
    numbers = _numbers(names, dataset.classes, f"{source}, field {field}")
    noisy = [photo for photo in index if photo.split in NOISY_SPLITS]
    missing = [photo.path for photo in noisy if given.get(photo.path, -1) < 0]
    if missing:
        raise BadRequestError(
            f"{source}, field {field} has no label for {len(missing)} of the {len(noisy)} photos of train and val, "
            f"such as {missing[0]}"
        )
    return {
        split: np.array([numbers[given[photo.path]] for photo in noisy if photo.split == split], dtype=np.int64)
        for split in NOISY_SPLITS
    }


def _numbers(names: Sequence[str], classes: Sequence[str], where: str) -> list[int]:
    """The data set's number for each class of the field; a field without names uses the data set's numbers."""
    if list(names) == [str(number) for number in range(len(classes))]:
        return list(range(len(classes)))
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise BadRequestError(
            f"{where} has class {unknown[0]!r}, which is not in the data set; there are: {', '.join(classes)}"
        )
    return [list(classes).index(name) for name in names]


def _field(name: str, data_dir: Path | None, field: str) -> tuple[dict[str, int], Sequence[str]]:
    """A field's label for each example, by the path that ``prepare`` gives it, and the field's class names."""
    import tensorflow_datasets

    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir, try_gcs=False)
        features = builder.info.features
        labels = [key for key, each in features.items() if isinstance(each, tensorflow_datasets.features.ClassLabel)]
        if field not in labels:
            raise BadRequestError(
                f"tfds:{name} has no field {field!r} of class labels{did_you_mean(field, labels)}; "
                f"there are: {', '.join(labels)}"
            )
        decoders = tensorflow_datasets.decode.PartialDecoding({field: True})
        given: dict[str, int] = {}
        for split in sorted(builder.info.splits):
            examples: Any = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
            for number, example in enumerate(tensorflow_datasets.as_numpy(examples)):
                given[f"{split}/{number:06}"] = int(example[field])
    except BadRequestError:
        raise
    except Exception as error:  # TFDS raises whatever its readers raise
        text = " ".join(str(error).split())[:200]
        raise FlowernoiseError(
            f"TensorFlow Datasets cannot provide {name}: {text}; run `flowernoise prepare`"
        ) from error
    return given, features[field].names
