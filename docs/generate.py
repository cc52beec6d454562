"""Writes the pages that are made from the code: `make docs`, or `python docs/generate.py [DIRECTORY]`.

Losses, noise models, metrics, sources and backbones come from the registries' docstrings, with a picture of each shape;
the pages of the commands from their settings. ``tests/test_docs.py`` fails where a page is stale.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import typer

from flowernoise import cli
from flowernoise.catalogue.backbones import backbones
from flowernoise.catalogue.keras_networks import NETWORKS
from flowernoise.catalogue.labelling import NoiseRequest
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.metrics import MetricFacts, RunPredictions, facts_of, metrics
from flowernoise.catalogue.noise import noise_models
from flowernoise.catalogue.sources import sources
from flowernoise.options import Field
from flowernoise.registry import Between, Entry, Registry, format_value

HERE = Path(__file__).parent
MADE = "<!-- Made by `make docs` from the code. Do not edit. -->"
CLASSES = 5
PHOTOS = 5000  # labels drawn for a matrix that a noise model does not state itself
RATE = 0.4
SINGLE_PRECISION = 1e30  # beyond, a bound is that of the numbers rather than of what is meant
GIVEN = np.linspace(0.01, 1, 100)  # probability of the given class


# Text


def text_of(entry: Entry) -> str:
    """A docstring as Markdown: its paragraphs and arguments, without the runnable example and the errors."""
    doc = inspect.getdoc(entry.function) or ""
    paragraphs = [each for each in doc.split("\n\n") if not each.lstrip().startswith((">>>", "Raises:", "Args:"))]
    return "\n\n".join(_paragraph(each) for each in paragraphs).replace("``", "`")


def _paragraph(text: str) -> str:
    flat = " ".join(text.split())
    return re.sub(r"^(Formula|Defaults|Source|Example): ", r"**\1**: ", re.sub(r" (Source): ", r"\n\n**\1**: ", flat))


def arguments_of(entry: Entry) -> dict[str, str]:
    """What a docstring says about each parameter."""
    doc = inspect.getdoc(entry.function) or ""
    block = re.search(r"^Args:\n((?: {4}.*\n?)+)", doc, flags=re.MULTILINE)
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", block[1] if block else "", flags=re.MULTILINE)
    return {name: " ".join(text.split()).replace("``", "`") for name, text in found}


def parameters_of(entry: Entry) -> str:
    """A table of a thing's parameters, or nothing where it takes none."""
    if not entry.parameters:
        return ""
    meaning = arguments_of(entry)
    rows = [
        (
            f"`{each.name}`",
            "required" if each.default is inspect.Parameter.empty else f"`{format_value(each.default) or '(empty)'}`",
            ", ".join(f"`{choice}`" for choice in each.choices) or (str(each.range) if each.range else "any"),
            meaning.get(each.name, ""),
        )
        for each in entry.parameters.values()
    ]
    described = any(row[3] for row in rows)
    header = ("parameter", "default", "takes", "meaning")
    return table([row if described else row[:3] for row in rows], header if described else header[:3])


def table(rows: Iterable[tuple[str, ...]], header: tuple[str, ...]) -> str:
    """A Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def page(title: str, *parts: str) -> str:
    """A page, its parts divided by empty lines."""
    return "\n\n".join([MADE, f"# {title}", *filter(None, parts)]) + "\n"


def overview(registry: Registry, above: Registry | None = None) -> str:
    """A table of contents with each thing's claim; ``above`` has sections further up, some of the same name."""
    taken = above.names() if above else ()
    anchors = {name: f"{name}-1" if name in taken else name for name in registry.names()}
    rows = [(f"[`{entry.name}`](#{anchors[entry.name]})", entry.summary.replace("``", "`")) for entry in registry]
    return table(rows, ("name", "what it is"))


def section(entry: Entry, *extras: str) -> str:
    """A thing's own section."""
    return "\n\n".join(filter(None, [f"## {entry.name}", text_of(entry), *extras, parameters_of(entry)]))


# Pictures


def curve(x: np.ndarray, lines: dict[str, np.ndarray], across: str) -> str:
    """An SVG of lines over [0, 1], each with its name at its left end; the first is drawn strongly."""
    low, high = min(0.0, *(line.min() for line in lines.values())), max(line.max() for line in lines.values())
    left, top, width, height = 44, 10, 300, 160

    def points(line: np.ndarray) -> str:
        across = left + width * x
        down = top + height * (1 - (line - low) / (high - low))
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, down, strict=True))

    styles = ('stroke="#0072b2" stroke-width="2.5"', 'stroke="#888" stroke-width="1.5" stroke-dasharray="5 4"')
    drawn = [
        f'<polyline fill="none" {style} points="{points(line)}"/>'
        for style, line in zip(styles, lines.values(), strict=False)
    ]
    ticks = [
        _text(left - 6, top + 8, f"{high:.2f}", "end"),
        _text(left - 6, top + height, f"{low:.2f}", "end"),
        *(_text(left + width * each, top + height + 16, f"{each:g}", "middle") for each in (0, 0.5, 1)),
        _text(left + width / 2, top + height + 32, across, "middle"),
    ]
    frame = f'<path d="M{left} {top}V{top + height}H{left + width}" fill="none" stroke="#444"/>'
    return _svg(360, 210, [frame, *drawn, *ticks])


def heat_map(matrix: np.ndarray) -> str:
    """An SVG of a transition matrix with its numbers: rows are true classes, columns observed ones."""
    size, left, top, cells = 40, 56, 34, []
    for i, row in enumerate(matrix):
        for j, share in enumerate(row):
            red, green, blue = (round(255 - (255 - end) * share) for end in (0, 114, 178))
            x, y = left + size * j, top + size * i
            cells.append(
                f'<rect x="{x}" y="{y}" width="{size}" height="{size}" fill="rgb({red},{green},{blue})" stroke="#ccc"/>'
            )
            cells.append(
                _text(x + size / 2, y + size / 2 + 4, f"{share:.2f}", "middle", "#fff" if share > 0.75 else "#000")
            )
    side = len(matrix)
    names = [_text(left + size * (k + 0.5), top - 6, str(k), "middle") for k in range(side)]
    names += [_text(left - 8, top + size * (k + 0.5) + 4, str(k), "end") for k in range(side)]
    names += [
        _text(left + size * side / 2, 13, "observed", "middle"),
        _text(4, top + size * side / 2 + 4, "true", "start"),
    ]
    return _svg(left + size * side + 10, top + size * side + 10, cells + names)


def _text(x: float, y: float, words: str, anchor: str, colour: str = "#000") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def _svg(width: float, height: float, parts: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
    return "\n".join(
        [
            f'{head} font-family="sans-serif" font-size="11">',
            '<rect width="100%" height="100%" fill="#fff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def loss_curve(entry: Entry) -> np.ndarray:
    """A loss by the probability of the given class; the other four share the rest evenly."""
    n = len(GIVEN)
    y_true = np.zeros((n, CLASSES), dtype=np.float32)
    y_true[:, 0] = 1
    rest = np.maximum(1 - GIVEN, 1e-6) / (CLASSES - 1)
    logits = np.log(np.column_stack([GIVEN, *[rest] * (CLASSES - 1)])).astype(np.float32)
    T = symmetric_matrix()
    remembered = np.tile(np.array([0.7, 0.06, 0.06, 0.06, 0.06], dtype=np.float32), (n, 1))
    known: dict[str, Any] = {
        "transition_matrix": T,
        "inverse_transition_matrix": np.linalg.inv(T.astype(np.float64)).astype(np.float32),
        "targets": remembered,
        "peers": (y_true, np.zeros((n, CLASSES), dtype=np.float32)),
        "progress": 1.0,
    }
    needed = [known[need] for need in entry.properties.get("needs", ())]
    defaults = {key: each.default for key, each in entry.parameters.items()}
    return np.asarray(entry.function(y_true, logits, *needed, **defaults), dtype=np.float64)


def scaled_to(line: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A line stretched so that it begins and ends where another does: what differs is the shape."""
    return np.asarray(other[-1] + (other[0] - other[-1]) * (line - line[-1]) / (line[0] - line[-1]))


def symmetric_matrix() -> np.ndarray:
    """The transition matrix of 40 % symmetric noise among five classes."""
    T = np.full((CLASSES, CLASSES), RATE / (CLASSES - 1), dtype=np.float32)
    np.fill_diagonal(T, 1 - RATE)
    return T


def noise_matrix(entry: Entry) -> np.ndarray | None:
    """The matrix of a noise model at a rate of 0.4: the nominal one, or what came out of 5,000 labels; None without."""
    if any(each.name == "file" for each in entry.parameters.values()):
        return None
    stream = np.random.default_rng(0)
    labels = np.arange(PHOTOS) % CLASSES
    centres = stream.normal(size=(CLASSES, 16))
    answers = np.exp(2.5 * np.eye(CLASSES)[labels] + stream.normal(size=(PHOTOS, CLASSES)))
    probabilities = answers / answers.sum(axis=1, keepdims=True)
    request = NoiseRequest(
        labels,
        CLASSES,
        RATE,
        np.random.default_rng(1),
        class_names=tuple("01234"),
        features=centres[labels] + 0.5 * stream.normal(size=(PHOTOS, 16)),
        probabilities=probabilities,
    )
    values = {key: each.default for key, each in entry.parameters.items()}
    if "pairs" in values:
        values["pairs"] = "0/1+2/3"
    noisy = entry.function(request, **values)
    if noisy.transition_matrix is not None:
        return np.asarray(noisy.transition_matrix)
    counts = np.zeros((CLASSES, CLASSES))
    np.add.at(counts, (labels, noisy.labels), 1)
    return counts / counts.sum(axis=1, keepdims=True)


def known_of(entry: Entry) -> MetricFacts:
    """What is known of a metric; one of a single class stands for those of all."""
    return facts_of(f"{entry.name}:a" if entry.unkeyed else entry.name)


def words_of(facts: MetricFacts) -> str:
    """What is known of a metric, in sentences."""
    low, high = facts.range
    top = "∞" if np.isinf(high) else f"{high:g}"
    photos = "test photos" if facts.of == "test" else "training photos whose labels are wrong"
    return f"{facts.better.capitalize()} is better. It runs from {low:g} to {top} and is measured on {photos}."


def metric_curve(entry: Entry) -> np.ndarray | None:
    """One photo's part of a metric by the probability of its true class, of two; None if only answers count."""
    facts = known_of(entry)
    if facts.needs != ("probabilities",) or facts.better != "lower":
        return None
    probabilities = np.column_stack([GIVEN, 1 - GIVEN])[None]
    labels = np.zeros(len(GIVEN), dtype=int)
    predictions = RunPredictions(probabilities.argmax(axis=2), labels, ("a", "b"), probabilities=probabilities)
    defaults = {key: each.default for key, each in entry.parameters.items()}
    parts = entry.function(predictions, **defaults).photos
    return None if parts is None else np.asarray(parts[0], dtype=np.float64)


# Pages


def losses_page() -> Iterator[tuple[str, str]]:
    """The page of the losses, and a picture of each."""
    usual = loss_curve(losses["ce"])
    sections = []
    for entry in losses:
        line = loss_curve(entry)
        lines = {entry.name: line} if entry.name == "ce" else {entry.name: line, "ce": scaled_to(usual, line)}
        yield f"shapes/loss-{entry.name}.svg", curve(GIVEN, lines, "probability of the given class")
        needs = ", ".join(f"`{need}`" for need in entry.properties.get("needs", ()))
        picture = f"![{entry.name} against the probability of the given class](shapes/loss-{entry.name}.svg)"
        sections.append(section(entry, f"**Needs** {needs} beside labels and logits." if needs else "", picture))
    intro = """What a model is punished for. A loss is chosen with `--loss`, with its parameters as in `gce:q=0.5`:

```sh
flowernoise list losses
flowernoise list losses gce
flowernoise train --backbone efficientnet_lite0 --loss ce --loss gce:q=0.5
```

In the formulas p = softmax(logits), y is the given label, e its one-hot vector, p_y its probability, c the number of
classes. Each picture shows the loss (blue) by the probability that the model gives to the label, from 0.01 to 1. Four
other classes share the rest evenly. Cross-entropy is dashed, stretched to the same ends: only the shape is compared. As
a rule of thumb, a loss that is steep at the left insists on every label, wrong ones too. A flatter one lets go, and
learns more slowly.

`forward` and `backward` are drawn with the matrix of 40 % symmetric noise; `elr` where its memory gives the label 0.7;
`peer` at the end of training, against a peer that is unsure. What makes these two robust is what they compare with, and
that does not show in the curve of one photo. How all of them do on real photos is on
[a page of its own](real-photos.md)."""
    yield "losses.md", page("Losses", intro, overview(losses), *sections)


def noise_page() -> Iterator[tuple[str, str]]:
    """The page of the noise models, and a picture of each that has a matrix without a file."""
    sections = []
    for entry in noise_models:
        matrix, picture = noise_matrix(entry), ""
        if matrix is not None:
            yield f"shapes/noise-{entry.name}.svg", heat_map(matrix)
            picture = f"![Transition matrix of {entry.name} among five classes](shapes/noise-{entry.name}.svg)"
        sections.append(section(entry, picture))
    intro = """How training labels come to be wrong. `--noise` chooses a noise model, and `--rates` how much of it:

```sh
flowernoise list noise
flowernoise corrupt --noise symmetric --noise pairflip --rates 0.2,0.4 --seeds 5
```

The labels of train and val are corrupted, never those of test. The first four and `matrix` have a transition matrix
T[i, j] = P(observed j | true i). `instance` and `boundary` depend on the photos' features, taken from the backbone that
their spec names, else from the one that `train` would take. `matrix` and `observed` take no `--rates`: their rate is
the share of training labels that they make wrong. Counts are exact by default; `count=bernoulli` tosses coins. The
control, without noise, is always there.

Each picture is the matrix at a rate of 0.4 among five classes: the model's own where it has one, else what came out of
5,000 made-up photos. `asymmetric` is drawn with the pairs `0/1+2/3`.

What noise models cannot show: the mistakes that your own annotators make. If you have their labels,
[give those](own-data.md#labels-in-and-out)."""
    yield "noise.md", page("Noise models", intro, overview(noise_models), *sections)


def metrics_page() -> Iterator[tuple[str, str]]:
    """The page of the metrics, with a picture of those that score a probability."""
    sections = []
    for entry in metrics:
        line, picture = metric_curve(entry), ""
        if line is not None:
            yield f"shapes/metric-{entry.name}.svg", curve(GIVEN, {entry.name: line}, "probability of the true class")
            picture = f"![One photo's {entry.name}, of two classes](shapes/metric-{entry.name}.svg)"
        sections.append(section(entry, words_of(known_of(entry)), picture))
    intro = """What is measured of a trained run. `compare`, `plot` and `report` take `--metric`:

```sh
flowernoise list metrics
flowernoise compare --metric balanced_accuracy
flowernoise compare --metric ece:bins=10 --format csv --output ece.csv
```

`accuracy`, `balanced_accuracy`, `recall`, `macro_f1` and `mcc` need predictions. `auroc`, `nll`, `brier` and `ece`
need probabilities. `memorised` and `recovered` look at wrong training labels. These two and `ece` give one number per
run, so they are not tested and get no ☆. Pictures show the cost of one photo, of two classes, by the probability of its
true class."""
    yield "metrics.md", page("Metrics", intro, overview(metrics), *sections)


def sources_page() -> Iterator[tuple[str, str]]:
    """The page of sources and backbones."""
    intro = """Where photos come from, and what looks at them first.

```sh
flowernoise list sources
flowernoise list backbones
```

`prepare` and `run` take a source by position, such as `./photos` or `tfds:cifar10`. `train` and `run` take
`--backbone`. Without it, they stay with the backbone of the directory's latest runs, or of its draws. In a new
directory they use `resnet50`, or `efficientnet_lite0` where the weights of `resnet50` are not on the machine and cannot
be downloaded; a line says so. `corrupt` does the same for noise that looks at photos, and writes the backbone into the
draw's spec. `--backbone resnet50` and `--preset seed` ask for `resnet50`, and fail without its weights."""
    networks = (
        (f"`{name}`", f"{each.features:,}", str(each.native_size), str(each.min_size))
        for name, each in NETWORKS.items()
    )
    of_keras = table(networks, ("network", "features", "side of the photos it was trained on", "smallest side"))
    parts = [overview(sources), *map(section, sources), overview(backbones, above=sources)]
    for entry in backbones:
        parts += [section(entry), of_keras] if entry.name == "keras" else [section(entry)]
    yield "sources-and-backbones.md", page("Sources and backbones", intro, *parts)


def command_pages() -> Iterator[tuple[str, str]]:
    """A page for each command, and their table of contents."""
    group: Any = typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        settings = command.settings.values()
        options = [option_row(each) for each in settings]
        usage = " ".join(
            ["flowernoise", name, *(each.metavar for each in settings if each.option.argument), "[OPTIONS]"]
        )
        examples = "\n".join(command.help_examples)
        yield (
            f"commands/{name}.md",
            page(
                f"flowernoise {name}",
                " ".join((command.help or "").split()),
                f"```text\n{usage}\n```",
                "Two examples:",
                f"```sh\n{examples}\n```",
                table(options, ("option", "default", "takes", "meaning")),
                "All commands: [README](../../README.md#the-commands).",
            ),
        )


def option_row(field: Field) -> tuple[str, str, str, str]:
    """An option's row: how it is written, its default, what it takes, what it means."""
    help, _, default = field.full_help().partition("  [default: ")
    written = field.metavar if field.option.argument else ", ".join(field.names)
    if field.type is bool:
        takes = ""
    else:
        takes = range_of(field.range) if field.range else ("" if field.option.argument else field.metavar)
    if field.many and not field.is_list and not field.option.argument:
        takes = f"{takes}, repeatable"
    shown = default.removesuffix("]")
    if field.option.envvar:
        help += f" Environment: `{field.option.envvar}`."
    return f"`{written}`", f"`{shown}`" if shown and " " not in shown else shown, takes.strip("<>"), help


def range_of(range: Between) -> str:
    """A range in words; ends that only single precision asks for are left out."""
    if range.high < SINGLE_PRECISION:
        return str(range)
    return str(Between(range.low)) if range.low == 0 or range.low > 1 / SINGLE_PRECISION else "above 0"


def pages() -> dict[str, str]:
    """Every made page and picture, by its path under ``docs/``."""
    makers = (losses_page, noise_page, metrics_page, sources_page, command_pages)
    return {name: text for make in makers for name, text in make()}


def main(target: Path) -> None:
    """Writes every made page under a directory."""
    for name, text in pages().items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
