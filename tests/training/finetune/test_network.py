"""Which layers learn, and the precision that a network is built with."""

import keras
import pytest

from flowernoise.errors import BadRequestError
from flowernoise.training.finetune.network import build_classifier, let_learn, precision
from tests.training.finetune.small_networks import CLASSES, SIZE, convolution, normalised


@pytest.mark.parametrize(
    ("tune", "names"),
    [
        ("all", ["conv/kernel", "norm/gamma", "norm/beta", "head/kernel", "head/bias"]),
        ("norm", ["norm/gamma", "norm/beta", "head/kernel", "head/bias"]),
        ("last:1", ["norm/gamma", "norm/beta", "head/kernel", "head/bias"]),
        ("last:2", ["conv/kernel", "norm/gamma", "norm/beta", "head/kernel", "head/bias"]),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_the_layers_that_learn(tune: str, names: list[str], *, nested: bool) -> None:
    def inside(size: int) -> keras.Model:
        inputs = keras.Input((size, size, 3))
        return keras.Model(inputs, normalised(size)(inputs))

    model = build_classifier(inside if nested else normalised, SIZE, CLASSES)
    assert let_learn(model, tune) == (tune == "all")
    assert ["/".join(each.path.split("/")[-2:]) for each in model.trainable_variables] == names


@pytest.mark.parametrize(
    ("tune", "message"),
    [("norm", "has no normalisation layers"), ("last:2", "has only 1 layers with weights")],
)
def test_layers_that_are_not_there_are_refused(tune: str, message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        let_learn(build_classifier(convolution, SIZE, CLASSES), tune)


def test_precision_is_restored_even_after_an_error() -> None:
    def fail() -> None:
        with precision("mixed_bfloat16"):
            assert keras.mixed_precision.global_policy().name == "mixed_bfloat16"
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert keras.mixed_precision.global_policy().name == "float32"
