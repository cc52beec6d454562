"""The order in which a comparison is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flowernoise.analysis.comparison.question import NameFilter
from flowernoise.store.records import CONTROL, Column, Condition, Row, Tolerated


class Order:
    """The order given by ``--sort-by``, ``--rows`` and ``--columns``."""

    def __init__(
        self,
        rows: Sequence[Row],
        sort_by: str,
        baseline: str,
        better: str,
        chosen_rows: NameFilter,
        chosen_columns: NameFilter,
    ) -> None:
        self._sort_by, self._sign = sort_by, 1 if better == "higher" else -1
        self._chosen_rows = chosen_rows
        conditions = {row.condition for row in rows}
        self.conditions = tuple(sorted(conditions, key=self._of_condition))
        first: dict[Column, int] = {}
        for row in rows:
            first[row.column] = min(row.directory, first.get(row.column, row.directory))

        def by_name(column: Column) -> tuple[Any, ...]:
            place = chosen_columns.place(0, column.loss)
            not_baseline = column.loss != baseline and sort_by != "loss"
            kind = (column.setup.backbone, column.setup.mode, column.setup, column.variant)
            return first[column], *kind, place, not_baseline, column.loss

        named = sorted(first, key=by_name)
        self._place = {column: place for place, column in enumerate(named)}
        means = _means_of_columns(rows, sort_by, self._sign) if sort_by in ("mean", "drop") else {}
        self.columns = tuple(sorted(named, key=lambda column: means.get(column, math.inf)))

    def _of_condition(self, condition: Condition) -> tuple[Any, ...]:
        by_noise = (condition.noise != CONTROL, self._place_of_noise(condition.noise), condition.noise, condition.rate)
        return (condition.rate, *by_noise) if self._sort_by == "rate" else by_noise

    def _place_of_noise(self, noise: str) -> int:
        return 0 if noise == CONTROL else self._chosen_rows.place(0, noise)

    def of_row(self, row: Row) -> tuple[Any, ...]:
        """Sort key of a row in lists."""
        usual = (row.dataset, self._of_condition(row.condition), self._place[row.column])
        if self._sort_by == "loss":
            return row.loss, *usual
        if self._sort_by == "mean":
            return math.inf if row.mean is None else -self._sign * row.mean, *usual
        if self._sort_by == "drop":
            return math.inf if row.drop is None else self._sign * row.drop, *usual
        return usual

    def of_tolerated(self, tolerated: Tolerated) -> tuple[Any, ...]:
        """Sort key of a tolerated rate in lists."""
        place = self._place_of_noise(tolerated.noise)
        return tolerated.dataset, place, tolerated.noise, self._place[tolerated.column]


def _means_of_columns(rows: Sequence[Row], field: str, sign: int) -> dict[Column, float]:
    """Sort keys of columns: the mean over the cells that all columns have, or over their own if they share none."""
    of_column: dict[Column, dict[tuple[int, Condition], float]] = {}
    for row in rows:
        value = row.mean if field == "mean" else row.drop
        if value is not None:
            height = -sign * value if field == "mean" else sign * value
            of_column.setdefault(row.column, {})[row.dataset, row.condition] = height
    common = set.intersection(*(set(cells) for cells in of_column.values())) if of_column else set()
    return {
        column: sum(kept) / len(kept)
        for column, cells in of_column.items()
        if (kept := [height for place, height in cells.items() if not common or place in common])
    }
