"""Trains a network from photos, one run after another, and answers for all photos after every epoch."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from flowernoise.training import engine, features
from flowernoise.training.finetune import program
from flowernoise.training.finetune.network import build_classifier, let_learn
from flowernoise.training.finetune.photos import Photos
from flowernoise.training.finetune.program import Batches, Fixed, State
from flowernoise.training.optimizers import OPTIMIZERS, compiled
from flowernoise.training.tasks import LossGroup

Array = np.ndarray[Any, np.dtype[Any]]
Structure = TypeVar("Structure", State, Fixed)
OnPart = Callable[[int, float], None]
A_CALL = 1.0  # seconds of training between two signs of life


@dataclasses.dataclass(frozen=True, eq=False)
class FinetuneSetup:
    """What all runs have in common.

    Args:
        build: makes the backbone, a Keras model from images to features.
        image_size: side in pixels.
        num_classes: c.
        optimizer: ``adam`` or ``sgd``.
        tune: which layers learn, as for :func:`flowernoise.training.finetune.network.let_learn`.
        average: whether the moving average of the weights answers, instead of the weights.
    """

    build: Callable[[int], Any]
    image_size: int
    num_classes: int
    optimizer: str = "adam"
    tune: str = "all"
    average: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class FinetuneTask:
    """One run on n training photos.

    Args:
        photos: all photos; the first n are the training photos.
        labels: their observed labels [n].
        loss: the loss, as heads take it.
        order: order of the training photos in each epoch [epochs, n].
        batch_size: photos a step.
        kernel, bias: the head's at the start, [d, c] and [c]; the bias is zero if None.
        learning_rate: at the height of the schedule.
        schedule: factors of the learning rate, one per step [epochs · batches]; 1 if None.
        l2: ``keras.regularizers.L2`` on the head's kernel.
        weight_decay: decoupled, on all kernels: w ← w (1 − rate · weight_decay) before each step.
        momentum: of the weights' moving average, average ← momentum · average + (1 − momentum) · weights.
        moves: for each training photo, whether it is flipped, and how many pixels it is shifted down and right
            [epochs, n, 3]; None for photos as they are.
        transition_matrix: T [c, c], for losses that need it or its inverse.
        peer_order: as in ``HeadsTask``, for losses that need it.
    """

    photos: Photos
    labels: Array
    loss: LossGroup
    order: Array
    batch_size: int
    kernel: Array
    bias: Array | None = None
    learning_rate: float = 1e-3
    schedule: Array | None = None
    l2: float = 0.0
    weight_decay: float = 0.0
    momentum: float = 0.0
    moves: Array | None = None
    transition_matrix: Array | None = None
    peer_order: Array | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class EpochAnswers:
    """A network's answers after an epoch.

    Attributes:
        epoch: counted from 1.
        probabilities: [photos, c] float32, in inference mode; not finite if training diverged.
        training_loss: mean over the epoch's examples, each before its step, without L2.
    """

    epoch: int
    probabilities: Array
    training_loss: float


class Finetuner:
    """Trains a network that is built once; each loss is compiled once for all runs of equal shape."""

    def __init__(self, setup: FinetuneSetup) -> None:
        from keras import ops

        self._setup = setup
        self._model = build_classifier(setup.build, setup.image_size, setup.num_classes)
        self._batch_statistics = let_learn(self._model, setup.tune)
        self._learned = [ops.convert_to_numpy(each) for each in self._model.trainable_variables]
        self._others = [ops.convert_to_numpy(each) for each in self._model.non_trainable_variables]
        self._xla = bool(engine.jit_compile())
        self._answers = compiled(program.answers_of(self._model), xla=self._xla)
        self._programs: dict[LossGroup, Any] = {}
        self._steps_a_call = 1
        self._state: State | None = None

    @property
    def compilations(self) -> int:
        """How many losses have been compiled."""
        return len(self._programs)

    def train(self, task: FinetuneTask, on_part: OnPart) -> Iterator[EpochAnswers]:
        """Trains a run from the pretrained weights; yields the answers for all photos after each epoch.

        Args:
            task: the run.
            on_part: called with the number of training photos just processed, and the seconds that took.
        """
        fixed = self._fixed(task)
        self._state = self._start(task)
        for epoch in range(len(task.order)):
            self._state = self._epoch(task, fixed, self._state._replace(loss_sum=np.float32(0)), epoch, on_part)
            loss = float(np.asarray(self._state.loss_sum)) / len(task.labels)
            yield EpochAnswers(epoch + 1, self._answer(task.photos), loss)

    def weights(self) -> list[Array]:
        """The weights that gave the last answers, in the order of ``Model.get_weights``."""
        from keras import ops

        assert self._state is not None
        learned = self._state.averaged or self._state.learned
        ours = zip(self._model.trainable_variables, learned, strict=True)
        others = zip(self._model.non_trainable_variables, self._state.others, strict=True)
        by_path = {variable.path: value for variable, value in (*ours, *others)}
        return [np.asarray(ops.convert_to_numpy(by_path[variable.path])) for variable in self._model.weights]

    def _epoch(self, task: FinetuneTask, fixed: Fixed, state: State, epoch: int, on_part: OnPart) -> State:
        """The state after an epoch, in calls of about a second, so that progress is seen."""
        steps = self._program(task.loss)
        batches = _batches(task, epoch)
        count = len(task.labels)
        rows = {"rows": batches.rows} | ({} if batches.peer_rows is None else {"peer_rows": batches.peer_rows})
        for part in task.photos.parts(rows):
            here = batches.at(part.batches)._replace(**part.rows)
            first, last = 0, part.batches.stop - part.batches.start
            while first < last:
                began, end = time.perf_counter(), min(first + self._steps_a_call, last)
                state = steps(state, fixed, part.pixels, here, np.int32(first), np.int32(end))
                np.asarray(state.step)  # waits for it
                seconds = time.perf_counter() - began
                done = np.clip((np.array([first, end]) + part.batches.start) * task.batch_size, 0, count)
                on_part(int(done[1] - done[0]), seconds)
                self._steps_a_call = max(1, min(4 * (end - first), int((end - first) * A_CALL / seconds)))
                first = end
        return state

    def _program(self, loss: LossGroup) -> Any:
        if loss not in self._programs:
            steps = program.steps_of(self._model, loss, self._setup.optimizer, batch_statistics=self._batch_statistics)
            self._programs[loss] = compiled(steps, xla=self._xla)
        return self._programs[loss]

    def _answer(self, photos: Photos) -> Array:
        """Probabilities [photos, c]."""
        assert self._state is not None
        learned = self._state.averaged or self._state.learned
        found = []
        for part in photos.parts({"rows": _filled(np.arange(photos.count, dtype=np.int32), features.BATCH)}):
            with np.errstate(invalid="ignore"):
                found.append(np.asarray(self._answers(learned, self._state.others, part.pixels, part.rows["rows"])))
        return np.concatenate(found)[: photos.count]

    def _start(self, task: FinetuneTask) -> State:
        bias = np.zeros(self._setup.num_classes) if task.bias is None else task.bias
        learned = [*self._learned[:-2], task.kernel.astype(np.float32), bias.astype(np.float32)]
        slots = [[np.zeros_like(each) for each in learned] for _ in range(OPTIMIZERS[self._setup.optimizer].num_slots)]
        targets = (len(task.labels) + 1, self._setup.num_classes) if "targets" in task.loss.needs else (0,)
        state = State(
            learned=learned,
            others=self._others,
            slots=slots,
            averaged=list(learned) if self._setup.average else [],
            targets=np.zeros(targets, dtype=np.float32),
            step=np.float32(0),
            loss_sum=np.float32(0),
        )
        return _on_device(state)

    def _fixed(self, task: FinetuneTask) -> Fixed:
        matrix = np.eye(self._setup.num_classes) if task.transition_matrix is None else task.transition_matrix
        inverse = np.linalg.inv(matrix) if "inverse_transition_matrix" in task.loss.needs else matrix
        return _on_device(
            Fixed(
                labels=np.append(task.labels, 0).astype(np.int32),
                transition_matrix=np.asarray(matrix, dtype=np.float32),
                inverse_transition_matrix=np.asarray(inverse, dtype=np.float32),
                learning_rate=np.float32(task.learning_rate),
                l2=np.float32(task.l2),
                weight_decay=np.float32(task.weight_decay),
                momentum=np.float32(task.momentum),
            )
        )


def _on_device(structure: Structure) -> Structure:
    """A structure of arrays as tensors."""
    import keras
    from keras import ops

    moved: Structure = keras.tree.map_structure(ops.convert_to_tensor, structure)
    return moved


def _batches(task: FinetuneTask, epoch: int) -> Batches:
    """The batches of an epoch; those of peers only if the loss needs them."""
    order, size, count = task.order[epoch].astype(np.int32), task.batch_size, len(task.labels)
    rows = _filled(order, size)
    members = rows.copy()
    members.reshape(-1)[count:] = count  # fills up the last batch
    peers = task.peer_order if "peers" in task.loss.needs else None
    per_epoch = len(rows)
    span = slice(epoch * per_epoch, (epoch + 1) * per_epoch)
    schedule = np.ones(per_epoch) if task.schedule is None else task.schedule[span]
    return Batches(
        rows=rows,
        members=members,
        peer_rows=None if peers is None else _filled(peers[epoch, 0].astype(np.int32), size),
        peer_members=None if peers is None else _filled(peers[epoch, 1].astype(np.int32), size),
        moves=None if task.moves is None else task.moves[epoch].astype(np.int32)[rows],
        schedule=schedule.astype(np.float32),
        progress=np.float32(epoch / max(len(task.order) - 1, 1)),
    )


def _filled(order: Array, size: int) -> Array:
    """Positions [n] in batches [batches, size]; the last one is filled up from the beginning, again if need be."""
    batches = -(-len(order) // size)
    return np.resize(order, (batches, size))
