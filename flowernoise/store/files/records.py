"""Records: JSON in an envelope with its kind, schema version and SHA-256."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from flowernoise.errors import DamagedFileError, FlowernoiseError, OtherVersionError
from flowernoise.safe import atomic
from flowernoise.store.files.blobs import forget_made
from flowernoise.store.files.plain import digest, opened

SCHEMA = 4  # raise it with every change to records, or to a method's formula, defaults or selection rule
MAX_RECORD = 128 * 2**20  # bytes; about 400,000 runs in an evaluation
_HEAD = re.compile(rb'\{"schema": (\d{1,9}), "kind": "([a-z]{1,32})", "sha256": "([0-9a-f]{64})",\n"body": ')
_MAX_HEAD = 256  # bytes
_TAIL = b"}\n"
_CONTROL = re.compile(rb'(?<!\\)(?:\\\\)*\\[^"\\]')  # an escaped control character
Record = TypeVar("Record")


class _Envelope(NamedTuple):
    schema: int
    kind: str
    sha256: str
    body: bytes


def write_record(path: Path, kind: str, body: Any) -> None:
    """Writes ``body`` (a msgspec structure or plain data) as a record.

    Raises:
        FlowernoiseError: it cannot be written, or :func:`read_record` would refuse it.
    """
    encoded = _encoded(_as_read(body, path))
    if _has_control_characters(encoded):
        raise FlowernoiseError(f"cannot write {path}: a text in it contains control characters")
    data = (
        f'{{"schema": {SCHEMA}, "kind": "{kind}", "sha256": "{digest(encoded)}",\n"body": '.encode() + encoded + _TAIL
    )
    if len(data) > MAX_RECORD:
        raise FlowernoiseError(
            f"cannot write {path}: {len(data):,} bytes are over the limit of {MAX_RECORD:,}; use several directories"
        )
    with atomic.temporary(path.parent, path.name) as (temporary, stream):
        stream.write(data)
        atomic.commit(stream, temporary, path, renamed=forget_made)


def read_record(path: Path, kind: str, body: type[Record]) -> Record:
    """Reads a record that :func:`write_record` wrote.

    Raises:
        OtherVersionError: the record has another schema.
        DamagedFileError: it has another kind, a wrong digest, unexpected fields, or a body that this program would not
            write: duplicate keys, invalid numbers, control characters.
    """
    found = _decoded(path, kind, body)
    if _encoded(found[1]) != found[0].body or _has_control_characters(found[0].body):
        raise DamagedFileError(
            f"{path} was not written by flowernoise: it has repeated keys, keys out of order, or odd characters"
        )
    return found[1]


def read_fields(path: Path, kind: str, body: type[Record]) -> Record:
    """Reads only the fields of a record that ``body`` has.

    Raises:
        OtherVersionError, DamagedFileError: as :func:`read_record` does.
    """
    return _decoded(path, kind, body)[1]


def digest_of_record(path: Path, kind: str) -> str:
    """Checked SHA-256 of a record's body, for callers that do not need its content.

    Raises:
        OtherVersionError: the record has another schema.
        DamagedFileError: it has another kind or a wrong digest.
    """
    return _checked_envelope(path, kind).sha256


def _as_read(body: Any, path: Path) -> Any:
    """``body`` as :func:`read_record` gives it back: whole numbers in fields of floats are ``1.0``, not ``1``.

    Raises:
        FlowernoiseError: a field holds what its type does not allow, as NaN is null in JSON.
    """
    try:
        return msgspec.json.decode(msgspec.json.encode(body), type=type(body))
    except msgspec.MsgspecError as error:
        raise FlowernoiseError(f"cannot write {path}: {error}") from error


def _encoded(body: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(body), indent=1)


def _has_control_characters(encoded: bytes) -> bool:
    """Whether a text in the JSON has characters that could control a terminal."""
    return bool(_CONTROL.search(encoded)) or not encoded.decode().replace("\n", "").isprintable()


def _decoded(path: Path, kind: str, body: type[Record]) -> tuple[_Envelope, Record]:
    envelope = _checked_envelope(path, kind)
    try:
        return envelope, msgspec.json.decode(envelope.body, type=body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} does not have the expected form: {error}") from error


def _checked_envelope(path: Path, kind: str) -> _Envelope:
    with opened(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        head = _HEAD.match(stream.read(_MAX_HEAD))
        if head is None:
            raise DamagedFileError(f"{path} is damaged: it does not begin like a record")
        schema, its_kind, sha256 = int(head[1]), head[2].decode(), head[3].decode()
        if schema != SCHEMA:
            raise OtherVersionError(
                f"{path} has schema {schema}, but this flowernoise reads {SCHEMA}; use the version that wrote it, or "
                "another artifacts directory"
            )
        if its_kind != kind:
            raise DamagedFileError(f"{path} is a record of kind {its_kind!r}, not {kind!r}")
        if size > MAX_RECORD:
            raise DamagedFileError(f"{path} is damaged: its {size:,} bytes are over the limit of {MAX_RECORD:,}")
        stream.seek(head.end())
        body = stream.read(MAX_RECORD)
    if not body.endswith(_TAIL) or digest(body[: -len(_TAIL)]) != sha256:
        raise DamagedFileError(f"{path} is damaged: its SHA-256 is not the recorded one")
    return _Envelope(schema, its_kind, sha256, body[: -len(_TAIL)])
