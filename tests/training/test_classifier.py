"""Backbone and head as one model: filled by name, asked in batches."""

import keras
import numpy as np
import pytest
from scipy.special import softmax

from flowernoise.training import classifier, finetune


def backbone(size: int) -> keras.Model:
    pixels = keras.Input((size, size, 3), name="images")
    x = keras.layers.Rescaling(1 / 255, name="scale")(keras.ops.flip(pixels, axis=-1))
    x = keras.layers.Conv2D(4, 3, name="conv")(x)
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D(name="pool")(x))


def test_it_predictions_what_the_classifier_of_fine_tuning_does() -> None:
    rng = np.random.default_rng(0)
    logits, model = finetune.build_classifier(backbone, 8, 3), classifier.build(backbone, 8, 3)
    weights = [rng.normal(size=array.shape) for array in logits.get_weights()]
    logits.set_weights(weights)
    model.set_weights(weights)
    batches = [rng.integers(0, 256, (photos, 8, 8, 3), dtype=np.uint8) for photos in (32, 5)]
    found = [classifier.predictions(model, batch) for batch in batches]
    assert [predictions.shape for predictions in found] == [(32, 3), (5, 3)]
    expected = softmax(logits.predict(np.concatenate(batches).astype("float32"), verbose=0), axis=1)
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-6)


def test_layers_are_compared_but_for_their_numbers() -> None:
    model = classifier.build(backbone, 8, 3)
    layers = [("InputLayer", "images"), ("Flip", "flip_12"), ("Rescaling", "scale"), ("Conv2D", "conv")]
    layers += [("GlobalAveragePooling2D", "pool"), ("Dense", "head")]
    assert classifier.has_layers(model, layers)
    assert not classifier.has_layers(model, layers[:-1])
    assert not classifier.has_layers(model, [*layers[:-1], ("Dense", "tail")])
    assert not classifier.has_layers(model, [*layers[:2], layers[3], layers[2], *layers[4:]])


def test_it_is_filled_by_name_or_left_as_it_is() -> None:
    model = classifier.build(backbone, 8, 3)
    arrays = {"conv": [np.ones((3, 3, 3, 4)), np.ones(4)], "head": [np.ones((4, 3)), np.ones(3)]}
    for wrong, message in (
        ({"conv": arrays["conv"]}, "layer head is in one and not in the other"),
        ({**arrays, "tail": []}, "layer tail is in one"),
        ({**arrays, "head": [np.ones((4, 2)), np.ones(2)]}, "layer head has the shapes"),
        ({**arrays, "head": arrays["head"][:1]}, "layer head has the shapes"),
    ):
        before = model.get_weights()
        with pytest.raises(ValueError, match=message):
            classifier.fill(model, wrong)
        assert all(map(np.array_equal, before, model.get_weights()))
    classifier.fill(model, arrays)
    assert all((array == 1).all() for array in model.get_weights())
