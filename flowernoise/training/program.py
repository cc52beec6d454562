"""The compiled training of a block of heads.

K heads (Dense with bias, d features to c classes) are held as one kernel (K·c, d), one head below the other. A step is
one matrix product forward, the gradient of the losses with respect to the logits by autodiff, one matrix product back,
and the optimiser's step, with a learning rate and L2 per head. All steps run in one XLA program, which is compiled once
for each shape and set of losses.

With two classes, only the first class's row is held. Losses depend only on the softmax, so their gradient over the
logits sums to zero. The second row starts at zero like the first and always takes the opposite step, so it stays the
negative of the first. That halves arithmetic and memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from flowernoise.training.optimizers import OPTIMIZERS, Tensor, compiled, gradient_of
from flowernoise.training.tasks import HeadsTask, LossGroup, spans


class Data(NamedTuple):
    """What stays the same in all epochs. Photo n is blank and fills up the last batch of an epoch."""

    features: Tensor  # [n + 1, d]
    transposed: Tensor  # [d, n + 1], a copy: products with a transposed factor take a third longer
    others: Tensor  # [d, m]
    labels: Tensor  # [K, n + 1]
    initial_kernel: Tensor  # [held, d]
    learning_rates: Tensor  # [K]
    l2: Tensor  # [K]
    transition_matrices: Tensor  # [K, c, c], or empty if no loss needs them
    inverse_transition_matrices: Tensor  # likewise


class _State(NamedTuple):
    """What changes during training."""

    kernel: Tensor  # [K·held, d]
    bias: Tensor  # [K·held]
    kernel_slots: tuple[Tensor, ...]  # the optimiser's state, each with the kernel's shape
    bias_slots: tuple[Tensor, ...]
    targets: dict[int, Tensor]  # [heads, n + 1, c] by group number, for groups that need them
    step: Tensor  # steps taken, a float32
    loss_sum: Tensor  # [K], over the examples of this epoch


class Answers(NamedTuple):
    """The heads' answers at A times."""

    probabilities: Tensor  # [A, K, m, c]
    predicted: Tensor  # [A, K, n]
    loss_sum: Tensor  # [A, K]
    kernel: Tensor  # [A, K·held, d], or empty if weights are not wanted
    bias: Tensor  # [A, K·held], likewise


def data_of(task: HeadsTask) -> Data:
    """A task in the form that the program takes."""
    features = np.pad(np.asarray(task.train_features, dtype=np.float32), ((0, 1), (0, 0)))
    initial_kernel = np.zeros((features.shape[1], task.held)) if task.initial_kernel is None else task.initial_kernel
    return Data(
        features=features,
        transposed=features.T,
        others=np.asarray(task.other_features, dtype=np.float32).T,
        labels=np.pad(task.labels[task.labelling].astype(np.int32), ((0, 0), (0, 1))),
        initial_kernel=initial_kernel.T.astype(np.float32),
        learning_rates=task.learning_rates.astype(np.float32),
        l2=task.l2.astype(np.float32),
        transition_matrices=_matrices(task, "transition_matrix", np.asarray),
        inverse_transition_matrices=_matrices(task, "inverse_transition_matrix", np.linalg.inv),
    )


def _matrices(task: HeadsTask, need: str, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``function`` applied to the transition matrices of heads that need it; zeros for the others."""
    if task.transition_matrices is None or not any(need in group.needs for group in task.losses):
        return np.zeros((0,), dtype=np.float32)
    matrices = np.zeros(task.transition_matrices.shape, dtype=np.float32)
    for group, heads in spans(task.losses):
        if need in group.needs:
            matrices[heads] = function(task.transition_matrices[heads])
    return matrices


def _initial_state(groups: tuple[LossGroup, ...], num_classes: int, optimizer: str, data: Data) -> _State:
    from keras import ops

    heads, photos = data.labels.shape
    kernel = ops.tile(data.initial_kernel, (heads, 1))
    bias = ops.zeros((kernel.shape[0],))
    num_slots = OPTIMIZERS[optimizer].num_slots
    return _State(
        kernel=kernel,
        bias=bias,
        kernel_slots=(ops.zeros_like(kernel),) * num_slots,
        bias_slots=(ops.zeros_like(bias),) * num_slots,
        targets={
            index: ops.zeros((group.heads, photos, num_classes))
            for index, group in enumerate(groups)
            if "targets" in group.needs
        },
        step=ops.zeros(()),
        loss_sum=ops.zeros((heads,)),
    )


def batches_of(task: HeadsTask) -> dict[str, np.ndarray]:
    """Rows of the training photos, of their peers and of the peers' labels, [epochs, batches, batch size] each."""
    orders = {"rows": task.order}
    if task.peer_order is not None and any("peers" in group.needs for group in task.losses):
        orders |= {"peer_rows": task.peer_order[:, 0], "peer_label_rows": task.peer_order[:, 1]}
    epochs, n = task.order.shape
    missing = ((0, 0), (0, -n % task.batch_size))
    filled = {name: np.pad(order.astype(np.int32), missing, constant_values=n) for name, order in orders.items()}
    return {name: order.reshape(epochs, -1, task.batch_size) for name, order in filled.items()}


@functools.lru_cache(maxsize=64)
def program_of(
    groups: tuple[LossGroup, ...], num_classes: int, held: int, optimizer: str, history: bool, weights: bool
) -> Any:
    """The compiled training: ``program(data, batches)`` → answers after every epoch, or after the last.

    One program runs all epochs, so the state is not copied in and out for each.
    """
    from keras import ops

    def program(data: Data, batches: dict[str, Tensor]) -> Answers:
        epochs, per_epoch, _ = batches["rows"].shape
        times, steps = (epochs, per_epoch) if history else (1, epochs * per_epoch)

        def step(index: Tensor, state: _State) -> _State:
            epoch, number = index // per_epoch, index % per_epoch
            batch = {name: rows[epoch, number] for name, rows in batches.items()}
            batch["progress"] = ops.cast(epoch, "float32") / max(epochs - 1, 1)
            loss_sum = ops.where(number == 0, 0.0, state.loss_sum)
            return _step(groups, held, optimizer, state._replace(loss_sum=loss_sum), data, batch)

        def train_and_answer(index: Tensor, carried: tuple[_State, Answers]) -> tuple[_State, Answers]:
            state, answers = carried
            state = ops.fori_loop(index * steps, (index + 1) * steps, step, state)
            new = _answers(state, data, num_classes, held, weights)
            return state, Answers(*(_written(all_, index, one) for all_, one in zip(answers, new, strict=True)))

        start = _initial_state(groups, num_classes, optimizer, data)
        blank = _answers(start, data, num_classes, held, weights)
        none = Answers(*(ops.zeros((times, *one.shape), one.dtype) for one in blank))
        answers: Answers = ops.fori_loop(0, times, train_and_answer, (start, none))[1]
        return answers

    return compiled(program)


def _answers(state: _State, data: Data, num_classes: int, held: int, weights: bool) -> Answers:
    from keras import ops

    shown = None if weights else 0
    return Answers(
        probabilities=ops.softmax(_logits(state.kernel, state.bias, data.others, held), axis=-1),
        predicted=ops.cast(
            ops.argmax(_logits(state.kernel, state.bias, data.transposed, held)[:, :-1], axis=-1),
            str(np.min_scalar_type(num_classes - 1)),
        ),
        loss_sum=state.loss_sum,
        kernel=state.kernel[:shown],
        bias=state.bias[:shown],
    )


def _written(array: Tensor, index: Tensor, value: Tensor) -> Tensor:
    """``array`` with ``value`` at an index of the first axis."""
    from keras import ops

    return ops.slice_update(array, (index, *(0,) * len(value.shape)), value[None])


def _step(
    groups: tuple[LossGroup, ...],
    held: int,
    optimizer: str,
    state: _State,
    data: Data,
    batch: dict[str, Tensor],
) -> _State:
    """One batch: logits, new targets, gradient, optimiser."""
    from keras import ops

    rows, size = batch["rows"], batch["rows"].shape[0]
    photos = ops.concatenate([rows, batch["peer_rows"]]) if "peer_rows" in batch else rows
    logits = _logits(state.kernel, state.bias, ops.take(data.transposed, photos, axis=1), held)

    targets = dict(state.targets)
    for index, (group, heads) in enumerate(spans(groups)):
        if group.update is not None:
            old = ops.take(targets[index], rows, axis=1)
            new = group.update(_flat(old), _flat(logits[heads, :size]), **dict(group.parameters))
            targets[index] = _scattered(targets[index], rows, ops.reshape(new, old.shape))

    present = ops.cast(rows < data.features.shape[0] - 1, "float32")  # 0 for the blank photos that fill the last batch

    def objective(logits: Tensor) -> tuple[Tensor, Tensor]:
        losses = _losses(groups, logits, targets, data, batch) * present
        return ops.sum(losses) / ops.sum(present), ops.sum(losses, axis=1)

    loss_sum, logit_gradient = gradient_of(objective, logits)
    if held == 1:  # opposite except for rounding, which would break the classes' symmetry
        logit_gradient = (logit_gradient[:, :, :1] - logit_gradient[:, :, 1:]) / 2
    logit_gradient = ops.reshape(ops.transpose(logit_gradient, (0, 2, 1)), (-1, photos.shape[0]))

    step = state.step + 1

    def by_row(of_heads: Tensor) -> Tensor:
        return ops.repeat(of_heads, held)

    move = functools.partial(OPTIMIZERS[optimizer].move, step=step)
    rates, l2 = by_row(data.learning_rates), by_row(data.l2)
    kernel_gradient = ops.matmul(logit_gradient, ops.take(data.features, photos, axis=0))
    kernel_gradient = kernel_gradient + 2 * l2[:, None] * state.kernel
    kernel, kernel_slots = move(state.kernel, kernel_gradient, state.kernel_slots, learning_rate=rates[:, None])
    bias, bias_slots = move(state.bias, ops.sum(logit_gradient, axis=1), state.bias_slots, learning_rate=rates)
    return _State(kernel, bias, kernel_slots, bias_slots, targets, step, state.loss_sum + loss_sum)


def _losses(
    groups: tuple[LossGroup, ...],
    logits: Tensor,
    targets: dict[int, Tensor],
    data: Data,
    batch: dict[str, Tensor],
) -> Tensor:
    """Loss of each head and example, [K, batch]."""
    from keras import ops

    rows, size, num_classes = batch["rows"], batch["rows"].shape[0], logits.shape[-1]

    def one_hot(label_rows: Tensor, heads: slice) -> Tensor:
        return ops.one_hot(ops.reshape(ops.take(data.labels[heads], label_rows, axis=1), (-1,)), num_classes)

    def extra(need: str, index: int, heads: slice) -> Any:
        if need == "transition_matrix":
            return ops.repeat(data.transition_matrices[heads], size, axis=0)
        if need == "inverse_transition_matrix":
            return ops.repeat(data.inverse_transition_matrices[heads], size, axis=0)
        if need == "targets":
            return _flat(ops.take(targets[index], rows, axis=1))
        if need == "progress":
            return batch["progress"]
        return one_hot(batch["peer_label_rows"], heads), _flat(logits[heads, size:])

    values = []
    for index, (group, heads) in enumerate(spans(groups)):
        extras = [extra(need, index, heads) for need in group.needs]
        value = group.function(one_hot(rows, heads), _flat(logits[heads, :size]), *extras, **dict(group.parameters))
        values.append(ops.reshape(value, (group.heads, size)))
    return ops.concatenate(values, axis=0)


def _logits(kernel: Tensor, bias: Tensor, transposed: Tensor, held: int) -> Tensor:
    """Logits [K, photos, c] of features [d, photos]."""
    from keras import ops

    logits = ops.reshape(ops.matmul(kernel, transposed) + bias[:, None], (-1, held, transposed.shape[1]))
    logits = ops.transpose(logits, (0, 2, 1))
    return ops.concatenate([logits, -logits], axis=-1) if held == 1 else logits


def _flat(by_head: Tensor) -> Tensor:
    """[heads, batch, c] in the shape that losses take, [heads · batch, c]."""
    from keras import ops

    return ops.reshape(by_head, (-1, by_head.shape[-1]))


def _scattered(targets: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    """``targets`` [heads, n + 1, c] with ``new`` [heads, batch, c] in the batch's rows."""
    from keras import ops

    by_photo = ops.scatter_update(ops.transpose(targets, (1, 0, 2)), rows[:, None], ops.transpose(new, (1, 0, 2)))
    return ops.transpose(by_photo, (1, 0, 2))
