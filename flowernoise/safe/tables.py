"""Tables of text from files of any usual form: CSV, TSV, JSON lines and Parquet, told apart by their suffix.

Everything in a table is text to its readers: numbers become their usual digits, and missing values empty text. Columns
or keys of the same name, rows of another length and values that are no text or number are refused, with their line.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Any

from flowernoise.errors import BadRequestError, FlowernoiseError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_LINES = (".jsonl", ".ndjson", ".json")
_ROWS = 65_536  # of a Parquet file, in memory at a time


@dataclasses.dataclass(frozen=True)
class TableOfText:
    """A table.

    Args:
        columns: names of the columns, each once.
        rows: where each row is, such as ``line 2``, and its cells by column; they can be gone through once.
    """

    columns: tuple[str, ...]
    rows: Iterator[tuple[str, dict[str, str]]]


def read(data: bytes, name: str) -> TableOfText:
    """Reads a table.

    Args:
        data: the content of the file.
        name: the file's name, for messages; its suffix says in which form it is, and CSV is assumed.

    Raises:
        BadRequestError: it does not have this form. Errors in rows are raised when these are reached.
        FlowernoiseError: Parquet cannot be read here.

    >>> list(read(b'{"path": "1.jpg", "label": 3}', "labels.jsonl").rows)
    [('line 1', {'path': '1.jpg', 'label': '3'})]
    """
    suffix = PurePath(name).suffix.lower()
    if suffix == ".parquet":
        columns, rows = _parquet(data, name)
    elif suffix in _LINES:
        columns, rows = _json_lines(data, name)
    else:
        columns, rows = _separated(data, name, "\t" if suffix == ".tsv" else ",")
    if len(set(columns)) < len(columns):
        twice = next(column for column in columns if list(columns).count(column) > 1)
        raise BadRequestError(f"{name} has two columns {twice[:80]!r}; keep the one that is meant")
    return TableOfText(tuple(columns), rows)


Rows = Iterator[tuple[str, dict[str, str]]]


def _separated(data: bytes, name: str, delimiter: str) -> tuple[Sequence[str], Rows]:
    form = "TSV" if delimiter == "\t" else "CSV"
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        reader = csv.DictReader(text, strict=True, delimiter=delimiter)
        columns = reader.fieldnames or ()
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadRequestError(f"{name} is not a {form} file in UTF-8: {error}") from error

    def rows() -> Rows:
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise BadRequestError(f"{name}, line {reader.line_num}: not {len(columns)} cells as in the header")
                yield f"line {reader.line_num}", row
        except csv.Error as error:
            raise BadRequestError(f"{name} is not a {form} file in UTF-8: {error}") from error

    return columns, rows()


def _json_lines(data: bytes, name: str) -> tuple[Sequence[str], Rows]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequestError(f"{name} is not JSON lines in UTF-8: {error}") from error
    read = [
        (f"line {number}", _json_row(line, f"{name}, line {number}"))
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    columns = list(dict.fromkeys(column for _, row in read for column in row))
    return columns, ((where, {column: row.get(column, "") for column in columns}) for where, row in read)


def _json_row(line: str, where: str) -> dict[str, str]:
    def unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for key, value in pairs:
            if key in row:
                raise BadRequestError(f"{where} has two values for {key[:80]!r}; keep the one that is meant")
            row[key] = value
        return row

    try:
        row = json.loads(line, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise BadRequestError(f'{where} is not an object, as in {{"path": "1.jpg", "label": "rose"}}')
    return {key: _text(value, f"{where}, {key[:80]!r}") for key, value in row.items()}


def _parquet(data: bytes, name: str) -> tuple[Sequence[str], Rows]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise FlowernoiseError(f"{name}: Parquet needs pyarrow: pip install 'flowernoise[parquet]'") from error
    try:
        file = parquet.ParquetFile(io.BytesIO(data))
    except (pyarrow.ArrowException, OSError) as error:
        raise BadRequestError(f"{name} is not a Parquet file: {_first_line(error)}") from error
    columns = file.schema_arrow.names

    def rows() -> Rows:
        number = 0
        try:
            for batch in file.iter_batches(_ROWS):
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    cells = zip(columns, values, strict=True)
                    where = f"{name}, row {number}"
                    yield f"row {number}", {key: _text(value, f"{where}, {key[:80]!r}") for key, value in cells}
        except (pyarrow.ArrowException, OSError) as error:
            raise BadRequestError(f"{name} is not a Parquet file: {_first_line(error)}") from error

    return columns, rows()


def _text(value: Any, where: str) -> str:
    """A value as text: numbers by their digits, nothing for a missing one."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise BadRequestError(f"{where} is not text in UTF-8") from error
    if isinstance(value, (str, int, float)):
        return str(value)
    raise BadRequestError(f"{where} is neither text nor a number")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
