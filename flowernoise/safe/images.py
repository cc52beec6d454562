"""From encoded photos to pixels: one decoder for checking, feature extraction and fine-tuning.

Photos may come from strangers. Whatever a photo claims, decoding it takes at most about `MAX_BYTES` of memory: the need
is computed from its headers before Pillow sees it, and large photos are decoded one at a time. Pillow does not see
metadata such as EXIF, because some of it grows a thousandfold when parsed.

Two photos are the same if their pixels are: upright, RGB, at full size. The bytes around them may differ.
"""

from __future__ import annotations

import concurrent.futures
import functools
import hashlib
import io
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError
from PIL.Image import Transpose

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
HEIC = "HEIC"  # read where the extra is installed
MAX_PIXELS = 100_000_000
MAX_SIDE = 65_535  # JPEG's own limit; other decoders keep whole rows in memory, and resizing keeps whole columns
MAX_BYTES = 195_000_000  # 48 megapixels in RGB; JPEGs can be decoded at a fraction of their size
LARGE_BYTES = 16_000_000  # photos that need more are decoded one at a time
MAX_SCAN_PIXELS = 1_000_000_000  # pixels × passes of a progressive JPEG; about 10 passes are usual
MAX_PIECES = 100_000  # segments of a JPEG before its pixels, chunks of a PNG
MAX_JUNK = 1 << 20  # between the segments of a JPEG
MAX_TEXT_BYTES, MAX_COMPRESSED_TEXTS = 4 << 20, 8  # beside a PNG's pixels
STRIP_PIXELS = 1 << 18  # digested at a time
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit only warns up to twice its value; ours are above
DECODING = f"pillow {PIL.__version__}, RGB, whole photo resized to a square, bilinear"

Made = TypeVar("Made")

# The operation that turns a photo upright, by its EXIF orientation.
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_INTEGERS = {1: "B", 3: "H", 4: "I"}  # TIFF's types, as struct calls them
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_MARKER = re.compile(rb"\xff([^\xff\x00])", re.DOTALL)  # of a JPEG segment; anything between segments is junk
_BARE_MARKERS = bytes((0x01, *range(0xD0, 0xD9)))  # these have no content
_RAW_PROFILE = b"Raw profile type exif\0"  # ImageMagick's way to store EXIF in PNGs
_COMPRESSED_TEXTS = (b"zTXt", b"iTXt", b"iCCP")
_TEXTS = (*_COMPRESSED_TEXTS, b"tEXt", b"eXIf")
# Bytes per pixel while a photo is decoded and converted to RGB or grey; measured.
_BYTES = {"1": 2, "L": 1, "LA": 5, "P": 5, "RGB": 4}
_OTHER_BYTES = 8
_HEIC_BYTES = 14.0
_WEBP_BYTES = {False: 15.5, True: 18.0}  # by whether it is lossless: Pillow decodes every WebP as an animation


# How files begin. The first bytes of WebP and BMP alone also occur in texts and sounds.
_BEGINNINGS = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("BMP", re.compile(rb"BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]")),
    ("AVIF", re.compile(rb".{4}ftyp(avif|avis|.{8,24}avif)", re.DOTALL)),
    (HEIC, re.compile(rb".{4}ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)),
    ("JPEG XL", re.compile(rb"\xff\x0a|\0{3}\x0cJXL \r\n\x87\n")),
    ("JPEG 2000", re.compile(rb"\0{3}\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51")),
)


def format_of(start: bytes) -> str | None:
    """The format of a photo, judged by its first 64 bytes and not by its name; None if it is not a format listed here.

    >>> format_of(b"\\xff\\xd8\\xff\\xe0"), format_of(b"\\0\\0\\0\\x18ftypheic"), format_of(b"a text")
    ('JPEG', 'HEIC', None)
    """
    return next((name for name, beginning in _BEGINNINGS if beginning.match(start)), None)


@functools.cache
def readable_formats() -> tuple[str, ...]:
    """The formats that :func:`decode` reads, including HEIC if its extra is installed."""
    try:
        import pillow_heif
    except ImportError:
        return FORMATS
    pillow_heif.register_heif_opener()
    return (*FORMATS, HEIC)


def way_out_of(form: str) -> str:
    """What to do about a photo in a format that cannot be read.

    >>> way_out_of("GIF")
    'save it as JPEG or PNG'
    """
    extra = "pip install 'flowernoise[heic]', or " if form == HEIC else ""
    return f"{extra}save it as JPEG or PNG"


class UnreadablePhotoError(ValueError):
    """These bytes are not a photo that can be decoded."""


class _TooLargeError(UnreadablePhotoError):
    """Decoding this photo at this size would take too much memory."""


def decode(encoded: bytes, size: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Decodes a photo and resizes all of it to a square.

    Args:
        encoded: JPEG, PNG, WebP or BMP, or HEIC where its extra is installed.
        size: side of the square in pixels.

    Returns:
        uint8 [size, size, 3], RGB, turned upright by its EXIF orientation.

    Raises:
        UnreadablePhotoError: damaged, truncated, in another format, over 100 megapixels, or in need of more than 195 MB
            of memory.

    >>> buffer = io.BytesIO()
    >>> Image.new("RGB", (30, 20), "red").save(buffer, "PNG")
    >>> decode(buffer.getvalue(), 2)[0, 0].tolist()
    [255, 0, 0]
    """
    return _readable(encoded, size, 2 * size, lambda image: _square(image, size))


def digest_of_pixels(encoded: bytes, size: int) -> str:
    """Checks that :func:`decode` accepts a photo, and digests all its pixels: upright, RGB, at full size.

    Equal pixels have equal digests, whatever the file's format and metadata. A JPEG that is too large to decode at full
    size is digested at the reduced size at which :func:`decode` reads it.

    Args:
        encoded: JPEG, PNG, WebP or BMP, or HEIC where its extra is installed.
        size: side of the square that :func:`decode` is to make of it, in pixels.

    Returns:
        SHA-256 of width, height and pixels.

    Raises:
        UnreadablePhotoError: as for :func:`decode`.

    >>> def red(form):
    ...     buffer = io.BytesIO()
    ...     Image.new("RGB", (30, 20), "red").save(buffer, form)
    ...     return buffer.getvalue()
    >>> digest_of_pixels(red("PNG"), 2) == digest_of_pixels(red("BMP"), 2)
    True
    """
    try:
        return _readable(encoded, size, MAX_SIDE, _digest)
    except _TooLargeError:
        return f"{_readable(encoded, size, 2 * size, _digest)} reduced"


def _readable(encoded: bytes, size: int, side: int, finish: Callable[[Image.Image], Made]) -> Made:
    try:
        return _decoded(encoded, size, side, finish, alone=False)
    except UnidentifiedImageError:
        raise UnreadablePhotoError(_why_unidentified(encoded)) from None
    except UnreadablePhotoError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise UnreadablePhotoError(str(error) or type(error).__name__) from error


def _why_unidentified(encoded: bytes) -> str:
    form, formats = format_of(encoded[:64]), readable_formats()
    if form is not None and form not in formats:
        return f"a photo in {form}, which is not read; {way_out_of(form)}"
    return f"not a {', '.join(formats[:-1])} or {formats[-1]} image"


# All large photos go through this one thread: every thread that decodes one keeps much of the memory afterwards.
_one_large = concurrent.futures.ThreadPoolExecutor(1)


def _decoded(encoded: bytes, size: int, side: int, finish: Callable[[Image.Image], Made], *, alone: bool) -> Made:
    """Decodes a photo, turns it upright and passes it to ``finish``; a JPEG may be decoded at a fraction of its size.

    Args:
        encoded: the photo.
        size: side of the square that it may become.
        side: the reduced photo's least width and height.
        finish: receives the pixels in mode L or RGB.
        alone: whether this is the thread of large photos.
    """
    if len(encoded) > LARGE_BYTES and not alone:
        return _one_large.submit(lambda: _decoded(encoded, size, side, finish, alone=True)).result()
    shown, about = _inspect(encoded)
    with Image.open(io.BytesIO(shown), formats=_openers()) as image:
        if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
            most = f"{MAX_PIXELS:,}, or a side over {MAX_SIDE:,}"
            raise UnreadablePhotoError(f"{image.width} × {image.height} pixels are over {most}")
        image.draft("RGB", (side, side))
        turn = _UPRIGHT.get(_orientation(image.info, about))
        needed = about.bytes + _bytes_decoded(image, size, b"VP8L" in encoded, turned=turn is not None)
        if needed > MAX_BYTES:
            raise _TooLargeError(
                f"{image.width} × {image.height} pixels, {image.format}, mode {image.mode}, would take "
                f"{needed / 1e6:.0f} MB of memory, over {MAX_BYTES / 1e6:.0f}; save it smaller, or as a baseline JPEG"
            )
        if needed > LARGE_BYTES and not alone:
            return _one_large.submit(lambda: _decoded(encoded, size, side, finish, alone=True)).result()
        pixels = _grey_or_rgb(image)
        return finish(pixels if turn is None else pixels.transpose(turn))


def _openers() -> tuple[str, ...]:
    """The formats under Pillow's names."""
    return tuple("HEIF" if form == HEIC else form for form in readable_formats())


def _square(image: Image.Image, size: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR).convert("RGB"), dtype=np.uint8)


def _digest(image: Image.Image) -> str:
    """SHA-256 of width, height and RGB pixels, computed a few rows at a time to save memory."""
    width, height = image.size
    digest = hashlib.sha256(f"{width} × {height}".encode())
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        digest.update(image.crop((0, top, width, min(top + rows, height))).convert("RGB").tobytes())
    return digest.hexdigest()


def _bytes_decoded(image: Image.Image, size: int, lossless: bool, *, turned: bool) -> float:
    """Bytes needed to decode, turn and resize a photo, including the copy that is resized in width only."""
    of_format = {"WEBP": _WEBP_BYTES[lossless], "HEIF": _HEIC_BYTES}
    each = of_format.get(str(image.format), _BYTES.get(image.mode, _OTHER_BYTES))
    each += 4 * turned
    return each * image.width * image.height + 4 * size * max(image.size)


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    """The pixels in mode L or RGB; grey stays L, which takes a quarter of the memory and resizes alike."""
    if image.mode.startswith("I;16"):  # Pillow would clip: all but the darkest 255 of 65,535 greys would turn white
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    wanted = "L" if image.mode in ("1", "L", "LA") else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


# Metadata around the pixels ───────────────────────────────────────────────────────────────────────────────────────────


class _About(NamedTuple):
    """What the headers tell: raw EXIF and XMP, and how many bytes stay in memory throughout decoding."""

    exif: bytes = b""
    xmp: bytes = b""
    bytes: int = 0


def _inspect(encoded: bytes) -> tuple[bytes, _About]:
    """The bytes that Pillow may see, and what the headers tell.

    Raises:
        UnreadablePhotoError: its headers are broken, or would cost more time or memory than a photo should.
    """
    if encoded.startswith(b"\xff\xd8"):
        return _inspect_jpeg(encoded)
    if encoded.startswith(b"\x89PNG\r\n\x1a\n"):
        return encoded, _inspect_png(encoded)
    return encoded, _About()


def _inspect_jpeg(encoded: bytes) -> tuple[bytes, _About]:
    """A JPEG without comments and application segments, except those that say how its colours are stored."""
    kept = [b"\xff\xd8"]
    exif = xmp = frame = b""
    is_progressive, position = False, 2
    for _ in range(MAX_PIECES):
        marker = _MARKER.search(encoded, position, position + MAX_JUNK)
        if marker is None or marker[1] == b"\xd9":
            raise UnreadablePhotoError("a JPEG without pixels, or truncated")
        code, position = marker[1], marker.end() - 2
        if code in _BARE_MARKERS:
            position += 2
            continue
        segment = encoded[position : position + 2 + int.from_bytes(encoded[position + 2 : position + 4])]
        if code == b"\xda":
            break
        if code == b"\xe1":
            exif = exif or (segment[10:] if segment[4:10] == b"Exif\0\0" else b"")
            xmp = xmp or (segment if b"ns.adobe.com/xap" in segment[:64] else b"")
        elif code in b"\xe0\xee" or not (b"\xe1" <= code <= b"\xef" or code == b"\xfe"):
            kept.append(segment)
        if b"\xc0" <= code <= b"\xcf" and code not in b"\xc4\xc8\xcc":
            frame, is_progressive = segment[4:], code in b"\xc2\xc6\xca\xce"
        position += max(len(segment), 4)
    else:
        raise UnreadablePhotoError(f"a JPEG with over {MAX_PIECES:,} segments before its pixels")
    has_one_scan = not is_progressive and segment[4:5] == frame[5:6]
    needed = len(encoded) + (0 if has_one_scan else _bytes_of_coefficients(frame, encoded.count(b"\xff\xda")))
    return b"".join([*kept, encoded[position:]]), _About(exif, xmp, needed)


def _bytes_of_coefficients(frame: bytes, scans: int) -> int:
    """Bytes for a JPEG's coefficients, all of which stay in memory until the last of several scans is read."""
    height, width = struct.unpack(">HH", frame[1:5])
    if width * height * scans > MAX_SCAN_PIXELS:
        raise UnreadablePhotoError(f"a JPEG of {width} × {height} pixels in {scans} passes; save it as a baseline JPEG")
    factors = [(byte >> 4, byte & 15) for byte in frame[7::3]]
    shares = sum(x * y for x, y in factors) / max(1, max(x for x, _ in factors) * max(y for _, y in factors))
    return int(2 * width * height * shares)


def _inspect_png(encoded: bytes) -> _About:
    exif = xmp = b""
    pieces = texts = compressed = 0
    position = 8
    while (kind := encoded[position + 4 : position + 8]) not in (b"", b"IEND"):
        start = position + 8
        position = start + int.from_bytes(encoded[position : position + 4]) + 4
        data = encoded[start : position - 4] if kind in _TEXTS else b""
        pieces += 1
        texts += len(data)
        compressed += kind in _COMPRESSED_TEXTS
        if pieces > MAX_PIECES or texts > MAX_TEXT_BYTES or compressed > MAX_COMPRESSED_TEXTS:
            raise UnreadablePhotoError("a PNG with more text or chunks than a photo should have; save it without them")
        if kind == b"eXIf":
            exif = data
        elif data.startswith(b"XML:com.adobe.xmp\0"):
            xmp = data
        elif data.startswith(_RAW_PROFILE):
            exif = exif or _raw_profile(data, is_compressed=kind == b"zTXt")
    return _About(exif, xmp)


def _raw_profile(data: bytes, *, is_compressed: bool) -> bytes:
    """Decodes EXIF that is written in hexadecimal after three header lines; empty if damaged."""
    text = data[len(_RAW_PROFILE) :]
    try:
        if is_compressed:
            text = zlib.decompressobj().decompress(text[1:], 1 << 20)
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode())
    except (zlib.error, ValueError):
        return b""


def _orientation(info: Mapping[Any, Any], about: _About) -> int:
    """The photo's orientation, 1 to 8, from EXIF or else XMP; 1 if neither has it. Pillow's ``info`` has WebP's."""
    exif, xmp = about.exif or info.get("exif") or b"", about.xmp or info.get("xmp") or b""
    try:
        found = _exif_orientation(exif.removeprefix(b"Exif\0\0"))
    except struct.error:  # damaged EXIF around an intact photo
        found = None
    if found is None and (match := _XMP_ORIENTATION.search(xmp)):
        return int(match[1])
    return found or 1


def _exif_orientation(tiff: bytes) -> int | None:
    """Reads only the orientation from EXIF, because every other entry could claim the same megabytes."""
    order = "<" if tiff.startswith(b"II") else ">"
    if tiff[:4] not in (b"II*\0", b"MM\0*"):
        return None
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    (entries,) = struct.unpack_from(order + "H", tiff, start)
    for entry in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", tiff, entry)
        if tag == _ORIENTATION and count == 1 and kind in _INTEGERS:
            return int(struct.unpack_from(order + _INTEGERS[kind], tiff, entry + 8)[0])
    return None


def text_in_png(path: Path, key: str) -> str | None:
    """A text stored in a PNG before its pixels; None if the file has no such text or is not a PNG.

    >>> text_in_png(Path("nowhere.png"), "Title")
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            text = image.info.get(key)
    except (OSError, SyntaxError, ValueError):
        return None
    return text if isinstance(text, str) else None
