"""Helpers: run the real command in its own process, read a directory, and choose a test's short or full form."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def short_and_full(short: int, full: int) -> pytest.MarkDecorator:
    """Parametrises a test's ``count``: `make test` takes the short one, `make test-all` the full one as well."""
    return pytest.mark.parametrize(
        "count", [pytest.param(short, id="short"), pytest.param(full, id="full", marks=pytest.mark.slow)]
    )


def flowernoise(
    *arguments: object, timeout: float = 120, env: dict[str, str] | None = None, **settings: Any
) -> subprocess.CompletedProcess[str]:
    """Runs the real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "flowernoise", *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=timeout,
        check=False,
        env={**os.environ, **(env or {})},
        **settings,
    )


def state(directory: Path) -> dict[str, bytes]:
    """Every file below a directory and what it holds."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}
