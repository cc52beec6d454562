"""What each command is asked for: its options, ranges, defaults and help. Nothing here takes long to import."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from flowernoise.errors import BadRequestError
from flowernoise.options import Option, Settings
from flowernoise.registry import Between, Registry, format_value
from flowernoise.safe import paths
from flowernoise.show import formats

DEFAULT_RATES = (0.2, 0.4, 0.6)
MAX_DRAWS = 1_000_000
LEARNING_RATES = (3e-4, 1e-3, 3e-3)  # faster ones make losses like mae chaotic: tests/benchmarks/selection.py
L2 = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
FIXED_LEARNING_RATE, FIXED_L2 = 1e-3, 0.0
MAX_POINTS = 1000  # of a tuning grid

_Photos = Between(1, 100_000_000)
_SinglePrecision = Between(1e-37, 3e38)  # beyond, it has 0 or infinity


def _registry(module: str, name: str) -> Callable[[], Registry]:
    """Finds a registry once it is needed: importing those takes a tenth of a second."""

    def find() -> Registry:
        registry: Registry = getattr(importlib.import_module(f"flowernoise.{module}"), name)
        return registry

    return find


def _check_source(text: str) -> None:
    from flowernoise.catalogue.sources import parse_source

    parse_source(text)


def _check_where(text: str) -> None:
    from flowernoise.analysis import where

    where.parse(text)


def _check_names(text: str) -> None:
    from flowernoise.analysis.comparison.question import items_of

    if not items_of(text):
        raise ValueError("names nothing; leave it out to show all")


def _check_file(path: Path) -> None:
    if problem := paths.why_no_file(path):
        raise ValueError(f"cannot be written: {problem}")


def _check_model_file(path: Path) -> None:
    if path.suffix != ".keras":
        raise ValueError("must end in .keras, or Keras does not load it")
    _check_file(path)


def _check_directory(path: Path) -> None:
    if problem := paths.why_no_directory(path):
        raise ValueError(f"cannot be written to: {problem}")


def _check_place(path: Path) -> None:
    """A directory, or a file."""
    if paths.why_no_file(path):
        _check_directory(path)


def _grid_or_fixed(grid: tuple[float, ...], fixed: float) -> str:
    """The help's words for the default of a hyper-parameter."""
    return f"{','.join(map(format_value, grid))}; {format_value(fixed)} without val, or with finetune"


# Options of several commands

Metric = Annotated[str, Option("Metric: {names}.", registry=_registry("catalogue.metrics", "metrics"))]
Select = Annotated[
    Literal["selected", "last", "oracle"] | None,
    Option(
        "Epoch and hyper-parameters chosen on noisy val, the last epoch, or the best on test (unattainable).",
        default="selected; last without val",
    ),
]
Where = Annotated[
    tuple[str, ...],
    Option(
        "Only runs for which all of these hold; repeat the option to accept alternatives. Keys: noise, rate, loss, "
        "backbone, mode, extractor, precision, image_size, epochs, batch_size, optimizer, learning_rate and l2 (a "
        "grid as 0.001+0.01).",
        metavar="KEY=VALUE[,…]",
        default="the settings trained last",
        check=_check_where,
    ),
]


# The commands


@dataclasses.dataclass(frozen=True)
class PrepareSettings(Settings):
    """What ``prepare`` is asked for; sizes that are all None mean 70 / 15 / 15 %."""

    source: Annotated[
        str,
        Option(
            "tf_flowers, tfds:NAME, synthetic, or a directory with a folder of photos for each class.",
            metavar="[SOURCE]",
            argument=True,
            check=_check_source,
        ),
    ] = "tf_flowers"
    positive: Annotated[
        str | None, Option("Make the task binary: this class or not.", metavar="CLASS", default="all classes")
    ] = None
    train: Annotated[int | None, _Photos, Option("Training photos.", default="70 %")] = None
    val: Annotated[
        int | None,
        Between(0, _Photos.high),
        Option(
            "Validation photos, their labels as noisy as those for training; 0 if only the others are given.",
            default="15 %",
        ),
    ] = None
    test: Annotated[int | None, _Photos, Option("Test photos; noise leaves their labels alone.", default="15 %")] = None
    image_size: Annotated[int, Between(1, 4096), Option("Side of the squares photos become.", metavar="PIXELS")] = 224
    seed: Annotated[int, Between(0, 2**63 - 1), Option("Seed of the split.")] = 0
    data_dir: Annotated[
        Path | None, Option("Where TensorFlow Datasets keeps prepared sets.", metavar="DIR", default="its own")
    ] = None

    def check_together(self) -> None:
        """Refuses sizes of which some are missing."""
        sizes = {"--train": self.train, "--val": self.val, "--test": self.test}
        given = " ".join(f"{option} {size}" for option, size in sizes.items() if size is not None)
        if given and None in (self.train, self.test):
            raise BadRequestError(f"{given}: --train and --test must both be given; --val alone may be left out")


@dataclasses.dataclass(frozen=True)
class CorruptSettings(Settings):
    """Which draws are asked for; the control (rate 0) of each seed always is.

    ``import_`` is a CSV file with labels of one's own, a draw of ``observed``; ``export`` a CSV file to write the noisy
    draws to, or the controls where those are all that is asked for.
    """

    noise: Annotated[
        tuple[str, ...],
        Option("Noise model: {names}; may be repeated.", registry=_registry("catalogue.noise", "noise_models")),
    ] = ("symmetric",)
    rates: Annotated[
        tuple[float, ...],
        Between(0, 1),
        Option("Nominal noise rates, 0 to 1; not for matrix and observed."),
    ] = DEFAULT_RATES
    seeds: Annotated[int, Between(1), Option("How many seeds, counted from 0.")] = 3
    import_: Annotated[
        Path | None,
        Option(
            "Noisy labels of your own: a CSV file with path (or id) and label. Alone, no other noise is drawn.",
        ),
    ] = None
    partial: Annotated[bool, Option("The file of --import has some photos; the others keep their label.")] = False
    export: Annotated[Path | None, Option("Write the noisy draws' labels there, as a CSV file.", check=_check_file)] = (
        None
    )

    def check_together(self) -> None:
        """Refuses more draws than are taken, and --partial without a file."""
        if self.partial and self.import_ is None:
            raise BadRequestError("--partial is for the file of --import; give that, too")
        draws = self.seeds * max(1, len(self.rates)) * max(1, len(self.noise))
        if draws > MAX_DRAWS:
            raise BadRequestError(
                f"--seeds {self.seeds}: with each rate and noise model that is {draws:,} draws, where "
                f"{MAX_DRAWS:,} are the most; ask for fewer"
            )


@dataclasses.dataclass(frozen=True)
class TrainSettings(Settings):
    """What ``train`` is asked for.

    ``learning_rates`` and ``l2`` None mean the tuning grid where heads can be chosen between on a validation split, and
    one fixed value where not. ``control_losses`` restricts which of the losses the control is trained with; None for
    all. ``memory`` is the budget in GiB of the heads that are trained together; results do not depend on it.
    """

    losses: Annotated[
        tuple[str, ...],
        Option(
            "Loss: {names}, with parameters as in gce:q=0.5; may be repeated.",
            names=("--loss",),
            registry=_registry("catalogue.losses", "losses"),
        ),
    ] = ("ce", "mae")
    backbone: Annotated[
        str,
        Option(
            "Backbone: {names}; resnet50:weights=imagenet, none or a weight file's path.",
            registry=_registry("catalogue.backbones", "backbones"),
        ),
    ] = "resnet50"
    mode: Annotated[
        Literal["features", "finetune"], Option("Train heads on cached features, or the whole network.")
    ] = "features"
    epochs: Annotated[int, Between(1, 10_000), Option("Epochs.")] = 5
    batch_size: Annotated[int, Between(1, 1_000_000), Option("Photos in a batch.")] = 32
    learning_rates: Annotated[
        tuple[float, ...] | None,
        _SinglePrecision,
        Option(
            "Learning rates; from several, one is chosen on val.",
            names=("--learning-rate",),
            default=_grid_or_fixed(LEARNING_RATES, FIXED_LEARNING_RATE),
        ),
    ] = None
    l2: Annotated[
        tuple[float, ...] | None,
        Between(0, _SinglePrecision.high),
        Option("L2 on the head's kernel; several likewise.", default=_grid_or_fixed(L2, FIXED_L2)),
    ] = None
    optimizer: Annotated[Literal["adam", "sgd"], Option("Optimiser.")] = "adam"
    control_losses: tuple[str, ...] | None = None
    memory: Annotated[
        float,
        Between(0, 1_000_000, open="low"),
        Option(
            "Memory for the heads trained together, beside features and libraries; results do not depend on it.",
            metavar="GIB",
        ),
    ] = 1.0

    def resolved(self, *, validated: bool) -> TrainSettings:
        """The same with learning rates and L2 filled in.

        Args:
            validated: whether there is a validation split.
        """
        tuned = validated and self.mode == "features"
        rates, strengths = (LEARNING_RATES, L2) if tuned else ((FIXED_LEARNING_RATE,), (FIXED_L2,))
        return dataclasses.replace(self, learning_rates=self.learning_rates or rates, l2=self.l2 or strengths)

    @property
    def grid(self) -> list[tuple[float, float]]:
        """Learning rate and L2 of each point of the tuning grid, in ascending order: that in which they are asked for
        makes no difference.
        """
        rates, strengths = self.learning_rates or (FIXED_LEARNING_RATE,), self.l2 or (FIXED_L2,)
        return [(rate, l2) for rate in sorted(set(rates)) for l2 in sorted(set(strengths))]

    def check_together(self) -> None:
        """Refuses grids that are empty, too large, or for fine-tuning."""
        if () in (self.learning_rates, self.l2, self.losses):
            raise BadRequestError("--learning-rate, --l2 and --loss each need at least one value")
        if len(self.grid) > MAX_POINTS:
            raise BadRequestError(
                f"--learning-rate and --l2 make {len(self.grid):,} pairs to choose between; at most {MAX_POINTS:,}"
            )
        if self.mode == "finetune" and len(self.grid) > 1:
            raise BadRequestError(
                "--mode finetune takes one --learning-rate and one --l2; lists are for --mode features"
            )


@dataclasses.dataclass(frozen=True)
class CompareSettings(Settings):
    """What is compared, and how.

    Args:
        select: None means ``selected`` where there is a validation split to select on, ``last`` where there is none.
        rows: noise models and rates to show, the former in that order; None means all. The control is always shown.
        columns: losses, backbones and modes to show, the losses in that order; None means all.
        where: what to show and test, as ``key=value,key=value``; empty means what was trained last.
        delta: points of accuracy that a tolerated rate may cost.
    """

    metric: Metric = "accuracy"
    select: Select = None
    baseline: Annotated[str, Option("The loss to compare with.", registry=_registry("catalogue.losses", "losses"))] = (
        "ce"
    )
    sort_by: Annotated[
        Literal["noise", "rate", "loss", "mean", "drop"],
        Option(
            "Order: noise, rate, loss, mean or drop; the last two order the table's losses, best first.",
            metavar="KEY",
        ),
    ] = "noise"
    rows: Annotated[
        str | None,
        Option(
            "Noise models and rates to show, in this order; the control is always shown.",
            metavar="NAME[,NAME…]",
            default="all",
            check=_check_names,
        ),
    ] = None
    columns: Annotated[
        str | None,
        Option(
            "Losses to show, in this order, and backbones and modes.",
            metavar="NAME[,NAME…]",
            default="all",
            check=_check_names,
        ),
    ] = None
    where: Where = ()
    delta: Annotated[
        float,
        Between(0, 100, open="high"),
        Option("Accuracy points below the clean baseline that still count as tolerated.", metavar="POINTS"),
    ] = 2.0


@dataclasses.dataclass(frozen=True)
class GateSettings(Settings):
    """What every cell that ``where`` picks must reach, in the metric's own unit; None asks for nothing."""

    fail_under: Annotated[
        float | None,
        Option("Exit 4 if the mean of a cell that --where picks is worse than this, as in 0.8."),
    ] = None
    fail_under_low: Annotated[
        float | None,
        Option("The same for the worse end of the 95 % interval."),
    ] = None


@dataclasses.dataclass(frozen=True)
class TableSettings(Settings):
    """How a comparison is shown, and where."""

    format: Annotated[
        str | None,
        Option("Form of the output.", default="that of the suffix of --output, else table", choices=formats.DOCUMENTS),
    ] = None
    output: Annotated[Path | None, Option("Write there instead of to stdout.", check=_check_file)] = None


@dataclasses.dataclass(frozen=True)
class PlotSettings(Settings):
    """Which pictures, of what, and where to.

    ``kind`` None means all that the data allow; ``noise`` and ``losses`` empty mean all that there are; ``rate`` None
    the highest and ``seed`` None the lowest. ``output`` is a directory (None means ``plots/``), or a file with the
    suffix of a format.
    """

    kind: Annotated[
        str | None,
        Option(
            "{names}; `flowernoise list pictures` tells what each shows.",
            metavar="[KIND]",
            default="all that the data allow",
            argument=True,
            registry=_registry("show.plot.kinds", "pictures"),
        ),
    ] = None
    metric: Metric = "accuracy"
    select: Select = None
    losses: Annotated[
        tuple[str, ...],
        Option("Only this loss; may be repeated.", names=("--loss",), default="all"),
    ] = ()
    noise: Annotated[tuple[str, ...], Option("Only this noise model; may be repeated.", default="all")] = ()
    rate: Annotated[float | None, Option("Nominal rate of matrices.", default="the highest")] = None
    seed: Annotated[int | None, Option("Seed of matrices.", default="the lowest")] = None
    where: Where = ()
    format: Annotated[str | None, Option("Form of the pictures.", default="png", choices=formats.PICTURES)] = None
    output: Annotated[
        Path | None,
        Option(
            "A directory, or the file of a single picture.",
            metavar="PATH",
            default="plots in the artifacts directory",
            check=_check_place,
        ),
    ] = None

    def check_together(self) -> None:
        """Refuses options that do not apply to the kind of picture."""
        from flowernoise.show.plot.kinds import pictures

        for field in dataclasses.fields(self):
            users = [kind.name for kind in pictures if field.name in kind.properties["options"]]
            if self.kind and users and self.kind not in users and getattr(self, field.name) != field.default:
                option = {"losses": "loss"}.get(field.name, field.name)
                raise BadRequestError(f"--{option} does not apply to {self.kind}; it is for {', '.join(users)}")


@dataclasses.dataclass(frozen=True)
class PreviewSettings(Settings):
    """Which sheets are drawn: how many photos, which draws, and the mistakes of which losses' runs.

    ``noise`` and ``rates`` left empty mean all that were drawn, ``losses`` left empty cross-entropy, or the first loss
    there is. ``seeds`` counts the draws of each noise and rate; ``seed`` picks the photos. ``where`` picks runs as in
    ``compare``.
    """

    photos: Annotated[int, Between(1, 600), Option("Photos on a sheet.")] = 24
    seed: Annotated[int, Option("Another seed shows other photos.")] = 0
    noise: Annotated[
        tuple[str, ...],
        Option("Draws of this noise model; may be repeated.", default="all that were drawn"),
    ] = ()
    rates: Annotated[tuple[float, ...], Option("Draws at these rates.", default="all that were drawn")] = ()
    seeds: Annotated[int, Between(1), Option("How many seeds for each noise and rate.")] = 1
    losses: Annotated[
        tuple[str, ...],
        Option(
            "Mistakes of runs with this loss; may be repeated.",
            names=("--loss",),
            default="ce, or the first there is",
        ),
    ] = ()
    where: Where = ()
    output: Annotated[
        Path | None,
        Option("Write there.", metavar="DIR", default="preview in the artifacts directory", check=_check_directory),
    ] = None


@dataclasses.dataclass(frozen=True)
class ReportSettings(Settings):
    """What is reported, and into which directory; ``output`` None means the artifacts directory."""

    metric: Metric = "accuracy"
    select: Select = None
    where: Where = ()
    output: Annotated[
        Path | None,
        Option("Write there.", metavar="DIR", default="the artifacts directory", check=_check_directory),
    ] = None


@dataclasses.dataclass(frozen=True)
class ExportSettings(Settings):
    """Which run is made a Keras model, and where to; ``noise`` None means the control."""

    loss: Annotated[str | None, Option("Loss of the run.", default="the only one")] = None
    noise: Annotated[str | None, Option("Noise model whose labels it learnt.", default="none, the control")] = None
    rate: Annotated[float | None, Between(0, 1), Option("Nominal rate of that noise.", default="the only one")] = None
    seed: Annotated[int | None, Option("Seed of the run.", default="the only one")] = None
    where: Where = ()
    select: Select = None
    output: Annotated[
        Path,
        Option("The model; its classes are named beside it, in a .json file.", check=_check_model_file),
    ] = Path("model.keras")


@dataclasses.dataclass(frozen=True)
class PredictSettings(Settings):
    """Which photos a model is asked about."""

    model: Annotated[
        Path | None, Option("A model that `flowernoise export` wrote.", metavar="MODEL", argument=True)
    ] = None
    photos: Annotated[tuple[Path, ...], Option("Photos.", metavar="PHOTOS...", argument=True)] = ()
    probabilities: Annotated[bool, Option("Show the probabilities of all classes, too.")] = False

    def check_together(self) -> None:
        """Refuses to predict without a model or photos."""
        if self.model is None or not self.photos:
            raise BadRequestError("give a model and photos, as in flowernoise predict model.keras photo.jpg")


@dataclasses.dataclass(frozen=True)
class RemoveSettings(Settings):
    """Which runs, as ``key=value,key=value``, any of which may fit, and whether they are to be removed or listed."""

    where: Annotated[
        tuple[str, ...],
        Option(
            "Runs for which all of these hold, as in `flowernoise compare --where`; may be repeated.",
            metavar="KEY=VALUE[,…]",
            check=_check_where,
        ),
    ] = ()
    yes: Annotated[bool, Option("Remove them; without it they are only listed.")] = False

    def check_together(self) -> None:
        """Refuses to remove everything."""
        if not self.where:
            raise BadRequestError("say which runs with --where, as in --where loss=mae,epochs=3")
