"""ONNX files that strangers may have made: refused if they refer to other files.

An ONNX file is a Protocol Buffers message. Its tensors may be kept in other files, under any path, which a runtime
would open. Only the fields that can hold tensors are followed here; everything else is skipped by its length.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from flowernoise.errors import BadRequestError
from flowernoise.safe.atomic import reason

MAX_BYTES = (2 << 30) - 1  # of any Protocol Buffers message
MAX_DEPTH = 40  # messages within messages; a subgraph in a subgraph takes 4
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of a tensor
# Message: the number of each field that can lead to a tensor, and the message in it.
_FIELDS: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "model": {7: "graph", 20: "training", 25: "function"},
        "training": {1: "graph", 2: "graph"},
        "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
        "function": {7: "node", 11: "attribute"},
        "node": {5: "attribute"},
        "attribute": {
            **{5: "tensor", 10: "tensor", 6: "graph", 11: "graph"},
            **{22: "sparse tensor", 23: "sparse tensor"},
        },
        "sparse tensor": {1: "tensor", 2: "tensor"},
        "tensor": {},
    }
)


def read(path: Path) -> bytes:
    """The content of an ONNX file that holds all its tensors itself.

    Raises:
        BadRequestError: it cannot be read, is too large, is no ONNX file, or refers to other files.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadRequestError(f"cannot read {path}: it is not a regular file")
        if status.st_size > MAX_BYTES:
            raise BadRequestError(f"{path} is larger than {MAX_BYTES:,} bytes, so it is not an ONNX file")
        content = path.read_bytes()
    except OSError as error:
        raise BadRequestError(f"cannot read {path}: {reason(error)}") from None
    except ValueError as error:
        if isinstance(error, BadRequestError):
            raise
        raise BadRequestError(f"cannot read {str(path)!r}: {error}") from None  # a null character in the path
    try:
        external = _refers_elsewhere(memoryview(content))
    except (ValueError, IndexError):
        raise BadRequestError(f"{path} is not an ONNX file, or is damaged") from None
    if external:
        raise BadRequestError(f"{path} keeps tensors in other files; save it with all its data in one file")
    return content


def _refers_elsewhere(content: memoryview) -> bool:
    """Whether any tensor of a model is kept in another file.

    Raises:
        ValueError, IndexError: it is not a Protocol Buffers message.
    """
    messages = [("model", content, 0)]
    while messages:
        kind, message, depth = messages.pop()
        if depth > MAX_DEPTH:
            raise ValueError("messages are nested too deep")
        for number, value in _fields(message):
            if kind == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)):
                return True
            if number in _FIELDS[kind]:
                if isinstance(value, int):
                    raise ValueError("a number in place of a message")
                messages.append((_FIELDS[kind][number], value, depth + 1))
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: a whole number, or bytes."""
    at = 0
    while at < len(message):
        key, at = _whole_number(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _whole_number(message, at)
            yield number, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError("an unknown kind of field")
        length = {1: 8, 5: 4}.get(kind, 0)
        if kind == 2:
            length, at = _whole_number(message, at)
        if at + length > len(message):
            raise ValueError("a field is longer than its message")
        yield number, message[at : at + length]
        at += length


def _whole_number(message: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number is too long")
