"""Features: the output of a frozen backbone for each photo, extracted once."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from flowernoise.safe import images
from flowernoise.training import engine, inference

BATCH = 32
FeatureArray = np.ndarray[Any, np.dtype[np.float32]]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def extract(model: Any, encoded: Iterable[bytes], image_size: int, advance: Callable[[int], None]) -> FeatureArray:
    """Pooled features of photos; the next batch is decoded while the model works on the current one.

    Args:
        model: Keras model from float32 images [n, size, size, 3], RGB 0 … 255, to features [n, d]; or an
            ``inference.Network`` converted from such a model.
        encoded: the photos.
        image_size: side in pixels.
        advance: called with the number of photos just done.

    Returns:
        float32 [n, d].
    """
    decoded = decoded_batches(encoded, image_size, itertools.repeat(BATCH))
    if isinstance(model, inference.Network):
        return model.features(decoded, advance)
    model.compile(jit_compile=engine.jit_compile())
    batches = []
    for pixels in decoded:
        features = model.predict_on_batch(inference.filled(pixels, BATCH))
        batches.append(np.asarray(features, dtype=np.float32)[: len(pixels)])
        advance(len(pixels))
    return np.concatenate(batches)


def decoded_batches(encoded: Iterable[bytes], image_size: int, sizes: Iterable[int]) -> Iterator[Pixels]:
    """Decoded photos in batches of the given sizes, decoded one batch ahead of the caller.

    Args:
        encoded: the photos.
        image_size: side in pixels.
        sizes: photos in each batch; the last may be smaller if the photos run out.

    Yields:
        uint8 [photos, size, size, 3].
    """
    iterator, remaining_sizes = iter(encoded), iter(sizes)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:

        def submit() -> list[concurrent.futures.Future[Any]]:
            photos = itertools.islice(iterator, next(remaining_sizes, 0))
            return [pool.submit(images.decode, data, image_size) for data in photos]

        ahead = submit()
        while ahead:
            present, ahead = ahead, submit()
            yield np.stack([future.result() for future in present])
