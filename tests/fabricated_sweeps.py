"""Made-up sweeps of any size: artifacts directories in the stages' own form, without photos or training."""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flowernoise.store import datasets, evaluations, files, runs
from flowernoise.store.layout import Layout
from flowernoise.store.records import (
    CONTROL,
    Choice,
    Evaluation,
    RunBlock,
    RunKey,
    Selection,
)
from flowernoise.store.setups import Mode
from tests.fabricated import a_block, a_dataset, a_run, a_setup, evaluated

SELECTIONS: tuple[Selection, ...] = ("selected", "last", "oracle")
A_BLOCK = 500  # runs
TRAIN, VAL = 60, 10  # photos of each class
EPOCHS = 5


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Every loss with every noise and rate, and without noise, for every seed; classes have equally many test photos.

    Losses later in the list are a little better, and more noise is worse. ``probabilities`` says whether the blocks of
    runs hold answers to the test photos, which takes room.
    """

    noises: tuple[str, ...] = ("symmetric",)
    rates: tuple[float, ...] = (0.2, 0.4)
    losses: tuple[str, ...] = ("ce", "mae")
    seeds: int = 5
    classes: tuple[str, ...] = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    test_photos: int = 100
    probabilities: bool = False
    mode: Mode = "features"
    identity: str = "photos"

    def keys(self) -> list[RunKey]:
        """The runs, in the order of an evaluation."""
        setup = a_setup(mode=self.mode, epochs=EPOCHS)
        conditions = [(CONTROL, 0.0), *itertools.product(self.noises, self.rates)]
        return sorted(
            RunKey(noise, rate, seed, loss, setup)
            for (noise, rate), seed, loss in itertools.product(conditions, range(self.seeds), self.losses)
        )


def write_sweep(root: Path, sweep: Sweep) -> Path:
    """Writes data set, blocks of runs and evaluation of a sweep through the store's own writers."""
    layout, keys, stream = Layout(root), sweep.keys(), np.random.default_rng(0)
    share = sweep.test_photos // len(sweep.classes)
    counts = ((TRAIN,) * len(sweep.classes), (VAL,) * len(sweep.classes), (share,) * len(sweep.classes))
    datasets.write(layout, a_dataset(sweep.identity, sweep.classes, counts))
    labels = np.repeat(np.arange(len(sweep.classes), dtype=np.uint8), share)
    skill = np.array([0.93 - 0.5 * key.rate**2 + 0.003 * sweep.losses.index(key.method) for key in keys])
    difficulty = stream.normal(size=len(labels)) * 0.05
    right = stream.random((len(keys), 1, len(labels)), dtype=np.float32) < (skill[:, None, None] + difficulty)
    predicted = np.where(right, labels, (labels + 1) % len(sweep.classes)).astype(np.uint8)
    for block, rows in enumerate(np.array_split(np.arange(len(keys)), -(-len(keys) // A_BLOCK))):
        runs.write(layout, *_block(sweep, [keys[row] for row in rows], predicted[rows], block))
    shape = (len(keys), len(SELECTIONS))
    arrays = {
        "predicted": np.repeat(predicted, len(SELECTIONS), axis=1),
        "memorised": np.full(shape, 0.25),
        "recovered": np.full(shape, 0.7),
        "collapsed": np.zeros(shape, dtype=bool),
        "available": np.ones(shape, dtype=bool),
        "test_labels": labels,
    }
    evaluation = Evaluation(
        dataset=sweep.identity,
        source="synthetic",
        classes=sweep.classes,
        counts=counts,
        inputs=evaluations.inputs_of(runs.blocks(layout, sweep.identity)),
        selections=SELECTIONS,
        **evaluated(keys),
        arrays=files.NOT_WRITTEN,
    )
    evaluations.write(layout, evaluation, {name: arrays[name] for name in evaluations.ARRAYS})
    return root


def _block(
    sweep: Sweep, keys: list[RunKey], predicted: np.ndarray, number: int
) -> tuple[RunBlock, dict[str, np.ndarray]]:
    arrays = {"test_probabilities": np.full(1, number)}
    if sweep.probabilities:
        certain = np.eye(len(sweep.classes), dtype=np.float32)[predicted]
        answers = np.repeat(0.8 * certain + 0.2 / len(sweep.classes), len(SELECTIONS), axis=1)
        classes, shape = len(sweep.classes), (len(keys), len(SELECTIONS))
        arrays = {
            "test_probabilities": answers,
            "val_probabilities": np.full((*shape, VAL * classes, classes), 1 / classes, dtype=np.float32),
            "train_predicted": np.zeros((*shape, TRAIN * classes), dtype=np.uint8),
            **{name: np.zeros((len(keys), EPOCHS), dtype=np.float32) for name in runs.HISTORY_ARRAYS},
        }
    choices = (Choice(0.001, 0.0, EPOCHS),) * len(SELECTIONS)
    made = [a_run(key, f"{number:064x}", choices) for key in keys]
    return a_block(sweep.identity, made, keys[0].setup, selections=SELECTIONS), arrays


FIVE_THOUSAND = Sweep(
    rates=tuple(k / 50 for k in range(1, 50)),
    losses=("ce", "mae", "gce", "sce", "focal"),
    seeds=20,
    test_photos=500,
)
HUNDRED_THOUSAND = Sweep(
    noises=("symmetric", "pairflip", "asymmetric", "instance"),
    rates=tuple(k / 100 for k in range(1, 52)),
    losses=("ce", *(f"gce:q={k / 20:g}" for k in range(1, 20))),
    seeds=25,
    classes=("not sunflowers", "sunflowers"),
    test_photos=100,
)


@pytest.fixture
def sweep() -> Callable[..., Path]:
    """Return a function that writes a sweep, given a directory and the fields that differ from the defaults."""
    return lambda root, **settings: write_sweep(root, Sweep(**settings))


@pytest.fixture
def five_thousand_runs(tmp_path: Path) -> Path:
    """Return an artifacts directory of 5,000 runs: 5 classes, 500 test photos, 50 rates, 5 losses, 20 seeds."""
    return write_sweep(tmp_path / "five thousand", FIVE_THOUSAND)


@pytest.fixture
def hundred_thousand_runs(tmp_path: Path) -> Path:
    """Return an artifacts directory of 102,500 runs: 2 classes, 100 test photos, 205 rates, 20 losses, 25 seeds."""
    return write_sweep(tmp_path / "hundred thousand", HUNDRED_THOUSAND)
