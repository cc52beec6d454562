"""Assembles a comparison: rows in order, marks, notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from flowernoise.analysis import stats, where
from flowernoise.analysis.comparison import notes
from flowernoise.analysis.comparison.evaluated import CellKey, Directory, Group, Members
from flowernoise.analysis.comparison.judge import NO_VALUE, SIGNIFICANT, Judged, Value, contests, judge, measure
from flowernoise.analysis.comparison.names import datasets_of, variants_of
from flowernoise.analysis.comparison.order import Order
from flowernoise.analysis.comparison.question import NameFilter, Question, choose_columns, choose_rows
from flowernoise.analysis.stats import CensoredRate, Paired, RateEstimate
from flowernoise.catalogue import presets
from flowernoise.catalogue.label_words import label_words
from flowernoise.catalogue.losses import is_oracle
from flowernoise.catalogue.metrics import facts_of, metrics
from flowernoise.errors import BadRequestError
from flowernoise.registry import Spec
from flowernoise.store.records import (
    CONTROL,
    BalancedAccuracy,
    Comparison,
    Difference,
    Identity,
    PublishedResult,
    Rate,
    RateInterval,
    Row,
    TestPhotos,
    Tolerated,
    Verdict,
)


def assemble(groups: Sequence[Group], directories: Sequence[Directory], metric: Spec, question: Question) -> Comparison:
    """The comparison of groups of runs; does not check for stale evaluations.

    Raises:
        BadRequestError: requested rows or columns do not exist, a metric names a class that is not in a data set, or
            nobody can say what the metric counts, as labels may be wrong.
    """
    datasets = datasets_of(groups, directories)
    _refuse_unknowable(metric, datasets)
    every = [cell for group in groups for cell in group.cells]
    chosen_rows = choose_rows(question.rows, _names(every, "noise"), sorted({cell.rate for cell in every}))
    chosen_columns = choose_columns(
        question.columns,
        _names(every, "loss"),
        sorted({cell.setup.backbone for cell in every}),
        sorted({cell.setup.mode for cell in every}),
    )
    facts = facts_of(metric)
    variants = variants_of(groups, directories)
    picked = _picked(groups, question)
    shown = [
        [cell for cell in group.cells if cell in picked and _is_shown(cell, chosen_rows, chosen_columns)]
        for group in groups
    ]
    if not any(shown):
        raise BadRequestError("no run matches both --rows and --columns; `flowernoise compare` without them shows all")
    in_all = sum(len(contests(group, cells)) for group, cells in zip(groups, shown, strict=True))
    judged = [
        judge(group, metric, cells, question.baseline, question.delta, in_all)
        for group, cells in zip(groups, shown, strict=True)
    ]
    differences = _differences(groups, judged, facts.better)
    rows = [
        row
        for number, (group, cells, found) in enumerate(zip(groups, shown, judged, strict=True))
        for row in _Rows(number, group, found, differences[number], variants, metric).of(cells)
    ]
    order = Order(rows, question.sort_by, question.baseline, facts.better, chosen_rows, chosen_columns)
    beside, why = _published(directories, rows, str(metric))
    tolerated = sorted(_tolerated(judged, variants), key=order.of_tolerated)
    sayable = [line for line in tolerated if not label_words(datasets[line.dataset]).test_is_doubted]
    names = [photos.name for photos in datasets]
    return Comparison(
        directories=(),
        datasets=datasets,
        metric=str(metric),
        unit=facts.unit,
        better=facts.better,
        baseline=question.baseline,
        delta=question.delta,
        conditions=order.conditions,
        columns=order.columns,
        rows=tuple(sorted(rows, key=order.of_row)),
        tolerated=tuple(sayable),
        beside=beside,
        why=why,
        notes=(
            *(notes.on_labels(datasets, is_withheld=len(sayable) < len(tolerated))),
            *notes.of(groups, names, rows, sayable, picked, question, facts.better, label_words(*datasets)),
        ),
    )


def _refuse_unknowable(metric: Spec, datasets: Sequence[TestPhotos]) -> None:
    """Refuses metrics of training labels that noise made wrong, where nobody knows which those are."""
    if facts_of(metric).of == "training" and label_words(*datasets).training_is_doubted:
        raise BadRequestError(
            f"{metric} needs training labels that are right before noise, but they were not checked (prepared with "
            "--trust test or none); choose a metric of test photos, such as accuracy"
        )


def _picked(groups: Sequence[Group], question: Question) -> set[CellKey]:
    """The cells that ``--where`` picks, or those trained last; also each setup's baseline, unless columns are chosen.

    Raises:
        BadRequestError: a ``--where`` is invalid, or picks nothing.
    """
    by_directory: dict[int, dict[Identity, int]] = {}
    for group in groups:
        for cell, members in group.cells.items():
            by_directory.setdefault(cell.directory, {})[cell.identity] = members.recency
    found = where.shown(question.where, list(by_directory.values()))
    return {
        CellKey(directory, *identity)
        for (directory, there), picked in zip(by_directory.items(), found, strict=True)
        for identity in (picked if question.columns else where.with_baseline(picked, there, question.baseline))
    }


def _names(cells: Iterable[CellKey], field: str) -> list[str]:
    return sorted({getattr(cell, field) for cell in cells})


def _is_shown(cell: CellKey, rows: NameFilter, columns: NameFilter) -> bool:
    row = cell.noise == CONTROL or rows.admits(cell.noise, f"{cell.rate:g}")
    return row and columns.admits(cell.loss, cell.setup.backbone, cell.setup.mode)


def _differences(groups: Sequence[Group], judged: Sequence[Judged], better: str) -> list[dict[CellKey, Difference]]:
    """The tests against the baseline, corrected together."""
    every = [(number, cell, found) for number, one in enumerate(judged) for cell, found in one.against.items()]
    differences: list[dict[CellKey, Difference]] = [{} for _ in judged]
    for (number, cell, found), p_holm in zip(every, stats.holm([found.p for *_, found in every]), strict=True):
        verdict = _verdict(found, float(p_holm), groups[number].cells[cell], better)
        differences[number][cell] = Difference(
            found.difference, found.low, found.high, found.p, float(p_holm), found.test, found.seeds, verdict
        )
    return differences


def _verdict(found: Paired, p_holm: float, members: Members, better: str) -> Verdict | None:
    if p_holm >= SIGNIFICANT or not found.difference:
        return None
    if (found.difference > 0) != (better == "higher"):
        return "worse"
    return None if members.collapsed or members.failed else "better"


class _Rows:
    """Makes the rows of a group."""

    def __init__(
        self,
        number: int,
        group: Group,
        judged: Judged,
        differences: Mapping[CellKey, Difference],
        variants: Sequence[str],
        metric: Spec,
    ) -> None:
        self._number, self._group, self._judged = number, group, judged
        self._differences, self._variants = differences, variants
        self._balanced: dict[CellKey, Value] = {}
        beneath = facts_of(metric).beneath
        if len(group.dataset.classes) == 2 and beneath:
            alive = {cell: members for cell, members in group.cells.items() if members.rows}
            measured = metrics.parse(beneath)(group.predictions)
            self._balanced = measure(measured, alive, facts_of(beneath).range, group.tested)

    def of(self, cells: Iterable[CellKey]) -> list[Row]:
        """A row for each cell."""
        return [self._row(cell, self._group.cells[cell]) for cell in cells]

    def _row(self, cell: CellKey, members: Members) -> Row:
        judged, value = self._judged, self._judged.values.get(cell, NO_VALUE)
        balanced, difference = self._balanced.get(cell), self._differences.get(cell)
        worse = difference is not None and difference.verdict == "worse"  # so the best loss is not tied with it either
        return Row(
            noise=cell.noise,
            rate=cell.rate,
            realised_rate=members.realised_rate,
            loss=cell.loss,
            setup=cell.setup,
            seeds=len(members.rows),
            values=value.values,
            value_seeds=tuple(members.seeds) if value.values else (),
            mean=value.mean,
            ci_low=value.low,
            ci_high=value.high,
            drop=_drop(judged.values, cell),
            collapsed=members.collapsed,
            failed=members.failed,
            best=cell in judged.best,
            tied=cell in judged.tied and not worse,
            oracle=is_oracle(cell.loss),
            difference=difference,
            balanced=_beneath(balanced, _drop(self._balanced, cell)) if balanced else None,
            variant=self._variants[cell.directory],
            dataset=self._number,
            directory=cell.directory,
        )


def _beneath(value: Value, drop: float | None) -> BalancedAccuracy | None:
    return None if value.mean is None else BalancedAccuracy(value.mean, value.low, value.high, drop)


def _drop(values: Mapping[CellKey, Value], cell: CellKey) -> float | None:
    """How far a cell is below its loss's control."""
    mean = values.get(cell, NO_VALUE).mean
    control = values.get(cell._replace(noise=CONTROL, rate=0.0), NO_VALUE).mean
    return None if mean is None or control is None else control - mean


def _tolerated(judged: Sequence[Judged], variants: Sequence[str]) -> list[Tolerated]:
    return [
        Tolerated(
            noise=line.noise,
            loss=line.loss,
            setup=line.setup,
            tolerance=_interval(found.tolerance),
            crossover=_interval(found.crossover),
            collapsed=found.collapsed,
            variant=variants[line.directory],
            dataset=number,
            directory=line.directory,
        )
        for number, one in enumerate(judged)
        for line, found in one.rates.items()
    ]


def _interval(estimate: RateEstimate | None) -> RateInterval | None:
    if estimate is None:
        return None
    return RateInterval(_rate(estimate.point), _rate(estimate.low), _rate(estimate.high))


def _rate(rate: CensoredRate) -> Rate:
    return Rate(rate.censoring, rate.rate)


def _published(
    directories: Sequence[Directory], rows: Sequence[Row], metric: str
) -> tuple[tuple[PublishedResult, ...], str]:
    """The published results of the preset that made a directory, beside ours; only if it is compared alone."""
    [directory, *others] = directories
    if others or directory.preset is None or directory.preset.dataset != directory.dataset.id:
        return (), ""
    preset = presets.named(directory.preset.name)
    if preset.metric != metric:
        return (), ""
    beside = []
    for published in preset.published:
        ours = [
            row
            for row in rows
            if (row.noise, row.loss) == (published.noise, published.loss)
            and preset.trains_with(msgspec.structs.asdict(row.setup))
        ]
        values = [value for row in ours for value in row.values]
        if values:
            collapsed = sum(row.collapsed for row in ours)
            of_published = (published.low, published.high)
            beside.append(
                PublishedResult(published.label, of_published, (min(values), max(values)), len(values), collapsed)
            )
    return tuple(beside), preset.why if beside else ""
