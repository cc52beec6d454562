"""From encoded photos to pixels: one decoder for checking, feature extraction and fine-tuning."""

from __future__ import annotations

import io

import numpy as np
import PIL
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
MAX_PIXELS = 100_000_000
DECODING = f"pillow {PIL.__version__}, RGB, whole photo resized to a square, bilinear"


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
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(upright.resize((size, size), Image.Resampling.BILINEAR), dtype=np.uint8)
    except UnidentifiedImageError:
        raise UnreadablePhotoError(f"no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from None
    except UnreadablePhotoError:
        raise
    except Exception as error:  # decoders of damaged files raise whatever they meet
        raise UnreadablePhotoError(str(error) or type(error).__name__) from error
