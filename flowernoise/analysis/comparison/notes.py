"""What a reader of the table should know beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from flowernoise.analysis import stats
from flowernoise.analysis.comparison.evaluated import CellKey, Failure, Group
from flowernoise.analysis.comparison.question import Question
from flowernoise.catalogue.noise import noise_models
from flowernoise.store.records import CONTROL, Column, Provenance, RateInterval, Row, Tolerated
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
) -> list[str]:
    """All notes on a comparison.

    Args:
        groups: what was compared, by test photos.
        names: of the groups.
        rows, tolerated: what is shown.
        picked: the cells that ``--where`` picks, or that were trained last.
        question: what was asked.
        better: ``higher`` or ``lower``, the metric's direction.
    """
    return [
        *_baseline(groups, question),
        *_epochs(groups, names, question),
        *_oracle_epochs(groups),
        *_collapsed(rows),
        *_failed(groups, picked),
        *_luck(names, rows),
        *_few_photos(groups, names),
        *_unsteady(names, rows, better),
        *_one_labelling(rows),
        *_provenance(groups, picked),
        *_not_shown(groups, picked, question),
        *_crossovers(names, rows, tolerated, question.baseline),
    ]


def _baseline(groups: Sequence[Group], question: Question) -> Iterator[str]:
    if all(cell.loss != question.baseline for group in groups for cell in group.cells):
        yield f"no runs with the baseline {question.baseline}: without it nothing shows what a loss gains"


def _epochs(groups: Sequence[Group], names: Sequence[str], question: Question) -> Iterator[str]:
    """Where another epoch is shown than the one asked for, and why."""
    for number, group in enumerate(groups):
        where = _where(names, number)
        if not group.dataset.sizes[1]:
            if question.select == "selected":
                yield f"{where}there is no validation split to select on; the last epoch is shown"
        elif group.selected != group.asked:
            yield f"{where}fine-tuning keeps the last epoch only; it is shown"
        elif group.fallen_back:
            runs = "1 run was" if group.fallen_back == 1 else f"{group.fallen_back:,} runs were"
            yield f"{where}{runs} fine-tuned, which keeps the last epoch only; it is shown"


def _oracle_epochs(groups: Sequence[Group]) -> Iterator[str]:
    if any(group.selected == "oracle" for group in groups):
        yield "oracle picks epoch and hyper-parameters on the test photos: an upper bound nobody can reach"


def _collapsed(rows: Sequence[Row]) -> Iterator[str]:
    collapsed = sum(row.collapsed for row in rows)
    if collapsed:
        guilty = ", ".join(sorted({row.loss for row in rows if row.collapsed}))
        yield (
            f"{_runs(collapsed, 'has', 'have')} collapsed ({guilty}), predicting fewer classes than the training "
            "labels hold; such accuracy is no robustness"
        )


def _failed(groups: Sequence[Group], picked: Collection[CellKey]) -> Iterator[str]:
    failures: list[Failure] = [each for group in groups for each in group.failures if each.cell in picked]
    if failures:
        first = failures[0]
        yield (
            f"{_runs(len(failures), 'has', 'have')} failed, such as {first.cell.loss} on {first.draw}: {first.reason}"
        )


def _luck(names: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """Which luck the intervals leave out."""
    for number in range(len(names)):
        seeds = max((row.seeds for row in rows if row.dataset == number), default=0)
        if seeds == 1:
            yield (
                f"{_where(names, number)}one seed and one split: the interval covers the sampling of test photos only, "
                "not the luck of draw, training and split"
            )
        elif seeds:
            yield f"{_where(names, number)}one split: the intervals leave out what another split of the photos changes"


def _few_photos(groups: Sequence[Group], names: Sequence[str]) -> list[str]:
    """Which data sets have classes of so few test photos that ✗ cannot tell of their loss."""
    notes = []
    for number, group in enumerate(groups):
        counts = group.dataset.counts[2]
        named = zip(group.dataset.classes, counts, stats.must_be_predicted(counts), strict=True)
        few = [f"{name} {count}" for name, count, enough in named if not enough]
        if few:
            more = f" and {len(few) - FEW_NAMES} more" if len(few) > FEW_NAMES else ""
            notes.append(
                f"{_where(names, number)}{sum(counts)} test photos, too few of some classes "
                f"({', '.join(few[:FEW_NAMES])}{more}) to mark runs that never predict them: chance alone may explain "
                "that"
            )
    return notes


def _unsteady(names: Sequence[str], rows: Sequence[Row], better: str) -> list[str]:
    """Losses of which some runs collapsed or fell far below the others of their cell, and most did not.

    Where none did in a cell, its tests take the loss for better than it is: of a loss of which a fifth of the runs lose
    17 points, 10 % of five seeds are called better than an equal one (tests/analysis/test_statistics_simulated.py).
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
                f"{_where(names, number)}{name} is unsteady: {down} of {runs:,} runs collapsed or fell far below the "
                "others of their cell; where none did, that may be luck, and its marks are less sure than others"
            )
    return notes


def _one_labelling(rows: Sequence[Row]) -> Iterator[str]:
    """Noise models whose seeds share one labelling."""
    for noise in dict.fromkeys(row.noise for row in rows):
        seeds = max(row.seeds for row in rows if row.noise == noise)
        if noise != CONTROL and seeds > 1 and noise_models.parse(noise).entry.properties.get("one_labelling"):
            yield (
                f"{noise} is one labelling: its {seeds} seeds differ in training only, so the intervals leave out "
                "the luck of the labelling"
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
        cells = "1 cell holds" if len(mixed) == 1 else f"{len(mixed):,} cells hold"
        yield (
            f"{cells} runs made with different versions or devices, such as {cell.loss} under {under}: "
            + "; ".join(_different(provenances))
        )


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
    """Ways of training that are there, but are not shown unless they are asked for."""
    if question.where:
        return
    methods: dict[Setup, set[str]] = {}
    for group in groups:
        for cell in group.cells:
            if cell not in picked:
                methods.setdefault(cell.setup, set()).add(cell.loss)
    shown = {cell.setup for cell in picked}
    for setup in sorted(methods)[:MAX_SETUPS]:
        yield f"not shown: {', '.join(sorted(methods[setup]))} {_trained_otherwise(setup, shown)}"
    if len(methods) > MAX_SETUPS:
        yield f"not shown: runs of {len(methods) - MAX_SETUPS:,} more settings; `flowernoise status` lists them"


def _trained_otherwise(setup: Setup, shown: Collection[Setup]) -> str:
    """In what a setup differs from those shown, and the option that shows it."""
    alike = [each for each in shown if (each.backbone, each.mode) == (setup.backbone, setup.mode)]
    telling = differing([setup, *alike])
    keys = [key for key in telling if all(setting(key, each) != setting(key, setup) for each in alike)] or telling
    kind = "" if len({(each.backbone, each.mode) for each in shown}) == 1 else f"{setup.backbone} {setup.mode}, "
    text = f"trained with {kind}{', '.join(named(key, setup) for key in keys)}"
    pickable = [key for key in keys if key in SETTINGS]
    option = ",".join(f"{key}={setting(key, setup)}" for key in pickable)
    return f"{text}; `--where {option}` shows them" if pickable else text


def _named(column: Column, setups: Collection[Setup]) -> str:
    """A loss with what differs between the setups shown."""
    kinds = [name for name in ("backbone", "mode") if len({getattr(setup, name) for setup in setups}) > 1]
    parts = [str(getattr(column.setup, name)) for name in kinds]
    parts += [named(key, column.setup) for key in differing(setups)]
    return " · ".join(filter(None, [column.loss, *parts, column.variant]))


def _where(names: Sequence[str], number: int) -> str:
    return "" if len(names) == 1 else f"{names[number]}: "


def _crossovers(names: Sequence[str], rows: Sequence[Row], tolerated: Sequence[Tolerated], baseline: str) -> list[str]:
    """From which rate losses are ahead of the baseline, of those that are so significantly at some rate."""
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
        f"{_where(names, number)}{noise}: ahead of {baseline} from this realised rate of noise on, in %: "
        + ", ".join(items)
        for (number, noise), items in by_noise.items()
    ]


def _from(crossover: RateInterval) -> str:
    point = crossover.point
    if point.rate is None:
        return ""
    return f"{'<' if point.censoring == 'below' else ''}{100 * point.rate:.1f}"


def _runs(count: int, singular: str, plural: str) -> str:
    return f"1 run {singular}" if count == 1 else f"{count:,} runs {plural}"
