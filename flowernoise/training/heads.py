"""Trains thousands of linear softmax heads on cached features at once.

Optimisers work element by element, so each head comes out as if Keras had trained it alone. All heads of a block share
one compiled program (:mod:`flowernoise.training.program`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from flowernoise.training.program import Answers, Data, batches_of, data_of, program_of
from flowernoise.training.tasks import EpochOutputs, HeadsTask


def train_heads(task: HeadsTask, *, history: bool = False, weights: bool = False) -> Iterator[EpochOutputs]:
    """Trains the heads; yields their outputs after every epoch, or only after the last.

    Results are identical bit for bit on the same machine. A head's neighbours, the size of the block and the number of
    threads change its probabilities only by rounding. Small matrix products round differently from large ones, and some
    losses (peer, elr) would amplify that to 1e-4 over epochs, so small blocks are padded with copies of their last
    head.

    Args:
        task: the heads, their data and settings.
        history: yield outputs after every epoch, not only after the last.
        weights: include the heads' weights in the outputs.

    >>> from flowernoise.catalogue.losses import ce
    >>> from flowernoise.training.tasks import LossGroup
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

    num_heads, task = task.num_heads, _filled_up(task)
    program = program_of(tuple(task.losses), task.num_classes, task.held, task.optimizer, history, weights)
    data = Data(*map(keras.ops.convert_to_tensor, data_of(task)))
    batches = {name: keras.ops.convert_to_tensor(rows) for name, rows in batches_of(task).items()}
    answers = Answers(*map(keras.ops.convert_to_numpy, program(data, batches)))
    epochs = len(task.order)
    for index, epoch in enumerate(range(1, epochs + 1) if history else [epochs]):
        yield EpochOutputs(
            epoch=epoch,
            probabilities=answers.probabilities[index, :num_heads],
            predicted=answers.predicted[index, :num_heads],
            training_loss=answers.loss_sum[index, :num_heads] / np.float32(len(task.train_features)),
            kernels=_by_head(answers.kernel[index], task.held)[:num_heads] if weights else None,
            biases=_by_head(answers.bias[index, :, None], task.held)[:num_heads, 0] if weights else None,
        )


def _by_head(rows: np.ndarray, held: int) -> np.ndarray:
    """Rows [K·held, d] as [K, d, c]; for two classes, the second class's rows are the negative of the first's."""
    by_head = rows.reshape(-1, held, rows.shape[1]).transpose(0, 2, 1)
    return np.concatenate([by_head, -by_head], axis=2) if held == 1 else by_head


def _filled_up(task: HeadsTask) -> HeadsTask:
    """The task with its last head repeated until there are enough rows for large matrix products."""
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


def recommended_heads(num_features: int, num_classes: int) -> int:
    """How many heads that start at zero a block should hold to train fastest.

    Kernel and optimiser state should fit in the processor's last-level cache, and matrix products slow down below about
    64 rows. The number of photos does not matter. The optimum is flat: half or twice as many heads cost about 10 %.

    >>> recommended_heads(1280, 2), recommended_heads(1280, 5), recommended_heads(2048, 1000)
    (546, 109, 1)
    """
    bytes_a_row = 3 * 4 * num_features
    rows = max(64, _STATE_BYTES // bytes_a_row)
    return max(1, rows // (1 if num_classes == 2 else num_classes))


def bytes_a_head(train_photos: int, other_photos: int, num_features: int, num_classes: int, times: int) -> int:
    """Bytes that a head in a block needs during training, counted from the arrays that are held at the same time.

    These are the kernel, the optimiser state and their next values, and the answers held by the program and by the
    selection. Answers for epochs that the selection has yet to judge are views of the program's.

    Args:
        times: how often the heads answer: the number of epochs with history, otherwise 1.
    """
    state = 8 * num_features * num_classes
    other_answers = (2 * times + 8) * other_photos * num_classes
    train_answers = 4 * train_photos * num_classes + times * train_photos
    return 4 * (state + other_answers + train_answers)


# Measured with 1,280 features on 2 cores with 32 MiB of cache: 512 heads were best for two classes, 128 for five.
_STATE_BYTES = 8 * 2**20
# Measured: from 120 rows (5 classes; 64 for 2, 72 for 3), heads are bit for bit the same as in larger blocks.
_MIN_ROWS = 128
