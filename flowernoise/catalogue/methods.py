"""Methods: what a run is trained with.

A loss is the simplest method. A method that needs more than labels and photos has first stages: models trained before
the run, on the same draw and with the same settings, that each pass something on to it. A first stage is one registered
function that takes the labels and its model's predictions and returns what to pass on; ``wanted`` says which losses it
is for. All stages are trained in the same way, on features or by fine-tuning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from flowernoise.catalogue import transition_matrix
from flowernoise.catalogue.losses import losses, needs_of
from flowernoise.catalogue.transition_matrix import AnyLabels, Flags, Floats, Matrix
from flowernoise.registry import Spec

ESTIMATED = "estimated"  # as in forward:T=estimated

HandOn = Callable[[AnyLabels, Floats], tuple[Matrix, Flags]]
"""``hand_on(labels [n], predictions [n, c])`` → a matrix [c, c], and for which classes [c] it holds an estimate.

The labels are the observed labels of the training photos; the predictions are the stage's probabilities for them.
"""


@dataclasses.dataclass(frozen=True)
class FirstStage:
    """A model that is trained before a run, and what it passes on.

    Attributes:
        name: what is passed on; also names the stage's results on disk.
        loss: the loss that the model is trained with.
        hand_on: see ``HandOn``.
        wanted: tells whether runs with a given loss have this stage.
    """

    name: str
    loss: Spec
    hand_on: HandOn
    wanted: Callable[[Spec], bool]


@dataclasses.dataclass(frozen=True)
class Method:
    """What a run is trained with: a loss, and the stages that come before it.

    Attributes:
        loss: the loss of the run's own model; its canonical form names the method.
        stages: trained first, in this order.
    """

    loss: Spec
    stages: tuple[FirstStage, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """What the loss takes beyond labels and logits."""
        return needs_of(self.loss)

    def __str__(self) -> str:
        return str(self.loss)


_stages: list[FirstStage] = []


def first_stage(*, loss: str, wanted: Callable[[Spec], bool]) -> Callable[[HandOn], HandOn]:
    """Decorator: registers a first stage under its function's name.

    Args:
        loss: spec of the loss that the stage is trained with.
        wanted: tells whether runs with a given loss have this stage.
    """

    def register(function: HandOn) -> HandOn:
        _stages.append(FirstStage(function.__name__, losses.parse(loss), function, wanted))
        return function

    return register


def method_of(loss: Spec) -> Method:
    """The method for a loss, with the first stages it needs.

    >>> method_of(losses.parse("mae")).stages
    ()
    >>> [(stage.name, str(stage.loss)) for stage in method_of(losses.parse("forward")).stages]
    [('estimated_matrix', 'ce')]
    """
    return Method(loss, tuple(stage for stage in _stages if stage.wanted(loss)))


@first_stage(loss="ce", wanted=lambda loss: loss.values.get("T") == ESTIMATED)
def estimated_matrix(labels: AnyLabels, predictions: Floats) -> tuple[Matrix, Flags]:
    """The transition matrix that :func:`transition_matrix.estimated` finds from cross-entropy's predictions."""
    return transition_matrix.estimated(labels, predictions)
