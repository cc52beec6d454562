"""The transition matrix that a loss is given: the draw's own, one from a file, or one estimated in a first stage."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from flowernoise.catalogue import transition_matrix
from flowernoise.catalogue.losses import losses, needs_of
from flowernoise.catalogue.transition_matrix import AnyLabels, Matrix
from flowernoise.progress import Progress
from flowernoise.registry import Spec
from flowernoise.store.draws import DrawnLabels
from flowernoise.store.records import DrawKey, RunKey
from flowernoise.training import tasks

TRUE, ESTIMATED = "true", "estimated"
FIRST_STAGE = losses.parse("ce")
SINGULAR = "its transition matrix cannot be inverted: the labels say nothing about some classes"
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


def to_estimate(specs: Mapping[str, Spec], keys: Iterable[RunKey]) -> list[DrawKey]:
    """Draws for which a run's loss wants an estimated matrix, in order and each once."""
    wanted = (key.draw for key in keys if specs[key.method].values.get("T") == ESTIMATED)
    return sorted(set(wanted))


def estimate(
    draw: DrawKey,
    labels: AnyLabels,
    predictions: np.ndarray[Any, np.dtype[np.floating[Any]]],
    classes: Sequence[str],
    progress: Progress,
) -> Matrix:
    """T of a draw, estimated from what a first-stage model predicts for training photos; a note names what it lacks.

    NaN where the first stage diverged, so that a prediction is not a number.

    Args:
        draw: what is estimated, for the note.
        labels: observed labels [n].
        predictions: probabilities [n, c].
        classes: their names.
        progress: takes the note.
    """
    if not np.isfinite(predictions).all():
        return np.full((len(classes),) * 2, np.nan)
    matrix, known = transition_matrix.estimated(labels, predictions)
    if not known.all():
        names = ", ".join(name for name, is_known in zip(classes, known, strict=True) if not is_known)
        progress.note(
            f"T estimated on {draw}: the first stage predicts {names} for fewer than {transition_matrix.MIN_PHOTOS} "
            "photos, so nothing can be said of their labels; T takes them as right"
        )
    return matrix


def of_runs(
    specs: Mapping[str, Spec],
    labels: Mapping[DrawKey, DrawnLabels],
    estimates: Mapping[DrawKey, Matrix],
    keys: Iterable[RunKey],
) -> dict[RunKey, Matrix]:
    """The matrix of each run; that of the draw for losses that do not ask for one.

    Args:
        specs: the losses by name.
        labels: of every draw.
        estimates: of the draws that :func:`to_estimate` names.
        keys: the runs.

    Raises:
        BadRequestError: a file without a stochastic matrix of as many classes as there are.
    """
    return {key: _of_run(specs[key.method], key.draw, labels[key.draw], estimates) for key in keys}


def failures(specs: Mapping[str, Spec], matrices: Mapping[RunKey, Matrix]) -> dict[RunKey, str]:
    """Runs that cannot be trained, with the reason: T could not be estimated, or is inverted and has no inverse."""
    inverting = {name for name, spec in specs.items() if "inverse_transition_matrix" in needs_of(spec)}
    found = {}
    for key, matrix in matrices.items():
        if not np.isfinite(matrix).all():
            found[key] = NO_ESTIMATE
        elif key.method in inverting and not tasks.invertible(matrix[None])[0]:
            found[key] = SINGULAR
    return found


def _of_run(spec: Spec, draw: DrawKey, drawn: DrawnLabels, estimates: Mapping[DrawKey, Matrix]) -> Matrix:
    choice = spec.values.get("T", TRUE)
    if choice == TRUE:
        return _true(drawn)
    if choice == ESTIMATED:
        return estimates[draw]
    return _from_file(spec, len(drawn.realised_transition_matrix))


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
