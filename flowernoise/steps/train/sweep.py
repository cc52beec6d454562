"""A sweep in units: which are done, which are in progress elsewhere, and which one this process does next."""

from __future__ import annotations

import collections
import functools
from collections.abc import Sequence
from pathlib import Path

from flowernoise.catalogue.transition_matrix import Matrix
from flowernoise.errors import BadRequestError, DamagedFileError, FlowernoiseError
from flowernoise.progress import Progress
from flowernoise.steps.train import plan, units
from flowernoise.steps.train.plan import Plan
from flowernoise.steps.train.units import Unit
from flowernoise.store import datasets, files, first_stages, runs
from flowernoise.store.claims import Claim, Others
from flowernoise.store.records import DrawKey, RunBlock, RunKey
from flowernoise.store.runs import StoredRun
from flowernoise.store.setups import Setup
from flowernoise.store.watch import Watch


class Sweep:
    """The requested runs, cut into units that other processes may also work on.

    Attributes:
        unit: the missing part of the unit that this process has claimed; None if no unit is free.
        holders: other processes' claims on units.
        done: how many of the runs that were missing at the start exist now.
        has_superseded: whether a superseded block was seen.
        handed: the matrices from first stages, by stage name and draw.
        recency: the recency of the runs trained now.

    Args:
        recency: the recency to keep for runs that are trained again; None gives new runs the highest.
    """

    def __init__(self, work: Plan, asked: Sequence[RunKey], recency: int | None, progress: Progress) -> None:
        self.unit: Unit | None = None
        self.holders: dict[Path, Claim] = {}
        self.done = 0
        self.has_superseded = False
        self.handed: dict[tuple[str, DrawKey], Matrix] = {}
        self.recency = recency or 1
        self._restored_recency = recency
        self._work, self._asked, self._progress = work, asked, progress
        self._units = units.cut(work, asked)
        self._pending = collections.deque(self._units)
        self._wanted = set(asked)
        self._there: dict[RunKey, StoredRun] = {}
        self._stages: dict[RunKey, list[RunKey]] = self._runs_of_stages()
        self._recencies: dict[Setup, int] = {}
        self._own: set[RunKey] = set()
        layout = work.layout
        self._blocks: Watch[RunBlock] = runs.watch(layout, on_damage=self._quarantine)
        self._records = first_stages.watch(layout, work.dataset, on_damage=self._quarantine)
        self.look()
        self._missing_at_first = set(self.missing())

    def _runs_of_stages(self) -> dict[RunKey, list[RunKey]]:
        """The runs that wait for each first stage."""
        found: dict[RunKey, list[RunKey]] = {}
        for key in self._asked:
            for stage in self._work.methods[key.method].stages:
                found.setdefault(units.stage_key(stage, key.draw, self._work), []).append(key)
        return found

    def missing(self) -> list[RunKey]:
        """The requested runs that do not exist yet."""
        return [key for key in self._asked if not self._is_there(key)]

    def missing_stages(self) -> int:
        """How many first stages still need training."""
        return sum(self._is_missing(key, unit) for unit in self._units if unit.stage for key in unit.keys)

    def failures(self) -> tuple[tuple[RunKey, str], ...]:
        """The runs that failed, with the reason."""
        stored = ((key, self._there[key].run.failure) for key in self._asked)
        return tuple((key, failure) for key, failure in stored if failure)

    def generation(self, unit: Unit) -> int:
        """A generation above those of the runs that a unit replaces."""
        return 1 + max((self._there[key].block.generation for key in unit.keys if key in self._there), default=0)

    # Existing runs

    def look(self) -> None:
        """Reads what this and other processes have written since the last look."""
        blocks, is_anew = self._blocks.look()
        if is_anew:
            self._there.clear()
            self._recencies.clear()
            self._pending = collections.deque(self._units)
        for name, block in blocks.items():
            if block.dataset == self._work.dataset.id:
                self._take_in(name, block)
        for record in self._records.look()[0].values():
            if (record.dataset, record.setup) == (self._work.dataset.id, self._work.setup):
                for outcome in record.outcomes:
                    drawn = self._work.drawn.get(outcome.draw)
                    if drawn is not None and drawn.draw.labels == outcome.labels:
                        matrix = first_stages.matrix_of(outcome, self._work.num_classes)
                        self.handed[record.stage, outcome.draw] = matrix

    def _take_in(self, name: str, block: RunBlock) -> None:
        keys = block.keys
        if not self._wanted.isdisjoint(keys):
            if damage := self._damage(name, block):
                self._progress.note(f"{damage}; set aside, and its runs are trained again")
                runs.quarantine(self._work.layout, name, block)
                return
            for row, (key, run) in enumerate(zip(keys, block.runs, strict=True)):
                if key in self._wanted:
                    self._keep_higher(StoredRun(run, block, name, row), key)
        self._recencies[block.setup] = max(block.recency, self._recencies.get(block.setup, 0))

    def _keep_higher(self, stored: StoredRun, key: RunKey) -> None:
        rival = self._there.get(key)
        if rival is not None:
            self.has_superseded = True
        if rival is None or (rival.block.generation, rival.name) < (stored.block.generation, stored.name):
            self._there[key] = stored

    def _damage(self, name: str, block: RunBlock) -> DamagedFileError | None:
        """What is wrong with a block's arrays, or None; checks every byte, once per command."""
        if name in self._work.checked:
            return None
        try:
            runs.check(self._work.layout, block)
        except DamagedFileError as error:
            return error
        self._work.checked.add(name)
        return None

    def _quarantine(self, path: Path, error: DamagedFileError) -> None:
        self._progress.note(f"{error}; set aside as {path.name}.damaged, and its contents are trained again")
        files.quarantine(path)

    def _is_there(self, key: RunKey) -> bool:
        return plan.is_done(self._work, self._there.get(key))

    def _is_missing(self, key: RunKey, unit: Unit) -> bool:
        """Whether a run is missing, or a first stage that a missing run needs."""
        if unit.stage is None:
            return not self._is_there(key)
        is_done = (unit.stage.name, key.draw) in self.handed
        return not is_done and not all(map(self._is_there, self._stages[key]))

    def _is_ready(self, key: RunKey) -> bool:
        return all((stage.name, key.draw) in self.handed for stage in self._work.methods[key.method].stages)

    # Next unit

    def note_written(self, unit: Unit) -> None:
        """Remembers what this process has written: if it goes missing, another process is at fault."""
        self._own.update(unit.keys)

    def choose(self, others: Others) -> Claim | None:
        """Claims the first incomplete unit that nobody else has claimed.

        Raises:
            BadRequestError: another process is training missing runs on other labels, or the photos were replaced.
            FlowernoiseError: another process replaces what this one has trained.
        """
        work = self._work
        present = datasets.find(work.layout)
        if present is None or present.id != work.dataset.id:
            raise BadRequestError(
                f"the photos in {work.layout.root} were replaced meanwhile; run `flowernoise corrupt`"
            )
        self.look()
        training = {lock: claim for lock, claim in others.items() if claim.work == "train"}
        if training:
            self._refuse_other_labels(training)
        self.unit = self._first_free(training)
        if self.unit is None:
            return None
        if self._own.intersection(self.unit.keys):
            raise FlowernoiseError(
                f"another process replaces what was trained in {work.layout.root}; run this again after it ends"
            )
        if not self._own and self._restored_recency is None:
            claimed = [(claim.recency, claim.setup) for claim in training.values() if claim.setup]
            there = [(recency, setup) for setup, recency in self._recencies.items()]
            self.recency = runs.next_recency([*there, *claimed], work.setup)
        makes = {_digest(key): work.drawn[key.draw].draw.labels for key in self.unit.keys}
        return Claim("train", makes=makes, setup=work.setup, recency=self.recency)

    def _first_free(self, training: Others) -> Unit | None:
        """Drops units that are done; leaves those that are not ready or in progress elsewhere for later."""
        holder_of = {digest: lock for lock, claim in training.items() for digest in claim.makes}
        self.holders, passed_by, free = {}, [], None
        while self._pending and free is None:
            unit = self._pending.popleft()
            missing = tuple(key for key in unit.keys if self._is_missing(key, unit))
            if not missing:
                self.done += len(self._missing_at_first.intersection(unit.keys))
                self._missing_at_first.difference_update(unit.keys)
                continue
            passed_by.append(unit)
            locks = [holder_of.get(_digest(key)) if holder_of else None for key in missing]
            self.holders.update((lock, training[lock]) for lock in locks if lock is not None)
            ours = tuple(key for key, lock in zip(missing, locks, strict=True) if lock is None)
            if ours and (unit.stage or all(map(self._is_ready, missing))):
                free = Unit(ours, unit.stage)
        self._pending.extendleft(reversed(passed_by))
        return free

    def _refuse_other_labels(self, training: Others) -> None:
        for claim in training.values():
            for digest, labels in claim.makes.items():
                key = self._by_digest.get(digest)
                if key is not None and labels != self._work.drawn[key.draw].draw.labels and not self._is_there(key):
                    raise BadRequestError(
                        f"{claim} is training {key.method} on other labels of {key.draw} in {self._work.layout.root}; "
                        "wait until it ends, or give another directory with --artifacts"
                    )

    @functools.cached_property
    def _by_digest(self) -> dict[str, RunKey]:
        """The requested runs, by their digests in claims."""
        return {_digest(key): key for key in self._asked}


def _digest(key: RunKey) -> str:
    return files.digest_of(key)[:16]
