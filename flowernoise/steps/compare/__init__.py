"""``compare``: the table of what every loss reaches under every noise."""

from flowernoise.steps.compare.result import Beside, Comparison, Difference, Row, Tolerated
from flowernoise.steps.compare.settings import CompareSettings
from flowernoise.steps.compare.step import compare

__all__ = ["Beside", "CompareSettings", "Comparison", "Difference", "Row", "Tolerated", "compare"]
