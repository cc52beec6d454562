"""The plan of a training: its inputs, its requested runs, and the randomness that runs of a seed share."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flowernoise.catalogue.backbones import GIVEN, Backbone, backbones
from flowernoise.catalogue.losses import losses, needs_of
from flowernoise.catalogue.methods import Method, method_of
from flowernoise.errors import BadRequestError
from flowernoise.progress import Progress
from flowernoise.randomness import generator
from flowernoise.registry import Spec
from flowernoise.safe import images
from flowernoise.steps import backbone
from flowernoise.steps.features import FeatureWork, extractor_of, settled
from flowernoise.steps.settings import TrainSettings
from flowernoise.steps.train import matrices
from flowernoise.store import datasets, draws, runs
from flowernoise.store.draws import DrawnLabels, StoredDraw
from flowernoise.store.layout import Layout
from flowernoise.store.photos import Archive, IndexedPhoto, Splits
from flowernoise.store.records import (
    CONTROL,
    Dataset,
    DrawKey,
    Provenance,
    RunKey,
)
from flowernoise.store.setups import FINETUNE_SETTINGS, Setup
from flowernoise.training import engine
from flowernoise.training.engine import Engine, Extractor
from flowernoise.training.tasks import LossGroup

Moves = np.ndarray[Any, np.dtype[np.int16]]
DIVERGED = "diverged: its loss exploded or its predictions are not finite; try a smaller --learning-rate or --l2"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that training a run needs to know."""

    layout: Layout
    dataset: Dataset
    splits: Splits
    settings: TrainSettings
    backbone_spec: Spec
    backbone: Backbone
    engine: Engine
    feature_work: FeatureWork
    methods: Mapping[str, Method]
    drawn: Mapping[DrawKey, StoredDraw]
    checked: set[str] = dataclasses.field(default_factory=set)  # blocks that were checked and intact

    @property
    def num_classes(self) -> int:
        """Number of classes in the task."""
        return len(self.dataset.classes)

    @property
    def archive(self) -> Archive:
        """The encoded photos."""
        return Archive(self.layout.photos, self.dataset.archive)

    @functools.cached_property
    def setup(self) -> Setup:
        """The setup that all runs share; with draw and method, it makes up a run's identity."""
        frozen, settings = self.settings.mode == "features", self.settings
        recipe = {} if frozen else {key: getattr(settings, key) for key in FINETUNE_SETTINGS}
        rates, strengths = (tuple(sorted(set(values))) for values in zip(*settings.grid, strict=True))
        return Setup(
            backbone=str(self.backbone_spec),
            weights=self.backbone.weights_digest,
            mode=settings.mode,
            image_size=self.dataset.request.image_size,
            decoding=images.DECODING,
            extractor=self.extractor.kind,
            precision=self.extractor.precision if frozen else self.engine.training_precision,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            optimizer=settings.optimizer,
            learning_rates=rates,
            l2=strengths,
            **recipe,
        )

    @property
    def extractor(self) -> Extractor:
        """What extracts features, or in fine-tuning, what trains."""
        frozen = self.settings.mode == "features"
        return self.feature_work.extractor if frozen else engine.keras_extractor(self.engine)

    @property
    def needs_features(self) -> bool:
        """Whether training starts from features."""
        return self.settings.mode == "features" or self.settings.head == "probe"

    @property
    def provenance(self) -> Provenance:
        """What produces the results."""
        used = self.feature_work.extractor
        none = not self.needs_features or self.backbone.name == GIVEN
        extractor = "" if none else f"{used.name}, {used.device}"
        return Provenance(self.engine.versions, self.engine.backend, self.engine.device, extractor)

    def split(self, name: str, seed: int) -> list[IndexedPhoto]:
        """A seed's photos of train, val or test."""
        return [photo for photo in self.splits.of(seed) if photo.split == name]

    def labels(self, keys: Sequence[RunKey]) -> dict[DrawKey, DrawnLabels]:
        """The labels of the draws on which runs are trained."""
        wanted = dict.fromkeys(key.draw for key in keys)
        return draws.read(self.layout, self.dataset, [self.drawn[draw] for draw in wanted])


def make(layout: Layout, settings: TrainSettings, progress: Progress) -> Plan:
    """Checks the request against the artifacts directory.

    Raises:
        BadRequestError: a setting is out of range, a loss or backbone is unknown, nothing is prepared or drawn, or
            there is a grid to choose from but no validation split.
        FlowernoiseError: the backbone's weights cannot be reached.
    """
    settings.check()
    specs = [matrices.pinned(losses.parse(text)) for text in settings.losses]
    if settings.backbone is not None:
        backbones.parse(settings.backbone)
    dataset = datasets.need(layout)
    if settings.mode == "finetune":
        backbone.refuse_without_photos(dataset, "--mode finetune")
    matrices.check_files(specs, dataset.classes)
    settings = settings.resolved(validated=bool(dataset.sizes[1]))
    if len(settings.grid) > 1 and not dataset.sizes[1]:
        raise BadRequestError(
            "choosing between several --learning-rate or --l2 values needs a validation split, which is missing; "
            "prepare with --val N, or give one value each"
        )
    drawn = draws.index(layout, dataset.id)
    if not drawn:
        raise BadRequestError(f"{layout.root} has no draws for its data set; run `flowernoise corrupt` first")
    backbone_spec, network = backbone.of(layout, dataset, settings.backbone, progress)
    if settings.mode == "finetune":
        backbone.refuse_given(str(backbone_spec), "--mode finetune")
        if network.openvino is not None:
            network.build(dataset.request.image_size)  # refuses
    with progress.task("looking for a GPU", None, ""):  # loads TensorFlow if there may be one
        described = engine.describe()
    splits = datasets.splits(layout, dataset)
    extractor = extractor_of(network, described)
    feature_work = FeatureWork(layout, dataset, splits.photos, backbone_spec, network, extractor)
    made = Plan(
        layout=layout,
        dataset=dataset,
        splits=splits,
        settings=settings,
        backbone_spec=backbone_spec,
        backbone=network,
        engine=described,
        feature_work=feature_work,
        methods={str(spec): method_of(spec) for spec in specs},
        drawn=drawn,
    )
    return dataclasses.replace(made, feature_work=settled(feature_work, progress)) if made.needs_features else made


def asked(plan: Plan) -> list[RunKey]:
    """The requested runs: every draw with every loss, except where the control is restricted to some losses."""
    restricted = plan.settings.control_losses
    allowed = set(plan.methods) if restricted is None else {str(matrices.pinned(losses.parse(t))) for t in restricted}
    return [
        RunKey(draw.noise, draw.rate, draw.seed, loss, plan.setup)
        for draw in plan.drawn
        for loss in plan.methods
        if draw.noise != CONTROL or loss in allowed
    ]


def is_done(plan: Plan, stored: runs.StoredRun | None) -> bool:
    """Whether a run exists, was trained on the current labels of its draw, and has its weights if they are wanted."""
    if stored is None or stored.run.labels != plan.drawn[stored.run.draw].draw.labels:
        return False
    return not plan.settings.keep_weights or stored.block.weights is not None or stored.run.failure is not None


def loss_group(spec: Spec, count: int) -> LossGroup:
    """A loss in the form that the trainers take, for ``count`` neighbouring heads."""
    properties = spec.entry.properties
    parameters = tuple(sorted(spec.values.items()))
    return LossGroup(spec.entry.function, count, parameters, needs_of(spec), properties.get("update"))


# Random streams, shared by all losses and draws of a seed, so that comparisons are paired.


def batch_order(seed: int, epochs: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Order of the training photos in each epoch [epochs, count]."""
    stream = generator(seed, "batch order")
    return np.stack([stream.permutation(count) for _ in range(epochs)])


def peer_order(seed: int, epochs: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Photo and label of each example's peer, [epochs, 2, count]."""
    stream = generator(seed, "peer order")
    return np.stack([[stream.permutation(count), stream.permutation(count)] for _ in range(epochs)])


def moves(augment: str, seed: int, epochs: int, count: int, image_size: int) -> Moves | None:
    """Whether each training photo is flipped, and how far it is shifted down and right, [epochs, count, 3]."""
    if augment == "none":
        return None
    stream = generator(seed, "augmentation")
    most = image_size // 8 if augment == "crop" else 0
    flipped = stream.integers(0, 2, (epochs, count, 1), dtype=np.int16)
    shifted = stream.integers(-most, most + 1, (epochs, count, 2), dtype=np.int16)
    return np.concatenate([flipped, shifted], axis=2)


def schedule(steps: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Factors of the learning rate: a linear warm-up over the first tenth of the steps, then half a cosine to zero.

    >>> schedule(20).round(2)[[0, 1, 2, 10, 19]].tolist()
    [0.5, 1.0, 1.0, 0.54, 0.0]
    """
    warm = max(1, round(steps / 10))
    step = np.arange(steps)
    falling = (1 + np.cos(np.pi * (step - warm + 0.5) / max(steps - warm, 1))) / 2
    return np.where(step < warm, (step + 1) / warm, falling)


def initial_kernel(seed: int, dimension: int, num_classes: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Glorot-uniform kernel of a head [dimension, classes], as Keras initialises a Dense layer."""
    limit = np.sqrt(6 / (dimension + num_classes))
    return generator(seed, "initialisation").uniform(-limit, limit, (dimension, num_classes))
