"""Compares artifacts directories, or finds what was compared before."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from flowernoise import __version__
from flowernoise.analysis.comparison import gate
from flowernoise.analysis.comparison.assemble import assemble
from flowernoise.analysis.comparison.evaluated import Directory, open_directory, read_groups
from flowernoise.analysis.comparison.question import Question
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.metrics import facts_of, metrics
from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.progress import Progress
from flowernoise.steps.settings import CompareSettings, GateSettings
from flowernoise.store import comparisons, evaluations, files
from flowernoise.store.records import Comparison, KeptComparison, versions_of

COMPUTED = 5  # raise it when the same predictions give another comparison
RETRIES, PAUSE = 2, 0.1  # of reading what was evaluated, and seconds before each


def compare(directories: Sequence[Path], settings: CompareSettings, progress: Progress) -> Comparison:
    """Compares the evaluated runs of artifacts directories.

    What was computed is kept in the first of them, under a digest of all that it depends on.

    Raises:
        BadRequestError: nothing evaluated, an unknown metric, loss or order, rows or columns that are not there, a
            directory twice.
        DamagedFileError: an evaluation that is not what was written.
    """
    return compare_or_find(directories, settings, progress)[0]


def compare_or_find(
    directories: Sequence[Path], settings: CompareSettings, progress: Progress
) -> tuple[Comparison, bool]:
    """The comparison, as :func:`compare` gives it, and whether it was there already."""
    settings = _checked(settings)
    if len({path.resolve() for path in directories}) < len(directories):
        raise BadRequestError(f"a directory is named twice: {', '.join(map(str, directories))}")
    patience = RETRIES
    while True:
        opened = [open_directory(path) for path in directories]
        try:
            found = _found(opened, settings, progress)
            kept = found or _made(opened, settings)
        except DamagedFileError:
            # Another process may be evaluating anew. It writes what is missing again, if its record still names it.
            if _are_present(opened):
                if not patience:
                    raise
                patience -= 1
                time.sleep(PAUSE)
            continue
        if kept is not None:
            break
    names = tuple(str(directory.path) for directory in opened)
    notes = (*_stale(opened, kept.inputs), *kept.comparison.notes)
    return msgspec.structs.replace(kept.comparison, directories=names, notes=notes), found is not None


def check_gate(settings: CompareSettings, wanted: GateSettings) -> None:
    """Refuses limits that the metric cannot have, before anything is compared.

    Raises:
        BadRequestError: as :func:`flowernoise.analysis.comparison.gate.check_limits`.
    """
    gate.check_limits(_checked(settings).metric, **dataclasses.asdict(wanted))


def missed(comparison: Comparison, settings: CompareSettings, wanted: GateSettings) -> str | None:
    """Why a comparison made with these settings misses the gate; None if it does not.

    Raises:
        BadRequestError: as :func:`flowernoise.analysis.comparison.gate.missed`.
    """
    limits = dataclasses.asdict(wanted)
    return gate.missed(comparison, settings.where, **limits)


def _found(opened: Sequence[Directory], settings: CompareSettings, progress: Progress) -> KeptComparison | None:
    """What was compared before."""
    try:
        return comparisons.find(opened[0].layout, opened[0].evaluation, _key(opened, settings))
    except DamagedFileError as error:
        progress.note(f"{error}; comparing again")
        return None


def _made(opened: Sequence[Directory], settings: CompareSettings) -> KeptComparison | None:
    """What is compared now, and kept; None where something was evaluated anew meanwhile."""
    spec = metrics.parse(settings.metric)
    groups, inputs = read_groups(opened, settings.select, facts_of(spec).needs)
    kept = KeptComparison(
        key=_key(opened, settings),
        evaluations=tuple(directory.evaluation for directory in opened),
        inputs=inputs,
        comparison=assemble(groups, opened, spec, _question(settings)),
        versions=versions_of("numpy"),
    )
    if not _are_present(opened):
        return None
    comparisons.keep(opened[0].layout, opened[0].evaluation, kept)
    return kept


def _are_present(opened: Sequence[Directory]) -> bool:
    """Whether the evaluations are still those that were opened."""
    try:
        return all(evaluations.digest(directory.layout) == directory.evaluation for directory in opened)
    except DamagedFileError:
        return True  # whoever looks next is told


def _checked(settings: CompareSettings) -> CompareSettings:
    """The settings in canonical form."""
    settings.check()
    metric, baseline = metrics.parse(settings.metric), losses.parse(settings.baseline)
    return dataclasses.replace(settings, metric=str(metric), baseline=str(baseline))


def _question(settings: CompareSettings) -> Question:
    return Question(
        baseline=settings.baseline,
        select=settings.select,
        where=settings.where,
        rows=settings.rows,
        columns=settings.columns,
        sort_by=settings.sort_by,
        delta=settings.delta / 100,
    )


def _key(opened: Sequence[Directory], settings: CompareSettings) -> str:
    """Digest of all that a comparison depends on, names of directories among it where several are told apart."""
    needs = facts_of(settings.metric).needs
    of_each = [
        (
            files.digest_of(directory.dataset),
            directory.evaluation,
            directory.preset,
            directory.inputs if "probabilities" in needs else None,
            str(directory.path) if len(opened) > 1 else None,
        )
        for directory in opened
    ]
    return files.digest_of([COMPUTED, __version__, dataclasses.asdict(settings), of_each])


def _stale(opened: Sequence[Directory], inputs: Sequence[str]) -> list[str]:
    changed = [directory for directory, then in zip(opened, inputs, strict=True) if directory.inputs != then]
    return [
        ("" if len(opened) == 1 else f"{directory.path}: ")
        + "Runs were added or changed since the last `flowernoise evaluate`. They are not in this table."
        for directory in changed
    ]
