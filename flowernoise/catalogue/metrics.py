"""Metrics: what is measured about a trained run.

A metric is one decorated function. Its :class:`MetricFacts` tell tables, pictures, sentences and intervals all they
need to know, so none of them mentions a metric by name.

A metric that is an average over test photos returns each photo's part, so that intervals and tests can resample photos.
F1, MCC and AUROC are not averages, but they are smooth. A photo's part is then the metric plus the photo's influence on
it (its first-order effect; for AUROC this is DeLong's method). The mean of the parts is the metric, and their spread
gives its standard error. Any other metric gives one value per run, and its interval is for the mean over seeds.

Source: Efron and Tibshirani, An introduction to the bootstrap, chapter 21, 1993 (influence); DeLong, DeLong and
Clarke-Pearson, Comparing the areas under two or more correlated ROC curves, Biometrics 44, 1988.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np

from flowernoise.errors import BadRequestError
from flowernoise.registry import Between, Registry, Spec, did_you_mean

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Integers = np.ndarray[Any, np.dtype[np.integer[Any]]]
Function = Callable[..., "Measured"]
metrics = Registry("metric")
USUAL = "accuracy"  # the default metric
_AT_ONCE = 1 << 17  # scores ranked at once; fastest when measured


@dataclasses.dataclass(frozen=True, eq=False)
class RunPredictions:
    """What R runs predict; leave out what the metric does not need.

    Args:
        predicted: predicted class of each test photo [R, n].
        labels: true class of each test photo [n].
        classes: names of the classes.
        memorised: share of the corrupted training photos on which a run predicts the wrong label it was given [R]; NaN
            if no label is wrong.
        recovered: share of the same photos on which it predicts the true label [R]; NaN if no label is wrong.
        probabilities: of each class for each test photo [R, n, c].
    """

    predicted: Integers
    labels: Integers
    classes: tuple[str, ...]
    memorised: Floats | None = None
    recovered: Floats | None = None
    probabilities: Floats | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """A metric's values.

    Args:
        values: one per run [R].
        photos: each photo's part [R, n], if the metric has parts.
        groups: each photo's group [n], −1 if left out; the metric is the mean of the groups' means.
    """

    values: Floats
    photos: Floats | None = None
    groups: Integers | None = None


@dataclasses.dataclass(frozen=True)
class Chance:
    """The score for predicting the same class for every photo.

    Args:
        name: the name in tables.
        of: computes the score from the number of test photos in each class.
    """

    name: str
    of: Callable[[Sequence[int]], float]

    @property
    def score(self) -> str:
        """The name in sentences.

        >>> Chance("one answer", _half).score
        'one-answer score'
        """
        return f"{self.name.replace(' ', '-')} score"


@dataclasses.dataclass(frozen=True)
class MetricFacts:
    """What is known about a metric.

    Args:
        title: the name in sentences, such as ``macro F1``.
        better: which direction is better.
        unit: ``share`` (shown in %) or ``plain``.
        range: the lowest and highest possible values.
        needs: the optional fields of :class:`RunPredictions` that it uses.
        of: the photos it is measured on: ``test``, or the ``training`` photos with wrong labels.
        chance: the score for always giving the same answer, if known.
        beneath: the metric to show with it if there are two classes.
        counts_right: whether it is the share of test photos classified correctly; the effect of wrong test labels on
            that share is known.
    """

    title: str
    better: Literal["higher", "lower"]
    unit: Literal["share", "plain"]
    range: tuple[float, float]
    needs: tuple[str, ...] = ()
    of: Literal["test", "training"] = "test"
    chance: Chance | None = None
    beneath: str | None = None
    counts_right: bool = False

    @property
    def sign(self) -> int:
        """Multiply values by this to make higher better."""
        return 1 if self.better == "higher" else -1


def facts_of(metric: Spec | str) -> MetricFacts:
    """The facts about a metric, with its class named in the title.

    >>> facts_of("macro_f1").title, facts_of("recall:roses").title, facts_of("nll").better
    ('macro F1', 'recall of roses', 'lower')
    """
    spec = metrics.parse(metric) if isinstance(metric, str) else metric
    facts: MetricFacts = spec.entry.properties["facts"]
    of = [str(spec.values[spec.entry.unkeyed])] if spec.entry.unkeyed else []
    return dataclasses.replace(facts, title=" of ".join([facts.title, *of]))


def _metric(facts: MetricFacts, *, unkeyed: str | None = None) -> Callable[[Function], Function]:
    """Decorator: registers a metric."""
    return metrics.register(unkeyed=unkeyed, facts=facts)


def _share_of_largest(test_photos: Sequence[int]) -> float:
    return max(test_photos) / sum(test_photos)


def _zero(_: Sequence[int]) -> float:
    return 0.0


def _half(_: Sequence[int]) -> float:
    return 0.5


def _share_of_each(test_photos: Sequence[int]) -> float:
    return 1 / sum(count > 0 for count in test_photos)


@_metric(
    MetricFacts(
        "accuracy",
        "higher",
        "share",
        (0, 1),
        chance=Chance("majority", _share_of_largest),
        beneath="balanced_accuracy",
        counts_right=True,
    )
)
def accuracy(predictions: RunPredictions) -> Measured:
    """Share of test photos that are classified correctly.

    Formula: mean of 1[predicted = true].

    Source: textbook. Compare it with the majority score.

    >>> accuracy(RunPredictions(np.array([[0, 1, 1, 1]]), np.array([0, 0, 0, 1]), ("a", "b"))).values.tolist()
    [0.5]
    """
    return _mean_of_groups(predictions, np.zeros(len(predictions.labels), dtype=int))


@_metric(MetricFacts("balanced accuracy", "higher", "share", (0, 1), chance=Chance("one answer", _share_of_each)))
def balanced_accuracy(predictions: RunPredictions) -> Measured:
    """Mean recall over classes: always answering one class scores 1/c, however frequent that class is.

    Formula: mean over the test split's classes of the share of their photos classified correctly.

    Source: Brodersen, Ong, Stephan and Buhmann, The balanced accuracy and its posterior distribution, ICPR 2010.

    >>> balanced_accuracy(RunPredictions(np.array([[0, 0, 0, 0]]), np.array([0, 0, 0, 1]), ("a", "b"))).values
    array([0.5])
    """
    return _mean_of_groups(predictions, predictions.labels)


@_metric(MetricFacts("recall", "higher", "share", (0, 1)), unkeyed="label")
def recall(predictions: RunPredictions, *, label: str) -> Measured:
    """Share of one class's test photos that are classified correctly.

    Example: ``flowernoise compare --metric recall:roses``

    >>> recall(RunPredictions(np.array([[0, 1, 1]]), np.array([0, 0, 1]), ("a", "b")), label="a").values
    array([0.5])
    """
    if label not in predictions.classes:
        raise BadRequestError(
            f"metric recall: {label!r} is not a class{did_you_mean(label, predictions.classes)}; "
            f"there are: {', '.join(predictions.classes)}"
        )
    wanted = predictions.labels == predictions.classes.index(label)
    return _mean_of_groups(predictions, np.where(wanted, 0, -1))


@_metric(MetricFacts("macro F1", "higher", "share", (0, 1)))
def macro_f1(predictions: RunPredictions) -> Measured:
    """Mean F1 over classes, in which predicting a class too often costs as much as missing it.

    Formula: mean of 2 · right / (photos of the class + predictions of it), over classes that occur in either.

    Source: Opitz and Burst, Macro F1 and macro F1, arXiv 1911.03347, 2019 (theirs is the mean of F1, as here).

    >>> macro_f1(RunPredictions(np.array([[0, 0, 1, 1]]), np.array([0, 0, 0, 1]), ("a", "b"))).values.round(3)
    array([0.733])
    """
    confusion = _confusion(predictions)
    both = confusion.sum(axis=2) + confusion.sum(axis=1)
    of_one = np.divide(1, both, out=np.zeros_like(both), where=both > 0)
    f1 = 2 * np.diagonal(confusion, axis1=1, axis2=2) * of_one
    present = (both > 0).sum(axis=1)
    falling = f1 * of_one
    slope = 2 * np.eye(len(predictions.classes)) * of_one[:, None] - falling[:, :, None] - falling[:, None]
    return _with_influence(predictions, f1.sum(axis=1) / present, slope / present[:, None, None])


@_metric(MetricFacts("MCC", "higher", "plain", (-1, 1), chance=Chance("one answer", _zero)))
def mcc(predictions: RunPredictions) -> Measured:
    """Matthews' correlation of predicted and true classes: 0 for ignoring the photo, 1 for all correct.

    Formula: (s · r − Σ pₖ tₖ) / √((s² − Σ pₖ²)(s² − Σ tₖ²)) for s photos, r right, with pₖ predictions and tₖ
    photos of class k; 0 if the root is 0.

    Source: Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, Computational
    Biology and Chemistry 28, 2004.

    >>> mcc(RunPredictions(np.array([[0, 0, 1, 1], [0, 0, 0, 0]]), np.array([0, 0, 0, 1]), ("a", "b"))).values.round(3)
    array([0.577, 0.   ])
    """
    confusion, n = _confusion(predictions), len(predictions.labels)
    true, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    right = np.trace(confusion, axis1=1, axis2=2)
    of_predicted = n**2 - (predicted**2).sum(axis=1)
    of_true = n**2 - (true**2).sum(axis=1)
    varies = of_predicted * of_true > 0
    of_predicted, of_true = np.where(varies, of_predicted, 1), np.where(varies, of_true, 1)
    root = np.sqrt(of_predicted * of_true)
    values = np.where(varies, (n * right - (true * predicted).sum(axis=1)) / root, 0)
    rise = n * np.eye(len(predictions.classes)) + right[:, None, None] - predicted[:, :, None] - true[:, None]
    fall = (n - true)[:, :, None] / of_true[:, None, None] + (n - predicted)[:, None] / of_predicted[:, None, None]
    slope = rise / root[:, None, None] - values[:, None, None] * fall
    return _with_influence(predictions, values, slope * varies[:, None, None])


@_metric(MetricFacts("AUROC", "higher", "share", (0, 1), needs=("probabilities",), chance=Chance("one answer", _half)))
def auroc(predictions: RunPredictions) -> Measured:
    """Area under the ROC curve, each class against the rest and averaged over classes: how well probabilities rank.

    Formula: chance that a photo of the class gets a higher probability for it than another photo, ties counting half;
    mean over the test split's classes. Guessing scores 0.5. With two classes, both have the same area.

    Source: Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 143, 1982.

    >>> probabilities = np.array([[[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]]])
    >>> predicted, labels = np.array([[0, 0, 0, 1]]), np.array([0, 0, 1, 1])
    >>> auroc(RunPredictions(predicted, labels, ("a", "b"), probabilities=probabilities)).values
    array([0.75])
    """
    probabilities, n = _needed(predictions, "probabilities"), len(predictions.labels)
    counts = np.bincount(predictions.labels, minlength=len(predictions.classes))
    classes = np.flatnonzero((counts > 0) & (counts < n))
    if not len(classes):
        return Measured(np.full(len(probabilities), np.nan))
    classes = classes[-1:] if len(predictions.classes) == 2 else classes
    parts = np.zeros(probabilities.shape[:2])
    step = max(1, _AT_ONCE // n)
    for k in classes:
        for start in range(0, len(parts), step):
            scores = probabilities[start : start + step, :, k]
            parts[start : start + step] += _ranked_above(scores, predictions.labels == k) / len(classes)
    return Measured(parts.mean(axis=1), parts, np.zeros(n, dtype=int))


@_metric(MetricFacts("NLL", "lower", "plain", (0, np.inf), needs=("probabilities",)))
def nll(predictions: RunPredictions) -> Measured:
    """Negative log-likelihood of the true classes, in nats: the cross-entropy on the test photos.

    Formula: mean of −ln p(true class), with p at least 1.2e-7 (the resolution of single precision), so at most 15.9.

    Source: Good, Rational decisions, Journal of the Royal Statistical Society B 14, 1952.

    >>> probabilities = np.array([[[0.5, 0.5], [0.25, 0.75]]])
    >>> predicted = labels = np.array([0, 1])
    >>> nll(RunPredictions(predicted[None], labels, ("a", "b"), probabilities=probabilities)).values.round(3)
    array([0.49])
    """
    probabilities = _needed(predictions, "probabilities")
    of_true = probabilities[:, np.arange(len(predictions.labels)), predictions.labels]
    return _mean_of_photos(-np.log(np.clip(of_true, np.finfo(np.float32).eps, 1)))


@_metric(MetricFacts("Brier score", "lower", "plain", (0, 2), needs=("probabilities",)))
def brier(predictions: RunPredictions) -> Measured:
    """Squared error of the probabilities.

    Formula: mean over photos of Σ (pₖ − 1[k = true])² over classes, 0 to 2; for two classes half of that, (p − y)².

    Source: Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78, 1950.

    >>> probabilities = np.array([[[0.5, 0.5], [0.0, 1.0]]])
    >>> brier(RunPredictions(np.array([[0, 1]]), np.array([0, 1]), ("a", "b"), probabilities=probabilities)).values
    array([0.125])
    """
    probabilities = _needed(predictions, "probabilities")
    of_true = probabilities[:, np.arange(len(predictions.labels)), predictions.labels]
    squares = np.einsum("rnk,rnk->rn", probabilities, probabilities) - 2 * of_true + 1
    return _mean_of_photos(squares / 2 if len(predictions.classes) == 2 else squares)


@_metric(MetricFacts("ECE", "lower", "share", (0, 1), needs=("probabilities",)))
def ece(predictions: RunPredictions, *, bins: Annotated[int, Between(1, 1000)] = 15) -> Measured:
    """Expected calibration error: how far the confidence of predictions is from the share that is right.

    Formula: photos are binned by the probability of the predicted class, in bins of equal width; those on an edge go
    into the lower bin. The error is the mean over bins, weighted by their photos, of |share right − mean confidence|.
    It is not an average over photos, and bins with few photos bias it upwards, so its interval is over seeds only.

    Source: Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, ICML 2017.

    >>> probabilities = np.array([[[0.9, 0.1], [0.8, 0.2]]])
    >>> predicted, labels = np.array([[0, 0]]), np.array([0, 1])
    >>> ece(RunPredictions(predicted, labels, ("a", "b"), probabilities=probabilities), bins=1).values
    array([0.35])
    """
    confidence = _needed(predictions, "probabilities").max(axis=2).astype(float)
    runs, n = confidence.shape
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1) + bins * np.arange(runs)[:, None]
    gaps = (predictions.predicted == predictions.labels) - confidence
    sums = np.bincount(bin_of.ravel(), gaps.ravel(), minlength=runs * bins).reshape(runs, bins)
    return Measured(np.abs(sums).sum(axis=1) / n)


@_metric(MetricFacts("memorised", "lower", "share", (0, 1), needs=("memorised",), of="training"))
def memorised(predictions: RunPredictions) -> Measured:
    """Share of the corrupted training photos on which a run predicts the wrong label it was given.

    Formula: mean over flipped training examples of 1[predicted = observed].

    Source: Liu, Niles-Weed, Razavian and Fernandez-Granda, NeurIPS 2020 (memorisation during training).
    """
    return Measured(_needed(predictions, "memorised"))


@_metric(MetricFacts("recovered", "higher", "share", (0, 1), needs=("recovered",), of="training"))
def recovered(predictions: RunPredictions) -> Measured:
    """Share of the corrupted training photos on which a run predicts the true label, which it was never given.

    Formula: mean over flipped training examples of 1[predicted = true].

    Source: Liu, Niles-Weed, Razavian and Fernandez-Granda, NeurIPS 2020 (there "correct" examples with wrong labels).
    """
    return Measured(_needed(predictions, "recovered"))


def recalls(predicted: Any, labels: Any, num_classes: int) -> Floats:
    """Recall of each class [R, c]; NaN for a class without test photos."""
    correct = predicted == labels
    columns = [correct[:, labels == k].mean(axis=1) if (labels == k).any() else None for k in range(num_classes)]
    return np.stack([np.full(len(predicted), np.nan) if column is None else column for column in columns], axis=1)


def _needed(predictions: RunPredictions, name: str) -> Floats:
    found: Floats | None = getattr(predictions, name)
    if found is None:
        raise BadRequestError(f"the metric needs the runs' {name}, but these predictions do not include them")
    return found


def _mean_of_groups(predictions: RunPredictions, groups: Integers) -> Measured:
    correct = (predictions.predicted == predictions.labels).astype(np.float32)
    present = [group for group in np.unique(groups) if group >= 0]
    if not present:
        return Measured(np.full(len(correct), np.nan))
    values = np.mean([correct[:, groups == group].mean(axis=1, dtype=np.float64) for group in present], axis=0)
    return Measured(values, correct, groups)


def _mean_of_photos(parts: Floats) -> Measured:
    return Measured(parts.mean(axis=1, dtype=np.float64), parts, np.zeros(parts.shape[1], dtype=int))


def _confusion(predictions: RunPredictions) -> Floats:
    """Number of photos by true and predicted class [R, c, c]."""
    c, runs = len(predictions.classes), len(predictions.predicted)
    cell = (np.arange(runs)[:, None] * c + predictions.labels) * c + predictions.predicted
    return np.bincount(cell.ravel(), minlength=runs * c * c).reshape(runs, c, c).astype(float)


def _with_influence(predictions: RunPredictions, values: Floats, slope: Floats) -> Measured:
    """Parts of a function of the confusion matrix, from its slope [R, c, c], which sums to zero over the photos."""
    runs = np.arange(len(values))[:, None]
    parts = values[:, None] + len(predictions.labels) * slope[runs, predictions.labels, predictions.predicted]
    return Measured(values, parts, np.zeros(len(predictions.labels), dtype=int))


def _ranked_above(scores: Floats, positive: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
    """Area under the ROC curve plus each photo's influence on it [R, n]; the mean is the area."""
    n = scores.shape[1]
    order = np.argsort(scores, axis=1)
    ordered, is_positive = np.take_along_axis(scores, order, axis=1), positive[order]
    places = np.arange(n)
    new = np.concatenate([np.ones((len(scores), 1), dtype=bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    first = np.maximum.accumulate(np.where(new, places, 0), axis=1)  # among the photos with the same score
    ends = np.concatenate([new[:, 1:], new[:, :1]], axis=1)
    end = np.minimum.accumulate(np.where(ends, places + 1, n)[:, ::-1], axis=1)[:, ::-1]
    negatives = np.concatenate([np.zeros((len(scores), 1), dtype=int), np.cumsum(~is_positive, axis=1)], axis=1)
    below = (np.take_along_axis(negatives, first, axis=1) + np.take_along_axis(negatives, end, axis=1)) / 2
    above = positive.sum() - ((first + end) / 2 - below)
    sizes = np.where(is_positive, positive.sum(), n - positive.sum())
    shares = np.where(is_positive, below, above) / (n - sizes)
    area = shares.mean(axis=1, where=is_positive, keepdims=True)
    parts = np.empty(scores.shape)
    np.put_along_axis(parts, order, area + (shares - area) * n / sizes, axis=1)
    return parts
