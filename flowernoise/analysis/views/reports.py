"""The data behind a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from flowernoise.analysis.views.pictures import Picture
from flowernoise.analysis.views.sheets import ContactSheet
from flowernoise.store.records import CONTROL, Comparison, Dataset, Draw, Provenance


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
