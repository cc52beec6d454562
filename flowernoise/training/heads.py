"""Trains thousands of linear softmax heads on cached features at once.

K heads (Dense with bias, d features to c classes) are held as one kernel (K·c, d), head under head. A step is one
matrix product forward, the losses' gradient with respect to the logits by autodiff, one matrix product back, and the
optimiser's step written out with a learning rate and L2 per head. Optimisers work element by element, so every head
comes out as if Keras had trained it alone. All steps run in one XLA program, compiled once for each shape and set of
losses.

Of two classes only the first one's row is held. Losses see the softmax alone, so their gradient over the logits sums
to zero; the second row starts at zero like the first, takes the opposite of each of its steps, and stays its
negative. That halves arithmetic and memory.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from flowernoise.errors import FlowernoiseError

Tensor = Any  # a tensor of the Keras backend in use

NEEDS = ("transition_matrix", "inverse_transition_matrix", "targets", "peers", "progress")
"""What a loss can ask for beyond labels and logits."""


@dataclasses.dataclass(frozen=True)
class LossGroup:
    """Neighbouring heads that learn with the same loss.

    Two equal groups share one compilation, so ``function`` should be the same object from call to call.

    Attributes:
        function: ``function(y_true [n, c], logits [n, c], *extras, **parameters)`` → [n], never averaged.
        heads: how many heads.
        parameters: the loss's parameters, as (name, value) pairs.
        needs: which of ``NEEDS`` the loss takes as ``extras``, in the order given: ``transition_matrix`` and
            ``inverse_transition_matrix`` [n, c, c]; ``targets`` [n, c], kept from epoch to epoch, zero at first;
            ``peers``, a pair of one-hot labels and logits [n, c] of other examples; ``progress``, 0 in the first epoch
            and 1 in the last.
        update: ``update(targets, logits, **parameters)`` → the new targets, applied before the loss is taken.
    """

    function: Callable[..., Any]
    heads: int
    parameters: tuple[tuple[str, Any], ...] = ()
    needs: tuple[str, ...] = ()
    update: Callable[..., Any] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class HeadsTask:
    """A block of K heads to train; they share photos, batch order and initial kernel.

    Attributes:
        train_features: [n, d].
        other_features: [m, d], photos to predict only.
        labels: [L, n] whole numbers, the observed labellings of the training photos.
        labelling: [K], which row of ``labels`` each head learns from.
        num_classes: c.
        losses: the heads' losses; the first group's heads come first.
        learning_rates: [K].
        l2: [K], as ``keras.regularizers.L2`` on the kernel, not on the bias.
        order: [epochs, n], the order of the training photos in each epoch, permutations of 0 … n − 1.
        batch_size: the last batch of an epoch may be smaller, as in ``fit``.
        optimizer: Keras' Adam, or SGD with momentum 0.9.
        initial_kernel: [d, c], shared by the heads; zeros where None. Biases start at zero.
        transition_matrices: [K, c, c], T[i, j] = P(observed j | true i), where a loss needs them or their inverses.
        peer_order: [epochs, 2, n], where a loss needs peers: for the example at each position of ``order``, the photo
            (first row) and the label (second row) of its peer. Draw both as permutations, from a stream of their own.
            Peers double the arithmetic of the whole block: give such losses blocks of their own.
    """

    train_features: np.ndarray
    other_features: np.ndarray
    labels: np.ndarray
    labelling: np.ndarray
    num_classes: int
    losses: Sequence[LossGroup]
    learning_rates: np.ndarray
    l2: np.ndarray
    order: np.ndarray
    batch_size: int = 32
    optimizer: Literal["adam", "sgd"] = "adam"
    initial_kernel: np.ndarray | None = None
    transition_matrices: np.ndarray | None = None
    peer_order: np.ndarray | None = None

    @property
    def num_heads(self) -> int:
        """K."""
        return len(self.labelling)

    @property
    def held(self) -> int:
        """How many classes' rows of the kernel a head is held in."""
        return 1 if self.num_classes == 2 and self.initial_kernel is None else self.num_classes

    def __post_init__(self) -> None:
        """Checks that the parts fit together.

        Raises:
            ValueError: a shape does not fit, or a loss needs what is not there.
            FlowernoiseError: a loss needs the inverse of a transition matrix that has none (see ``invertible``).
        """
        n, d = self.train_features.shape
        K, classes, epochs = self.num_heads, self.num_classes, len(self.order)
        expected = {
            "other_features": (len(self.other_features), d),
            "labels": (len(self.labels), n),
            "learning_rates": (K,),
            "l2": (K,),
            "order": (epochs, n),
            "initial_kernel": (d, classes),
            "transition_matrices": (K, classes, classes),
            "peer_order": (epochs, 2, n),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"{name} has shape {value.shape}, not {shape}")
        if not np.array_equal(np.sort(self.order, axis=1), np.tile(np.arange(n), (epochs, 1))):
            raise ValueError("order does not hold permutations of the training photos")
        if self.labels.min() < 0 or self.labels.max() >= classes:
            raise ValueError(f"labels are not all between 0 and {classes - 1}")
        if sum(group.heads for group in self.losses) != K:
            raise ValueError(f"losses are for {sum(group.heads for group in self.losses)} heads, not {K}")
        needs = {need for group in self.losses for need in group.needs}
        if unknown := needs.difference(NEEDS):
            raise ValueError(f"a loss needs {', '.join(sorted(unknown))}; there are {', '.join(NEEDS)}")
        if any(("targets" in group.needs) != (group.update is not None) for group in self.losses):
            raise ValueError("a loss needs both targets and their update, or neither")
        matrices = self.transition_matrices
        if needs & {"transition_matrix", "inverse_transition_matrix"} and matrices is None:
            raise ValueError("a loss needs transition_matrices")
        for group, heads in _spans(self.losses):
            if (
                matrices is not None
                and "inverse_transition_matrix" in group.needs
                and not invertible(matrices[heads]).all()
            ):
                raise FlowernoiseError(
                    "a loss needs the inverse of a transition matrix that has none: with this noise some labels say "
                    "nothing about the true class; use another loss or a lower rate"
                )
        if "peers" in needs and self.peer_order is None:
            raise ValueError("a loss needs peer_order")


@dataclasses.dataclass(frozen=True, eq=False)
class EpochOutputs:
    """What the heads say after an epoch.

    Attributes:
        epoch: counted from 1.
        probabilities: [K, m, c] float32, for ``other_features``; not finite for a head that diverged.
        predicted: [K, n] uint8 (uint16 above 256 classes), class of each training photo.
        training_loss: [K] float32, mean over the epoch's batches before each step, as ``fit`` reports it, without L2.
    """

    epoch: int
    probabilities: np.ndarray
    predicted: np.ndarray
    training_loss: np.ndarray


def train_heads(task: HeadsTask, *, history: bool = False) -> Iterator[EpochOutputs]:
    """Trains the heads; yields their outputs after every epoch, or only after the last.

    Results repeat bit for bit on one machine. A head's neighbours, the size of the block and the number of threads
    change its probabilities by rounding at most. Small matrix products are rounded differently from large ones, which
    some losses (peer, elr) would amplify to 1e-4 over epochs, so small blocks are filled up with copies of their last
    head.

    Args:
        task: the heads, their data and settings.
        history: outputs after every epoch rather than after the last.

    >>> from flowernoise.catalogue.losses import ce
    >>> task = HeadsTask(
    ...     train_features=np.eye(4, dtype="float32"), other_features=np.eye(4, dtype="float32")[:1],
    ...     labels=np.array([[0, 1, 0, 1], [1, 0, 1, 0]]), labelling=np.array([0, 1, 1]), num_classes=2,
    ...     losses=[LossGroup(ce, heads=3)], learning_rates=np.array([0.1, 0.1, 0.5]), l2=np.zeros(3),
    ...     order=np.array([[0, 1, 2, 3], [3, 2, 1, 0]]), batch_size=2)
    >>> [outputs] = train_heads(task)
    >>> outputs.probabilities.astype("float64").round(2).tolist()
    [[[0.64, 0.36]], [[0.36, 0.64]], [[0.06, 0.94]]]
    """
    import keras

    asked, task = task.num_heads, _filled_up(task)
    program = _program(tuple(task.losses), task.num_classes, task.held, task.optimizer, history)
    data = _Data(*map(keras.ops.convert_to_tensor, _data(task)))
    batches = {name: keras.ops.convert_to_tensor(rows) for name, rows in _batches(task).items()}
    answers = _Answers(*map(keras.ops.convert_to_numpy, program(data, batches)))
    epochs = len(task.order)
    for index, epoch in enumerate(range(1, epochs + 1) if history else [epochs]):
        yield EpochOutputs(
            epoch=epoch,
            probabilities=answers.probabilities[index, :asked],
            predicted=answers.predicted[index, :asked],
            training_loss=answers.loss_sum[index, :asked] / np.float32(len(task.train_features)),
        )


def _filled_up(task: HeadsTask) -> HeadsTask:
    """The task with its last head repeated until there are enough rows for large products."""
    missing = -(-_MIN_ROWS // task.held) - task.num_heads
    if missing <= 0:
        return task

    def longer(of_heads: np.ndarray) -> np.ndarray:
        return np.concatenate([of_heads, np.repeat(of_heads[-1:], missing, axis=0)])

    *others, last = task.losses
    return dataclasses.replace(
        task,
        labelling=longer(task.labelling),
        losses=[*others, dataclasses.replace(last, heads=last.heads + missing)],
        learning_rates=longer(task.learning_rates),
        l2=longer(task.l2),
        transition_matrices=None if task.transition_matrices is None else longer(task.transition_matrices),
    )


def invertible(transition_matrices: np.ndarray) -> np.ndarray:
    """Which of the matrices [K, c, c] can be inverted in float32, [K].

    >>> invertible(np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.5, 0.5]]])).tolist()
    [True, False]
    """
    return np.asarray(np.linalg.cond(transition_matrices) < 1e5)


def recommended_heads(num_features: int, num_classes: int) -> int:
    """How many heads from zero a block should hold to train fastest.

    Kernel and optimiser state should stay in the processor's last cache, and matrix products slow down below some 64
    rows. The number of photos does not matter. The optimum is flat: half or twice as many cost some 10 %.

    >>> recommended_heads(1280, 2), recommended_heads(1280, 5), recommended_heads(2048, 1000)
    (546, 109, 1)
    """
    bytes_a_row = 3 * 4 * num_features
    rows = max(64, _STATE_BYTES // bytes_a_row)
    return max(1, rows // (1 if num_classes == 2 else num_classes))


def bytes_a_head(train_photos: int, other_photos: int, num_features: int, num_classes: int, times: int) -> int:
    """Bytes that a head of a block needs while it is trained, counted from the arrays that are held at once.

    Kernel, optimiser state and their next values; answers as the program and as the selection hold them. The answers
    of epochs that the selection has yet to judge are views of the program's.

    Args:
        times: how often the heads are asked: the number of epochs with history, else 1.
    """
    state = 8 * num_features * num_classes
    other_answers = (2 * times + 8) * other_photos * num_classes
    train_answers = 4 * train_photos * num_classes + times * train_photos
    return 4 * (state + other_answers + train_answers)


# Measured with 1,280 features on 2 cores with 32 MiB of cache: best at 512 heads of two classes, 128 of five.
_STATE_BYTES = 8 * 2**20
# Measured: from 120 rows on (of 5 classes; 64 of 2, 72 of 3) heads come out bit for bit as in blocks of any other size.
_MIN_ROWS = 128


class _Data(NamedTuple):
    """What stays the same over the epochs. Photo n is blank: it fills up the last batch of an epoch."""

    features: Tensor  # [n + 1, d]
    transposed: Tensor  # [d, n + 1], the same: products with a transposed factor are slower by a third
    others: Tensor  # [d, m]
    labels: Tensor  # [K, n + 1]
    initial_kernel: Tensor  # [held, d]
    learning_rates: Tensor  # [K]
    l2: Tensor  # [K]
    transition_matrices: Tensor  # [K, c, c], or empty where no loss needs them
    inverse_transition_matrices: Tensor  # the same


class _State(NamedTuple):
    """What training changes."""

    kernel: Tensor  # [K·held, d]
    bias: Tensor  # [K·held]
    kernel_slots: tuple[Tensor, ...]  # the optimiser's memory, each like the kernel
    bias_slots: tuple[Tensor, ...]
    targets: dict[int, Tensor]  # [heads, n + 1, c] by the number of the group, for those that need them
    step: Tensor  # steps taken, a float32
    loss_sum: Tensor  # [K], over the examples of this epoch


class _Answers(NamedTuple):
    """What is asked of the heads at A times."""

    probabilities: Tensor  # [A, K, m, c]
    predicted: Tensor  # [A, K, n]
    loss_sum: Tensor  # [A, K]


def _data(task: HeadsTask) -> _Data:
    features = np.pad(np.asarray(task.train_features, dtype=np.float32), ((0, 1), (0, 0)))
    initial_kernel = np.zeros((features.shape[1], task.held)) if task.initial_kernel is None else task.initial_kernel
    return _Data(
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
    """``function`` of the transition matrices of the heads that need it, zeros for the others."""
    if task.transition_matrices is None or not any(need in group.needs for group in task.losses):
        return np.zeros((0,), dtype=np.float32)
    matrices = np.zeros(task.transition_matrices.shape, dtype=np.float32)
    for group, heads in _spans(task.losses):
        if need in group.needs:
            matrices[heads] = function(task.transition_matrices[heads])
    return matrices


def _initial_state(groups: tuple[LossGroup, ...], num_classes: int, optimizer: str, data: _Data) -> _State:
    from keras import ops

    heads, photos = data.labels.shape
    kernel = ops.tile(data.initial_kernel, (heads, 1))
    bias = ops.zeros((kernel.shape[0],))
    num_slots = _OPTIMIZERS[optimizer].num_slots
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


def _batches(task: HeadsTask) -> dict[str, np.ndarray]:
    """Rows of the training photos, of their peers and of the peers' labels, [epochs, batches, batch size] each."""
    orders = {"rows": task.order}
    if task.peer_order is not None and any("peers" in group.needs for group in task.losses):
        orders |= {"peer_rows": task.peer_order[:, 0], "peer_label_rows": task.peer_order[:, 1]}
    epochs, n = task.order.shape
    missing = ((0, 0), (0, -n % task.batch_size))
    filled = {name: np.pad(order.astype(np.int32), missing, constant_values=n) for name, order in orders.items()}
    return {name: order.reshape(epochs, -1, task.batch_size) for name, order in filled.items()}


@functools.lru_cache(maxsize=64)
def _program(groups: tuple[LossGroup, ...], num_classes: int, held: int, optimizer: str, history: bool) -> Any:
    """The compiled training: ``program(data, batches)`` → answers after every epoch, or after the last.

    One program for all epochs: the state stays where it is, rather than being copied in and out for each.
    """
    from keras import ops

    def program(data: _Data, batches: dict[str, Tensor]) -> _Answers:
        epochs, per_epoch, _ = batches["rows"].shape
        times, steps = (epochs, per_epoch) if history else (1, epochs * per_epoch)

        def step(index: Tensor, state: _State) -> _State:
            epoch, number = index // per_epoch, index % per_epoch
            batch = {name: rows[epoch, number] for name, rows in batches.items()}
            batch["progress"] = ops.cast(epoch, "float32") / max(epochs - 1, 1)
            loss_sum = ops.where(number == 0, 0.0, state.loss_sum)
            return _step(groups, held, optimizer, state._replace(loss_sum=loss_sum), data, batch)

        def train_and_answer(index: Tensor, carried: tuple[_State, _Answers]) -> tuple[_State, _Answers]:
            state, answers = carried
            state = ops.fori_loop(index * steps, (index + 1) * steps, step, state)
            new = _answers(state, data, num_classes, held)
            return state, _Answers(*(_written(all_, index, one) for all_, one in zip(answers, new, strict=True)))

        start = _initial_state(groups, num_classes, optimizer, data)
        blank = _answers(start, data, num_classes, held)
        none = _Answers(*(ops.zeros((times, *one.shape), one.dtype) for one in blank))
        answers: _Answers = ops.fori_loop(0, times, train_and_answer, (start, none))[1]
        return answers

    return _compile(program)


def _answers(state: _State, data: _Data, num_classes: int, held: int) -> _Answers:
    from keras import ops

    return _Answers(
        probabilities=ops.softmax(_logits(state.kernel, state.bias, data.others, held), axis=-1),
        predicted=ops.cast(
            ops.argmax(_logits(state.kernel, state.bias, data.transposed, held)[:, :-1], axis=-1),
            str(np.min_scalar_type(num_classes - 1)),
        ),
        loss_sum=state.loss_sum,
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
    data: _Data,
    batch: dict[str, Tensor],
) -> _State:
    """One batch: logits, new targets, gradient, optimiser."""
    from keras import ops

    rows, size = batch["rows"], batch["rows"].shape[0]
    photos = ops.concatenate([rows, batch["peer_rows"]]) if "peer_rows" in batch else rows
    logits = _logits(state.kernel, state.bias, ops.take(data.transposed, photos, axis=1), held)

    targets = dict(state.targets)
    for index, (group, heads) in enumerate(_spans(groups)):
        if group.update is not None:
            old = ops.take(targets[index], rows, axis=1)
            new = group.update(_flat(old), _flat(logits[heads, :size]), **dict(group.parameters))
            targets[index] = _scattered(targets[index], rows, ops.reshape(new, old.shape))

    present = ops.cast(rows < data.features.shape[0] - 1, "float32")  # 0 for the blanks that fill the last batch

    def objective(logits: Tensor) -> tuple[Tensor, Tensor]:
        losses = _losses(groups, logits, targets, data, batch) * present
        return ops.sum(losses) / ops.sum(present), ops.sum(losses, axis=1)

    loss_sum, logit_gradient = _value_and_gradient(objective, logits)
    if held == 1:  # opposites but for rounding, which would break the classes' symmetry
        logit_gradient = (logit_gradient[:, :, :1] - logit_gradient[:, :, 1:]) / 2
    logit_gradient = ops.reshape(ops.transpose(logit_gradient, (0, 2, 1)), (-1, photos.shape[0]))

    step = state.step + 1

    def by_row(of_heads: Tensor) -> Tensor:
        return ops.repeat(of_heads, held)

    move = functools.partial(_OPTIMIZERS[optimizer].move, step=step)
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
    data: _Data,
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
    for index, (group, heads) in enumerate(_spans(groups)):
        extras = [extra(need, index, heads) for need in group.needs]
        value = group.function(one_hot(rows, heads), _flat(logits[heads, :size]), *extras, **dict(group.parameters))
        values.append(ops.reshape(value, (group.heads, size)))
    return ops.concatenate(values, axis=0)


def _spans(groups: Sequence[LossGroup]) -> Iterator[tuple[LossGroup, slice]]:
    """Each group with the heads it holds."""
    first = 0
    for group in groups:
        yield group, slice(first, first + group.heads)
        first += group.heads


def _logits(kernel: Tensor, bias: Tensor, transposed: Tensor, held: int) -> Tensor:
    """[K, photos, c] of features [d, photos]."""
    from keras import ops

    logits = ops.reshape(ops.matmul(kernel, transposed) + bias[:, None], (-1, held, transposed.shape[1]))
    logits = ops.transpose(logits, (0, 2, 1))
    return ops.concatenate([logits, -logits], axis=-1) if held == 1 else logits


def _flat(by_head: Tensor) -> Tensor:
    """[heads, batch, c] as losses take it, [heads · batch, c]."""
    from keras import ops

    return ops.reshape(by_head, (-1, by_head.shape[-1]))


def _scattered(targets: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    """``targets`` [heads, n + 1, c] with ``new`` [heads, batch, c] in the batch's rows."""
    from keras import ops

    by_photo = ops.scatter_update(ops.transpose(targets, (1, 0, 2)), rows[:, None], ops.transpose(new, (1, 0, 2)))
    return ops.transpose(by_photo, (1, 0, 2))


class _Optimizer(NamedTuple):
    """One step of a Keras optimiser: ``move(weights, gradient, slots, *, step, learning_rate)``."""

    move: Callable[..., tuple[Tensor, tuple[Tensor, ...]]]
    num_slots: int


def _adam(
    weights: Tensor, gradient: Tensor, slots: tuple[Tensor, ...], *, step: Tensor, learning_rate: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Keras' Adam: beta 0.9 and 0.999, epsilon 1e-7 added to the uncorrected root."""
    from keras import ops

    mean, square = slots
    rate = learning_rate * ops.sqrt(1 - ops.power(0.999, step)) / (1 - ops.power(0.9, step))
    mean = mean + (gradient - mean) * (1 - 0.9)
    square = square + (ops.square(gradient) - square) * (1 - 0.999)
    return weights - mean * rate / (ops.sqrt(square) + 1e-7), (mean, square)


def _sgd(
    weights: Tensor,
    gradient: Tensor,
    slots: tuple[Tensor, ...],
    *,
    step: Tensor,  # noqa: ARG001 - only Adam counts its steps
    learning_rate: Tensor,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Keras' SGD with momentum 0.9."""
    momentum = slots[0] * 0.9 - gradient * learning_rate
    return weights + momentum, (momentum,)


_OPTIMIZERS = {"adam": _Optimizer(_adam, 2), "sgd": _Optimizer(_sgd, 1)}


def _compile(function: Callable[..., Any]) -> Any:
    """``function`` as an XLA program."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True, autograph=False)
    raise FlowernoiseError(f"heads train on tensorflow or jax, not {keras.backend.backend()}: set KERAS_BACKEND to one")


def _value_and_gradient(objective: Callable[[Tensor], tuple[Tensor, Tensor]], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """``objective`` returns (a scalar, something else); this returns (the something else, the scalar's gradient)."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        gradient, value = jax.grad(objective, has_aux=True)(inputs)
        return value, gradient
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        scalar, value = objective(inputs)
    return value, tape.gradient(scalar, inputs)
