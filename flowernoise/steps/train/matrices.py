"""The transition matrix for a loss: the draw's own, one from a file, or one estimated in a first stage."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from flowernoise.catalogue import transition_matrix
from flowernoise.catalogue.methods import FirstStage, Method
from flowernoise.catalogue.transition_matrix import AnyLabels, Matrix
from flowernoise.progress import Progress
from flowernoise.registry import Spec
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.records import DrawKey, RunKey
from flowernoise.training import tasks

TRUE = "true"
SINGULAR = "its transition matrix cannot be inverted: the labels say nothing about some classes"
Handed = Mapping[tuple[str, DrawKey], Matrix]  # the matrices from first stages, by stage name and draw
NO_ESTIMATE = "the first stage, which estimates its transition matrix, diverged; try a smaller --learning-rate or --l2"


def pinned(spec: Spec) -> Spec:
    """The spec with its matrix file's digest, so that a changed file is a different loss.

    Raises:
        BadRequestError: the file cannot be read, or does not have the digest given in the spec.
    """
    if "T" not in spec.files:
        return spec
    values = dict(spec.values)
    transition_matrix.read_bytes(values["T"], _owner(spec), values["sha256"])
    values["sha256"] = transition_matrix.file_digest(values["T"], _owner(spec))
    return Spec(spec.entry, types.MappingProxyType(values))


def check_files(specs: Iterable[Spec], classes: Sequence[str]) -> None:
    """Reads the matrix files of losses, to find a bad one before anything is trained.

    Raises:
        BadRequestError: a file does not hold a stochastic matrix with the right number of classes, or names other
            classes.
    """
    for spec in specs:
        if "T" in spec.files:
            _from_file(spec, classes)


def handed_on(
    stage: FirstStage,
    draw: DrawKey,
    labels: AnyLabels,
    predictions: np.ndarray[Any, np.dtype[np.floating[Any]]],
    classes: Sequence[str],
    progress: Progress,
) -> Matrix:
    """What a first stage on a draw passes on; a note names classes that it says nothing about.

    NaN if the stage diverged, so that a prediction is not a number.

    Args:
        stage: the first stage.
        draw: the draw on which it was trained, for the note.
        labels: observed labels [n].
        predictions: probabilities [n, c].
        classes: names of the classes.
        progress: receives the note.
    """
    if not np.isfinite(predictions).all():
        return np.full((len(classes),) * 2, np.nan)
    matrix, known = stage.hand_on(labels, predictions)
    if not known.all():
        names = ", ".join(name for name, is_known in zip(classes, known, strict=True) if not is_known)
        progress.note(
            f"T estimated on {draw}: the first stage predicts {names} for fewer than {transition_matrix.MIN_PHOTOS} "
            "photos, so their labels cannot be judged; T assumes that they are right"
        )
    return matrix


def of_runs(
    methods: Mapping[str, Method],
    labels: Mapping[DrawKey, DrawnLabels],
    handed: Handed,
    keys: Iterable[RunKey],
    classes: Sequence[str],
) -> dict[RunKey, Matrix]:
    """The matrix of each run; the draw's matrix for losses that do not ask for one.

    Args:
        methods: the methods, by name.
        labels: the labels of every draw.
        handed: the matrices from first stages.
        keys: the runs.
        classes: names of the classes.

    Raises:
        BadRequestError: a file does not hold a stochastic matrix with the right number of classes, or names other
            classes.
    """
    return {key: _of_run(methods[key.method], key.draw, labels[key.draw], handed, classes) for key in keys}


def failures(methods: Mapping[str, Method], matrices: Mapping[RunKey, Matrix]) -> dict[RunKey, str]:
    """Runs that cannot be trained, and why: T could not be estimated, or the loss needs an inverse that T lacks."""
    inverting = {name for name, method in methods.items() if "inverse_transition_matrix" in method.needs}
    found = {}
    for key, matrix in matrices.items():
        if not np.isfinite(matrix).all():
            found[key] = NO_ESTIMATE
        elif key.method in inverting and not tasks.invertible(matrix[None])[0]:
            found[key] = SINGULAR
    return found


def _of_run(method: Method, draw: DrawKey, drawn: DrawnLabels, handed: Handed, classes: Sequence[str]) -> Matrix:
    if method.stages:
        return handed[method.stages[-1].name, draw]
    if method.loss.values.get("T", TRUE) == TRUE:
        return _true(drawn)
    return _from_file(method.loss, classes)


def _from_file(spec: Spec, classes: Sequence[str]) -> Matrix:
    values = spec.values
    return transition_matrix.read(
        values["T"], len(classes), owner=_owner(spec), sha256=values["sha256"], class_names=classes
    )


def _true(drawn: DrawnLabels) -> Matrix:
    """The nominal T, or the realised T if the noise model defines none; a class without photos keeps its labels."""
    nominal = drawn.transition_matrix
    if not np.isnan(nominal).any():
        return nominal
    realised = drawn.realised_transition_matrix
    return np.where(np.isnan(realised), np.eye(len(realised)), realised)


def _owner(spec: Spec) -> str:
    return f"{spec.entry.kind} {spec.name}"
