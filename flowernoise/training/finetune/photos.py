"""Photos for fine-tuning: decoded once and kept where they fit, otherwise decoded again ahead of the training."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flowernoise.training import features

Array = np.ndarray[Any, np.dtype[Any]]
Tensor = Any
MAX_KEPT = 4 * 2**30  # bytes of pixels; tf_flowers at 224 pixels takes 0.55 GB
PART = 256 * 2**20  # bytes of pixels decoded at a time if they are not kept


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Some of the batches of a pass, and the pixels that they need.

    Attributes:
        batches: the range of batches.
        pixels: uint8 [photos, size, size, 3], on the device.
        rows: rows of ``pixels`` [batches, photos a batch], by name.
    """

    batches: slice
    pixels: Tensor
    rows: Mapping[str, Array]


class Photos:
    """Photos that all runs share, decoded to uint8 on the device if that takes at most ``MAX_KEPT`` bytes.

    Args:
        read: reads the encoded photos of some positions.
        count: number of photos.
        image_size: side in pixels.
        most: bytes of pixels to keep.
    """

    def __init__(
        self,
        read: Callable[[Sequence[int]], Iterator[bytes]],
        count: int,
        image_size: int,
        *,
        most: int = MAX_KEPT,
    ) -> None:
        self._read, self.count, self._image_size = read, count, image_size
        self._bytes = image_size * image_size * 3
        self.are_kept = count * self._bytes <= most

    @functools.cached_property
    def _kept(self) -> Tensor:
        """The pixels of all photos, on the device."""
        from keras import ops

        return ops.convert_to_tensor(self._decoded(range(self.count)))

    def parts(self, rows: Mapping[str, Array]) -> Iterator[Part]:
        """The batches of a pass, in parts of at most ``PART`` bytes if photos are not kept; decodes a part ahead.

        Args:
            rows: positions of photos [batches, photos a batch], by name.
        """
        batches = len(next(iter(rows.values())))
        if self.are_kept:
            yield Part(slice(0, batches), self._kept, rows)
            return
        a_batch = sum(each.shape[1] for each in rows.values()) * self._bytes
        size = max(1, PART // a_batch)
        spans = [slice(start, min(start + size, batches)) for start in range(0, batches, size)]
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            ahead = [pool.submit(self._part, rows, spans[0])]
            for span in (*spans[1:], None):
                present = ahead.pop()
                if span is not None:
                    ahead.append(pool.submit(self._part, rows, span))
                yield present.result()

    def _part(self, rows: Mapping[str, Array], batches: slice) -> Part:
        from keras import ops

        wanted = {name: each[batches] for name, each in rows.items()}
        pixels = self._decoded(np.concatenate([each.ravel() for each in wanted.values()]).tolist())
        local, first = {}, 0
        for name, each in wanted.items():
            local[name] = np.arange(first, first + each.size, dtype=np.int32).reshape(each.shape)
            first += each.size
        return Part(batches, ops.convert_to_tensor(pixels), local)

    def _decoded(self, positions: Sequence[int]) -> Array:
        pixels = np.empty((len(positions), self._image_size, self._image_size, 3), dtype=np.uint8)
        start = 0
        sizes = itertools.repeat(features.BATCH)
        for batch in features.decoded_batches(self._read(positions), self._image_size, sizes):
            pixels[start : start + len(batch)] = batch
            start += len(batch)
        return pixels
