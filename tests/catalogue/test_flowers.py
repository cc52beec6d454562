from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from flowernoise.catalogue.flowers import KINDS, paint
from flowernoise.catalogue.flowers.canvas import Canvas, Pose
from flowernoise.catalogue.flowers.heads import Variety
from flowernoise.catalogue.flowers.species import SPECIES
from flowernoise.errors import BadRequestError

Pixels = NDArray[np.float64]


def pixels(kind: str, seed: int, size: int = 48) -> NDArray[np.uint8]:
    return np.asarray(paint(kind, np.random.default_rng(seed), size))


@cache
def gallery(kind: str) -> Pixels:
    """Forty pictures of a kind as [picture, row, column, channel] from 0 to 1."""
    generator = np.random.default_rng(7)
    return np.stack([np.asarray(paint(kind, generator, size=96)) for _ in range(40)]) / 255


def share_of(colour: str, kind: str) -> float:
    """Share of a kind's pixels that are yellow, white or red."""
    photos = gallery(kind)
    red, green, blue = np.moveaxis(photos, -1, 0)
    masks = {
        "yellow": (red > 0.5) & (green > 0.4) & (blue < 0.35) & (red >= green),
        "white": (photos.min(axis=-1) > 0.65) & (np.ptp(photos, axis=-1) < 0.2),
        "red": red - green > 0.25,
    }
    return float(masks[colour].mean())


def front_view(kind: str, form: float) -> tuple[Pixels, Pixels]:
    """Mean colours, from 0 to 1, of the centre and of the petals of a head that faces us."""
    image = Image.new("RGB", (200, 200))
    species = SPECIES[kind]
    canvas = Canvas(ImageDraw.Draw(image, "RGBA"), 200, np.random.default_rng(0), light=0.0)
    pose = Pose(x=0.5, y=0.5, radius=0.45, turn=0.0, tilt=0.0, lean=0.0)
    species.head(canvas, pose, Variety(species.petals[0], species.centres[0], form))
    head = np.asarray(image, dtype=np.float64) / 255
    rows, columns = np.mgrid[:200, :200] - 99.5
    distance = np.hypot(rows, columns) / 90
    petals = (distance > 0.62) & (distance < 0.8) & (head.max(axis=-1) > 0)
    return head[distance < 0.2].mean(axis=0), head[petals].mean(axis=0)


def test_kinds_are_those_of_tf_flowers_in_order() -> None:
    assert KINDS == ("dandelion", "daisy", "tulips", "sunflowers", "roses")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [32, 97, 224])
def test_pictures_are_square_and_rgb(kind: str, size: int) -> None:
    picture = paint(kind, np.random.default_rng(0), size)
    assert (picture.mode, picture.size) == ("RGB", (size, size))


def test_default_size_is_that_of_the_backbones() -> None:
    assert paint("roses", np.random.default_rng(0)).size == (224, 224)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_pixels(kind: str) -> None:
    for seed in range(5):
        np.testing.assert_array_equal(pixels(kind, seed), pixels(kind, seed))


def test_randomness_comes_from_the_generator_alone() -> None:
    generator = np.random.default_rng(3)
    first, second = (np.asarray(paint("daisy", generator, 48)) for _ in range(2))
    np.random.seed(0)  # a global seed must not matter
    np.testing.assert_array_equal(first, pixels("daisy", 3))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_a_kind_vary(kind: str) -> None:
    assert len({pixels(kind, seed).tobytes() for seed in range(20)}) == 20
    brightness = gallery(kind).mean(axis=(1, 2, 3))
    assert np.ptp(brightness) > 0.2
    assert gallery(kind).std(axis=0).mean() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_neither_black_nor_blown_out(kind: str) -> None:
    photos = gallery(kind)
    assert 0.2 < photos.mean() < 0.6
    assert photos.std(axis=(1, 2, 3)).min() > 0.02


@pytest.mark.parametrize("other", ["daisy", "tulips", "roses"])
@pytest.mark.parametrize("kind", ["dandelion", "sunflowers"])
def test_dandelions_and_sunflowers_are_the_yellow_ones(kind: str, other: str) -> None:
    assert share_of("yellow", kind) > 2 * share_of("yellow", other)


@pytest.mark.parametrize("other", [kind for kind in KINDS if kind != "daisy"])
def test_daisies_are_the_white_ones(other: str) -> None:
    assert share_of("white", "daisy") > 1.3 * share_of("white", other)


@pytest.mark.parametrize("other", ["dandelion", "daisy", "sunflowers"])
def test_roses_are_the_red_ones(other: str) -> None:
    assert share_of("red", "roses") > 2 * share_of("red", other)


def test_a_sunflower_has_a_dark_heart_and_a_dandelion_has_none() -> None:
    for form in (0.3, 0.5, 0.8):
        heart, petals = front_view("sunflowers", form)
        assert heart.mean() < 0.6 * petals.mean()
        heart, petals = front_view("dandelion", form)
        assert heart.mean() > 0.8 * petals.mean()


def test_a_daisy_is_white_around_yellow() -> None:
    heart, petals = front_view("daisy", 0.5)
    assert heart[2] < 0.3 < 0.7 < petals.min()


def test_a_dandelion_may_be_a_seed_clock() -> None:
    _, petals = front_view("dandelion", 0.1)
    assert np.ptp(petals) < 0.1
    _, petals = front_view("dandelion", 0.5)
    assert petals[0] - petals[2] > 0.5


@pytest.mark.parametrize("kind", ["tulip", "", "Roses"])
def test_an_unknown_kind_is_refused_with_the_choices(kind: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        paint(kind, np.random.default_rng(0))
    assert all(choice in str(caught.value) for choice in KINDS)
