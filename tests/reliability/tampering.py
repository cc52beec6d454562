"""Tampers with an artifacts directory: changes files and makes their digests fit."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from flowernoise.store import files


class TamperedDirectory:
    """A directory to tamper with, and a place outside it that must stay untouched."""

    def __init__(self, root: Path, outside: Path) -> None:
        self.root, self.outside = root, outside

    def only(self, pattern: str) -> Path:
        (path,) = self.root.glob(pattern)
        return path

    def body(self, path: Path) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(path.read_bytes())["body"]
        return body

    def sign(self, path: Path, body: bytes, schema: int = files.SCHEMA, kind: str | None = None) -> None:
        """Writes a record with any bytes as its body, and the digest that fits."""
        kind = kind or json.loads(path.read_bytes())["kind"]
        head = f'{{"schema": {schema}, "kind": "{kind}", "sha256": "{hashlib.sha256(body).hexdigest()}",\n"body": '
        path.write_bytes(head.encode() + body + b"}\n")

    def change(self, pattern: str, **fields: Any) -> None:
        """Changes fields of a record and signs it."""
        path = self.only(pattern)
        kind = json.loads(path.read_bytes())["kind"]
        files.write_record(path, kind, self.body(path) | fields)

    def put(self, pattern: str, data: bytes, field: str = "arrays") -> None:
        """Replaces the blob that a record names by other bytes, and signs both."""
        record = self.only(pattern)
        old = self.body(record)[field]["name"]
        folder = record.parent if record.parent != self.root or field == "arrays" else self.root / "photos"
        sha256 = hashlib.sha256(data).hexdigest()
        name = f"{old.rpartition('-')[0]}-{sha256[:16]}{Path(old).suffix}"
        (folder / name).write_bytes(data)
        self.change(pattern, **{field: {"name": name, "sha256": sha256, "size": len(data)}})

    def arrays(self, pattern: str, **changed: Callable[[h5py.File], object]) -> None:
        """Replaces some arrays of a blob by what the given functions write; the others stay."""
        record = self.only(pattern)
        old = record.parent / self.body(record)["arrays"]["name"]
        buffer = io.BytesIO()
        with h5py.File(old) as before, h5py.File(buffer, "w") as after:
            for name in before:
                if name not in changed:
                    after[name] = before[name][()]
            for make in changed.values():
                make(after)
        self.put(pattern, buffer.getvalue())
