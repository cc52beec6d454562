"""The question that a comparison answers: which rows and columns, and compared with what."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Sequence

from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.noise import noise_models, specs_called
from flowernoise.errors import BadRequestError
from flowernoise.registry import Registry, did_you_mean
from flowernoise.store.records import CONTROL, Selection


@dataclasses.dataclass(frozen=True)
class Question:
    """A question about evaluated runs, with names in canonical form.

    Args:
        baseline: the loss that others are compared with.
        select: the requested selection; None for the usual one.
        where: which runs, as ``key=value,key=value``; empty means those trained last.
        rows: noise models and rates to show; None means all.
        columns: losses, backbones and modes to show; None means all.
        sort_by: the order of rows and columns: ``noise``, ``rate``, ``loss``, ``mean`` or ``drop``.
        delta: how much a tolerated rate may cost, as a share.
    """

    baseline: str
    select: Selection | None
    where: tuple[str, ...]
    rows: str | None
    columns: str | None
    sort_by: str
    delta: float


@dataclasses.dataclass(frozen=True)
class NameFilter:
    """Names to show, by kind, in the order given; a kind without names is shown in full."""

    chosen: tuple[tuple[str, ...], ...]

    def admits(self, *names: str) -> bool:
        """Whether something with these names, one of each kind, is shown."""
        return all(not chosen or name in chosen for chosen, name in zip(self.chosen, names, strict=True))

    def place(self, kind: int, name: str) -> int:
        """A name's position in the order given; 0 if no names of its kind are given."""
        return self.chosen[kind].index(name) if self.chosen[kind] else 0


def choose_rows(text: str | None, noises: Collection[str], rates: Collection[float]) -> NameFilter:
    """Reads ``--rows``: noise models, with or without their parameters, and rates.

    Raises:
        BadRequestError: an item that no run has.
    """
    items = [CONTROL if item == "control" else _as_rate(item) for item in items_of(text)]
    return _choice("--rows", items, ((noises, noise_models), ([f"{rate:g}" for rate in rates], None)))


def choose_columns(
    text: str | None, losses_there: Collection[str], backbones: Collection[str], modes: Collection[str]
) -> NameFilter:
    """Reads ``--columns``: losses, backbones and modes, with or without their parameters.

    Raises:
        BadRequestError: an item that no run has.
    """
    return _choice("--columns", items_of(text), ((losses_there, losses), (backbones, None), (modes, None)))


def items_of(text: str | None) -> list[str]:
    """Splits at commas, except those between a spec's parameters: ``ce,sce:alpha=0.1,beta=0.5`` is two items."""
    items: list[str] = []
    for piece in (text or "").split(","):
        if items and ":" in items[-1] and re.match(r"\w+=", piece):
            items[-1] += f",{piece}"
        elif piece.strip():
            items.append(piece.strip())
    return items


def _as_rate(item: str) -> str:
    try:
        return f"{float(item):g}"
    except ValueError:
        return item


def _choice(option: str, items: Sequence[str], kinds: Sequence[tuple[Collection[str], Registry | None]]) -> NameFilter:
    chosen: list[list[str]] = [[] for _ in kinds]
    for item in items:
        found = [_meant(item, there, registry) for there, registry in kinds]
        if not any(found):
            every = sorted({name for there, _ in kinds for name in there})
            raise BadRequestError(
                f"{option}: no run has {item!r}{did_you_mean(item, every)}; there are: {', '.join(every)}"
            )
        for names, more in zip(chosen, found, strict=True):
            names += [name for name in more if name not in names]
    return NameFilter(tuple(map(tuple, chosen)))


def _meant(item: str, there: Collection[str], registry: Registry | None) -> list[str]:
    """The names that an item means: exactly that one, or else all that are called so, with any parameters."""
    try:
        canonical = str(registry.parse(item)) if registry else item
    except BadRequestError:
        canonical = item
    exact = [name for name in there if name in (item, canonical)]
    called = specs_called(item, there) if registry is noise_models else set()
    return exact or sorted(called | {name for name in there if name.partition(":")[0] == item})
