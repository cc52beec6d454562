"""Networks in ONNX files, which OpenVINO runs: what they take and give, and how they are prepared for photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.registry import number
from flowernoise.safe.openvino_ import openvino

Layout = Literal["nchw", "nhwc"]
USUAL_SIZE = 224  # where a network takes photos of any size, its output is looked at with this one


@dataclass(frozen=True)
class Scaling:
    """How pixels become a network's input: (x / divide − mean) / std, per channel; pixels are 0 to 255."""

    divide: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


def channels(text: str, key: str) -> tuple[float, ...]:
    """Reads one number, or three joined by plus signs: ``0.485+0.456+0.406``.

    Raises:
        BadRequestError: it is something else.

    >>> channels("0.5", "mean"), channels("1+2+3", "mean")
    ((0.5, 0.5, 0.5), (1.0, 2.0, 3.0))
    """
    try:
        numbers = tuple(number(part) for part in text.split("+"))
        if len(numbers) not in (1, 3) or (key == "std" and min(numbers) <= 0) or not all(abs(n) < 1e6 for n in numbers):
            raise ValueError
    except ValueError:
        wanted = "above 0, " if key == "std" else ""
        raise BadRequestError(
            f"backbone onnx: {key}={text} is not one number, or three joined by +, {wanted}as in 0.485+0.456+0.406"
        ) from None
    return numbers * 3 if len(numbers) == 1 else numbers


def size_of_output(content: bytes, path: str, layout: Layout) -> tuple[int, int | None]:
    """Number of features, and the side in pixels of the photos if the network takes only one.

    Raises:
        FlowernoiseError: OpenVINO is not installed.
        BadRequestError: OpenVINO cannot read the file, or the network is not one from photos to features.
    """
    model = _read(content, path)
    side = _side(model, path, layout)
    _reshape(model, path, layout, side or USUAL_SIZE, 1)
    shape = model.outputs[0].partial_shape
    features = shape[1 if layout == "nchw" or len(shape) == 2 else 3]
    if features.is_dynamic:
        raise BadRequestError(f"{path}: its number of features is not known: its output has the shape {shape}")
    return int(features.get_length()), side


def prepared(content: bytes, path: str, layout: Layout, scaling: Scaling, size: int, photos: int) -> Any:
    """The network with its preprocessing, from float32 photos [n, size, size, 3], 0 to 255, to features [n, d].

    Spatial outputs are averaged over positions.

    Args:
        content: the file.
        path: its path, for messages.
        layout: order of the axes of its input, and of a spatial output.
        scaling: of its input.
        size: side in pixels.
        photos: n.

    Raises:
        BadRequestError: it does not take photos of this size.
    """
    import numpy as np

    library = openvino()
    model = _read(content, path)
    side = _side(model, path, layout)
    if side not in (None, size):
        raise BadRequestError(
            f"{path} takes photos of {side} × {side} pixels, not {size}; run `flowernoise prepare` with "
            f"--image-size {side}"
        )
    _reshape(model, path, layout, size, photos)
    output = model.get_results()[0].input_value(0)
    if len(output.get_partial_shape()) == 4:
        axes = np.array([2, 3] if layout == "nchw" else [1, 2])
        pooled = library.opset13.reduce_mean(output, axes, keep_dims=False)
        model = library.Model([pooled], model.get_parameters(), "features")
    steps = library.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(library.Type.f32).set_layout(library.Layout("NHWC"))
    steps.input().model().set_layout(library.Layout(layout.upper()))
    steps.input().preprocess().scale(scaling.divide).mean(list(scaling.mean)).scale(list(scaling.std))
    steps.output().tensor().set_element_type(library.Type.f32)
    return steps.build()


def refuse_to_build(path: str) -> NoReturn:
    """Says that Keras cannot build the network.

    Raises:
        BadRequestError: always.
    """
    raise BadRequestError(
        f"backbone onnx:{path} only gives features: it cannot be fine-tuned or exported; choose a keras:NAME for that"
    )


def _read(content: bytes, path: str) -> Any:
    try:
        library = openvino()
    except ImportError:
        raise FlowernoiseError(
            "backbone onnx needs OpenVINO, which is not installed; run: pip install 'flowernoise[fast]'"
        ) from None
    try:
        model = library.Core().read_model(content)
    except RuntimeError as error:
        raise BadRequestError(f"{path} cannot be read by OpenVINO: {_first_line(error)}") from None
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise BadRequestError(
            f"{path} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            "save a network with one of each, from photos to features"
        )
    return model


def _side(model: Any, path: str, layout: Layout) -> int | None:
    """The side of the photos that a network takes; None if it takes any."""
    shape = model.inputs[0].partial_shape
    if shape.rank.is_dynamic or len(shape) != 4:
        raise BadRequestError(f"{path} does not take photos: its input has the shape {shape}")
    axes: Sequence[int] = (1, 2, 3) if layout == "nchw" else (3, 1, 2)
    colours, *sides = (shape[axis] for axis in axes)
    if colours.is_static and colours.get_length() != 3:
        other = "nhwc" if layout == "nchw" else "nchw"
        raise BadRequestError(
            f"{path} does not take three colours in the layout {layout}: its input has the shape {shape}; "
            f"try layout={other}"
        )
    known = {side.get_length() for side in sides if side.is_static}
    if len(known) > 1:
        raise BadRequestError(f"{path} takes photos that are not square: its input has the shape {shape}")
    return int(known.pop()) if known else None


def _reshape(model: Any, path: str, layout: Layout, size: int, photos: int) -> None:
    """Sets the shape of the input, and refuses an output that is neither a vector nor a map of features per photo."""
    try:
        model.reshape([photos, 3, size, size] if layout == "nchw" else [photos, size, size, 3])
    except RuntimeError as error:
        raise BadRequestError(
            f"{path} cannot take {photos} photos of {size} × {size} pixels at a time: {_first_line(error)}"
        ) from None
    shape = model.outputs[0].partial_shape
    fits = shape.rank.is_static and len(shape) in (2, 4) and (shape[0].is_dynamic or shape[0].get_length() == photos)
    if not fits:
        raise BadRequestError(
            f"{path} does not give features: its output has the shape {shape}, neither [photos, features] nor that of "
            "a map of features, which would be averaged"
        )


def _first_line(error: Exception) -> str:
    """The line of OpenVINO's message that says what is wrong: the last; those before name its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[-1].split())[:200] if lines else type(error).__name__
