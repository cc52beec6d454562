"""Checks whether an artifacts directory is intact: its records, the files that they name, and litter."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowernoise.errors import FlowernoiseError
from flowernoise.store import files

TEMPORARY = re.compile(r"\..+\.tmp")
LOCKS = "locks"
NO_RECORDS = (LOCKS, "preview", "plots", "report")  # folders without


def records(root: Path) -> list[Path]:
    """The records of a directory."""
    return [path for path in sorted(root.rglob("*.json")) if not _is_temporary(path) and not _is_aside(root, path)]


def problems(root: Path) -> list[str]:
    """One line for each unreadable record, and for each file named by a record that is not intact."""
    found = []
    for path in records(root):
        try:
            body = _body(path)
        except (FlowernoiseError, ValueError, KeyError, TypeError) as error:
            found.append(f"{path.relative_to(root)}: {error}")
            continue
        found += [f"{path.relative_to(root)}: {line}" for ref in _refs(body) for line in _problems_of(root, path, ref)]
    return found


def named(root: Path) -> set[str]:
    """Names of the readable records and of the files that they name."""
    names = set()
    for path in records(root):
        names.add(path.name)
        names.update(ref["name"] for ref in _refs(_body(path)))
    return names


def contents(root: Path) -> dict[str, bytes]:
    """Every file and its content, except temporary files and locks, which may be left over."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not _is_temporary(path) and path.relative_to(root).parts[0] != LOCKS
    }


def litter(root: Path) -> list[str]:
    """Temporary files, and files that carry a digest in their name and that no record names."""
    kept = named(root)
    return [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*"))
        if path.is_file() and (_is_temporary(path) or (_is_blob(root, path) and path.name not in kept))
    ]


def stage(root: Path) -> str:
    """The stage that a sweep has reached."""
    if not (root / "dataset.json").exists():
        return "prepare"
    if not list(root.glob("draws/*.json")):
        return "corrupt"
    if not [*root.glob("features/*.json"), *root.glob("runs/*.json")]:
        return "features or the first run"
    if not (root / "evaluation.json").exists():
        return "train or evaluate"
    return "compare"


def differences(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """Names of files that are missing, unexpected or different."""
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def _body(path: Path) -> dict[str, Any]:
    kind = json.loads(path.read_bytes())["kind"]
    return files.read_record(path, kind, dict)


def _refs(plain: Any) -> Iterator[dict[str, Any]]:
    if isinstance(plain, dict):
        if plain.keys() == {"name", "sha256", "size"}:
            if plain["name"]:
                yield plain
            return
        plain = list(plain.values())
    if isinstance(plain, list):
        for item in plain:
            yield from _refs(item)


def _problems_of(root: Path, record: Path, ref: dict[str, Any]) -> Iterator[str]:
    path = next((p for p in (record.parent / ref["name"], root / "photos" / ref["name"]) if p.exists()), None)
    if path is None:
        yield f"names {ref['name']}, which is missing"
        return
    data = path.read_bytes()
    if (len(data), hashlib.sha256(data).hexdigest()) != (ref["size"], ref["sha256"]):
        yield f"names {ref['name']}, which is not whole"


def _is_temporary(path: Path) -> bool:
    return TEMPORARY.fullmatch(path.name) is not None


def _is_aside(root: Path, path: Path) -> bool:
    return path.relative_to(root).parts[0] in NO_RECORDS


def _is_blob(root: Path, path: Path) -> bool:
    return not _is_aside(root, path) and re.fullmatch(r".+-[0-9a-f]{16}\.(h5|tar|csv)", path.name) is not None
