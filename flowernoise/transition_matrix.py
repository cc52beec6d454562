"""Transition matrices: T[i, j] = P(observed label j | true label i), so that rows sum to 1."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.errors import BadRequestError
from flowernoise.registry import number

Labels = np.ndarray[Any, np.dtype[np.int64]]
Matrix = np.ndarray[Any, np.dtype[np.float64]]

MAX_MATRIX = 16 * 2**20  # bytes of a matrix's file
MAX_LABELS = 2**30  # bytes of any other file, such as of labels
_LONGEST_REASON = 300  # characters of what a parser complains about
DIGITS = 12  # of a file's SHA-256 that tell it from others
TOLERANCE = 1e-6  # by which a row's sum may miss 1


def realised(true: Labels, observed: Labels, num_classes: int) -> Matrix:
    """Shares of observed labels (columns) among the examples of each true class (rows); NaN rows for absent classes.

    >>> realised(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    counts = np.bincount(true * num_classes + observed, minlength=num_classes**2).reshape(num_classes, num_classes)
    totals = counts.sum(axis=1, keepdims=True)
    shares: Matrix = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    return shares


def read(file: str, num_classes: int | None, *, owner: str, sha256: str = "") -> Matrix:
    """A transition matrix [c, c] from a file.

    Args:
        file: CSV (c rows of c numbers), or JSON (a list of c lists) if its name ends so.
        num_classes: c; any if None.
        owner: who wants it, for messages.
        sha256: start of the file's digest, if it is to be that very file.

    Raises:
        BadRequestError: it cannot be read, is another file, or does not hold a stochastic matrix of c classes.
    """
    data = read_bytes(file, owner, sha256, MAX_MATRIX)
    try:
        text = data.decode("utf-8-sig")
        is_json = file.lower().endswith(".json")
        rows = _json_rows(text) if is_json else _csv_rows(text)
        T = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError, csv.Error) as error:
        reason = str(error)[:_LONGEST_REASON]
        raise BadRequestError(f"{owner}: {file} does not hold rows of equally many numbers ({reason})") from error
    return checked(T, num_classes, f"{owner}: {file}")


def _csv_rows(text: str) -> list[list[float]]:
    return [[number(cell) for cell in row] for row in csv.reader(text.splitlines()) if row]


def _json_rows(text: str) -> Any:
    """Lists of numbers, and nothing that Python would make a number of."""
    rows = json.loads(text)
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise TypeError("not a list of lists")
    if not all(type(cell) in (int, float) for row in rows for cell in row):
        raise TypeError("not numbers alone")
    return rows


def checked(T: Any, num_classes: int | None, name: str) -> Matrix:
    """T as an array whose rows sum to 1; of any number of classes if that is None.

    Raises:
        BadRequestError: not [c, c], an entry outside 0 … 1, or a row that does not sum to 1.

    >>> checked([[0.9, 0.2], [0.1, 0.8]], 2, "T")
    Traceback (most recent call last):
    flowernoise.errors.BadRequestError: T: row 1 sums to 1.1, not 1; its columns do, so it may be transposed
    """
    try:
        values = np.array(T, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadRequestError(f"{name} is not a matrix of numbers") from error
    c = num_classes or max(values.shape, default=1)
    if values.shape != (c, c):
        shape = " × ".join(map(str, values.shape)) or "a single number"
        raise BadRequestError(f"{name} is {shape}, where {c} classes need {c} × {c}")
    outside = np.argwhere(~((values >= 0) & (values <= 1 + TOLERANCE)))
    if len(outside):
        row, column = outside[0]
        problem = f"{values[row, column]:g}, not between 0 and 1"
        raise BadRequestError(f"{name}: row {row + 1}, column {column + 1} is {problem}")
    sums = values.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > TOLERANCE)
    if len(off):
        columns_do = (np.abs(values.sum(axis=0) - 1) <= TOLERANCE).all()
        hint = "; its columns do, so it may be transposed" if columns_do else ""
        raise BadRequestError(f"{name}: row {off[0] + 1} sums to {sums[off[0]]:.6g}, not 1{hint}")
    return np.asarray(values / sums[:, None])


def break_even(T: Matrix, classes: Sequence[str]) -> str | None:
    """What it means that a wrong label is as likely as the right one, or likelier; None where it is nowhere.

    >>> break_even(np.array([[0.4, 0.6, 0.0], [0.0, 1.0, 0.0], [0.0, 0.2, 0.8]]), ("daisy", "rose", "tulip"))
    'daisy is labelled rose more often than daisy'
    """
    if len(T) > 1 and np.allclose(T, T[0]):
        return "every class gets the same labels, so they say nothing about it"
    wrong = T * (1 - np.eye(len(T)))
    lead = wrong.max(axis=1) - np.diag(T)
    i = int(lead.argmax())
    if lead[i] < -1e-9:
        return None
    comparison = "as often as" if lead[i] < 1e-9 else "more often than"
    return f"{classes[i]} is labelled {classes[int(wrong[i].argmax())]} {comparison} {classes[i]}"


def read_bytes(file: str, owner: str, sha256: str = "", most: int = MAX_LABELS) -> bytes:
    """A file that a user named, of at most ``most`` bytes.

    Raises:
        BadRequestError: it cannot be read, or is not the file whose SHA-256 starts with ``sha256``.
    """
    try:
        data = _regular_file(Path(file).expanduser(), most)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadRequestError(f"{owner}: cannot read {file}: {reason}") from error
    if not hashlib.sha256(data).hexdigest().startswith(sha256):
        raise BadRequestError(f"{owner}: the SHA-256 of {file} does not start with {sha256}; it is another file now")
    return data


def file_digest(file: str, owner: str) -> str:
    """The first digits of the SHA-256 of a file that a user named.

    Raises:
        BadRequestError: it cannot be read.
    """
    return hashlib.sha256(read_bytes(file, owner)).hexdigest()[:DIGITS]


def _regular_file(path: Path, most: int) -> bytes:
    """The bytes of a regular file.

    A pipe, such as of ``<(…)``, is refused, too: it can be read once, and its name says nothing about what was in it.

    Raises:
        OSError: it is no regular file, larger than ``most`` bytes, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe would wait for a writer
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise OSError("it is a directory")
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is no regular file but a pipe or a device; save it to a file first")
        data = file.read(most + 1) if status.st_size <= most else None
    if data is None or len(data) > most:
        raise OSError(f"it is larger than {most:,} bytes")
    return data
