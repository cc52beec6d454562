"""The functions and classes that ``flowernoise`` offers to notebooks and to your own training code."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flowernoise.analysis.label_issues import search
from flowernoise.analysis.label_issues.bracket import NoiseEstimate
from flowernoise.catalogue import transition_matrix as matrices
from flowernoise.catalogue.detectors import detectors
from flowernoise.catalogue.detectors import needs_of as needs_of_detector
from flowernoise.catalogue.labelling import NoiseRequest
from flowernoise.catalogue.losses import NEEDS, losses, needs_of
from flowernoise.catalogue.noise import check_inputs, expected_rate, from_matrix, is_rated, noise_models, stream_name
from flowernoise.catalogue.transition_matrix import Matrix
from flowernoise.errors import BadRequestError
from flowernoise.randomness import generator
from flowernoise.registry import Spec, did_you_mean
from flowernoise.store.artifacts import Artifacts as Artifacts
from flowernoise.training import out_of_fold, tasks

Tensor = Any  # a tensor of the Keras backend in use, or an array


@dataclasses.dataclass(frozen=True, eq=False)
class CorruptedLabels:
    """One noisy labelling.

    Attributes:
        labels: observed labels [n], of the same type as the true ones.
        flipped: which of them are wrong [n].
        transition_matrix: nominal T[i, j] = P(observed j | true i), or None if the noise model does not have one.
        realised_transition_matrix: the shares in these labels; rows of classes without examples are NaN.
        rate: nominal rate, as given; for noise models that do not take a rate, the one they imply for these labels.
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
    noise: Any,
    *,
    rate: float | None = None,
    seed: int = 0,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    features: Any = None,
    probabilities: Any = None,
) -> CorruptedLabels:
    """Draws noisy labels. The same arguments give the same labels, as ``flowernoise corrupt`` draws them for train.

    Args:
        labels: true labels [n], whole numbers from 0 or class names; they are not changed.
        noise: spec of a noise model, such as ``symmetric`` or ``annotators:label=majority``; or T[i, j] = P(observed j
            | true i) as an array [c, c] whose rows sum to 1.
        rate: 0 … 1; leave it out for models that do not take a rate (``matrix:T.csv``).
        seed: a different seed gives a different draw.
        num_classes: c; the largest label + 1 if None.
        class_names: used by ``asymmetric:pairs=…``; the class numbers if None. If labels are names, this gives the
            order of the classes; alphabetical if None.
        features: [n, d], for ``instance``.
        probabilities: a clean model's predictions [n, c] for examples it was not trained on; for ``boundary``, and for
            ``asymmetric`` without pairs.

    Raises:
        BadRequestError: (a ValueError) names the argument and what is wrong with it.

    >>> import flowernoise
    >>> draw = flowernoise.corrupt_labels([0, 1, 2, 0, 1, 2, 0, 1, 2, 0], "symmetric", rate=0.3)
    >>> draw.labels.tolist(), int(draw.flipped.sum())
    ([1, 1, 2, 0, 1, 0, 0, 1, 1, 0], 3)
    >>> flowernoise.corrupt_labels(["rose", "tulip"] * 5, [[0.8, 0.2], [0, 1]]).labels.tolist().count("tulip")
    6
    """
    named = np.asarray(labels)
    if named.dtype.kind in "UO":
        labels, class_names = _numbered(named, class_names)
        num_classes = len(class_names) if num_classes is None else num_classes
    true, c = _checked_labels(labels, num_classes)
    T = None if isinstance(noise, str) else matrices.checked(noise, c, "noise")
    spec = noise_models.parse(noise if T is None else "matrix:array")
    request = NoiseRequest(
        labels=true,
        num_classes=c,
        rate=_checked_rate(rate, spec),
        generator=generator(seed, "draw", stream_name(spec), "train"),
        shared=generator(seed, "draw", stream_name(spec), "shared"),
        class_names=None if class_names is None else _checked_names(class_names, c),
        features=None if features is None else _checked_rows("features", features, len(true), None),
    )
    if probabilities is not None:
        predictions = _checked_rows("probabilities", probabilities, len(true), c)
        request = dataclasses.replace(
            request, probabilities=predictions, confusion=out_of_fold.confusion(predictions, true)
        )
    check_inputs(spec, request)
    noisy = spec(request) if T is None else from_matrix(request, T)
    flipped = noisy.labels != true
    return CorruptedLabels(
        labels=_as_given(noisy.labels, named, class_names, c),
        flipped=flipped,
        transition_matrix=noisy.transition_matrix,
        realised_transition_matrix=matrices.realised(true, noisy.labels, c),
        rate=request.rate if is_rated(spec) else expected_rate(true, noisy),
        realised_rate=float(flipped.mean()),
    )


def estimate_transition_matrix(labels: Any, probabilities: Any) -> Matrix:
    """Estimates T[i, j] = P(observed j | true i) from noisy labels and a model's predictions, without clean labels.

    See :func:`flowernoise.catalogue.transition_matrix.estimated` for the method. It works best with the predictions of
    a model that was trained on these labels with cross-entropy and stopped early, before it memorised them.

    Args:
        labels: observed labels [n], whole numbers from 0.
        probabilities: of the observed labels [n, c], such as a model's softmax.

    Returns:
        [c, c]; rows sum to 1. A class that the model is sure of for fewer than 5 examples gets its row of the identity.

    Raises:
        BadRequestError: (a ValueError) names the argument and what is wrong with it.

    >>> import flowernoise
    >>> predictions = [[0.8, 0.2]] * 10 + [[0.1, 0.9]] * 10
    >>> flowernoise.estimate_transition_matrix([0] * 8 + [1] * 2 + [1] * 9 + [0], predictions).round(2).tolist()
    [[0.8, 0.2], [0.1, 0.9]]
    """
    count = np.asarray(labels).size
    predictions = _checked_rows("probabilities", probabilities, count, None)
    if predictions.min(initial=0) < -0.1 or predictions.max(initial=1) > 1.1:
        raise BadRequestError("probabilities are not all between 0 and 1; if they are logits, apply softmax first")
    observed, _ = _checked_labels(labels, predictions.shape[1])
    return matrices.estimated(observed, predictions)[0]


@dataclasses.dataclass(frozen=True, eq=False)
class LabelIssues:
    """Which labels look wrong; arrays [n], in the order of the labels, with cleanlab's names where it has the same.

    Attributes:
        is_label_issue: whether the label is more probably wrong than right, by ``label_score``.
        label_score: rough probability that the label is right, 0 … 1; lower is more suspicious. Its mean is 1 − the
            middle of the bracket.
        given_label: the labels as given.
        predicted_label: the class that the photo looks like to a model that did not learn from its label.
        kind: what the matter is: ``wrong`` (one class is plausible, and it is not the given one), ``ambiguous``
            (several are, or the given one alone) or ``outlying`` (none is); empty where ``is_label_issue`` is false.
        score: of the detector; higher is more suspicious, and only the order means something.
        detector: its spec.
        noise: how many labels are wrong, and how they are mixed up.
    """

    is_label_issue: np.ndarray[Any, np.dtype[np.bool_]]
    label_score: np.ndarray[Any, np.dtype[np.float64]]
    given_label: np.ndarray[Any, Any]
    predicted_label: np.ndarray[Any, Any]
    kind: np.ndarray[Any, np.dtype[np.str_]]
    score: np.ndarray[Any, np.dtype[np.float64]]
    detector: str
    noise: NoiseEstimate

    def ranked(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Numbers of all photos [n], the most suspicious first."""
        return np.argsort(-self.score, kind="stable")


def find_label_issues(
    labels: Any,
    probabilities: Any = None,
    features: Any = None,
    *,
    groups: Any = None,
    detector: str | None = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
) -> LabelIssues:
    """Finds labels that look wrong; no clean label is needed.

    From features, such as a pretrained network's, linear heads are trained out of fold. The detector is then chosen by
    noise: a few more labels are made wrong in the way that labels seem to be mixed up, and the detector that finds
    those best scores the labels; where chance may explain its lead, ranks are averaged. From probabilities alone the
    self-confidence and the margin are averaged.

    Args:
        labels: given labels [n], whole numbers from 0 or names of classes.
        probabilities: of the labels [n, c], by a model that was **not** trained on the photo it is asked about
            (cross-validation), such as cleanlab's ``pred_probs``. Columns are in the order of the classes.
        features: [n, d]; better than probabilities where you have both to choose from.
        groups: which photos are near duplicates [n], equal numbers or names for photos of a group. They share a fold
            and do not vote for each other. If None, photos of equal features are a group.
        detector: spec of a detector, such as ``margin`` or ``neighbours:k=20``; chosen if None.
        class_names: of labels that are names, in the order of the columns; alphabetical if None.
        seed: of folds and injected noise.

    Raises:
        BadRequestError: (a ValueError) names the argument and what is wrong with it.

    >>> import flowernoise, numpy as np
    >>> features = np.repeat(np.eye(2), 50, axis=0) + np.random.default_rng(0).normal(size=(100, 2)) / 10
    >>> labels = np.repeat(["rose", "tulip"], 50)
    >>> labels[7] = "tulip"
    >>> issues = flowernoise.find_label_issues(labels, features=features)
    >>> int(issues.ranked()[0]), str(issues.predicted_label[7]), str(issues.kind[7])
    (7, 'rose', 'wrong')
    """
    spec = None if detector is None else detectors.parse(detector)
    if spec is not None and features is None and (lacking := set(needs_of_detector(spec)) - {"probabilities"}):
        raise BadRequestError(f"detector {spec} needs features=…, [n, d], for {' and '.join(sorted(lacking))}")
    material, given = _material(labels, probabilities, features, groups, class_names, seed)
    found = search.search(material, spec)
    is_issue = found.p_wrong > 0.5
    return LabelIssues(
        is_label_issue=is_issue,
        label_score=1 - found.p_wrong,
        given_label=given,
        predicted_label=_as_given(found.suggested, given, material.classes, material.num_classes),
        kind=np.where(is_issue, found.kind, ""),
        score=found.scores,
        detector=str(found.detector),
        noise=found.noise,
    )


def estimate_noise(
    labels: Any,
    probabilities: Any = None,
    features: Any = None,
    *,
    groups: Any = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
) -> NoiseEstimate:
    """Estimates how many labels are wrong, as a bracket, and how they are mixed up; no clean label is needed.

    The ends of the bracket are answers of estimators that err in different directions (confident joint, anchor and,
    from features, HOC); see :mod:`flowernoise.analysis.label_issues.estimators`. It is no confidence interval.

    Args:
        labels: given labels [n], whole numbers from 0 or names of classes.
        probabilities: of the labels, out of fold, as for :func:`find_label_issues` [n, c].
        features: [n, d].
        groups: which photos are near duplicates [n].
        class_names: of labels that are names, in the order of the columns; alphabetical if None.
        seed: of folds.

    Raises:
        BadRequestError: (a ValueError) names the argument and what is wrong with it.

    >>> import flowernoise, numpy as np
    >>> p = np.repeat([[0.8, 0.2], [0.2, 0.8]], 50, axis=0)
    >>> noise = flowernoise.estimate_noise([0] * 40 + [1] * 10 + [1] * 40 + [0] * 10, p)
    >>> round(noise.rate_low, 3), round(noise.rate_high, 3), noise.transition_matrix.round(2).tolist()
    (0.2, 0.2, [[0.8, 0.2], [0.2, 0.8]])
    """
    return search.estimate(_material(labels, probabilities, features, groups, class_names, seed)[0])


def _material(
    labels: Any, probabilities: Any, features: Any, groups: Any, class_names: Sequence[str] | None, seed: int
) -> tuple[search.AuditMaterial, np.ndarray[Any, Any]]:
    """What an audit works on, checked, and the labels as an array of the given type."""
    if probabilities is None and features is None:
        raise BadRequestError("labels alone tell nothing; give features=…, [n, d], or probabilities=…, [n, c]")
    given = np.asarray(labels)
    names: Sequence[str] | None = None
    if given.dtype.kind in "UO":
        labels, names = _numbered(given, class_names)
    elif class_names is not None:
        raise BadRequestError("class_names are for labels that are names; these are numbers")
    count = given.size
    predictions = None if probabilities is None else _checked_probabilities(probabilities, count)
    width = None if predictions is None else predictions.shape[1]
    if names is not None and width not in (None, len(names)):
        raise BadRequestError(
            f"probabilities have {width} columns, but there are {len(names)} classes; class_names=… lists all in order"
        )
    checked, c = _checked_labels(labels, len(names) if names is not None else width)
    if len(np.unique(checked)) < 2:
        raise BadRequestError(f"all labels are {given[0]!s}; with a single class, none can be taken for another")
    material = search.AuditMaterial(
        labels=checked,
        num_classes=c,
        probabilities=predictions,
        features=None if features is None else _checked_rows("features", features, count, None),
        groups=None if groups is None else _checked_groups(groups, count),
        classes=None if names is None else tuple(names),
        seed=seed,
    )
    return material, given


def _checked_probabilities(values: Any, rows: int) -> np.ndarray[Any, Any]:
    array = _checked_rows("probabilities", values, rows, None)
    if array.min(initial=0) < -0.1 or array.max(initial=1) > 1.1:
        raise BadRequestError("probabilities are not all between 0 and 1; of logits take the softmax first")
    array = np.maximum(array, 0)
    sums = array.sum(axis=1, keepdims=True)
    if (np.abs(sums - 1) > 0.1).any():
        raise BadRequestError(f"probabilities: row {int(np.abs(sums - 1).argmax()) + 1} does not sum to 1")
    return np.asarray(array / sums)


def _checked_groups(groups: Any, rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    array = np.asarray(groups)
    if array.shape != (rows,) or array.dtype.kind not in "iuUO":
        raise BadRequestError(f"groups must be numbers or names of shape [{rows}], one for each label; {array.shape}")
    return np.unique(array.astype(str), return_inverse=True)[1].astype(np.int64)


class Loss:
    """A loss as a function of labels and logits [n, c] that returns n values, one per example; made by :func:`loss`.

    A Keras model compiled with it saves the loss's spec and matrix as plain values.
    """

    def __init__(self, spec: Spec, transition_matrix: Matrix | None, *, sparse: bool) -> None:
        self.spec, self.transition_matrix, self.sparse = spec, transition_matrix, sparse
        self._extras = tuple(
            _inverse(transition_matrix, spec.name) if need == "inverse_transition_matrix" else transition_matrix
            for need in needs_of(spec)
        )
        self.__name__ = spec.name
        self.__doc__ = spec.entry.function.__doc__

    def __call__(self, y_true: Tensor, logits: Tensor) -> Tensor:
        """The loss of each example [n]; with ``sparse``, NaN where a label is not a valid class.

        Raises:
            BadRequestError: the labels do not have the shape that the loss takes.
        """
        from keras import ops

        y_true, logits = ops.convert_to_tensor(y_true), ops.convert_to_tensor(logits)
        self._check_shapes(tuple(y_true.shape), tuple(logits.shape))
        if not self.sparse:
            return self.spec(y_true, logits, *self._extras)
        classes = logits.shape[-1]
        given = ops.reshape(y_true, (-1,))
        labels = ops.cast(given, "int32")
        is_class = (labels >= 0) & (labels < classes) & (ops.cast(labels, given.dtype) == given)
        values = self.spec(ops.one_hot(ops.where(is_class, labels, 0), classes), logits, *self._extras)
        return ops.where(is_class, values, float("nan"))

    def get_config(self) -> dict[str, Any]:
        """What Keras saves with a model."""
        defaults = {key: self.spec.entry.parameters[key].default for key in ("T", "sha256") if key in self.spec.values}
        spec = Spec(self.spec.entry, {**self.spec.values, **defaults})  # the matrix itself is saved, not its file name
        matrix = None if self.transition_matrix is None else self.transition_matrix.tolist()
        return {"spec": str(spec), "transition_matrix": matrix, "sparse": self.sparse}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Loss:
        """Restores a saved loss. It never reads a file, even if the config names one.

        Raises:
            BadRequestError: the config is not what :meth:`get_config` returns.
        """
        try:
            spec, matrix, sparse = str(config["spec"]), config["transition_matrix"], bool(config["sparse"])
        except KeyError as error:
            raise BadRequestError(f"a saved loss has no {error}") from error
        if "T" in losses.parse(spec).values and matrix is None:
            raise BadRequestError(f"saved loss {spec} has no transition matrix")
        return loss(spec, transition_matrix=matrix, sparse=sparse)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_config, (self.get_config(),)  # used to copy and pickle

    def _check_shapes(self, labels: tuple[int | None, ...], logits: tuple[int | None, ...]) -> None:
        """Refuses shapes that would silently broadcast and train something else."""
        shapes = f"labels {_shape(labels)} and logits {_shape(logits)}"
        if len(logits) != 2 or logits[1] == 1:
            raise BadRequestError(f"loss {self.spec.name} takes logits [n, c] for at least 2 classes, not {shapes}")
        same_count = None in (labels[:1] + logits[:1]) or labels[:1] == logits[:1]
        if self.sparse and not (len(labels) == 1 or labels[1:] in ((1,), (None,))):
            raise BadRequestError(
                f"loss {self.spec.name} with sparse=True takes class numbers [n] or [n, 1], not {shapes}; "
                "leave sparse out for one-hot labels"
            )
        if not self.sparse and (len(labels) != 2 or labels[1] not in (None, logits[1])):
            raise BadRequestError(
                f"loss {self.spec.name} takes one-hot labels [n, c], not {shapes}; "
                f"for class numbers use flowernoise.loss({str(self.spec)!r}, sparse=True)"
            )
        if not same_count:
            raise BadRequestError(f"loss {self.spec.name} takes as many labels as logits, not {shapes}")


def loss(spec: str, *, transition_matrix: Any = None, sparse: bool = False) -> Loss:
    """A loss as a function of one-hot labels [n, c] and logits [n, c] that returns n values, one per example.

    Pass it to ``model.compile`` as ``loss=``, on any Keras backend; the model's last layer must not apply softmax.
    A model compiled with it can be saved. To load it in another program, call this function once before
    ``keras.saving.load_model``, so that Keras knows the losses.

    Args:
        spec: spec of a loss, such as ``gce:q=0.5``.
        transition_matrix: T[i, j] = P(observed j | true i) [c, c], for ``forward`` and ``backward``;
            ``flowernoise.estimate_transition_matrix`` estimates one.
        sparse: the labels are class numbers [n] or [n, 1], not one-hot.

    Raises:
        BadRequestError: (a ValueError) the loss or a parameter is unknown, T is missing, not stochastic or not
            invertible, or the loss needs more than labels and logits (``elr``, ``peer``). The returned function
            raises it for labels of the wrong shape.

    >>> import flowernoise
    >>> gce = flowernoise.loss("gce:q=0.5")
    >>> round(float(gce([[0.0, 1.0]], [[2.0, 0.0]])[0]), 2)
    1.31
    >>> round(float(flowernoise.loss("gce:q=0.5", sparse=True)([1], [[2.0, 0.0]])[0]), 2)
    1.31
    """
    parsed = losses.parse(spec)
    for need in needs_of(parsed):
        if NEEDS[need].out_of_reach:
            raise BadRequestError(
                f"loss {parsed.name} {NEEDS[need].out_of_reach}; a function of labels and logits cannot supply that, "
                f"so use `flowernoise train --loss {parsed}`"
            )
    made = Loss(parsed, _matrix_of(parsed, transition_matrix), sparse=sparse)
    _make_known_to_keras()
    return made


@functools.cache
def _make_known_to_keras() -> None:
    import keras

    keras.saving.register_keras_serializable("flowernoise")(Loss)


def _shape(shape: tuple[int | None, ...]) -> str:
    """A shape as users write it.

    >>> _shape((None, 3))
    '[n, 3]'
    """
    return f"[{', '.join('n' if size is None else str(size) for size in shape)}]"


def _matrix_of(spec: Spec, given: Any) -> Matrix | None:
    """The T for a loss: the one given, or the one in the file its spec names; None if the loss does not take one."""
    source, owner = spec.values.get("T"), f"{spec.entry.kind} {spec.name}"
    if source is None:
        if given is not None:
            raise BadRequestError(f"{owner} does not take a transition_matrix; forward and backward do")
        return None
    if given is not None:
        return matrices.checked(given, None, f"{owner}: transition_matrix")
    if "T" not in spec.files:
        raise BadRequestError(f"{owner} needs transition_matrix=…, an array [classes, classes] whose rows sum to 1")
    return matrices.read(source, None, owner=owner)


def _inverse(T: Matrix | None, name: str) -> Matrix:
    if T is None or not tasks.invertible(T[None]).all():
        raise BadRequestError(
            f"loss {name}: transition_matrix has no inverse, as some labels say nothing about the class"
        )
    return np.asarray(np.linalg.inv(T))


def _checked_labels(labels: Any, num_classes: int | None) -> tuple[np.ndarray[Any, np.dtype[np.int64]], int]:
    array = np.asarray(labels)
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iu":
        raise BadRequestError(
            "labels must be a non-empty, one-dimensional array of whole numbers; "
            f"these are {array.dtype} of shape {array.shape}"
        )
    least, most = int(array.min()), int(array.max())
    c = most + 1 if num_classes is None else num_classes
    if least < 0 or most >= c:
        raise BadRequestError(f"labels go from {least} to {most}; {c} classes are numbered from 0 to {c - 1}")
    return array.astype(np.int64), c


def _numbered(labels: np.ndarray[Any, Any], class_names: Sequence[str] | None) -> tuple[list[int], list[str]]:
    """Class numbers for labels that are names, and the class names."""
    given = labels.ravel().tolist()
    if not given or labels.ndim != 1 or not all(isinstance(label, str) for label in given):
        raise BadRequestError("labels must be a non-empty, one-dimensional array of whole numbers or class names")
    names = sorted(set(given)) if class_names is None else list(class_names)
    numbers = {name: number for number, name in enumerate(names)}
    unknown = next((label for label in given if label not in numbers), None)
    if unknown is not None:
        raise BadRequestError(
            f"label {unknown!r} is not in class_names{did_you_mean(unknown, names)}; these are {', '.join(names)}"
        )
    return [numbers[label] for label in given], names


def _as_given(
    labels: np.ndarray[Any, Any], given: np.ndarray[Any, Any], class_names: Sequence[str] | None, num_classes: int
) -> np.ndarray[Any, Any]:
    """Class numbers in the form of the given labels: names, or numbers of the same type if they fit."""
    if given.dtype.kind in "UO":
        names: np.ndarray[Any, Any] = np.array(class_names, dtype=object if given.dtype.kind == "O" else None)
        return np.asarray(names[labels])
    fits = np.can_cast(np.min_scalar_type(num_classes - 1), given.dtype)
    return labels.astype(given.dtype if fits else np.int64)


def _checked_rate(rate: float | None, spec: Spec) -> float:
    if not is_rated(spec):
        if rate is not None:
            raise BadRequestError(f"noise model {spec.name} does not take a rate; leave it out")
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
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadRequestError(f"{name} are not numbers in rows of equal length") from error
    if array.ndim != 2 or len(array) != rows or columns not in (None, array.shape[1]):
        wanted = f"[{rows}, {'any' if columns is None else columns}]"
        raise BadRequestError(f"{name} must be of shape {wanted}, one row per label; their shape is {array.shape}")
    if not np.isfinite(array).all():
        raise BadRequestError(f"{name} are not all finite")
    return array
