"""The most similar photos of each photo."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

Labels = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Singles = np.ndarray[Any, np.dtype[np.float32]]

_AT_ONCE = 1 << 24  # similarities in memory


def nearest(features: Singles, groups: Labels, k: int) -> tuple[Labels, Singles]:
    """The k nearest photos by cosine similarity, nearest first, none of the photo's own group.

    A near duplicate would be its own nearest neighbour and vote for its own label; published demos report half the true
    rate because of that.

    Args:
        features: [n, d].
        groups: numbers of the groups [n], such as of near duplicates.
        k: how many.

    Returns:
        Their numbers [n, k], −1 where there are not as many, and their similarities [n, k], there 0.

    >>> numbers, similarities = nearest(np.array([[1, 0], [1, 0.1], [0, 1]], dtype=np.float32), np.arange(3), 1)
    >>> numbers.ravel().tolist(), bool(similarities[2, 0] < 0.1001)
    ([1, 0, 1], True)
    """
    n = len(features)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = (features / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    numbers = np.full((n, k), -1, dtype=np.int64)
    similarities = np.zeros((n, k), dtype=np.float32)
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    alone = bool((sizes == 1).all())
    found = min(k, n)
    step = max(1, _AT_ONCE // n)
    for begin in range(0, n, step):
        rows = np.arange(begin, min(begin + step, n))
        similar = unit[rows] @ unit.T
        if alone:
            similar[np.arange(len(rows)), rows] = -np.inf
        else:
            similar[group[rows][:, None] == group[None]] = -np.inf
        best = np.argpartition(-similar, found - 1, axis=1)[:, :found]
        values = np.take_along_axis(similar, best, axis=1)
        order = np.lexsort((best, -values), axis=1)
        values = np.take_along_axis(values, order, axis=1)
        there = values > -np.inf
        numbers[rows, :found] = np.where(there, np.take_along_axis(best, order, axis=1), -1)
        similarities[rows, :found] = np.where(there, values, 0)
    return numbers, similarities


def groups_of_equal_rows(features: Floats) -> Labels:
    """Numbers of groups [n]: rows that are equal are in one.

    >>> groups_of_equal_rows(np.array([[1.0, 2.0], [0.0, 2.0], [1.0, 2.0]])).tolist()
    [0, 1, 0]
    """
    seen: dict[bytes, int] = {}
    rows = np.ascontiguousarray(features)
    return np.array([seen.setdefault(hashlib.blake2b(row).digest(), len(seen)) for row in rows], dtype=np.int64)
