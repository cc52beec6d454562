"""The step itself: find what is missing, share it out with other processes, train it, tell what failed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from flowernoise.analysis.results.stages import TrainResult
from flowernoise.errors import BadRequestError, DamagedFileError, FlowernoiseError
from flowernoise.progress import Progress
from flowernoise.steps.settings import TrainSettings
from flowernoise.steps.train import by_finetuning, on_features, plan
from flowernoise.steps.train.plan import Plan
from flowernoise.steps.train.restored import Restored
from flowernoise.store import artifacts, claims, datasets, files, runs
from flowernoise.store.claims import Claim, Others
from flowernoise.store.records import RunBlock, RunKey
from flowernoise.store.runs import StoredRun

TRAINERS = {"features": on_features.train_heads, "finetune": by_finetuning.finetune_runs}


def train(
    artifacts_directory: Path, settings: TrainSettings, progress: Progress, restored: Restored | None = None
) -> TrainResult:
    """Trains the runs (draws × losses) that are asked for and not there; other settings make other runs.

    Runs that another process is training are left to it, and waited for.

    Args:
        restored: of the runs that are asked for, those to look at; all if None.

    Raises:
        BadRequestError: nothing prepared or drawn, an unknown loss or backbone, settings out of range, or another
            process is training the same runs on other labels.
        FlowernoiseError: weights that cannot be reached, results that cannot be written.
    """
    work = plan.make(artifacts.opened(artifacts_directory), settings, progress)
    asked = [key for key in plan.asked(work) if restored is None or key in restored.keys]
    result = TrainResult(0, 0, (), work.setup, work.engine)
    own: set[RunKey] = set()
    there = _intact(work, asked, progress)
    while missing := _missing(work, asked, there):
        if own & set(missing):
            raise FlowernoiseError(
                f"another process replaces what was trained in {work.layout.root}; let it end, then run this again"
            )
        share = _Share(work, asked, restored, progress)
        with claims.claimed(work.layout, progress, share.choose):
            if share.own:
                trained = TRAINERS[settings.mode](share.work, share.own, progress)
                result = result.with_more(trained)
                runs.remove_superseded(work.layout, work.dataset.id)
        own.update(share.own)
        if not share.own:
            for lock in share.holders:
                claims.wait_for(lock)
        there = _intact(work, asked, progress)
    failed = tuple((key, failure) for key in asked if (failure := there[key].run.failure))
    return dataclasses.replace(result, done_before=len(asked) - result.trained, failed=failed)


class _Share:
    """This process' share of the missing runs: those that no other living process is training."""

    def __init__(self, work: Plan, asked: Sequence[RunKey], restored: Restored | None, progress: Progress) -> None:
        self.work = work
        self.own: list[RunKey] = []
        self.holders: list[Path] = []
        self._asked, self._restored, self._progress = asked, restored, progress

    def choose(self, others: Others) -> Claim | None:
        """Claims the runs that are missing now and not claimed by others.

        Raises:
            BadRequestError: another process trains one of them on other labels, or the photos were replaced.
        """
        work = self.work
        present = datasets.find(work.layout)
        if present is None or present.id != work.dataset.id:
            raise BadRequestError(
                f"the photos in {work.layout.root} were replaced meanwhile; run `flowernoise corrupt`"
            )
        there = _intact(work, self._asked, self._progress)
        missing = {files.digest_of(key)[:16]: key for key in _missing(work, self._asked, there)}
        made = {digest: work.drawn[key.draw].draw.labels for digest, key in missing.items()}
        self.holders = [lock for lock, claim in others.items() if claim.runs.keys() & missing.keys()]
        for lock in self.holders:
            _refuse_other_labels(work, others[lock], missing, made)
        taken = {digest for lock in self.holders for digest in others[lock].runs}
        self.own = [key for digest, key in missing.items() if digest not in taken]
        superseded = [there[key].block.generation for key in self.own if key in there]
        generation = max(superseded, default=0) + 1
        self.work = dataclasses.replace(work, generation=generation, recency=self._recency(others))
        runs_claimed = {digest: made[digest] for digest in missing if digest not in taken}
        if not self.own:
            return None
        return Claim("train", runs=runs_claimed, setup=work.setup, recency=self.work.recency)

    def _recency(self, others: Others) -> int:
        if self._restored:
            return self._restored.recency
        there = runs.blocks(self.work.layout, self.work.dataset.id, on_damage=lambda _path, _error: None)
        trained = [(block.recency, block.setup) for block in there.values()]
        claimed = [(claim.recency, claim.setup) for claim in others.values() if claim.setup]
        return runs.next_recency([*trained, *claimed], self.work.setup)


def _refuse_other_labels(work: Plan, claim: Claim, missing: dict[str, RunKey], made: dict[str, str]) -> None:
    for digest in claim.runs.keys() & missing.keys():
        if claim.runs[digest] != made[digest]:
            key = missing[digest]
            raise BadRequestError(
                f"{claim} is training {key.method} on other labels of {key.draw} in {work.layout.root}; wait for its "
                "end, or give another directory with --artifacts"
            )


def _missing(work: Plan, asked: Sequence[RunKey], there: dict[RunKey, StoredRun]) -> list[RunKey]:
    return [key for key in asked if not plan.is_done(work, there.get(key))]


def _intact(work: Plan, asked: Sequence[RunKey], progress: Progress) -> dict[RunKey, StoredRun]:
    """The runs that are there; blocks that are not what was written are named and set aside."""
    layout = work.layout

    def quarantine(path: Path, error: DamagedFileError) -> None:
        progress.note(f"{error}; set aside as {path.name}.damaged, its runs are trained again")
        files.quarantine(path)

    found = runs.blocks(layout, work.dataset.id, on_damage=quarantine)
    wanted = set(asked)
    for name, block in list(found.items()):
        if not wanted.isdisjoint(block.keys) and (damage := _damage(work, name, block)):
            progress.note(f"{damage}; set aside, its runs are trained again")
            runs.quarantine(layout, name, block)
            del found[name]
    return runs.live(found)


def _damage(work: Plan, name: str, block: RunBlock) -> DamagedFileError | None:
    """What is wrong with a block's arrays, every byte checked once in a command."""
    if name in work.checked:
        return None
    try:
        runs.check(work.layout, block)
    except DamagedFileError as error:
        return error
    work.checked.add(name)
    return None
