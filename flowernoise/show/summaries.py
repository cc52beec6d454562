"""What each stage did, in a table or a line."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Sequence

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from flowernoise.analysis.results.listed import Listed
from flowernoise.analysis.results.stages import CorruptResult, EvaluateResult, TrainResult
from flowernoise.analysis.results.upkeep import Removed, RemoveResult, VerifyResult
from flowernoise.analysis.results.written import PreviewResult
from flowernoise.catalogue.photo_folders import PassedOver
from flowernoise.catalogue.sources import label_words
from flowernoise.store.records import Dataset, Draw, RunKey
from flowernoise.store.setups import differing, setting, settings

MOST_RUNS = 40
MOST_LEFT_OUT = 5


def counts(dataset: Dataset) -> Table:
    """Photos of each class in each split."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=True)
    shown.add_column("class", footer="all", no_wrap=True)
    for name, row in zip(("train", "val", "test"), dataset.counts, strict=True):
        shown.add_column(name, justify="right", footer=f"{sum(row):,}")
    for label, name in enumerate(dataset.classes):
        shown.add_row(name, *[f"{row[label]:,}" for row in dataset.counts])
    return shown


def left_out(passed_over: Sequence[PassedOver]) -> Iterator[str]:
    """A line for each reason why files and folders of a source were left out, with the first of them and the way out.

    >>> list(left_out([PassedOver("roses/notes.txt", "not a photo", "leave it, or save it as JPEG if it is one")]))
    ['1 left out, not a photo: roses/notes.txt; leave it, or save it as JPEG if it is one']
    """
    reasons: dict[tuple[str, str], list[str]] = {}
    for each in passed_over:
        reasons.setdefault((each.reason, each.way_out), []).append(each.path)
    for (reason, way_out), paths in reasons.items():
        more = f" and {len(paths) - MOST_LEFT_OUT:,} more" if len(paths) > MOST_LEFT_OUT else ""
        yield f"{len(paths):,} left out, {reason}: {', '.join(paths[:MOST_LEFT_OUT])}{more}; {way_out}"


def things(listed: Sequence[Listed]) -> Iterator[Table]:
    """A table for each kind, of specs with their defaults and what they mean."""
    for kind, group in itertools.groupby(listed, key=lambda thing: thing.kind):
        shown = Table(box=SIMPLE_HEAD, pad_edge=False)
        shown.add_column(kind, no_wrap=True)
        shown.add_column("")
        for thing in group:
            shown.add_row(spec(thing), thing.summary)
        yield shown


def spec(thing: Listed) -> str:
    """``name:key=default,…``, over several lines where it is long."""
    text = f"{thing.name}:{','.join(thing.parameters)}" if thing.parameters else thing.name
    return "\n".join(textwrap.wrap(text.replace(",", ", "), 36, subsequent_indent="  ")).replace(", ", ",")


def checked(result: VerifyResult) -> Table:
    """A row a stage: how many records, files and bytes were checked, and how many of the files are wrong."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=True)
    shown_in = {"answers": "train", "preset": "prepare"}
    wrong = {problem.path: shown_in.get(problem.stage, problem.stage) for problem in result.problems}
    stages = list(dict.fromkeys([*(row.stage for row in result.checked), *wrong.values()]))
    found = {row.stage: row for row in result.checked}
    shown.add_column("stage", footer="all", no_wrap=True)
    rows = result.checked
    for name, total in (
        ("records", sum(row.records for row in rows)),
        ("intact files", sum(row.files for row in rows)),
        ("bytes", sum(row.bytes for row in rows)),
    ):
        shown.add_column(name, justify="right", footer=f"{total:,}", no_wrap=True)
    shown.add_column("wrong", justify="right", footer=f"{len(wrong):,}", no_wrap=True)
    for stage in stages:
        row = found.get(stage)
        counts = (row.records, row.files, row.bytes) if row else (0, 0, 0)
        broken = sum(each == stage for each in wrong.values())
        shown.add_row(stage, *(f"{count:,}" for count in counts), f"{broken:,}", style="red" if broken else "")
    return shown


def draws(result: CorruptResult) -> Table:
    """A row a noise model and rate, with the realised rates."""
    shown, wrong = Table(box=SIMPLE_HEAD, pad_edge=False), label_words(result.source).wrong
    shown.add_column("noise", no_wrap=True)
    for name in ("rate", f"{wrong} in train", f"{wrong} in val", "seeds"):
        shown.add_column(name, justify="right", no_wrap=True)
    conditions: dict[tuple[str, float], list[Draw]] = {}
    for draw in result.draws:
        conditions.setdefault((draw.key.noise, draw.key.rate), []).append(draw)
    for (noise, rate), members in conditions.items():
        realised = _span([draw.realised_rate for draw in members])
        val = [draw.realised_rate_val for draw in members if draw.realised_rate_val is not None]
        name = "control" if noise == "none" else noise
        shown.add_row(name, f"{rate:g}", realised, _span(val) if val else "–", str(len(members)))
    return shown


def _span(shares: Sequence[float]) -> str:
    low, high = 100 * min(shares), 100 * max(shares)
    return f"{low:.1f} %" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f} %"


def trained(result: TrainResult) -> str:
    """How many runs, on what, and how long it took."""
    where = f"{result.engine.name}, {result.engine.device}"
    text = f"{result.trained:,} runs trained, {result.done_before:,} there already; {where}"
    if not result.trained:
        return text
    text += f"; training {result.training_seconds:.1f} s"
    if result.photos_trained:
        return f"{text}, {result.photos_trained / result.training_seconds:.1f} photos/s"
    return f"{text}, features {result.feature_seconds:.1f} s on {result.extractor}"


def removal(result: RemoveResult) -> Table:
    """Runs that were removed, or would be, by loss, noise and settings."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=True)
    telling = differing([each.setup for each in result.runs])
    heads = ("loss", "noise", "rate", "backbone", "mode", *telling)
    shown.add_column("runs", justify="right", no_wrap=True, footer=f"{sum(each.runs for each in result.runs):,}")
    for place, name in enumerate(heads):
        shown.add_column(name, no_wrap=name != "noise", overflow="fold", footer="in all" if not place else "")
    for each in result.runs:
        noise = "control" if each.noise == "none" else each.noise
        names = (each.loss, noise, f"{each.rate:g}", each.setup.backbone, each.setup.mode)
        shown.add_row(f"{each.runs:,}", *map(Text, names), *(setting(name, each.setup) for name in telling))
    return shown


def kind(each: Removed) -> dict[str, object]:
    """What runs have in common, as plain data."""
    return {"noise": each.noise, "rate": each.rate, "loss": each.loss, **settings(each.setup)}


def sheets(result: PreviewResult) -> Table:
    """A row a contact sheet, below the folder they are in: how many are wrong, and their share in the split."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    shown.add_column(Text(str(result.directory)), overflow="fold")
    for name in ("photos", "wrong" if label_words(result.source).are_clean else "not as given", "in all"):
        shown.add_column(name, justify="right", no_wrap=True)
    for sheet in result.sheets:
        share = sheet.mistakes / sheet.population if sheet.kind == "mistakes" else sheet.realised_rate
        shown.add_row(Text(sheet.file.name), str(sheet.photos), str(sheet.wrong), f"{100 * share:.1f} %")
    return shown


def identity(key: RunKey) -> dict[str, object]:
    """A run's identity as plain data."""
    draw = {"noise": key.noise, "rate": key.rate, "seed": key.seed}
    return {**draw, "loss": key.method, **settings(key.setup)}


def run_metrics(result: EvaluateResult, row: int) -> dict[str, object]:
    """All metrics of a run, as plain data."""
    run = result.evaluation.runs[row]
    return {
        **identity(result.evaluation.keys[row]),
        "realised_rate": run.realised_rate,
        "failure": run.failure,
        "metrics": [msgspec.to_builtins(metrics) for metrics in result.of_run(row)],
    }


def runs(result: EvaluateResult) -> Table:
    """A row a run, the first ones where there are many."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    telling = differing(result.evaluation.setups)
    for name in ("noise", "rate", "seed", "loss", *telling):
        shown.add_column(name, no_wrap=True)
    heads = ("accuracy", "balanced", *(f"{name}" for name in result.evaluation.classes), "memorised", "")
    for name in heads:
        shown.add_column(name, justify="right", no_wrap=True)
    for row, (key, run) in enumerate(zip(result.evaluation.keys[:MOST_RUNS], result.evaluation.runs, strict=False)):
        draw = ("control" if key.noise == "none" else key.noise, f"{key.rate:g}", str(key.seed))
        names = (*draw, key.method, *(setting(name, key.setup) for name in telling))
        if run.failure:
            shown.add_row(*names, "failed")
            continue
        metrics = result.of_run(row)[0]
        recalls = [_percent(value) for value in metrics.recall.values()]
        mark = "collapsed" if metrics.collapsed else ""
        shown.add_row(
            *names,
            _percent(metrics.accuracy),
            _percent(metrics.balanced_accuracy),
            *recalls,
            _percent(metrics.memorised),
            mark,
        )
    return shown


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
