"""From encoded photos to pixels: one decoder for checking, feature extraction and fine-tuning."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, UnidentifiedImageError
from PIL.Image import Transpose

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
MAX_PIXELS = 100_000_000
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, half a warning and half an error; ours is below
DECODING = f"pillow {PIL.__version__}, RGB, whole photo resized to a square, bilinear"
INPUTS = "Inputs"  # text in a contact sheet's PNG: digest of what its labels were read from

# What sets a photo upright, by its EXIF orientation.
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


class UnreadablePhotoError(ValueError):
    """These bytes are no photo that can be decoded."""


def decode(encoded: bytes, size: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Decodes a photo and resizes the whole of it to a square.

    Args:
        encoded: JPEG, PNG, WebP or BMP.
        size: side of the square in pixels.

    Returns:
        uint8 [size, size, 3], RGB, upright as the EXIF orientation says.

    Raises:
        UnreadablePhotoError: damaged, truncated, of another format, or over 100 megapixels.

    >>> buffer = io.BytesIO()
    >>> Image.new("RGB", (30, 20), "red").save(buffer, "PNG")
    >>> decode(buffer.getvalue(), 2)[0, 0].tolist()
    [255, 0, 0]
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadablePhotoError(f"{image.width} × {image.height} pixels are over {MAX_PIXELS:,}")
            image.draft("RGB", (2 * size, 2 * size))
            upright = _upright(_to_rgb(image), image)
            return np.asarray(upright.resize((size, size), Image.Resampling.BILINEAR), dtype=np.uint8)
    except UnidentifiedImageError:
        raise UnreadablePhotoError(f"no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from None
    except UnreadablePhotoError:
        raise
    except Exception as error:  # decoders of damaged files raise whatever they meet
        raise UnreadablePhotoError(str(error) or type(error).__name__) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow would clip: all but the darkest 255 of 65,535 greys become white
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


def _upright(pixels: Image.Image, image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF around an intact photo; its parser raises whatever it meets
        return pixels
    return pixels.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else pixels


def text_in_png(path: Path, key: str) -> str | None:
    """A text that a PNG carries before its pixels, or None where it has none or is no PNG.

    >>> text_in_png(Path("nowhere.png"), "Title")
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            text = image.info.get(key)
    except (OSError, SyntaxError, ValueError):
        return None
    return text if isinstance(text, str) else None
