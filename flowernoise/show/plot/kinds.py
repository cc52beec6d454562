"""The kinds of pictures: each is one function that draws what one view finds.

Its name is what a user asks for, its docstring what ``list`` tells of it. This registration is all that ``plot`` and
``report`` know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from flowernoise.analysis.views.material import Material
from flowernoise.registry import Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

View = TypeVar("View")
Draw = Callable[[View], "Figure"]
pictures = Registry("picture")


def picture(
    view: Callable[[Material], Iterator[tuple[str, View]]],
    *,
    caption: Callable[[View], str],
    alt: Callable[[View], str],
    options: tuple[str, ...],
    compared: bool = True,
    usual: bool = True,
) -> Callable[[Draw[View]], Draw[View]]:
    """Decorator: registers the drawing of a view.

    Args:
        view: finds in the material what there is to draw, each with the name of its file; raises a NothingToDrawError
            where there is nothing.
        caption: the text under the picture in a report.
        alt: the text for people who cannot see the picture.
        options: the fields of ``PlotSettings`` that apply to it.
        compared: whether its view needs the comparison of the runs.
        usual: whether it is drawn in reports, and when no kind is given.
    """
    facts: dict[str, Any] = {"view": view, "caption": caption, "alt": alt, "options": options}
    return pictures.register(**facts, compared=compared, usual=usual)
