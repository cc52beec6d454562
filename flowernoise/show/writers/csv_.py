"""A document's records as CSV."""

from __future__ import annotations

import csv
import io

from flowernoise.show.document import Document
from flowernoise.show.writers import writer


@writer(".csv")
def csv_(document: Document) -> str:
    """A header and a line per record; lists in one field, separated by spaces."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(document.records.columns)
    lines.writerows(map(_field, record) for record in document.records.rows)
    return text.getvalue()


def _field(value: object) -> object:
    if isinstance(value, (tuple, list)):
        return " ".join(map(repr, value))
    return "" if value is None else value
