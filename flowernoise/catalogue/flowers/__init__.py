"""Photos of five kinds of flower, drawn by the program itself, so that demos and CI need no download.

A picture is a background, far plants out of focus, near ones, sometimes leaves in front, and a camera. A flower head is
a small solid: its petals rise above or droop below the head's plane, so that one model gives front, oblique and side
views. Lengths are in picture sides, or in head radii within a head; angles in radians; y points down.
"""

from flowernoise.catalogue.flowers.scene import paint
from flowernoise.catalogue.flowers.species import KINDS

__all__ = ["KINDS", "paint"]
