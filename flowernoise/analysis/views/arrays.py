"""The arrays that views hold."""

from __future__ import annotations

from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Labels = np.ndarray[Any, np.dtype[np.integer[Any]]]
Counts = np.ndarray[Any, np.dtype[np.int64]]
Pixels = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]  # [side, side, 3]
