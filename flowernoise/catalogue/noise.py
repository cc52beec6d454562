"""Noise models: how training labels become wrong.

A noise model takes a :class:`NoiseRequest` and returns :class:`NoisyLabels`. It draws only from the request's
generators, so the same request gives the same labels, and it does not change the request's labels.

A model is registered with these properties:

- ``needs``: the optional inputs it takes from the request, as field names, or a function that derives them from the
  parameters (see :func:`needs_of`);
- ``rated``: False if the model itself determines how many labels are wrong, so that the request's rate is not used.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Collection
from pathlib import PurePath
from typing import Annotated, Literal

import numpy as np

from flowernoise.catalogue import transition_matrix
from flowernoise.catalogue.labelling import (
    Count,
    NoiseRequest,
    NoisyLabels,
    choose,
    choose_by_weight,
    choose_in_classes,
    count_votes,
    draw_from_rows,
    draw_workers,
    most_confused,
    named_pairs,
    needed,
    one_target_matrix,
    round_half_up,
    shared_out,
    truncated_normal,
    unit_length,
    vote_matrix,
    with_mean,
)
from flowernoise.catalogue.transition_matrix import Labels, Matrix
from flowernoise.errors import BadRequestError
from flowernoise.registry import Between, FilePath, Registry, Spec

Temperature = Annotated[float, Between(0, open="low")]

FLIP_RATE_SPREAD = 0.1  # for `instance`, as in the paper
MAX_VOTES = 200_000  # a vote's T is computed only if the workers can vote in at most this many ways

noise_models = Registry("noise model")


def needs_of(spec: Spec) -> tuple[str, ...]:
    """Names of the optional inputs that a noise model needs.

    >>> needs_of(noise_models.parse("asymmetric:pairs=0/1")), needs_of(noise_models.parse("instance"))
    ((), ('features',))
    """
    needs = spec.entry.properties.get("needs", ())
    return tuple(needs(spec.values) if callable(needs) else needs)


def is_rated(spec: Spec) -> bool:
    """Whether a noise model takes rates; False if it determines itself how many labels are wrong."""
    return bool(spec.entry.properties.get("rated", True))


def on_backbone(text: str, backbone: str) -> str:
    """A noise model's spec with this backbone filled in, if the model uses one and does not name its own.

    >>> on_backbone("instance", "efficientnet_lite0"), on_backbone("symmetric", "efficientnet_lite0")
    ('instance:backbone=efficientnet_lite0', 'symmetric')
    >>> on_backbone("instance:backbone=resnet50", "efficientnet_lite0")
    'instance:backbone=resnet50'
    """
    spec = noise_models.parse(text)
    names_one = re.search(r"[:,]\s*backbone\s*=", text)
    if names_one or "backbone" not in spec.values or not needs_of(spec):
        return text
    return str(Spec(spec.entry, {**spec.values, "backbone": backbone}))


def stream_name(spec: Spec) -> str:
    """What identifies a noise model's random streams: its spec, except the name that a user gave it."""
    return str(Spec(spec.entry, {**spec.values, "name": ""}) if "name" in spec.values else spec)


def shown_names(texts: Collection[str]) -> dict[str, str]:
    """What to call noise models: the given name, else the file's or column's, else (or if names clash) the spec.

    >>> shown_names(["symmetric", "observed:a/worst.csv,sha256=1f", "observed:b.csv,name=human,sha256=2e"]).values()
    dict_values(['symmetric', 'worst', 'human'])
    """
    names = {text: _shown_name(text) for text in texts}
    taken = collections.Counter(names.values())
    return {
        text: name if taken[name] == 1 and name not in ("none", "control") else text for text, name in names.items()
    }


def specs_called(name: str, texts: Collection[str]) -> set[str]:
    """Those of the noise models that tables call by this name, or would if it were only theirs.

    >>> sorted(specs_called("human", ["symmetric", "observed:b.csv,name=human,sha256=2e", "matrix:a/human.csv"]))
    ['matrix:a/human.csv', 'observed:b.csv,name=human,sha256=2e']
    """
    return {text for text in texts if _shown_name(text) == name}


def _shown_name(text: str) -> str:
    try:
        values = noise_models.parse(text).values
    except BadRequestError:  # the control, or written by a newer version
        return text
    file = values.get("file")
    return str(values.get("name") or (PurePath(file).stem if file else values.get("column")) or text)


def check_inputs(spec: Spec, request: NoiseRequest) -> None:
    """Refuses a request that lacks an input the noise model needs.

    Raises:
        BadRequestError: names the model and the input.
    """
    for need in needs_of(spec):
        if getattr(request, need) is None:
            raise BadRequestError(f"noise model {spec.name} needs {need}, which are missing")


@noise_models.register()
def symmetric(request: NoiseRequest, *, count: Count = "exact") -> NoisyLabels:
    """A wrong label is any other class, all equally likely.

    T = (1 − η) I + η/(c − 1) (J − I), where J is all ones. At η = (c − 1)/c the labels carry no information;
    above that, the true class is the least likely label.

    Args:
        request: the labels to corrupt.
        count: ``exact`` makes round(η n) labels wrong, ``bernoulli`` tosses a coin for each.

    Source: Angluin and Laird, Learning from noisy examples, Machine Learning 2, 1988 (two classes); van Rooyen, Menon
    and Williamson, NeurIPS 2015, and Ghosh, Kumar and Sastry, AAAI 2017 (the symmetric model for c classes).

    Example: ``flowernoise corrupt --noise symmetric --rates 0.2,0.4``

    >>> request = NoiseRequest(np.zeros(10, int), 5, 0.4, np.random.default_rng(0))
    >>> int((symmetric(request).labels != 0).sum())
    4
    """
    c = request.num_classes
    chosen = choose(request, count)
    steps = request.generator.integers(1, c, size=len(request.labels)) if c > 1 else np.zeros(len(chosen), int)
    labels = np.where(chosen, (request.labels + steps) % c, request.labels)
    off_diagonal = request.rate / (c - 1) if c > 1 else 0.0
    T = np.full((c, c), off_diagonal)
    np.fill_diagonal(T, 1 - request.rate if c > 1 else 1.0)
    return NoisyLabels(labels, T)


@noise_models.register()
def uniform(request: NoiseRequest, *, count: Count = "exact") -> NoisyLabels:
    """A share ρ of the labels is redrawn from all classes, including the true one.

    T = (1 − ρ) I + (ρ/c) J; ρ (1 − 1/c) of the labels become wrong. At ρ = 1 the labels carry no information;
    no rate makes the true class the least likely. This is the first experiment's noise.

    Args:
        request: the labels to corrupt; its rate is ρ.
        count: ``exact`` redraws round(ρ n) labels, ``bernoulli`` tosses a coin for each.

    Source: Zhang, Bengio, Hardt, Recht and Vinyals, Understanding deep learning requires rethinking generalization,
    ICLR 2017 (partially corrupted labels).

    Example: ``flowernoise corrupt --noise uniform --rates 0.1,0.5``

    >>> request = NoiseRequest(np.zeros(1000, int), 2, 1.0, np.random.default_rng(0))
    >>> bool(0.4 < (uniform(request).labels != 0).mean() < 0.6)
    True
    """
    c = request.num_classes
    chosen = choose(request, count)
    labels = np.where(chosen, request.generator.integers(0, c, size=len(request.labels)), request.labels)
    T = np.full((c, c), request.rate / c)
    T[np.diag_indices(c)] += 1 - request.rate
    return NoisyLabels(labels, T)


@noise_models.register()
def pairflip(request: NoiseRequest, *, count: Count = "exact") -> NoisyLabels:
    """A wrong label is always the next class; after the last comes the first.

    T_ii = 1 − η, T_i,(i + 1 mod c) = η. Above η = 1/2 the next class is more likely than the true one.

    Args:
        request: the labels to corrupt.
        count: ``exact`` makes round(η n) labels wrong, ``bernoulli`` tosses a coin for each.

    Source: Han et al., Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels, NeurIPS 2018.

    Example: ``flowernoise corrupt --noise pairflip --rates 0.4``

    >>> pairflip(NoiseRequest(np.array([0, 1, 2]), 3, 1.0, np.random.default_rng(0))).labels.tolist()
    [1, 2, 0]
    """
    c = request.num_classes
    labels = np.where(choose(request, count), (request.labels + 1) % c, request.labels)
    return NoisyLabels(labels, one_target_matrix(np.roll(np.arange(c), -1), request.rate))


@noise_models.register(needs=lambda values: () if values["pairs"] else ("confusion",))
def asymmetric(
    request: NoiseRequest,
    *,
    pairs: str = "",
    top: Annotated[int, Between(1)] = 2,
    backbone: str = "resnet50",  # noqa: ARG001 (for the code that supplies the confusion)
    count: Count = "exact",
) -> NoisyLabels:
    """Only some classes are mistaken, each for one other class: the pairs you name, or the most confused ones.

    T_ii = 1 − η and T_ij = η for each pair i/j; the other classes keep their labels.

    Args:
        request: the labels to corrupt; η is the rate in each of the mistaken classes.
        pairs: true/observed class by name, as in ``roses/tulips+daisy/dandelion``. By default, linear heads are trained
            without noise, and the ``top`` pairs they confuse most on photos they were not trained on are taken; each
            class is mistaken for at most one other.
        top: how many pairs to take if none are named.
        backbone: the backbone whose features these heads are trained on.
        count: ``exact`` makes round(η n_i) labels of each mistaken class wrong, ``bernoulli`` tosses a coin for each.

    Source: Patrini, Rozza, Menon, Nock and Qu, Making Deep Neural Networks Robust to Label Noise: A Loss Correction
    Approach, CVPR 2017 (named pairs). Pairs from out-of-fold confusion are ours.

    Example: ``flowernoise corrupt --noise asymmetric:pairs=roses/tulips+daisy/dandelion --rates 0.2,0.4``

    >>> request = NoiseRequest(np.array([0, 0, 1, 1]), 2, 0.5, np.random.default_rng(0), class_names=("rose", "tulip"))
    >>> noisy = asymmetric(request, pairs="rose/tulip")
    >>> (noisy.labels != request.labels).reshape(2, 2).sum(axis=1).tolist()
    [1, 0]
    """
    c, rate = request.num_classes, request.rate
    targets = np.arange(c)
    for source, target in named_pairs(pairs, request) if pairs else most_confused(needed(request.confusion), top):
        targets[source] = target
    mistaken = targets != np.arange(c)
    if count == "bernoulli":
        chosen = mistaken[request.labels] & (request.generator.random(len(request.labels)) < rate)
    else:
        per_class = np.bincount(request.labels, minlength=c)
        flips = [round_half_up(rate * n) if flip else 0 for n, flip in zip(per_class, mistaken, strict=True)]
        chosen = choose_in_classes(request, np.array(flips))
    return NoisyLabels(np.where(chosen, targets[request.labels], request.labels), one_target_matrix(targets, rate))


@noise_models.register(rated=False, unkeyed="file")
def matrix(
    request: NoiseRequest,
    *,
    file: Annotated[str, FilePath()],
    name: str = "",  # noqa: ARG001 (for tables)
    sha256: str = "",
    count: Count = "exact",
) -> NoisyLabels:
    """Any transition matrix, read from a file.

    The file holds T[i, j] = P(observed j | true i): one row per true class, in the order of the classes, each summing
    to 1. Σ n_i (1 − T_ii) labels become wrong; ``--rates`` does not apply.

    Args:
        request: the labels to corrupt; its rate is not used.
        file: CSV (c rows of c numbers; columns and rows may start with class names, which are checked), JSON (a list of
            c lists) or NumPy's ``.npy``.
        name: the name in tables and pictures; if empty, the file's name without its suffix.
        sha256: start of the file's digest. ``corrupt`` adds it, so that different content makes a different draw.
        count: ``exact`` makes round(Σ n_i (1 − T_ii)) labels wrong, within one label of each class's share;
            ``bernoulli`` draws each label independently.

    Raises:
        BadRequestError: the file is missing, or does not hold a stochastic matrix of c classes.

    Source: Natarajan, Dhillon, Ravikumar and Tewari, Learning with Noisy Labels, NeurIPS 2013 (class-conditional
    noise).

    Example: ``flowernoise corrupt --noise matrix:T.csv``
    """
    T = transition_matrix.read(
        file, request.num_classes, sha256=sha256, owner="noise model matrix", class_names=request.class_names
    )
    return from_matrix(request, T, count)


def from_matrix(request: NoiseRequest, T: Matrix, count: Count = "exact") -> NoisyLabels:
    """What :func:`matrix` draws, from a transition matrix given as an array.

    >>> request = NoiseRequest(np.zeros(10, int), 2, 0.0, np.random.default_rng(0))
    >>> int(from_matrix(request, np.array([[0.7, 0.3], [0.0, 1.0]])).labels.sum())
    3
    """
    if count == "bernoulli":
        return NoisyLabels(draw_from_rows(request.labels, T, request.generator), T)
    per_class = np.bincount(request.labels, minlength=len(T))
    chosen = choose_in_classes(request, shared_out(per_class * (1 - np.diag(T)), request.generator))
    mistakes = T * (1 - np.eye(len(T)))
    np.fill_diagonal(mistakes, ~mistakes.any(axis=1))  # rows that are never drawn from
    labels = request.labels.copy()
    labels[chosen] = draw_from_rows(request.labels[chosen], mistakes, request.generator)
    return NoisyLabels(labels, T)


@noise_models.register(needs=("features",))
def instance(
    request: NoiseRequest,
    *,
    temperature: Temperature = 1.0,
    backbone: str = "resnet50",  # noqa: ARG001 (for the code that supplies the features)
    count: Count = "exact",
) -> NoisyLabels:
    """Each photo has its own rate, and its appearance decides what it is mistaken for (part-dependent noise).

    q ~ N(η, 0.1²) truncated to [0, 1] for each photo, W ~ N(0, 1) in R^{c×d×c} for each seed; a = x·W[y] / temperature,
    a_y = −∞; P = q·softmax(a), P_y = 1 − q. Features x are scaled to length 1, because on 2,048 of them the softmax
    would saturate. The paper uses unscaled pixels; a low temperature comes close to that. T differs by photo, so none
    is given.

    Args:
        request: the labels to corrupt.
        temperature: well below 1 a photo is nearly always mistaken for the same class, above 1 for any class.
        backbone: the backbone whose features are used.
        count: ``exact`` makes round(η n) labels wrong, drawn in proportion to q; ``bernoulli`` tosses a coin of
            chance q for each, and the mean of q differs from η near 0 and 1 (.129 at η = .1). At rates 0 and 1, q is
            the rate.

    Source: Xia et al., Part-dependent Label Noise: Towards Instance-dependent Label Noise, NeurIPS 2020, and its code.

    Example: ``flowernoise corrupt --noise instance:backbone=efficientnet_lite0 --rates 0.2,0.4``

    >>> rng = np.random.default_rng(0)
    >>> request = NoiseRequest(np.zeros(10, int), 3, 0.4, rng, features=rng.normal(size=(10, 4)))
    >>> int((instance(request).labels != 0).sum())
    4
    """
    c, features, labels = request.num_classes, needed(request.features), request.labels.copy()
    rates = truncated_normal(request.rate, FLIP_RATE_SPREAD, len(labels), request.generator)
    chosen = request.generator.random(len(rates)) < rates if count == "bernoulli" else choose_by_weight(rates, request)
    streams = (request.shared or request.generator).spawn(c)
    for label in np.unique(request.labels[chosen]) if c > 1 else ():
        members = np.flatnonzero(chosen & (request.labels == label))
        W = streams[label].normal(size=(features.shape[1], c))
        scores = unit_length(features[members]) @ W / temperature
        scores[:, label] = -np.inf
        # the largest score after adding Gumbel noise is a draw from the softmax
        labels[members] = (scores + request.generator.gumbel(size=scores.shape)).argmax(axis=1)
    return NoisyLabels(labels, None)


@noise_models.register(needs=("probabilities",))
def boundary(
    request: NoiseRequest,
    *,
    backbone: str = "resnet50",  # noqa: ARG001 (for the code that supplies the probabilities)
    count: Count = "exact",
) -> NoisyLabels:
    """Photos that a model trained without noise is unsure about get the most probable wrong class.

    Photos are drawn in proportion to the entropy −Σ_k p_k log p_k of the model's prediction p, for photos it was not
    trained on. The wrong label is the most probable class other than the true one. T differs by photo, so none is
    given.

    Args:
        request: the labels to corrupt.
        backbone: the backbone whose features the model (linear heads in five folds) is trained on.
        count: ``exact`` makes round(η n) labels wrong; ``bernoulli`` tosses a coin for each, with a chance in
            proportion to the entropy (at most 1) and mean η.

    Source: after Algan and Ulusoy, Label Noise Types and Their Effects on Deep Learning, arXiv:2003.10471, 2020, where
    a distilled model's softmax decides which labels flip, and to what. Weighting by entropy and out-of-fold predictions
    are ours.

    Example: ``flowernoise corrupt --noise boundary --rates 0.2``

    >>> p = np.array([[1.0, 0, 0], [0.4, 0.0, 0.6]])
    >>> boundary(NoiseRequest(np.zeros(2, int), 3, 0.5, np.random.default_rng(0), probabilities=p)).labels.tolist()
    [0, 2]
    """
    p = np.array(needed(request.probabilities), dtype=np.float64)
    doubt = -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1)
    if count == "bernoulli":
        chosen = request.generator.random(len(p)) < with_mean(doubt, request.rate)
    else:
        chosen = choose_by_weight(doubt, request)
    p[np.arange(len(p)), request.labels] = -1
    return NoisyLabels(np.where(chosen, p.argmax(axis=1), request.labels), None)


@noise_models.register()
def annotators(
    request: NoiseRequest,
    *,
    workers: Annotated[int, Between(1, 100)] = 3,
    label: Literal["one", "majority", "dissenting"] = "one",
    spread: Annotated[float, Between(0, 10)] = 0.5,
) -> NoisyLabels:
    """Several workers label every photo, each making different errors; one of their labels is used.

    Worker r has error rate η_r (log-normal, at most 1, with mean η over the workers) and a pattern of errors:
    row i of T_r is 1 − η_r on the diagonal, with η_r split at random over the other classes (Dirichlet(1)). Train and
    val of a seed share workers. T of ``one`` is the mean of the T_r. T of a vote is computed if the workers can vote in
    at most 200,000 ways; otherwise it is missing.

    Args:
        request: the labels to corrupt; η is the workers' mean error rate; votes may be wrong more or less often.
        workers: the number of workers.
        label: ``one`` takes a random worker's label, ``majority`` the most common one (ties at random), and
            ``dissenting`` a random wrong one if any worker gave one.
        spread: standard deviation of log η_r before scaling to the mean; 0 makes all workers equally good.

    Source: Dawid and Skene, Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm, Applied
    Statistics 28, 1979 (a matrix for each worker); Wei et al., Learning with Noisy Labels Revisited, ICLR 2022 (three
    workers, whose random, aggregate and worst labels are these three). How workers are drawn is ours.

    Example: ``flowernoise corrupt --noise annotators:label=majority,workers=5 --rates 0.3``

    >>> request = NoiseRequest(np.zeros(1000, int), 5, 0.3, np.random.default_rng(0))
    >>> one, vote = annotators(request).labels, annotators(request, label="majority").labels
    >>> bool((vote != 0).mean() < (one != 0).mean())
    True
    """
    matrices = draw_workers(request, workers, spread)
    answers = np.stack([draw_from_rows(request.labels, T, request.generator) for T in matrices])
    scores = count_votes(answers, request.labels, label) + request.generator.random(answers.shape)
    labels = np.take_along_axis(answers, scores.argmax(axis=0)[None], axis=0)[0]
    if label == "one":
        return NoisyLabels(labels, matrices.mean(axis=0))
    feasible = request.num_classes**workers <= MAX_VOTES
    return NoisyLabels(labels, vote_matrix(matrices, label) if feasible else None)


@noise_models.register(needs=("observed",), rated=False, one_labelling=True, unkeyed="file")
def observed(
    request: NoiseRequest,
    *,
    file: Annotated[str, FilePath(instead=("",))] = "",  # noqa: ARG001 (for the code that supplies the labels, as are the others)
    column: str = "",  # noqa: ARG001
    field: str = "",  # noqa: ARG001
    name: str = "",  # noqa: ARG001
    partial: bool = False,  # noqa: ARG001
    sha256: str = "",  # noqa: ARG001
) -> NoisyLabels:
    """Labels that people really gave: the same for all seeds, without ``--rates`` or a nominal T.

    They come from a file, from a further column of the table that ``prepare --labels`` took, or from a field of a
    TensorFlow Datasets source (``tfds:cifar10_n``). The labels of test photos stay as they are.

    Args:
        request: the labels to corrupt; its rate is not used.
        file: table (CSV, TSV, JSON lines or Parquet): ``path`` (or ``id``) and ``label`` or ``observed_label`` (a class
            name), with a row for each photo of train and val. Rows of test photos and other columns are ignored. A path
            can be the path in the source, an absolute path, or a file name that occurs only once. ``corrupt --export``
            writes such a file.
        column: name of a further column of the table that ``prepare --labels`` took, such as ``worse_label``.
        field: name of a field of the source, such as ``worse_label``.
        name: the name in tables and pictures; if empty, the file's name without its suffix, or the column's.
        partial: the file or the column has labels for only some photos; the others keep theirs.
        sha256: start of the digest of the file or the column. ``corrupt`` adds it, so that different content makes a
            different draw.

    Source: as in Wei et al., Learning with Noisy Labels Revisited: A Study Using Real-World Human Annotations,
    ICLR 2022.

    Example: ``flowernoise corrupt --noise observed:labels.csv``, ``--noise observed:column=worse_label``

    >>> given = np.array([0, 1, 1])
    >>> request = NoiseRequest(np.array([0, 0, 1]), 2, 0.0, np.random.default_rng(0), observed=given)
    >>> observed(request, file="labels.csv").labels.tolist()
    [0, 1, 1]
    """
    return NoisyLabels(needed(request.observed).copy(), None)


def expected_rate(true: Labels, noisy: NoisyLabels) -> float:
    """The share of wrong labels expected from the nominal T; the realised share if there is no T.

    >>> expected_rate(np.array([0, 0, 1]), NoisyLabels(np.array([0, 1, 1]), np.array([[0.25, 0.75], [0.0, 1.0]])))
    0.5
    """
    if noisy.transition_matrix is None:
        return float((noisy.labels != true).mean())
    return float(1 - np.diag(noisy.transition_matrix)[true].mean())
