"""``compare``: the table of what every loss reaches under every noise."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise import statistics
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.metrics import Answers, Measured, metrics
from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.randomness import generator
from flowernoise.registry import Spec
from flowernoise.steps import presets
from flowernoise.steps.presets import Published
from flowernoise.store import datasets, evaluations, files, runs
from flowernoise.store.layout import Layout
from flowernoise.store.records import CONTROL, Dataset, Evaluation, Mode, Preset, RunKey, Selection

ORDERS = ("noise", "rate", "loss", "mean", "drop")


@dataclasses.dataclass(frozen=True)
class CompareSettings:
    """What is compared, and how.

    ``select`` None means ``selected`` where there is a validation split to select on, ``last`` where there is none.
    """

    metric: str = "accuracy"
    select: Selection | None = None
    baseline: str = "ce"
    sort_by: str = "noise"


@dataclasses.dataclass(frozen=True)
class Row:
    """A cell of the table: one loss under one noise, over its seeds. Shares are 0 … 1; ``drop`` is in the same unit.

    ``ci_low`` and ``ci_high`` are None where there is nothing to compute them from, ``drop`` where the loss has no
    control; ``collapsed`` and ``failed`` count runs, and failed ones have no value.
    """

    noise: str
    rate: float
    realised_rate: float
    loss: str
    backbone: str
    mode: Mode
    seeds: int
    values: tuple[float, ...]
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    drop: float | None
    collapsed: int
    failed: int
    best: bool

    @property
    def condition(self) -> tuple[str, float]:
        """The row of the printed table: noise and nominal rate."""
        return self.noise, self.rate

    @property
    def column(self) -> tuple[str, str, Mode]:
        """The column of the printed table: loss, backbone and mode."""
        return self.loss, self.backbone, self.mode


@dataclasses.dataclass(frozen=True)
class Beside:
    """A published range and ours."""

    published: Published
    low: float
    high: float
    runs: int
    collapsed: int


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The table of one artifacts directory.

    ``balanced`` holds the rows of balanced accuracy for a binary table of accuracy, in the order of ``rows``.
    """

    directory: str
    source: str
    classes: tuple[str, ...]
    test_counts: tuple[int, ...]
    metric: str
    better: str
    select: Selection
    baseline: str
    majority: float
    rows: tuple[Row, ...]
    balanced: tuple[Row, ...]
    beside: tuple[Beside, ...]
    why: str
    notes: tuple[str, ...]


def compare(artifacts_directory: Path, settings: CompareSettings) -> Comparison:
    """Compares the evaluated runs of an artifacts directory.

    Raises:
        BadRequestError: nothing evaluated, an unknown metric, selection or baseline.
        DamagedFileError: an evaluation that is not what was written.
    """
    metric = metrics.parse(settings.metric)
    baseline = str(losses.parse(settings.baseline))
    if settings.sort_by not in ORDERS:
        raise BadRequestError(f"--sort-by {settings.sort_by!r} is not one of {', '.join(ORDERS)}")
    layout = Layout(artifacts_directory)
    dataset = datasets.need(layout)
    evaluation, arrays = _evaluation(layout, dataset)
    select: Selection = settings.select or ("selected" if dataset.sizes[1] else "last")
    columns, fallen_back = _columns(evaluation, arrays, select)
    table = _Table(evaluation, arrays, columns)
    rows = mark_best(table.rows(metric), metric.entry.properties["better"])
    binary = len(dataset.classes) == 2 and metric.name == "accuracy"
    ordered = _sorted(rows, settings.sort_by)
    balanced = (
        {(row.condition, row.column): row for row in table.rows(metrics.parse("balanced_accuracy"))} if binary else {}
    )
    beside, why = _beside(layout, dataset, rows) if metric.name == "accuracy" else ((), "")
    alive = sum(run.failure is None for run in evaluation.runs)
    effective: Selection = "last" if alive and fallen_back == alive else select
    return Comparison(
        directory=str(artifacts_directory),
        source=dataset.request.source,
        classes=dataset.classes,
        test_counts=dataset.counts[2],
        metric=str(metric),
        better=metric.entry.properties["better"],
        select=effective,
        baseline=baseline,
        majority=dataset.majority,
        rows=tuple(ordered),
        balanced=tuple(balanced[row.condition, row.column] for row in ordered) if binary else (),
        beside=beside,
        why=why,
        notes=tuple(_notes(layout, dataset, evaluation, rows, baseline, select, effective, fallen_back)),
    )


def _evaluation(layout: Layout, dataset: Dataset) -> tuple[Evaluation, dict[str, Any]]:
    try:
        evaluation = evaluations.find(layout)
        if evaluation is None:
            raise BadRequestError(f"nothing is evaluated in {layout.root}; run `flowernoise evaluate` first")
        if evaluation.dataset != dataset.id:
            raise BadRequestError(
                f"the evaluation in {layout.root} is of the photos before the last `flowernoise prepare`; run "
                "`flowernoise corrupt`, `train` and `evaluate` for the present ones"
            )
        return evaluation, evaluations.read(layout, evaluation)
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}; `flowernoise evaluate` makes it again") from error


def _columns(evaluation: Evaluation, arrays: dict[str, Any], select: Selection) -> tuple[Any, int]:
    """The selection's column of each run; that of ``last`` for runs that have no other, and how many these are."""
    wanted, last = evaluation.selections.index(select), evaluation.selections.index("last")
    available = arrays["available"]
    fallen_back = available[:, last] & ~available[:, wanted]
    return np.where(fallen_back, last, wanted), int(fallen_back.sum())


class _Table:
    """Groups runs into cells and computes their rows for a metric."""

    def __init__(self, evaluation: Evaluation, arrays: dict[str, Any], columns: Any) -> None:
        every = np.arange(len(evaluation.runs))
        self._evaluation = evaluation
        self._answers = Answers(
            predicted=arrays["predicted"][every, columns],
            labels=arrays["test_labels"],
            classes=evaluation.classes,
            memorised=arrays["memorised"][every, columns],
        )
        self._collapsed = arrays["collapsed"][every, columns]
        self._cells: dict[tuple[Any, ...], list[int]] = {}
        for position, run in enumerate(evaluation.runs):
            self._cells.setdefault(_cell(run.key), []).append(position)

    def rows(self, metric: Spec) -> list[Row]:
        """A row for each cell."""
        measured: Measured = metric(self._answers)
        alive = [[run for run in cell if self._evaluation.runs[run].failure is None] for cell in self._cells.values()]
        intervals = _intervals(measured, alive)
        means = {
            cell: float(np.mean(measured.values[runs])) if runs else None
            for cell, runs in zip(self._cells, alive, strict=True)
        }
        return [
            self._row(cell, everyone, runs, measured, means, interval)
            for (cell, everyone), runs, interval in zip(self._cells.items(), alive, intervals, strict=True)
        ]

    def _row(
        self,
        cell: tuple[Any, ...],
        everyone: Sequence[int],
        alive: Sequence[int],
        measured: Measured,
        means: dict[tuple[Any, ...], float | None],
        interval: tuple[float, float] | None,
    ) -> Row:
        noise, rate, loss, backbone, mode = cell
        mean, control = means[cell], means.get((CONTROL, 0.0, loss, backbone, mode))
        mean = None if mean is None or np.isnan(mean) else mean
        return Row(
            noise=noise,
            rate=rate,
            realised_rate=float(np.mean([self._evaluation.runs[run].realised_rate for run in everyone])),
            loss=loss,
            backbone=backbone,
            mode=mode,
            seeds=len(alive),
            values=tuple(float(measured.values[run]) for run in alive if mean is not None),
            mean=mean,
            ci_low=interval[0] if interval and mean is not None else None,
            ci_high=interval[1] if interval and mean is not None else None,
            drop=None if mean is None or control is None or np.isnan(control) else control - mean,
            collapsed=int(self._collapsed[list(alive)].sum()),
            failed=len(everyone) - len(alive),
            best=False,
        )


def _cell(key: RunKey) -> tuple[Any, ...]:
    return key.noise, key.rate, key.loss, key.backbone, key.mode


def _intervals(measured: Measured, cells: Sequence[Sequence[int]]) -> list[tuple[float, float] | None]:
    if measured.photos is None or measured.groups is None:
        bounds_of_shares = [statistics.over_seeds([float(measured.values[run]) for run in cell]) for cell in cells]
        return [bounds and (max(0.0, bounds[0]), min(1.0, bounds[1])) for bounds in bounds_of_shares]
    filled = [cell for cell in cells if cell]
    bounds = iter(statistics.intervals(measured.photos, measured.groups, filled, generator(0, "intervals")))
    return [next(bounds) if cell else None for cell in cells]


def mark_best(rows: Sequence[Row], better: str) -> list[Row]:
    """Marks the best mean under each noise; a loss that collapsed or failed in any seed is never best."""
    sign = 1 if better == "higher" else -1
    best: dict[tuple[str, float], float] = {}
    for row in rows:
        if row.mean is not None and not row.collapsed and not row.failed:
            best[row.condition] = max(best.get(row.condition, -np.inf), sign * row.mean)
    rivals = Counter(row.condition for row in rows)
    return [
        dataclasses.replace(
            row,
            best=row.mean is not None
            and not row.collapsed
            and not row.failed
            and rivals[row.condition] > 1
            and abs(sign * row.mean - best[row.condition]) < 1e-9,
        )
        for row in rows
    ]


def _sorted(rows: Sequence[Row], order: str) -> list[Row]:
    def by_noise(row: Row) -> tuple[Any, ...]:
        return row.noise != CONTROL, row.noise, row.rate

    def key(row: Row) -> tuple[Any, ...]:
        if order == "rate":
            return row.rate, *by_noise(row)
        if order == "loss":
            return row.loss, *by_noise(row)
        if order == "mean":
            return np.inf if row.mean is None else -row.mean, *by_noise(row)
        if order == "drop":
            return np.inf if row.drop is None else row.drop, *by_noise(row)
        return by_noise(row)

    return sorted(rows, key=key)


def _beside(layout: Layout, dataset: Dataset, rows: Sequence[Row]) -> tuple[tuple[Beside, ...], str]:
    if not layout.preset.exists():
        return (), ""
    remembered = files.read_record(layout.preset, "preset", Preset)
    if remembered.dataset != dataset.id:
        return (), ""
    preset = presets.named(remembered.name)
    beside = []
    for published in preset.published:
        ours = [row for row in rows if (row.noise, row.loss) == (published.noise, published.loss)]
        values = [value for row in ours for value in row.values]
        if values:
            collapsed = sum(row.collapsed for row in ours)
            beside.append(Beside(published, min(values), max(values), len(values), collapsed))
    return tuple(beside), preset.why


def _notes(
    layout: Layout,
    dataset: Dataset,
    evaluation: Evaluation,
    rows: Sequence[Row],
    baseline: str,
    select: Selection,
    effective: Selection,
    fallen_back: int,
) -> list[str]:
    notes = []
    if evaluations.inputs_of(runs.blocks(layout, dataset.id)) != evaluation.inputs:
        notes.append("runs were added or changed since the last `flowernoise evaluate`; they are not in this table")
    if baseline not in {row.loss for row in rows}:
        notes.append(f"no runs with the baseline {baseline}: without it nothing shows what a loss gains")
    if effective != select:
        notes.append(f"no run has the {select} epoch; the last one is shown")
    elif fallen_back:
        notes.append(
            f"{_runs(fallen_back, 'has', 'have')} no {select} epoch (fine-tuning keeps the last one); the last is shown"
        )
    if effective == "oracle":
        notes.append("oracle picks epoch and hyper-parameters on the test photos: an upper bound nobody can reach")
    collapsed = sum(row.collapsed for row in rows)
    if collapsed:
        guilty = ", ".join(sorted({row.loss for row in rows if row.collapsed}))
        notes.append(
            f"{_runs(collapsed, 'has', 'have')} collapsed ({guilty}), predicting fewer classes than the training "
            "labels hold; such accuracy is no robustness"
        )
    failures = [(run.key, run.failure) for run in evaluation.runs if run.failure]
    if failures:
        notes.append(
            f"{_runs(len(failures), 'has', 'have')} failed, such as {failures[0][0].loss} on {failures[0][0].draw}: "
            f"{failures[0][1]}"
        )
    if max((row.seeds for row in rows), default=0) == 1:
        notes.append("one seed: the interval holds the sampling of test photos only, not the luck of draw and training")
    return notes


def _runs(count: int, singular: str, plural: str) -> str:
    return f"1 run {singular}" if count == 1 else f"{count:,} runs {plural}"
