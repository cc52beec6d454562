"""Repairs what an audit found wrong, as far as records say how; quarantines the rest and names the commands to run.

Records from someone else may name any path. So a repair never reads a file that only a record names: a folder of
photos, a TFDS directory, a file of weights, labels or a matrix. The user names these, in the original command.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from flowernoise.analysis.results.upkeep import Problem
from flowernoise.catalogue.backbones import backbones
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.noise import noise_models
from flowernoise.catalogue.sources import path_of
from flowernoise.errors import BadRequestError, FlowernoiseError
from flowernoise.progress import Progress
from flowernoise.steps import commands
from flowernoise.steps.corrupt import draw_again
from flowernoise.steps.evaluate import evaluate
from flowernoise.steps.outputs import files_of
from flowernoise.steps.prepare import prepare
from flowernoise.steps.settings import PrepareSettings, TrainSettings
from flowernoise.steps.train import Restored, train
from flowernoise.steps.verify.audit import Found
from flowernoise.store import files, runs
from flowernoise.store.layout import Layout
from flowernoise.store.records import CONTROL, Dataset, DrawKey, RunBlock, RunKey
from flowernoise.store.setups import Setup
from flowernoise.store.stages import STAGES


def repair(layout: Layout, found: Found, progress: Progress) -> None:
    """Repairs what can be repaired, stage by stage."""
    wrong = [problem for problem in found.problems if problem.ours]

    def mend(stages: tuple[str, ...], make: Callable[[], object]) -> None:
        if any(problem.stage in stages for problem in wrong):
            try:
                make()
            except FlowernoiseError as error:
                progress.note(f"cannot be made again: {error}")

    mend(("prepare",), lambda: _photos(layout, found.dataset, progress))
    mend(("corrupt",), lambda: _draws(layout, found, progress))
    _quarantine(wrong)
    mend(("train",), lambda: _runs(layout, found, wrong, progress))
    mend(("evaluate", "train"), lambda: evaluate(layout.root, progress))


def _quarantine(wrong: Iterable[Problem]) -> None:
    """Sets aside what will be made again when it is needed."""
    for problem in wrong:
        if STAGES[problem.stage].on_demand:
            files.quarantine(Path(problem.path))
            files.quarantine(Path(problem.record))


def _photos(layout: Layout, dataset: Dataset | None, progress: Progress) -> None:
    if dataset is None:
        raise BadRequestError(f"{layout.dataset}, which says what was prepared, is lost; run `flowernoise prepare`")
    request = dataset.request
    again = commands.command(layout.root, commands.prepare_again(request))
    if path_of(request.source) is not None or request.data_dir is not None:
        raise BadRequestError(f"photos are read only from places that you name; run `{again}`")
    train, val, test = request.sizes or (None, None, None)
    settings = PrepareSettings(
        source=request.source,
        positive=request.positive,
        train=train,
        val=val,
        test=test,
        image_size=request.image_size,
        seed=request.seed,
        splits=request.splits,
        resplit=request.resplit,
        trust=request.trust,
    )
    prepare(layout.root, settings, progress)


def _draws(layout: Layout, found: Found, progress: Progress) -> None:
    """Draws damaged batches again, and lost draws on which runs were trained."""
    lost = {run.draw for block in found.blocks.values() for run in block.runs} - found.drawn.keys()
    draw_again(layout.root, sorted(filter(_may_redraw, lost)), progress, _may_redraw)
    of_files = sorted(key for key in lost if not _may_redraw(key))
    if of_files:
        raise BadRequestError(f"{of_files[0]} depends on a file; run the `flowernoise corrupt` command that drew it")


def _may_redraw(key: DrawKey) -> bool:
    return key.noise == CONTROL or not any(files_of(noise_models.parse(key.noise)))


def _runs(layout: Layout, found: Found, wrong: Iterable[Problem], progress: Progress) -> None:
    """Trains the runs of damaged blocks again, and lost runs that were evaluated."""
    lost: dict[tuple[int, Setup], list[RunKey]] = {}
    for path in sorted({Path(problem.record) for problem in wrong if problem.stage == "train"}):
        block = _readable(path)
        if block is None:
            files.quarantine(path)
            continue
        runs.quarantine(layout, path.stem, block)
        lost.setdefault((block.recency, block.setup), []).extend(block.keys)
    for recency, key in _evaluated_only(found, {key for keys in lost.values() for key in keys}):
        lost.setdefault((recency, key.setup), []).append(key)
    for (recency, setup), keys in sorted(lost.items()):
        _train_again(layout, setup, keys, recency, progress)


def _readable(path: Path) -> RunBlock | None:
    with contextlib.suppress(FlowernoiseError):
        return files.read_record(path, runs.KIND, RunBlock)
    return None


def _evaluated_only(found: Found, known: set[RunKey]) -> list[tuple[int, RunKey]]:
    """Runs that were evaluated but are missing, with their recency."""
    if found.evaluation is None or found.dataset is None or found.evaluation.dataset != found.dataset.id:
        return []
    there = {key for block in found.blocks.values() for key in block.keys} | known
    evaluated = zip(found.evaluation.keys, found.evaluation.runs, strict=True)
    return [(run.recency, key) for key, run in evaluated if key not in there]


def _train_again(layout: Layout, own: Setup, keys: list[RunKey], recency: int, progress: Progress) -> None:
    names = list(dict.fromkeys(key.method for key in keys))
    if any(any(files_of(spec)) for spec in (backbones.parse(own.backbone), *map(losses.parse, names))):
        again = commands.command(layout.root, commands.train_again(names, own))
        raise BadRequestError(f"files are read only from places that you name; run `{again}`")
    settings = TrainSettings(
        losses=tuple(names),
        backbone=own.backbone,
        mode=own.mode,
        epochs=own.epochs,
        batch_size=own.batch_size,
        learning_rates=own.learning_rates,
        l2=own.l2,
        optimizer="sgd" if own.optimizer == "sgd" else "adam",
        **commands.recipe(own),
    )
    trained = train(layout.root, settings, progress, Restored(frozenset(keys), recency))
    if trained.setup != own:
        raise BadRequestError(
            f"{len(keys)} runs cannot be made again here: they were trained with {own.extractor} in {own.precision}, "
            f"but this machine would use {trained.setup.extractor} in {trained.setup.precision}"
        )
