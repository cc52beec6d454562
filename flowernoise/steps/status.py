"""``status``: what is in an artifacts directory, what is stale or missing, and which command comes next.

Reads records and the sizes of files; nothing is written, and no array or photo is opened.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from flowernoise.analysis import where
from flowernoise.analysis.results.status import (
    STAGES,
    DrawCount,
    FeatureCount,
    Litter,
    LitterKind,
    RunCount,
    SetupSize,
    Stage,
    State,
    Status,
)
from flowernoise.errors import FlowernoiseError, OtherVersionError
from flowernoise.safe import atomic, images
from flowernoise.safe.atomic import TEMPORARY
from flowernoise.steps import commands
from flowernoise.store import artifacts, datasets, draws, evaluations, feature_cache, files, runs
from flowernoise.store.files import FileRef, Record
from flowernoise.store.layout import INPUTS, Layout
from flowernoise.store.records import (
    CONTROL,
    Dataset,
    Draw,
    DrawBatch,
    DrawKey,
    Evaluation,
    Features,
    Predictions,
    Preset,
    RunBlock,
    RunKey,
)
from flowernoise.store.runs import StoredRun
from flowernoise.store.setups import Setup

Group = tuple[str, Setup]
_SHOWN = ("compare", "plots", "report")  # made from the evaluation
_FOLDERS = {"photos": "prepare", "draws": "corrupt", "runs": "train", "comparisons": "compare"}
_ROOT_FILES = {"dataset": "prepare", "preset": "prepare", "evaluation": "evaluate"}
_PREDICTIONS = ".predictions.json"
_BLOB = re.compile(r"(?P<stem>.+)-[0-9a-f]{16}\.\w+")


def status(artifacts_directory: Path) -> Status:
    """Looks at an artifacts directory; one that is empty or not there is no error.

    Raises:
        BadRequestError: there is something of that name, but no directory.
    """
    return _Look(artifacts.opened(artifacts_directory)).status()


class _Look:
    """One look at a directory: its files, then its records in the order of the stages."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._problems: list[str] = []
        self._sizes = dict(sorted(_scan(layout.root, self._problems)))
        self._broken: set[str] = set()  # stages with something that cannot be used
        self._unread: set[str] = set()  # records that cannot be read; what they point to is not litter
        self._foreign: dict[str, str] = {}  # those that another version has written, and their stages
        self._referenced: set[str] = set()
        self._lost: list[DrawKey] = []  # draws whose labels cannot be used
        self._records_in: dict[str, list[str]] = {}
        for name in self._sizes:
            if name.endswith(".json"):
                self._records_in.setdefault(name.rpartition("/")[0], []).append(name)

    def status(self) -> Status:
        """Everything, each stage from those before it."""
        dataset = self._dataset()
        drawn, stale_draws = self._draws(dataset)
        features, unfinished = self._features(dataset)
        blocks, stale_runs = self._blocks(dataset)
        evaluation = self._evaluation()
        self._read(self._layout.preset.name, "preset", "preset", Preset)
        live = runs.live(blocks)
        evaluated = _evaluated(evaluation, dataset)
        counts = _run_counts(blocks, live, drawn, evaluated)
        sizes, inside = self._by_stage(), self._inside()
        unknown = dataset is None and self._layout.dataset.name in self._unread
        states: dict[str, State] = {
            "prepare": "done" if dataset else "missing",
            "corrupt": _state(bool(drawn), stale=bool(stale_draws), unknown=unknown),
            "features": _features_state(features, unfinished, unknown=unknown),
            "train": _train_state(counts, stale=bool(stale_runs), unknown=unknown),
            "evaluate": _state(_is_current(evaluation, dataset, blocks), stale=evaluation is not None, unknown=unknown),
            "preview": "missing",
        }
        states |= dict.fromkeys(self._broken & states.keys(), "damaged")
        states |= dict.fromkeys(set(self._foreign.values()) & states.keys(), "unknown")
        if "preview" in sizes:
            states["preview"] = self._preview_state(_inputs(dataset, drawn, blocks), unknown=unknown)
        states |= {name: _of_evaluation(states["evaluate"], there=name in sizes) for name in _SHOWN}
        states["other"] = "there" if "other" in sizes else "missing"
        if self._layout.dataset.name in self._foreign:  # nothing can be added to it
            root = self._layout.root
            next_command = commands.command(root.with_name(f"{root.name}-new"), ["prepare"])
        elif inside and sizes.keys() == {"other"}:
            next_command = commands.command(self._layout.root / inside[0], ["status"])
        else:
            next_command = commands.command(self._layout.root, self._next(states, dataset, counts))
        return Status(
            directory=str(self._layout.root),
            source=dataset.request.source if dataset else None,
            classes=dataset.classes if dataset else (),
            photos=dataset.sizes if dataset else None,
            stages=tuple(Stage(name, states[name], *sizes.get(name, (0, 0))) for name in STAGES),
            draws=_draw_counts(drawn),
            stale_draws=stale_draws,
            features=features,
            unfinished=unfinished,
            runs=counts,
            setups=self._setups(blocks, live),
            stale_runs=stale_runs,
            evaluated=len(evaluated),
            litter=tuple(self._litter()),
            problems=tuple(self._problems),
            inside=inside,
            next=next_command,
        )

    # The records

    def _read(self, name: str, stage: str, kind: str, body: type[Record]) -> Record | None:
        """A record, or None where it is not there or cannot be read, which is then among the problems."""
        if name not in self._sizes:
            return None
        try:
            return files.read_record(self._layout.root / name, kind, body)
        except OtherVersionError as error:
            self._unread.add(name)
            self._foreign[name] = stage
            self._problems.append(str(error))  # which names the way out
            return None
        except FlowernoiseError as error:
            self._unread.add(name)
            self._problem(stage, str(error), name)
            return None

    def _records(self, folder: str, stage: str, kind: str, body: type[Record]) -> dict[str, Record]:
        """The intact records of a folder, by their names."""
        wants_predictions = kind == runs.PREDICTIONS_KIND
        names = (n for n in self._records_in.get(folder, ()) if n.endswith(_PREDICTIONS) == wants_predictions)
        read = ((name, self._read(name, stage, kind, body)) for name in names)
        return {name: record for name, record in read if record is not None}

    def _refer(self, record: str, ref: FileRef) -> str:
        """Name of a file that a record points to, beside it or in ``photos``; such a file is no litter."""
        folder = "photos" if record == self._layout.dataset.name else record.rpartition("/")[0]
        name = f"{folder}/{ref.name}".lstrip("/")
        self._referenced.add(name)
        return name

    def _check(self, record: str, ref: FileRef, stage: str) -> bool:
        """Whether a file that a record points to is there, in its size."""
        name = self._refer(record, ref)
        size = self._sizes.get(name)
        if size == ref.size:
            return True
        what = "is missing" if size is None else f"holds {size:,} bytes, not the recorded {ref.size:,}"
        self._problem(stage, f"{self._layout.root / name} {what}", record)
        return False

    def _problem(self, stage: str, text: str, record: str) -> None:
        self._broken.add(stage)
        self._problems.append(f"{text}; {commands.WAYS_OUT[stage].format(self._layout.root / record)}")

    # The stages

    def _dataset(self) -> Dataset | None:
        name = self._layout.dataset.name
        dataset = self._read(name, "prepare", datasets.KIND, Dataset)
        if dataset is not None:
            for ref in (dataset.archive, dataset.index):
                self._check(name, ref, "prepare")
        return dataset

    def _draws(self, dataset: Dataset | None) -> tuple[dict[DrawKey, Draw], int]:
        """The data set's draws, and how many there are of others."""
        found: dict[DrawKey, Draw] = {}
        others = 0
        batches = self._records("draws", "corrupt", draws.KIND, DrawBatch)
        for name, batch in batches.items():
            if dataset is None or batch.dataset != dataset.id:
                self._refer(name, batch.arrays)
                others += len(batch.draws)
            elif self._check(name, batch.arrays, "corrupt"):
                found.update((draw.key, draw) for draw in batch.draws)
            else:
                self._lost += [draw.key for draw in batch.draws]
        return dict(sorted(found.items())), others

    def _features(self, dataset: Dataset | None) -> tuple[tuple[FeatureCount, ...], int]:
        """Complete features, and how many shards an interrupted extraction has left."""
        found = self._records("features", "features", feature_cache.KIND, Features)
        of_photos = self._photos_digest(dataset) if found and dataset else None
        counts = []
        for name, record in found.items():
            same_size = dataset is not None and record.key.image_size == dataset.request.image_size
            state: State = "done" if same_size and record.key.photos == of_photos else "stale"
            for ref in record.shards:
                self._check(name, ref, "features") if state == "done" else self._refer(name, ref)
            counts.append(FeatureCount(record.key.backbone, record.count, state))
        begun = {name for name in self._sizes if self._is_of_unfinished_features(name)}
        self._referenced |= begun
        return tuple(sorted(counts, key=lambda count: (count.backbone, count.state))), len(begun)

    def _is_of_unfinished_features(self, name: str) -> bool:
        """Whether a file is a shard that no record completes yet."""
        folder, _, file = name.partition("/")
        shard = re.fullmatch(r"([0-9a-f]{16})\.\d{8}-[0-9a-f]{16}\.h5", file)
        return folder == "features" and shard is not None and f"features/{shard[1]}.json" not in self._sizes

    def _photos_digest(self, dataset: Dataset) -> str | None:
        """What features call these photos; None where the index cannot be read."""
        try:
            index = datasets.index(self._layout, dataset)
        except FlowernoiseError:
            return None
        return files.digest_of([photo.id for photo in index])

    def _blocks(self, dataset: Dataset | None) -> tuple[dict[str, RunBlock], int]:
        """The data set's blocks of runs, by file name without suffix, and how many runs there are of others."""
        own: dict[str, RunBlock] = {}
        others = 0
        found = self._records("runs", "train", runs.KIND, RunBlock)
        for name, block in found.items():
            if dataset is not None and block.dataset == dataset.id:
                self._check(name, block.arrays, "train")
                own[Path(name).stem] = block
            else:
                self._refer(name, block.arrays)
                others += len(block.runs)
        answers = self._records("runs", "answers", runs.PREDICTIONS_KIND, Predictions)
        for name, predictions in answers.items():
            self._check(name, predictions.arrays, "answers")
        return own, others

    def _setups(self, blocks: Mapping[str, RunBlock], live: Mapping[RunKey, StoredRun]) -> tuple[SetupSize, ...]:
        """What each set of settings takes."""
        count = Counter(key.setup for key in live)
        sizes: Counter[Setup] = Counter()
        for name, size in self._sizes.items():
            folder, _, file = name.partition("/")
            block = blocks.get(re.split(r"[.-]", file)[0]) if folder == "runs" else None
            if block is not None:
                sizes[block.setup] += size
        return tuple(SetupSize(setup, count[setup], sizes[setup]) for setup in sorted(count))

    def _evaluation(self) -> Evaluation | None:
        name = self._layout.evaluation.name
        evaluation = self._read(name, "evaluate", evaluations.KIND, Evaluation)
        if evaluation is not None:
            self._check(name, evaluation.arrays, "evaluate")
        return evaluation

    def _preview_state(self, valid: set[str], *, unknown: bool) -> State:
        """Whether the labels on every contact sheet are still those that it was made from."""
        named = [name for name in self._sizes if name.startswith("preview/") and name.endswith(".png")]
        made_from = {images.text_in_png(self._layout.root / name, INPUTS) for name in named} - {None}
        if made_from & valid and made_from - valid:
            return "partly"
        return _state(made_from <= valid, stale=True, unknown=unknown)

    # Files

    def _by_stage(self) -> dict[str, tuple[int, int]]:
        """Number of files and bytes of every stage that has any."""
        counts: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for name, size in self._sizes.items():
            stage = _stage_of(name)
            counts[stage] += 1
            sizes[stage] += size
        return {stage: (counts[stage], sizes[stage]) for stage in counts}

    def _litter(self) -> Iterator[Litter]:
        for name, size in sorted(self._sizes.items()):
            kind = self._litter_kind(name)
            if kind:
                yield Litter(name, kind, size)

    def _litter_kind(self, name: str) -> LitterKind | None:
        stage, file = _stage_of(name), name.rpartition("/")[2]
        if stage == "other":
            return None
        if TEMPORARY.fullmatch(file):
            return "temporary"
        if file.endswith(".damaged"):
            return "set aside"
        blob = _BLOB.fullmatch(file)
        if stage in (*_SHOWN, "preview") or not blob or name in self._referenced:
            return None
        return None if self._may_be_of_an_unread_record(name, blob["stem"]) else "unreferenced"

    def _may_be_of_an_unread_record(self, name: str, stem: str) -> bool:
        """Whether the record that would name a file is there, but cannot be read."""
        folder = name.rpartition("/")[0]
        if folder == "photos":
            return self._layout.dataset.name in self._unread
        owners = {stem, stem.partition(".")[0]}
        return any(f"{folder}/{owner}.json".lstrip("/") in self._unread for owner in owners)

    def _inside(self) -> tuple[str, ...]:
        records = (name.split("/") for name in self._sizes)
        return tuple(sorted(parts[0] for parts in records if len(parts) == 2 and parts[1] == "dataset.json"))

    # What comes next

    def _next(
        self,
        states: Mapping[str, State],
        dataset: Dataset | None,
        counts: Sequence[RunCount],
    ) -> list[str]:
        """Words of the command that brings the first stage that needs it up to date, or shows the results."""
        if dataset is None:
            return ["prepare"]
        if states["prepare"] != "done":
            return commands.prepare_again(dataset.request)
        if states["corrupt"] != "done":
            return commands.draw_again(self._lost)
        if not counts:
            return ["train"]
        # Runs of an abandoned loss or backbone need no company: once they are evaluated, some other group has them all.
        lacking, evaluated = [count for count in counts if count.lacking], states["evaluate"] == "done"
        if states["train"] == "damaged" or (lacking and (not evaluated or len(lacking) == len(counts))):
            return _train_on(lacking or counts)
        return ["compare"] if evaluated else ["evaluate"]


def _scan(root: Path, problems: list[str]) -> Iterator[tuple[str, int]]:
    """Names below the root, with slashes, and sizes; what vanishes meanwhile is passed over."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(root / folder))
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(f"cannot read {root / folder}: {atomic.reason(error)}")
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            with contextlib.suppress(OSError):
                # Links are not followed: they might lead anywhere, or in a circle.
                if entry.is_dir(follow_symlinks=False):
                    if name != "locks":
                        waiting.append(name)
                elif entry.is_file(follow_symlinks=False):
                    yield name, entry.stat(follow_symlinks=False).st_size


def _stage_of(name: str) -> str:
    """The stage that a file belongs to.

    >>> _stage_of("runs/a.json"), _stage_of("dataset.json"), _stage_of(".evaluation.json.0123456789ab.tmp")
    ('train', 'prepare', 'evaluate')
    """
    first, slash, _ = name.partition("/")
    if slash:
        stage = _FOLDERS.get(first, first)
    else:
        word = re.split(r"[.-]", first.removeprefix("."))[0]
        stage = _ROOT_FILES.get(word, "report" if word == "report" else "other")
    return stage if stage in STAGES else "other"


def _state(there: bool, *, stale: bool, unknown: bool) -> State:
    if there:
        return "done"
    if stale:
        return "unknown" if unknown else "stale"
    return "missing"


def _features_state(found: Iterable[FeatureCount], unfinished: int, *, unknown: bool) -> State:
    states = {count.state for count in found}
    if "done" not in states and unfinished:
        return "partly"
    return _state("done" in states, stale="stale" in states, unknown=unknown)


def _train_state(counts: Sequence[RunCount], *, stale: bool, unknown: bool) -> State:
    if any(count.lacking or count.stale for count in counts):
        return "partly"
    return _state(bool(counts), stale=stale, unknown=unknown)


def _of_evaluation(state: State, *, there: bool) -> State:
    """State of what was made from the evaluation, whichever that was."""
    if not there:
        return "missing"
    return "there" if state == "done" else "stale"


def _is_current(evaluation: Evaluation | None, dataset: Dataset | None, blocks: Mapping[str, RunBlock]) -> bool:
    if evaluation is None or dataset is None or not blocks:
        return False
    return (evaluation.dataset, evaluation.inputs) == (dataset.id, evaluations.inputs_of(blocks))


def _evaluated(evaluation: Evaluation | None, dataset: Dataset | None) -> set[RunKey]:
    if evaluation is None or dataset is None or evaluation.dataset != dataset.id:
        return set()
    return set(evaluation.keys)


def _inputs(dataset: Dataset | None, drawn: Mapping[DrawKey, Draw], blocks: Mapping[str, RunBlock]) -> set[str]:
    """Everything that the labels on a contact sheet can have been read from."""
    of_dataset = {dataset.id} if dataset else set()
    return of_dataset | {draw.labels for draw in drawn.values()} | {block.arrays.sha256 for block in blocks.values()}


def _draw_counts(drawn: Iterable[DrawKey]) -> tuple[DrawCount, ...]:
    counts = Counter((key.noise, key.rate) for key in drawn)
    return tuple(DrawCount(noise, rate, count) for (noise, rate), count in sorted(counts.items()))


def _group(key: RunKey) -> Group:
    return key.method, key.setup


def _run_counts(
    blocks: Mapping[str, RunBlock],
    live: Mapping[RunKey, StoredRun],
    drawn: Mapping[DrawKey, Draw],
    evaluated: set[RunKey],
) -> tuple[RunCount, ...]:
    every = Counter(_group(key) for block in blocks.values() for key in block.keys)
    recency = {key.identity: stored.block.recency for key, stored in live.items()}
    latest = {(identity.method, identity.setup) for identity in where.shown((), [recency])[0]}
    alive, failed, unevaluated, stale, noisy = (Counter[Group]() for _ in range(5))
    for key, stored in live.items():
        group = _group(key)
        draw = drawn.get(key.draw)
        current = draw is not None and draw.labels == stored.run.labels
        alive[group] += 1
        failed[group] += stored.run.failure is not None
        unevaluated[group] += key not in evaluated
        stale[group] += not current
        noisy[group] += current and key.noise != CONTROL
    draws_noisy = sum(key.noise != CONTROL for key in drawn)
    return tuple(
        RunCount(
            *group,
            runs=alive[group],
            failed=failed[group],
            unevaluated=unevaluated[group],
            superseded=every[group] - alive[group],
            stale=stale[group],
            lacking=draws_noisy - noisy[group] if group in latest else 0,
        )
        for group in sorted(alive, key=lambda group: (group[1], group[0] != "ce", group[0]))
    )


def _train_on(groups: Sequence[RunCount]) -> list[str]:
    """The runs that the first group lacks, with all losses of its setup that lack some."""
    setup = groups[0].setup
    return commands.train_again([group.loss for group in groups if group.setup == setup], setup)
