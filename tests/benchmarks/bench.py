"""``make bench``: how fast it is, against what people would use instead, as ratios within one run.

Every figure is the median of several repeats after a warm-up; rivals take turns, so that a machine that slows down
slows all of them. Photos are drawn or real, features random: never zeros. Prints a table; ``--json FILE`` writes JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.util
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.console import Console
from rich.table import Table

TRAIN, OTHER, FEATURES, EPOCHS, BATCH = 600, 100, 1280, 5, 32
GENERATOR = np.random.default_rng(0)
X = np.abs(GENERATOR.normal(size=(TRAIN + OTHER, FEATURES))).astype("float32")
ORDER = np.stack([GENERATOR.permutation(TRAIN) for _ in range(EPOCHS)])


class Figures:
    """What was measured, in order."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []

    def add(self, what: str, value: float, unit: str, target: str = "", repeats: int = 1) -> None:
        self.rows.append({"what": what, "value": value, "unit": unit, "target": target, "repeats": repeats})
        print(f"{what}: {_shown(value)} {unit}  {target}", file=sys.stderr, flush=True)


def _shown(value: float) -> str:
    return f"{value:,.4g}" if abs(value - 1) > 1e-3 else f"{value:.6f}"


def seconds(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def in_turn(repeats: int, *works: Callable[[], object]) -> list[float]:
    """Median seconds of each, taken in turn after a warm-up."""
    for work in works:
        work()
    taken = [[seconds(work) for work in works] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def train_heads(count: int, num_classes: int, *, history: bool) -> None:
    from flowernoise.catalogue.losses import ce
    from flowernoise.training.heads import recommended_heads, train_heads
    from flowernoise.training.tasks import HeadsTask, LossGroup

    labels = np.random.default_rng(1).integers(0, num_classes, (min(count, 256), TRAIN))
    most = recommended_heads(FEATURES, num_classes)
    for start in range(0, count, most):
        heads = min(most, count - start)
        task = HeadsTask(
            train_features=X[:TRAIN],
            other_features=X[TRAIN:],
            labels=labels,
            labelling=np.arange(start, start + heads) % len(labels),
            num_classes=num_classes,
            losses=[LossGroup(ce, heads)],
            learning_rates=np.full(heads, 1e-3),
            l2=np.zeros(heads),
            order=ORDER,
            batch_size=BATCH,
        )
        for _ in train_heads(task, history=history):
            pass


def fit_with_keras() -> None:
    """One head, as people do it: build, compile, fit, predict."""
    import keras

    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(2)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X[:TRAIN], GENERATOR.integers(0, 2, TRAIN), epochs=EPOCHS, batch_size=BATCH, verbose=0)
    model.predict(X[TRAIN:], verbose=0)


def fit_with_torch() -> None:
    """One head in an eager PyTorch loop."""
    import torch

    features, labels = torch.from_numpy(X), torch.from_numpy(GENERATOR.integers(0, 2, TRAIN))
    model = torch.nn.Linear(FEATURES, 2)
    optimizer, loss = torch.optim.Adam(model.parameters(), 1e-3), torch.nn.CrossEntropyLoss()
    for order in ORDER:
        for rows in np.split(order, range(BATCH, TRAIN, BATCH)):
            optimizer.zero_grad()
            loss(model(features[rows]), labels[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        model(features[TRAIN:]).softmax(1)


def heads(figures: Figures, repeats: int) -> None:
    """Heads a second, against rivals and against what a matrix product reaches."""
    count = 1024
    works = [lambda: train_heads(count, 2, history=False), fit_with_keras]
    if torch := importlib.util.find_spec("torch"):
        works.append(fit_with_torch)
    ours, keras_one, *torch_one = in_turn(repeats, *works)
    figures.add("1,024 heads of two outputs, one seed", count / ours, "heads/s", ">= 3,000", repeats)
    figures.add("  times a loop of model.fit", keras_one * count / ours, "x", ">= 1,000", repeats)
    if torch:
        figures.add("  times an eager PyTorch loop", torch_one[0] * count / ours, "x", ">= 100", repeats)
    else:
        print("PyTorch is not installed (pip install '.[bench]'): not compared", file=sys.stderr)
    for number in (1, 10, 100, 1000, 10_000):
        [taken] = in_turn(3, lambda number=number: train_heads(number, 2, history=False))
        figures.add(f"  {number:,} heads", number / taken, "heads/s", repeats=3)
    arithmetic(figures, repeats)


def arithmetic(figures: Figures, repeats: int) -> None:
    """Five classes with history: the share of the rate that NumPy's products of the same shapes reach."""
    from flowernoise.training.heads import recommended_heads

    count = 4 * recommended_heads(FEATURES, 5)
    rows = 5 * count // 4
    kernel, batch = (GENERATOR.normal(size=shape).astype("float32") for shape in ((rows, FEATURES), (FEATURES, BATCH)))
    gradient, everybody = kernel @ batch, np.ascontiguousarray(X.T)
    steps = EPOCHS * -(-TRAIN // BATCH)

    def products() -> None:
        for _ in range(4):
            for _ in range(steps):
                kernel @ batch
                gradient @ batch.T
            for _ in range(EPOCHS):
                kernel @ everybody

    ours, bare = in_turn(repeats, lambda: train_heads(count, 5, history=True), products)
    figures.add("heads of five classes with history", count / ours, "heads/s", repeats=repeats)
    figures.add("  share of the rate of bare products", 100 * bare / ours, "%", ">= 60 %", repeats)
    flop = 4 * rows * FEATURES * 2 * (2 * steps * BATCH + EPOCHS * len(X))
    figures.add("  bare products (NumPy)", flop / bare / 1e9, "GFLOP/s", repeats=repeats)


def photos(folder: Path, count: int) -> list[bytes]:
    """Encoded photos: real ones where there are any, else drawn ones."""
    found = sorted(folder.rglob("*.jpg"))
    if len(found) >= count:
        return [path.read_bytes() for path in found[:: len(found) // count][:count]]
    from flowernoise.catalogue.sources import sources

    print("no real photos: drawn ones instead", file=sys.stderr)
    drawn = sources.parse(f"synthetic:photos={count}")()
    return [photo.read() for photo in itertools.islice(drawn.photos(), count)]


def extraction(figures: Figures, folder: Path, few: int, many: int) -> None:
    """Photos a second from encoded photos to features on disk, against Model.predict on decoded ones."""
    from flowernoise.catalogue.backbones import backbones
    from flowernoise.safe import images
    from flowernoise.store import files
    from flowernoise.training import engine, features, inference

    encoded = photos(folder, many)
    backbone = backbones.parse("resnet50:weights=none")()
    extractor = engine.extractor(engine.describe(), backbone.bfloat16)
    model = backbone.build(224)
    precision = inference.HINTS[extractor.precision]
    network = inference.Network(inference.convert(model), precision) if extractor.is_openvino else model
    decoded = np.stack([images.decode(data, 224) for data in encoded])
    kept: dict[str, np.ndarray] = {}

    def ours(count: int) -> None:
        kept["ours"] = features.extract(network, encoded[:count], 224, lambda _: None)
        with tempfile.TemporaryDirectory() as directory:
            files.write_arrays(Path(directory), "features", {"features": kept["ours"]})

    def predict(count: int) -> None:
        kept["keras"] = model.predict(decoded[:count], batch_size=32, verbose=0)

    times = {(work, count): [] for work in (ours, predict) for count in (few, many)}
    ours(few), predict(few)
    for _, (work, count) in itertools.product(range(2), times):
        times[work, count].append(seconds(lambda work=work, count=count: work(count)))
    rates = [
        (many - few) / (statistics.median(times[work, many]) - statistics.median(times[work, few]))
        for work in (ours, predict)
    ]
    figures.add(f"ResNet50 features, {extractor}: marginal rate", rates[0], "photos/s", repeats=2)
    figures.add("  Model.predict, float32, decoded photos", rates[1], "photos/s", repeats=2)
    figures.add("  times Model.predict", rates[0] / rates[1], "x", ">= 2.5", 2)
    figures.add("  least cosine to its features", inference.least_cosine(kept["ours"], kept["keras"]), "", ">= 0.9999")


def command(*arguments: object) -> float:
    """Seconds of a whole process."""
    line = [sys.executable, "-m", "flowernoise", *map(str, arguments)]
    return seconds(lambda: subprocess.run(line, check=True, capture_output=True))


def processes(figures: Figures, repeats: int) -> None:
    """Whole commands, start-up included."""
    with tempfile.TemporaryDirectory() as place:
        first, many = Path(place) / "first", Path(place) / "many"
        source = ("synthetic:photos=700", "--preset", "seed", "-q", "-a")
        experiment = ("run", *source, first, "--backbone", "resnet50:weights=none")
        command("prepare", "synthetic:photos=700", "-q", "-a", first, "--positive", "sunflowers", *SIZES)
        figures.add("first experiment, ResNet50, 11 models, cold", command(*experiment), "s", "<= 60")
        cached = []
        for _ in range(repeats):
            shutil.rmtree(first / "runs")
            (first / "evaluation.json").unlink()
            cached.append(command(*experiment))
        figures.add("  with cached features", statistics.median(cached), "s", "<= 10", repeats)
        losses = itertools.chain.from_iterable(("--loss", f"gce:q={q / 100}") for q in range(10, 100, 10))
        sweep = ("--rates", ",".join(f"{rate / 100}" for rate in range(1, 50)), "--seeds", 10, "--loss", "ce")
        small = ("--backbone", "efficientnet_lite0", *SIZES)
        command("run", "synthetic:photos=700", *small, *sweep, *losses, "-q", "-a", many)
        command("compare", many)
        shown = statistics.median(command("compare", many) for _ in range(repeats))
        figures.add("compare, 5,000 runs", shown, "s", "<= 1", repeats)
    figures.add("--help", statistics.median(command("--help") for _ in range(repeats)), "s", "<= 0.3", repeats)


SIZES = ("--train", 600, "--val", 0, "--test", 100)
PARTS = ("heads", "extraction", "finetuning", "processes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all without it")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--photos", type=Path, default=Path("../shared/flowers"), help="a folder of real photos")
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"unknown part {sorted(unknown)[0]!r}; there are {', '.join(PARTS)}")
    figures, parts = Figures(), given.parts or PARTS
    if "heads" in parts:
        heads(figures, given.repeats)
    if "extraction" in parts:
        extraction(figures, given.photos, 300, 1300)
    if "finetuning" in parts:
        from finetuning import finetuning  # beside this file

        finetuning(figures.add, given.photos)
    if "processes" in parts:
        processes(figures, given.repeats)
    machine = f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}, {_processor()}"
    table = Table("figure", "median", "unit", "target", "repeats", title=f"{machine} · {datetime.date.today()}")
    for row in figures.rows:
        table.add_row(str(row["what"]), _shown(row["value"]), *(str(row[key]) for key in ("unit", "target", "repeats")))
    Console().print(table)
    if given.json:
        given.json.write_text(json.dumps({"schema": 1, "machine": machine, "figures": figures.rows}, indent=1) + "\n")


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return "unknown processor"


if __name__ == "__main__":
    main()
