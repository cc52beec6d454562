"""Runs, blocks and evaluations made up for tests, as the stages would write them."""

from collections.abc import Sequence
from typing import Any

from flowernoise.store import files
from flowernoise.store.records import Choice, EvaluatedRun, Provenance, Run, RunBlock, RunKey
from flowernoise.store.setups import Setup

PROVENANCE = Provenance({}, "tensorflow", "cpu")


def a_setup(backbone: str = "resnet50", mode: str = "features", **known: Any) -> Setup:
    """How runs are trained; five epochs of Adam unless told otherwise."""
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
    """A run as its block holds it."""
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
    """What an evaluation says of runs: its fields ``setups``, ``provenances`` and ``runs``."""
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
