"""One pass over an artifacts directory: checks every record, every named file, and whether results fit their inputs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.analysis.results.upkeep import Checked, Problem
from flowernoise.catalogue.metrics import USUAL
from flowernoise.errors import DamagedFileError, FlowernoiseError
from flowernoise.progress import Advance, Progress
from flowernoise.steps import commands
from flowernoise.steps.verify import fits
from flowernoise.store import (
    comparisons,
    datasets,
    draws,
    evaluations,
    feature_cache,
    feature_rows,
    own_features,
    photos,
    runs,
    stages,
)
from flowernoise.store.draws import StoredDraw
from flowernoise.store.inventory import Fault, Inventory, RecordEntry
from flowernoise.store.inventory.kinds import (
    BLOCKS,
    COMPARISONS,
    DATASET,
    DRAWS,
    EVALUATION,
    FEATURES,
    FIRST_STAGES,
    OWN_FEATURES,
    PRESET,
    Body,
    Kind,
)
from flowernoise.store.layout import Layout
from flowernoise.store.photos import Splits
from flowernoise.store.records import (
    Dataset,
    DrawBatch,
    DrawKey,
    Evaluation,
    FeatureShard,
    KeptComparison,
    OwnFeatures,
    RunBlock,
)


@dataclasses.dataclass(frozen=True)
class Found:
    """What a pass has found, and what can still be used."""

    checked: tuple[Checked, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    dataset: Dataset | None
    drawn: Mapping[DrawKey, StoredDraw]
    blocks: Mapping[str, RunBlock]
    evaluation: Evaluation | None


def audit(layout: Layout, progress: Progress) -> Found:
    """Checks everything in a directory; problems are listed, not raised."""
    inventory = Inventory(layout)
    with progress.task(f"verifying · {layout.root}", inventory.count(), "records") as advance:
        return _Audit(inventory, advance).found()


class _Audit:
    """The pass: checks stage by stage, each against those before it."""

    def __init__(self, inventory: Inventory, advance: Advance) -> None:
        self._inventory, self._layout, self._advance = inventory, inventory.layout, advance
        self._faults: list[Fault] = []
        self._notes: list[str] = []
        self._records: Counter[str] = Counter()
        self._files: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._dataset: Dataset | None = None
        self._splits: Splits | None = None  # None: the photos cannot be used
        self._drawn: dict[DrawKey, StoredDraw] = {}
        self._blocks: dict[str, RunBlock] = {}
        self._predictions: dict[str, np.ndarray[Any, Any]] = {}
        self._evaluation: Evaluation | None = None
        self._arrays: evaluations.Arrays = {}

    def found(self) -> Found:
        """Everything."""
        own = (self._layout.root, *self._layout.folders)
        self._faults += [fault for fault in self._inventory.unreadable if fault.path in own]
        for dataset in self._each(DATASET):
            self._check_dataset(dataset)
        for batch in self._each(DRAWS):
            self._check_draws(batch)
        for features in self._each(FEATURES):
            self._check_features(features)
        for imported in self._each(OWN_FEATURES):
            self._check_own_features(imported)
        for _ in self._each(FIRST_STAGES):
            pass
        for block in self._each(BLOCKS):
            self._check_block(block)
        for evaluation in self._each(EVALUATION):
            self._check_evaluation(evaluation)
        for kept in self._each(COMPARISONS):
            self._check_comparison(kept)
        for _ in self._each(PRESET):
            pass
        return Found(
            checked=tuple(
                Checked(stage, self._records[stage], self._files[stage], self._bytes[stage])
                for stage in stages.CHECKED
                if self._records[stage]
            ),
            problems=tuple(map(_problem, self._faults)),
            notes=tuple(dict.fromkeys([*self._notes, *self._runs_without_draw()])),
            dataset=self._dataset,
            drawn=self._drawn,
            blocks=self._blocks,
            evaluation=self._evaluation,
        )

    # Reading records and noting faults

    def _each(self, kind: Kind[Body]) -> Iterator[RecordEntry[Body]]:
        """The readable records of a kind; problems with the others are listed."""
        for each in self._inventory.records(kind):
            self._advance(1)
            self._records[stages.counted_as(kind.stage)] += 1
            if isinstance(each, Fault):
                self._faults.append(each)
            else:
                self._count(kind, each.path)
                yield each

    def _count(self, kind: Kind[Any], path: Path) -> None:
        stage = stages.counted_as(kind.stage)
        self._files[stage] += 1
        self._bytes[stage] += self._inventory.size(path)

    @contextlib.contextmanager
    def _noting(self, path: Path, entry: RecordEntry[Any]) -> Iterator[None]:
        """Lists errors that the block raises about a file."""
        try:
            yield
        except FlowernoiseError as error:
            self._faults.append(Fault(path, entry.kind.stage, str(error), entry.path))

    def _is_whole(self, entry: RecordEntry[Any]) -> bool:
        """Whether the files that a record names are intact; problems with them are listed."""
        faults = [self._inventory.digest_fault(entry, ref) for ref in entry.refs]
        for ref, fault in zip(entry.refs, faults, strict=True):
            if fault is None:
                self._count(entry.kind, self._inventory.blob(entry, ref))
            else:
                self._faults.append(fault)
        return not any(faults)

    def _is_of_present(self, what: str, body: DrawBatch | RunBlock | Evaluation) -> bool:
        """Whether a record belongs to the current photos, and these are usable."""
        if self._dataset is not None and body.dataset != self._dataset.id:
            self._notes.append(f"{what} of other photos than those prepared last: only digests were checked")
        return self._splits is not None and not self._inventory.is_stale(body)

    # Stages

    def _check_dataset(self, entry: RecordEntry[Dataset]) -> None:
        layout, dataset = self._layout, entry.body
        self._dataset = dataset
        if not self._is_whole(entry):
            return
        with self._noting(layout.photos / dataset.index.name, entry):
            index = datasets.index(layout, dataset)
            if datasets.identity(dataset.request.image_size, dataset.classes, index, dataset.given) != dataset.id:
                raise DamagedFileError(f"{layout.dataset} does not have the id of the photos in {dataset.index.name}")
            if dataset.given is not None:
                feature_rows.read(layout, dataset)
            else:
                for _ in photos.Archive(layout.photos, dataset.archive).read(index):  # checks each against its id
                    pass
            self._splits = photos.Splits(index, dataset.splits)

    def _check_draws(self, entry: RecordEntry[DrawBatch]) -> None:
        batch, blob = entry.body, self._inventory.blob(entry, entry.body.arrays)
        if not self._is_whole(entry) or not self._is_of_present("draws", batch):
            return
        if self._dataset is None or self._splits is None:
            return
        with self._noting(blob, entry):
            fits.check_name(entry.path, draws.record_of(self._layout, batch).name)
            arrays = draws.read_batch(self._layout, self._dataset, batch)
            for row, draw in enumerate(batch.draws):
                truth = {split: self._splits.labels(draw.key.seed, split) for split in ("train", "val")}
                fits.check_draw(draw, {name: array[row] for name, array in arrays.items()}, truth, blob)
                self._drawn[draw.key] = StoredDraw(draw, batch, row)

    def _check_features(self, entry: RecordEntry[FeatureShard]) -> None:
        shard = entry.body
        with self._noting(entry.path, entry):
            fits.check_name(entry.path, f"{feature_cache.name_of_shard(shard.key, shard.ids)}.json")
        blob = self._inventory.blob(entry, shard.array)
        with self._noting(blob, entry):
            feature_cache.read_shard(self._layout, shard)
            self._count(FEATURES, blob)

    def _check_own_features(self, entry: RecordEntry[OwnFeatures]) -> None:
        if self._is_whole(entry):
            with self._noting(entry.path, entry):
                fits.check_name(entry.path, f"{entry.body.name}.json")
                own_features.read(self._layout, entry.body)

    def _check_block(self, entry: RecordEntry[RunBlock]) -> None:
        block, name = entry.body, entry.path.stem
        if not self._is_whole(entry) or not self._is_of_present("runs", block) or self._dataset is None:
            return
        with self._noting(entry.path, entry):
            fits.check_block(entry, self._dataset.request.image_size, self._drawn)
            self._blocks[name] = block
        with self._noting(self._inventory.blob(entry, block.arrays), entry):
            arrays = runs.read_predictions(self._layout, self._dataset, block)
            self._predictions[name] = arrays["test_probabilities"].argmax(axis=3)

    def _runs_without_draw(self) -> Iterator[str]:
        """A note on runs whose draw is missing."""
        lost = {run.draw for block in self._blocks.values() for run in block.runs} - self._drawn.keys()
        if lost:
            yield (
                f"there are runs of missing draws ({len(lost)}), such as {min(lost)}; "
                "`flowernoise corrupt` draws them again"
            )

    def _check_evaluation(self, entry: RecordEntry[Evaluation]) -> None:
        evaluation, blob = entry.body, self._inventory.blob(entry, entry.body.arrays)
        if not self._is_whole(entry):
            return
        with self._noting(blob, entry):
            self._arrays = evaluations.read(self._layout, evaluation)
            self._evaluation = evaluation
            if not self._is_of_present("the evaluation", evaluation) or self._splits is None:
                return
            fits.check_tested(blob, self._arrays, self._splits)
            if evaluation.inputs != evaluations.inputs_of(self._blocks):
                self._notes.append("runs were added, changed or lost since the last `flowernoise evaluate`")
                return
            predicted = self._arrays["predicted"]
            fits.check_evaluation(entry, blob, predicted, self._blocks, self._drawn, self._predictions)

    def _check_comparison(self, entry: RecordEntry[KeptComparison]) -> None:
        path, kept = entry.path, entry.body
        with self._noting(path, entry):
            first = kept.evaluations[0] if kept.evaluations else ""
            fits.check_name(path, comparisons.file_name(first, kept.key))
            if self._evaluation is None or len(kept.evaluations) != 1 or kept.comparison.metric != USUAL:
                return
            if first == evaluations.digest(self._layout):
                fits.check_accuracies(path, kept.comparison, self._evaluation, self._arrays)


def _problem(fault: Fault) -> Problem:
    return Problem(
        path=str(fault.path),
        stage=fault.stage,
        text=fault.text,
        way_out=commands.way_out(fault),
        record=str(fault.record),
        ours=fault.ours,
    )
