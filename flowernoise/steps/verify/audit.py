"""One pass over an artifacts directory: every record, every byte it names, and whether results fit what they are of."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowernoise.analysis.results.upkeep import Checked, Problem
from flowernoise.catalogue import transition_matrix
from flowernoise.catalogue.metrics import USUAL
from flowernoise.errors import DamagedFileError, FlowernoiseError, OtherVersionError
from flowernoise.progress import Advance, Progress
from flowernoise.steps import commands
from flowernoise.store import comparisons, datasets, draws, evaluations, feature_cache, files, photos, runs
from flowernoise.store.draws import StoredDraw
from flowernoise.store.files import FileRef, Record
from flowernoise.store.layout import Layout
from flowernoise.store.photos import IndexedPhoto
from flowernoise.store.records import (
    CONTROL,
    Comparison,
    Dataset,
    Draw,
    DrawBatch,
    DrawKey,
    Evaluation,
    Features,
    Identity,
    KeptComparison,
    Predictions,
    Preset,
    RunBlock,
)

STAGES = ("prepare", "corrupt", "features", "train", "evaluate", "compare")
_STAGE_OF = {"answers": "train", "preset": "prepare"}  # where the counts show what has a way out of its own
_EQUAL = 1e-9


@dataclasses.dataclass(frozen=True)
class Found:
    """What a pass has found, and what of it can be used."""

    checked: tuple[Checked, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    dataset: Dataset | None
    drawn: Mapping[DrawKey, StoredDraw]
    blocks: Mapping[str, RunBlock]
    evaluation: Evaluation | None


def audit(layout: Layout, progress: Progress) -> Found:
    """Checks everything in a directory; what is wrong is listed, not raised."""
    total = sum(1 for _ in _records(layout))
    with progress.task(f"verifying · {layout.root}", total, "records") as advance:
        return _Audit(layout, advance).found()


def _records(layout: Layout) -> Iterator[Path]:
    yield from (path for path in (layout.dataset, layout.evaluation, layout.preset) if path.exists())
    for folder in (layout.draws, layout.features, layout.runs, layout.comparisons):
        yield from folder.glob("*.json")


class _Audit:
    """The pass: stage by stage, each against those before it."""

    def __init__(self, layout: Layout, advance: Advance) -> None:
        self._layout, self._advance = layout, advance
        self._problems: list[Problem] = []
        self._notes: list[str] = []
        self._records: Counter[str] = Counter()
        self._files: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._dataset: Dataset | None = None
        self._index: tuple[IndexedPhoto, ...] | None = None
        self._drawn: dict[DrawKey, StoredDraw] = {}
        self._blocks: dict[str, RunBlock] = {}
        self._without_draw: dict[DrawKey, None] = {}
        self._answers: dict[str, np.ndarray[Any, Any]] = {}
        self._evaluation: Evaluation | None = None
        self._arrays: dict[str, np.ndarray[Any, Any]] = {}

    def found(self) -> Found:
        """Everything."""
        self._check_dataset()
        self._each(self._layout.draws, "corrupt", draws.KIND, DrawBatch, self._check_draws)
        self._each(self._layout.features, "features", feature_cache.KIND, Features, self._check_features)
        self._each(self._layout.runs, "train", runs.KIND, RunBlock, self._check_block)
        self._each(self._layout.runs, "answers", runs.PREDICTIONS_KIND, Predictions, self._check_predictions)
        self._check_evaluation()
        self._each(self._layout.comparisons, "compare", comparisons.KIND, KeptComparison, self._check_comparison)
        if self._without_draw:
            self._notes.append(
                f"there are runs of draws that are not there ({len(self._without_draw)}), such as "
                f"{min(self._without_draw)}; `flowernoise corrupt` draws them again"
            )
        self._record(self._layout.preset, "preset", "preset", Preset)
        return Found(
            checked=tuple(
                Checked(stage, self._records[stage], self._files[stage], self._bytes[stage])
                for stage in STAGES
                if self._records[stage]
            ),
            problems=tuple(self._problems),
            notes=tuple(dict.fromkeys(self._notes)),
            dataset=self._dataset,
            drawn=self._drawn,
            blocks=self._blocks,
            evaluation=self._evaluation,
        )

    # How things are read, and problems noted

    def _each(
        self, folder: Path, stage: str, kind: str, body: type[Record], check: Callable[[Path, Record], None]
    ) -> None:
        """Checks every record of a kind in a folder."""
        of_predictions = kind == runs.PREDICTIONS_KIND
        for path in sorted(folder.glob("*.json")):
            if path.name.endswith(runs.PREDICTIONS_SUFFIX) == of_predictions:
                record = self._record(path, stage, kind, body)
                if record is not None:
                    check(path, record)

    def _record(self, path: Path, stage: str, kind: str, body: type[Record]) -> Record | None:
        """A record, or None where it is not there or wrong."""
        if not path.exists() and not path.is_symlink():
            return None
        self._advance(1)
        self._records[_STAGE_OF.get(stage, stage)] += 1
        record = None
        with self._noting(path, stage, path):
            record = files.read_record(path, kind, body)
            self._count(stage, path)
        return record

    @contextlib.contextmanager
    def _noting(self, path: Path, stage: str, record: Path) -> Iterator[None]:
        """Lists what the block raises about a file."""
        try:
            yield
        except FlowernoiseError as error:
            self._wrong(path, stage, record, str(error), ours=not isinstance(error, OtherVersionError))

    def _wrong(self, path: Path, stage: str, record: Path, text: str, *, ours: bool = True) -> None:
        has_one = "`flowernoise " in text or not ours
        way_out = "" if has_one else commands.WAYS_OUT[stage].format(path)
        self._problems.append(Problem(str(path), stage, text, way_out, str(record), ours))

    def _count(self, stage: str, *paths: Path) -> None:
        stage = _STAGE_OF.get(stage, stage)
        self._files[stage] += len(paths)
        self._bytes[stage] += sum(path.stat().st_size for path in paths)

    def _blob(self, record: Path, folder: Path, ref: FileRef, stage: str) -> bool:
        """Whether a blob is intact; what is wrong with it is listed."""
        before = len(self._problems)
        with self._noting(folder / ref.name, stage, record):
            self._count(stage, files.check_blob(folder, ref))
        return len(self._problems) == before

    # Photos

    def _check_dataset(self) -> None:
        layout = self._layout
        dataset = self._record(layout.dataset, "prepare", datasets.KIND, Dataset)
        if dataset is None:
            return
        self._dataset = dataset
        intact = [self._blob(layout.dataset, layout.photos, ref, "prepare") for ref in (dataset.archive, dataset.index)]
        if not all(intact):
            return
        with self._noting(layout.photos / dataset.index.name, "prepare", layout.dataset):
            index = datasets.index(layout, dataset)
            if datasets.identity(dataset.request.image_size, dataset.classes, index) != dataset.id:
                raise DamagedFileError(f"{layout.dataset} does not have the id of the photos in {dataset.index.name}")
            for _ in photos.Archive(layout.photos, dataset.archive).read(index):  # each is held against its id
                pass
            self._index = index

    def _of_present(self, dataset: str) -> bool:
        return self._dataset is not None and self._index is not None and dataset == self._dataset.id

    # Draws

    def _check_draws(self, path: Path, batch: DrawBatch) -> None:
        blob = self._layout.draws / batch.arrays.name
        if not self._blob(path, self._layout.draws, batch.arrays, "corrupt"):
            return None
        if not self._of_present(batch.dataset):
            return self._note_stale("draws", batch.dataset)
        with self._noting(blob, "corrupt", path):
            _check_name(path, draws.record_of(self._layout, batch))
            arrays = draws.read_batch(self._layout, self._need_dataset(), batch)
            for row, draw in enumerate(batch.draws):
                _check_draw(draw, {name: array[row] for name, array in arrays.items()}, self._truth(), blob)
                self._drawn[draw.key] = StoredDraw(draw, batch, row)
        return None

    def _need_dataset(self) -> Dataset:
        if self._dataset is None:
            raise DamagedFileError(f"{self._layout.dataset} cannot be used")
        return self._dataset

    def _truth(self) -> dict[str, np.ndarray[Any, Any]]:
        index = self._index or ()
        return {split: photos.labels_of(index, split) for split in ("train", "val", "test")}

    def _note_stale(self, what: str, dataset: str) -> None:
        if self._dataset is not None and dataset != self._dataset.id:
            self._notes.append(f"{what} of other photos than those prepared last were held against their digests only")

    # Features

    def _check_features(self, path: Path, features: Features) -> None:
        layout = self._layout
        with self._noting(path, "features", path):
            _check_name(path, layout.features / f"{feature_cache.name_of(features.key)}.json")
        count = 0
        for ref in features.shards:
            with self._noting(layout.features / ref.name, "features", path):
                count += len(feature_cache.read_shard(layout, ref, features.dimension))
                self._count("features", layout.features / ref.name)
        listed = any(problem.record == str(path) for problem in self._problems)
        if count != features.count and not listed:
            text = f"{path}: the shards hold {count} photos, not the recorded {features.count}"
            self._wrong(path, "features", path, text)

    # Runs

    def _check_block(self, path: Path, block: RunBlock) -> None:
        layout, name = self._layout, path.stem
        blob = layout.runs / block.arrays.name
        if not self._blob(path, layout.runs, block.arrays, "train"):
            return None
        if not self._of_present(block.dataset):
            return self._note_stale("runs", block.dataset)
        dataset = self._need_dataset()
        with self._noting(path, "train", path):
            _check_name(path, layout.runs / f"{runs.name_of(block)}.json")
            if block.setup.image_size != dataset.request.image_size:
                raise DamagedFileError(f"{path} says that it is of the prepared photos, but they have another size")
            self._check_labels(path, block)
            self._blocks[name] = block
        if block.mode == "features":
            with self._noting(blob, "train", path):
                self._answers[name] = runs.read_answers(layout, dataset, block)["test_probabilities"].argmax(axis=3)
        return None

    def _check_labels(self, path: Path, block: RunBlock) -> None:
        """Each run's labels are those of its draw."""
        for run in block.runs:
            stored = self._drawn.get(run.draw)
            if stored is None:
                self._without_draw.setdefault(run.draw)
            elif stored.draw.labels != run.labels:
                raise DamagedFileError(f"{path}: {run.method} on {run.draw} was trained on labels that were not drawn")

    def _check_predictions(self, path: Path, predictions: Predictions) -> None:
        name = path.name.removesuffix(runs.PREDICTIONS_SUFFIX)
        if not self._blob(path, self._layout.runs, predictions.arrays, "answers"):
            return
        block = self._blocks.get(name)
        if block is not None:
            with self._noting(self._layout.runs / predictions.arrays.name, "answers", path):
                found = runs.find_predictions(self._layout, self._need_dataset(), name, block)
                if found is None:
                    raise DamagedFileError(f"{path} is of other weights than those of {name}.json")
                self._answers[name] = found["test_probabilities"].argmax(axis=3)

    # The evaluation

    def _check_evaluation(self) -> None:
        layout = self._layout
        evaluation = self._record(layout.evaluation, "evaluate", evaluations.KIND, Evaluation)
        if evaluation is None or not self._blob(layout.evaluation, layout.root, evaluation.arrays, "evaluate"):
            return None
        blob = layout.root / evaluation.arrays.name
        with self._noting(blob, "evaluate", layout.evaluation):
            self._arrays = evaluations.read(layout, evaluation)
            self._evaluation = evaluation
            if not self._of_present(evaluation.dataset):
                return self._note_stale("the evaluation", evaluation.dataset)
            if not np.array_equal(self._arrays["test_labels"], self._truth()["test"]):
                raise DamagedFileError(f"{blob} does not hold the labels of the test photos")
            if evaluation.inputs != evaluations.inputs_of(self._blocks):
                return self._notes.append("runs were added, changed or lost since the last `flowernoise evaluate`")
            self._check_evaluated(evaluation, blob)
        return None

    def _check_evaluated(self, evaluation: Evaluation, blob: Path) -> None:
        """The evaluation holds what the runs answer."""
        live = runs.live(self._blocks)
        if evaluation.keys != list(live):
            raise DamagedFileError(f"{self._layout.evaluation} does not list the runs that are there")
        for row, (run, stored) in enumerate(zip(evaluation.runs, live.values(), strict=True)):
            draw = self._drawn.get(run.draw)
            if draw is not None and draw.draw.realised_rate != run.realised_rate:
                raise DamagedFileError(f"{blob} has another rate of wrong labels than {run.draw}")
            said = (run.failure, run.recency, evaluation.provenances[run.provenance])
            if said != (stored.run.failure, stored.block.recency, stored.block.provenance):
                raise DamagedFileError(f"{self._layout.evaluation} says otherwise of {run.method} on {run.draw}")
            if run.failure is None and stored.name in self._answers:
                columns = [evaluation.selections.index(selection) for selection in stored.block.selections]
                kept = self._arrays["predicted"][row, columns]
                if not np.array_equal(kept, self._answers[stored.name][stored.row]):
                    raise DamagedFileError(f"{blob} does not hold what {run.method} on {run.draw} answers")

    # Tables

    def _check_comparison(self, path: Path, kept: KeptComparison) -> None:
        with self._noting(path, "compare", path):
            first = kept.evaluations[0] if kept.evaluations else ""
            _check_name(path, self._layout.comparisons / comparisons.file_name(first, kept.key))
            present = evaluations.digest(self._layout) if self._evaluation else None
            if len(kept.evaluations) == 1 and first == present and kept.comparison.metric == USUAL:
                self._check_accuracies(path, kept.comparison)

    def _check_accuracies(self, path: Path, comparison: Comparison) -> None:
        """A table of accuracies shows those of the evaluation."""
        if self._evaluation is None or comparison.select is None:
            return
        column = self._evaluation.selections.index(comparison.select)
        last = self._evaluation.selections.index("last")
        available = self._arrays["available"]
        right = self._arrays["predicted"] == self._arrays["test_labels"]
        accuracy = right.mean(axis=2)
        by_cell: dict[Identity, list[float]] = {}
        for row, (key, run) in enumerate(zip(self._evaluation.keys, self._evaluation.runs, strict=True)):
            if run.failure is None:
                own = column if available[row, column] else last
                by_cell.setdefault(key.identity, []).append(float(accuracy[row, own]))
        for shown in comparison.rows:
            values = by_cell.get(shown.identity, [])
            if len(values) != len(shown.values) or not np.allclose(values, shown.values, rtol=0, atol=_EQUAL):
                raise DamagedFileError(f"{path} shows other accuracies of {shown.loss} than the evaluation holds")


def _check_name(path: Path, expected: Path) -> None:
    if path.name != expected.name:
        raise DamagedFileError(f"{path} does not have the name of what it holds, {expected.name}")


def _check_draw(
    draw: Draw, arrays: Mapping[str, np.ndarray[Any, Any]], truth: Mapping[str, np.ndarray[Any, Any]], blob: Path
) -> None:
    """A draw's labels have the digest, the flips and the rates that are recorded."""
    train, val = arrays["train_labels"], arrays["val_labels"]
    flipped = [arrays["train_flipped"], arrays["val_flipped"]]
    wrong = [train != truth["train"], val != truth["val"]]
    T = transition_matrix.realised(truth["train"], train.astype(np.int64), len(arrays["transition_matrix"]))
    fits: Sequence[bool] = (
        files.digest(train.astype("<u4").tobytes() + val.astype("<u4").tobytes()) == draw.labels,
        all(np.array_equal(a, b) for a, b in zip(flipped, wrong, strict=True)),
        np.allclose(T, arrays["realised_transition_matrix"], equal_nan=True),
        abs(float(wrong[0].mean()) - draw.realised_rate) < _EQUAL,
        draw.key.noise != CONTROL or not wrong[0].any(),
    )
    if not all(fits):
        raise DamagedFileError(f"{blob}: the labels of {draw.key} are not those that its record describes")
