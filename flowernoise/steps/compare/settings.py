"""What is compared, and which of it is shown."""

from __future__ import annotations

import dataclasses

from flowernoise.analysis import where
from flowernoise.analysis.comparison.question import items_of
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.metrics import metrics
from flowernoise.errors import BadRequestError
from flowernoise.registry import did_you_mean, format_value
from flowernoise.store.records import Selection

ORDERS = ("noise", "rate", "loss", "mean", "drop")


@dataclasses.dataclass(frozen=True)
class CompareSettings:
    """What is compared, and how.

    Args:
        select: None means ``selected`` where there is a validation split to select on, ``last`` where there is none.
        rows: noise models and rates to show, the former in that order; None means all. The control is always shown.
        columns: losses, backbones and modes to show, the losses in that order; None means all.
        where: what to show and test, as ``key=value,key=value``; empty means what was trained last.
        delta: points of accuracy that a tolerated rate may cost.
    """

    metric: str = "accuracy"
    select: Selection | None = None
    baseline: str = "ce"
    sort_by: str = "noise"
    rows: str | None = None
    columns: str | None = None
    where: tuple[str, ...] = ()
    delta: float = 2.0

    def check(self) -> None:
        """Refuses unknown names, and numbers out of range.

        Raises:
            BadRequestError: names the option and what it takes.
        """
        metrics.parse(self.metric)
        losses.parse(self.baseline)
        if self.sort_by not in ORDERS:
            raise BadRequestError(
                f"--sort-by {self.sort_by!r} is not one of {', '.join(ORDERS)}{did_you_mean(self.sort_by, ORDERS)}"
            )
        if not 0 <= self.delta < 100:
            raise BadRequestError(f"--delta {format_value(self.delta)} is not from 0 to below 100 (points)")
        for wanted in self.where:
            where.parse(wanted)
        for option, text in (("--rows", self.rows), ("--columns", self.columns)):
            if text is not None and not items_of(text):
                raise BadRequestError(f"{option} {text!r} names nothing; leave it out to show all")
