"""Photos of five kinds of flower, drawn by the program itself, so that demos and CI need no download.

A picture has a background, distant plants out of focus, near plants, sometimes leaves in front, and camera effects. A
flower head is a small solid. Its petals rise above or droop below the head's plane, so one model gives front, oblique
and side views. Lengths are in picture sides, or in head radii within a head. Angles are in radians, and y points down.
"""

from flowernoise.catalogue.flowers.scene import paint
from flowernoise.catalogue.flowers.species import KINDS

__all__ = ["KINDS", "paint"]
