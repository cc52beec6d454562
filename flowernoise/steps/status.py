"""``status``: what is in an artifacts directory, what is stale or missing, and which command comes next.

Reads records and file sizes. Writes nothing, and opens no arrays or photos.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flowernoise.analysis import counts
from flowernoise.analysis.results.status import FeatureCount, RunCount, SetupSize, Stage, State, Status
from flowernoise.safe import images
from flowernoise.steps import commands
from flowernoise.store import artifacts, evaluations, runs
from flowernoise.store.inventory import Inventory
from flowernoise.store.inventory.kinds import BLOCKS, DATASET, DRAWS, EVALUATION, FEATURES, OWN_FEATURES
from flowernoise.store.layout import INPUTS
from flowernoise.store.records import (
    Dataset,
    Draw,
    DrawKey,
    Evaluation,
    FeatureShard,
    FeaturesKey,
    RunBlock,
    RunKey,
)
from flowernoise.store.runs import StoredRun
from flowernoise.store.setups import Setup
from flowernoise.store.stages import SHOWN, STAGES

_FROM_EVALUATION = tuple(name for name in SHOWN if STAGES[name].from_evaluation)


def status(artifacts_directory: Path) -> Status:
    """Looks at an artifacts directory, which may be empty or missing.

    Raises:
        BadRequestError: the path exists but is not a directory.
    """
    inventory = Inventory(artifacts.opened(artifacts_directory))
    holds = _holdings(inventory)
    dataset, sizes, inside = holds.dataset, inventory.by_stage(), _inside(inventory)
    states = _states(inventory, holds, sizes)
    return Status(
        directory=str(inventory.layout.root),
        source=dataset.request.source if dataset else None,
        classes=dataset.classes if dataset else (),
        photos=dataset.sizes if dataset else None,
        splits=dataset.splits if dataset else 1,
        given_splits=dataset.given_splits if dataset else (),
        stages=tuple(Stage(name, states[name], *sizes.get(name, (0, 0))) for name in SHOWN),
        draws=counts.of_draws(holds.drawn),
        stale_draws=holds.stale_draws,
        features=holds.features,
        runs=holds.counts,
        setups=_setups(inventory, holds.blocks, holds.live),
        stale_runs=holds.stale_runs,
        evaluated=len(holds.evaluated),
        litter=tuple(inventory.litter()),
        problems=tuple(map(commands.problem, [*inventory.unreadable, *inventory.faults()])),
        inside=inside,
        next=_next(inventory, holds, states, inside if sizes.keys() == {"other"} else ()),
    )


@dataclasses.dataclass(frozen=True)
class _Holdings:
    """What can be used in a directory, and how much of it belongs to other photos.

    ``lost`` are draws with unusable labels; ``evaluated`` are the data set's runs in the evaluation.
    """

    dataset: Dataset | None
    drawn: Mapping[DrawKey, Draw]
    lost: Sequence[DrawKey]
    stale_draws: int
    features: tuple[FeatureCount, ...]
    blocks: Mapping[str, RunBlock]
    live: Mapping[RunKey, StoredRun]
    stale_runs: int
    evaluation: Evaluation | None
    evaluated: set[RunKey]
    counts: tuple[RunCount, ...]


def _holdings(inventory: Inventory) -> _Holdings:
    batches, blocks = inventory.entries(DRAWS), inventory.entries(BLOCKS)
    own = [entry for entry in batches if not inventory.is_stale(entry.body)]
    lost = [draw.key for entry in own if inventory.size_faults(entry) for draw in entry.body.draws]
    drawn = {draw.key: draw for entry in own if not inventory.size_faults(entry) for draw in entry.body.draws}
    current = {entry.path.stem: entry.body for entry in blocks if not inventory.is_stale(entry.body)}
    features = _cached(inventory)
    features += (
        FeatureCount(f"features:{body.name}", len(body.ids), "stale" if inventory.is_stale(body) else "done")
        for body in (entry.body for entry in inventory.entries(OWN_FEATURES))
    )
    evaluation, live = inventory.only(EVALUATION), runs.live(current)
    evaluated = set() if evaluation is None or inventory.is_stale(evaluation) else set(evaluation.keys)
    return _Holdings(
        dataset=inventory.only(DATASET),
        drawn=drawn,
        lost=lost,
        stale_draws=sum(len(entry.body.draws) for entry in batches) - sum(len(entry.body.draws) for entry in own),
        features=tuple(sorted(features, key=lambda count: (count.backbone, count.state))),
        blocks=current,
        live=live,
        stale_runs=sum(len(entry.body.runs) for entry in blocks) - sum(len(block.runs) for block in current.values()),
        evaluation=evaluation,
        evaluated=evaluated,
        counts=counts.of_runs(current, live, drawn, evaluated),
    )


def _cached(inventory: Inventory) -> list[FeatureCount]:
    """How many photos each entry of the cache has features of; those of other photos are stale."""
    by_key: dict[FeaturesKey, list[FeatureShard]] = {}
    for entry in inventory.entries(FEATURES):
        by_key.setdefault(entry.body.key, []).append(entry.body)
    found = []
    for key, shards in by_key.items():
        there = len(frozenset().union(*map(inventory.covered, shards)))
        state: State = "stale" if not there else "done" if there == inventory.photos else "partly"
        count = there or len({id for shard in shards for id in shard.ids})
        found.append(FeatureCount(key.backbone, count, state))
    return found


def _setups(
    inventory: Inventory, blocks: Mapping[str, RunBlock], live: Mapping[RunKey, StoredRun]
) -> tuple[SetupSize, ...]:
    """The number of runs and bytes of each setup."""
    count = Counter(key.setup for key in live)
    sizes: Counter[Setup] = Counter()
    for name, size in inventory.sizes.items():
        folder, _, file = name.partition("/")
        block = blocks.get(re.split(r"[.-]", file)[0]) if folder == inventory.layout.runs.name else None
        if block is not None:
            sizes[block.setup] += size
    return tuple(SetupSize(setup, count[setup], sizes[setup]) for setup in sorted(count))


def _inside(inventory: Inventory) -> tuple[str, ...]:
    """Names of artifacts directories inside this one."""
    records = (name.split("/") for name in inventory.sizes)
    dataset = inventory.layout.dataset.name
    return tuple(sorted(parts[0] for parts in records if len(parts) == 2 and parts[1] == dataset))


# States


def _states(inventory: Inventory, holds: _Holdings, sizes: Iterable[str]) -> dict[str, State]:
    """The state of every stage; each depends on those before it."""
    faults, evaluation = inventory.faults(), holds.evaluation
    unknown = holds.dataset is None and any(fault.path == inventory.layout.dataset for fault in faults)
    states: dict[str, State] = {
        "prepare": "done" if holds.dataset else "missing",
        "corrupt": _state(bool(holds.drawn), stale=bool(holds.stale_draws), unknown=unknown),
        "features": _features_state(holds.features, unknown=unknown),
        "train": _train_state(holds.counts, stale=bool(holds.stale_runs), unknown=unknown),
        "evaluate": _state(_is_current(holds), stale=evaluation is not None, unknown=unknown),
        "preview": "missing",
    }
    states |= dict.fromkeys({fault.stage for fault in faults if fault.ours} & states.keys(), "damaged")
    states |= dict.fromkeys({fault.stage for fault in faults if not fault.ours} & states.keys(), "unknown")
    if "preview" in sizes:
        states["preview"] = _preview_state(inventory, holds, unknown=unknown)
    made: State = "there" if states["evaluate"] == "done" else "stale"
    states |= dict.fromkeys(_FROM_EVALUATION, made) | dict.fromkeys({*_FROM_EVALUATION} - {*sizes}, "missing")
    states["other"] = "there" if "other" in sizes else "missing"
    return states


def _state(there: bool, *, stale: bool, unknown: bool) -> State:
    if there:
        return "done"
    if stale:
        return "unknown" if unknown else "stale"
    return "missing"


def _features_state(found: Iterable[FeatureCount], *, unknown: bool) -> State:
    states = {count.state for count in found}
    if "done" not in states and "partly" in states:
        return "partly"
    return _state("done" in states, stale="stale" in states, unknown=unknown)


def _train_state(counted: Sequence[RunCount], *, stale: bool, unknown: bool) -> State:
    if any(count.lacking or count.stale for count in counted):
        return "partly"
    return _state(bool(counted), stale=stale, unknown=unknown)


def _is_current(holds: _Holdings) -> bool:
    """Whether the evaluation covers exactly the current runs."""
    evaluation, dataset = holds.evaluation, holds.dataset
    if evaluation is None or dataset is None or not holds.blocks:
        return False
    return (evaluation.dataset, evaluation.inputs) == (dataset.id, evaluations.inputs_of(holds.blocks))


def _preview_state(inventory: Inventory, holds: _Holdings, *, unknown: bool) -> State:
    """The state of the contact sheets: stale if the labels behind one have changed."""
    valid = {holds.dataset.id} if holds.dataset else set()
    valid |= {draw.labels for draw in holds.drawn.values()} | {b.arrays.sha256 for b in holds.blocks.values()}
    layout, folder = inventory.layout, f"{inventory.layout.preview.name}/"
    sheets = [layout.root / name for name in inventory.sizes if name.startswith(folder) and name.endswith(".png")]
    made_from = {images.text_in_png(path, INPUTS) for path in sheets} - {None}
    if made_from & valid and made_from - valid:
        return "partly"
    return _state(made_from <= valid, stale=True, unknown=unknown)


# What comes next


def _next(inventory: Inventory, holds: _Holdings, states: Mapping[str, State], inside: Sequence[str]) -> str | None:
    """The next command; ``inside`` are directories to look at if this one is empty itself."""
    root = inventory.layout.root
    if any(not fault.ours and fault.path == inventory.layout.dataset for fault in inventory.faults()):
        # Another version wrote this directory, so nothing can be added to it.
        return commands.command(root.with_name(f"{root.name}-new"), ["prepare"])
    if inside:
        return commands.command(root / inside[0], ["status"])
    words = _next_words(inventory, holds, states)
    return commands.command(root, words) if words else None


def _next_words(inventory: Inventory, holds: _Holdings, states: Mapping[str, State]) -> list[str]:
    """Words of the command that updates the first stage that needs it, or shows the results; empty if all is done."""
    if holds.dataset is None:
        return ["prepare"]
    if states["prepare"] != "done":
        return commands.prepare_again(holds.dataset.request)
    if states["corrupt"] != "done":
        return commands.draw_again(holds.lost)
    if not holds.counts:
        return ["train"]
    # An abandoned loss or backbone need not be completed, as long as some other group is complete.
    lacking, evaluated = [count for count in holds.counts if count.lacking], states["evaluate"] == "done"
    if states["train"] == "damaged" or (lacking and (not evaluated or len(lacking) == len(holds.counts))):
        return _train_on(lacking or holds.counts)
    if not evaluated:
        return ["evaluate"]
    layout = inventory.layout
    if not _is_newer(layout.comparisons, layout.evaluation):
        return ["compare"]
    return [] if _is_newer(layout.root / "report.html", layout.evaluation) else ["report"]


def _is_newer(path: Path, than: Path) -> bool:
    """Whether a file was made after another, so that it can be based on it."""
    with contextlib.suppress(OSError):
        return path.stat().st_mtime_ns >= than.stat().st_mtime_ns
    return False


def _train_on(groups: Sequence[RunCount]) -> list[str]:
    """The command for the runs that the first group lacks, with all losses of its setup that lack some."""
    setup = groups[0].setup
    return commands.train_again([group.loss for group in groups if group.setup == setup], setup)
