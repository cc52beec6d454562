"""Feature extraction: right values, whatever the batch, one batch decoded ahead."""

import io
from collections.abc import Iterator

import keras
import numpy as np
import pytest
from PIL import Image

from flowernoise.safe import images
from flowernoise.training import features

SIZE = 12


def photo(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def model() -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(5, 3, kernel_initializer=keras.initializers.GlorotUniform(seed=0))(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


@pytest.mark.parametrize("count", [1, features.BATCH, features.BATCH + 3])
def test_features_are_what_the_model_says_of_each_photo(model: keras.Model, count: int) -> None:
    encoded = [photo(number) for number in range(count)]
    advanced: list[int] = []
    extracted = features.extract(model, encoded, SIZE, advanced.append)
    pixels = np.stack([images.decode(data, SIZE) for data in encoded]).astype("float32")
    np.testing.assert_allclose(extracted, keras.ops.convert_to_numpy(model(pixels)), rtol=1e-4, atol=1e-3)
    assert extracted.dtype == np.float32
    assert sum(advanced) == count


def test_a_photos_features_do_not_depend_on_its_neighbours(model: keras.Model) -> None:
    alone = features.extract(model, [photo(7)], SIZE, lambda count: None)
    in_company = features.extract(model, [photo(7), *map(photo, range(40))], SIZE, lambda count: None)
    np.testing.assert_array_equal(alone[0], in_company[0])


def test_batches_have_the_sizes_asked_for_and_come_in_order() -> None:
    encoded = [photo(number) for number in range(9)]
    batches = list(features.decoded_batches(encoded, SIZE, [4, 4, 4]))
    assert [len(batch) for batch in batches] == [4, 4, 1]
    np.testing.assert_array_equal(np.concatenate(batches), [images.decode(data, SIZE) for data in encoded])


def test_only_one_batch_is_read_ahead() -> None:
    read: list[int] = []

    def encoded() -> Iterator[bytes]:
        for number in range(20):
            read.append(number)
            yield photo(number)

    batches = features.decoded_batches(encoded(), SIZE, [2] * 10)
    next(batches)
    assert len(read) == 4


def test_a_photo_that_cannot_be_decoded_is_an_error() -> None:
    with pytest.raises(images.UnreadablePhotoError):
        list(features.decoded_batches([b"no photo"], SIZE, [1]))
