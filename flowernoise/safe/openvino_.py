"""OpenVINO without its telemetry."""

from __future__ import annotations

import sys
from typing import Any


def openvino() -> Any:
    """OpenVINO without its telemetry package, which would report every import to its makers from a forked process.

    Raises:
        ImportError: it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None means it cannot be imported
    import openvino

    return openvino
