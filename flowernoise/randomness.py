"""Random generators by seed and purpose: one stream for each, so that none disturbs another."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """A generator that depends on ``seed`` and on the words of ``purpose`` alone.

    Args:
        seed: a number ≥ 0.
        purpose: what the numbers are for; other words give an independent stream.

    >>> a, b = generator(0, "batch order"), generator(0, "batch order")
    >>> bool(a.random() == b.random())
    True
    >>> bool(generator(0, "batch order").random() == generator(0, "initialisation").random())
    False
    """
    words = hashlib.sha256("\x1f".join(purpose).encode()).digest()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *np.frombuffer(words, dtype="<u4")])))
