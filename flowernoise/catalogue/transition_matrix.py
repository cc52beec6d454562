"""Transition matrices: T[i, j] = P(observed label j | true label i), so that rows sum to 1."""

from __future__ import annotations

import csv
import hashlib
import io
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
AnyLabels = np.ndarray[Any, np.dtype[np.integer[Any]]]
Matrix = np.ndarray[Any, np.dtype[np.float64]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

MAX_MATRIX = 16 * 2**20  # bytes in a matrix's file
MAX_LABELS = 2**30  # bytes in any other file, such as one with labels
_LONGEST_REASON = 300  # characters of a parser's message
DIGITS = 12  # of a file's SHA-256, enough to identify it
TOLERANCE = 1e-6  # allowed difference between a row's sum and 1
SURE = 0.8  # times the median probability of a prediction: photos below may show something else
MIN_PHOTOS = 5  # with fewer, an estimate is no better than the row of the identity
_WEIGHTS = tuple(2.0**power for power in range(17))  # how many photos a row's mean prediction may count as
_MIN_PROBABILITY = 1e-9


def realised(true: Labels, observed: Labels, num_classes: int) -> Matrix:
    """Shares of observed labels (columns) in each true class (rows); rows of absent classes are NaN.

    >>> realised(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    counts = np.bincount(true * num_classes + observed, minlength=num_classes**2).reshape(num_classes, num_classes)
    totals = counts.sum(axis=1, keepdims=True)
    shares: Matrix = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    return shares


def estimated(labels: AnyLabels, probabilities: Floats) -> tuple[Matrix, Flags]:
    """Estimates T from observed labels and a model's probabilities for them, without clean labels.

    A photo stands for its predicted class if that class's probability is at least 0.8 × the median over all photos with
    the same prediction. Each row combines two estimates. The shares of observed labels among the class's photos are
    right on average, but noisy if there are few photos. The mean of their probabilities is steady but biased. One power
    sharpens or flattens all means so that overall they agree with the labels. The means then count as the number of
    photos that makes the labels most likely (the weight of a Dirichlet prior), but at most as many as the class has.

    Patrini et al. (CVPR 2017, section 4.3) take the probabilities of a single photo for each row.

    Args:
        labels: observed labels [n].
        probabilities: probabilities of the observed labels [n, c]; they need not sum to 1.

    Returns:
        T [c, c], and which classes have an estimated row [c]. A class with fewer than 5 such photos cannot be estimated
        and gets its row of the identity.

    >>> predictions = np.repeat([[0.9, 0.1], [0.3, 0.7]], 50, axis=0)
    >>> T, known = estimated(np.repeat([0, 1, 0, 1], [45, 5, 15, 35]), predictions)
    >>> T.round(2).tolist(), known.tolist()
    ([[0.9, 0.1], [0.3, 0.7]], [True, True])
    """
    predictions = np.maximum(np.asarray(probabilities, dtype=np.float64), _MIN_PROBABILITY)
    predictions /= predictions.sum(axis=1, keepdims=True)
    counts, means = _of_sure_photos(labels, predictions)
    means = _calibrated(counts, means)
    photos = counts.sum(axis=1, keepdims=True)
    weight = np.minimum(_likeliest_weight(counts, means), photos)
    known = photos[:, 0] >= MIN_PHOTOS
    rows = np.where(known[:, None], counts + weight * means, np.eye(len(counts)))
    return rows / rows.sum(axis=1, keepdims=True), known


def _of_sure_photos(labels: AnyLabels, predictions: Matrix) -> tuple[Matrix, Matrix]:
    """For each class: how often its photos have each label, and their mean prediction, both [c, c]."""
    c = predictions.shape[1]
    predicted, certainty = predictions.argmax(axis=1), predictions.max(axis=1)
    counts, means = np.zeros((c, c)), np.full((c, c), 1 / c)
    for i in np.unique(predicted):
        photos = np.flatnonzero(predicted == i)
        photos = photos[certainty[photos] >= SURE * np.median(certainty[photos])]
        counts[i] = np.bincount(labels[photos], minlength=c)
        means[i] = predictions[photos].mean(axis=0)
    return counts, means


def _calibrated(counts: Matrix, means: Matrix) -> Matrix:
    """The means raised to the power at which they predict as many labels on the diagonal as there are."""
    photos, agreeing, logs = counts.sum(axis=1), np.trace(counts), np.log(means)

    def raised(power: float) -> Matrix:
        rows = np.exp(power * (logs - logs.max(axis=1, keepdims=True)))
        return np.asarray(np.maximum(rows / rows.sum(axis=1, keepdims=True), _MIN_PROBABILITY))

    low, high = 0.1, 10.0
    for _ in range(30):
        middle = float(np.sqrt(low * high))
        if photos @ np.diag(raised(middle)) < agreeing:
            low = middle
        else:
            high = middle
    return raised(middle)


def _likeliest_weight(counts: Matrix, means: Matrix) -> float:
    """The weight of Dirichlet priors around the means that makes the counts most likely."""
    from scipy.special import gammaln

    photos, seen = counts.sum(axis=1), counts > 0
    prior, observed = means[seen], counts[seen]

    def log_likelihood(weight: float) -> float:
        of_rows = gammaln(weight) - gammaln(weight + photos)
        of_cells = gammaln(weight * prior + observed) - gammaln(weight * prior)
        return float(of_rows.sum() + of_cells.sum())

    return max(_WEIGHTS, key=log_likelihood)


def read(
    file: str, num_classes: int | None, *, owner: str, sha256: str = "", class_names: Sequence[str] | None = None
) -> Matrix:
    """Reads a transition matrix [c, c] from a file.

    Args:
        file: CSV (c rows of c numbers; columns, rows or both may start with class names), JSON (a list of c lists) or
            NumPy's ``.npy``, according to its suffix.
        num_classes: c; None allows any number.
        owner: what needs the matrix, for messages.
        sha256: start of the file's digest, if it must be a certain file.
        class_names: the names, in order, that the file must have if it has names; not checked if None.

    Raises:
        BadRequestError: the file cannot be read, has a different digest, does not hold a stochastic matrix of c
            classes, or names other classes.
    """
    data = read_bytes(file, owner, sha256, MAX_MATRIX)
    named: list[list[str]] = []
    try:
        if file.lower().endswith(".npy"):
            rows = _npy(data)
        elif file.lower().endswith(".json"):
            rows = _json_rows(data.decode("utf-8-sig"))
        else:
            rows, named = _csv_rows(data.decode("utf-8-sig"), class_names or ())
        T = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError, EOFError, csv.Error) as error:
        reason = str(error)[:_LONGEST_REASON]
        raise BadRequestError(f"{owner}: {file} does not hold numbers in rows of equal length ({reason})") from error
    for names in named:
        if class_names is not None and names != list(class_names):
            raise BadRequestError(
                f"{owner}: {file} names the classes {', '.join(names)[:_LONGEST_REASON]!r}, but the data set has "
                f"{', '.join(class_names)!r}, in this order"
            )
    return checked(T, num_classes, f"{owner}: {file}")


def _npy(data: bytes) -> Any:
    """An array of real numbers; arrays of objects are refused, because they could run code."""
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ValueError("not an array of real numbers")
    return array


def _csv_rows(text: str, class_names: Sequence[str]) -> tuple[list[list[float]], list[list[str]]]:
    """The numbers, and the names of columns and of rows, if there are any.

    >>> _csv_rows(",a,b\\na,0.9,0.1\\nb,0,1", ())
    ([[0.9, 0.1], [0.0, 1.0]], [['a', 'b'], ['a', 'b']])
    """
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row]
    longer = len(class_names) + 1 if class_names else None  # class names may be 0 and 1
    has_head = bool(rows) and (not _is_number(rows[0][-1]) or len(rows) == longer)
    head = rows.pop(0) if has_head else []
    has_row_names = bool(rows) and (not _is_number(rows[-1][0]) or len(rows[-1]) == longer)
    named = [head[has_row_names and len(head) == len(rows[-1]) :]] if has_head else []
    if has_row_names:
        named.append([row[0] for row in rows])
        rows = [row[1:] for row in rows]
    return [[number(cell) for cell in row] for row in rows], named


def _is_number(cell: str) -> bool:
    try:
        number(cell)
    except ValueError:
        return False
    return True


def _json_rows(text: str) -> Any:
    """Lists of numbers; other values that Python could convert to numbers are refused."""
    rows = json.loads(text)
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise TypeError("not a list of lists")
    if not all(type(cell) in (int, float) for row in rows for cell in row):
        raise TypeError("not only numbers")
    return rows


def checked(T: Any, num_classes: int | None, name: str) -> Matrix:
    """T as an array whose rows sum to 1; if ``num_classes`` is None, for any number of classes.

    Raises:
        BadRequestError: T is not [c, c], has an entry outside 0 … 1, or a row that does not sum to 1.

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
        raise BadRequestError(f"{name} is {shape}, but {c} classes need {c} × {c}")
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
    """Says where a wrong label is at least as likely as the right one; None if that is nowhere so.

    >>> break_even(np.array([[0.4, 0.6, 0.0], [0.0, 1.0, 0.0], [0.0, 0.2, 0.8]]), ("daisy", "rose", "tulip"))
    'daisy is labelled rose more often than daisy'
    """
    if len(T) > 1 and np.allclose(T, T[0]):
        return "every class gets the same labels, so labels say nothing about the class"
    wrong = T * (1 - np.eye(len(T)))
    lead = wrong.max(axis=1) - np.diag(T)
    i = int(lead.argmax())
    if lead[i] < -1e-9:
        return None
    comparison = "as often as" if lead[i] < 1e-9 else "more often than"
    return f"{classes[i]} is labelled {classes[int(wrong[i].argmax())]} {comparison} {classes[i]}"


def read_bytes(file: str, owner: str, sha256: str = "", most: int = MAX_LABELS) -> bytes:
    """The content of a file that a user named; at most ``most`` bytes.

    Raises:
        BadRequestError: it cannot be read, or its SHA-256 does not start with ``sha256``.
    """
    try:
        data = _regular_file(Path(file).expanduser(), most)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadRequestError(f"{owner}: cannot read {file}: {reason}") from error
    if not hashlib.sha256(data).hexdigest().startswith(sha256):
        raise BadRequestError(f"{owner}: the SHA-256 of {file} does not start with {sha256}; its content has changed")
    return data


def file_digest(file: str, owner: str) -> str:
    """The first digits of the SHA-256 of a file that a user named.

    Raises:
        BadRequestError: it cannot be read.
    """
    return hashlib.sha256(read_bytes(file, owner)).hexdigest()[:DIGITS]


def _regular_file(path: Path, most: int) -> bytes:
    """The bytes of a regular file.

    Pipes, such as ``<(…)``, are also refused: they can be read only once, and the name does not identify the content.

    Raises:
        OSError: it is not a regular file, is larger than ``most`` bytes, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe would wait for a writer
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise OSError("it is a directory")
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is a pipe or a device, not a regular file; save it to a file first")
        data = file.read(most + 1) if status.st_size <= most else None
    if data is None or len(data) > most:
        raise OSError(f"it is larger than {most:,} bytes")
    return data
