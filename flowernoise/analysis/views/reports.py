"""The data behind a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from flowernoise.analysis.views.pictures import Picture
from flowernoise.analysis.views.sheets import ContactSheet
from flowernoise.store.records import CONTROL, Comparison, Dataset, Draw, Provenance

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class DrawnCondition:
    """The draws of one noise model and rate: the number of seeds, and the lowest and highest realised rate."""

    noise: str
    rate: float
    seeds: int
    realised: tuple[float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """The data behind a report.

    ``passed_over`` lists kinds without a picture, with the reason. ``commands`` reproduce the results; ``sweep`` is a
    TOML file with which one ``run`` does so, empty if that takes several. ``provenance`` lists what produced the runs,
    without duplicates. ``sweep_command`` is that run. ``digests`` identify equal results, each with a description.
    """

    dataset: Dataset
    comparison: Comparison
    drawn: tuple[DrawnCondition, ...]
    pictures: tuple[Picture, ...]
    sheets: tuple[ContactSheet, ...]
    passed_over: tuple[str, ...]
    commands: tuple[str, ...]
    provenance: tuple[Provenance, ...]
    digests: tuple[tuple[str, str], ...]
    sweep: str = ""
    sweep_command: str = ""


def conditions_of(drawn: Iterable[Draw]) -> Iterator[DrawnCondition]:
    """Draws by noise model and rate, control first."""
    by_condition: dict[tuple[str, float], list[float]] = {}
    for draw in drawn:
        by_condition.setdefault((draw.key.noise, draw.key.rate), []).append(draw.realised_rate)
    for (noise, rate), realised in sorted(by_condition.items(), key=lambda item: (item[0][0] != CONTROL, item[0])):
        yield DrawnCondition(noise, rate, len(realised), (min(realised), max(realised)))


def renamed(value: T, names: Mapping[str, str]) -> T:
    """The same plain data with texts replaced wherever they occur in a string, such as paths by the files' names.

    >>> renamed(("forward:T=/home/ada/T.csv", 0.2), {"/home/ada/T.csv": "T.csv"})
    ('forward:T=T.csv', 0.2)
    """
    return _renamed(value, names) if names else value


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for text in sorted(names, key=len, reverse=True):
            value = value.replace(text, names[text])
        return value
    if isinstance(value, msgspec.Struct):
        fields = {name: _renamed(getattr(value, name), names) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **fields)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _renamed(getattr(value, field.name), names) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    if isinstance(value, tuple):
        items = [_renamed(item, names) for item in value]
        return value._make(items) if hasattr(value, "_make") else tuple(items)
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    if isinstance(value, dict):
        return {_renamed(key, names): _renamed(item, names) for key, item in value.items()}
    return value
