"""The commands: parse, call the step, show. Steps and tables are imported when a command runs."""

from __future__ import annotations

import dataclasses
import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowernoise import __version__
from flowernoise.errors import BadRequestError
from flowernoise.registry import number, whole_number
from flowernoise.safe import paths

if TYPE_CHECKING:
    from flowernoise.show.session import Session

app = typer.Typer(
    name="flowernoise",
    help=(
        "What does mislabelling do to an image classifier, how much can it take, and which loss should it be trained "
        "with?\n\nThe stages are prepare → corrupt → train → evaluate → compare, over one artifacts directory; run "
        "does all five. Each leaves alone what is done already."
    ),
    no_args_is_help=False,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class Mode(StrEnum):
    """How models are trained."""

    features = "features"
    finetune = "finetune"


class Optimizer(StrEnum):
    """Optimisers."""

    adam = "adam"
    sgd = "sgd"


class Select(StrEnum):
    """Which epoch and hyper-parameters are reported."""

    selected = "selected"
    last = "last"
    oracle = "oracle"


class PictureFormat(StrEnum):
    """Forms of a picture."""

    png = "png"
    svg = "svg"


class Format(StrEnum):
    """Forms of a comparison."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


def _whole_number(text: str) -> int:
    try:
        return whole_number(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number") from None


def _number(text: str) -> float:
    try:
        value = number(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise typer.BadParameter(f"{text!r} is not a finite number")
    return value


def _path(text: str) -> Path:
    if not text:
        raise typer.BadParameter(f"{text!r} is no path")
    return Path(text)


def _file_to_write(text: str) -> Path:
    path = _path(text)
    if problem := paths.why_no_file(path):
        raise typer.BadParameter(f"{text!r} cannot be written: {problem}")
    return path


def _directory_to_write(text: str) -> Path:
    path = _path(text)
    if problem := paths.why_no_directory(path):
        raise typer.BadParameter(f"{text!r} cannot be written to: {problem}")
    return path


def _place_to_write(text: str) -> Path:
    """A directory, or a file."""
    path = _path(text)
    if problem := paths.why_no_file(path) and paths.why_no_directory(path):
        raise typer.BadParameter(f"{text!r} cannot be written to: {problem}")
    return path


Artifacts = Annotated[
    Path,
    typer.Option(
        "-a",
        "--artifacts",
        parser=_path,
        metavar="DIR",
        envvar="FLOWERNOISE_ARTIFACTS",
        help="The artifacts directory.",
    ),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no notes, errors only.")]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout, and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and what libraries say.")]

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="[SOURCE]",
        help="tf_flowers, tfds:NAME, synthetic, or a directory with a folder of photos for each class. "
        "[default: tf_flowers]",
        show_default=False,
    ),
]
Positive = Annotated[
    str | None,
    typer.Option(
        metavar="CLASS", help="Make the task binary: this class or not.  [default: all classes]", show_default=False
    ),
]
Train = Annotated[
    int | None,
    typer.Option(parser=_whole_number, metavar="N", help="Training photos.  [default: 70 %]", show_default=False),
]
Val = Annotated[
    int | None,
    typer.Option(
        parser=_whole_number,
        metavar="N",
        help="Validation photos, their labels as noisy; 0 if only the others are given.  [default: 15 %]",
        show_default=False,
    ),
]
Test = Annotated[
    int | None,
    typer.Option(
        parser=_whole_number,
        metavar="N",
        help="Test photos; noise leaves their labels alone.  [default: 15 %]",
        show_default=False,
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(parser=_whole_number, metavar="PIXELS", help="Side of the squares photos become.", show_default=False),
]
Seed = Annotated[
    int | None, typer.Option(parser=_whole_number, metavar="N", help="Seed of the split.", show_default=False)
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        parser=_path,
        metavar="DIR",
        help="Where TensorFlow Datasets keeps prepared sets.  [default: its own]",
        show_default=False,
    ),
]
Noise = Annotated[
    list[str] | None,
    typer.Option(metavar="SPEC", help="Noise model: {names}; may be repeated.", show_default=False),
]
Rates = Annotated[
    str | None,
    typer.Option(
        metavar="X[,X…]", help="Nominal noise rates, 0 to 1; not for matrix and observed.", show_default=False
    ),
]
Seeds = Annotated[
    int | None, typer.Option(parser=_whole_number, metavar="N", help="Seeds, from 0.", show_default=False)
]
Import = Annotated[
    Path | None,
    typer.Option(
        "--import",
        parser=_path,
        metavar="FILE",
        help="Noisy labels of your own: a CSV file with id (or path) and label. Alone, no other noise is drawn.",
        show_default=False,
    ),
]
Export = Annotated[
    Path | None,
    typer.Option(
        parser=_file_to_write,
        metavar="FILE",
        help="Write the noisy draws' labels there, as a CSV file.",
        show_default=False,
    ),
]
Loss = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SPEC", help="Loss: {names}, with parameters as in gce:q=0.5; may be repeated.", show_default=False
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        help="Backbone: {names}; resnet50:weights=imagenet, none or a weight file's path.",
        show_default=False,
    ),
]
ModeOption = Annotated[
    Mode | None,
    typer.Option(help="Train heads on cached features, or all of the network.", show_default=False),
]
Epochs = Annotated[int | None, typer.Option(parser=_whole_number, metavar="N", help="Epochs.", show_default=False)]
BatchSize = Annotated[
    int | None, typer.Option(parser=_whole_number, metavar="N", help="Photos in a batch.", show_default=False)
]
LearningRate = Annotated[
    str | None,
    typer.Option(metavar="X[,X…]", help="Learning rates; several are chosen between on val.", show_default=False),
]
L2 = Annotated[
    str | None,
    typer.Option("--l2", metavar="X[,X…]", help="L2 on the head's kernel; several likewise.", show_default=False),
]
Memory = Annotated[
    float | None,
    typer.Option(
        parser=_number,
        metavar="GIB",
        help="Memory for the heads trained together, beside features and libraries; results do not depend on it.",
        show_default=False,
    ),
]
OptimizerOption = Annotated[Optimizer | None, typer.Option(help="Optimiser.", show_default=False)]
Metric = Annotated[
    str | None,
    typer.Option(metavar="SPEC", help="Metric: {names}.", show_default=False),
]
SelectOption = Annotated[
    Select | None,
    typer.Option(
        help="Epoch and hyper-parameters chosen on noisy val, the last epoch, or the best on test (unattainable).  "
        "[default: selected; last without val]",
        show_default=False,
    ),
]
Baseline = Annotated[str | None, typer.Option(metavar="SPEC", help="The loss to compare with.", show_default=False)]
FormatOption = Annotated[
    Format | None, typer.Option("--format", help="Form of the output.  [default: table]", show_default=False)
]
SortBy = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Order: noise, rate, loss, mean or drop; the last two order the table's losses, best first.",
        show_default=False,
    ),
]
Rows = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[,NAME…]",
        help="Noise models to show, in this order, and rates; the control always is.  [default: all]",
        show_default=False,
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[,NAME…]",
        help="Losses to show, in this order, and backbones and modes.  [default: all]",
        show_default=False,
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE[,…]",
        help="Only runs of which all of these hold; repeat the option to take either. Keys: noise, rate, loss, "
        "backbone, mode, extractor, precision, image_size, epochs, batch_size, optimizer, learning_rate and l2 (a "
        "grid as 0.001+0.01).  [default: the settings trained last]",
        show_default=False,
    ),
]
Delta = Annotated[
    float | None,
    typer.Option(
        parser=_number,
        metavar="POINTS",
        help="How far below the baseline's control a tolerated rate may lead.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(parser=_file_to_write, metavar="FILE", help="Write there instead of to stdout.", show_default=False),
]

Photos = Annotated[
    int | None,
    typer.Option(parser=_whole_number, metavar="N", help="Photos on a sheet.  [default: 24]", show_default=False),
]
SampleSeed = Annotated[
    int | None,
    typer.Option(
        "--seed", parser=_whole_number, metavar="N", help="Another seed shows other photos.", show_default=False
    ),
]
ShownNoise = Annotated[
    list[str] | None,
    typer.Option(
        "--noise",
        metavar="SPEC",
        help="Draws of this noise model; may be repeated.  [default: all that were drawn]",
        show_default=False,
    ),
]
ShownRates = Annotated[
    str | None,
    typer.Option(
        "--rates", metavar="X[,X…]", help="Draws of these rates.  [default: all that were drawn]", show_default=False
    ),
]
ShownSeeds = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        parser=_whole_number,
        metavar="N",
        help="Draws of that many seeds for each noise and rate.  [default: 1]",
        show_default=False,
    ),
]
ShownLoss = Annotated[
    list[str] | None,
    typer.Option(
        "--loss",
        metavar="SPEC",
        help="Mistakes of runs with this loss; may be repeated.  [default: ce, or the first there is]",
        show_default=False,
    ),
]
SheetsOutput = Annotated[
    Path | None,
    typer.Option(
        "--output",
        parser=_directory_to_write,
        metavar="DIR",
        help="Write there.  [default: preview in the artifacts directory]",
        show_default=False,
    ),
]

DEFAULT_ARTIFACTS = Path("artifacts")
MOST_NUMBERS = 1000  # in a list such as of --rates


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    """Shows the version, or the help where no command is given."""
    if version:
        typer.echo(f"flowernoise {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def prepare(
    source: Source = None,
    positive: Positive = None,
    train: Train = None,
    val: Val = None,
    test: Test = None,
    image_size: ImageSize = None,
    seed: Seed = None,
    data_dir: DataDir = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Take photos from a source, set duplicates apart, split them into train, val and test."""
    import flowernoise.steps.prepare as step

    given = _given(locals())
    with _session(given) as session:
        settings = _settings(step.PrepareSettings, given)
        session.show_prepare(step.prepare(artifacts, settings, session.progress))


@app.command()
def corrupt(
    noise: Noise = None,
    rates: Rates = None,
    seeds: Seeds = None,
    import_: Import = None,
    export: Export = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw noisy labels for train and val; the control (no noise) of every seed is always there."""
    import flowernoise.steps.corrupt as step

    given = _given(locals())
    with _session(given) as session:
        settings = _settings(step.CorruptSettings, given)
        session.show_corrupt(step.corrupt(artifacts, settings, session.progress))


@app.command()
def train(
    loss: Loss = None,
    backbone: Backbone = None,
    mode: ModeOption = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    l2: L2 = None,
    optimizer: OptimizerOption = None,
    memory: Memory = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a model for every draw and loss: heads on cached features, or the full network."""
    import flowernoise.steps.train as step

    given = _given(locals())
    with _session(given) as session:
        settings = _settings(step.TrainSettings, given)
        session.show_train(step.train(artifacts, settings, session.progress))


@app.command()
def evaluate(
    artifacts: Artifacts = DEFAULT_ARTIFACTS, quiet: Quiet = False, json: Json = False, debug: Debug = False
) -> None:
    """Measure every run on the test split."""
    import flowernoise.steps.evaluate as step

    with _session(_given(locals())) as session:
        session.show_evaluate(step.evaluate(artifacts, session.progress))


@app.command()
def compare(
    directories: Annotated[
        list[Path] | None,
        typer.Argument(parser=_path, metavar="[DIR]...", help="Artifacts directories. [default: the one of -a]"),
    ] = None,
    metric: Metric = None,
    select: SelectOption = None,
    baseline: Baseline = None,
    format: FormatOption = None,
    sort_by: SortBy = None,
    rows: Rows = None,
    columns: Columns = None,
    where: Where = None,
    delta: Delta = None,
    output: Output = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the table of accuracies: a row a noise model and rate, a column a loss; of several directories in one."""
    import flowernoise.steps.compare as step

    given = _given(locals())
    with _session(given) as session:
        form, settings = _form(format, json), _settings(step.CompareSettings, given)
        result = step.compare(directories or [artifacts], settings, session.progress)
        session.show_comparison(result, form, output)


@app.command()
def run(
    source: Source = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="seed: the first experiment. Options given beside it win.", show_default=False
        ),
    ] = None,
    positive: Positive = None,
    train: Train = None,
    val: Val = None,
    test: Test = None,
    image_size: ImageSize = None,
    seed: Seed = None,
    data_dir: DataDir = None,
    noise: Noise = None,
    rates: Rates = None,
    seeds: Seeds = None,
    import_: Import = None,
    export: Export = None,
    loss: Loss = None,
    backbone: Backbone = None,
    mode: ModeOption = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    l2: L2 = None,
    optimizer: OptimizerOption = None,
    memory: Memory = None,
    metric: Metric = None,
    select: SelectOption = None,
    baseline: Baseline = None,
    format: FormatOption = None,
    sort_by: SortBy = None,
    rows: Rows = None,
    columns: Columns = None,
    delta: Delta = None,
    output: Output = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Do all five stages in order and show the table."""
    import flowernoise.steps.run as step
    from flowernoise.catalogue import presets

    given = _given(locals())
    with _session(given) as session:
        if preset is not None:
            fixed = dict(presets.named(preset).options)
            if "losses" in given:
                fixed.pop("control_losses", None)
            given = {**fixed, **given}
        settings = step.RunSettings(
            prepare=_settings(step.PrepareSettings, given),
            corrupt=_settings(step.CorruptSettings, given),
            train=_settings(step.TrainSettings, given),
            compare=_settings(step.CompareSettings, given),
            preset=preset,
        )
        form = _form(format, json)
        session.show_run(step.run(artifacts, settings, session.progress), form, output)


@app.command(name="list")
def list_(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[KIND]", help="sources, noise, backbones, losses or metrics; all without it."),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One of them, in full: formula, defaults, source, example.")
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List what there is to pick: sources, noise models, backbones, losses, metrics."""
    import flowernoise.steps.list as step

    with _session(_given(locals())) as session:
        session.show_list(step.list_things(kind, name), in_full=name is not None)


@app.command()
def plot(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help="accuracy (any metric against the rate), memorisation, confusion, transition or seeds; all that the "
            "data allow without it.",
        ),
    ] = None,
    metric: Metric = None,
    select: SelectOption = None,
    loss: Annotated[
        list[str] | None,
        typer.Option(metavar="SPEC", help="Only this loss; may be repeated.  [default: all]", show_default=False),
    ] = None,
    noise: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC", help="Only this noise model; may be repeated.  [default: all]", show_default=False
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            parser=_number, metavar="X", help="Nominal rate of matrices.  [default: the highest]", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            parser=_whole_number, metavar="N", help="Seed of matrices.  [default: the lowest]", show_default=False
        ),
    ] = None,
    where: Where = None,
    format: Annotated[
        PictureFormat | None,
        typer.Option(help="Form of the pictures.  [default: png]", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            parser=_place_to_write,
            metavar="PATH",
            help="A directory, or the file of a single picture.  [default: plots in the artifacts directory]",
            show_default=False,
        ),
    ] = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw pictures: accuracy against the rate, memorisation, confusion, transition matrices, spread over seeds."""
    import flowernoise.steps.plot as step

    given = _given(locals())
    with _session(given) as session:
        settings = _settings(step.PlotSettings, given)
        session.show_plot(step.plot(artifacts, settings, session.progress))


@app.command()
def preview(
    photos: Photos = None,
    seed: SampleSeed = None,
    noise: ShownNoise = None,
    rates: ShownRates = None,
    seeds: ShownSeeds = None,
    loss: ShownLoss = None,
    where: Where = None,
    output: SheetsOutput = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw contact sheets: photos with their labels, with those of draws, and what runs get wrong."""
    import flowernoise.steps.preview as step

    given = _given(locals())
    with _session(given) as session:
        settings = _settings(step.PreviewSettings, given)
        session.show_preview(step.preview(artifacts, settings, session.progress))


@app.command()
def report(
    metric: Metric = None,
    select: SelectOption = None,
    where: Where = None,
    output: Annotated[
        Path | None,
        typer.Option(
            parser=_directory_to_write,
            metavar="DIR",
            help="Write there.  [default: the artifacts directory]",
            show_default=False,
        ),
    ] = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write all that came out on one page, report.html, and the same in report.md with its pictures in report/."""
    import flowernoise.steps.report as step

    given = _given(locals())
    with _session(given) as session:
        settings = _settings(step.ReportSettings, given)
        session.show_report(step.report(artifacts, settings, session.progress))


@app.command()
def remove(
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE[,…]",
            help="Runs of which all of these hold, as in `flowernoise compare --where`; may be repeated.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; without it they are only listed.")] = False,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the runs that --where picks and, with --yes, remove them. Draws, features and photos stay."""
    import flowernoise.steps.remove as step

    given = _given(locals())
    with _session(given) as session:
        settings = _settings(step.RemoveSettings, given)
        session.show_remove(step.remove(artifacts, settings, session.progress))


@app.command()
def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Set aside what is damaged and make again what can be made again.")
    ] = False,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    quiet: Quiet = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Check every file of an artifacts directory, from the table to the photos; exit 1 if anything is wrong."""
    import flowernoise.steps.verify as step

    with _session(_given(locals())) as session:
        session.show_verify(step.verify(artifacts, session.progress, mend=repair))


@app.command()
def status(
    artifacts: Artifacts = DEFAULT_ARTIFACTS, quiet: Quiet = False, json: Json = False, debug: Debug = False
) -> None:
    """Show what is in an artifacts directory, what is stale or missing, and which command comes next."""
    import flowernoise.steps.status as step

    with _session(_given(locals())) as session:
        session.show_status(step.status(artifacts))


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, under the names of the steps' settings, lists of numbers read."""
    given = {name: value for name, value in arguments.items() if value is not None and name != "step"}
    for option, field in (("rates", "rates"), ("learning_rate", "learning_rates"), ("l2", "l2")):
        if option in given:
            given[field] = _numbers(f"--{option.replace('_', '-')}", given.pop(option))
    if "import_" in given:
        given.setdefault("noise", ())
    for option, field in (("noise", "noise"), ("loss", "losses"), ("where", "where")):
        if given.get(option):
            given[field] = tuple(given.pop(option))
    return given


def _form(format: Format | None, json: bool) -> Format:
    """The form that a comparison is shown in."""
    if json and format not in (None, Format.json):
        raise BadRequestError(f"--json and --format {format} contradict each other; give one of them")
    return Format.json if json else format or Format.table


def _numbers(option: str, text: str) -> tuple[float, ...]:
    """Reads ``0.1,0.3``; each number once, in the order given."""
    parts = text.split(",")
    if len(parts) > MOST_NUMBERS:
        raise BadRequestError(f"{option} {text[:40]}…: {len(parts):,} numbers are too many; at most {MOST_NUMBERS:,}")
    try:
        return tuple(dict.fromkeys(_number(part.strip()) for part in parts))
    except typer.BadParameter as error:
        raise BadRequestError(f"{option} {text!r}: {error.message}") from None


def _settings(kind: Any, given: dict[str, Any]) -> Any:
    """A step's settings from the options that it knows, checked before any work; the rest keeps its default."""
    names = {field.name for field in dataclasses.fields(kind)}
    settings = kind(**{name: getattr(value, "value", value) for name, value in given.items() if name in names})
    settings.check()
    return settings


def _session(given: dict[str, Any]) -> Session:
    from flowernoise.show.session import Session

    return Session(quiet=given["quiet"], json=given["json"])
