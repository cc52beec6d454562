"""What ``prepare`` does with features that come without photos: it splits their rows, and stores them like photos."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import msgspec

from flowernoise.catalogue.feature_files import FeatureArray, FeatureRows
from flowernoise.errors import BadRequestError
from flowernoise.store import feature_rows, files, photos
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import DatasetRequest, GivenFeatures

MISSING = 0.15  # of train, for a val or a test that the file does not give
_FIRST = ("test", "val", "train")  # where equal rows go that are given in several splits

Sizes = tuple[int, int, int]
Split = Callable[[Mapping[str, str], Sizes | None, int], dict[str, str]]
InAll = Callable[[Callable[[int], Mapping[str, str]]], Mapping[str, Sequence[str]]]


@dataclasses.dataclass(frozen=True, eq=False)
class PlacedRows:
    """Rows in the splits, in the order that everything downstream uses, with their features, and what to record."""

    index: tuple[IndexedPhoto, ...]
    features: FeatureArray
    given: GivenFeatures


def placed(
    rows: FeatureRows, request: DatasetRequest, relabel: Sequence[int], split: Split, in_all: InAll
) -> PlacedRows:
    """Puts rows into splits; equal rows are kept, and are in one split.

    Args:
        rows: the rows of a file.
        request: sizes and seed of the split.
        relabel: the task's label for each class of the file.
        split: assigns labelled ids to splits, given sizes and a seed.
        in_all: the places of rows in all requested splits, from a function that draws one with a seed.

    Raises:
        BadRequestError: too few rows, splits that cannot be kept, or several splits of rows that equal others.
    """
    groups = equal_rows(rows.ids, rows.features)
    if request.splits > 1 and groups:
        raise BadRequestError(
            f"--splits {request.splits}: {sum(map(len, groups)):,} rows equal others and stay together, so splits "
            "would differ in size; leave equal rows out, or the option"
        )
    splits = in_all(lambda seed: _splits(rows, msgspec.structs.replace(request, seed=seed), groups, split))
    place = {id: number for number, id in enumerate(rows.ids)}
    index = photos.in_order(
        IndexedPhoto(id, first, relabel[rows.labels[place[id]]], id, further=tuple(further))
        for id, (first, *further) in splits.items()
    )
    features = rows.features[[place[photo.id] for photo in index]]
    given = GivenFeatures(features.shape[1], feature_rows.digest(features), sum(map(len, groups)))
    return PlacedRows(tuple(index), features, given)


def equal_rows(ids: Sequence[str], features: FeatureArray) -> list[list[str]]:
    """The ids of rows that are equal to others, group by group, each sorted.

    >>> import numpy as np
    >>> equal_rows(["b", "a", "c"], np.array([[1, 2], [1, 2], [3, 4]], dtype=np.float32))
    [['a', 'b']]
    """
    groups: dict[str, list[str]] = {}
    for id, row in zip(ids, features, strict=True):
        groups.setdefault(files.digest(row.tobytes()), []).append(id)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def _splits(
    rows: FeatureRows, request: DatasetRequest, groups: Sequence[Sequence[str]], split: Split
) -> dict[str, str]:
    """The split of each assigned row, by id; of equal rows, the first one's where splits are drawn.

    Without sizes, groups of equal rows are drawn as one, so that 15 % of what differs is tested. With sizes, rows are
    drawn, and those that equal others follow them, so a split may be a little larger or smaller.
    """
    labels = {id: rows.classes[label] for id, label in zip(rows.ids, rows.labels, strict=True)}
    given = {} if request.resplit else dict(zip(rows.ids, rows.splits or (), strict=False))
    if len(set(given.values())) > 1:  # a single one is no split
        assigned = as_given(labels, given, request, split)
        together = {group[0]: min((assigned[id] for id in group), key=_FIRST.index) for group in groups}
    else:
        others = {id for _, *rest in groups for id in rest} if request.sizes is None else set()
        assigned = split({id: label for id, label in labels.items() if id not in others}, request.sizes, request.seed)
        together = {group[0]: assigned.get(group[0], "") for group in groups}
    for first, *rest in groups:
        assigned |= dict.fromkeys((first, *rest), together[first])
    return {id: name for id, name in assigned.items() if name}


def as_given(
    labels: Mapping[str, str], given: Mapping[str, str], request: DatasetRequest, split: Split
) -> dict[str, str]:
    """Keeps rows in the splits that they are given in; a missing val or test is drawn from train.

    Raises:
        BadRequestError: there is no train, or other sizes are asked for.
    """
    there = set(given.values())
    if "train" not in there:
        raise BadRequestError(f"{request.source} has {' and '.join(sorted(there))} rows but no train")
    if request.sizes is not None:
        raise BadRequestError(f"{request.source} gives splits; leave --train, --val and --test out")
    pool = {id: label for id, label in labels.items() if given[id] == "train"}
    val, test = (0 if name in there else round(MISSING * len(pool)) for name in ("val", "test"))
    return dict(given) | split(pool, (len(pool) - val - test, val, test), request.seed)
