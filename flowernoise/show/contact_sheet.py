"""Contact sheets: photos with the labels they were given, wrong ones marked. Plain data in, PNG or JPEG out.

What is written and marked (:func:`title`, :func:`captions`) is separate from the drawing. The font is Pillow's own,
which has little more than ASCII: accents are dropped, and a class whose name cannot be written goes by its number.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from flowernoise.analysis.views.sheets import ContactSheet, SheetPhoto
from flowernoise.catalogue.label_words import label_words
from flowernoise.store.layout import INPUTS
from flowernoise.store.records import CONTROL

COLUMNS = 6

# Okabe and Ito's vermilion, darkened until it reads on white, and by its lightness alone on grey paper.
_MARK = (179, 62, 0)
_INK, _SOFT, _HAIRLINE, _PAPER = (20, 20, 20), (80, 80, 80), (190, 190, 190), (255, 255, 255)
_HEAD, _FACTS, _CAPTION = 24, 16, 15  # sizes of type
_MARGIN, _GAP, _FRAME, _BADGE = 24, 22, 6, 30
_MIN_WIDTH = 752
# Letters that Unicode does not take apart into a base letter and an accent.
_BASE_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
    | {"ı": "i", "þ": "th", "Þ": "Th", "ð": "d", "Ð": "D", "–": "-", "—": "-", "×": "x", "−": "-", "’": "'"}
)


@dataclasses.dataclass(frozen=True)
class Caption:
    """The text below a photo, and whether the photo is marked as wrongly labelled."""

    lines: tuple[str, ...]
    marked: bool


@dataclasses.dataclass(frozen=True)
class SheetTitle:
    """The text above the photos: what they show, and facts about it."""

    head: str
    facts: tuple[str, ...]

    def __str__(self) -> str:
        return " · ".join((self.head, *self.facts))


def png(sheet: ContactSheet, *, columns: int = COLUMNS) -> bytes:
    """A sheet as PNG; equal sheets are equal bytes."""
    described = PngInfo()
    described.add_text("Title", _latin(str(title(sheet))))
    described.add_text(INPUTS, sheet.inputs)
    buffer = io.BytesIO()
    _picture(sheet, columns).save(buffer, "PNG", pnginfo=described)
    return buffer.getvalue()


def jpeg(sheet: ContactSheet, *, columns: int = COLUMNS, quality: int = 85) -> bytes:
    """A sheet as JPEG, a fifth of the PNG's size."""
    buffer = io.BytesIO()
    _picture(sheet, columns).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def title(sheet: ContactSheet) -> SheetTitle:
    """What a sheet shows: source, split, noise and its realised rate, how many photos, and how many of them wrong."""
    of_split = f"{sheet.population:,} {'training' if sheet.split == 'train' else sheet.split} photos"
    shown, words = len(sheet.photos), label_words(sheet)
    if sheet.kind == "clean":
        all_right = ", all labelled correctly" if words.are_clean else ""
        return SheetTitle(words.labels, (sheet.source, of_split, f"{shown} shown{all_right}"))
    noise = _noise(sheet)
    wrong = words.training_labels(f"{100 * sheet.realised_rate:.1f} %", is_control=sheet.noise == CONTROL)
    if sheet.kind == "draw":
        marked = f"{sheet.wrong} with {words.wrong} labels"
        return SheetTitle(noise, (sheet.source, of_split, wrong, f"{shown} shown, {marked}"))
    kind = ", ".join([f"{sheet.backbone} {sheet.mode}", *sheet.settings, f"{sheet.selection} epoch"])
    most = f"{shown} most confident shown" if shown < sheet.mistakes else "all shown"
    judged = "" if words.are_clean else f" by {words.of_test}"
    found = f"{sheet.mistakes:,} misclassified{judged}, {most}" if sheet.mistakes else f"no mistakes{judged}"
    return SheetTitle(f"mistakes of {sheet.loss}, trained on {noise}", (kind, wrong, sheet.source, of_split, found))


def captions(sheet: ContactSheet) -> tuple[Caption, ...]:
    """The caption of each photo; a photo is marked if its label is not that of the source.

    On a sheet of mistakes every prediction is wrong but the labels are not, so nothing is marked.
    """
    names, are_clean = class_names(sheet.classes), label_words(sheet).are_clean
    return tuple(_caption(photo, names, are_clean) for photo in sheet.photos)


def class_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of classes as the font can write them, all different; a class without such a name goes by its number.

    >>> class_names(["Löwenzahn", "rosé", "rose", "向日葵"])
    ('Lowenzahn', 'rose (class 1)', 'rose (class 2)', 'class 3')
    """
    written = [_writable(name) for name in classes]
    named = [name if any(map(str.isalnum, name)) else f"class {number}" for number, name in enumerate(written)]
    while len(counts := Counter(named)) < len(named):
        named = [n if counts[n] == 1 else f"{n} (class {number})" for number, n in enumerate(named)]
    return tuple(named)


def wrapped(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Breaks a text into lines of a width: at spaces, in words that are too long behind signs, else between letters.

    >>> wrapped("labelled scotch_terrier, staffordshire", 12, len)
    ['labelled', 'scotch_', 'terrier,', 'staffordshir', 'e']
    """
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if measure(longer) <= width:
            lines[-1:] = [longer]
            continue
        lines.append("")
        for part in re.split(r"(?<=[:,+_/-])", word):
            if lines[-1] and measure(lines[-1] + part) > width:
                lines.append("")
            for letter in part:
                if lines[-1] and measure(lines[-1] + letter) > width:
                    lines.append("")
                lines[-1] += letter
    return lines


def _noise(sheet: ContactSheet) -> str:
    if sheet.noise == CONTROL:
        return f"{label_words(sheet).labels} (control), seed {sheet.seed}"
    return f"{sheet.noise_name or sheet.noise}, rate {sheet.rate:g}, seed {sheet.seed}"


def _caption(photo: SheetPhoto, names: Sequence[str], are_clean: bool) -> Caption:
    true, given = names[photo.true], names[photo.given]
    if photo.predicted is not None and photo.probability is not None:
        answer = (f"predicted {names[photo.predicted]}", f"probability {_percent(photo.probability)}")
        file = PurePosixPath(photo.path).name
        return Caption((*([file] if file else []), f"labelled {given}", *answer), marked=False)
    if photo.true == photo.given:
        return Caption((given,), marked=False)
    return Caption((f"labelled {given}", f"truly {true}" if are_clean else f"was {true}"), marked=True)


def _percent(share: float) -> str:
    """A share as people read it; what is below one is never rounded up to it.

    >>> _percent(0.987), _percent(0.99999)
    ('98.7 %', '> 99.9 %')
    """
    return "> 99.9 %" if share > 0.9995 else f"{100 * share:.1f} %"


def _writable(text: str) -> str:
    """The text in letters that the font has: accents dropped, a question mark for what remains."""
    taken_apart = unicodedata.normalize("NFKD", text.translate(_BASE_LETTERS))
    bare = (letter for letter in taken_apart if not unicodedata.combining(letter))
    return "".join(letter if _has(letter) else "?" for letter in bare)


def _latin(text: str) -> str:
    """The text as the tEXt chunk of a PNG takes it."""
    return text.encode("latin-1", "replace").decode("latin-1")


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@functools.cache
def _has(letter: str) -> bool:
    """Whether the font has a letter; for one that it lacks it draws a box."""
    drawn, lacking = (_font(_FACTS).getmask(each) for each in (letter, "\uffff"))
    return letter == " " or (drawn.size, bytes(drawn)) != (lacking.size, bytes(lacking))


@dataclasses.dataclass(frozen=True)
class _Block:
    """Lines of text in one size and colour, already broken to their width."""

    lines: Sequence[str]
    size: int
    colour: tuple[int, int, int]

    @property
    def height(self) -> int:
        return len(self.lines) * self.step

    @property
    def step(self) -> int:
        return round(1.35 * self.size)

    def draw(self, canvas: ImageDraw.ImageDraw, x: int, y: int) -> None:
        for number, line in enumerate(self.lines):
            canvas.text((x, y + number * self.step), line, font=_font(self.size), fill=self.colour, anchor="la")


def _broken(texts: Sequence[str], width: int, size: int, colour: tuple[int, int, int]) -> _Block:
    measure = _font(size).getlength
    return _Block([line for text in texts for line in wrapped(_writable(text), width, measure)], size, colour)


def _joined(items: Sequence[str], width: int, size: int) -> list[str]:
    """Items with dots between them, on as many lines as they take."""
    lines: list[str] = []
    for item in map(_writable, items):
        longer = f"{lines[-1]} · {item}" if lines else item
        if lines and _font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(item)
    return lines


def _picture(sheet: ContactSheet, columns: int) -> Image.Image:
    """The sheet, drawn."""
    side = len(sheet.photos[0].pixels) if sheet.photos else 0
    across = max(1, min(columns, len(sheet.photos)))
    width = max(_MIN_WIDTH, 2 * _MARGIN + across * (side + _GAP) - _GAP)
    said, inner = title(sheet), width - 2 * _MARGIN
    head = _broken([said.head], inner, _HEAD, _INK)
    facts = _broken(_joined(said.facts, inner, _FACTS), inner, _FACTS, _SOFT)
    under = captions(sheet)
    below = [_broken(caption.lines, side, _CAPTION, _INK) for caption in under]
    rows = [below[start : start + across] for start in range(0, len(below), across)]
    heights = [side + _FRAME + 4 + max(block.height for block in row) + _GAP for row in rows]
    top = _MARGIN + head.height + facts.height + _GAP
    picture = Image.new("RGB", (width, top + sum(heights)), _PAPER)
    canvas = ImageDraw.Draw(picture)
    head.draw(canvas, _MARGIN, _MARGIN)
    facts.draw(canvas, _MARGIN, _MARGIN + head.height)
    for number, photo in enumerate(sheet.photos):
        row, column = divmod(number, across)
        x, y = _MARGIN + column * (side + _GAP), top + sum(heights[:row])
        _put(picture, canvas, photo, (x, y), marked=under[number].marked)
        below[number].draw(canvas, x, y + side + _FRAME + 4)
    return picture


def _put(
    picture: Image.Image, canvas: ImageDraw.ImageDraw, photo: SheetPhoto, corner: tuple[int, int], *, marked: bool
) -> None:
    """A photo in its frame; a marked one in a thick frame, with a cross that needs no colour."""
    x, y = corner
    side = len(photo.pixels)
    edge = _FRAME if marked else 1
    colour = _MARK if marked else _HAIRLINE
    canvas.rectangle((x - edge, y - edge, x + side + edge - 1, y + side + edge - 1), fill=colour)
    picture.paste(Image.fromarray(photo.pixels), corner)
    if marked:
        canvas.rectangle((x - edge, y - edge, x + _BADGE, y + _BADGE), fill=_PAPER)
        canvas.rectangle((x - edge, y - edge, x + _BADGE - 3, y + _BADGE - 3), fill=_MARK)
        near, far = 3, _BADGE - 12
        for one, other in (((x + near, y + near), (x + far, y + far)), ((x + near, y + far), (x + far, y + near))):
            canvas.line((one, other), fill=_PAPER, width=5)
