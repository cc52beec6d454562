"""A report: one self-contained page in HTML, and the same in Markdown with its pictures beside it.

Equal reports give equal bytes. Neither form needs a network or a script to be read.
"""

from __future__ import annotations

from flowernoise.analysis.views.reports import Report
from flowernoise.show.report import content, html, markdown
from flowernoise.show.report.blocks import Figure

PICTURES = "report"  # folder of the Markdown's pictures, beside it


def render(report: Report) -> dict[str, bytes]:
    """The files of a report by name: ``report.html``, ``report.md``, and the latter's pictures in ``report/``."""
    document = content.document(report)
    figures = [block for block in document.blocks if isinstance(block, Figure)]
    return {
        "report.html": html.page(document).encode(),
        "report.md": markdown.page(document, PICTURES).encode(),
        **{f"{PICTURES}/{figure.name}": figure.data for figure in figures},
    }
