"""Made-up features, labels and noise for the tests of the audit."""

import numpy as np


def clusters(n: int, c: int, seed: int, *, spread: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Features of c classes that no photo leaves, and the classes."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, c, n)
    return np.eye(c)[classes] + spread * rng.normal(size=(n, c)), classes


def noisy(classes: np.ndarray, T: np.ndarray, seed: int) -> np.ndarray:
    """Labels drawn from T's rows."""
    chances = np.random.default_rng([seed, 1]).random(len(classes))
    return (chances[:, None] > np.cumsum(T[classes], axis=1)[:, :-1]).sum(axis=1)


def symmetric(c: int, rate: float) -> np.ndarray:
    return (1 - rate) * np.eye(c) + rate / (c - 1) * (1 - np.eye(c))


def pairflip(c: int, rate: float) -> np.ndarray:
    return (1 - rate) * np.eye(c) + rate * np.roll(np.eye(c), 1, axis=1)
