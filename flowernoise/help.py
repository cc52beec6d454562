"""Help texts that follow the code: names come from the registries, defaults from the steps' settings."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

from flowernoise.registry import format_value

KINDS = {"noise": "noise", "backbone": "backbones", "loss": "losses", "metric": "metrics"}
SETTINGS = (
    ("flowernoise.steps.prepare", "PrepareSettings"),
    ("flowernoise.steps.corrupt", "CorruptSettings"),
    ("flowernoise.steps.train.settings", "TrainSettings"),
    ("flowernoise.steps.compare", "CompareSettings"),
)
_FIELDS = {"loss": "losses", "learning_rate": "learning_rates"}


def complete(group: Any) -> None:
    """Fills the choices and defaults into the help texts of all commands of a Typer group."""
    defaults = _defaults()
    for command in group.commands.values():
        for parameter in command.params:
            help_text = getattr(parameter, "help", None) or ""
            if "{names}" in help_text:
                parameter.help = help_text = help_text.replace("{names}", _names(parameter.name))
            default = defaults.get(_FIELDS.get(parameter.name, parameter.name))
            if parameter.default is None and default is not None and "[default:" not in help_text:
                parameter.help = f"{help_text}  [default: {default}]"


def _names(option: str) -> str:
    from flowernoise.steps.list import REGISTRIES

    *most, last = (
        f"{entry.name}:{entry.unkeyed.upper()}" if entry.unkeyed else entry.name for entry in REGISTRIES[KINDS[option]]
    )
    return f"{', '.join(most)} or {last}"


def _defaults() -> dict[str, str]:
    found: dict[str, str] = {}
    for module, name in SETTINGS:
        for field in dataclasses.fields(getattr(importlib.import_module(module), name)):
            if field.default is not None:
                values = field.default if isinstance(field.default, tuple) else (field.default,)
                found[field.name] = ",".join(format_value(value) for value in values)
    settings = importlib.import_module("flowernoise.steps.train.settings")
    for name, grid, fixed in (
        ("learning_rates", settings.LEARNING_RATES, settings.FIXED_LEARNING_RATE),
        ("l2", settings.L2, 0.0),
    ):
        found[name] = f"{','.join(map(format_value, grid))}; {format_value(fixed)} without val, or with finetune"
    return found
