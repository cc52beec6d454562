import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flowernoise.safe import images
from flowernoise.safe.images import UnreadablePhotoError, decode, digest_of_pixels

RED, LIME, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def four_colours(side: int = 32) -> Image.Image:
    """Red and lime above blue and white, each a quarter."""
    image = Image.new("RGB", (2, 2))
    image.putdata([RED, LIME, BLUE, WHITE])
    return image.resize((side, side), Image.Resampling.NEAREST)


def noise(width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """Colours of the four corners, each channel 0 or 255: top left, top right, bottom left, bottom right."""
    return [tuple(255 * (pixels[y, x] // 128)) for y in (0, -1) for x in (0, -1)]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG, its pixels as the format keeps them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 90}),
        ("BMP", {}),
    ],
)
def test_each_format_gives_its_colours_where_they_are(form: str, options: dict[str, object]) -> None:
    pixels = decode(encoded(four_colours(), form, **options), 16)
    assert (pixels.shape, pixels.dtype) == ((16, 16, 3), np.uint8)
    assert corners(pixels) == [RED, LIME, BLUE, WHITE]


@pytest.mark.parametrize("form", ["PPM", "ICO"])
def test_formats_that_are_unknown_here_are_refused_even_where_pillow_reads_them(form: str) -> None:
    with pytest.raises(UnreadablePhotoError, match="not a JPEG, PNG, WEBP or BMP image"):
        decode(encoded(four_colours(), form), 8)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "AVIF"])
def test_formats_that_are_not_read_are_named_with_the_way_out(form: str) -> None:
    with pytest.raises(UnreadablePhotoError, match=f"a photo in {form}, which is not read; save it as JPEG or PNG"):
        decode(encoded(four_colours(), form), 8)


@pytest.mark.parametrize("orientation", [1, 6])
def test_heic_is_read_upright_where_its_extra_is_installed(orientation: int) -> None:
    pytest.importorskip("pillow_heif", reason="the extra flowernoise[heic] is not installed")
    assert "HEIC" in images.readable_formats()
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encoded(four_colours(), "HEIF", quality=100, exif=exif.tobytes()), 16).astype(int)
    expected = {1: [RED, LIME, BLUE, WHITE], 6: [BLUE, RED, WHITE, LIME]}[orientation]
    assert all(abs(np.subtract(*pair)).max() < 40 for pair in zip(corners(pixels), expected, strict=True))


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 50), (64, 48)])
def test_the_whole_photo_becomes_a_square_of_the_size_asked_for(width: int, height: int, size: int) -> None:
    image = Image.new("RGB", (width, height), BLUE)
    assert (decode(encoded(image, "PNG"), size) == np.array(BLUE)).all()
    assert decode(encoded(image, "JPEG"), size).shape == (size, size, 3)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [RED, LIME, BLUE, WHITE]),
        (2, [LIME, RED, WHITE, BLUE]),
        (3, [WHITE, BLUE, LIME, RED]),
        (4, [BLUE, WHITE, RED, LIME]),
        (5, [RED, BLUE, LIME, WHITE]),
        (6, [BLUE, RED, WHITE, LIME]),
        (7, [WHITE, LIME, BLUE, RED]),
        (8, [LIME, WHITE, RED, BLUE]),
        (0, [RED, LIME, BLUE, WHITE]),
        (9, [RED, LIME, BLUE, WHITE]),
    ],
)
def test_photos_are_set_upright_as_exif_says(form: str, orientation: int, expected: list[tuple[int, ...]]) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    assert corners(decode(encoded(four_colours(), form, exif=exif), 8)) == expected


@pytest.mark.filterwarnings("ignore")  # as the command line does
@given(st.binary(max_size=80))
@settings(max_examples=60)
def test_damaged_exif_does_not_make_an_intact_photo_unreadable(rubbish: bytes) -> None:
    image = Image.new("RGB", (8, 8), RED)
    assert decode(encoded(image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + rubbish), 4).shape == (4, 4, 3)


def test_transparent_photos_keep_their_colours() -> None:
    image = Image.new("RGBA", (8, 8), (200, 100, 50, 3))
    assert (decode(encoded(image, "PNG"), 4) == [200, 100, 50]).all()
    grey = Image.new("LA", (8, 8), (77, 3))
    assert (decode(encoded(grey, "PNG"), 4) == 77).all()


def test_grey_photos_become_grey_rgb() -> None:
    for form in ("PNG", "JPEG", "BMP"):
        assert (decode(encoded(Image.new("L", (8, 8), 77), form), 4) == 77).all()


def test_black_and_white_photos_become_rgb() -> None:
    image = Image.new("1", (8, 8), 1)
    assert (decode(encoded(image, "PNG"), 4) == 255).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{}, {"transparency": 2}, {"transparency": bytes([0, 128, 255])}])
def test_palette_photos_take_their_colours_from_the_palette(options: dict[str, object]) -> None:
    image = Image.new("P", (8, 8), 2)
    image.putpalette([*RED, *LIME, *BLUE])
    assert (decode(encoded(image, "PNG", **options), 4) == np.array(BLUE)).all()


def test_cmyk_photos_become_rgb() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert corners(decode(encoded(image, "JPEG", quality=95), 8)) == [RED] * 4


@pytest.mark.parametrize(("level", "expected"), [(0, 0), (0x00FF, 0), (0x4000, 0x40), (0x8000, 0x80), (0xFFFF, 0xFF)])
def test_16_bit_greys_are_scaled_to_8_bits_and_not_clipped(level: int, expected: int) -> None:
    rows = (b"\0" + struct.pack(">H", level) * 8) * 8
    assert (decode(png(8, 8, 16, 0, rows), 4) == expected).all()


def test_16_bit_colours_are_scaled_to_8_bits() -> None:
    rows = (b"\0" + struct.pack(">HHH", 0x4000, 0x8000, 0xFF00) * 8) * 8
    assert (decode(png(8, 8, 16, 2, rows), 4) == [0x40, 0x80, 0xFF]).all()


def test_decoding_twice_gives_the_same_pixels() -> None:
    data = encoded(noise(300, 200), "JPEG")
    assert (decode(data, 64) == decode(data, 64)).all()


def test_scaling_down_while_decoding_hardly_changes_the_pixels() -> None:
    """JPEGs are decoded at a fraction of their size where that is enough."""
    smooth = noise(6, 5).resize((900, 700), Image.Resampling.BICUBIC)
    data = encoded(smooth, "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as image:
        plain = np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR), dtype=int)
    assert np.abs(decode(data, 32) - plain).mean() < 3


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.9, 0.98])
def test_truncated_photos_are_refused(form: str, share: float) -> None:
    data = encoded(noise(), form)
    with pytest.raises(UnreadablePhotoError):
        decode(data[: int(share * len(data))], 16)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP"])
def test_flipped_bytes_give_a_photo_or_a_refusal_and_nothing_else(form: str) -> None:
    data = bytearray(encoded(noise(12, 10), form))
    outcomes = set()
    for position in range(len(data)):
        data[position] ^= 0x41
        try:
            outcomes.add(decode(bytes(data), 4).shape)
        except UnreadablePhotoError as error:
            outcomes.add(bool(str(error)))
        data[position] ^= 0x41
    assert outcomes == {(4, 4, 3), True}


@given(st.binary(max_size=100) | st.binary(max_size=60).map(lambda tail: b"\x89PNG\r\n\x1a\n" + tail))
def test_what_is_no_photo_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadablePhotoError):
        decode(data, 8)


@pytest.mark.parametrize(("width", "height"), [(10_001, 10_000), (100_000_001, 1), (2**31 - 1, 2**31 - 1)])
def test_photos_over_100_megapixels_are_refused_from_their_header(width: int, height: int) -> None:
    with pytest.raises(UnreadablePhotoError, match=f"{width} × {height} pixels are over 100,000,000"):
        decode(png(width, height, 1, 0, b""), 8)


def test_photos_that_would_take_too_much_memory_are_refused_from_their_header() -> None:
    with pytest.raises(UnreadablePhotoError, match="truncated"):
        decode(png(10_000, 9_600, 1, 0, b""), 8)
    with pytest.raises(UnreadablePhotoError, match=r"mode 1, would take 196 MB of memory, over 195; save it smaller"):
        decode(png(10_000, 9_800, 1, 0, b""), 8)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
def test_exif_as_imagemagick_keeps_it_sets_photos_upright(kind: bytes) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    text = b"\nexif\n      40\n" + exif.tobytes().hex().encode()
    value = b"\0" + zlib.compress(text) if kind == b"zTXt" else text
    data = encoded(four_colours(), "PNG")
    data = data[:33] + chunk(kind, b"Raw profile type exif\0" + value) + data[33:]
    assert corners(decode(data, 8)) == [WHITE, BLUE, LIME, RED]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_xmp_sets_photos_upright_where_exif_does_not_say(form: str) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    if form == "PNG":
        data = encoded(four_colours(), "PNG")
        data = data[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp) + data[33:]
    else:
        data = encoded(four_colours(), form, xmp=xmp)
    assert corners(decode(data, 8)) == [WHITE, BLUE, LIME, RED]


def test_comments_and_junk_between_the_segments_of_a_jpeg_do_no_harm() -> None:
    data = encoded(four_colours(), "JPEG", comment=b"c" * 1000)
    assert (decode(data[:2] + b"\xff\xff" + data[2:], 8) == decode(data, 8)).all()
    assert (decode(data[:20] + b"junk\xff\0" + data[20:], 8) == decode(data, 8)).all()


def test_a_jpeg_in_several_scans_that_is_not_progressive_counts_its_coefficients() -> None:
    header = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 9000, 9000) + b"\x03\x01\x11\0\x02\x11\0\x03\x11\0"
    for components, refused in ((3, False), (1, True)):
        data = b"\xff\xd8" + header + b"\xff\xda\x00\x08" + bytes([components]) + b"\x01\0\0\0\0\0" + b"0" * 99
        with pytest.raises(UnreadablePhotoError) as caught:
            decode(data, 8)
        assert ("would take" in str(caught.value)) is refused


# Digests of pixels


def turned(image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(image, "PNG", exif=exif)


@pytest.mark.parametrize(
    "same",
    [
        encoded(noise(), "BMP"),
        encoded(noise(), "WEBP", lossless=True),
        encoded(noise(), "PNG", compress_level=1),
        encoded(noise().convert("RGBA"), "PNG"),
        turned(noise().transpose(Image.Transpose.ROTATE_90), 6),
    ],
)
def test_equal_pixels_have_equal_digests_whatever_the_file(same: bytes) -> None:
    plain = encoded(noise(), "PNG")
    assert same != plain
    assert digest_of_pixels(same, 8) == digest_of_pixels(plain, 8)


def test_a_jpeg_its_copy_with_a_comment_and_its_pixels_as_png_have_equal_digests() -> None:
    data, commented = encoded(noise(300, 200), "JPEG"), encoded(noise(300, 200), "JPEG", comment=b"copied")
    with Image.open(io.BytesIO(data)) as image:
        png = encoded(image, "PNG")
    assert len({data, commented, png}) == 3
    assert digest_of_pixels(data, 8) == digest_of_pixels(commented, 8) == digest_of_pixels(png, 8)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "1", "P"])
def test_grey_photos_have_the_digests_of_their_rgb(mode: str) -> None:
    shades = np.random.default_rng(0).integers(0, 2, (9, 7), dtype=np.uint8) * 255
    grey = Image.fromarray(shades)
    made = Image.fromarray(shades.astype(np.uint16) << 8) if mode == "I;16" else grey.convert(mode)
    assert made.mode == mode
    assert digest_of_pixels(encoded(made, "PNG"), 8) == digest_of_pixels(encoded(grey.convert("RGB"), "PNG"), 8)


@pytest.mark.parametrize(
    "other", [noise(41, 30), noise(30, 40), noise().transpose(Image.Transpose.ROTATE_180), noise().convert("L")]
)
def test_other_pixels_have_other_digests(other: Image.Image) -> None:
    assert digest_of_pixels(encoded(other, "PNG"), 8) != digest_of_pixels(encoded(noise(), "PNG"), 8)


def test_equal_pixels_in_another_shape_are_another_photo() -> None:
    wide, high = (encoded(Image.new("RGB", size, BLUE), "PNG") for size in ((8, 2), (2, 8)))
    assert digest_of_pixels(wide, 8) != digest_of_pixels(high, 8)


def test_one_pixel_at_full_size_makes_another_digest_though_the_square_is_the_same() -> None:
    changed = noise(200, 100)
    changed.putpixel((199, 99), tuple(value ^ 1 for value in changed.getpixel((199, 99))))
    first, second = encoded(noise(200, 100), "PNG"), encoded(changed, "PNG")
    assert (decode(first, 2) == decode(second, 2)).all()
    assert digest_of_pixels(first, 2) != digest_of_pixels(second, 2)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50))
def test_the_digest_does_not_depend_on_how_many_rows_are_taken_at_a_time(width: int, height: int, pixels: int) -> None:
    data = encoded(noise(width, height), "PNG")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(images, "STRIP_PIXELS", pixels)
        in_strips = digest_of_pixels(data, 8)
    assert in_strips == digest_of_pixels(data, 8)


def test_a_jpeg_too_large_to_be_decoded_whole_is_digested_at_a_fraction(monkeypatch: pytest.MonkeyPatch) -> None:
    large = noise(6, 5).resize((600, 500), Image.Resampling.BICUBIC)
    data, copy = encoded(large, "JPEG"), encoded(large, "JPEG", comment=b"copied")
    whole = digest_of_pixels(data, 20)
    monkeypatch.setattr(images, "MAX_BYTES", 800_000)  # it takes 1,200,000
    assert digest_of_pixels(data, 20) == digest_of_pixels(copy, 20) != whole
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (40, 40))
        fraction = encoded(image, "PNG")
    assert digest_of_pixels(fraction, 20) != digest_of_pixels(data, 20)
    for refused in (encoded(large, "PNG"), encoded(large, "JPEG", progressive=True)):
        for take in (decode, digest_of_pixels):
            with pytest.raises(UnreadablePhotoError, match="would take"):
                take(refused, 20)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_damaged_photo_has_a_digest_if_and_only_if_it_can_be_decoded(form: str) -> None:
    data = bytearray(encoded(noise(12, 10), form))
    outcomes = set()
    for position in range(len(data)):
        data[position] ^= 0x41
        outcomes.add((is_taken(decode, bytes(data)), is_taken(digest_of_pixels, bytes(data))))
        data[position] ^= 0x41
    assert outcomes == {(True, True), (False, False)}


def is_taken(take: Callable[[bytes, int], object], data: bytes) -> bool:
    try:
        take(data, 4)
    except UnreadablePhotoError:
        return False
    return True
