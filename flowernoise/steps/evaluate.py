"""``evaluate``: what every run predicts on the test split."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.analysis.results.stages import EvaluateResult
from flowernoise.analysis.stats import lost_classes
from flowernoise.errors import BadRequestError, DamagedFileError
from flowernoise.progress import Progress
from flowernoise.store import artifacts, claims, datasets, draws, evaluations, files, runs
from flowernoise.store.draws import DrawnLabels, StoredDraw
from flowernoise.store.evaluations import Arrays
from flowernoise.store.layout import Layout
from flowernoise.store.photos import Splits
from flowernoise.store.records import (
    Dataset,
    DrawKey,
    EvaluatedRun,
    Evaluation,
    Provenance,
    RunBlock,
    RunKey,
    versions_of,
)
from flowernoise.store.runs import StoredRun
from flowernoise.training.selection import ALL, memorised


def evaluate(artifacts_directory: Path, progress: Progress) -> EvaluateResult:
    """Evaluates every run on the test split, from the predictions that training stored.

    Raises:
        BadRequestError: nothing is prepared, or nothing is trained on it.
        DamagedFileError: runs are damaged.
    """
    layout = artifacts.opened(artifacts_directory)
    before = _done_before(layout, datasets.need(layout), progress)
    if before is not None:
        return before
    with claims.exclusive(layout, "evaluate", progress):
        dataset = datasets.need(layout)
        return _done_before(layout, dataset, progress) or _evaluate(layout, dataset, progress)


def _evaluate(layout: Layout, dataset: Dataset, progress: Progress) -> EvaluateResult:
    found = _blocks(layout, dataset)
    inputs = evaluations.inputs_of(found)
    live = runs.live(found)
    splits = datasets.splits(layout, dataset)
    drawn = draws.index(layout, dataset.id)
    _refuse_lost_draws(layout, live, drawn)
    labels = draws.read(layout, dataset, [drawn[draw] for draw in sorted({key.draw for key in live})])
    truths = [
        _Truth(splits.labels(number, "train"), splits.labels(number, "test"), len(dataset.classes))
        for number in range(splits.count)
    ]
    by_block: dict[str, list[int]] = {}
    stored_runs = list(live.values())
    for row, stored in enumerate(stored_runs):
        by_block.setdefault(stored.name, []).append(row)
    stacked = _blank(len(stored_runs), truths[0])
    with progress.task("evaluating", len(stored_runs), "runs") as advance:
        for name, rows in by_block.items():
            finished = [row for row in rows if not stored_runs[row].run.failure]
            if finished:
                members = [stored_runs[row] for row in finished]
                truth = truths[splits.number(members[0].run.draw.seed)]  # a block holds one seed
                drawn_labels = [labels[stored.run.draw] for stored in members]
                _judge(
                    stacked, finished, members, runs.read_predictions(layout, dataset, found[name]), drawn_labels, truth
                )
            advance(len(rows))
    stacked |= _tested(splits, truths)
    setups = sorted({stored.block.setup for stored in stored_runs})
    provenances = _once(found[name].provenance for name in by_block)
    evaluated = tuple(
        EvaluatedRun(
            draw=key.draw,
            method=key.method,
            setup=setups.index(key.setup),
            provenance=provenances.index(stored.block.provenance),
            recency=stored.block.recency,
            realised_rate=drawn[key.draw].draw.realised_rate,
            failure=stored.run.failure,
        )
        for key, stored in live.items()
    )
    written = evaluations.write(
        layout,
        Evaluation(
            dataset=dataset.id,
            source=dataset.request.source,
            classes=dataset.classes,
            counts=dataset.counts,
            inputs=inputs,
            selections=ALL,
            setups=tuple(setups),
            provenances=tuple(provenances),
            runs=evaluated,
            arrays=files.NOT_WRITTEN,
            versions=versions_of("numpy"),
            splits=dataset.splits,
        ),
        stacked,
    )
    return EvaluateResult(written, stacked, done_before=False, trust=dataset.request.trust)


def _once(provenances: Iterable[Provenance]) -> list[Provenance]:
    """Without duplicates, in an order that does not depend on which run came first."""
    by_digest = {files.digest_of(each): each for each in provenances}
    return [by_digest[digest] for digest in sorted(by_digest)]


def _blocks(layout: Layout, dataset: Dataset) -> dict[str, RunBlock]:
    found = runs.blocks(layout, dataset.id)
    if not found:
        raise BadRequestError(f"{layout.root} has no runs for its data set; run `flowernoise train` first")
    return found


def _refuse_lost_draws(layout: Layout, live: Iterable[RunKey], drawn: Mapping[DrawKey, StoredDraw]) -> None:
    lost = [key.draw for key in live if key.draw not in drawn]
    if lost:
        raise BadRequestError(
            f"{layout.root} has runs of a draw that no longer exists ({lost[0]}); run `flowernoise corrupt` "
            "with the options that drew it"
        )


def _done_before(layout: Layout, dataset: Dataset, progress: Progress) -> EvaluateResult | None:
    """The evaluation of the current runs, if it is complete and intact."""
    found = _blocks(layout, dataset)
    try:
        before = evaluations.find(layout)
        if before is None or (before.dataset, before.inputs) != (dataset.id, evaluations.inputs_of(found)):
            return None
        arrays = evaluations.read(layout, before)
        return EvaluateResult(before, arrays, done_before=True, trust=dataset.request.trust)
    except DamagedFileError as error:
        progress.note(f"{error}; evaluating again")
        return None


@dataclasses.dataclass(frozen=True, eq=False)
class _Truth:
    """The source's labels of the training and test photos, and the number of classes."""

    train_labels: np.ndarray[Any, Any]
    test_labels: np.ndarray[Any, Any]
    num_classes: int


def _tested(splits: Splits, truths: Sequence[_Truth]) -> Arrays:
    """The labels of the test photos; with several splits of those of each, and which photos they are."""
    if splits.count == 1:
        return {"test_labels": truths[0].test_labels}
    return {
        "test_labels": np.stack([truth.test_labels for truth in truths]),
        "test_photos": np.array([splits.rows(number, "test") for number in range(splits.count)]),
    }


def _blank(count: int, truth: _Truth) -> Arrays:
    """The evaluation's arrays, for runs without predictions."""
    shape = (count, len(ALL))
    return {
        "predicted": np.zeros((*shape, len(truth.test_labels)), dtype=np.min_scalar_type(truth.num_classes - 1)),
        "memorised": np.full(shape, np.nan),
        "recovered": np.full(shape, np.nan),
        "collapsed": np.zeros(shape, dtype=bool),
        "available": np.zeros(shape, dtype=bool),
    }


def _judge(
    stacked: Arrays,
    rows: list[int],
    members: list[StoredRun],
    arrays: Arrays,
    drawn: list[DrawnLabels],
    truth: _Truth,
) -> None:
    """Fills in the rows of one block's runs."""
    lines = [stored.row for stored in members]
    observed = np.stack([each.train_labels for each in drawn])
    flipped = np.stack([each.train_flipped for each in drawn])
    for source, selection in enumerate(members[0].block.selections):
        column = ALL.index(selection)
        predicted = arrays["test_probabilities"][lines, source].argmax(axis=2)
        trained = arrays["train_predicted"][lines, source]
        stacked["predicted"][rows, column] = predicted
        stacked["memorised"][rows, column] = memorised(trained, observed, flipped)
        stacked["recovered"][rows, column] = memorised(trained, truth.train_labels[None], flipped)
        stacked["collapsed"][rows, column] = _have_collapsed(predicted, observed, truth)
        stacked["available"][rows, column] = True


def _have_collapsed(
    predicted: np.ndarray[Any, Any], observed: np.ndarray[Any, Any], truth: _Truth
) -> np.ndarray[Any, Any]:
    """Which runs [R] predict fewer classes on test photos than their training labels have, beyond chance.

    The rule is that of :func:`flowernoise.analysis.stats.lost_classes`.
    """

    def present(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.stack([(labels == label).any(axis=1) for label in range(truth.num_classes)], axis=1)

    counts = np.bincount(truth.test_labels, minlength=truth.num_classes)
    return lost_classes(present(observed) & ~present(predicted), counts)
