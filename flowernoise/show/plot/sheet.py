"""The sheet that every picture is drawn on: its style, its head of title, facts and legend, and its bytes.

Equal data give equal bytes: nothing of the user's matplotlib configuration, no date and no version gets in, ids in SVG
are derived from what they name, and the font is the one that matplotlib brings along.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.typing import RcKeyType

Item = TypeVar("Item")
LegendEntry = tuple[
    Any, str
]  # of a legend: an artist, or a tuple of them (which matplotlib's stubs leave out), and a text
INK, SOFT, FAINT, GRID = "#1a1a1a", "#4d4d4d", "#8c8c8c", "#e4e4e4"
MARGIN = 0.14  # inches around everything
TITLE, TITLES, FACTS = 12.0, 10.0, 9.0  # points: of the sheet, of panels, under the title
_LINE = 1.35  # line height, in font sizes
_INCH = 72.0  # points
_DIGITS = 5  # of a place on the sheet, as a share of it
_GAP = 0.07  # inches between the parts of the head
_STYLE: dict[RcKeyType, object] = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": TITLES,
    "axes.titleweight": "bold",
    "figure.dpi": 150.0,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana"],  # the second for readers of SVG that have not got the first
    "font.size": 9.5,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # whole fonts, as journals want them
    "savefig.dpi": "figure",
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and tested
    "svg.hashsalt": "flowernoise",
    "text.color": INK,
    "text.hinting": "no_hinting",
    "text.parse_math": False,  # a $ in a path is a $
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9.0,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9.0,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Only our own settings of matplotlib, while a figure is made and rendered."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


_UNSAID = {
    "png": ("Software",),
    "svg": ("Creator", "Date", "Format", "Type"),
    "pdf": ("Creator", "Producer", "CreationDate"),
}


def render(figure: Figure, form: str) -> bytes:
    """A figure as the bytes of a PNG, SVG or PDF, without a date or a version that would make equal figures differ."""
    title = figure.get_label()
    unsaid = dict.fromkeys(_UNSAID[form])
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, metadata={"Title": title, **unsaid})
    return buffer.getvalue()


def panels(
    rows: int, columns: int, size: tuple[float, float], *, share_x: bool = False
) -> tuple[Figure, list[list[Axes]]]:
    """A grid of axes, each about ``size`` inches with its labels; ``share_x`` gives all the same limits."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * size[0] + 2 * MARGIN, rows * size[1] + MARGIN), layout="constrained")
    grid: list[list[Axes]] = figure.subplots(rows, columns, sharex=share_x, squeeze=False).tolist()
    for panel in (panel for axes in grid for panel in axes):
        panel.tick_params(labelbottom=True)
    return figure, grid


def share_y(axes: Sequence[Axes]) -> None:
    """Gives panels side by side the same height, with numbers at the first of them."""
    for panel in axes[1:]:
        panel.sharey(axes[0])
        panel.tick_params(labelleft=False)


def remove(axes: Iterable[Axes]) -> None:
    """Removes the unused places of a grid."""
    for panel in axes:
        panel.remove()


def finish(figure: Figure, title: str, facts: Sequence[str], legend: Sequence[LegendEntry] = ()) -> Figure:
    """Puts a head above the axes and makes the sheet higher by as much as it takes.

    Args:
        figure: from :func:`panels`.
        title: what the picture shows.
        facts: items below it, with dots between them, on as many lines as they need.
        legend: handles and labels, in reading order.
    """
    width, body = figure.get_size_inches()
    room = width - 2 * MARGIN
    lines = [(line, TITLE, "bold", INK) for line in _wrapped([title], room, TITLE, "bold")]
    lines += [(line, FACTS, "normal", SOFT) for line in _wrapped(facts, room, FACTS)]
    key = _legend(figure, legend, room) if legend else None
    gaps = 2 * _GAP
    head = MARGIN + sum(size for _, size, _, _ in lines) * _LINE / _INCH + (_extent(key)[1] if key else 0.0) + gaps
    height = body + head
    figure.set_size_inches(width, height)
    figure.set_label(title)
    y = height - MARGIN
    for text, size, weight, colour in lines:
        at = (MARGIN / width, y / height)
        placed = figure.text(*at, text, size=size, weight=weight, color=colour, va="top", ha="left")
        placed.set_in_layout(False)
        y -= size * _LINE / _INCH
    if key:
        key.set_bbox_to_anchor((MARGIN / width, (y - _GAP) / height), transform=figure.transFigure)
    figure.set_layout_engine(
        "constrained", rect=(MARGIN / width, MARGIN / height, room / width, (body - MARGIN) / height)
    )
    _lay_out(figure)
    return figure


def _lay_out(figure: Figure) -> None:
    """Fixes the places of axes; matplotlib's solver gives different last digits each time, and so different bytes."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for panel in figure.axes:
        x, y, width, height = (round(float(bound), _DIGITS) for bound in panel.get_position(original=True).bounds)
        panel.set_position((x, y, width, height))


def _legend(figure: Figure, entries: Sequence[LegendEntry], width: float) -> Legend:
    """The legend with as many columns as fit side by side, read row by row."""
    for columns in range(len(entries), 0, -1):
        # matplotlib fills column by column, the first ones longer where they do not come out even.
        ordered = [entry for start in range(columns) for entry in entries[start::columns]]
        legend = figure.legend(
            [handle for handle, _ in ordered],
            [label for _, label in ordered],
            loc="upper left",
            ncols=columns,
            borderaxespad=0.0,
            borderpad=0.0,
            columnspacing=1.8,
            handlelength=3.4,
            handletextpad=0.6,
            labelspacing=0.45,
        )
        legend.set_in_layout(False)
        if columns == 1 or _extent(legend)[0] <= width:
            return legend
        legend.remove()
    raise ValueError("a legend needs entries")


def _extent(legend: Legend) -> tuple[float, float]:
    """Width and height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = legend.get_figure(root=True)
    if figure is None:
        raise RuntimeError("the legend is in no figure")
    box = legend.get_window_extent(FigureCanvasAgg(figure).get_renderer())  # type: ignore[no-untyped-call]
    return float(box.width / figure.dpi), float(box.height / figure.dpi)


def _wrapped(items: Sequence[str], width: float, size: float, weight: str = "normal") -> Iterator[str]:
    """The items with dots between them, in lines no wider than ``width`` inches; longer items break at spaces and /."""
    line = ""
    for item in items:
        joined = f"{line}  ·  {item}" if line else item
        if text_width(joined, size, weight) <= width:
            line = joined
            continue
        if line:
            yield line
        *full, line = _folded(item, width, size, weight)
        yield from full
    if line:
        yield line


def _folded(text: str, width: float, size: float, weight: str) -> list[str]:
    lines = [""]
    for part in re.split(r"(?<=[ :,+/=])", text):
        if lines[-1] and text_width(lines[-1] + part.rstrip(), size, weight) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Width of a text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(size=size, weight=weight)
    return float(TextToPath().get_text_width_height_descent(text, font, ismath=False)[0]) / _INCH


def folded(name: str, width: float) -> str:
    """A panel's title on as many lines as it takes, broken at spaces and behind the signs of a spec."""
    return "\n".join(_folded(name, width, TITLES, "bold"))


def chunks(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """The items in rows of ``size``, the last row shorter where they do not come out even."""
    return [items[start : start + size] for start in range(0, len(items), size)]
