"""Made-up runs, blocks, evaluations and whole directories for tests, in the form that the stages write."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import astuple

from flowernoise.progress import Silent
from flowernoise.steps.corrupt import corrupt
from flowernoise.steps.evaluate import evaluate
from flowernoise.steps.prepare import prepare
from flowernoise.steps.settings import CorruptSettings, PrepareSettings
from flowernoise.store import datasets, draws, feature_cache, files, runs
from flowernoise.store.layout import Layout
from flowernoise.store.records import (
    Choice,
    Dataset,
    DatasetRequest,
    EvaluatedRun,
    FeaturesKey,
    Provenance,
    Run,
    RunBlock,
    RunKey,
    Selection,
)
from flowernoise.store.setups import Setup

PROVENANCE = Provenance({}, "tensorflow", "cpu")


def a_dataset(
    identity: str,
    classes: Sequence[str],
    counts: tuple[tuple[int, ...], ...],
    *,
    found: int = 0,
    archive: files.FileRef = files.NOT_WRITTEN,
    index: files.FileRef = files.NOT_WRITTEN,
) -> Dataset:
    """A data set of drawn photos, by default of none that were written; ``counts`` are by split, then by class."""
    request = DatasetRequest("synthetic", None, None, None, 32, 0)
    return Dataset(identity, request, None, tuple(classes), counts, found, archive, index, (), (), ())


def a_setup(backbone: str = "resnet50", mode: str = "features", **known: Any) -> Setup:
    """A training setup; five epochs of Adam by default."""
    usual = {
        "weights": "w",
        "image_size": 32,
        "decoding": "d",
        "extractor": "keras",
        "precision": "float32",
        "epochs": 5,
        "batch_size": 32,
        "optimizer": "adam",
        "learning_rates": (0.001,),
        "l2": (0.0,),
    }
    return Setup(backbone=backbone, mode=mode, **(usual | known))


def a_key(
    noise: str,
    rate: float,
    seed: int,
    method: str = "ce",
    backbone: str = "resnet50",
    mode: str = "features",
    **known: Any,
) -> RunKey:
    """Identity of a run."""
    return RunKey(noise, rate, seed, method, a_setup(backbone, mode, **known))


def a_run(key: RunKey, labels: str, choices: tuple[Choice, ...], failure: str | None = None) -> Run:
    """A run as stored in its block."""
    return Run(key.draw, key.method, labels, choices, failure)


def a_block(dataset: str, runs: Sequence[Run], setup: Setup | None = None, **known: Any) -> RunBlock:
    """A block of runs of one setup, the first of its generation."""
    usual: dict[str, Any] = {
        "selections": ("last",),
        "arrays": files.NOT_WRITTEN,
        "generation": 1,
        "recency": 1,
        "provenance": PROVENANCE,
    }
    return RunBlock(dataset=dataset, setup=setup or a_setup(), runs=tuple(runs), **(usual | known))


def evaluated(
    keys: Sequence[RunKey],
    rates: Sequence[float] | None = None,
    failures: Sequence[str | None] | None = None,
    recency: Sequence[int] | None = None,
    provenances: Sequence[Provenance] | None = None,
) -> dict[str, Any]:
    """An evaluation's fields ``setups``, ``provenances`` and ``runs`` for some runs."""
    setups = sorted({key.setup for key in keys})
    made_by = list(provenances or [PROVENANCE] * len(keys))
    every = [each for place, each in enumerate(made_by) if each not in made_by[:place]]
    runs = [
        EvaluatedRun(
            draw=key.draw,
            method=key.method,
            setup=setups.index(key.setup),
            provenance=every.index(made_by[row]),
            recency=recency[row] if recency else 1,
            realised_rate=rates[row] if rates else key.rate,
            failure=failures[row] if failures else None,
        )
        for row, key in enumerate(keys)
    ]
    return {"setups": tuple(setups), "provenances": tuple(every), "runs": tuple(runs)}


Arrays = dict[str, np.ndarray]


def train_by_hand(
    artifacts: Path,
    losses: Sequence[str] = ("ce",),
    setup: Setup | None = None,
    *,
    seed: int | None = None,
    selections: tuple[Selection, ...] = ("selected", "last", "oracle"),
    provenance: Provenance = PROVENANCE,
    change: Callable[[Sequence[RunKey], Arrays], None] = lambda _keys, _arrays: None,
) -> None:
    """Writes a block with a run for every draw and loss, as ``train`` would; their answers are random numbers.

    Args:
        artifacts: a directory in which photos are prepared and labels drawn.
        losses: of the runs.
        setup: of the runs; without one, an epoch on features of resnet50.
        seed: of the draws; all of them if None.
        selections: how epochs are chosen.
        provenance: of the block.
        change: changes the answers of the runs before they are written.
    """
    layout, random = Layout(artifacts), np.random.default_rng(seed or 0)
    dataset = datasets.need(layout)
    drawn = draws.index(layout, dataset.id)
    setup = setup or a_setup(epochs=1, image_size=dataset.request.image_size)
    own = [key for key in drawn if seed in (None, key.seed)]
    keys = [RunKey(*astuple(key), loss, setup) for key in own for loss in losses]
    (train, val, test), c = dataset.sizes, len(dataset.classes)
    shape = (len(keys), len(selections))
    answers: Arrays = {
        "test_probabilities": random.dirichlet(np.ones(c), (*shape, test)).astype(np.float32),
        "val_probabilities": random.dirichlet(np.ones(c), (*shape, val)).astype(np.float32),
        "train_predicted": random.integers(0, c, (*shape, train), dtype=np.uint8),
    }
    change(keys, answers)
    history = {name: random.random((len(keys), setup.epochs), dtype=np.float32) for name in runs.HISTORY_ARRAYS}
    choices = (Choice(0.001, 0.0, 1),) * len(selections)
    made = [a_run(key, drawn[key.draw].draw.labels, choices) for key in keys]
    block = a_block(dataset.id, made, setup, selections=selections, provenance=provenance)
    runs.write(layout, block, {**answers, **history})


def always_first(loss: str) -> Callable[[Sequence[RunKey], Arrays], None]:
    """A change of answers: the runs of a loss are sure of the first class, whatever they see."""

    def change(keys: Sequence[RunKey], answers: Arrays) -> None:
        sure = [row for row, key in enumerate(keys) if key.method == loss]
        answers["test_probabilities"][sure] = np.eye(answers["test_probabilities"].shape[-1])[0]
        answers["train_predicted"][sure] = 0

    return change


def finished_directory(root: Path) -> Path:
    """Writes a finished artifacts directory: 60 synthetic photos, symmetric noise, ce and mae.

    Photos, draws and the evaluation are real. Features and predictions are random numbers, so this takes only a
    second. Controls and symmetric noise at 0.2 and 0.4, of seeds 0 and 1.
    """
    prepare(root, PrepareSettings("synthetic:photos=60", train=40, val=10, test=10, image_size=16), Silent())
    corrupt(root, CorruptSettings(rates=(0.2, 0.4), seeds=2), Silent())
    for seed in range(2):
        train_by_hand(root, ("ce", "mae"), seed=seed)
    layout, random = Layout(root), np.random.default_rng(0)
    dataset = datasets.need(layout)
    ids = [photo.id for photo in datasets.index(layout, dataset)]
    key = FeaturesKey(16, "d", "resnet50", "w", "e", "cpu", "float32")
    feature_cache.write(layout, key, ids, random.random((len(ids), 3)).astype(np.float32))
    evaluate(root, Silent())
    return root
