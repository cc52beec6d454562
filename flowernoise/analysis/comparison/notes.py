"""What a reader of the table should know beside it: whole sentences that make sense on their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from flowernoise.analysis import stats
from flowernoise.analysis.comparison.evaluated import CellKey, Failure, Group
from flowernoise.analysis.comparison.question import Question
from flowernoise.catalogue.label_words import LabelWords, label_words
from flowernoise.catalogue.noise import noise_models, shown_names
from flowernoise.store.records import CONTROL, Column, Provenance, RateInterval, Row, TestPhotos, Tolerated
from flowernoise.store.setups import SETTINGS, Setup, differing, named, setting

FEW_NAMES = 5  # classes by name
MAX_SETUPS = 3  # that are not shown, by name


def of(
    groups: Sequence[Group],
    names: Sequence[str],
    rows: Sequence[Row],
    tolerated: Sequence[Tolerated],
    picked: Collection[CellKey],
    question: Question,
    better: str,
    words: LabelWords,
) -> list[str]:
    """All notes on a comparison.

    Args:
        groups: what was compared, by test photos.
        names: of the groups.
        rows, tolerated: what is shown.
        picked: the cells that ``--where`` picks, or that were trained last.
        question: the question.
        better: ``higher`` or ``lower``, the metric's direction.
        words: for the labels of all data sets.
    """
    return [
        *_baseline(groups, question),
        *_epochs(groups, names, question),
        *_oracle_epochs(groups),
        *_collapsed(rows),
        *_failed(groups, picked),
        *_luck(groups, names, rows),
        *_few_photos(groups, names),
        *_unsteady(names, rows, better),
        *_one_labelling(groups, rows),
        *_provenance(groups, picked),
        *_not_shown(groups, picked, question),
        *_crossovers(names, rows, tolerated, question.baseline, words),
    ]


def on_labels(datasets: Sequence[TestPhotos], *, is_withheld: bool) -> Iterator[str]:
    """What labels that nobody checked leave open, where ``prepare --trust`` said that they were not.

    Args:
        datasets: what was compared.
        is_withheld: whether rates that would be tolerated are left out.
    """
    words = label_words(*datasets)
    if words.test_is_doubted:
        yield (
            "Every score is agreement with test labels that may be wrong (--trust none). A model that has learned the "
            "same mistakes scores higher."
        )
    elif words.training_is_doubted:
        yield (
            "Training labels were not checked (--trust test), so the control has whatever share of wrong ones they "
            "came with, and noise is counted as the share of labels that it changed."
        )
    if is_withheld:
        yield (
            "Tolerated rates are left out, as they need test labels that were checked (`flowernoise prepare --trust "
            "test`)."
        )


def _baseline(groups: Sequence[Group], question: Question) -> Iterator[str]:
    if all(cell.loss != question.baseline for group in groups for cell in group.cells):
        yield f"No run uses the baseline {question.baseline}, so the table cannot show what a loss gains over it."


def _epochs(groups: Sequence[Group], names: Sequence[str], question: Question) -> Iterator[str]:
    """Where the epoch shown is not the requested one, and why."""
    for number, group in enumerate(groups):
        where = _where(names, number)
        if not group.dataset.sizes[1]:
            if question.select == "selected":
                yield f"{where}Without a validation split nothing can be selected, so the last epoch is shown."
        elif group.selected != group.asked:
            yield f"{where}Fine-tuning keeps only the last epoch, so that is what is shown."
        elif group.fallen_back:
            runs = _runs(group.fallen_back, "was", "were")
            yield f"{where}{runs} fine-tuned. Fine-tuning keeps only the last epoch, so that is what is shown."


def _oracle_epochs(groups: Sequence[Group]) -> Iterator[str]:
    if any(group.selected == "oracle" for group in groups):
        yield "Oracle picks epoch and hyper-parameters on the test photos: an upper bound that nobody can reach."


def _collapsed(rows: Sequence[Row]) -> Iterator[str]:
    collapsed = sum(row.collapsed for row in rows)
    if collapsed:
        guilty = ", ".join(sorted({row.loss for row in rows if row.collapsed}))
        yield (
            f"{_runs(collapsed, 'collapsed', 'collapsed')} ({guilty}): some class is never predicted. An accuracy "
            "that holds up because of that is not robustness."
        )


def _failed(groups: Sequence[Group], picked: Collection[CellKey]) -> Iterator[str]:
    failures: list[Failure] = [each for group in groups for each in group.failures if each.cell in picked]
    if failures:
        first = failures[0]
        yield (
            f"{_runs(len(failures), 'failed', 'failed')}, such as {first.cell.loss} on {first.draw}: "
            f"{first.reason.rstrip('.')}."
        )


def _luck(groups: Sequence[Group], names: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """Which sources of chance the intervals leave out."""
    for number, group in enumerate(groups):
        seeds = max((row.seeds for row in rows if row.dataset == number), default=0)
        if seeds == 1:
            yield (
                f"{_where(names, number)}With one seed and one split, the interval covers only the choice of test "
                "photos. Another draw, training or split would change the numbers too."
            )
        elif seeds and group.dataset.splits == 1:
            yield (
                f"{_where(names, number)}There is one split. Another split of the photos would change the numbers; the "
                "intervals leave that out."
            )


def _few_photos(groups: Sequence[Group], names: Sequence[str]) -> list[str]:
    """Which data sets have classes with so few test photos that ✗ cannot tell whether they are lost."""
    notes = []
    for number, group in enumerate(groups):
        counts = group.dataset.counts[2]
        named = zip(group.dataset.classes, counts, stats.must_be_predicted(counts), strict=True)
        few = [f"{name} {count}" for name, count, enough in named if not enough]
        if few:
            more = f" and {len(few) - FEW_NAMES} more" if len(few) > FEW_NAMES else ""
            notes.append(
                f"{_where(names, number)}Some classes have too few test photos ({', '.join(few[:FEW_NAMES])}{more}; "
                f"{sum(counts)} in all) to tell a collapsed run from chance: a run that never predicts them is not "
                "marked."
            )
    return notes


def _unsteady(names: Sequence[str], rows: Sequence[Row], better: str) -> list[str]:
    """Losses with some runs, but not most, that collapsed or fell far below the others of their cell.

    In a cell without such runs, the tests take the loss for better than it is: if a fifth of a loss's runs lose 17
    points, 10 % of its cells of five seeds are called better than an equal loss
    (tests/analysis/test_statistics_simulated.py).
    """
    sign = 1 if better == "higher" else -1
    repeated = {
        ((row.dataset, row.condition), row.column): row for row in rows if len(row.values) > 2 and row.mean is not None
    }
    fallen = stats.fallen_runs({key: [sign * v for v in row.values] for key, row in repeated.items()})
    counts: dict[tuple[int, Column], list[tuple[int, int]]] = {}
    for key, row in repeated.items():
        down = max(row.collapsed, fallen[key])
        if down < len(row.values):  # where all collapse, it is no luck
            counts.setdefault((row.dataset, row.column), []).append((down, len(row.values)))
    notes, setups = [], {row.setup for row in rows}
    for (number, column), cells in counts.items():
        down, runs = (sum(each) for each in zip(*cells, strict=True))
        if 0 < down < runs / 2:
            name = _named(column, setups)
            notes.append(
                f"{_where(names, number)}Results with {name} vary: {down} of {runs:,} runs collapsed or fell far below "
                "the others of their cell. Cells without such a run may be lucky, so trust the marks of this loss less."
            )
    return notes


def _one_labelling(groups: Sequence[Group], rows: Sequence[Row]) -> Iterator[str]:
    """Noise models whose seeds share one labelling."""
    differ = "training" if all(group.dataset.splits == 1 for group in groups) else "split and training"
    names = shown_names(list(dict.fromkeys(row.noise for row in rows)))
    for noise, name in names.items():
        seeds = max(row.seeds for row in rows if row.noise == noise)
        if noise != CONTROL and seeds > 1 and noise_models.parse(noise).entry.properties.get("one_labelling"):
            yield (
                f"All {seeds} seeds of {name} share one labelling and differ only in {differ}. Another labelling "
                "would change the numbers; the intervals leave that out."
            )


def _provenance(groups: Sequence[Group], picked: Collection[CellKey]) -> Iterator[str]:
    """Cells whose runs were made with different versions or devices."""
    mixed = [
        (cell, members.provenances)
        for group in groups
        for cell, members in group.cells.items()
        if cell in picked and len(members.provenances) > 1
    ]
    if mixed:
        cell, provenances = mixed[0]
        under = "the control" if cell.noise == CONTROL else f"{cell.noise} {cell.rate:g}"
        cells = "1 cell mixes" if len(mixed) == 1 else f"{len(mixed):,} cells mix"
        different = "; ".join(_different(provenances))
        yield f"{cells} runs made with different versions or devices, such as {cell.loss} under {under}: {different}."


def _different(provenances: Sequence[Provenance]) -> Iterator[str]:
    plain: list[Mapping[str, str]] = [
        {**each.versions, "backend": each.backend, "device": each.device, "extractor": each.extractor}
        for each in provenances
    ]
    for key in sorted({key for each in plain for key in each}):
        values = sorted({each.get(key) or "none" for each in plain})
        if len(values) > 1:
            yield f"{key} {' and '.join(values)}"


def _not_shown(groups: Sequence[Group], picked: Collection[CellKey], question: Question) -> Iterator[str]:
    """Runs that are there but trained in another way, so that they are shown only on request."""
    if question.where:
        return
    methods: dict[Setup, set[str]] = {}
    for group in groups:
        for cell in group.cells:
            if cell not in picked:
                methods.setdefault(cell.setup, set()).add(cell.loss)
    shown = {cell.setup for cell in picked}
    for setup in sorted(methods)[:MAX_SETUPS]:
        yield f"Not shown: {', '.join(sorted(methods[setup]))} {_trained_otherwise(setup, shown)}."
    if len(methods) > MAX_SETUPS:
        yield f"Not shown: runs with {len(methods) - MAX_SETUPS:,} more settings. `flowernoise status` lists them."


def _trained_otherwise(setup: Setup, shown: Collection[Setup]) -> str:
    """How a setup differs from those shown, and the option that shows it."""
    alike = [each for each in shown if (each.backbone, each.mode) == (setup.backbone, setup.mode)]
    telling = differing([setup, *alike])
    keys = [key for key in telling if all(setting(key, each) != setting(key, setup) for each in alike)] or telling
    kind = "" if len({(each.backbone, each.mode) for each in shown}) == 1 else f"{setup.kind}, "
    text = f"trained with {kind}{', '.join(named(key, setup) for key in keys)}"
    pickable = [key for key in keys if key in SETTINGS]
    option = ",".join(f"{key}={setting(key, setup)}" for key in pickable)
    return f"{text}. `--where {option}` shows them" if pickable else text


def _named(column: Column, setups: Collection[Setup]) -> str:
    """A loss with what differs between the setups shown."""
    kinds = [name for name in ("backbone", "mode") if len({getattr(setup, name) for setup in setups}) > 1]
    parts = [str(getattr(column.setup, name)) for name in kinds]
    parts += [named(key, column.setup) for key in differing(setups)]
    return " · ".join(filter(None, [column.loss, *parts, column.variant]))


def _where(names: Sequence[str], number: int) -> str:
    return "" if len(names) == 1 else f"{names[number]}: "


def _crossovers(
    names: Sequence[str], rows: Sequence[Row], tolerated: Sequence[Tolerated], baseline: str, words: LabelWords
) -> list[str]:
    """From which rate on losses are ahead of the baseline, for those that are significantly ahead at some rate."""
    proven = {
        (row.dataset, row.noise, row.column) for row in rows if row.difference and row.difference.verdict == "better"
    }
    by_noise: dict[tuple[int, str], list[str]] = {}
    setups = {row.setup for row in rows}
    for line in tolerated:
        if line.crossover and (line.dataset, line.noise, line.column) in proven:
            text = _from(line.crossover)
            if text:
                name = _named(line.column, setups)
                by_noise.setdefault((line.dataset, line.noise), []).append(f"{name} {text}")
    return [
        f"{_where(names, number)}Under {noise} noise, these losses get ahead of {baseline} once about this share "
        f"of labels is {'changed' if words.training_is_doubted else 'made wrong'}: {', '.join(items)}."
        for (number, noise), items in by_noise.items()
    ]


def _from(crossover: RateInterval) -> str:
    point = crossover.point
    if point.rate is None:
        return ""
    return f"{'<' if point.censoring == 'below' else ''}{100 * point.rate:.1f} %"


def _runs(count: int, singular: str, plural: str) -> str:
    return f"1 run {singular}" if count == 1 else f"{count:,} runs {plural}"
