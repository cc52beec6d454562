"""Small ONNX files, written byte by byte: a message is a series of fields, each a number, a kind and a value."""

import numpy as np


def varint(value: int) -> bytes:
    """A whole number, seven bits a byte."""
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def field(number: int, value: int | str | bytes) -> bytes:
    """A field of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name: str, array: np.ndarray, *extra: bytes) -> bytes:
    """A float tensor with its data."""
    dims = b"".join(field(1, side) for side in array.shape)
    return dims + field(2, 1) + field(8, name) + field(9, array.astype("<f4").tobytes()) + b"".join(extra)


def value_info(name: str, shape: list[int | str]) -> bytes:
    """An input or output; a text is the name of a dimension of any size."""
    sides = b"".join(field(1, field(1, side) if isinstance(side, int) else field(2, side)) for side in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, sides)))


def node(kind: str, inputs: list[str], output: str, *attributes: bytes) -> bytes:
    """An operation."""
    of_inputs = b"".join(field(1, name) for name in inputs)
    return of_inputs + field(2, output) + field(4, kind) + b"".join(field(5, each) for each in attributes)


def model(graph: bytes) -> bytes:
    """A model of opset 13."""
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))


def convolution(
    kernel: np.ndarray, shape: list[int | str], *, pooled: bool = False, extra: bytes = b"", in_attribute: bool = False
) -> bytes:
    """A network with a convolution by one kernel [d, 3, 1, 1], over images in the layout nchw.

    Args:
        shape: of the input.
        pooled: whether it ends with a global average, as [n, d].
        extra: more fields for the kernel's tensor.
        in_attribute: whether the kernel is an attribute of an operation, not one of the graph's tensors.
    """
    weights = tensor("kernel", kernel, extra)
    nodes = [node("Conv", ["images", "kernel"], "map")]
    if in_attribute:
        attribute = field(1, "value") + field(20, 4) + field(5, weights)
        nodes.insert(0, node("Constant", [], "kernel", attribute))
    if pooled:
        nodes += [node("GlobalAveragePool", ["map"], "mean"), node("Flatten", ["mean"], "features")]
    last, outputs = ("features", [shape[0], len(kernel)]) if pooled else ("map", [shape[0], len(kernel), *shape[2:]])
    return model(
        b"".join(field(1, each) for each in nodes)
        + field(2, "graph")
        + (b"" if in_attribute else field(5, weights))
        + field(11, value_info("images", shape))
        + field(12, value_info(last, outputs))
    )
