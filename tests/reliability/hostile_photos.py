"""Hostile photos: each kind as bytes, and whether it must be refused."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
HUGE = 100_000  # its square is 10^10


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def small(mode: str = "RGB") -> Image.Image:
    return Image.linear_gradient("L").resize((64, 48)).convert(mode)


# PNG


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(count: int) -> bytes:
    """A deflated run of ``count`` zeros, made at once: pieces that stand for a megabyte each, repeated."""
    press = zlib.compressobj(9, wbits=-15)
    piece = press.compress(bytes(1 << 20)) + press.flush(zlib.Z_FULL_FLUSH)
    rest = zlib.compressobj(9, wbits=-15)
    last = rest.compress(bytes(count % (1 << 20))) + rest.flush()
    checksum = (count % 65_521) << 16 | 1
    return b"\x78\xda" + piece * (count >> 20) + last + struct.pack(">I", checksum)


def png(width: int, height: int, depth: int = 8, colour: int = 2, data: bytes = b"", extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def one_colour_png(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    palette = chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    return png(width, height, depth, colour, zeros(height * (1 + (width * channels * depth + 7) // 8)), palette)


def with_chunks(*chunks: bytes) -> bytes:
    data = saved(small(), "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def text(kind: bytes, name: bytes, data: bytes) -> bytes:
    head = {b"zTXt": b"\0\0", b"iCCP": b"\0\0", b"iTXt": b"\0\x01\0\0\0", b"tEXt": b"\0"}[kind]
    return chunk(kind, name + head + data)


# JPEG


def segment(code: int, data: bytes) -> bytes:
    return bytes([0xFF, code]) + struct.pack(">H", len(data) + 2) + data


def grey_jpeg(width: int, height: int) -> bytes:
    """A baseline JPEG in middle grey: six bits a block, all the same."""
    plain = saved(Image.new("L", (8, 8), 128), "JPEG")
    frame, scan = plain.index(b"\xff\xc0"), plain.index(b"\xff\xda")
    head = plain[: frame + 5] + struct.pack(">HH", height, width) + plain[frame + 9 : scan + 10]
    blocks = -(-width // 8) * -(-height // 8)
    return head + bytes.fromhex("28a28a") * (blocks // 4 + 1) + b"\xff\xd9"


def progressive_jpeg(width: int, height: int, scans: int, components: int = 1) -> bytes:
    """A progressive JPEG of nothing, in many passes: runs of 16,384 empty blocks, 15 bits each."""
    tables = segment(0xDB, b"\0" + b"\x01" * 64) + segment(0xC4, b"\0\x01" + bytes(15) + b"\0")
    tables += segment(0xC4, b"\x10\x01" + bytes(15) + b"\xe0")
    each = b"".join(bytes([number + 1, 0x11, 0]) for number in range(components))
    frame = segment(0xC2, struct.pack(">BHHB", 8, height, width, components) + each)
    blocks = -(-width // 8) * -(-height // 8)
    first = segment(0xDA, b"\x01\x01\0\0\0\0") + bytes(blocks // 8 + 1)
    others = (segment(0xDA, b"\x01\x01\0\x01\x3f\0") + bytes(2 * (blocks // 16384 + 1)) for _ in range(scans - 1))
    return b"\xff\xd8" + tables + frame + first + b"".join(others) + b"\xff\xd9"


def tiff_bomb(size: int) -> bytes:
    """EXIF of as many entries as fit, each of which claims nearly all of it."""
    entries = min((size - 64) // 13, 65_000)
    table = b"".join(struct.pack("<HHII", 1000 + n % 60_000, 7, size - 64, 8) for n in range(entries))
    return (b"II*\0" + struct.pack("<IH", 8, entries) + table + bytes(4)).ljust(size, b"\0")


def with_segment(code: int, data: bytes, times: int = 1) -> bytes:
    plain = saved(small(), "JPEG")
    return plain[:2] + segment(code, data) * times + plain[2:]


# WebP and BMP


def webp_claim(width: int, height: int) -> bytes:
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    rest = saved(small(), "WEBP")[12:]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + rest
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_animation(frames: int) -> bytes:
    pictures = [Image.new("RGB", (16, 16), (n % 256, n // 256, 0)) for n in range(frames)]
    return saved(pictures[0], "WEBP", save_all=True, append_images=pictures[1:], method=0, quality=1)


def apng(frames: int) -> bytes:
    pictures = [Image.new("L", (16, 16), n % 256) for n in range(frames)]
    return saved(pictures[0], "PNG", save_all=True, append_images=pictures[1:])


def bmp(width: int, height: int, data: bytes = b"", bits: int = 24, compression: int = 0) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, 54) + info + data


def sixteen_bit(width: int, height: int) -> bytes:
    return one_colour_png(width, height, depth=16, colour=6)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (w) file closefile showpage\n%%EOF\n"
SVG = b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><svg xmlns="x">&b;</svg>'
PICKLE = b"\x80\x04cposix\nsystem\n(S'touch ran'\ntR."

# Kinds that must be refused.
BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG that claims 10^10 pixels": lambda: png(HUGE, HUGE),
    "BMP that claims 10^10 pixels": lambda: bmp(HUGE, HUGE),
    "BMP that claims -10^10 pixels": lambda: bmp(HUGE, -HUGE),
    "WebP that claims 4 x 10^9 pixels": lambda: webp_claim(65_536, 65_535),
    "PNG of 20,000 x 20,000 in one colour": lambda: one_colour_png(20_000, 20_000, depth=1, colour=0),
    "JPEG of 20,000 x 20,000 in one colour": lambda: grey_jpeg(20_000, 20_000),
    "WebP of 5,000 x 5,000 in one colour": lambda: saved(Image.new("L", (5000, 5000)), "WEBP", method=0),
    "PNG of 100,000,000 x 1": lambda: one_colour_png(100_000_000, 1, depth=1, colour=0),
    "PNG of 1 x 100,000,000": lambda: one_colour_png(1, 100_000_000, depth=1, colour=0),
    "PNG of 40,000,000 x 1": lambda: one_colour_png(40_000_000, 1),
    "BMP of 1 x 40,000,000": lambda: bmp(1, 40_000_000),
    "PNG of 81 megapixels with a palette": lambda: one_colour_png(9000, 9000, colour=3),
    "PNG of 36 megapixels, 16 bits, transparent": lambda: sixteen_bit(6000, 6000),
    "PNG of 36 megapixels, 16-bit grey": lambda: one_colour_png(6000, 6000, depth=16, colour=0),
    "PNG of 64 megapixels": lambda: one_colour_png(8000, 8000),
    "progressive JPEG of 81 megapixels, 3 colours": lambda: progressive_jpeg(9000, 9000, 2, components=3),
    "progressive JPEG in 2,000 passes": lambda: progressive_jpeg(5000, 5000, 2000),
    "JPEG in 3 scans that is not progressive": lambda: progressive_jpeg(9000, 9000, 3, components=3).replace(
        b"\xff\xc2", b"\xff\xc1"
    ),
    "PNG with 1 GB in a zTXt": lambda: with_chunks(text(b"zTXt", b"Comment", zeros(1 << 30))),
    "PNG with 64 zTXt of 1 MB": lambda: with_chunks(*[text(b"zTXt", b"Comment", zeros(1 << 20))] * 64),
    "PNG with 64 compressed iTXt of 1 MB": lambda: with_chunks(*[text(b"iTXt", b"Comment", zeros(1 << 20))] * 64),
    "PNG with 30 MB in a tEXt": lambda: with_chunks(text(b"tEXt", b"Comment", bytes(30 << 20))),
    "PNG with 64 colour profiles": lambda: with_chunks(*[text(b"iCCP", b"profile", zeros(1 << 20))] * 64),
    "PNG of 1,000,000 chunks": lambda: with_chunks(chunk(b"prVt", b"") * 1_000_000),
    "JPEG of 1,000,000 segments": lambda: b"\xff\xd8" + segment(0xDB, b"") * 1_000_000,
    "JPEG of 50 MB of padding": lambda: b"\xff\xd8" + b"\xff" * 50_000_000,
    "JPEG of 50 MB of restarts": lambda: b"\xff\xd8" + b"\xff\xd0" * 25_000_000,
    "BMP that claims 40 megapixels and has none": lambda: bmp(8000, 5000),
    "BMP, run lengths, that claims 80 megapixels": lambda: bmp(10_000, 8000, b"\xff\0\0\x01", 8, 1),
    "PNG that claims 45 megapixels and has none": lambda: png(9000, 5000),
    "PNG that is cut off": lambda: saved(small(), "PNG")[:-40],
    "JPEG that is cut off": lambda: saved(small(), "JPEG")[:-40],
    "JPEG that is cut off in its header": lambda: saved(small(), "JPEG")[:100],
    "WebP that is cut off": lambda: saved(small(), "WEBP")[:-20],
    "GIF": lambda: saved(small(), "GIF"),
    "TIFF": lambda: saved(small(), "TIFF"),
    "TIFF with JPEG inside": lambda: saved(small(), "TIFF", compression="jpeg"),
    "ICO": lambda: saved(small(), "ICO"),
    "PDF": lambda: saved(small(), "PDF"),
    "PPM": lambda: saved(small(), "PPM"),
    "JPEG 2000": lambda: saved(small(), "JPEG2000"),
    "EPS": lambda: EPS,
    "SVG": lambda: SVG,
    "ZIP": lambda: b"PK\x03\x04" + bytes(200),
    "pickle": lambda: PICKLE,
    "empty": lambda: b"",
    "one byte": lambda: b"\xff",
}

# Kinds that may be read, as they are odd but do no harm.
ODDITIES: dict[str, Callable[[], bytes]] = {
    "JPEG whose EXIF is a bomb": lambda: with_segment(0xE1, b"Exif\0\0" + tiff_bomb(65_000)),
    "JPEG whose EXIF goes in circles": lambda: with_segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0\x08\0\0\0"),
    "JPEG with 500 segments of EXIF": lambda: with_segment(0xE1, b"Exif\0\0" + bytes(60_000), 500),
    "MPO whose index is a bomb": lambda: with_segment(0xE2, b"MPF\0" + tiff_bomb(65_000)),
    "MPO": lambda: saved(small(), "MPO", save_all=True, append_images=[small()] * 3),
    "JPEG with 1,000 colour profiles": lambda: (
        (plain := saved(small(), "JPEG"))[:2]
        + segment(0xE2, b"ICC_PROFILE\0\x01\xff" + bytes(60_000)) * 1000
        + plain[2:]
    ),
    "PNG whose EXIF is a bomb": lambda: with_chunks(chunk(b"eXIf", tiff_bomb(1_500_000))),
    "WebP whose EXIF is a bomb": lambda: saved(small(), "WEBP", exif=b"Exif\0\0" + tiff_bomb(1_500_000)),
    "PNG with 1 GB of EXIF as text": lambda: with_chunks(text(b"zTXt", b"Raw profile type exif", zeros(1 << 30))),
    "PNG with a colour profile of 1 GB": lambda: with_chunks(text(b"iCCP", b"profile", zeros(1 << 30))),
    "WebP of 4,000 frames": lambda: webp_animation(4000),
    "PNG of 4,000 frames": lambda: apng(4000),
    "progressive JPEG in as many passes as are let through": lambda: progressive_jpeg(5000, 5000, 39),
    "JPEG of 64 megapixels of four colours": lambda: saved(Image.new("CMYK", (8000, 8000)), "JPEG"),
    "PNG of 8 x 65,535": lambda: one_colour_png(8, 65_535),
    "PNG of 65,535 x 8": lambda: one_colour_png(65_535, 8),
}

# Kinds that real cameras and programs make.
REAL: dict[str, Callable[[], bytes]] = {
    "JPEG of 45 megapixels": lambda: saved(camera(8192, 5464), "JPEG"),
    "progressive JPEG of 45 megapixels": lambda: saved(camera(8192, 5464), "JPEG", progressive=True),
    "PNG of 45 megapixels": lambda: one_colour_png(8192, 5464),
    "WebP of 12 megapixels": lambda: saved(camera(4032, 3024), "WEBP", method=0),
}


def camera(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 64, width // 64, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)


def all_kinds() -> Iterator[tuple[str, bool | None, Callable[[], bytes]]]:
    """Name, whether it must be readable (None: either), and how to make it."""
    for kinds, readable in ((BOMBS, False), (ODDITIES, None), (REAL, True)):
        yield from ((name, readable, partial(make)) for name, make in kinds.items())
