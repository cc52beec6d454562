"""What a report says, section by section."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from flowernoise.analysis.views.reports import Report
from flowernoise.catalogue.label_words import label_words
from flowernoise.catalogue.metrics import facts_of
from flowernoise.catalogue.noise import shown_names
from flowernoise.show import cautions, compared, comparison, sentences
from flowernoise.show.document import (
    Block,
    Bullets,
    Document,
    Facts,
    Grids,
    Heading,
    Notes,
    Paragraph,
    Table,
    TableColumn,
    Verbatim,
    cells,
    columns,
)
from flowernoise.show.report import figures
from flowernoise.show.summaries import photos_by_class, splits_as_given
from flowernoise.store.records import CONTROL, SPLITS, Comparison, Dataset, Provenance

_TESTS = {"mcnemar": "McNemar's test", "sign_flip": "sign-flip permutation and a t-test over photos and seeds"}
MAX_SENTENCES = 10  # on differences; more are a table
SWEEP = "report.toml"  # the file with which one run makes all again


def document(report: Report) -> Document:
    """A report as plain blocks; empty sections are left out."""
    report = dataclasses.replace(report, comparison=compared.with_names(report.comparison))
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
    source, things = report.dataset.request.source, label_words(report.dataset.request).things
    return Document(
        title=f"Label noise: {source}",
        subtitle=(
            f"{len(report.dataset.classes)} classes, {train + val + test:,} {things}, "
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
    baseline = f"; the baseline is {result.baseline}" if result.baseline in losses else ""
    noises: dict[str, list[str]] = {}
    for noise, rate in result.conditions:
        if noise != CONTROL:
            noises.setdefault(noise, []).append(f"{rate:g}")
    yield Bullets(
        (
            f"Losses: {', '.join(losses)}{baseline}.",
            *(f"Noise: {noise} at rate {', '.join(rates)}." for noise, rates in noises.items()),
            f"Models: {', '.join(compared.kinds(result))}.",
            f"Metric: {compared.measure(result)}.",
            *sorted({_selection(photos.select) for photos in result.datasets}),
        )
    )


def _made_with(made: Provenance) -> str:
    features = f"; features by {made.extractor}" if made.extractor else ""
    return f"Versions that made the runs. Backend: {made.backend} on {made.device}{features}."


def _selection(select: str) -> str:
    if select == "last":
        return "Epoch shown: the last one of each run."
    judges = "noisy validation labels" if select == "selected" else "test photos"
    return f"Epoch shown: for each run, the epoch and hyper-parameters that did best on the {judges}."


def _data(report: Report) -> Iterator[Block]:
    dataset = report.dataset
    things = label_words(dataset.request).things
    title = f"{things.capitalize()} of each class, from {dataset.request.source}; {_split_of(dataset)}."
    yield dataclasses.replace(photos_by_class(dataset), title=title)
    yield from _set_apart(dataset)
    noisy = [each for each in report.drawn if each.noise != CONTROL]
    if noisy:
        names = shown_names(list(dict.fromkeys(each.noise for each in noisy)))
        words = label_words(dataset.request)
        stay, are = ("clean", "are wrong") if words.are_clean else ("as given", "were made wrong")
        are = "were changed" if words.training_is_doubted else are
        yield Table(
            (TableColumn("noise"), *columns("rate", "seeds", "realised", numeric=True)),
            tuple(cells(names[each.noise], f"{each.rate:g}", f"{each.seeds}", _span(each.realised)) for each in noisy),
            f"Noisy labels drawn for train and val; test labels stay {stay}. Realised: the share of training labels "
            f"that really {are}, over the seeds.",
        )


def _set_apart(dataset: Dataset) -> Iterator[Block]:
    groups = (
        ("With more than one copy, kept once each", dataset.identical, "photo"),
        ("Given in several splits, kept in test (else in val)", dataset.across_splits, "photo"),
        ("In two classes, dropped", dataset.contradictory, "photo"),
        ("Unreadable, skipped", dataset.unreadable, "file"),
    )
    items = [
        f"{what}: {len(found):,} {thing}{'' if len(found) == 1 else 's'}." for what, found, thing in groups if found
    ]
    if dataset.given and dataset.given.equal:
        items.append(f"Equal to another row, kept in one split with it: {dataset.given.equal:,} rows.")
    if items:
        yield Bullets(tuple(items))


def _span(rates: tuple[float, float]) -> str:
    low, high = (f"{100 * rate:.1f}" for rate in rates)
    return f"{low} %" if low == high else f"{low}–{high} %"


def _results(result: Comparison) -> Iterator[Block]:
    yield Bullets(tuple(sentences.best(result)))
    words = compared.words(result)
    photos = f"on {words.test_photos(sum(result.datasets[0].test_counts))}"
    on_training_labels = facts_of(result.metric).of == "training"
    judged_on = f"of the {words.wrong} training labels" if on_training_labels else photos
    title = f"{compared.measure(result)}; {compared.seeds(result)}, {judged_on}."
    yield Grids((dataclasses.replace(comparison.measured(result), title=title),))
    signs = compared.legend(result)
    if signs:
        yield Facts(tuple(signs))
    if result.beside:
        title = "What the first experiment published, beside the results here."
        yield dataclasses.replace(comparison.beside(result), title=title)
        yield Paragraph(result.why)
    if result.notes:
        yield Notes(result.notes)


def _significant(result: Comparison) -> Iterator[Block]:
    first, *others = sentences.against_baseline(result)
    yield Paragraph(first)
    if len(others) > MAX_SENTENCES:
        yield _differences(result)
    elif others:
        yield Bullets(tuple(others))
    tests = sorted({row.difference.test for row in result.rows if row.difference})
    if tests:
        yield Paragraph(
            f"Tests are paired by test photo ({', '.join(_TESTS.get(test, test) for test in tests)}). The 95 % "
            "intervals are for the difference; p is corrected for all tests in the table. A significant difference is "
            "one that chance alone would rarely produce."
        )


def _differences(result: Comparison) -> Table:
    """The significant ones, in the order of the sentences on them."""
    rows = []
    for row in sentences.significant(result):
        names = sentences.condition_name(row.condition), sentences.loss_name(result, row)
        rows.append(cells(*names, *sentences.difference(result, row)))
    told = columns("difference", "95 % interval", "p, corrected", "verdict", numeric=True)
    heads = (*columns("noise", "loss"), *told)
    return Table(heads, tuple(rows), f"Significant differences from {result.baseline}.")


def _tolerated(result: Comparison) -> Iterator[Block]:
    for grid in comparison.tolerated(result):
        yield Bullets(tuple(sentences.tolerances(result)))
        title = (
            f"Estimate of the largest share of {compared.words(result).wrong} labels at which "
            f"{sentences.metric_name(result)} is {compared.tolerance(result)}, with its 95 % interval."
        )
        yield Grids((dataclasses.replace(grid, title=title),))
        if signs := compared.rate_signs(result):
            yield Facts(tuple(signs))
        yield Paragraph(
            "This is not a recommendation to live with so many wrong labels. Where intervals overlap, the order of the "
            "losses may be chance."
        )


def _split_of(dataset: Dataset) -> str:
    """How the photos were split."""
    seed, count = dataset.request.seed, dataset.splits
    given = splits_as_given(dataset)
    if count == 1:
        return given or f"the split is drawn with seed {seed}"
    drawn = f"{count} splits are drawn with seed {seed}, and seed s uses split s mod {count}"
    return f"{given}; {drawn}" if given else drawn


def _plots(report: Report) -> Iterator[Block]:
    yield from map(figures.of_picture, report.pictures)
    if report.passed_over:
        yield Bullets(tuple(f"{note[0].upper()}{note[1:].rstrip('.')}." for note in report.passed_over))


def _cautions(report: Report) -> Iterator[Block]:
    photos = dict(zip(SPLITS, report.dataset.sizes, strict=True))
    yield Bullets(tuple(cautions.cautions(report.comparison, report.dataset.request, photos)))


def _reproduce(report: Report) -> Iterator[Block]:
    yield Paragraph("In an empty directory, with the versions below:")
    yield Verbatim(tuple(report.commands), shell=True)
    if report.sweep:
        yield Paragraph(f"Or, with the other options in {SWEEP}:")
        yield Verbatim((report.sweep_command,), shell=True)
    seeds = sorted({row.seeds for row in report.comparison.rows if row.seeds})
    if seeds:
        split = _split_of(report.dataset)
        yield Paragraph(
            f"{split[0].upper()}{split[1:]}; draws and trainings use "
            f"{'seed 0' if seeds[-1] == 1 else f'seeds 0 to {seeds[-1] - 1}'}."
        )
    for made in report.provenance:
        yield Table(
            columns("package", "version"),
            tuple(cells(*each) for each in sorted(made.versions.items())),
            _made_with(made),
        )
    yield Table(
        columns("what", "digest"),
        tuple(cells(*each) for each in report.digests),
        "Digests (SHA-256). If these are equal, so is everything above.",
    )
