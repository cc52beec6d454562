"""Random generators by seed and purpose: each has its own stream, so none affects another."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """A generator that depends only on ``seed`` and the words of ``purpose``.

    Args:
        seed: a number ≥ 0.
        purpose: what the numbers are for; different words give an independent stream.

    >>> a, b = generator(0, "batch order"), generator(0, "batch order")
    >>> bool(a.random() == b.random())
    True
    >>> bool(generator(0, "batch order").random() == generator(0, "initialisation").random())
    False
    """
    words = hashlib.sha256("\x1f".join(purpose).encode()).digest()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *np.frombuffer(words, dtype="<u4")])))
