"""Made-up runs, blocks, evaluations and whole directories for tests, in the form that the stages write."""

from collections.abc import Sequence
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


def finished_directory(root: Path) -> Path:
    """Writes a finished artifacts directory: 60 synthetic photos, symmetric noise, ce and mae.

    Photos, draws and the evaluation are real. Features and predictions are random numbers, so this takes only a
    second. Controls and symmetric noise at 0.2 and 0.4, of seeds 0 and 1.
    """
    prepare(root, PrepareSettings("synthetic:photos=60", train=40, val=10, test=10, image_size=16), Silent())
    corrupt(root, CorruptSettings(rates=(0.2, 0.4), seeds=2), Silent())
    layout, random = Layout(root), np.random.default_rng(0)
    dataset = datasets.need(layout)
    train, val, test = dataset.sizes
    drawn = draws.index(layout, dataset.id)
    selections: tuple[Selection, ...] = ("selected", "last", "oracle")
    setup = a_setup(epochs=1, image_size=16)
    choices = (Choice(0.001, 0.0, 1),) * len(selections)
    for seed in (0, 1):
        keys = [RunKey(*astuple(key), loss, setup) for key in drawn if key.seed == seed for loss in ("ce", "mae")]
        shape, c = (len(keys), len(selections)), len(dataset.classes)
        arrays = {
            "test_probabilities": random.dirichlet(np.ones(c), (*shape, test)).astype(np.float32),
            "val_probabilities": random.dirichlet(np.ones(c), (*shape, val)).astype(np.float32),
            "train_predicted": random.integers(0, c, (*shape, train), dtype=np.uint8),
            **{name: random.random((len(keys), 1)) for name in runs.HISTORY_ARRAYS},
        }
        made = [a_run(key, drawn[key.draw].draw.labels, choices) for key in keys]
        runs.write(layout, a_block(dataset.id, made, setup, selections=selections), arrays)
    of_photos = feature_cache.digest_of_photos([photo.id for photo in datasets.index(layout, dataset)])
    key = FeaturesKey(of_photos, 16, "d", "resnet50", "w", "e", "cpu", "float32")
    extraction = feature_cache.Extraction(layout, key, train + val + test)
    extraction.finish((extraction.write(0, random.random((train + val + test, 3)).astype(np.float32)),))
    evaluate(root, Silent())
    return root
