"""The commands: options → step → show. Steps and tables are imported when a command runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowernoise import __version__
from flowernoise.errors import BadRequestError
from flowernoise.options import Given, Option, Settings, by_group, command
from flowernoise.safe import limits
from flowernoise.steps.settings import (
    CompareSettings,
    CorruptSettings,
    ExportSettings,
    FeaturesSettings,
    GateSettings,
    PlotSettings,
    PredictSettings,
    PrepareSettings,
    PreviewSettings,
    RemoveSettings,
    ReportSettings,
    TableSettings,
    TrainSettings,
)

if TYPE_CHECKING:
    from flowernoise.show.session import Session

STUDY, LOOK, KEEP = "Study what mislabelling does", "Look at it", "Keep a directory in order"

app = typer.Typer(
    name="flowernoise",
    cls=by_group((STUDY, LOOK, KEEP)),
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


@dataclasses.dataclass(frozen=True)
class Place(Settings):
    """Where a command works."""

    artifacts: Annotated[
        Path,
        Option("The artifacts directory.", names=("-a", "--artifacts"), metavar="DIR", envvar="FLOWERNOISE_ARTIFACTS"),
    ] = Path("artifacts")

    def next_command(self) -> str | None:
        """The command that comes next there, if there is any."""
        from flowernoise.steps.status import status

        return status(self.artifacts).next


@dataclasses.dataclass(frozen=True)
class Output(Settings):
    """How a command speaks. ``__main__`` looks for ``--debug`` itself, before anything is read."""

    quiet: Annotated[
        bool,
        Option(
            "Only the result on stdout and errors on stderr, plus one line if it takes longer than 10 s.",
            names=("-q", "--quiet"),
        ),
    ] = False
    json: Annotated[bool, Option("The result as JSON on stdout, and nothing else there.")] = False
    debug: Annotated[bool, Option("Show tracebacks and what libraries say.")] = False

    def session(self) -> Session:
        """What the result is shown with."""
        from flowernoise.show.session import Session

        return Session(quiet=self.quiet, json=self.json)


@dataclasses.dataclass(frozen=True)
class PresetSettings(Settings):
    """What ``run`` takes beside the options of its stages."""

    preset: Annotated[
        str | None, Option("seed: the first experiment. Options given beside it win.", metavar="NAME")
    ] = None


@dataclasses.dataclass(frozen=True)
class ListSettings(Settings):
    """What ``list`` lists."""

    kind: Annotated[
        str | None,
        Option(
            "sources, noise, backbones, losses, metrics or pictures.", metavar="[KIND]", default="all", argument=True
        ),
    ] = None
    name: Annotated[
        str | None,
        Option("One of them, in full: formula, defaults, source, example.", metavar="[NAME]", argument=True),
    ] = None


@dataclasses.dataclass(frozen=True)
class CompareDirectories(Settings):
    """What ``compare`` compares, where it is not the artifacts directory alone."""

    directories: Annotated[
        tuple[Path, ...],
        Option("Artifacts directories.", metavar="[DIR]...", default="the one of -a", argument=True),
    ] = ()


@dataclasses.dataclass(frozen=True)
class VerifySettings(Settings):
    """What ``verify`` does beside looking."""

    repair: Annotated[bool, Option("Set aside what is damaged and make again what can be made again.")] = False


@dataclasses.dataclass(frozen=True)
class StatusSettings(Settings):
    """What ``status`` does beside looking."""

    check_all: Annotated[
        bool,
        Option(
            "Exit 4 unless all is sound, and prepare, corrupt, train (of what compare shows) and evaluate are done.",
            names=("--check",),
        ),
    ] = False


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
    limits.check_room_at_all()


def _implied(given: Given) -> Given:
    """What options stand for that are not given themselves: those of a preset; no other noise beside ``--import``."""
    implied: Given = {}
    if "preset" in given:
        from flowernoise.catalogue import presets

        implied.update(presets.named(given["preset"]).options)
    if "losses" in given:
        implied.pop("control_losses", None)
    return implied | ({"noise": ()} if "import_" in given else {})


@command(
    app,
    group=STUDY,
    examples=(
        "flowernoise prepare ./photos",
        "flowernoise prepare ./photos --positive roses -a binary",
    ),
)
def prepare(settings: PrepareSettings, place: Place, output: Output) -> None:
    """Split photos into train, val and test. Photos with equal pixels are kept once."""
    import flowernoise.steps.prepare as step

    with output.session() as session:
        session.show_prepare(step.prepare(place.artifacts, settings, session.progress))
        session.suggest(place.next_command)


@command(
    app,
    group=STUDY,
    examples=(
        "flowernoise corrupt --noise symmetric --noise pairflip --rates 0.2,0.4",
        "flowernoise corrupt --export labels.csv",
    ),
    implied=_implied,
)
def corrupt(settings: CorruptSettings, place: Place, output: Output) -> None:
    """Draw noisy labels for train and val. Every seed also has a control, without noise."""
    import flowernoise.steps.corrupt as step

    with output.session() as session:
        session.show_corrupt(step.corrupt(place.artifacts, settings, session.progress))
        session.suggest(place.next_command)


@command(
    app,
    group=STUDY,
    examples=(
        "flowernoise features --backbone efficientnet_lite0 --export features.npz",
        "flowernoise features --import features.npz --name mine",
    ),
)
def features(settings: FeaturesSettings, place: Place, output: Output) -> None:
    """Extract the features of all photos. Or import your own, from any network, or write them to a file."""
    import flowernoise.steps.feature_files as step

    with output.session() as session:
        session.show_features(step.features(place.artifacts, settings, session.progress))


@command(
    app,
    group=STUDY,
    examples=(
        "flowernoise train --backbone efficientnet_lite0 --loss ce --loss gce:q=0.5",
        "flowernoise train --backbone efficientnet_lite0 --learning-rate 1e-3 --l2 0 --epochs 15",
    ),
)
def train(settings: TrainSettings, place: Place, output: Output) -> None:
    """Train a model for every draw and loss. Heads on cached features, or the whole network."""
    import flowernoise.steps.train as step

    with output.session() as session:
        session.show_train(step.train(place.artifacts, settings, session.progress))
        session.suggest(place.next_command)


@command(
    app,
    group=STUDY,
    examples=(
        "flowernoise evaluate",
        "flowernoise evaluate --json",
    ),
)
def evaluate(place: Place, output: Output) -> None:
    """Measure every run on the test photos."""
    import flowernoise.steps.evaluate as step

    with output.session() as session:
        session.show_evaluate(step.evaluate(place.artifacts, session.progress))
        session.suggest(place.next_command)


@command(
    app,
    group=STUDY,
    examples=(
        "flowernoise compare --rows symmetric,0.4 --columns mae,ce",
        "flowernoise compare --metric balanced_accuracy --per-seed --output table.csv",
    ),
)
def compare(
    directories: CompareDirectories,
    settings: CompareSettings,
    gate: GateSettings,
    table: TableSettings,
    place: Place,
    output: Output,
) -> None:
    """Show the table of losses under noise. One row per noise model and rate; several directories share a table."""
    import flowernoise.steps.compare as step

    form = _form(table, output)
    compared = directories.directories or [place.artifacts]
    with output.session() as session:
        _refuse_inputs(table, compared)
        step.check_gate(settings, gate)
        result = step.compare(compared, settings, session.progress)
        missed = step.missed(result, settings, gate)
        session.show_comparison(result, form, table.output, missed, per_seed=table.per_seed)
        if not directories.directories:
            session.suggest(place.next_command)


@command(
    app,
    group=STUDY,
    examples=(
        "flowernoise run ./photos --backbone efficientnet_lite0 --epochs 15",
        "flowernoise run ./photos --backbone efficientnet_lite0 --noise pairflip --rates 0.4 --loss ce --loss sce",
    ),
    without=("where",),
    implied=_implied,
)
def run(
    preset: PresetSettings,
    prepare: PrepareSettings,
    corrupt: CorruptSettings,
    train: TrainSettings,
    compare: CompareSettings,
    table: TableSettings,
    place: Place,
    output: Output,
) -> None:
    """Do all five stages and show the table."""
    import flowernoise.steps.run as step

    form = _form(table, output)
    with output.session() as session:
        _refuse_inputs(table, [place.artifacts])
        settings = step.RunSettings(prepare, corrupt, train, compare, preset.preset)
        result = step.run(place.artifacts, settings, session.progress)
        _refuse_inputs(table, [place.artifacts])  # of what was prepared and drawn just now
        session.show_run(result, form, table.output, per_seed=table.per_seed)
        session.suggest(place.next_command)


@command(
    app,
    "list",
    group=LOOK,
    examples=(
        "flowernoise list losses",
        "flowernoise list noise instance",
    ),
)
def list_(settings: ListSettings, output: Output) -> None:
    """List what you can choose. Sources, noise models, backbones, losses, metrics and pictures."""
    import flowernoise.steps.list as step

    with output.session() as session:
        session.show_list(step.list_things(settings.kind, settings.name), in_full=settings.name is not None)


@command(
    app,
    group=LOOK,
    examples=(
        "flowernoise plot accuracy --output curve.svg",
        "flowernoise plot confusion --noise symmetric --rate 0.4",
    ),
)
def plot(settings: PlotSettings, place: Place, output: Output) -> None:
    """Draw charts and matrices. Accuracy against the rate, memorisation, confusion, transitions, spread over seeds."""
    import flowernoise.steps.plot as step

    with output.session() as session:
        session.show_plot(step.plot(place.artifacts, settings, session.progress))


@command(
    app,
    group=LOOK,
    examples=(
        "flowernoise preview --photos 12",
        "flowernoise preview --noise symmetric --rates 0.4 --output sheets",
    ),
)
def preview(settings: PreviewSettings, place: Place, output: Output) -> None:
    """Draw contact sheets of labelled photos. As given, as corrupted, and as runs get them wrong."""
    import flowernoise.steps.preview as step

    with output.session() as session:
        session.show_preview(step.preview(place.artifacts, settings, session.progress))


@command(
    app,
    group=LOOK,
    examples=(
        "flowernoise report",
        "flowernoise report --metric balanced_accuracy --output elsewhere",
    ),
)
def report(settings: ReportSettings, place: Place, output: Output) -> None:
    """Write all results on one page, report.html. The same is in report.md, with its pictures in report/."""
    import flowernoise.steps.report as step

    with output.session() as session:
        session.show_report(step.report(place.artifacts, settings, session.progress))


@command(
    app,
    group=LOOK,
    examples=(
        "flowernoise export --loss mae --noise symmetric --rate 0.4 --seed 0",
        "flowernoise export --loss ce --seed 0 --output control.keras",
    ),
)
def export(settings: ExportSettings, place: Place, output: Output) -> None:
    """Write a run as one Keras model. From photos to probabilities, it works without this program."""
    import flowernoise.steps.export as step

    with output.session() as session:
        session.show_export(step.export(place.artifacts, settings, session.progress))


@command(
    app,
    group=LOOK,
    examples=(
        "flowernoise predict model.keras photos/daisy/00.jpg photos/roses/00.jpg",
        "flowernoise predict model.keras photos/daisy/00.jpg --probabilities --json",
    ),
)
def predict(settings: PredictSettings, output: Output) -> None:
    """Predict the classes of photos, as CSV. The model is one that export wrote; nothing in its file is run."""
    import flowernoise.steps.predict as step

    with output.session() as session:
        session.show_predict(step.predict(settings, session.progress))


@command(
    app,
    group=KEEP,
    examples=(
        "flowernoise remove --where loss=mae,rate=0.6",
        "flowernoise remove --where loss=mae,rate=0.6 --yes",
    ),
)
def remove(settings: RemoveSettings, place: Place, output: Output) -> None:
    """Remove the runs that --where picks. Without --yes they are only listed. Draws, features and photos stay."""
    import flowernoise.steps.remove as step

    with output.session() as session:
        session.show_remove(step.remove(place.artifacts, settings, session.progress))


@command(
    app,
    group=KEEP,
    examples=(
        "flowernoise verify",
        "flowernoise verify --repair",
    ),
)
def verify(settings: VerifySettings, place: Place, output: Output) -> None:
    """Check every file of a directory. From the table to the photos; exit 1 if anything is wrong."""
    import flowernoise.steps.verify as step

    with output.session() as session:
        session.show_verify(step.verify(place.artifacts, session.progress, mend=settings.repair))


@command(
    app,
    group=KEEP,
    examples=(
        "flowernoise status",
        "flowernoise status --check",
    ),
)
def status(settings: StatusSettings, place: Place, output: Output) -> None:
    """Show what is done and what comes next. Stale, missing and left-over files are named."""
    import flowernoise.steps.status as step

    with output.session() as session:
        session.show_status(step.status(place.artifacts), check=settings.check_all)


def _form(table: TableSettings, output: Output) -> str:
    """The form that a comparison is shown in: the one asked for, or that of the output's suffix."""
    from flowernoise.show import writers

    if output.json and table.format not in (None, "json"):
        raise BadRequestError(f"--json and --format {table.format} contradict each other; give one of them")
    if table.per_seed and (output.json or table.format not in (None, "csv")):
        raise BadRequestError(
            "--per-seed writes CSV; JSON has values and value_seeds, and the other formats show means"
        )
    if output.json:
        return "json"
    if table.format or table.output is None or not table.output.suffix:
        return table.format or ("csv" if table.per_seed else "table")
    form = writers.of_file(table.output)
    if form is None:
        raise BadRequestError(
            f"--output {table.output}: no format has files called *{table.output.suffix}; name one with --format, or "
            f"end the name in {', '.join(writers.suffixes())}"
        )
    if table.per_seed and form != "csv":
        raise BadRequestError(f"--per-seed writes CSV, and {table.output} is not called *.csv; add --format csv")
    return form


def _refuse_inputs(table: TableSettings, directories: Sequence[Path]) -> None:
    """Refuses to write the table onto a file that the program needs."""
    from flowernoise.steps.outputs import Inputs

    if table.output is not None:
        Inputs(directories).refuse(table.output)
