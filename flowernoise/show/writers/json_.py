"""A document's data as JSON."""

from __future__ import annotations

import json
import re

import msgspec

from flowernoise.show.document import Document
from flowernoise.show.writers import writer


@writer(".json")
def json_(document: Document) -> str:
    """One object; a number that JSON cannot hold is refused by a ValueError."""
    text = json.dumps(document.data, allow_nan=False, ensure_ascii=False)
    return msgspec.json.format(text, indent=1) + "\n"  # json's own indenting is many times slower


def fitting(text: str, encoding: str) -> str:
    r"""JSON that an encoding can write: if it cannot, with JSON's own escapes.

    >>> print(fitting('"gänseblümchen"', "ascii"))
    "g\u00e4nsebl\u00fcmchen"
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found.group())[1:-1], text)
    return text
