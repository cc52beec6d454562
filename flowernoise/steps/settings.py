"""The settings of each command: options, ranges, defaults and help. Nothing imported here is slow to import."""

from __future__ import annotations

import dataclasses
import importlib
import re
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
LEARNING_RATES = (3e-4, 1e-3, 3e-3)  # higher ones make losses like mae unstable: see tests/benchmarks/selection.py
L2 = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
FIXED_LEARNING_RATE, FIXED_L2 = 1e-3, 0.0
FINETUNE_LEARNING_RATES = (1e-4, 3e-4)
MAX_SPLITS = 1000
MAX_POINTS = 1000  # in a tuning grid
_OF_FINETUNING = ("tune", "augment", "head", "weight_decay", "ema", "keep_weights")

_Photos = Between(1, 100_000_000)
_SinglePrecision = Between(1e-37, 3e38)  # outside it, single precision holds only 0 or infinity


def _registry(module: str, name: str) -> Callable[[], Registry]:
    """Finds a registry when it is needed: importing them takes a tenth of a second."""

    def find() -> Registry:
        registry: Registry = getattr(importlib.import_module(f"flowernoise.{module}"), name)
        return registry

    return find


def _check_tune(text: str) -> None:
    if not re.fullmatch(r"all|norm|last:[1-9]\d{0,5}", text):
        raise ValueError("is not all, norm, or last:N with a number of layers, as in last:10")


def _check_source(text: str) -> None:
    from flowernoise.catalogue.sources import parse_source

    parse_source(text)


def _check_where(text: str) -> None:
    from flowernoise.analysis import where

    where.parse(text, noises=None)


def _check_names(text: str) -> None:
    from flowernoise.analysis.comparison.question import items_of

    if not items_of(text):
        raise ValueError("is empty; leave it out to show all")


def _check_file(path: Path) -> None:
    if problem := paths.why_no_file(path):
        raise ValueError(f"cannot be written: {problem}")


def _check_model_file(path: Path) -> None:
    if path.suffix != ".keras":
        raise ValueError("must end in .keras, or Keras will not load it")
    _check_file(path)


def _check_features_suffix(path: Path) -> None:
    from flowernoise.catalogue import feature_tables

    feature_tables.suffix_of(path)


def _check_features_file(path: Path) -> None:
    _check_features_suffix(path)
    _check_file(path)


def _check_directory(path: Path) -> None:
    if problem := paths.why_no_directory(path):
        raise ValueError(f"cannot be written to: {problem}")


def _check_place(path: Path) -> None:
    """A directory, or a file."""
    if paths.why_no_file(path):
        _check_directory(path)


def _grid_or_fixed(grid: tuple[float, ...], fixed: float, tuned: tuple[float, ...]) -> str:
    """How the help describes a hyper-parameter's default: of heads with and without val, and of fine-tuning."""
    whole, finetune = (",".join(map(format_value, each)) for each in (grid, tuned))
    return f"{whole}; {format_value(fixed)} without val; {finetune} with finetune"


# Options that several commands share

Metric = Annotated[str, Option("Metric: {names}.", registry=_registry("catalogue.metrics", "metrics"))]
Backbone = Annotated[
    str | None,
    Option(
        "Backbone: {names}; resnet50:weights=imagenet, none or a weight file's path.",
        registry=_registry("catalogue.backbones", "backbones"),
        default="the directory's; else resnet50, or efficientnet_lite0 if the former's weights cannot be had",
    ),
]
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
        "grid as 0.001+0.01), and of fine-tuning tune, augment, head, weight_decay and ema.",
        metavar="KEY=VALUE[,…]",
        default="the settings trained last",
        check=_check_where,
    ),
]


# The commands


@dataclasses.dataclass(frozen=True)
class PrepareSettings(Settings):
    """Settings of ``prepare``; if all sizes are None, the split is the source's own, or 70 / 15 / 15 %."""

    source: Annotated[
        str,
        Option(
            "tf_flowers, tfds:NAME, synthetic, a directory with a folder of photos for each class, or an NPZ file of "
            "photos or features.",
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
            "Validation photos, with labels as noisy as the training labels; 0 if only the others are given.",
            default="15 %",
        ),
    ] = None
    test: Annotated[int | None, _Photos, Option("Test photos; noise leaves their labels alone.", default="15 %")] = None
    image_size: Annotated[int, Between(1, 4096), Option("Photos become squares with this side.", metavar="PIXELS")] = (
        224
    )
    seed: Annotated[int, Between(0, 2**63 - 1), Option("Seed of the split.")] = 0
    splits: Annotated[
        int,
        Between(1, MAX_SPLITS),
        Option("How many splits to draw. Seed s of the later commands uses split s mod N.", metavar="N"),
    ] = 1
    resplit: Annotated[bool, Option("Split anew, whatever splits the source comes with.")] = False
    labels: Annotated[
        Path | None,
        Option(
            "Table of labels for a directory of photos (CSV, TSV, JSON lines, Parquet): path (or id), label, and if "
            "there are any, split and further labels for `corrupt --noise observed:column=NAME`.",
            metavar="FILE",
            default="the folders",
        ),
    ] = None
    label_column: Annotated[str | None, Option("Its column with the labels.", metavar="NAME", default="label")] = None
    trust: Annotated[
        Literal["all", "test", "none"],
        Option("Which labels of the source were checked: all are taken as given, only those of test, or none."),
    ] = "all"
    data_dir: Annotated[
        Path | None, Option("Where TensorFlow Datasets keeps prepared sets.", metavar="DIR", default="its own")
    ] = None

    def check_together(self) -> None:
        """Refuses sizes if some are missing, and doubts about labels that the program makes."""
        sizes = {"--train": self.train, "--val": self.val, "--test": self.test}
        given = " ".join(f"{option} {size}" for option, size in sizes.items() if size is not None)
        if given and None in (self.train, self.test):
            raise BadRequestError(f"{given}: --train and --test must both be given; --val alone may be left out")
        if self.label_column is not None and self.labels is None:
            raise BadRequestError("--label-column names a column of the --labels file; give that too")
        if self.trust != "all":
            from flowernoise.catalogue.label_words import makes_labels

            if makes_labels(self.source):
                raise BadRequestError(
                    f"--trust {self.trust}: the labels of {self.source} are made by the program, so all are right"
                )


@dataclasses.dataclass(frozen=True)
class CorruptSettings(Settings):
    """Which draws to make; the control (rate 0) of each seed is always among them.

    ``import_`` is a CSV file with your own labels, which become a draw of ``observed``. ``export`` is a CSV file for
    the noisy draws, or for the controls if there are no others.
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
            "Your own noisy labels: a CSV file with path (or id) and label. Without --noise, no other noise is drawn.",
        ),
    ] = None
    partial: Annotated[bool, Option("The --import file lists only some photos; the others keep their labels.")] = False
    export: Annotated[
        Path | None, Option("Write the labels of the noisy draws to this CSV file.", check=_check_file)
    ] = None

    def check_together(self) -> None:
        """Refuses too many draws, and --partial without a file."""
        if self.partial and self.import_ is None:
            raise BadRequestError("--partial needs --import FILE")
        draws = self.seeds * max(1, len(self.rates)) * max(1, len(self.noise))
        if draws > MAX_DRAWS:
            raise BadRequestError(
                f"--seeds {self.seeds}: with each rate and noise model, that makes {draws:,} draws; "
                f"at most {MAX_DRAWS:,} are allowed"
            )


@dataclasses.dataclass(frozen=True)
class FeaturesSettings(Settings):
    """Settings of ``features``. ``import_`` is a file of your own features, ``export`` one to write."""

    backbone: Backbone = None
    import_: Annotated[
        Path | None,
        Option(
            "Your own features, from any network: .npz, .h5 or .parquet with features and path (or id), or .npy with "
            "features in the order of --export.",
            check=_check_features_suffix,
        ),
    ] = None
    name: Annotated[
        str | None, Option("Name of the imported features, used as --backbone features:NAME.", metavar="NAME")
    ] = None
    export: Annotated[
        Path | None,
        Option(
            "Write id, path and features of all photos to this file; .npy has the features alone.",
            check=_check_features_file,
        ),
    ] = None

    def check_together(self) -> None:
        """Refuses --import without --name, and options that contradict it."""
        if (self.import_ is None) != (self.name is None):
            given, other = ("--name", "--import FILE") if self.import_ is None else ("--import", "--name NAME")
            raise BadRequestError(f"{given} needs {other}; imported features are used as --backbone features:NAME")
        if self.import_ is not None and (self.export is not None or self.backbone is not None):
            other = "--backbone" if self.export is None else "--export"
            raise BadRequestError(f"--import and {other} contradict each other; give one of them")


@dataclasses.dataclass(frozen=True)
class TrainSettings(Settings):
    """Settings of ``train``.

    If ``learning_rates`` or ``l2`` is None, heads with a validation split to choose on get the tuning grid, and others
    one fixed value. If ``backbone`` is None, ``steps.default_backbone`` chooses one. ``control_losses`` limits the
    losses that the control is trained with; None means all. ``memory`` is the budget in GiB for the heads trained
    together; results do not depend on it.
    """

    losses: Annotated[
        tuple[str, ...],
        Option(
            "Loss: {names}, with parameters as in gce:q=0.5; may be repeated.",
            names=("--loss",),
            registry=_registry("catalogue.losses", "losses"),
        ),
    ] = ("ce", "mae")
    backbone: Backbone = None
    mode: Annotated[
        Literal["features", "finetune"], Option("Train heads on cached features, or the whole network.")
    ] = "features"
    epochs: Annotated[int, Between(1, 10_000), Option("Epochs.")] = 5
    batch_size: Annotated[int, Between(1, 1_000_000), Option("Photos per batch.")] = 32
    learning_rates: Annotated[
        tuple[float, ...] | None,
        _SinglePrecision,
        Option(
            "Learning rates; from several, one is chosen on val.",
            names=("--learning-rate",),
            default=_grid_or_fixed(LEARNING_RATES, FIXED_LEARNING_RATE, FINETUNE_LEARNING_RATES),
        ),
    ] = None
    l2: Annotated[
        tuple[float, ...] | None,
        Between(0, _SinglePrecision.high),
        Option(
            "L2 on the head's kernel; from several, one is chosen on val.",
            default=_grid_or_fixed(L2, FIXED_L2, (FIXED_L2,)),
        ),
    ] = None
    optimizer: Annotated[Literal["adam", "sgd"], Option("Optimiser.")] = "adam"
    tune: Annotated[
        str,
        Option(
            "Fine-tuning: which layers learn: all, the last:N that have weights, or norm, those that normalise.",
            metavar="LAYERS",
            check=_check_tune,
        ),
    ] = "all"
    augment: Annotated[
        Literal["none", "flip", "crop"],
        Option("Fine-tuning: flip photos at random, or flip and also shift them by up to an eighth."),
    ] = "flip"
    head: Annotated[
        Literal["probe", "random"],
        Option("Fine-tuning: start from the best linear head on cached features, or from a random one."),
    ] = "probe"
    weight_decay: Annotated[
        float, Between(0, 1), Option("Fine-tuning: decoupled weight decay of all kernels, as in AdamW.")
    ] = 0.0
    ema: Annotated[
        float,
        Between(0, 1, open="high"),
        Option("Fine-tuning: momentum of a moving average of the weights, which then answers; 0 for none."),
    ] = 0.0
    keep_weights: Annotated[
        bool, Option("Fine-tuning: keep the weights too, for `flowernoise export`; 94 MB a run for ResNet50.")
    ] = False
    control_losses: tuple[str, ...] | None = None
    memory: Annotated[
        float,
        Between(0, 1_000_000, open="low"),
        Option(
            "Memory for the heads trained together, not counting features and libraries; does not affect results.",
            metavar="GIB",
        ),
    ] = 1.0

    def resolved(self, *, validated: bool) -> TrainSettings:
        """These settings with learning rates and L2 filled in.

        Args:
            validated: whether there is a validation split.
        """
        rates: tuple[float, ...] = LEARNING_RATES if validated else (FIXED_LEARNING_RATE,)
        strengths: tuple[float, ...] = L2 if validated else (FIXED_L2,)
        if self.mode == "finetune":
            rates, strengths = FINETUNE_LEARNING_RATES[: None if validated else 1], (FIXED_L2,)
        return dataclasses.replace(self, learning_rates=self.learning_rates or rates, l2=self.l2 or strengths)

    @property
    def grid(self) -> list[tuple[float, float]]:
        """Learning rate and L2 of each point of the tuning grid, in ascending order; the order in which they were given
        makes no difference.
        """
        rates, strengths = self.learning_rates or (FIXED_LEARNING_RATE,), self.l2 or (FIXED_L2,)
        return [(rate, l2) for rate in sorted(set(rates)) for l2 in sorted(set(strengths))]

    def check_together(self) -> None:
        """Refuses grids that are empty or too large, and options that are for fine-tuning only."""
        if () in (self.learning_rates, self.l2, self.losses):
            raise BadRequestError("--learning-rate, --l2 and --loss each need at least one value")
        if len(self.grid) > MAX_POINTS:
            raise BadRequestError(
                f"--learning-rate and --l2 make {len(self.grid):,} pairs to choose from; the most is {MAX_POINTS:,}"
            )
        if self.mode == "features":
            for name in _OF_FINETUNING:
                if getattr(self, name) != getattr(TrainSettings, name):
                    raise BadRequestError(f"--{name.replace('_', '-')} is for --mode finetune")


@dataclasses.dataclass(frozen=True)
class CompareSettings(Settings):
    """What is compared, and how.

    Args:
        select: None means ``selected`` if there is a validation split to select on, otherwise ``last``.
        rows: noise models, in this order, and rates to show; None means all. The control is always shown.
        columns: losses, in this order, backbones and modes to show; None means all.
        where: which runs to show and test, as ``key=value,key=value``; empty means those trained last.
        delta: accuracy points that a tolerated rate may cost.
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
            "Losses to show, in this order; also backbones and modes.",
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
    """What every cell that ``where`` picks must reach, in the metric's own unit; None sets no limit."""

    fail_under: Annotated[
        float | None,
        Option("Exit with 4 if any cell that --where picks has a mean worse than this, such as 0.8."),
    ] = None
    fail_under_low: Annotated[
        float | None,
        Option("The same, for the worse end of the 95 % interval."),
    ] = None


@dataclasses.dataclass(frozen=True)
class TableSettings(Settings):
    """How to show a comparison, and where to write it."""

    format: Annotated[
        str | None,
        Option("Output format.", default="from the suffix of --output, else table", choices=formats.DOCUMENTS),
    ] = None
    output: Annotated[Path | None, Option("Write to this file instead of stdout.", check=_check_file)] = None
    per_seed: Annotated[bool, Option("As CSV, with one row per seed.")] = False


@dataclasses.dataclass(frozen=True)
class PlotSettings(Settings):
    """Which pictures to draw, and where to write them.

    ``kind`` None means every kind that the data allow. Empty ``noise`` or ``losses`` means all of them. ``rate`` None
    means the highest, ``seed`` None the lowest. ``output`` is a directory (None means ``plots/``), or a file whose
    suffix is a format.
    """

    kind: Annotated[
        str | None,
        Option(
            "{names}; `flowernoise list pictures` says what each shows.",
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
    format: Annotated[str | None, Option("Picture format.", default="png", choices=formats.PICTURES)] = None
    output: Annotated[
        Path | None,
        Option(
            "A directory, or a file for a single picture.",
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
    """Which sheets to draw: how many photos, which draws, and which losses' mistakes.

    Empty ``noise`` and ``rates`` mean everything drawn. Empty ``losses`` means cross-entropy, or else the first loss.
    ``seeds`` is the number of draws for each noise model and rate; ``seed`` picks the photos. ``where`` picks runs as
    in ``compare``.
    """

    photos: Annotated[int, Between(1, 600), Option("Photos per sheet.")] = 24
    seed: Annotated[int, Option("A different seed shows different photos.")] = 0
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
            default="ce, or else the first",
        ),
    ] = ()
    where: Where = ()
    output: Annotated[
        Path | None,
        Option(
            "Write to this directory.",
            metavar="DIR",
            default="preview in the artifacts directory",
            check=_check_directory,
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class ReportSettings(Settings):
    """What to report, and in which directory; ``output`` None means the artifacts directory."""

    metric: Metric = "accuracy"
    select: Select = None
    where: Where = ()
    output: Annotated[
        Path | None,
        Option("Write to this directory.", metavar="DIR", default="the artifacts directory", check=_check_directory),
    ] = None


@dataclasses.dataclass(frozen=True)
class ExportSettings(Settings):
    """Which run to export as a Keras model, and where; ``noise`` None means the control."""

    loss: Annotated[str | None, Option("Loss of the run.", default="the only one")] = None
    noise: Annotated[str | None, Option("Noise model whose labels it was trained on.", default="none, the control")] = (
        None
    )
    rate: Annotated[float | None, Between(0, 1), Option("Nominal rate of that noise.", default="the only one")] = None
    seed: Annotated[int | None, Option("Seed of the run.", default="the only one")] = None
    where: Where = ()
    select: Select = None
    output: Annotated[
        Path,
        Option("The model file; a .json file beside it names the classes.", check=_check_model_file),
    ] = Path("model.keras")


@dataclasses.dataclass(frozen=True)
class PredictSettings(Settings):
    """Which model predicts which photos."""

    model: Annotated[
        Path | None, Option("A model that `flowernoise export` wrote.", metavar="MODEL", argument=True)
    ] = None
    photos: Annotated[tuple[Path, ...], Option("Photos.", metavar="PHOTOS...", argument=True)] = ()
    probabilities: Annotated[bool, Option("Also show the probabilities of all classes.")] = False

    def check_together(self) -> None:
        """Refuses to predict without a model or photos."""
        if self.model is None or not self.photos:
            raise BadRequestError("give a model and photos, as in flowernoise predict model.keras photo.jpg")


@dataclasses.dataclass(frozen=True)
class RemoveSettings(Settings):
    """Runs that match any of these ``key=value,key=value`` conditions, and whether to remove or only list them."""

    where: Annotated[
        tuple[str, ...],
        Option(
            "Runs for which all of these hold, as in `flowernoise compare --where`; may be repeated.",
            metavar="KEY=VALUE[,…]",
            check=_check_where,
        ),
    ] = ()
    yes: Annotated[bool, Option("Remove them; without this, they are only listed.")] = False

    def check_together(self) -> None:
        """Refuses to remove everything."""
        if not self.where:
            raise BadRequestError("say which runs with --where, as in --where loss=mae,epochs=3")
