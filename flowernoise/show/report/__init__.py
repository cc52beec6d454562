"""A report: one self-contained page in HTML, and the same in Markdown with its pictures beside it.

Equal reports give equal bytes. Neither form needs a network or a script to be read.
"""

from __future__ import annotations

from flowernoise.analysis.views.reports import Report
from flowernoise.show import writers
from flowernoise.show.document import Figure
from flowernoise.show.report import content
from flowernoise.show.report.content import SWEEP


def render(report: Report) -> dict[str, bytes]:
    """The files of a report by name: ``report.html``, ``report.md``, the latter's pictures in ``report/``.

    Where one ``run`` makes it all again, its options are in ``report.toml``.
    """
    document = content.document(report)
    figures = [block for block in document.blocks if isinstance(block, Figure)]
    return {
        "report.html": writers.named("html").write(document).encode(),
        "report.md": writers.named("markdown").write(document).encode(),
        **{figure.path: figure.data for figure in figures},
        **({SWEEP: report.sweep.encode()} if report.sweep else {}),
    }
