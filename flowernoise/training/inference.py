"""Networks run by OpenVINO, which extracts features on CPUs several times as fast as Keras."""

from __future__ import annotations

import collections
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from flowernoise.errors import FlowernoiseError
from flowernoise.safe.openvino_ import openvino
from flowernoise.training import engine

# Photos per request: with more, activations no longer fit in the processor's caches, which measured slower.
REQUEST = 8
# OpenVINO's names for precisions.
HINTS = {engine.FLOAT32: "f32", engine.BFLOAT16: "bf16"}
FeatureArray = np.ndarray[Any, np.dtype[np.float32]]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class Network:
    """A converted model, compiled for this processor.

    Args:
        converted: the result of :func:`convert`.
        precision: precision of the arithmetic, ``bf16`` or ``f32``.

    Raises:
        FlowernoiseError: on this processor OpenVINO would use a different precision.
    """

    def __init__(self, converted: Any, precision: str) -> None:
        library = openvino()
        # Several requests at once, each on a few cores, measured faster than one at a time on all cores.
        hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "THROUGHPUT"}
        self._compiled = library.Core().compile_model(converted, "CPU", hints)
        found = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if found != precision:
            raise FlowernoiseError(
                f"on this processor OpenVINO computes in {found}, not in {precision}; set FLOWERNOISE_ENGINE=keras"
            )

    def features(self, batches: Iterable[Pixels], advance: Callable[[int], None]) -> FeatureArray:
        """Features [n, d] of photos; takes the next photos from ``batches`` while working on the current ones.

        Requests are waited for in order. OpenVINO's own queue uses callbacks from its threads, which can hang at exit.
        """
        count = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        idle = [self._compiled.create_infer_request() for _ in range(count)]
        busy: collections.deque[tuple[Any, int]] = collections.deque()
        done = []

        def finish_oldest() -> None:
            request, photos = busy.popleft()
            request.wait()
            done.append(request.get_output_tensor(0).data[:photos].copy())
            idle.append(request)
            advance(photos)

        for pixels in batches:
            for start in range(0, len(pixels), REQUEST):
                if not idle:
                    finish_oldest()
                part, request = pixels[start : start + REQUEST], idle.pop()
                request.start_async({0: filled(part, REQUEST)})
                busy.append((request, len(part)))
        while busy:
            finish_oldest()
        return np.concatenate(done)


def filled(pixels: Pixels, size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A batch filled up with black photos: with one shape, the network compiles once and features stay the same."""
    missing = size - len(pixels)
    return np.pad(pixels, ((0, missing), (0, 0), (0, 0), (0, 0))).astype(np.float32)


def convert(model: Any) -> Any:
    """Converts a Keras model on the TensorFlow backend for OpenVINO; its weights were already checked by Keras code.

    The conversion uses a temporary directory that nobody else can write to.

    Args:
        model: from float32 images [n, size, size, 3] to features [n, d].
    """
    library = openvino()
    with tempfile.TemporaryDirectory(prefix="flowernoise-") as folder:
        model.export(folder, verbose=False)
        converted = library.Core().read_model(folder)
    converted.reshape([REQUEST, *model.input_shape[1:]])
    return converted


def least_cosine(features: FeatureArray, exact: FeatureArray) -> float:
    """The lowest cosine between a photo's features and its exact features [n, d]; 1 where both are zero.

    >>> round(least_cosine(np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [4.0, 3.0]])), 2)
    0.96
    """
    own, others = np.linalg.norm(features, axis=1), np.linalg.norm(exact, axis=1)
    where_any_is_zero = np.where(own == others, 1.0, 0.0)
    cosines = np.divide((features * exact).sum(axis=1), own * others, out=where_any_is_zero, where=own * others != 0)
    return float(cosines.min())
