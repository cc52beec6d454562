"""Commands as users would type them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowernoise.options import as_toml, fields_of
from flowernoise.registry import format_value
from flowernoise.steps.settings import CompareSettings, CorruptSettings, PrepareSettings, TrainSettings
from flowernoise.store.inventory import Fault
from flowernoise.store.records import CONTROL, DatasetRequest, DrawKey
from flowernoise.store.setups import FINETUNE_SETTINGS, Setup
from flowernoise.store.stages import STAGES

DEFAULT = "artifacts"


def way_out(fault: Fault) -> str:
    """What to do about a fault; empty if its text already says so."""
    says_so = "`flowernoise " in fault.text or not fault.ours
    return "" if says_so else STAGES[fault.stage].way_out.format(fault.path)


def problem(fault: Fault) -> str:
    """A fault and its way out, in one line."""
    return "; ".join(filter(None, [fault.text, way_out(fault)]))


def command(root: Path, words: Sequence[str]) -> str:
    """A command for the artifacts directory ``root``."""
    where = [] if str(root) == DEFAULT else ["--artifacts", str(root)]
    return shlex.join(["flowernoise", *words, *where])


def draw_again(lost: Sequence[DrawKey]) -> list[str]:
    """The command that draws these again, with one set of seeds and rates for all; the default one if unknown."""
    noise = dict.fromkeys(key.noise for key in lost if key.noise != CONTROL)
    rates = dict.fromkeys(format_value(key.rate) for key in lost if key.noise != CONTROL)
    words = ["corrupt", *(word for name in noise for word in ("--noise", name))]
    words += ["--rates", ",".join(rates)] if rates else []
    return words + (["--seeds", str(1 + max(key.seed for key in lost))] if lost else [])


def prepare_again(request: DatasetRequest) -> list[str]:
    """The command that makes a request."""
    return ["prepare", *preparation(request)]


def preparation(request: DatasetRequest) -> list[str]:
    """The source and the options of ``prepare`` that make a request."""
    words = [request.source, *(["--positive", request.positive] if request.positive else [])]
    for option, size in zip(("--train", "--val", "--test"), request.sizes or (), strict=False):
        words += [option, str(size)]
    words += ["--image-size", str(request.image_size), "--seed", str(request.seed)]
    words += ["--splits", str(request.splits)] if request.splits > 1 else []
    words += ["--resplit"] if request.resplit else []
    words += ["--label-column", request.label_column] if request.label_column else []
    words += ["--labels", request.labels] if request.labels else []
    words += ["--trust", request.trust] if request.trust != "all" else []
    return words + (["--data-dir", request.data_dir] if request.data_dir else [])


def train_again(methods: Sequence[str], setup: Setup) -> list[str]:
    """The command that trains methods with a setup."""
    return ["train", *(word for method in methods for word in ("--loss", method)), *training_options(setup)]


def training_options(setup: Setup) -> list[str]:
    """The options of ``train`` that give a setup."""
    words = ["--backbone", setup.backbone, "--mode", setup.mode]
    words += ["--epochs", str(setup.epochs), "--batch-size", str(setup.batch_size), "--optimizer", setup.optimizer]
    words += ["--learning-rate", ",".join(map(format_value, setup.learning_rates))]
    words += ["--l2", ",".join(map(format_value, setup.l2))]
    for key, value in recipe(setup).items():
        words += [f"--{key.replace('_', '-')}", format_value(value)]
    return words


def recipe(setup: Setup) -> dict[str, Any]:
    """The settings of ``train`` that only fine-tuning has, by name."""
    return {key: getattr(setup, key) for key in FINETUNE_SETTINGS} if setup.mode == "finetune" else {}


def as_file(words: Sequence[str]) -> str:
    """The options of a ``run``, and the source if it comes first, as a TOML file for ``--config``.

    >>> print(as_file(["synthetic", "--rates", "0.2,0.4", "--loss", "ce", "--loss", "mae"]), end="")
    source = "synthetic"
    rates = [0.2, 0.4]
    loss = ["ce", "mae"]
    """
    kinds = (PrepareSettings, CorruptSettings, TrainSettings, CompareSettings)
    fields = {field.names[-1]: field for kind in kinds for field in fields_of(kind)}
    source = [] if words[0].startswith("--") else [words[0]]
    given: dict[str, Any] = {"source": source[0]} if source else {}
    remaining = iter(words[len(source) :])
    for option in remaining:
        field = fields[option]
        if field.type is bool:
            given[field.name] = True
            continue
        text = next(remaining)
        repeated = field.many and not field.is_list
        read = field.read((text,) if repeated else text)
        given[field.name] = (*given.get(field.name, ()), *read) if repeated else read
    return as_toml(kinds, given)
