"""Training setups: what runs must share so that comparing them is fair, and how to name it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import msgspec

from flowernoise.registry import format_value

Mode = Literal["features", "finetune"]


class Setup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True, cache_hash=True, omit_defaults=True):
    """The part of a run's identity besides draw and method; a fair comparison needs equal setups.

    Versions and devices are not part of it; they are provenance.

    Args:
        weights: digest of the backbone's weights.
        decoding: how photos are turned into pixels.
        extractor: what computes the features, ``keras`` or ``openvino``; fine-tuning always uses Keras.
        precision: of the features, or of fine-tuning.
        learning_rates, l2: the tuning grid, in ascending order.
        tune, augment, head, weight_decay, ema: of fine-tuning, as the options of ``train`` are called.
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
    tune: str = ""
    augment: str = ""
    head: str = ""
    weight_decay: float = 0.0
    ema: float = 0.0

    @property
    def kind(self) -> str:
        """Backbone and mode; features that came without photos have the same name as the mode."""
        return " ".join(dict.fromkeys((self.backbone, self.mode)))


# The names of settings in ``--where`` and in output, and the fields of a setup that hold them.
SETTINGS: Mapping[str, str] = {
    "extractor": "extractor",
    "precision": "precision",
    "image_size": "image_size",
    "epochs": "epochs",
    "batch_size": "batch_size",
    "optimizer": "optimizer",
    "learning_rate": "learning_rates",
    "l2": "l2",
    "tune": "tune",
    "augment": "augment",
    "head": "head",
    "weight_decay": "weight_decay",
    "ema": "ema",
}
FINETUNE_SETTINGS = ("tune", "augment", "head", "weight_decay", "ema")
_OF_MODE = ("learning_rate", "l2", *FINETUNE_SETTINGS)  # different modes have different grids anyway
_OF_BACKBONE_AND_MODE = ("extractor", "precision", "weights", "decoding")
_DIGEST = 8  # characters shown


def setting(key: str, setup: Setup) -> str:
    """A setup's value for a key, as text; ``0.0003+0.001`` is a grid.

    >>> setting("learning_rate", Setup("resnet50", "", "features", 224, "", "keras", "float32", 5, 32, "adam",
    ...     (0.0003, 0.001), (0.0,)))
    '0.0003+0.001'
    """
    value: Any = getattr(setup, SETTINGS.get(key, key))
    return "+".join(map(format_value, value)) if isinstance(value, tuple) else format_value(value)


def keys_of(setup: Setup) -> list[str]:
    """The names of the settings that a setup's mode has."""
    return [key for key in SETTINGS if setup.mode == "finetune" or key not in FINETUNE_SETTINGS]


def settings(setup: Setup) -> dict[str, Any]:
    """A setup for export: backbone, mode and settings under the names that users know.

    Grids are lists; what only the other mode has is None.
    """
    plain: dict[str, Any] = dict.fromkeys(SETTINGS)
    plain |= {key: getattr(setup, SETTINGS[key]) for key in keys_of(setup)}
    lists = {key: list(value) for key, value in plain.items() if isinstance(value, tuple)}
    return {"backbone": setup.backbone, "mode": setup.mode, **plain, **lists}


def differing(setups: Collection[Setup]) -> list[str]:
    """The keys that tell setups apart, besides backbone and mode.

    Grids are compared only within a mode, and weights only within a backbone.
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
    """A setting as shown in column names, such as ``epochs 3``; digests are shortened.

    >>> named("epochs", Setup("resnet50", "", "features", 224, "", "keras", "float32", 3, 32, "adam", (1e-3,), (0.0,)))
    'epochs 3'
    """
    value = setting(key, setup)
    return f"{key} {value[:_DIGEST] if key == 'weights' else value}"
