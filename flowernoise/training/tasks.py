"""What a block of heads is trained on (losses, data and settings), and what it returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from flowernoise.errors import FlowernoiseError

NEEDS = ("transition_matrix", "inverse_transition_matrix", "targets", "peers", "progress")
"""What a loss can ask for beyond labels and logits."""


@dataclasses.dataclass(frozen=True)
class LossGroup:
    """Neighbouring heads that learn with the same loss.

    Equal groups share one compilation, so ``function`` should be the same object in every call.

    Attributes:
        function: ``function(y_true [n, c], logits [n, c], *extras, **parameters)`` → [n], not averaged.
        heads: number of heads.
        parameters: the loss's parameters, as (name, value) pairs.
        needs: which of ``NEEDS`` the loss takes as ``extras``, in the order given: ``transition_matrix`` and
            ``inverse_transition_matrix`` [n, c, c]; ``targets`` [n, c], kept from epoch to epoch, initially zero;
            ``peers``, a pair of one-hot labels and logits [n, c] of other examples; ``progress``, 0 in the first epoch
            and 1 in the last.
        update: ``update(targets, logits, **parameters)`` → the new targets, applied before the loss is computed.
    """

    function: Callable[..., Any]
    heads: int
    parameters: tuple[tuple[str, Any], ...] = ()
    needs: tuple[str, ...] = ()
    update: Callable[..., Any] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class HeadsTask:
    """A block of K heads to train, which share photos, batch order and initial kernel.

    Attributes:
        train_features: [n, d].
        other_features: [m, d], photos to predict only.
        labels: [L, n] whole numbers, the observed labellings of the training photos.
        labelling: [K], the row of ``labels`` that each head learns from.
        num_classes: c.
        losses: the heads' losses; the first group's heads come first.
        learning_rates: [K].
        l2: [K], as ``keras.regularizers.L2`` on the kernel, not on the bias.
        order: [epochs, n], the order of the training photos in each epoch, permutations of 0 … n − 1.
        batch_size: the last batch of an epoch may be smaller, as in ``fit``.
        optimizer: Keras' Adam, or SGD with momentum 0.9.
        initial_kernel: [d, c], shared by the heads; zeros if None. Biases start at zero.
        transition_matrices: [K, c, c], T[i, j] = P(observed j | true i), if a loss needs them or their inverses.
        peer_order: [epochs, 2, n], if a loss needs peers: for the example at each position of ``order``, the photo
            (first row) and the label (second row) of its peer. Draw both as permutations, from a separate stream.
            Peers double the arithmetic of the whole block, so put such losses in separate blocks.
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
        """How many rows of the kernel a head takes."""
        return 1 if self.num_classes == 2 and self.initial_kernel is None else self.num_classes

    def __post_init__(self) -> None:
        """Checks that the parts fit together.

        Raises:
            ValueError: a shape does not fit, or something that a loss needs is missing.
            FlowernoiseError: a loss needs the inverse of a matrix that is not invertible (see ``invertible``).
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
        for group, heads in spans(self.losses):
            if (
                matrices is not None
                and "inverse_transition_matrix" in group.needs
                and not invertible(matrices[heads]).all()
            ):
                raise FlowernoiseError(
                    "a loss needs the inverse of a transition matrix that is not invertible: with this noise some "
                    "labels say nothing about the true class; use another loss or a lower rate"
                )
        if "peers" in needs and self.peer_order is None:
            raise ValueError("a loss needs peer_order")


@dataclasses.dataclass(frozen=True, eq=False)
class EpochOutputs:
    """The heads' outputs after an epoch.

    Attributes:
        epoch: counted from 1.
        probabilities: [K, m, c] float32, for ``other_features``; not finite for a head that diverged.
        predicted: [K, n] uint8 (uint16 above 256 classes), the predicted class of each training photo.
        training_loss: [K] float32, mean over the epoch's batches before each step, as ``fit`` reports it, without L2.
        kernels: [K, d, c] float32, if they were requested.
        biases: [K, c] float32, likewise.
    """

    epoch: int
    probabilities: np.ndarray
    predicted: np.ndarray
    training_loss: np.ndarray
    kernels: np.ndarray | None = None
    biases: np.ndarray | None = None


def invertible(transition_matrices: np.ndarray) -> np.ndarray:
    """Which of the matrices [K, c, c] can be inverted in float32, [K].

    >>> invertible(np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.5, 0.5]]])).tolist()
    [True, False]
    """
    return np.asarray(np.linalg.cond(transition_matrices) < 1e5)


def spans(groups: Sequence[LossGroup]) -> Iterator[tuple[LossGroup, slice]]:
    """Each group with the heads it holds."""
    first = 0
    for group in groups:
        yield group, slice(first, first + group.heads)
        first += group.heads
