"""``export``: turns a run into one Keras model, to use without this program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from flowernoise.analysis.results.models import Agreement, ExportResult
from flowernoise.catalogue.backbones import unweighted
from flowernoise.errors import BadRequestError
from flowernoise.progress import Progress
from flowernoise.safe import images, keras_file
from flowernoise.steps import backbone, chosen_run
from flowernoise.steps.loading import loading
from flowernoise.steps.outputs import Inputs
from flowernoise.steps.settings import ExportSettings
from flowernoise.steps.train import head
from flowernoise.store import exported, files, runs
from flowernoise.store.artifacts import Artifacts
from flowernoise.store.exported import About
from flowernoise.store.handles import RunHandle
from flowernoise.store.photos import Archive
from flowernoise.store.records import Selection, versions_of
from flowernoise.store.setups import settings as settings_of
from flowernoise.training import classifier, features, finetune

Array = np.ndarray[Any, np.dtype[Any]]
SAMPLE = 64  # number of test photos on which the model is compared with the run


def export(artifacts_directory: Path, settings: ExportSettings, progress: Progress) -> ExportResult:
    """Writes a run's backbone and head as one Keras model, and its classes beside it.

    The head is trained again, because its weights are not stored. An equal model that already exists is left alone.

    Raises:
        BadRequestError: nothing is prepared or trained, or the options pick no run or several.
        DamagedFileError: a file is damaged.
        FlowernoiseError: the backbone's weights are not those of the run, or a file cannot be written.
    """
    settings.check()
    held = Artifacts(artifacts_directory)
    every = held.runs()
    if not every:
        raise BadRequestError(f"{held.layout.root} has no runs for its data set; run `flowernoise train` first")
    run = chosen_run.choose(every, settings)
    select = _selection(run, settings.select)
    _refuse_without_weights(run, select)
    backbone.refuse_given(run.block.setup.backbone, "a model for photos")
    _refuse_others_file(settings.output)
    Inputs([artifacts_directory]).refuse(settings.output)
    model, on_features = (
        _finetuned(held, run, progress) if run.block.mode == "finetune" else _with_head(held, run, select, progress)
    )
    data, about = keras_file.write(model), exported.as_json(_about(held, run, select))
    beside = exported.about_path(settings.output)
    agreement = _agreement(held, run, select, model, progress)
    written = [files.write_plain(path, content) for path, content in ((settings.output, data), (beside, about))]
    return ExportResult(
        model=settings.output,
        about=beside,
        done_before=not any(written),
        key=run.key,
        select=select,
        classes=held.dataset.classes,
        extractor=f"{run.block.setup.extractor}, {run.block.setup.precision}",
        on_features=on_features,
        agreement=agreement,
    )


def _refuse_others_file(model: Path) -> None:
    """Refuses to overwrite a file of another kind with the classes."""
    beside = exported.about_path(model)
    if beside.exists():
        try:
            exported.read_about(model)
        except BadRequestError:
            raise BadRequestError(
                f"--output {model}: {beside}, where the classes would go, already exists and is something else; "
                "give another name"
            ) from None


def _refuse_without_weights(run: RunHandle, select: Selection) -> None:
    if run.block.mode != "finetune":
        return
    which = f"{run.loss} on {run.run.draw}"
    if run.block.weights is None:
        raise BadRequestError(f"the weights of {which} were not kept; train it again with --keep-weights")
    if select != run.usual:
        raise BadRequestError(f"--select {select}: of {which}, only the weights of {run.usual} were kept")


def _selection(run: RunHandle, wanted: Selection | None) -> Selection:
    if wanted is not None and wanted not in run.block.selections:
        raise BadRequestError(f"--select {wanted}: this run has only {', '.join(run.block.selections)}")
    return wanted or run.usual


def _with_head(held: Artifacts, run: RunHandle, select: Selection, progress: Progress) -> tuple[Any, float]:
    """The model with a head, and its largest difference from the run on the features of the test photos."""
    trained = head.train_again(held, run, run.choices[select], progress)
    difference = np.abs(trained.probabilities - run.probabilities("test", select=select)).max()
    dataset = held.dataset
    model = classifier.build(trained.backbone.build, dataset.request.image_size, len(dataset.classes))
    model.get_layer(classifier.HEAD).set_weights([trained.kernel, trained.bias])
    return model, float(difference)


def _finetuned(held: Artifacts, run: RunHandle, progress: Progress) -> tuple[Any, None]:
    """The model of a fine-tuned network, whose weights are stored."""
    dataset, network = held.dataset, run.block.setup.backbone
    with loading(f"Keras and {network}", progress):
        model = classifier.build(unweighted(network).build, dataset.request.image_size, len(dataset.classes))
    expected = finetune.named(model.get_weights())
    shapes = [array.shape for array in expected.values()]
    model.set_weights(list(runs.read_weights(held.layout, run.block, list(expected), shapes).values()))
    return model, None


def _agreement(held: Artifacts, run: RunHandle, select: Selection, model: Any, progress: Progress) -> Agreement | None:
    """Compares the model with the run, starting from photos, because their extractors may differ."""
    if held.dataset.given is not None:
        return None
    tested = [photo for photo in held.photos_of(run.seed) if photo.split == "test"][:SAMPLE]
    archive, size = Archive(held.layout.photos, held.dataset.archive), held.dataset.request.image_size
    with progress.task("comparing with the run", len(tested), "photos") as advance:
        answers = features.extract(model, archive.read(tested), size, advance)
    known = run.probabilities("test", select=select)[: len(tested)]
    alike = int((answers.argmax(axis=1) == known.argmax(axis=1)).sum())
    return Agreement(len(tested), alike, float(np.abs(answers - known).max()))


def _about(held: Artifacts, run: RunHandle, select: Selection) -> About:
    dataset, choice = held.dataset, run.choices[select]
    size = dataset.request.image_size
    return About(
        classes=dataset.classes,
        image_size=size,
        backbone=run.block.setup.backbone,
        input=f"float32 [n, {dataset.given.dimension}], features"
        if dataset.given
        else f"float32 [n, {size}, {size}, 3], RGB, 0 to 255; {images.DECODING}",
        output="softmax probabilities [n, classes]",
        run={
            "noise": run.noise,
            "rate": run.rate,
            "seed": run.seed,
            "loss": run.loss,
            **settings_of(run.block.setup),
            "select": select,
            "chosen": msgspec.to_builtins(choice),
        },
        versions=versions_of("keras", "numpy", "pillow"),
    )
