"""Presets for ``run``: named experiments and their published results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from flowernoise.errors import BadRequestError
from flowernoise.registry import did_you_mean


@dataclasses.dataclass(frozen=True)
class Published:
    """A published figure: the rows it belongs to, and its range as a share."""

    label: str
    noise: str
    loss: str
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Preset:
    """Options for ``run`` by name, the published figures with their metric, and why our figures differ.

    ``backbone`` is used unless another is asked for; the figures are shown for any.
    """

    options: Mapping[str, Any]
    metric: str
    published: tuple[Published, ...]
    why: str
    backbone: str

    def trains_with(self, settings: Mapping[str, Any]) -> bool:
        """Whether the preset trains with these settings; those it does not name may have any value."""
        return all(settings.get(name, value) == value for name, value in self.options.items())


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "seed": Preset(
            options=MappingProxyType(
                {
                    "positive": "sunflowers",
                    "train": 600,
                    "val": 0,
                    "test": 100,
                    "noise": ("uniform",),
                    "rates": (0.1, 0.3, 0.5, 0.7, 0.9),
                    "seeds": 1,
                    "losses": ("ce", "mae"),
                    "control_losses": ("ce",),
                    "epochs": 5,
                    "batch_size": 32,
                    "learning_rates": (1e-3,),
                    "l2": (0.0,),
                    "optimizer": "adam",
                }
            ),
            metric="accuracy",
            published=(
                Published("control, cross-entropy", "none", "ce", 0.9479, 0.9479),
                Published("corrupted, cross-entropy", "uniform", "ce", 0.0, 0.6666),
                Published("corrupted, L1", "uniform", "mae", 0.5938, 0.7917),
            ),
            why=(
                "The published figures are shares of 96 test photos. The original script redrew either all labels or "
                "none. It trained the corrupted models from scratch with five outputs, but its control from ImageNet "
                "with one, and L1 compared five outputs with a class number. Here only labels and loss differ."
            ),
            backbone="resnet50",
        )
    }
)


def named(name: str) -> Preset:
    """A preset by name.

    Raises:
        BadRequestError: there is no preset with that name.
    """
    if name not in PRESETS:
        raise BadRequestError(f"unknown preset {name!r}{did_you_mean(name, PRESETS)}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]
