"""How the epoch and grid point of a run should be chosen: rules compared on the same trainings.

    flowernoise prepare ../shared/flowers --train 2600 --val 457 --test 500 --seed 0 -a photos0
    flowernoise prepare ../shared/flowers --train 2600 --val 457 --test 500 --seed 1 -a photos1
    flowernoise prepare synthetic -a drawn
    for directory in photos0 photos1 drawn; do flowernoise corrupt --seeds 10 -a $directory; done
    python tests/benchmarks/selection.py photos0 photos1 drawn --keep histories
    python tests/benchmarks/selection.py drawn --losses ce,mae --seeds 5 --control --repeats 10 --epochs 15  # the demo

Each directory's heads are trained once, and ``--repeats`` times more with every feature multiplied by
1 + 1e-6 · N(0, 1) (``--perturbation``). Every rule then chooses from the same histories, and from their first epochs:
without a schedule, those are the histories of a shorter training. The grid is the default one and a learning rate of
1e-2; lines "to 0.003" choose from the default one alone. Several directories have a table each and one together.
Columns, in points of clean test accuracy over all cells (noise, rate, loss; the control only with ``--control``):

- gain over the first rule of the table ± standard error over seeds, over all rates and at the highest;
- SD over seeds within a cell;
- how far a perturbation moves a run (root mean square) and the mean of a cell (largest over cells and perturbations).

``--keep`` keeps the histories, so that another rule is tried in seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.console import Console
from rich.table import Table

from flowernoise.progress import Silent
from flowernoise.steps import features
from flowernoise.steps.settings import TrainSettings
from flowernoise.steps.train import plan
from flowernoise.steps.train.plan import Plan
from flowernoise.store.draws import read
from flowernoise.store.layout import Layout
from flowernoise.store.photos import labels_of
from flowernoise.store.records import CONTROL, SPLITS, DrawKey
from flowernoise.training.heads import recommended_heads, train_heads
from flowernoise.training.selection import WEIGHTS, score
from flowernoise.training.tasks import HeadsTask

LOSSES = "ce,mae,gce,rce,sce,nce_mae"
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
NAMES = ("val_accuracy", "val_loss", "test_accuracy")


@dataclasses.dataclass(frozen=True)
class Histories:
    """What heads reached after each epoch; arrays [noise and rate, seed, loss, grid point, epoch].

    ``rates`` are the learning rates of the grid points.
    """

    rates: np.ndarray
    val_accuracy: np.ndarray
    val_loss: np.ndarray
    test_accuracy: np.ndarray

    def first(self, epochs: int) -> Histories:
        cut = {name: getattr(self, name)[..., :epochs] for name in NAMES}
        return dataclasses.replace(self, **cut)

    def up_to(self, rate: float) -> Histories:
        kept = self.rates <= rate
        cut = {name: getattr(self, name)[..., kept, :] for name in NAMES}
        return dataclasses.replace(self, rates=self.rates[kept], **cut)


def means(values: np.ndarray, width: int, *, centred: bool = True) -> np.ndarray:
    """Mean over a window of epochs, cut at the ends."""
    epochs = values.shape[-1]
    ahead = width // 2 if centred else 0
    windows = [slice(max(0, epoch - (width - 1 - ahead)), epoch + ahead + 1) for epoch in range(epochs)]
    return np.stack([values[..., window].mean(axis=-1) for window in windows], axis=-1).round(12)


def shrinking(values: np.ndarray, width: int) -> np.ndarray:
    """Mean over a window that keeps its epoch in the middle: near the ends it is narrower."""
    epochs, half = values.shape[-1], width // 2
    reach = [min(half, epoch, epochs - 1 - epoch) for epoch in range(epochs)]
    return np.stack([values[..., e - r : e + r + 1].mean(axis=-1) for e, r in enumerate(reach)], axis=-1).round(12)


def weighted(values: np.ndarray, weights: Sequence[int]) -> np.ndarray:
    """Weighted mean over the epochs around each, cut at the ends."""
    reach, epochs = len(weights) // 2, np.arange(values.shape[-1])
    offsets = epochs[:, None] - epochs  # [epoch that counts, epoch that is judged]
    matrix = np.where(abs(offsets) <= reach, np.take(weights, offsets + reach, mode="clip"), 0)
    return (values @ (matrix / matrix.sum(axis=0))).round(12)


Keys = Sequence[np.ndarray]  # what is maximised, the first key first
RULES: dict[str, Callable[[Histories], Keys]] = {
    "best epoch": lambda h: (h.val_accuracy, -h.val_loss),
    "ours": lambda h: (weighted(h.val_accuracy, WEIGHTS), -h.val_loss),
    "weights 1 2 3 2 1": lambda h: (weighted(h.val_accuracy, (1, 2, 3, 2, 1)), -h.val_loss),
    "weights 1 2 3 4 3 2 1": lambda h: (weighted(h.val_accuracy, (1, 2, 3, 4, 3, 2, 1)), -h.val_loss),
    "mean3": lambda h: (means(h.val_accuracy, 3), -h.val_loss),
    "mean5": lambda h: (means(h.val_accuracy, 5), -h.val_loss),
    "mean7": lambda h: (means(h.val_accuracy, 7), -h.val_loss),
    "mean9": lambda h: (means(h.val_accuracy, 9), -h.val_loss),
    "mean5, mean loss": lambda h: (means(h.val_accuracy, 5), -means(h.val_loss, 5)),
    "mean5, one accuracy": lambda h: (means(h.val_accuracy, 5), h.val_accuracy, -h.val_loss),
    "mean5 that shrinks": lambda h: (shrinking(h.val_accuracy, 5), -h.val_loss),
    "mean5 of the past": lambda h: (means(h.val_accuracy, 5, centred=False), -h.val_loss),
    "mean3 of the past": lambda h: (means(h.val_accuracy, 3, centred=False), -h.val_loss),
    "loss": lambda h: (-h.val_loss,),
    "mean5 of the loss": lambda h: (-means(h.val_loss, 5),),
    "oracle": lambda h: (h.test_accuracy,),
}


def chosen(histories: Histories, keys: Keys) -> np.ndarray:
    """Clean test accuracy of what a rule chooses; further ties go to the earlier epoch, then to grid order."""
    by_epoch = [np.swapaxes(key, -1, -2).reshape(*key.shape[:-2], -1) for key in (*keys, histories.test_accuracy)]
    best = np.lexsort([-key for key in by_epoch[-2::-1]], axis=-1)[..., :1]
    return np.take_along_axis(by_epoch[-1], best, axis=-1)[..., 0]


def histories_of(work: Plan, draws: Sequence[DrawKey], photos: np.ndarray) -> dict[str, np.ndarray]:
    """Histories of one seed's draws with all losses, arrays [draw, loss, grid point, epoch]."""
    grid, losses, epochs = work.settings.grid, [method.loss for method in work.methods.values()], work.settings.epochs
    split = np.array([photo.split for photo in work.index])
    train, val, test = (photos[split == name] for name in SPLITS)
    test_labels = labels_of(work.index, "test")
    labels = read(work.layout, work.dataset, [work.drawn[draw] for draw in draws])
    task = HeadsTask(
        train_features=train,
        other_features=np.concatenate([val, test]),
        labels=np.stack([labels[draw].train_labels for draw in draws]),
        labelling=np.tile(np.repeat(np.arange(len(draws)), len(grid)), len(losses)),
        num_classes=work.num_classes,
        losses=[plan.loss_group(loss, len(draws) * len(grid)) for loss in losses],
        learning_rates=np.array([rate for rate, _ in grid] * len(draws) * len(losses)),
        l2=np.array([l2 for _, l2 in grid] * len(draws) * len(losses)),
        order=plan.batch_order(draws[0].seed, epochs, len(train)),
        batch_size=work.settings.batch_size,
    )
    val_labels = np.stack([labels[draw].val_labels for draw in draws])[task.labelling]
    scores = []
    for outputs in train_heads(task, history=True):
        on_val = score(outputs.probabilities[:, : len(val)], val_labels)
        on_test = score(outputs.probabilities[:, len(val) :], np.tile(test_labels, (task.num_heads, 1)))
        scores.append([*on_val, on_test[0]])
    by_head = np.moveaxis(np.array(scores), 0, -1)  # [name, head, epoch]
    shape = (len(losses), len(draws), len(grid), epochs)
    return {name: np.swapaxes(one.reshape(shape), 0, 1) for name, one in zip(NAMES, by_head, strict=True)}


def trained(work: Plan, seeds: int, repeat: int, *, perturbation: float, control: bool) -> Histories:
    """Histories of all draws, on features perturbed where ``repeat`` is not 0."""
    photos = np.asarray(features.cached(work.feature_work, Silent()))
    if repeat:
        noise = np.random.default_rng(repeat).normal(size=photos.shape)
        photos = (photos * (1 + perturbation * noise)).astype(np.float32)
    noises = sorted({(draw.noise, draw.rate) for draw in work.drawn if control or draw.noise != CONTROL})
    runs_a_block = max(1, 2 * recommended_heads(photos.shape[1], work.num_classes) // len(work.settings.grid))
    size = max(1, runs_a_block // len(work.methods))
    by_seed = []
    for seed in range(seeds):
        draws = [DrawKey(noise, rate, seed) for noise, rate in noises]
        parts = [histories_of(work, draws[start : start + size], photos) for start in range(0, len(draws), size)]
        by_seed.append({name: np.concatenate([part[name] for part in parts]) for name in NAMES})
    arrays = {name: np.stack([one[name] for one in by_seed], axis=1) for name in NAMES}
    return Histories(np.array([rate for rate, _ in work.settings.grid]), **arrays)


def kept(path: Path | None, make: Callable[[], Histories]) -> Histories:
    """Histories from a file, or made and written there."""
    if path is not None and path.exists():
        with np.load(path) as arrays:
            return Histories(**arrays)
    made = make()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **dataclasses.asdict(made))
    return made


def row(name: str, first: list[np.ndarray], now: list[list[np.ndarray]]) -> list[str]:
    """A rule's line of one or several directories.

    Args:
        first: of each directory the accuracies [noise and rate, seed, loss] under the first rule.
        now: the same under this one, a list without and with perturbations for each directory.
    """
    gains = np.concatenate([plain - before for before, (plain, *_) in zip(first, now, strict=True)], axis=1)

    def gain(cells: slice) -> str:
        of_seed = gains[cells].mean(axis=(0, 2)) * 100
        return f"{of_seed.mean():+.2f} ± {of_seed.std(ddof=1) / len(of_seed) ** 0.5:.2f}"

    accuracy = 100 * np.mean([plain.mean() for plain, *_ in now])
    spread = 100 * np.sqrt(np.mean([plain.var(axis=1, ddof=1).mean() for plain, *_ in now]))
    moved = 100 * np.array([other - plain for plain, *others in now for other in others])
    of_runs = np.sqrt(np.square(moved).mean()) if len(moved) else np.nan
    of_cells = np.abs(moved.mean(axis=2)).max() if len(moved) else np.nan
    moves = f"{of_runs:.2f}", f"{of_cells:.2f}"
    return [name, f"{accuracy:.2f}", gain(slice(None)), gain(slice(-1, None)), f"{spread:.2f}", *moves]


def show(title: str, histories: list[list[Histories]], rules: Sequence[str]) -> None:
    """A table of one or several directories, whose histories without and with perturbations these are."""
    columns = "rule", "accuracy", "gain", "at the highest rate", "SD over seeds", "run moved", "cell moved"
    table = Table(*columns, title=title)
    first = [chosen(plain, RULES[rules[0]](plain)) for plain, *_ in histories]
    for name, fastest in itertools.product(rules, (RATES[-1], RATES[-2])):
        slower = [[each.up_to(fastest) for each in of_directory] for of_directory in histories]
        now = [[chosen(one, RULES[name](one)) for one in of_directory] for of_directory in slower]
        table.add_row(*row(f"{name}, to {fastest:g}", first, now))
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directories", nargs="+", type=Path, help="artifacts directories with draws")
    parser.add_argument("--epochs", default="15,5,3,2,1", help="lengths of training; the longest is trained")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--losses", default=LOSSES)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--control", action="store_true", help="the control counts, too")
    parser.add_argument("--repeats", type=int, default=1, help="trainings on perturbed features")
    parser.add_argument("--perturbation", type=float, default=1e-6, help="of the features, relative")
    parser.add_argument("--rules", default=";".join(RULES), help="of the table, between semicolons")
    parser.add_argument("--keep", type=Path, help="where histories are kept")
    given = parser.parse_args()
    lengths = [int(length) for length in given.epochs.split(",")]
    settings = TrainSettings(
        losses=tuple(given.losses.split(",")),
        backbone="efficientnet_lite0",
        epochs=max(lengths),
        batch_size=given.batch_size,
        learning_rates=RATES,
    )
    histories: dict[str, list[Histories]] = {}
    for directory in given.directories:
        work = plan.make(Layout(directory), settings)
        histories[directory.name] = []
        for repeat in range(given.repeats + 1):
            how = {"perturbation": given.perturbation, "control": given.control}
            make = functools.partial(trained, work, given.seeds, repeat, **how)
            path = given.keep and given.keep / f"{directory.name}-{repeat}.npz"
            histories[directory.name].append(kept(path, make))
    together = {", ".join(histories): list(histories.values())} if len(histories) > 1 else {}
    for (names, some), length in itertools.product(
        ({name: [one] for name, one in histories.items()} | together).items(), lengths
    ):
        cut = [[one.first(length) for one in of_directory] for of_directory in some]
        show(f"{names} · {length} epochs · {given.seeds} seeds · {given.losses}", cut, given.rules.split(";"))


if __name__ == "__main__":
    main()
