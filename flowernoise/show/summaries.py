"""What each step did, as a document: a table or a line for people, plain data for programs."""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
from collections.abc import Iterator, Sequence

import msgspec

from flowernoise.analysis.results.listed import Listed
from flowernoise.analysis.results.stages import (
    CorruptResult,
    EvaluateResult,
    FeaturesResult,
    PrepareResult,
    RunResult,
    TrainResult,
)
from flowernoise.analysis.results.upkeep import Removed, RemoveResult, VerifyResult
from flowernoise.analysis.results.written import ListedPhoto, PlotResult, PreviewResult, ReportResult, SheetFile
from flowernoise.catalogue.label_words import Labelled, LabelWords, label_words
from flowernoise.catalogue.noise import shown_names
from flowernoise.catalogue.photo_folders import PassedOver
from flowernoise.show.document import Bullets, Cell, Document, Records, Table, TableColumn, Verbatim, cells, columns
from flowernoise.store.records import CONTROL, SPLITS, Dataset, Draw, RunKey
from flowernoise.store.setups import differing, setting, settings
from flowernoise.store.stages import counted_as

MAX_RUNS = 40
PHOTO_LIST = "photos.csv"  # beside contact sheets: every photo on them
MAX_LEFT_OUT = 5


def prepared(result: PrepareResult) -> Document:
    """Photos of each class in each split."""
    data = {"schema": 1, "done_before": result.done_before, **msgspec.to_builtins(result.dataset)}
    data["passed_over"] = msgspec.to_builtins(result.passed_over)
    data["photos"] = result.dataset.sizes
    data["photos_by_split"] = dict(zip(SPLITS, result.dataset.sizes, strict=True))
    counts = zip(result.dataset.classes, zip(*result.dataset.counts, strict=True), strict=True)
    data["photos_by_class"] = {name: dict(zip(SPLITS, each, strict=True)) for name, each in counts}
    return Document(
        (dataclasses.replace(photos_by_class(result.dataset), title=_each_split(result.dataset)),), data=data
    )


def _each_split(dataset: Dataset) -> str:
    """What the table of photos is of, if there are several splits."""
    count = dataset.splits
    return f"Photos in each of {count} splits; seed s uses split s mod {count}" if count > 1 else ""


def splits_as_given(dataset: Dataset) -> str:
    """Which splits are the source's own, and what the others are drawn from; empty if all are drawn."""
    given, sizes = dataset.given_splits, dict(zip(SPLITS, dataset.sizes, strict=True))
    if not given:
        return ""
    drawn = [name for name in SPLITS if name not in given and sizes[name]]
    if dataset.request.sizes is not None:
        kept = ", ".join(f"{sizes[name]:,} of {name}" for name in given if sizes[name])
        return "; ".join([f"splits as given: {kept}", *(f"{name}: {sizes[name]:,} of train" for name in drawn)])
    sizes["train"] += sum(sizes[name] for name in drawn)
    kept = ", ".join(f"{name} {sizes[name]:,}" for name in given)
    return "; ".join([f"splits as given: {kept}", *(f"{name}: 15 % of train" for name in drawn)])


def from_table(dataset: Dataset) -> Iterator[str]:
    """What a table of labels holds beside them, and what it does not name, in lines."""
    table = dataset.table
    if table is None:
        return
    if table.columns:
        yield f"further labels, for corrupt --noise observed:column=NAME: {', '.join(table.columns)}"
    if table.without_label:
        yield f"photos left out, as the table of labels does not name them: {table.without_label:,}"
    if table.without_photo:
        yield f"rows of the table without a photo in the source: {_counted(table.without_photo)}"
    if table.classes_without_photo:
        yield f"labels that only such rows have, so no classes: {_counted(table.classes_without_photo)}"


def classes_without_photos(dataset: Dataset) -> str:
    """The classes that have no photo in any split, as a line; empty if all have."""
    empty = [name for name, *counts in zip(dataset.classes, *dataset.counts, strict=True) if not any(counts)]
    return f"classes without a photo: {_counted(empty)}" if empty else ""


def _counted(items: Sequence[str]) -> str:
    more = f" and {len(items) - MAX_LEFT_OUT:,} more" if len(items) > MAX_LEFT_OUT else ""
    return f"{len(items):,} ({', '.join(items[:MAX_LEFT_OUT])}{more})"


def whose_labels(labelled: Labelled) -> str:
    """What is known about the labels of a source; nothing if the program made them."""
    words = label_words(labelled)
    if words.are_clean:
        return ""
    if words.test_is_doubted:
        return (
            "labels were not checked: every score is against labels that may be wrong, and noise changes some of them"
        )
    if words.training_is_doubted:
        checked = f"labels of the test {words.things} were checked, the others are taken as given"
        return f"{checked}; noise changes some of those"
    return f"labels are taken as given, also those of the test {words.things}; noise is added to them"


def left_out(passed_over: Sequence[PassedOver]) -> Iterator[str]:
    """A line for each reason why files and folders of a source were left out, with the first of them and the way out.

    >>> list(left_out([PassedOver("roses/notes.txt", "not a photo", "leave it, or save it as JPEG if it is one")]))
    ['1 left out, not a photo: roses/notes.txt; leave it, or save it as JPEG if it is one']
    """
    reasons: dict[tuple[str, str], list[str]] = {}
    for each in passed_over:
        reasons.setdefault((each.reason, each.way_out), []).append(each.path)
    for (reason, way_out), paths in reasons.items():
        more = f" and {len(paths) - MAX_LEFT_OUT:,} more" if len(paths) > MAX_LEFT_OUT else ""
        yield f"{len(paths):,} left out, {reason}: {', '.join(paths[:MAX_LEFT_OUT])}{more}; {way_out}"


def photos_by_class(dataset: Dataset) -> Table:
    """How many photos of each class there are in each split."""
    by_class = zip(dataset.classes, zip(*dataset.counts, strict=True), strict=True)
    return Table(
        (TableColumn("class"), *columns(*SPLITS, "all", numeric=True)),
        tuple(cells(name, *_with_sum(counts)) for name, counts in by_class),
        total=cells("all", *_with_sum(dataset.sizes), strong=True),
    )


def _with_sum(counts: Sequence[int]) -> list[str]:
    return [f"{count:,}" for count in (*counts, sum(counts))]


def corrupted(result: CorruptResult) -> Document:
    """A row per noise model and rate, with the realised rates."""
    words = label_words(result)
    conditions: dict[tuple[str, float], list[Draw]] = {}
    for draw in result.draws:
        conditions.setdefault((draw.key.noise, draw.key.rate), []).append(draw)
    rows, names = [], shown_names(list(dict.fromkeys(noise for noise, _ in conditions)))
    for (noise, rate), members in conditions.items():
        realised = _span([draw.realised_rate for draw in members])
        val = [draw.realised_rate_val for draw in members if draw.realised_rate_val is not None]
        shares = [realised, _span(val) if val else "–"]
        if noise == CONTROL and words.training_is_doubted:
            shares = [words.share("", is_control=True) if share != "–" else share for share in shares]
        rows.append(cells(_noise(names[noise]), f"{rate:g}", *shares, str(len(members))))
    heads = columns("rate", f"{words.wrong} in train", f"{words.wrong} in val", "seeds", numeric=True)
    draws = [msgspec.to_builtins(draw) for draw in result.draws]
    data = {"schema": 1, "made": result.made, "done_before": result.done_before, "draws": draws}
    return Document((Table((TableColumn("noise"), *heads), tuple(rows)),), data=data)


def _noise(name: str) -> str:
    return "control" if name == CONTROL else name


def _span(shares: Sequence[float]) -> str:
    low, high = 100 * min(shares), 100 * max(shares)
    return f"{low:.1f} %" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f} %"


def trained(result: TrainResult) -> Document:
    """How many runs were trained, and how."""
    data = {
        "schema": 1,
        "trained": result.trained,
        "done_before": result.done_before,
        **settings(result.setup),
        "failed": [{**_identity(key), "reason": reason} for key, reason in result.failed],
        "device": result.engine.device,
        "engine": result.engine.name,
        "extractor": result.extractor and msgspec.to_builtins(result.extractor),
        "feature_seconds": round(result.feature_seconds, 3),
        "training_seconds": round(result.training_seconds, 3),
        "seconds": round(result.seconds, 3),
    }
    return Document((Bullets((training(result),)),), data=data)


def features(result: FeaturesResult) -> Document:
    """How many photos have features, from what, and what was read or written."""
    cached = result.photos - result.extracted
    data = {
        "schema": 1,
        "done_before": result.done_before,
        "backbone": result.backbone,
        "photos": result.photos,
        "dimension": result.dimension,
        "extracted": result.extracted,
        "cached": cached,
        "imported": str(result.file) if result.imported else None,
        "exported": str(result.file) if result.file and not result.imported else None,
    }
    made = f"imported from {result.file}" if result.imported else f"{result.extracted:,} extracted, {cached:,} cached"
    lines = [f"{result.photos:,} photos with {result.dimension:,} features of {result.backbone}: {made}"]
    if result.imported:
        lines.append(f"train on them with --backbone {result.backbone}")
    elif result.file:
        lines.append(f"exported to {result.file}")
    return Document((Bullets(tuple(lines)),), data=data)


def training(result: TrainResult) -> str:
    """How many runs, on what, and how long it took; the parts add up to the whole."""
    where = f"{result.engine.name}, {result.engine.device}"
    text = f"{result.trained:,} runs trained, {result.done_before:,} there already; {where}"
    if not result.trained:
        return text
    whole, parts = round(result.seconds, 1), [("training", round(result.training_seconds, 1))]
    rate = ""
    if result.photos_trained:
        rate = f"; {result.photos_trained / result.training_seconds:,.1f} photos/s"
    else:
        parts.insert(0, (f"features on {result.extractor}", round(result.feature_seconds, 1)))
    rest = max(whole - sum(seconds for _, seconds in parts), 0.0)
    told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in [*parts, ("everything else", rest)])
    return f"{text}; {whole:.1f} s in all: {told}{rate}"


def stages(result: RunResult) -> Iterator[str]:
    """What each stage of ``run`` did, in a line."""
    dataset, done = result.prepare.dataset, "done already"
    photos = f"{sum(dataset.sizes):,} {label_words(dataset.request).things} in {len(dataset.classes)} classes"
    yield f"prepare: {done if result.prepare.done_before else photos}"
    drawn = f"{result.corrupt.made:,} draws made, {result.corrupt.done_before:,} there already"
    yield f"corrupt: {drawn if result.corrupt.made else done}"
    yield f"train: {training(result.train) if result.train.trained else done}"
    runs = f"{len(result.evaluate.evaluation.runs):,} runs measured"
    yield f"evaluate: {done if result.evaluate.done_before else runs}"


def _identity(key: RunKey) -> dict[str, object]:
    draw = {"noise": key.noise, "rate": key.rate, "seed": key.seed}
    return {**draw, "loss": key.method, **settings(key.setup)}


def evaluated(result: EvaluateResult) -> Document:
    """A row per run, the first ones where there are many."""
    telling = differing(result.evaluation.setups)
    words = label_words(result)
    memorised = () if words.training_is_doubted else ("memorised",)
    measures = ("accuracy", "balanced", *result.evaluation.classes, *memorised, "")
    rows = []
    for row, (key, run) in enumerate(zip(result.evaluation.keys[:MAX_RUNS], result.evaluation.runs, strict=False)):
        draw = (_noise(key.noise), f"{key.rate:g}", str(key.seed))
        names = (*draw, key.method, *(setting(name, key.setup) for name in telling))
        values = ["failed", *[""] * (len(measures) - 1)] if run.failure else _measured(result, row, bool(memorised))
        rows.append(cells(*names, *values))
    heads = (*columns("noise", "rate", "seed", "loss", *telling), *columns(*measures, numeric=True))
    every = [_run(result, row, words) for row in range(len(result.evaluation.runs))]
    data = {"schema": 1, "digest": result.evaluation.arrays.sha256, "runs": every}
    return Document((Table(heads, tuple(rows), notes=tuple(_of_doubt(words))),), data=data)


def _of_doubt(words: LabelWords) -> Iterator[str]:
    """What an evaluation cannot say, as labels may be wrong."""
    if words.against:
        yield f"accuracy, balanced and the recalls are measured{words.against}"
    if words.training_is_doubted:
        yield "the share memorised is left out: nobody knows which training labels are wrong"


def _measured(result: EvaluateResult, row: int, with_memorised: bool) -> list[str]:
    metrics = result.of_run(row)[0]
    memorised = [metrics.memorised] if with_memorised else []
    shares = [metrics.accuracy, metrics.balanced_accuracy, *metrics.recall.values(), *memorised]
    return [*("–" if share is None else f"{100 * share:.1f}" for share in shares), "collapsed" * metrics.collapsed]


def _run(result: EvaluateResult, row: int, words: LabelWords) -> dict[str, object]:
    run = result.evaluation.runs[row]
    unknown: dict[str, None] = {"memorised": None, "recovered": None} if words.training_is_doubted else {}
    return {
        **_identity(result.evaluation.keys[row]),
        "realised_rate": run.realised_rate,
        "failure": run.failure,
        "metrics": [msgspec.to_builtins(metrics) | unknown for metrics in result.of_run(row)],
    }


def listed(things: Sequence[Listed], *, in_full: bool) -> Document:
    """One table per kind, of specs with their defaults and what they mean; or one thing in full."""
    data = {"schema": 1, "things": [dataclasses.asdict(thing) for thing in things]}
    if in_full:
        [thing] = things
        return Document(tuple(Verbatim(tuple(text.splitlines())) for text in (_spec(thing), thing.details)), data=data)
    return Document(tuple(_kinds(things)), data=data)


def _kinds(things: Sequence[Listed]) -> Iterator[Table]:
    for kind, group in itertools.groupby(things, key=lambda thing: thing.kind):
        yield Table(
            (TableColumn(kind), TableColumn("", folds=True)),
            tuple(cells(_spec(thing), thing.summary) for thing in group),
        )


def _spec(thing: Listed) -> str:
    """``name:key=default,…``, over several lines where it is long."""
    text = f"{thing.name}:{','.join(thing.parameters)}" if thing.parameters else thing.name
    return "\n".join(textwrap.wrap(text.replace(",", ", "), 36, subsequent_indent="  ")).replace(", ", ",")


def drawn(result: PlotResult) -> Document:
    """The paths of the pictures, one per line."""
    files = [{"kind": f.kind, "path": str(f.path), "done_before": f.done_before} for f in result.files]
    return Document((Bullets(tuple(str(f.path) for f in result.files)),), data={"schema": 1, "files": files})


def reported(result: ReportResult) -> Document:
    """The paths of the page and of the same in Markdown."""
    files = [{"path": str(f.path), "bytes": f.size, "done_before": f.done_before} for f in result.files]
    return Document((Bullets(tuple(str(f.path) for f in result.files[:2])),), data={"schema": 1, "files": files})


def previewed(result: PreviewResult) -> Document:
    """A row per contact sheet, below the folder they are in: how many are wrong, and their share in the split."""
    rows = []
    for sheet in result.sheets:
        share = sheet.mistakes / sheet.population if sheet.kind == "mistakes" else sheet.realised_rate
        rows.append(cells(sheet.file.name, str(sheet.photos), str(sheet.wrong), f"{100 * share:.1f} %"))
    wrong = "wrong" if label_words(result).are_clean else "not as given"
    heads = (TableColumn(str(result.directory), folds=True), *columns("photos", wrong, "in all", numeric=True))
    sheets = [{**dataclasses.asdict(sheet), "file": str(sheet.file)} for sheet in result.sheets]
    listed = str(result.directory / PHOTO_LIST)
    data = {"schema": 1, "written": result.written, "sheets": sheets, "list": listed}
    notes = (f"{PHOTO_LIST} lists the photos on the sheets with labels and predictions",)
    return Document((Table(heads, tuple(rows), notes=notes),), data=data)


def photos_on(sheets: Sequence[SheetFile]) -> Document:
    """A record per photo on a sheet: its labels, and what a run predicts."""
    header = tuple(field.name for field in dataclasses.fields(ListedPhoto))
    rows = tuple((sheet.file.name, *dataclasses.astuple(photo)) for sheet in sheets for photo in sheet.listed)
    return Document((), records=Records(("sheet", *header), rows))


def verified(result: VerifyResult) -> Document:
    """A row per stage: how much was checked, and how many files are wrong; below, what was made again or is wrong."""
    lines = [f"repaired: {problem.text}" for problem in result.repaired]
    lines += ["; ".join(filter(None, (f"wrong: {each.text}", each.way_out))) for each in result.problems]
    blocks = (_checked(result), Bullets(tuple(lines))) if lines else (_checked(result),)
    return Document(blocks, data={"schema": 1, **dataclasses.asdict(result)})


def _checked(result: VerifyResult) -> Table:
    wrong = {problem.path: counted_as(problem.stage) for problem in result.problems}
    found = {row.stage: (row.records, row.files, row.bytes) for row in result.checked}
    rows = []
    for stage in dict.fromkeys([*found, *wrong.values()]):
        broken = sum(each == stage for each in wrong.values())
        texts = (stage, *(f"{count:,}" for count in (*found.get(stage, (0, 0, 0)), broken)))
        rows.append(tuple(Cell(text, tone="bad" if broken else "") for text in texts))
    sums = map(sum, zip((0, 0, 0), *found.values(), strict=True))
    return Table(
        (TableColumn("stage"), *columns("records", "intact files", "bytes", "wrong", numeric=True)),
        tuple(rows),
        total=cells("all", *(f"{count:,}" for count in (*sums, len(wrong))), strong=True),
    )


def removal(result: RemoveResult) -> Document:
    """Runs that were removed, or would be, by loss, noise and settings."""
    telling = differing([each.setup for each in result.runs])
    heads = ("loss", "noise", "rate", "backbone", "mode", *telling)
    rows = []
    for each in result.runs:
        names = (each.loss, _noise(each.noise), f"{each.rate:g}", each.setup.backbone, each.setup.mode)
        rows.append(cells(f"{each.runs:,}", *names, *(setting(name, each.setup) for name in telling)))
    runs = f"{sum(each.runs for each in result.runs):,}"
    table = Table(
        (TableColumn("runs", numeric=True), *(TableColumn(name, folds=name == "noise") for name in heads)),
        tuple(rows),
        total=cells(runs, "in all", *[""] * (len(heads) - 1), strong=True),
    )
    kinds = [{**_kind(each), "runs": each.runs} for each in result.runs]
    return Document((table,), data={"schema": 1, "removed": result.removed, "runs": kinds, "bytes": result.bytes})


def _kind(each: Removed) -> dict[str, object]:
    return {"noise": each.noise, "rate": each.rate, "loss": each.loss, **settings(each.setup)}
