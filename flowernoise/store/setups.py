"""How runs are trained: what they must have in common to be compared as like with like, and how that is written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import msgspec

from flowernoise.registry import format_value

Mode = Literal["features", "finetune"]


class Setup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True, cache_hash=True):
    """A run's identity but for its draw and method: what must be equal for runs to be compared as like with like.

    Versions and devices are not part of it: they are provenance.

    Args:
        weights: digest of the backbone's weights.
        decoding: rule by which photos become pixels.
        extractor: what computes the features, ``keras`` or ``openvino``; fine-tuning is always done by Keras.
        precision: of the features, or of fine-tuning.
        learning_rates, l2: the tuning grid, in ascending order.
    """

    backbone: str
    weights: str
    mode: Mode
    image_size: int
    decoding: str
    extractor: str
    precision: str
    epochs: int
    batch_size: int
    optimizer: str
    learning_rates: tuple[float, ...]
    l2: tuple[float, ...]


# The settings that a person names, as they are written, and the fields of a setup that hold them.
SETTINGS: Mapping[str, str] = {
    "extractor": "extractor",
    "precision": "precision",
    "image_size": "image_size",
    "epochs": "epochs",
    "batch_size": "batch_size",
    "optimizer": "optimizer",
    "learning_rate": "learning_rates",
    "l2": "l2",
}
_OF_MODE = ("learning_rate", "l2")  # another mode has another grid by nature
_OF_BACKBONE_AND_MODE = ("extractor", "precision", "weights", "decoding")
_DIGEST = 8  # characters of one that are shown


def setting(key: str, setup: Setup) -> str:
    """A setup's value under a key, as it is written: ``0.0003+0.001`` is a grid.

    >>> setting("learning_rate", Setup("resnet50", "", "features", 224, "", "keras", "float32", 5, 32, "adam",
    ...     (0.0003, 0.001), (0.0,)))
    '0.0003+0.001'
    """
    value: Any = getattr(setup, SETTINGS.get(key, key))
    return "+".join(map(format_value, value)) if isinstance(value, tuple) else format_value(value)


def settings(setup: Setup) -> dict[str, Any]:
    """A setup as exports write it: backbone, mode and settings under the names that a person uses; grids are lists."""
    plain = {key: getattr(setup, field) for key, field in SETTINGS.items()}
    lists = {key: list(value) for key, value in plain.items() if isinstance(value, tuple)}
    return {"backbone": setup.backbone, "mode": setup.mode, **plain, **lists}


def differing(setups: Collection[Setup]) -> list[str]:
    """The keys that tell setups apart, beside backbone and mode.

    What goes with a mode (its grid) or a backbone (its weights) is held against others of that kind only.
    """
    kinds: dict[str, list[Collection[Setup]]] = {
        key: [setups] for key in ("image_size", "epochs", "batch_size", "optimizer")
    }
    kinds |= dict.fromkeys(_OF_MODE, _parted(setups, lambda each: each.mode))
    kinds |= dict.fromkeys(_OF_BACKBONE_AND_MODE, _parted(setups, lambda each: (each.backbone, each.mode)))
    return [
        key
        for key in (*SETTINGS, "weights", "decoding")
        if any(len({setting(key, each) for each in part}) > 1 for part in kinds[key])
    ]


def _parted(setups: Collection[Setup], kind: Callable[[Setup], Any]) -> list[Collection[Setup]]:
    parts: dict[Any, list[Setup]] = {}
    for each in setups:
        parts.setdefault(kind(each), []).append(each)
    return list(parts.values())


def named(key: str, setup: Setup) -> str:
    """A setting as columns name it: ``epochs 3``; digests by their first characters.

    >>> named("epochs", Setup("resnet50", "", "features", 224, "", "keras", "float32", 3, 32, "adam", (1e-3,), (0.0,)))
    'epochs 3'
    """
    value = setting(key, setup)
    return f"{key} {value[:_DIGEST] if key == 'weights' else value}"
