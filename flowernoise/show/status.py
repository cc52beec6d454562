"""An artifacts directory at a glance, as a document."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

from flowernoise.analysis.results.status import RunCount, SetupSize, Stage, Status
from flowernoise.catalogue.label_words import things_of
from flowernoise.catalogue.noise import shown_names
from flowernoise.show.document import Bullets, Cell, Document, Facts, Table, TableColumn, Tone, cells
from flowernoise.store.records import CONTROL, SPLITS
from flowernoise.store.setups import differing, named, settings
from flowernoise.store.stages import STAGES

MAX_NAMES = 4  # losses by name
MAX_SHORTCOMINGS = 3  # in a line
MAX_LINES = 5  # problems, or files of a kind of litter, by name
_TONES: Mapping[str, Tone] = {"stale": "warn", "partly": "warn", "unknown": "warn", "damaged": "bad"}
_LITTER = {
    "temporary": ("temporary file", "left by something that was interrupted or is still running"),
    "set aside": ("damaged file", "set aside"),
    "unreferenced": ("file", "that no record names"),
}


def shortcomings(result: Status) -> str:
    """What is wrong or missing, in one line."""
    first, more = result.shortcomings[:MAX_SHORTCOMINGS], len(result.shortcomings) - MAX_SHORTCOMINGS
    others = f"; and {more} more" if more > 0 else ""
    return f"{result.directory} is not sound and complete: {'; '.join(first)}{others}"


def document(result: Status) -> Document:
    """One row per stage, then what is wrong, what is litter, and the command that comes next."""
    lines = [*_problems(result), *_litter(result)]
    if result.inside:
        lines.append(f"artifacts directories inside it: {', '.join(result.inside)}")
    lines.append(f"next: {result.next or 'nothing is left to do'}")
    if any(stage.files for stage in result.stages if stage.name != "other"):
        subject = [result.source, f"{len(result.classes)} classes"] if result.source else []
        blocks = Facts((result.directory, *subject), strong=True), _stages(result), Bullets(tuple(lines))
        return Document(blocks, data=_data(result))
    return Document((Bullets((f"nothing in {result.directory}", *lines)),), data=_data(result))


def _data(result: Status) -> dict[str, object]:
    """The object of ``status --json``: settings beside the counts of runs that were trained with them."""
    counted = {"runs": list(map(_counted, result.runs)), "setups": list(map(_counted, result.setups))}
    by_split = dict(zip(SPLITS, result.photos, strict=True)) if result.photos else None
    return {"schema": 1, **dataclasses.asdict(result), "photos_by_split": by_split, **counted, "bytes": result.bytes}


def size(count: int) -> str:
    """Bytes as people read them.

    >>> size(0), size(999), size(1_250_000)
    ('0 B', '999 B', '1.2 MB')
    """
    number, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 999.5:
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} {unit}" if unit == "B" or number >= 99.95 else f"{number:.1f} {unit}"


def _counted(each: RunCount | SetupSize) -> dict[str, object]:
    plain = dataclasses.asdict(each)
    del plain["setup"]
    return {**plain, **settings(each.setup)}


def _stages(result: Status) -> Table:
    return Table(
        (TableColumn("stage"), TableColumn("state"), TableColumn("", folds=True), TableColumn("size", numeric=True)),
        tuple(
            (
                Cell(stage.name),
                Cell(stage.state, strong=stage.state == "damaged", tone=_TONES.get(stage.state, "")),
                Cell("\n".join(_details(result, stage))),
                Cell(size(stage.bytes)),
            )
            for stage in result.stages
            if stage.files or STAGES[stage.name].needed
        ),
        total=cells("total", "", "", size(result.bytes)),
    )


def _details(result: Status, stage: Stage) -> Iterator[str]:
    """What a stage holds, in lines."""
    if stage.name == "prepare":
        if result.photos:
            train, val, test = result.photos
            each = f", in each of {result.splits:,} splits" if result.splits > 1 else ""
            count = f"{sum(result.photos):,} {things_of(result.source or '')}"
            yield f"{count}: {train:,} train, {val:,} val, {test:,} test{each}"
        if result.given_splits:
            yield f"splits as given: {', '.join(result.given_splits)}"
    elif stage.name == "corrupt":
        yield from _draws(result)
    elif stage.name == "features":
        yield from _features(result)
    elif stage.name == "train":
        yield from _runs(result)
    elif stage.name == "evaluate":
        if result.evaluated:
            yield _count(result.evaluated, "run")
    else:
        yield _count(stage.files, "file")


def _draws(result: Status) -> Iterator[str]:
    controls = sum(each.draws for each in result.draws if each.noise == CONTROL)
    noisy = [each for each in result.draws if each.noise != CONTROL]
    if result.draws:
        yield f"{_count(sum(each.draws for each in noisy), 'noisy draw')}, {_count(controls, 'control')}"
    names = shown_names([each.noise for each in noisy])
    for noise, group in itertools.groupby(noisy, key=lambda each: each.noise):
        members = list(group)
        rates = ", ".join(f"{each.rate:g}" for each in members)
        yield f"{names[noise]} at {rates}: {_span([each.draws for each in members], 'seed')}"
    if result.stale_draws:
        yield f"{_count(result.stale_draws, 'draw')} of {_others(result)}"


_STATES = {"stale": ", stale", "partly": "; `train` extracts the others"}  # of features


def _features(result: Status) -> Iterator[str]:
    for each in result.features:
        count = _count(each.photos, things_of(result.source or "").removesuffix("s"))
        yield f"{each.backbone}, {count}{_STATES.get(each.state, '')}"


def _runs(result: Status) -> Iterator[str]:
    keys = differing([each.setup for each in result.setups])
    for setup in result.setups:
        members = [each for each in result.runs if each.setup == setup.setup]
        names = [*dict.fromkeys((setup.setup.backbone, setup.setup.mode)), *(named(key, setup.setup) for key in keys)]
        yield f"{_count(setup.runs, 'run')}: {', '.join(names)} ({size(setup.bytes)})"
        yield f"  {_losses(members)}"
        notes = (
            (sum(each.failed for each in members), "failed"),
            (sum(each.unevaluated for each in members), "not evaluated"),
            (sum(each.superseded for each in members), "superseded"),
            (sum(each.stale for each in members), "trained on labels that have been replaced"),
            (sum(each.lacking for each in members), "missing for draws that are there"),
        )
        yield from (f"  {found:,} {word}" for found, word in notes if found)
    if result.stale_runs:
        yield f"{_count(result.stale_runs, 'run')} of {_others(result)}"


def _others(result: Status) -> str:
    return "other photos" if result.photos else "unknown photos"


def _losses(members: Sequence[RunCount]) -> str:
    if len(members) <= MAX_NAMES:
        return ", ".join(f"{each.loss} {each.runs:,}" for each in members)
    return f"{len(members)} losses, {_span([each.runs for each in members], 'run')} each"


def _problems(result: Status) -> Iterator[str]:
    for text in result.problems[:MAX_LINES]:
        yield f"problem: {text}"
    if len(result.problems) > MAX_LINES:
        yield f"problem: {len(result.problems) - MAX_LINES:,} more; --json has all of them"


def _litter(result: Status) -> Iterator[str]:
    for kind, (noun, why) in _LITTER.items():
        members = [each for each in result.litter if each.kind == kind]
        if members:
            names = ", ".join(each.path for each in members[:MAX_LINES])
            more = f" and {len(members) - MAX_LINES:,} more" if len(members) > MAX_LINES else ""
            together = size(sum(each.bytes for each in members))
            yield f"litter: {_count(len(members), noun)} {why} ({together}): {names}{more}"


def _span(counts: Sequence[int], noun: str) -> str:
    """One count, or the lowest and the highest.

    >>> _span([5, 5], "seed"), _span([1, 3], "run")
    ('5 seeds', '1 to 3 runs')
    """
    least, most = min(counts), max(counts)
    return _count(most, noun) if least == most else f"{least:,} to {_count(most, noun)}"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
