"""Networks that OpenVINO runs: on CPUs several times as fast as Keras, for extracting features."""

from __future__ import annotations

import collections
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from flowernoise.errors import FlowernoiseError
from flowernoise.training import engine

# Photos in a request: the activations of more of them leave the processor's caches, which measured slower.
REQUEST = 8
# What OpenVINO calls precisions.
HINTS = {engine.FLOAT32: "f32", engine.BFLOAT16: "bf16"}
FeatureArray = np.ndarray[Any, np.dtype[np.float32]]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class Network:
    """A converted model, compiled for this processor.

    Args:
        converted: what :func:`convert` gives.
        precision: of the arithmetic, ``bf16`` or ``f32``.

    Raises:
        FlowernoiseError: on this processor OpenVINO would compute in another precision.
    """

    def __init__(self, converted: Any, precision: str) -> None:
        openvino = _openvino()
        # Several requests at once, each on few cores, measured faster than one at a time on all of them.
        hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "THROUGHPUT"}
        self._compiled = openvino.Core().compile_model(converted, "CPU", hints)
        found = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if found != precision:
            raise FlowernoiseError(
                f"OpenVINO computes in {found}, not in {precision}, on this processor; set FLOWERNOISE_ENGINE=keras"
            )

    def features(self, batches: Iterable[Pixels], advance: Callable[[int], None]) -> FeatureArray:
        """Features [n, d] of photos; the next ones are taken from ``batches`` while the present ones are worked on.

        Requests are waited for in turn. OpenVINO's own queue calls back from its threads, which can hang when it ends.
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
                asked, request = pixels[start : start + REQUEST], idle.pop()
                request.start_async({0: filled(asked, REQUEST)})
                busy.append((request, len(asked)))
        while busy:
            finish_oldest()
        return np.concatenate(done)


def _openvino() -> Any:
    """OpenVINO without the package by which it tells its makers, in a forked process, of each time it is imported."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # that is, it cannot be imported
    import openvino

    return openvino


def filled(pixels: Pixels, size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A full batch, the missing photos black: one shape is one compilation, and a photo's features stay the same."""
    missing = size - len(pixels)
    return np.pad(pixels, ((0, missing), (0, 0), (0, 0), (0, 0))).astype(np.float32)


def convert(model: Any) -> Any:
    """OpenVINO's form of a Keras model of the TensorFlow backend; its weights are those that Keras code has checked.

    By way of a directory that nobody else can write to.

    Args:
        model: from float32 images [n, size, size, 3] to features [n, d].
    """
    openvino = _openvino()
    with tempfile.TemporaryDirectory(prefix="flowernoise-") as folder:
        model.export(folder, verbose=False)
        converted = openvino.Core().read_model(folder)
    converted.reshape([REQUEST, *model.input_shape[1:]])
    return converted


def least_cosine(features: FeatureArray, exact: FeatureArray) -> float:
    """The least cosine between a photo's features and its exact ones, over photos [n, d]; 1 where both are zero.

    >>> round(least_cosine(np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [4.0, 3.0]])), 2)
    0.96
    """
    own, others = np.linalg.norm(features, axis=1), np.linalg.norm(exact, axis=1)
    where_any_is_zero = np.where(own == others, 1.0, 0.0)
    cosines = np.divide((features * exact).sum(axis=1), own * others, out=where_any_is_zero, where=own * others != 0)
    return float(cosines.min())
