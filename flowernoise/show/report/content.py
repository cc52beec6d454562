"""What a report says, section by section."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowernoise.analysis.views.reports import Report
from flowernoise.catalogue.metrics import facts_of
from flowernoise.catalogue.sources import label_words
from flowernoise.show import compared
from flowernoise.show.report import figures, sentences
from flowernoise.show.report.blocks import Block, Bullets, Commands, Document, Heading, Paragraph, Table, TableCell
from flowernoise.store.records import CONTROL, SPLITS, Comparison, Condition, Dataset, Row, Tolerated

MOST_COLUMNS = 5  # losses side by side; of more, each has a row
_TESTS = {"mcnemar": "McNemar's test", "sign_flip": "sign-flip permutation and a t-test over photos and seeds"}
MOST_SENTENCES = 10  # on differences; more are a table
_NO_CELL = TableCell("–")


def document(report: Report) -> Document:
    """A report as plain blocks; sections that have nothing to say are left out."""
    sections = (
        ("In short", _in_short(report)),
        ("What was asked", _asked(report)),
        ("Data", _data(report)),
        ("Results", _results(report.comparison)),
        ("Significant differences", _significant(report.comparison)),
        ("Tolerated noise", _tolerated(report.comparison)),
        ("Plots", _plots(report)),
        ("Photos", map(figures.of_sheet, report.sheets)),
        ("What not to conclude", _cautions(report)),
        ("How to reproduce", _reproduce(report)),
    )
    blocks: list[Block] = []
    for title, section in sections:
        if found := list(section):
            blocks += [Heading(title, title.lower().replace(" ", "-")), *found]
    train, val, test = report.dataset.sizes
    source = report.dataset.request.source
    return Document(
        title=f"Label noise: {source}",
        subtitle=(
            f"{len(report.dataset.classes)} classes, {train + val + test:,} photos, "
            f"{', '.join(compared.kinds(report.comparison))}; made by flowernoise."
        ),
        blocks=tuple(blocks),
    )


def _in_short(report: Report) -> Iterator[Block]:
    yield Bullets(tuple(sentences.headlines(report.comparison)))


def _asked(report: Report) -> Iterator[Block]:
    result = report.comparison
    yield Paragraph(sentences.question(result))
    losses = list(dict.fromkeys(column.loss for column in result.columns))
    baseline = f", the baseline is {result.baseline}" if result.baseline in losses else ""
    noises: dict[str, list[str]] = {}
    for noise, rate in result.conditions:
        if noise != CONTROL:
            noises.setdefault(noise, []).append(f"{rate:g}")
    yield Bullets(
        (
            f"Losses: {', '.join(losses)}{baseline}.",
            *(f"Noise: {noise} at rate {', '.join(rates)}." for noise, rates in noises.items()),
            f"Models: {', '.join(compared.kinds(result))}.",
            f"Measure: {compared.measure(result)}.",
            *sorted({_selection(photos.select) for photos in result.datasets}),
        )
    )


def _selection(select: str) -> str:
    if select == "last":
        return "Shown of each run: its last epoch."
    judges = "noisy validation labels" if select == "selected" else "test photos"
    return f"Shown of each run: the epoch and hyper-parameters that are best on the {judges}."


def _data(report: Report) -> Iterator[Block]:
    dataset = report.dataset
    by_class = zip(dataset.classes, zip(*dataset.counts, strict=True), strict=True)
    yield Table(
        f"Photos of each class, from {dataset.request.source}; the split is drawn with seed {dataset.request.seed}.",
        _plain_cells("class", *SPLITS, "all"),
        (
            *((TableCell(name), *_counts(counts)) for name, counts in by_class),
            (TableCell("all", strong=True), *_counts(dataset.sizes, strong=True)),
        ),
    )
    yield from _set_apart(dataset)
    noisy = [each for each in report.drawn if each.noise != CONTROL]
    if noisy:
        stay, are = ("clean", "is") if label_words(dataset.request.source).are_clean else ("as given", "was made")
        yield Table(
            f"Draws of noisy labels for train and val; test labels stay {stay}. Realised is the share of training "
            f"labels that {are} wrong in fact, over the seeds.",
            _plain_cells("noise", "rate", "seeds", "realised"),
            tuple(_plain_cells(each.noise, f"{each.rate:g}", f"{each.seeds}", _span(each.realised)) for each in noisy),
        )


def _counts(counts: Sequence[int], *, strong: bool = False) -> Iterator[TableCell]:
    """Cells of train, val, test, and all of them."""
    return (TableCell(f"{count:,}", strong=strong) for count in (*counts, sum(counts)))


def _set_apart(dataset: Dataset) -> Iterator[Block]:
    groups = (
        ("There more than once, kept once each", dataset.identical, "photo"),
        ("There under two classes, dropped", dataset.contradictory, "photo"),
        ("Not readable, skipped", dataset.unreadable, "file"),
    )
    items = [
        f"{what}: {len(found):,} {thing}{'' if len(found) == 1 else 's'}." for what, found, thing in groups if found
    ]
    if items:
        yield Bullets(tuple(items))


def _span(rates: tuple[float, float]) -> str:
    low, high = (f"{100 * rate:.1f}" for rate in rates)
    return f"{low} %" if low == high else f"{low}–{high} %"


def _results(result: Comparison) -> Iterator[Block]:
    yield Bullets(tuple(sentences.best(result)))
    cells = {(row.condition, row.column): row for row in result.rows}
    words, facts = compared.words(result), facts_of(result.metric)
    photos = f"on {words.test_photos(sum(result.datasets[0].test_counts))}"
    judged_on = f"of the {words.wrong} training labels" if facts.of == "training" else photos
    heads = [_condition(result, condition) for condition in result.conditions]
    varying = compared.varying(result.columns)
    losses = [compared.column_name(column, varying) for column in result.columns]
    shown = [[_cell(result, cells.get((each, column))) for column in result.columns] for each in result.conditions]
    yield _turned_if_wide(
        f"{compared.measure(result)}; {compared.seeds(result)}, {judged_on}.",
        f"noise, {words.wrong} labels",
        heads,
        losses,
        shown,
    )
    if facts.chance:
        score = compared.number(facts.chance.of(result.datasets[0].test_counts), result.unit)
        percent = " %" if result.unit == "share" else ""
        yield Paragraph(f"{facts.chance.score.capitalize()}, always answering one class: {score}{percent}.")
    signs = compared.legend(result)
    if signs:
        yield Paragraph(" · ".join(signs) + ".")
    if result.beside:
        yield _beside(result)
        yield Paragraph(result.why)
    if result.notes:
        yield Bullets(tuple(f"{note}." for note in result.notes))


def _beside(result: Comparison) -> Table:
    heads, rows = _plain_cells("first experiment", "published", "here"), []
    for each in result.beside:
        collapsed = f"{compared.COLLAPSED} {each.collapsed} of {each.runs} collapsed" if each.collapsed else ""
        rows.append((TableCell(each.label), TableCell(_range(each.published)), TableCell(_range(each.ours), collapsed)))
    return Table("What the first experiment published, beside what is found here.", heads, tuple(rows))


def _range(shares: tuple[float, float]) -> str:
    low, high = (f"{100 * share:.2f}" for share in shares)
    return f"{low} %" if low == high else f"{low}–{high} %"


def _turned_if_wide(
    caption: str,
    corner: str,
    conditions: Sequence[TableCell],
    losses: Sequence[str],
    cells: Sequence[Sequence[TableCell]],
) -> Table:
    """A row a condition; where there are many losses a row a loss."""
    if len(losses) <= MOST_COLUMNS:
        rows = zip(conditions, cells, strict=True)
        return Table(caption, _plain_cells(corner, *losses), tuple((condition, *row) for condition, row in rows))
    turned = zip(losses, zip(*cells, strict=True), strict=True)
    rows_of_losses = tuple((TableCell(loss), *column) for loss, column in turned)
    return Table(caption, (TableCell("loss"), *conditions), rows_of_losses)


def _plain_cells(*texts: str) -> tuple[TableCell, ...]:
    return tuple(map(TableCell, texts))


def _condition(result: Comparison, condition: Condition) -> TableCell:
    if condition.noise == CONTROL:
        return TableCell("control", compared.words(result).labels)
    wrong = compared.wrong_labels([row for row in result.rows if row.condition == condition])
    return TableCell(f"{condition.noise} {condition.rate:g}", f"{wrong} {compared.words(result).wrong}")


def _cell(result: Comparison, row: Row | None) -> TableCell:
    if row is None:
        return _NO_CELL
    if row.mean is None:
        return TableCell(f"{row.failed} failed" if row.failed else "–")
    signs = (compared.drop(row, row.noise, result.unit), compared.verdict(row), compared.star(row))
    below = [compared.interval(row, result.unit)]
    if row.balanced:
        below.append(f"balanced {compared.number(row.balanced.mean, result.unit)}")
    if row.collapsed:
        below.append(f"{compared.COLLAPSED} collapsed {row.collapsed} of {row.seeds}")
    if row.failed:
        below.append(f"{row.failed} failed")
    text = " ".join(filter(None, (compared.number(row.mean, result.unit), *signs)))
    return TableCell(text, " · ".join(filter(None, below)), strong=row.best)


def _significant(result: Comparison) -> Iterator[Block]:
    first, *others = sentences.against_baseline(result)
    yield Paragraph(first)
    if len(others) > MOST_SENTENCES:
        yield _differences(result)
    elif others:
        yield Bullets(tuple(others))
    tests = sorted({row.difference.test for row in result.rows if row.difference})
    if tests:
        yield Paragraph(
            f"Tests are paired by test photo ({', '.join(_TESTS.get(test, test) for test in tests)}); the 95 % "
            "intervals are of the difference, p is corrected over all tests of the table."
        )


def _differences(result: Comparison) -> Table:
    """The significant ones, in the order of the sentences on them."""
    rows = []
    for row in sentences.significant(result):
        found = sentences.difference(result, row)
        condition = sentences.condition_name(row.condition)
        rows.append((TableCell(condition), TableCell(sentences.loss_name(result, row)), *map(TableCell, found)))
    heads = _plain_cells("noise", "loss", "difference", "95 % interval", "p, corrected", "verdict")
    return Table(f"What differs significantly from {result.baseline}.", heads, tuple(rows))


def _tolerated(result: Comparison) -> Iterator[Block]:
    lines = {(line.noise, line.column): line for line in result.tolerated if line.tolerance}
    if not lines:
        return
    yield Bullets(tuple(sentences.tolerances(result)))
    noises = list(dict.fromkeys(noise for noise, _ in lines))
    varying = compared.varying(result.columns)
    losses = [compared.column_name(column, varying) for column in result.columns]
    yield _turned_if_wide(
        f"Largest share of {compared.words(result).wrong} labels with {sentences.metric_name(result)} "
        f"{compared.tolerance(result)}, and its 95 % interval.",
        "noise",
        [TableCell(noise) for noise in noises],
        losses,
        [[_rate(lines.get((noise, column))) for column in result.columns] for noise in noises],
    )
    yield Paragraph(
        "< means that it is lower already at the least rate that was tried, ≥ that it is not at the highest, none that "
        "it is lower without noise."
    )


def _rate(line: Tolerated | None) -> TableCell:
    if line is None or line.tolerance is None:
        return _NO_CELL
    text, _, interval = compared.rate(line.tolerance).partition(" [")
    trouble = f"{compared.COLLAPSED} collapsed" if line.collapsed else ""
    return TableCell(text, " ".join(filter(None, (f"[{interval}" if interval else "", trouble))))


def _plots(report: Report) -> Iterator[Block]:
    yield from map(figures.of_picture, report.pictures)
    if report.passed_over:
        yield Bullets(tuple(f"{note[0].upper()}{note[1:]}." for note in report.passed_over))


def _cautions(report: Report) -> Iterator[Block]:
    request = report.dataset.request
    photos = dict(zip(SPLITS, report.dataset.sizes, strict=True))
    yield Bullets(tuple(sentences.cautions(report.comparison, request.source, request.seed, photos)))


def _reproduce(report: Report) -> Iterator[Block]:
    yield Paragraph("In an empty directory, with the versions below:")
    yield Commands(tuple(report.commands))
    seeds = sorted({row.seeds for row in report.comparison.rows if row.seeds})
    if seeds:
        yield Paragraph(
            f"The split is drawn with seed {report.dataset.request.seed}; draws and trainings have "
            f"{'the seed 0' if seeds[-1] == 1 else f'the seeds 0 to {seeds[-1] - 1}'}."
        )
    for made in report.provenance:
        versions = sorted(made.versions.items())
        yield Table(
            f"Versions that made the runs, with the backend {made.backend} on {made.device}.",
            _plain_cells("package", "version"),
            tuple((TableCell(name), TableCell(version)) for name, version in versions),
            numeric=False,
        )
    yield Table(
        "Digests (SHA-256): where these are equal, so is everything above.",
        _plain_cells("of", "digest"),
        tuple((TableCell(what), TableCell(digest)) for what, digest in report.digests),
        numeric=False,
    )
