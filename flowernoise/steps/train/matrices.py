"""The transition matrix that a loss is given: the draw's own, one from a file, or one estimated in a first stage."""

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
Handed = Mapping[tuple[str, DrawKey], Matrix]  # what first stages have handed on, by their names and draws
NO_ESTIMATE = "the first stage, which estimates its transition matrix, diverged; try a smaller --learning-rate or --l2"


def pinned(spec: Spec) -> Spec:
    """The spec with its matrix file's digest, so that another content of the file is another loss.

    Raises:
        BadRequestError: the file cannot be read, or is not the one of the digest that the spec has.
    """
    if "T" not in spec.files:
        return spec
    values = dict(spec.values)
    transition_matrix.read_bytes(values["T"], _owner(spec), values["sha256"])
    values["sha256"] = transition_matrix.file_digest(values["T"], _owner(spec))
    return Spec(spec.entry, types.MappingProxyType(values))


def check_files(specs: Iterable[Spec], num_classes: int) -> None:
    """Reads the matrix files of losses, so that a bad one is found before anything is trained.

    Raises:
        BadRequestError: a file without a stochastic matrix of as many classes as there are.
    """
    for spec in specs:
        if "T" in spec.files:
            _from_file(spec, num_classes)


def handed_on(
    stage: FirstStage,
    draw: DrawKey,
    labels: AnyLabels,
    predictions: np.ndarray[Any, np.dtype[np.floating[Any]]],
    classes: Sequence[str],
    progress: Progress,
) -> Matrix:
    """What a first stage on a draw hands on; a note names the classes of which it says nothing.

    NaN where the stage diverged, so that a prediction is not a number.

    Args:
        stage: which.
        draw: on which labels it was trained, for the note.
        labels: observed labels [n].
        predictions: probabilities [n, c].
        classes: their names.
        progress: takes the note.
    """
    if not np.isfinite(predictions).all():
        return np.full((len(classes),) * 2, np.nan)
    matrix, known = stage.hand_on(labels, predictions)
    if not known.all():
        names = ", ".join(name for name, is_known in zip(classes, known, strict=True) if not is_known)
        progress.note(
            f"T estimated on {draw}: the first stage predicts {names} for fewer than {transition_matrix.MIN_PHOTOS} "
            "photos, so nothing can be said of their labels; T takes them as right"
        )
    return matrix


def of_runs(
    methods: Mapping[str, Method],
    labels: Mapping[DrawKey, DrawnLabels],
    handed: Handed,
    keys: Iterable[RunKey],
) -> dict[RunKey, Matrix]:
    """The matrix of each run; that of the draw for losses that do not ask for one.

    Args:
        methods: by name.
        labels: of every draw.
        handed: what first stages have handed on.
        keys: the runs.

    Raises:
        BadRequestError: a file without a stochastic matrix of as many classes as there are.
    """
    return {key: _of_run(methods[key.method], key.draw, labels[key.draw], handed) for key in keys}


def failures(methods: Mapping[str, Method], matrices: Mapping[RunKey, Matrix]) -> dict[RunKey, str]:
    """Runs that cannot be trained, with the reason: T could not be estimated, or is inverted and has no inverse."""
    inverting = {name for name, method in methods.items() if "inverse_transition_matrix" in method.needs}
    found = {}
    for key, matrix in matrices.items():
        if not np.isfinite(matrix).all():
            found[key] = NO_ESTIMATE
        elif key.method in inverting and not tasks.invertible(matrix[None])[0]:
            found[key] = SINGULAR
    return found


def _of_run(method: Method, draw: DrawKey, drawn: DrawnLabels, handed: Handed) -> Matrix:
    if method.stages:
        return handed[method.stages[-1].name, draw]
    if method.loss.values.get("T", TRUE) == TRUE:
        return _true(drawn)
    return _from_file(method.loss, len(drawn.realised_transition_matrix))


def _from_file(spec: Spec, num_classes: int) -> Matrix:
    values = spec.values
    return transition_matrix.read(values["T"], num_classes, owner=_owner(spec), sha256=values["sha256"])


def _true(drawn: DrawnLabels) -> Matrix:
    """The nominal T, or the realised one where the noise model has none; a class without photos keeps its labels."""
    nominal = drawn.transition_matrix
    if not np.isnan(nominal).any():
        return nominal
    realised = drawn.realised_transition_matrix
    return np.where(np.isnan(realised), np.eye(len(realised)), realised)


def _owner(spec: Spec) -> str:
    return f"{spec.entry.kind} {spec.name}"
