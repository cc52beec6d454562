"""A document's data as JSON."""

from __future__ import annotations

import json

import msgspec

from flowernoise.show.document import Document
from flowernoise.show.writers import writer


@writer(".json")
def json_(document: Document) -> str:
    """One object; a number that JSON cannot hold is refused by a ValueError."""
    text = json.dumps(document.data, allow_nan=False, ensure_ascii=False)
    return msgspec.json.format(text, indent=1) + "\n"  # json's own indenting is many times slower
