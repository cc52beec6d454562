"""What notebooks and other people's training code use: ``flowernoise.corrupt_labels`` and ``flowernoise.loss``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flowernoise import transition_matrix as matrices
from flowernoise.catalogue.losses import losses
from flowernoise.catalogue.noise import NoiseRequest, check_inputs, expected_rate, is_rated, noise_models
from flowernoise.errors import BadRequestError
from flowernoise.randomness import generator
from flowernoise.registry import Spec
from flowernoise.training import heads, out_of_fold
from flowernoise.transition_matrix import Matrix

Tensor = Any  # a tensor of the Keras backend in use, or an array
LossFunction = Callable[[Tensor, Tensor], Tensor]

_OUT_OF_REACH = {
    "targets": "needs example ids, as it remembers every example's past predictions",
    "peers": "needs other examples' labels and predictions, drawn anew in every epoch",
}


@dataclasses.dataclass(frozen=True, eq=False)
class CorruptedLabels:
    """One noisy labelling.

    Attributes:
        labels: observed labels [n], of the type of the true ones.
        flipped: which of them are wrong [n].
        transition_matrix: nominal T[i, j] = P(observed j | true i), or None where the noise model has none.
        realised_transition_matrix: shares in these very labels; rows of classes without an example are NaN.
        rate: nominal rate: the one asked for, or what the noise model amounts to on these labels if it takes none.
        realised_rate: share of labels that are wrong.
    """

    labels: np.ndarray[Any, Any]
    flipped: np.ndarray[Any, np.dtype[np.bool_]]
    transition_matrix: Matrix | None
    realised_transition_matrix: Matrix
    rate: float
    realised_rate: float


def corrupt_labels(
    labels: Any,
    noise: str,
    *,
    rate: float | None = None,
    seed: int = 0,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    features: Any = None,
    probabilities: Any = None,
) -> CorruptedLabels:
    """Draws noisy labels; the same arguments give the same labels, those that ``flowernoise corrupt`` draws for train.

    Args:
        labels: true labels [n], whole numbers from 0; left as they are.
        noise: spec of a noise model, such as ``symmetric`` or ``annotators:label=majority``.
        rate: 0 … 1; left out for models that take none (``matrix:T.csv``).
        seed: another seed, another draw.
        num_classes: c; the largest label + 1 if None.
        class_names: of the classes, for ``asymmetric:pairs=…``; their numbers if None.
        features: [n, d], for ``instance``.
        probabilities: a clean model's answers [n, c] to examples that it was not trained on, for ``boundary``, and for
            ``asymmetric`` without pairs.

    Raises:
        BadRequestError: (a ValueError) names the argument and what is wrong with it.

    >>> import flowernoise
    >>> draw = flowernoise.corrupt_labels([0, 1, 2, 0, 1, 2, 0, 1, 2, 0], "symmetric", rate=0.3)
    >>> draw.labels.tolist(), int(draw.flipped.sum())
    ([1, 1, 2, 0, 1, 0, 0, 1, 1, 0], 3)
    """
    true, c = _checked_labels(labels, num_classes)
    spec = noise_models.parse(noise)
    request = NoiseRequest(
        labels=true,
        num_classes=c,
        rate=_checked_rate(rate, spec),
        generator=generator(seed, "draw", str(spec), "train"),
        shared=generator(seed, "draw", str(spec), "shared"),
        class_names=None if class_names is None else _checked_names(class_names, c),
        features=None if features is None else _checked_rows("features", features, len(true), None),
    )
    if probabilities is not None:
        answers = _checked_rows("probabilities", probabilities, len(true), c)
        request = dataclasses.replace(request, probabilities=answers, confusion=out_of_fold.confusion(answers, true))
    check_inputs(spec, request)
    noisy = spec(request)
    flipped = noisy.labels != true
    given = np.asarray(labels).dtype
    return CorruptedLabels(
        labels=noisy.labels.astype(given if np.can_cast(np.min_scalar_type(c - 1), given) else np.int64),
        flipped=flipped,
        transition_matrix=noisy.transition_matrix,
        realised_transition_matrix=matrices.realised(true, noisy.labels, c),
        rate=request.rate if is_rated(spec) else expected_rate(true, noisy),
        realised_rate=float(flipped.mean()),
    )


def loss(spec: str, *, transition_matrix: Any = None) -> LossFunction:
    """A loss as a function of one-hot labels [n, c] and logits [n, c] that gives n values, one an example.

    It serves as the ``loss=`` of ``model.compile``; the model's last layer then has no softmax.

    Args:
        spec: spec of a loss, such as ``gce:q=0.5``.
        transition_matrix: T[i, j] = P(observed j | true i) [c, c], for ``forward`` and ``backward``.

    Raises:
        BadRequestError: (a ValueError) an unknown loss or parameter, T missing, not stochastic or not invertible, or a
            loss that needs more than labels and logits (``elr``, ``peer``).

    >>> import flowernoise
    >>> gce = flowernoise.loss("gce:q=0.5")
    >>> round(float(gce([[0.0, 1.0]], [[2.0, 0.0]])[0]), 2)
    1.31
    """
    parsed = losses.parse(spec)
    needs = parsed.entry.properties.get("needs", ())
    for need in needs:
        if need in _OUT_OF_REACH:
            raise BadRequestError(
                f"loss {parsed.name} {_OUT_OF_REACH[need]}, which a function of labels and logits is not given; "
                f"train with it by `flowernoise train --loss {parsed}`"
            )
    T = _matrix_of(parsed, transition_matrix)
    extras = tuple(_inverse(T, parsed.name) if need == "inverse_transition_matrix" else T for need in needs)

    def function(y_true: Tensor, logits: Tensor) -> Tensor:
        return parsed(y_true, logits, *extras)

    function.__name__ = parsed.name
    function.__doc__ = parsed.entry.function.__doc__
    return function


def _matrix_of(spec: Spec, given: Any) -> Matrix | None:
    """The T that a loss is to take: the one given, or that of the file in its spec; None if it takes none."""
    source, owner = spec.values.get("T"), f"{spec.entry.kind} {spec.name}"
    if source is None:
        if given is not None:
            raise BadRequestError(f"{owner} takes no transition_matrix; forward and backward do")
        return None
    if given is not None:
        return matrices.checked(given, None, f"{owner}: transition_matrix")
    if source in ("true", "estimated"):
        raise BadRequestError(f"{owner} needs transition_matrix=…, an array [classes, classes] whose rows sum to 1")
    return matrices.read(source, None, owner=owner)


def _inverse(T: Matrix | None, name: str) -> Matrix:
    if T is None or not heads.invertible(T[None]).all():
        raise BadRequestError(
            f"loss {name}: transition_matrix has no inverse, as some labels say nothing about the class"
        )
    return np.asarray(np.linalg.inv(T))


def _checked_labels(labels: Any, num_classes: int | None) -> tuple[np.ndarray[Any, np.dtype[np.int64]], int]:
    array = np.asarray(labels)
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iu":
        raise BadRequestError(
            "labels must be whole numbers in one dimension, at least one; "
            f"these are {array.dtype} of shape {array.shape}"
        )
    least, most = int(array.min()), int(array.max())
    c = most + 1 if num_classes is None else num_classes
    if least < 0 or most >= c:
        raise BadRequestError(f"labels go from {least} to {most}; {c} classes are numbered from 0 to {c - 1}")
    return array.astype(np.int64), c


def _checked_rate(rate: float | None, spec: Spec) -> float:
    if not is_rated(spec):
        if rate is not None:
            raise BadRequestError(f"noise model {spec.name} takes no rate; leave it out")
        return 0.0
    if rate is None:
        raise BadRequestError(f"noise model {spec.name} needs rate=…, from 0 to 1")
    if not 0 <= rate <= 1:
        raise BadRequestError(f"rate {rate:g} is not between 0 and 1")
    return float(rate)


def _checked_names(names: Sequence[str], num_classes: int) -> tuple[str, ...]:
    if len(names) != num_classes or len(set(names)) != num_classes:
        raise BadRequestError(f"class_names must be {num_classes} different names, one for each class")
    return tuple(names)


def _checked_rows(name: str, values: Any, rows: int, columns: int | None) -> np.ndarray[Any, Any]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or len(array) != rows or columns not in (None, array.shape[1]):
        wanted = f"[{rows}, {'any' if columns is None else columns}]"
        raise BadRequestError(f"{name} must be of shape {wanted}, a row for each label; they are {array.shape}")
    if not np.isfinite(array).all():
        raise BadRequestError(f"{name} are not all finite")
    return array
