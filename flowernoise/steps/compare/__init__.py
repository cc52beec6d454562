"""``compare``: the table of what every loss reaches under every noise."""

from flowernoise.steps.compare.step import check_gate, compare, compare_or_find, missed
from flowernoise.steps.settings import CompareSettings
from flowernoise.store.records import Comparison, Row

__all__ = ["CompareSettings", "Comparison", "Row", "check_gate", "compare", "compare_or_find", "missed"]
