"""The compiled training of a network: many steps in one call, the state passed in and out.

Everything that differs between runs with the same loss is an input (learning rate, schedule, L2, labels, T, …), so a
loss is compiled once for all runs. A step is plain Keras: the stateless call of the model, the gradient by autodiff,
and the optimiser's step. Pixels stay uint8 until the step that uses them, which also flips and crops them.

The last batch of an epoch is filled up with photos from its beginning, so that all batches have one shape. These photos
do not count in the loss; batch normalisation sees them as it sees any photo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flowernoise.training.optimizers import OPTIMIZERS, Tensor, gradient_of
from flowernoise.training.tasks import LossGroup


class Fixed(NamedTuple):
    """What stays the same during a run. Label n is that of photos that fill up a batch."""

    labels: Tensor  # [n + 1]
    transition_matrix: Tensor  # [c, c]
    inverse_transition_matrix: Tensor  # [c, c]
    learning_rate: Tensor
    l2: Tensor
    weight_decay: Tensor
    momentum: Tensor  # of the weights' moving average


class State(NamedTuple):
    """What changes during a run."""

    learned: list[Tensor]
    others: list[Tensor]  # frozen weights, statistics of normalisation
    slots: list[list[Tensor]]  # of the optimiser, each like ``learned``
    averaged: list[Tensor]  # the moving average of ``learned``; empty if there is none
    targets: Tensor  # [n + 1, c], or empty if the loss needs none
    step: Tensor  # steps taken, a float32
    loss_sum: Tensor  # over the examples of this epoch


class Batches(NamedTuple):
    """The batches of an epoch.

    ``members`` are positions among the training photos, n for a photo that fills up a batch; ``rows`` and ``peer_rows``
    are rows of the pixels. ``moves`` [batches, photos, 3] says whether to flip, and how far to shift down and right.
    """

    rows: Tensor
    members: Tensor
    peer_rows: Tensor | None
    peer_members: Tensor | None
    moves: Tensor | None
    schedule: Tensor  # [batches], factors of the learning rate
    progress: Tensor  # 0 in the first epoch, 1 in the last

    def at(self, which: Any) -> Batches:
        """One of the batches, or a range of them."""
        parts = {name: each[which] for name, each in self._asdict().items() if each is not None and name != "progress"}
        return self._replace(**parts)


def steps_of(model: Any, loss: LossGroup, optimizer: str, *, batch_statistics: bool) -> Callable[..., State]:
    """A function of (state, fixed, pixels, batches, first, end) that trains on batches first … end − 1."""

    def steps(state: State, fixed: Fixed, pixels: Tensor, batches: Batches, first: Tensor, end: Tensor) -> State:
        from keras import ops

        def step(number: Tensor, state: State) -> State:
            return _step(model, loss, optimizer, batch_statistics, state, fixed, pixels, batches.at(number))

        trained: State = ops.fori_loop(first, end, step, state)
        return trained

    return steps


def answers_of(model: Any) -> Callable[..., Tensor]:
    """A function of (learned, others, pixels, rows [batches, photos]) → probabilities [batches · photos, c]."""

    def answers(learned: list[Tensor], others: list[Tensor], pixels: Tensor, rows: Tensor) -> Tensor:
        from keras import ops

        def one(number: Tensor, found: Tensor) -> Tensor:
            images = ops.cast(ops.take(pixels, rows[number], axis=0), "float32")
            logits, _ = model.stateless_call(learned, others, images, training=False)
            return ops.slice_update(found, (number, 0, 0), ops.softmax(ops.cast(logits, "float32"))[None])

        found = ops.fori_loop(0, rows.shape[0], one, ops.zeros((*rows.shape, model.output_shape[-1])))
        return ops.reshape(found, (-1, model.output_shape[-1]))

    return answers


def _step(
    model: Any,
    loss: LossGroup,
    optimizer: str,
    batch_statistics: bool,
    state: State,
    fixed: Fixed,
    pixels: Tensor,
    batch: Batches,
) -> State:
    from keras import ops

    size = batch.members.shape[0]
    images = _images(pixels, batch)
    present = ops.cast(batch.members < fixed.labels.shape[0] - 1, "float32")

    def objective(learned: list[Tensor]) -> tuple[Tensor, Any]:
        logits, others = model.stateless_call(learned, state.others, images, training=batch_statistics)
        targets = _updated(loss, state.targets, batch, ops.stop_gradient(logits[:size]))
        values = _losses(loss, logits, targets, fixed, batch) * present
        kernel = learned[-2]  # of the head, before its bias
        penalty = fixed.l2 * ops.sum(ops.square(kernel))
        return ops.sum(values) / ops.sum(present) + penalty, (ops.sum(values), list(others), targets)

    (loss_sum, others, targets), gradient = gradient_of(objective, state.learned)
    moved = _moved(optimizer, state, gradient, fixed, fixed.learning_rate * batch.schedule)
    momentum = ops.where(state.step == 0, 0.0, fixed.momentum)  # as in Keras, the start is forgotten
    averaged = [old * momentum + new * (1 - momentum) for old, new in zip(state.averaged, moved.learned, strict=False)]
    return moved._replace(others=others, averaged=averaged, targets=targets, loss_sum=state.loss_sum + loss_sum)


def _moved(optimizer: str, state: State, gradient: Sequence[Tensor], fixed: Fixed, rate: Tensor) -> State:
    """The state with weights and slots after the optimiser's step; decay is decoupled from it, and for kernels only."""
    step, move = state.step + 1, OPTIMIZERS[optimizer].move
    learned, slots = [], []
    for weights, slope, *own in zip(state.learned, gradient, *state.slots, strict=True):
        decayed = weights * (1 - rate * fixed.weight_decay) if len(weights.shape) > 1 else weights
        new, new_slots = move(decayed, slope, tuple(own), step=step, learning_rate=rate)
        learned.append(new)
        slots.append(new_slots)
    return state._replace(learned=learned, slots=[list(each) for each in zip(*slots, strict=True)], step=step)


def _images(pixels: Tensor, batch: Batches) -> Tensor:
    """The batch's photos, and below them those of its peers, flipped and shifted; edges are mirrored."""
    from keras import ops

    rows = batch.rows if batch.peer_rows is None else ops.concatenate([batch.rows, batch.peer_rows])
    images = ops.take(pixels, rows, axis=0)
    if batch.moves is None:
        return ops.cast(images, "float32")
    count, side = rows.shape[0], images.shape[1]
    moves = batch.moves if batch.peer_rows is None else ops.concatenate([batch.moves, batch.moves])
    flip, down, right = moves[:, :1], moves[:, 1:2], moves[:, 2:]
    place = ops.arange(side, dtype="int32")[None]
    across = _mirrored(place + right, side)
    columns = ops.where(flip == 1, side - 1 - across, across)
    lines = _mirrored(place + down, side) + side * ops.arange(count, dtype="int32")[:, None]
    flat = ops.reshape(images, (count * side * side, 3))
    return ops.cast(ops.take(flat, lines[:, :, None] * side + columns[:, None], axis=0), "float32")


def _mirrored(place: Tensor, side: int) -> Tensor:
    """Places outside 0 … side − 1, reflected into it."""
    from keras import ops

    place = ops.abs(place)
    return ops.where(place >= side, 2 * (side - 1) - place, place)


def _updated(loss: LossGroup, targets: Tensor, batch: Batches, logits: Tensor) -> Tensor:
    """The loss's targets after this batch."""
    from keras import ops

    if loss.update is None:
        return targets
    old = ops.take(targets, batch.members, axis=0)
    return ops.scatter_update(targets, batch.members[:, None], loss.update(old, logits, **dict(loss.parameters)))


def _losses(loss: LossGroup, logits: Tensor, targets: Tensor, fixed: Fixed, batch: Batches) -> Tensor:
    """Loss of each example [photos]."""
    from keras import ops

    size, num_classes = batch.members.shape[0], logits.shape[-1]

    def one_hot(members: Tensor) -> Tensor:
        return ops.one_hot(ops.take(fixed.labels, members), num_classes)

    def extra(need: str) -> Any:
        if need in ("transition_matrix", "inverse_transition_matrix"):
            return getattr(fixed, need)
        if need == "targets":
            return ops.take(targets, batch.members, axis=0)
        if need == "progress":
            return batch.progress
        return one_hot(batch.peer_members), logits[size:]

    extras = [extra(need) for need in loss.needs]
    return loss.function(one_hot(batch.members), logits[:size], *extras, **dict(loss.parameters))
