"""The data behind views: a directory's comparison and draws, narrowed to what is wanted."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from flowernoise.analysis.views.charts import Chart, charts_of
from flowernoise.analysis.views.pictures import slug
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.noise import noise_models, specs_called
from flowernoise.errors import BadRequestError
from flowernoise.registry import Registry, did_you_mean
from flowernoise.store.layout import Layout
from flowernoise.store.records import CONTROL, Comparison, Dataset, DrawKey, RunKey


class NothingToDrawError(BadRequestError):
    """The data do not allow a kind of picture."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which losses, noise models, rate and seed to show; empty and None mean the default of the kind of picture.

    Raises:
        BadRequestError: a loss or noise model is unknown.
    """

    losses: tuple[str, ...] = ()
    noise: tuple[str, ...] = ()
    rate: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        for registry, texts in ((losses, self.losses), (noise_models, self.noise)):
            for text in texts:
                if text != CONTROL and not (registry is noise_models and ":" not in text):  # a name that tables show
                    registry[text.partition(":")[0]]

    def __str__(self) -> str:
        asked = [*self.noise, *([] if self.rate is None else [f"rate {self.rate:g}"])]
        return ", ".join([*asked, *([] if self.seed is None else [f"seed {self.seed}"])])


@dataclasses.dataclass(frozen=True)
class Material:
    """The data behind one directory's views; ``compared`` is None if nothing is evaluated."""

    layout: Layout
    dataset: Dataset
    wanted: Wanted
    compared: Comparison | None

    @property
    def directory(self) -> Path:
        """The artifacts directory, for messages."""
        return self.layout.root

    @property
    def comparison(self) -> Comparison:
        """The comparison of the directory's runs.

        Raises:
            NothingToDrawError: nothing is evaluated.
        """
        if self.compared is None:
            raise NothingToDrawError(f"nothing is evaluated in {self.directory}; run `flowernoise evaluate` first")
        return self.compared

    def check(self, evaluated: Collection[RunKey]) -> None:
        """Refuses what no evaluated run has, so that nothing is computed for it.

        Raises:
            BadRequestError: a wanted loss, noise model, or rate and seed does not occur in any run.
        """
        self._picked(self.wanted.losses, {key.method for key in evaluated}, losses, "run")
        self._picked(self.wanted.noise, {key.noise for key in evaluated}, noise_models, "run")
        if self.wanted.rate is not None or self.wanted.seed is not None:
            self.chosen({key.draw for key in evaluated}, "run")

    @functools.cached_property
    def charts(self) -> Mapping[str, Chart]:
        """Charts, by the ending of their file names, which is empty if there is only one setup.

        Raises:
            NothingToDrawError: nothing is evaluated, or the metric is not defined for any run.
            BadRequestError: a wanted loss or noise model does not occur in any run.
        """
        rows = self.comparison.rows
        of_losses = self._picked(self.wanted.losses, {row.loss for row in rows}, losses, "run")
        of_noises = self._picked(self.wanted.noise, {row.noise for row in rows}, noise_models, "run")
        kinds = {(row.setup.backbone, row.setup.mode) for row in rows}
        charts = {}
        for chart in charts_of(self.comparison, of_losses, of_noises):
            ending = [chart.backbone, chart.mode] if len(kinds) > 1 else []
            charts["".join(f"-{slug(part)}" for part in (*ending, *chart.settings))] = chart
        if not charts:
            metric = self.comparison.metric
            raise NothingToDrawError(f"no run has {metric}: all failed, or the test photos do not allow it")
        return charts

    def chosen(self, available: Collection[DrawKey], what: str) -> list[DrawKey]:
        """One draw per wanted noise model: with the wanted rate and seed, or else the highest rate and lowest seed.

        Args:
            what: what the draws belong to, for messages.

        Raises:
            BadRequestError: such a draw does not exist.
        """
        wanted = self.wanted
        noises = {key.noise for key in available}
        picked = set(self._picked(wanted.noise, noises, noise_models, what))
        if not wanted.noise and len(noises) > 1:
            picked.discard(CONTROL)
        fitting = [
            key
            for key in sorted(available)
            if key.noise in picked
            and (wanted.rate is None or math.isclose(key.rate, wanted.rate))
            and wanted.seed in (None, key.seed)
        ]
        if not fitting:
            near = [key for key in sorted(available) if key.noise in picked]
            raise BadRequestError(f"no {what} with {wanted} in {self.directory}; there are: {_listed(near)}")
        highest = {key.noise: key.rate for key in fitting}
        return [next(k for k in fitting if (k.noise, k.rate) == condition) for condition in highest.items()]

    def _picked(
        self, texts: Sequence[str], available: Collection[str], registry: Registry, what: str
    ) -> Collection[str]:
        """The existing specs that a text means; a name alone means all specs of that name."""
        picked: list[str] = []
        for text in texts:
            called = specs_called(text, available) if registry is noise_models else set()
            named = {spec for spec in available if spec.partition(":")[0] == text}
            meant = {text} & set(available) or called | named
            if not meant and text.partition(":")[0] in registry.names():
                meant = {str(registry.parse(text))} & set(available)
            if not meant:
                there = ", ".join(sorted(available))
                nearest = did_you_mean(text, available)
                raise BadRequestError(
                    f"no {what} with {registry.kind} {text} in {self.directory}{nearest}; there are: {there}"
                )
            picked += meant
        return picked if texts else available


def _listed(keys: Sequence[DrawKey]) -> str:
    """The rates and seeds of each noise model, for messages."""
    by_noise: dict[str, list[DrawKey]] = {}
    for key in keys:
        by_noise.setdefault(key.noise, []).append(key)
    return "; ".join(
        f"{noise} at {_numbers(key.rate for key in own)}, seeds {_numbers(key.seed for key in own)}"
        for noise, own in by_noise.items()
    )


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:g}" for value in sorted(set(values)))
