"""Reads TOML files that users write."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from flowernoise.errors import BadRequestError
from flowernoise.safe.atomic import reason

MAX_BYTES = 1_000_000


def read(path: Path) -> dict[str, Any]:
    """Reads a TOML file.

    Raises:
        BadRequestError: a file that cannot be read, is too large, or is not TOML.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise BadRequestError(f"cannot read {path}: {why}") from None
    if len(data) > MAX_BYTES:
        raise BadRequestError(f"{path} is too large for a file of options; at most {MAX_BYTES:,} bytes are read")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise BadRequestError(f"{path} is not TOML: it is not UTF-8 text") from None
    except RecursionError:
        raise BadRequestError(f"{path} is not a file of options: it is nested too deeply") from None
    except ValueError as error:
        raise BadRequestError(f"{path} is not TOML: {error}") from None
